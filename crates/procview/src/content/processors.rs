// SPDX-License-Identifier: Apache-2.0
//! Which of the host's processors are seen, in what order, and where they sit; `cpuinfo`.

use std::io::Write;
use std::path::Path;

use kernel::cgroup::{Processors, parse_list};

use super::node::MOST_PROCESSORS;

/// Where sysfs has the processors.
pub(super) const CPUS: &str = "/sys/devices/system/cpu";

/// The processors that the container sees: as many of its set, from the lowest, as it takes to use up its quota.
pub(super) fn visible(processors: &Processors, online: &[u32]) -> Vec<u32> {
    let set = processors.set.as_deref().filter(|set| !set.is_empty()).unwrap_or(online);
    let most = processors.quota.map_or(u64::MAX, kernel::cgroup::Quota::whole);
    let count = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, MOST_PROCESSORS);
    let visible: Vec<u32> = set.iter().copied().take(count).collect();
    if visible.is_empty() { vec![0] } else { visible }
}

/// Where one visible processor sits, all counted from 0 inside of what the container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) package: usize,
    /// In its package.
    pub(super) die: usize,
    /// In its package.
    pub(super) core: usize,
    /// `None` where the host has none.
    pub(super) cluster: Option<usize>,
}

/// What the host says of a processor: package, die, cluster, core.
pub(super) type Ids = (i64, i64, i64, i64);

/// The ids of one of the host's processors, as sysfs has them.
pub(super) fn host_ids(cpu: u32) -> Ids {
    let read = |file: &str| {
        let path = format!("{CPUS}/cpu{cpu}/topology/{file}");
        let text = kernel::file::read_small(Path::new(&path)).ok()?;
        std::str::from_utf8(&text).ok()?.trim().parse::<i64>().ok()
    };
    let core = read("core_id").unwrap_or(i64::from(cpu));
    (read("physical_package_id").unwrap_or(0), read("die_id").unwrap_or(0), read("cluster_id").unwrap_or(-1), core)
}

/// Counts packages, and in each its dies, clusters and cores, in the order in which they are met.
pub(super) fn places(ids: &[Ids]) -> Vec<Place> {
    let rank = |key: &dyn Fn(&Ids) -> Option<(i64, i64)>, one: &Ids| {
        let mut seen: Vec<(i64, i64)> = Vec::new();
        for key in ids.iter().filter_map(key) {
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        seen.iter().position(|other| Some(*other) == key(one)).unwrap_or(0)
    };
    let place = |one: &Ids| {
        let package = one.0;
        let inside = |other: &Ids| other.0 == package;
        Place {
            package: rank(&|ids| Some((ids.0, 0)), one),
            die: rank(&|ids| inside(ids).then_some((ids.1, 0)), one),
            core: rank(&|ids| inside(ids).then_some((ids.1, ids.3)), one),
            // -1 and 65535 are the kernel's ways to say that there is none.
            cluster: (!matches!(one.2, -1 | 65535)).then(|| rank(&|ids| inside(ids).then_some((ids.2, 0)), one)),
        }
    };
    ids.iter().map(place).collect()
}

/// `/proc/cpuinfo`: the host's blocks of the visible processors, with the numbers that they have inside.
pub(super) fn cpuinfo(host: &str, visible: &[u32], places: &[Place], out: &mut Vec<u8>) {
    let blocks: Vec<(Option<u32>, &str)> =
        host.split("\n\n").filter(|block| !block.trim().is_empty()).map(|block| (number(block), block)).collect();
    for (inside, cpu) in visible.iter().enumerate() {
        // A host that does not tell its processors apart shows one block for each all the same.
        let of = |wanted: u32| blocks.iter().find(|(number, _)| *number == Some(wanted));
        let Some((_, block)) = of(*cpu) else { continue };
        for line in block.lines() {
            match line.split_once(':').and_then(|(key, _)| field(key.trim(), inside, places)) {
                Some(value) => {
                    let key = line.split(':').next().unwrap_or_default();
                    writeln!(out, "{key}: {value}").ok();
                }
                None => {
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
            }
        }
        out.push(b'\n');
    }
    // What is of no processor: the board of some arm hosts.
    for (_, block) in blocks.iter().filter(|(number, _)| number.is_none()) {
        out.extend_from_slice(block.trim_matches('\n').as_bytes());
        out.push(b'\n');
    }
}

fn number(block: &str) -> Option<u32> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        if key.trim() == "processor" { value.trim().parse().ok() } else { None }
    };
    block.lines().find_map(value)
}

/// The value of a line that is about this processor's number or its neighbours; `None` for those that stay as they are.
fn field(key: &str, inside: usize, places: &[Place]) -> Option<usize> {
    let place = places.get(inside)?;
    let neighbours = || places.iter().filter(|other| other.package == place.package);
    match key {
        "processor" | "apicid" | "initial apicid" => Some(inside),
        "physical id" => Some(place.package),
        "core id" => Some(place.core),
        "siblings" => Some(neighbours().count()),
        "cpu cores" => neighbours().map(|other| other.core).max().map(|most| most + 1),
        _ => None,
    }
}

/// `0-3,7`, as the kernel writes a set.
pub(super) fn list(numbers: &[usize]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some((first, _)) = rest.split_first() {
        let run = rest.iter().enumerate().take_while(|(index, number)| **number == first + index).count();
        let comma = if text.is_empty() { "" } else { "," };
        text += &if run == 1 { format!("{comma}{first}") } else { format!("{comma}{first}-{}", first + run - 1) };
        rest = rest.get(run..).unwrap_or_default();
    }
    text
}

/// The same set as a mask of `count` bits in groups of 32, as the kernel writes it.
pub(super) fn mask(numbers: &[usize], count: usize) -> String {
    let words = count.div_ceil(32).max(1);
    let mut groups = vec![0_u32; words];
    for number in numbers {
        if let Some(group) = groups.get_mut(number / 32) {
            *group |= 1 << (number % 32);
        }
    }
    let top = match count % 32 {
        0 if count > 0 => 8,
        rest => rest.div_ceil(4).max(1),
    };
    let text = |(index, group): (usize, &u32)| {
        let width = if index == words - 1 { top } else { 8 };
        format!("{group:0width$x}")
    };
    groups.iter().enumerate().rev().map(text).collect::<Vec<_>>().join(",")
}

/// Those of the host's processors in a list of the host that are visible, by their numbers inside.
pub(super) fn inside(host_list: &str, visible: &[u32]) -> Vec<usize> {
    let members = parse_list(host_list);
    let is_member = |(_, cpu): &(usize, &u32)| members.binary_search(cpu).is_ok();
    visible.iter().enumerate().filter(is_member).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::cgroup::Quota;
    use proptest::prelude::*;

    const X86: &str = "processor\t: 0\nphysical id\t: 0\nsiblings\t: 4\ncore id\t\t: 0\ncpu cores\t: 2\napicid\t\t: 0\nflags\t\t: fpu: x\n\n\
        processor\t: 1\nphysical id\t: 0\nsiblings\t: 4\ncore id\t\t: 8\ncpu cores\t: 2\napicid\t\t: 16\n\n\
        processor\t: 2\nphysical id\t: 0\nsiblings\t: 4\ncore id\t\t: 0\ncpu cores\t: 2\napicid\t\t: 1\n\n\
        processor\t: 3\nphysical id\t: 1\nsiblings\t: 4\ncore id\t\t: 8\ncpu cores\t: 2\napicid\t\t: 17\npower management:\n\n";
    const ARM: &str = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU part\t: 0xd0c\n\nprocessor\t: 1\nBogoMIPS\t: 243.75\n\nHardware\t: X\n";

    fn text(host: &str, visible: &[u32], ids: &[Ids]) -> String {
        let mut out = Vec::new();
        cpuinfo(host, visible, &places(ids), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_many_processors_as_the_quota_uses_up() {
        let quota = |quota_us, period_us| Some(Quota { quota_us, period_us });
        let of = |set: Option<&[u32]>, quota| {
            visible(&Processors { set: set.map(<[u32]>::to_vec), nodes: None, quota }, &[0, 1, 2, 3])
        };
        assert_eq!(of(None, None), [0, 1, 2, 3]);
        assert_eq!(of(Some(&[2, 3]), None), [2, 3]);
        assert_eq!(of(Some(&[1, 2, 3]), quota(150_000, 100_000)), [1, 2]);
        assert_eq!(of(None, quota(1000, 100_000)), [0]);
        assert_eq!(of(Some(&[2]), quota(u64::MAX, 1)), [2]);
        assert_eq!(of(Some(&[]), quota(0, 0)), [0]);
    }

    #[test]
    fn cpuinfo_agrees_with_the_number_of_processors() {
        let x86 = text(X86, &[1, 3], &[(0, 0, 65535, 8), (1, 0, 65535, 8)]);
        assert_eq!(
            x86,
            "processor\t: 0\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\n\n\
             processor\t: 1\nphysical id\t: 1\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 1\npower management:\n\n"
        );
        let threads = text(X86, &[0, 2], &[(0, 0, -1, 0), (0, 0, -1, 0)]);
        assert_eq!(threads.matches("siblings\t: 2\n").count(), 2);
        assert_eq!(threads.matches("cpu cores\t: 1\n").count(), 2);
        assert!(threads.contains("flags\t\t: fpu: x\n"));
    }

    #[test]
    fn cpuinfo_of_arm_keeps_what_is_of_the_board() {
        assert_eq!(text(ARM, &[1], &[(0, 0, -1, 1)]), "processor\t: 0\nBogoMIPS\t: 243.75\n\nHardware\t: X\n");
    }

    #[test]
    fn sets_are_written_as_the_kernel_does() {
        assert_eq!((list(&[0, 1, 2, 7]).as_str(), list(&[]).as_str(), list(&[4]).as_str()), ("0-2,7", "", "4"));
        assert_eq!((mask(&[0, 1], 2).as_str(), mask(&[0], 8).as_str(), mask(&[], 1).as_str()), ("3", "01", "0"));
        assert_eq!(mask(&[0, 33, 39], 40), "82,00000001");
        assert_eq!(mask(&[31], 32), "80000000");
        assert_eq!(inside("0,2-5\n", &[3, 9, 5]), [0, 2]);
    }

    #[test]
    fn this_hosts_cpuinfo_is_shown_as_it_is_when_all_is_visible() {
        let host = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let online = parse_list(&std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap());
        let ids: Vec<Ids> = online.iter().map(|cpu| host_ids(*cpu)).collect();
        let keys = |text: &str| text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(keys(&text(&host, &online, &ids)), keys(&host));
    }

    proptest! {
        #[test]
        fn no_cpuinfo_stops_us(host in "(processor\t: [0-9]{0,4}\n|core id\t: 1\n|\n|[a-z: \t]{0,9}\n){0,20}", set in "[0-9,-]{0,20}") {
            let visible = parse_list(&set);
            let ids: Vec<Ids> = visible.iter().map(|cpu| (i64::from(cpu / 2), 0, -1, i64::from(cpu % 3))).take(64).collect();
            text(&host, visible.get(..64.min(visible.len())).unwrap(), &ids);
            let numbers: Vec<usize> = visible.iter().map(|cpu| *cpu as usize).collect();
            prop_assert_eq!(parse_list(&list(&numbers)), visible);
            mask(&numbers, numbers.len());
        }
    }
}
