// SPDX-License-Identifier: Apache-2.0
//! The texts of the control files of both versions, turned into numbers; pure.

use super::{Device, MemoryStat, ProcessorTime, Quota};

/// Version 1 shows "no limit" as the largest multiple of the page size, which differs between machines.
const NO_LIMIT: u64 = 0x7fff_ffff_0000_0000;

/// No list of processors or memory nodes has a larger number.
const MOST_NUMBER: u32 = 65_535;

/// A limit in bytes or pieces; `None` when there is none: `max`, `-1`, or as good as infinite.
pub(super) fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// `-1 100000`, `max 100000` or `50000 100000` as microseconds per period.
pub(super) fn quota(quota: &str, period: &str) -> Option<Quota> {
    let (quota_us, period_us) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (period_us > 0).then_some(Quota { quota_us, period_us })
}

/// The numbers of a list such as `0-3,7`, in order, each once; what is no list has none.
#[must_use]
pub fn parse_list(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            numbers.extend(first..=last.min(MOST_NUMBER));
        }
        if numbers.len() > MOST_NUMBER as usize {
            break;
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The value of exactly this key.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `memory.stat` of version 2.
pub(super) fn unified_stat(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in pairs(text) {
        match key {
            "anon" => stat.anon = value,
            "file" => stat.file = value,
            "shmem" => stat.shmem = value,
            "file_mapped" => stat.mapped = value,
            "file_dirty" => stat.dirty = value,
            "file_writeback" => stat.writeback = value,
            "swapcached" => stat.swap_cached = value,
            "anon_thp" => stat.anon_huge = value,
            "shmem_thp" => stat.shmem_huge = value,
            "file_thp" => stat.file_huge = value,
            "kernel_stack" => stat.kernel_stack = value,
            "pagetables" => stat.page_tables = value,
            "sec_pagetables" => stat.secondary_page_tables = value,
            "percpu" => stat.per_processor = value,
            "vmalloc" => stat.vmalloc = value,
            "slab_reclaimable" => stat.slab_reclaimable = value,
            "slab_unreclaimable" => stat.slab_unreclaimable = value,
            "zswap" => stat.zswap = value,
            "zswapped" => stat.zswapped = value,
            other => lists(&mut stat, other, value),
        }
    }
    stat
}

/// `memory.stat` of version 1, with `memory.kmem.usage_in_bytes`: what the kernel has for the group, none of it known to be
/// reclaimable.
pub(super) fn legacy_stat(text: &str, kernel: Option<u64>) -> MemoryStat {
    let mut stat = MemoryStat { slab_unreclaimable: kernel.unwrap_or(0), ..MemoryStat::default() };
    for (key, value) in pairs(text) {
        match key.strip_prefix("total_") {
            Some("cache") => stat.file = value,
            Some("rss") => stat.anon = value,
            Some("rss_huge") => stat.anon_huge = value,
            Some("shmem") => stat.shmem = value,
            Some("mapped_file") => stat.mapped = value,
            Some("dirty") => stat.dirty = value,
            Some("writeback") => stat.writeback = value,
            Some("swapcached") => stat.swap_cached = value,
            Some("swap") => stat.swap = Some(value),
            Some(other) => lists(&mut stat, other, value),
            None => {}
        }
    }
    stat
}

/// The lists of pages, which both versions name alike.
fn lists(stat: &mut MemoryStat, key: &str, value: u64) {
    match key {
        "active_anon" => stat.active_anon = value,
        "inactive_anon" => stat.inactive_anon = value,
        "active_file" => stat.active_file = value,
        "inactive_file" => stat.inactive_file = value,
        "unevictable" => stat.unevictable = value,
        _ => {}
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// `cpuacct.usage_all`: nanoseconds in user mode and in the kernel, by processor.
pub(super) fn usage_all(text: &str) -> Vec<(u32, u64, u64)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `cpu.stat` of version 2, in microseconds there.
pub(super) fn unified_time(text: &str) -> Option<ProcessorTime> {
    let value = |key| keyed(text, key).map(|us: u64| us.saturating_mul(1000));
    let (user, nice) = (value("user_usec")?, value("nice_usec").unwrap_or(0));
    Some(ProcessorTime {
        user_ns: user.saturating_sub(nice),
        nice_ns: nice.min(user),
        system_ns: value("system_usec")?,
        throttled_ns: value("throttled_usec").unwrap_or(0),
        each: Vec::new(),
    })
}

/// `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
pub(super) fn unified_devices(text: &str) -> Vec<Device> {
    let mut devices = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        let mut device = Device { major, minor, ..Device::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match key {
                "rbytes" => device.read_bytes = value,
                "wbytes" => device.written_bytes = value,
                "dbytes" => device.discarded_bytes = value,
                "rios" => device.reads = value,
                "wios" => device.writes = value,
                "dios" => device.discards = value,
                _ => {}
            }
        }
        devices.push(device);
    }
    devices
}

/// `blkio.throttle.io_serviced_recursive` and `…io_service_bytes_recursive`: `254:0 Read 3`.
pub(super) fn legacy_devices(counts: &str, bytes: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for (text, is_bytes) in [(counts, false), (bytes, true)] {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some((major, minor)) = words.next().and_then(device) else { continue };
            let (Some(kind), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) else { continue };
            let known = devices.iter().position(|device| (device.major, device.minor) == (major, minor));
            let index = known.unwrap_or_else(|| {
                devices.push(Device { major, minor, ..Device::default() });
                devices.len() - 1
            });
            let Some(device) = devices.get_mut(index) else { continue };
            match (kind, is_bytes) {
                ("Read", false) => device.reads = value,
                ("Write", false) => device.writes = value,
                ("Discard", false) => device.discards = value,
                ("Read", true) => device.read_bytes = value,
                ("Write", true) => device.written_bytes = value,
                ("Discard", true) => device.discarded_bytes = value,
                _ => {}
            }
        }
    }
    devices
}

fn device(word: &str) -> Option<(u32, u32)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V2: &str = "anon 4096\nfile 8192\nkernel 100\nkernel_stack 16384\npagetables 12288\nsec_pagetables 0\npercpu 288\n\
        sock 0\nvmalloc 40960\nshmem 4096\nzswap 7\nzswapped 9\nfile_mapped 2048\nfile_dirty 1024\nfile_writeback 512\n\
        swapcached 3\nanon_thp 2097152\nfile_thp 5\nshmem_thp 6\ninactive_anon 10\nactive_anon 11\ninactive_file 12\n\
        active_file 13\nunevictable 14\nslab_reclaimable 15\nslab_unreclaimable 16\nslab 31\n";
    const V1: &str = "cache 1\nrss 2\ntotal_cache 100\ntotal_rss 200\ntotal_rss_huge 300\ntotal_shmem 400\n\
        total_mapped_file 500\ntotal_dirty 600\ntotal_writeback 700\ntotal_swap 800\ntotal_inactive_anon 10\n\
        total_active_anon 11\ntotal_inactive_file 12\ntotal_active_file 13\ntotal_unevictable 14\n";

    #[test]
    fn a_key_does_not_swallow_longer_ones() {
        let stat = unified_stat(V2);
        assert_eq!((stat.file, stat.mapped, stat.dirty, stat.writeback), (8192, 2048, 1024, 512));
        assert_eq!((stat.anon, stat.anon_huge, stat.zswap, stat.zswapped), (4096, 2_097_152, 7, 9));
        assert_eq!((stat.slab_reclaimable, stat.slab_unreclaimable, stat.swap), (15, 16, None));
        let stat = legacy_stat(V1, Some(77));
        assert_eq!((stat.file, stat.anon, stat.anon_huge, stat.mapped), (100, 200, 300, 500));
        assert_eq!((stat.swap, stat.slab_unreclaimable, stat.unevictable), (Some(800), 77, 14));
        assert_eq!(keyed("pgfault_x 3\npgfault 5\n", "pgfault"), Some(5));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!((limit("0\n"), limit("4096\n"), limit("-1\n")), (Some(0), Some(4096), None));
        assert_eq!(quota("max", "100000"), None);
        assert_eq!(quota("-1\n", "100000\n"), None);
        assert_eq!(quota("5", "0"), None);
        assert_eq!(quota("150000\n", "100000\n").map(Quota::whole), Some(2));
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(parse_list("0-2,7\n"), [0, 1, 2, 7]);
        assert!(parse_list("\n").is_empty() && parse_list("3-1").is_empty());
        assert!(parse_list("0-4294967295,0-4294967295").len() <= 65_536);
    }

    #[test]
    fn times_of_both_versions() {
        let text = "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnice_usec 5\nthrottled_usec 3\n";
        let time = unified_time(text).unwrap();
        assert_eq!((time.user_ns, time.nice_ns, time.system_ns, time.throttled_ns), (15_000, 5000, 10_000, 3000));
        assert_eq!(usage_all("cpu user system\n0 84 34\n1 99 38\n"), [(0, 84, 34), (1, 99, 38)]);
    }

    #[test]
    fn devices_of_both_versions() {
        let v2 = unified_devices("8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=8 dios=9\nbad\n253:0 \n");
        assert_eq!(v2.len(), 2);
        assert_eq!((v2[0].read_bytes, v2[0].reads, v2[0].discards), (4096, 2, 9));
        let v1 = legacy_devices("8:0 Read 2\n8:0 Write 1\n8:0 Total 3\nTotal 3\n", "8:0 Read 4096\n8:0 Discard 7\n");
        assert_eq!((v1[0].reads, v1[0].writes, v1[0].read_bytes, v1[0].discarded_bytes), (2, 1, 4096, 7));
    }

    proptest! {
        #[test]
        fn nothing_in_a_file_stops_us(text in "(?s).{0,200}", numbers in "[0-9max:=, \n-]{0,80}") {
            for text in [text.as_str(), numbers.as_str()] {
                drop((limit(text), quota(text, text), parse_list(text), usage_all(text)));
                drop((unified_stat(text), legacy_stat(text, None), unified_time(text)));
                drop((unified_devices(text), legacy_devices(text, text)));
            }
        }
    }
}
