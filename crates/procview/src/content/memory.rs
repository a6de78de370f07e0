// SPDX-License-Identifier: Apache-2.0
//! `meminfo`, `swaps`, `vmstat` and the memory of a node; pure.

use std::io::Write;

use kernel::cgroup::{Memory, MemoryStat};

/// What of the host's memory matters here; in kB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    pub(super) buffers: u64,
    pub(super) shared: u64,
    pub(super) swap_total: u64,
    pub(super) swap_free: u64,
    /// Per cent of memory that may be promised (`vm.overcommit_ratio`).
    pub(super) ratio: u64,
}

impl Host {
    pub(super) fn parse(meminfo: &str, ratio: u64) -> Self {
        let mut host = Self { ratio, ..Self::default() };
        let mut has_available = false;
        for (key, value) in meminfo.lines().filter_map(split) {
            match key {
                "MemTotal" => host.total = value,
                "MemFree" => host.free = value,
                "MemAvailable" => (host.available, has_available) = (value, true),
                "Buffers" => host.buffers = value,
                "Shmem" => host.shared = value,
                "SwapTotal" => host.swap_total = value,
                "SwapFree" => host.swap_free = value,
                _ => {}
            }
        }
        if !has_available {
            host.available = host.free;
        }
        host
    }
}

/// The key and the number of a line such as `MemTotal:       16384256 kB`.
fn split(line: &str) -> Option<(&str, u64)> {
    let (key, rest) = line.split_once(':')?;
    Some((key, rest.split_ascii_whitespace().next()?.parse().ok()?))
}

/// What the container sees of memory; in kB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    pub(super) swap_total: u64,
    pub(super) swap_free: u64,
    pub(super) shared: u64,
    commit_limit: u64,
    committed: u64,
    /// In bytes.
    stat: MemoryStat,
}

impl Figures {
    /// By the formulas of docs/procview.md; nothing can wrap, and nothing is more than the host has.
    pub(super) fn new(host: &Host, memory: &Memory) -> Self {
        let (kb, stat) = (|bytes: u64| bytes / 1024, &memory.stat);
        let total = memory.limit.map_or(host.total, |limit| kb(limit).min(host.total));
        let room = memory.room.map_or(u64::MAX, kb);
        let reclaimable = stat.active_file.saturating_add(stat.inactive_file).saturating_add(stat.slab_reclaimable);
        let swap = memory.swap.unwrap_or(kernel::cgroup::Swap { limit: Some(0), used: 0 });
        let swap_used = kb(swap.used).min(host.swap_total);
        let swap_total = swap.limit.map_or(host.swap_total, kb).min(host.swap_total).max(swap_used);
        Self {
            total,
            free: room.min(host.free).min(total),
            available: room.saturating_add(kb(reclaimable)).min(host.available).min(total),
            swap_total,
            swap_free: swap_total.saturating_sub(swap_used).min(host.swap_free),
            shared: kb(stat.shmem),
            commit_limit: swap_total.saturating_add(share(total, host.ratio, 100)),
            committed: kb(stat.anon.saturating_add(stat.shmem)).saturating_add(swap_used),
            stat: stat.clone(),
        }
    }

    /// The part of it on a memory node that has `part` of `whole` of the host's memory.
    pub(super) fn part(&self, part: u64, whole: u64) -> Self {
        let of = |value: u64| share(value, part, whole);
        let mut stat = self.stat.clone();
        for value in [
            &mut stat.anon,
            &mut stat.file,
            &mut stat.shmem,
            &mut stat.mapped,
            &mut stat.dirty,
            &mut stat.writeback,
            &mut stat.active_anon,
            &mut stat.inactive_anon,
            &mut stat.active_file,
            &mut stat.inactive_file,
            &mut stat.unevictable,
            &mut stat.swap_cached,
            &mut stat.anon_huge,
            &mut stat.shmem_huge,
            &mut stat.file_huge,
            &mut stat.kernel_stack,
            &mut stat.page_tables,
            &mut stat.secondary_page_tables,
            &mut stat.slab_reclaimable,
            &mut stat.slab_unreclaimable,
        ] {
            *value = of(*value);
        }
        Self { total: of(self.total), free: of(self.free), available: of(self.available), stat, ..self.clone() }
    }

    /// The value for a line of `meminfo`, in kB; `None` for those that stay the host's.
    fn value(&self, key: &str) -> Option<u64> {
        let stat = &self.stat;
        let bytes = match key {
            "MemTotal" => return Some(self.total),
            "MemFree" => return Some(self.free),
            "MemUsed" => return Some(self.total.saturating_sub(self.free)),
            "MemAvailable" => return Some(self.available),
            "SwapTotal" => return Some(self.swap_total),
            "SwapFree" => return Some(self.swap_free),
            "CommitLimit" => return Some(self.commit_limit),
            "Committed_AS" => return Some(self.committed),
            "Cached" | "FilePages" => stat.file,
            "SwapCached" => stat.swap_cached,
            "Active" => stat.active_anon.saturating_add(stat.active_file),
            "Inactive" => stat.inactive_anon.saturating_add(stat.inactive_file),
            "Active(anon)" => stat.active_anon,
            "Inactive(anon)" => stat.inactive_anon,
            "Active(file)" => stat.active_file,
            "Inactive(file)" => stat.inactive_file,
            "Unevictable" => stat.unevictable,
            "Zswap" => stat.zswap,
            "Zswapped" => stat.zswapped,
            "Dirty" => stat.dirty,
            "Writeback" => stat.writeback,
            "AnonPages" => stat.anon,
            "Mapped" => stat.mapped,
            "Shmem" => stat.shmem,
            "KReclaimable" | "SReclaimable" => stat.slab_reclaimable,
            "Slab" => stat.slab_reclaimable.saturating_add(stat.slab_unreclaimable),
            "SUnreclaim" => stat.slab_unreclaimable,
            "KernelStack" => stat.kernel_stack,
            "PageTables" => stat.page_tables,
            "SecPageTables" => stat.secondary_page_tables,
            "VmallocUsed" => stat.vmalloc,
            "Percpu" => stat.per_processor,
            "AnonHugePages" => stat.anon_huge,
            "ShmemHugePages" => stat.shmem_huge,
            "FileHugePages" => stat.file_huge,
            "Buffers" | "Mlocked" | "NFS_Unstable" | "Bounce" | "WritebackTmp" | "ShmemPmdMapped" | "FilePmdMapped"
            | "HardwareCorrupted" | "Balloon" | "Unaccepted" | "CmaTotal" | "CmaFree" | "GPUActive" | "GPUReclaim" => 0,
            _ => return None,
        };
        Some(bytes / 1024)
    }
}

/// `value * part / whole`, without overflow; all of it when the whole is nothing.
fn share(value: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return value;
    }
    u64::try_from(u128::from(value) * u128::from(part) / u128::from(whole)).unwrap_or(u64::MAX)
}

/// `/proc/meminfo`: the host's lines with the container's numbers. How the kernel maps its memory is nobody else's matter.
pub(super) fn meminfo(host: &str, figures: &Figures, out: &mut Vec<u8>) {
    for line in host.lines().filter(|line| !line.starts_with("DirectMap")) {
        match line.split_once(':').and_then(|(key, _)| Some((key, figures.value(key)?))) {
            Some((key, value)) => put(out, key, value),
            None => {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// `nodeN/meminfo`: the host's lines (`Node 0 MemTotal: …`) with the container's numbers.
pub(super) fn node_meminfo(host: &str, figures: &Figures, out: &mut Vec<u8>) {
    for line in host.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(node), Some(number), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
        match rest.split_once(':').and_then(|(key, _)| Some((key, figures.value(key)?))) {
            Some((key, value)) => {
                write!(out, "{node} {number} ").ok();
                put(out, key, value);
            }
            None => {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// One line as the kernel writes it: the longest names leave less room.
fn put(out: &mut Vec<u8>, key: &str, value: u64) {
    let width = if key.len() > 15 { 6 } else { 8 };
    let start = out.len();
    out.extend_from_slice(key.as_bytes());
    out.push(b':');
    let end = start + 16.max(key.len() + 1);
    out.resize(end, b' ');
    writeln!(out, "{value:>width$} kB").ok();
}

/// `/proc/swaps`: one line for all that the container may swap to.
pub(super) fn swaps(figures: &Figures, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    if figures.swap_total == 0 {
        return;
    }
    let (size, used) = (figures.swap_total, figures.swap_total.saturating_sub(figures.swap_free));
    let tab = |value: u64| if value < 10_000_000 { "\t" } else { "" };
    writeln!(out, "{:<40}virtual\t\t{size}\t{}{used}\t{}-1", "none", tab(size), tab(used)).ok();
}

/// `/proc/vmstat`, or that of a node: the host's names, with the container's numbers where they are known and else 0.
pub(super) fn vmstat(host: &str, figures: &Figures, page: u64, event: impl Fn(&str) -> Option<u64>, out: &mut Vec<u8>) {
    for name in host.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()) {
        let value = figures.pages(name, page).or_else(|| event(name)).unwrap_or(0);
        writeln!(out, "{name} {value}").ok();
    }
}

impl Figures {
    /// The value of a line of `vmstat` that is a state and no count of events.
    fn pages(&self, name: &str, page: u64) -> Option<u64> {
        let stat = &self.stat;
        let bytes = match name {
            "nr_free_pages" => self.free.saturating_mul(1024),
            "nr_zone_inactive_anon" | "nr_inactive_anon" => stat.inactive_anon,
            "nr_zone_active_anon" | "nr_active_anon" => stat.active_anon,
            "nr_zone_inactive_file" | "nr_inactive_file" => stat.inactive_file,
            "nr_zone_active_file" | "nr_active_file" => stat.active_file,
            "nr_zone_unevictable" | "nr_unevictable" => stat.unevictable,
            "nr_zone_write_pending" => stat.dirty.saturating_add(stat.writeback),
            "nr_slab_reclaimable" => stat.slab_reclaimable,
            "nr_slab_unreclaimable" => stat.slab_unreclaimable,
            "nr_anon_pages" => stat.anon,
            "nr_mapped" => stat.mapped,
            "nr_file_pages" => stat.file,
            "nr_dirty" => stat.dirty,
            "nr_writeback" => stat.writeback,
            "nr_shmem" => stat.shmem,
            "nr_swapcached" => stat.swap_cached,
            "nr_page_table_pages" => stat.page_tables,
            "nr_sec_page_table_pages" => stat.secondary_page_tables,
            // In kB, other than all others.
            "nr_kernel_stack" => return Some(stat.kernel_stack / 1024),
            _ => return None,
        };
        Some(bytes / page.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::cgroup::Swap;
    use proptest::prelude::*;

    const HOST: &str = "MemTotal:       16384256 kB\nMemFree:         8000000 kB\nMemAvailable:   12000000 kB\nBuffers:           70988 kB\n\
        Cached:          2725096 kB\nSwapCached:            7 kB\nSwapTotal:       2000000 kB\nSwapFree:        1500000 kB\n\
        Dirty:              5216 kB\nShmem:             11080 kB\nVmallocTotal:   34359738367 kB\nHardwareCorrupted:     4 kB\n\
        HugePages_Total:       0\nHugepagesize:       2048 kB\nDirectMap4k:       28672 kB\n";
    const MB: u64 = 1 << 20;

    fn shown(memory: &Memory) -> String {
        let mut out = Vec::new();
        meminfo(HOST, &Figures::new(&Host::parse(HOST, 50), memory), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn limited(limit: u64, usage: u64) -> Memory {
        let stat =
            MemoryStat { file: 40 * MB, inactive_file: 30 * MB, dirty: MB, shmem: 3 * MB, ..MemoryStat::default() };
        Memory { limit: Some(limit), room: Some(limit.saturating_sub(usage)), usage, swap: None, stat }
    }

    #[test]
    fn meminfo_shows_the_limit_in_the_kernels_form() {
        let wanted = "MemTotal:         262144 kB\nMemFree:          159744 kB\nMemAvailable:     190464 kB\n\
            Buffers:               0 kB\nCached:            40960 kB\nSwapCached:            0 kB\nSwapTotal:             0 kB\n\
            SwapFree:              0 kB\nDirty:              1024 kB\nShmem:              3072 kB\n\
            VmallocTotal:   34359738367 kB\nHardwareCorrupted:     0 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n";
        assert_eq!(shown(&limited(256 * MB, 100 * MB)), wanted);
    }

    #[test]
    fn a_limit_below_use_leaves_nothing_and_wraps_nothing() {
        let text = shown(&limited(50 * MB, 100 * MB));
        assert!(
            text.starts_with("MemTotal:          51200 kB\nMemFree:               0 kB\nMemAvailable:      30720 kB\n")
        );
        assert!(
            shown(&limited(0, 100 * MB))
                .starts_with("MemTotal:              0 kB\nMemFree:               0 kB\nMemAvailable:          0 kB\n")
        );
    }

    #[test]
    fn without_a_limit_total_and_free_are_the_hosts() {
        let text = shown(&Memory { usage: 100 * MB, ..Memory::default() });
        assert!(
            text.starts_with("MemTotal:       16384256 kB\nMemFree:         8000000 kB\nMemAvailable:   12000000 kB\n")
        );
    }

    #[test]
    fn nothing_is_more_than_the_host_has() {
        let figures = Figures::new(&Host::parse(HOST, 50), &limited(1 << 60, 0));
        assert_eq!((figures.total, figures.free, figures.available), (16_384_256, 8_000_000, 12_000_000));
    }

    #[test]
    fn swap_is_what_may_be_used_of_the_hosts() {
        let swap = |limit, used| {
            let memory = Memory { swap: Some(Swap { limit, used }), ..limited(256 * MB, 0) };
            let figures = Figures::new(&Host::parse(HOST, 50), &memory);
            (figures.swap_total, figures.swap_free)
        };
        assert_eq!(swap(Some(100 * MB), MB), (102_400, 101_376));
        assert_eq!(swap(None, MB), (2_000_000, 1_500_000));
        assert_eq!(swap(Some(0), MB), (1024, 0));
        assert_eq!(swap(Some(0), 0), (0, 0));
        assert_eq!(swap(Some(u64::MAX), u64::MAX), (2_000_000, 0));
    }

    #[test]
    fn swaps_has_one_line_where_there_is_swap() {
        let mut out = Vec::new();
        let memory = Memory { swap: Some(Swap { limit: Some(100 * MB), used: MB }), ..limited(256 * MB, 0) };
        swaps(&Figures::new(&Host::parse(HOST, 50), &memory), &mut out);
        let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        let line = "none                                    virtual\t\t102400\t\t1024\t\t-1\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{header}{line}"));
    }

    #[test]
    fn vmstat_counts_pages_and_hides_the_hosts_events() {
        let mut out = Vec::new();
        let figures = Figures::new(&Host::parse(HOST, 50), &limited(256 * MB, 100 * MB));
        let event = |name: &str| (name == "pgfault").then_some(7);
        vmstat(
            "nr_free_pages 9\nnr_file_pages 9\nnr_dirty 9\npgfault 9\npgmajfault 9\n",
            &figures,
            4096,
            event,
            &mut out,
        );
        assert_eq!(out, b"nr_free_pages 39936\nnr_file_pages 10240\nnr_dirty 256\npgfault 7\npgmajfault 0\n");
    }

    #[test]
    fn a_node_has_its_part_of_the_memory() {
        let mut out = Vec::new();
        let figures = Figures::new(&Host::parse(HOST, 50), &limited(256 * MB, 100 * MB)).part(1, 4);
        let host = "Node 1 MemTotal:       15952084 kB\nNode 1 MemUsed:         4253220 kB\nNode 1 FilePages:       2796104 kB\nNode 1 HugePages_Total:     0\n";
        node_meminfo(host, &figures, &mut out);
        let wanted = "Node 1 MemTotal:          65536 kB\nNode 1 MemUsed:           25600 kB\nNode 1 FilePages:         10240 kB\nNode 1 HugePages_Total:     0\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn a_group_without_limits_shows_this_hosts_meminfo_line_by_line() {
        let host = std::fs::read_to_string("/proc/meminfo").unwrap();
        let mut out = Vec::new();
        meminfo(&host, &Figures::new(&Host::parse(&host, 50), &Memory::default()), &mut out);
        let keys = |text: &str| -> Vec<(String, usize)> {
            let lines = text.lines().filter(|line| !line.starts_with("DirectMap"));
            lines.map(|line| (line.split(':').next().unwrap().to_owned(), line.len())).collect()
        };
        assert_eq!(keys(&String::from_utf8(out).unwrap()), keys(&host));
    }

    proptest! {
        #[test]
        fn no_numbers_wrap(limit in prop::option::of(any::<u64>()), room in prop::option::of(any::<u64>()),
            swap in prop::option::of((prop::option::of(any::<u64>()), any::<u64>())), file: u64, ratio: u64) {
            let stat = MemoryStat { file, active_file: file, inactive_file: file, slab_reclaimable: file, anon: file, shmem: file,
                ..MemoryStat::default() };
            let swap = swap.map(|(limit, used)| Swap { limit, used });
            let host = Host::parse(HOST, ratio);
            let figures = Figures::new(&host, &Memory { limit, room, usage: file, swap, stat });
            prop_assert!(figures.total <= host.total && figures.free <= figures.total && figures.available <= figures.total);
            prop_assert!(figures.swap_total <= host.swap_total && figures.swap_free <= figures.swap_total);
            let mut out = Vec::new();
            meminfo(HOST, &figures.part(file, ratio), &mut out);
        }

        #[test]
        fn no_host_text_stops_us(host in "(?s).{0,200}", numbers in "[A-Za-z:0-9 k\n]{0,200}") {
            for host in [&host, &numbers] {
                let (figures, mut out) = (Figures::new(&Host::parse(host, 50), &limited(MB, MB)), Vec::new());
                meminfo(host, &figures, &mut out);
                node_meminfo(host, &figures, &mut out);
                vmstat(host, &figures, 0, |_| None, &mut out);
            }
        }
    }
}
