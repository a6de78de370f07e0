// SPDX-License-Identifier: Apache-2.0
//! `diskstats` and `partitions`: the disks that the container has used, and their partitions; pure.

use std::io::Write;

use kernel::cgroup::Device;

/// One disk or partition of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk<'a> {
    major: u32,
    minor: u32,
    name: &'a str,
}

/// `/proc/diskstats`: the host's order, with what the container has read and written. `waited_us` is for how long some task
/// of it had to wait for any disk.
pub(super) fn diskstats(host: &str, devices: &[Device], waited_us: u64, uptime_ns: u64, out: &mut Vec<u8>) {
    let disks: Vec<Disk> = host.lines().filter_map(diskstats_line).collect();
    for disk in seen(&disks, devices) {
        let used = devices.iter().find(|device| (device.major, device.minor) == (disk.major, disk.minor));
        let counters = counters(used, waited_us, uptime_ns).map(|number| number.to_string()).join(" ");
        writeln!(out, "{:4} {:7} {} {counters}", disk.major, disk.minor, disk.name).ok();
    }
}

/// `/sys/block/NAME/stat`: the same numbers, in the kernel's columns.
pub(super) fn stat(used: Option<&Device>, waited_us: u64, uptime_ns: u64, out: &mut Vec<u8>) {
    let counters = counters(used, waited_us, uptime_ns).map(|number| format!("{number:8}")).join(" ");
    writeln!(out, "{counters}").ok();
}

/// Reads, merged, sectors, milliseconds; the same for writes; in flight, milliseconds busy, weighted; discards as reads;
/// flushes and their milliseconds.
fn counters(used: Option<&Device>, waited_us: u64, uptime_ns: u64) -> [u64; 17] {
    let Some(used) = used else { return [0; 17] };
    let busy_ms = (waited_us / 1000).min(uptime_ns / 1_000_000);
    let [read, written, discarded] = [used.read_bytes, used.written_bytes, used.discarded_bytes].map(|one| one / 512);
    [used.reads, 0, read, 0, used.writes, 0, written, 0, 0, busy_ms, 0, used.discards, 0, discarded, 0, 0, 0]
}

/// `/proc/partitions`: the host's lines of the same disks.
pub(super) fn partitions(host: &str, devices: &[Device], out: &mut Vec<u8>) {
    out.extend_from_slice(b"major minor  #blocks  name\n\n");
    let lines: Vec<(Disk, &str)> = host.lines().filter_map(|line| Some((partitions_line(line)?, line))).collect();
    let disks: Vec<Disk> = lines.iter().map(|(disk, _)| *disk).collect();
    let seen = seen(&disks, devices);
    for (_, line) in lines.iter().filter(|(disk, _)| seen.contains(disk)) {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

fn diskstats_line(line: &str) -> Option<Disk<'_>> {
    let mut words = line.split_ascii_whitespace();
    Some(Disk { major: words.next()?.parse().ok()?, minor: words.next()?.parse().ok()?, name: words.next()? })
}

fn partitions_line(line: &str) -> Option<Disk<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Disk { major, minor, name: words.nth(1)? })
}

/// Those that were used, and the partitions of these, in the order of the host.
fn seen<'a>(disks: &[Disk<'a>], devices: &[Device]) -> Vec<Disk<'a>> {
    let is_used = |disk: &&Disk| devices.iter().any(|one| (one.major, one.minor) == (disk.major, disk.minor));
    let used: Vec<&str> = disks.iter().filter(is_used).map(|disk| disk.name).collect();
    let is_seen = |disk: &&Disk| is_used(disk) || used.iter().any(|whole| is_partition(disk.name, whole));
    disks.iter().filter(is_seen).copied().collect()
}

/// `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`.
fn is_partition(name: &str, whole: &str) -> bool {
    let Some(rest) = name.strip_prefix(whole) else { return false };
    let number = if whole.ends_with(|last: char| last.is_ascii_digit()) { rest.strip_prefix('p') } else { Some(rest) };
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The microseconds for which some task had to wait, of a pressure text.
pub(super) fn waited_us(pressure: &[u8]) -> u64 {
    let text = std::str::from_utf8(pressure).unwrap_or_default();
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let total = some.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("total=")));
    total.and_then(|total| total.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254       0 vda 34 13 11 4 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254       1 vda1 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254      16 vdaa 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 259       0 nvme0n1 1\n";

    #[test]
    fn only_disks_that_were_used_and_their_partitions_are_shown() {
        let device =
            Device { major: 254, reads: 3, read_bytes: 4096, writes: 2, written_bytes: 512, ..Device::default() };
        let mut out = Vec::new();
        diskstats(HOST, &[device], 163_785, u64::MAX, &mut out);
        let wanted = " 254       0 vda 3 0 8 0 2 0 1 0 0 163 0 0 0 0 0 0 0\n 254       1 vda1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        let mut out = Vec::new();
        let host = "major minor  #blocks  name\n\n 254        0  268435456 vda\n   8        0          1 sda\n";
        partitions(host, &[device], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "major minor  #blocks  name\n\n 254        0  268435456 vda\n");
    }

    #[test]
    fn partitions_by_name() {
        assert!(is_partition("sda1", "sda") && is_partition("nvme0n1p2", "nvme0n1"));
        assert!(!is_partition("sda", "sda") && !is_partition("nvme0n12", "nvme0n1") && !is_partition("sdab", "sda"));
        assert_eq!(waited_us(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=163785\nfull total=1\n"), 163_785);
    }

    proptest! {
        #[test]
        fn no_text_stops_us(host in "(?s).{0,200}", numbers in "[0-9a-z \n]{0,100}", bytes: u64) {
            let device = Device { read_bytes: bytes, ..Device::default() };
            for host in [&host, &numbers] {
                let mut out = Vec::new();
                diskstats(host, &[device], bytes, bytes, &mut out);
                partitions(host, &[device], &mut out);
                waited_us(host.as_bytes());
            }
        }
    }
}
