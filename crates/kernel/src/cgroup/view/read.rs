// SPDX-License-Identifier: Apache-2.0
//! The files of one group and of all groups above it, in whichever version has them.

use std::path::{Path, PathBuf};

use super::super::Group;
use super::text;
use super::{Device, Kept, Memory, ProcessorTime, Processors, Quota, Resource, Swap};

/// So many levels keep their descriptors; groups further up are opened for each read.
const KEPT_LEVELS: usize = 6;

/// Groups further up than this have a name that no path can hold.
const MOST_LEVELS: usize = 64;

/// A group whose files stay open. None of its readings fails: what is gone gives its last, what never was gives none.
#[derive(Debug)]
pub struct Watched {
    pub(super) group: Group,
    memory: Vec<MemoryLevel>,
    memory_stat: Kept,
    kernel_memory: Option<Kept>,
    processors: Vec<ProcessorLevel>,
    time: Kept,
    throttled: Option<Kept>,
    io: [Kept; 2],
    io_of_bfq: Option<[Kept; 2]>,
    pressure: [Option<Kept>; 4],
    tasks: Kept,
    is_legacy: Legacy,
    pub(super) last_pid: super::census::LastPid,
}

/// Which controllers version 1 has.
#[derive(Debug, Clone, Copy)]
struct Legacy {
    memory: bool,
    quota: bool,
    time: bool,
    io: bool,
}

/// One group's limits and use of memory.
#[derive(Debug)]
struct MemoryLevel {
    usage: Kept,
    limits: Vec<Kept>,
    swap_usage: Kept,
    swap_limit: Kept,
}

/// One group's limits of processors.
#[derive(Debug)]
struct ProcessorLevel {
    quota: Kept,
    period: Option<Kept>,
    set: [Kept; 2],
    nodes: [Kept; 2],
}

impl Group {
    /// Watches the group, which may or may not exist: nothing is opened before it is asked for.
    #[must_use]
    pub fn watch(&self) -> Watched {
        let is_legacy = Legacy {
            memory: self.layout.legacy_path("memory").is_some(),
            quota: self.layout.legacy_path("cpu").is_some(),
            time: self.layout.legacy_path("cpuacct").is_some(),
            io: self.layout.legacy_path("blkio").is_some(),
        };
        let own = |controller: &str, legacy: &str, unified: &str| match self.legacy(controller) {
            Some(path) => Kept::whole(path.join(legacy)),
            None => Kept::whole(self.unified().unwrap_or_default().join(unified)),
        };
        let only_legacy = |controller: &str, file: &str| self.legacy(controller).map(|path| path.join(file));
        let bfq = |file: &str| only_legacy("blkio", file).map(Kept::whole);
        Watched {
            memory: self.levels("memory").iter().enumerate().map(|level| MemoryLevel::new(level, is_legacy)).collect(),
            memory_stat: own("memory", "memory.stat", "memory.stat"),
            kernel_memory: only_legacy("memory", "memory.kmem.usage_in_bytes").map(Kept::whole),
            processors: self.processor_levels(is_legacy),
            time: own("cpuacct", "cpuacct.usage_all", "cpu.stat"),
            throttled: only_legacy("cpu", "cpu.stat").map(Kept::whole),
            io: [
                own("blkio", "blkio.throttle.io_serviced_recursive", "io.stat"),
                own("blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat"),
            ],
            io_of_bfq: bfq("blkio.bfq.io_serviced_recursive")
                .zip(bfq("blkio.bfq.io_service_bytes_recursive"))
                .map(|(counts, bytes)| [counts, bytes]),
            pressure: Resource::ALL.map(|resource| self.pressure_file(resource.name()).map(Kept::whole)),
            tasks: own("pids", "pids.current", "pids.current"),
            is_legacy,
            group: self.clone(),
            last_pid: super::census::LastPid::default(),
        }
    }

    /// The directories of the group and of all groups above it, up to the top of the tree.
    fn levels(&self, controller: &str) -> Vec<PathBuf> {
        let Some(root) = self.layout.legacy_path(controller).or(self.layout.unified.as_deref()) else {
            return Vec::new();
        };
        let names = Path::new(&self.name).ancestors();
        names.take(MOST_LEVELS).map(|name| root.join(name)).collect()
    }

    fn processor_levels(&self, is_legacy: Legacy) -> Vec<ProcessorLevel> {
        let (quotas, sets) = (self.levels("cpu"), self.levels("cpuset"));
        let legacy_set = self.layout.legacy_path("cpuset").is_some();
        let levels = quotas.iter().zip(&sets).enumerate();
        levels
            .map(|(depth, (quota, set))| ProcessorLevel::new(depth, quota, set, is_legacy.quota, legacy_set))
            .collect()
    }
}

fn kept(depth: usize, path: PathBuf) -> Kept {
    let kept = Kept::whole(path);
    if depth < KEPT_LEVELS { kept } else { kept.opened_each_time() }
}

impl MemoryLevel {
    fn new((depth, directory): (usize, &PathBuf), is_legacy: Legacy) -> Self {
        let file = |name: &str| kept(depth, directory.join(name));
        if is_legacy.memory {
            return Self {
                usage: file("memory.usage_in_bytes"),
                limits: vec![file("memory.limit_in_bytes")],
                swap_usage: file("memory.memsw.usage_in_bytes"),
                swap_limit: file("memory.memsw.limit_in_bytes"),
            };
        }
        Self {
            usage: file("memory.current"),
            limits: vec![file("memory.max"), file("memory.high")],
            swap_usage: file("memory.swap.current"),
            swap_limit: file("memory.swap.max"),
        }
    }

    fn limit(&mut self) -> Option<u64> {
        self.limits.iter_mut().filter_map(|limit| text::limit(limit.text())).min()
    }
}

impl ProcessorLevel {
    fn new(depth: usize, quota: &Path, set: &Path, legacy_quota: bool, legacy_set: bool) -> Self {
        let file = |directory: &Path, name: &str| kept(depth, directory.join(name));
        let pair = |names: [&str; 2]| names.map(|name| file(set, name));
        Self {
            quota: file(quota, if legacy_quota { "cpu.cfs_quota_us" } else { "cpu.max" }),
            period: legacy_quota.then(|| file(quota, "cpu.cfs_period_us")),
            set: pair(if legacy_set {
                ["cpuset.effective_cpus", "cpuset.cpus"]
            } else {
                ["cpuset.cpus.effective", "cpuset.cpus"]
            }),
            nodes: pair(if legacy_set {
                ["cpuset.effective_mems", "cpuset.mems"]
            } else {
                ["cpuset.mems.effective", "cpuset.mems"]
            }),
        }
    }

    fn quota(&mut self) -> Option<Quota> {
        let first = self.quota.text();
        match &mut self.period {
            Some(_) if first.starts_with('-') => None,
            Some(period) => text::quota(first, period.text()),
            None => first.trim().split_once(' ').and_then(|(quota, period)| text::quota(quota, period)),
        }
    }
}

/// The first that is a list and not empty.
fn first_list(files: &mut [Kept; 2]) -> Option<Vec<u32>> {
    files.iter_mut().map(|file| text::parse_list(file.text())).find(|list| !list.is_empty())
}

impl Watched {
    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// Memory now; `None` where the kernel does not count that of the group.
    pub fn memory(&mut self) -> Option<Memory> {
        let mut memory = Memory { usage: self.memory.first_mut()?.usage.number()?, ..Memory::default() };
        for (above, level) in self.memory.iter_mut().enumerate() {
            let Some(limit) = level.limit() else { continue };
            memory.limit = least(memory.limit, Some(limit));
            if let Some(usage) = if above == 0 { Some(memory.usage) } else { level.usage.number() } {
                memory.room = least(memory.room, Some(limit.saturating_sub(usage)));
            }
        }
        let kernel = self.kernel_memory.as_mut().and_then(Kept::number);
        let stat = self.memory_stat.text();
        memory.stat = if self.is_legacy.memory { text::legacy_stat(stat, kernel) } else { text::unified_stat(stat) };
        memory.swap = self.swap(&memory);
        Some(memory)
    }

    fn swap(&mut self, memory: &Memory) -> Option<Swap> {
        let usage = self.memory.first_mut()?.swap_usage.number()?;
        let limits = self.memory.iter_mut().filter_map(|level| text::limit(level.swap_limit.text()));
        let limit = limits.min();
        if !self.is_legacy.memory {
            return Some(Swap { limit, used: usage });
        }
        // There the limit and the use are those of memory and swap together.
        let limit = limit.map(|both| both.saturating_sub(memory.limit.unwrap_or(0)));
        Some(Swap { limit, used: memory.stat.swap.unwrap_or_else(|| usage.saturating_sub(memory.usage)) })
    }

    /// A counter of events of memory, by the name that `/proc/vmstat` has for it, as of the last [`Self::memory`].
    #[must_use]
    pub fn memory_event(&self, name: &str) -> Option<u64> {
        let text = std::str::from_utf8(self.memory_stat.last()?).ok()?;
        let prefix = if self.is_legacy.memory { "total_" } else { "" };
        let value = |line: &str| line.strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(value)
    }

    /// Limits of processors now.
    pub fn processors(&mut self) -> Processors {
        let mut processors = Processors {
            set: self.processors.iter_mut().find_map(|level| first_list(&mut level.set)),
            nodes: self.processors.iter_mut().find_map(|level| first_list(&mut level.nodes)),
            quota: None,
        };
        for quota in self.processors.iter_mut().filter_map(ProcessorLevel::quota) {
            if processors.quota.is_none_or(|least| quota.is_less_than(least)) {
                processors.quota = Some(quota);
            }
        }
        processors
    }

    /// Processor time until now; `None` where it is not counted.
    pub fn processor_time(&mut self) -> Option<ProcessorTime> {
        if !self.is_legacy.time {
            return text::unified_time(self.time.text());
        }
        let each = text::usage_all(self.time.text());
        if each.is_empty() {
            return None;
        }
        let sum = |part: fn(&(u32, u64, u64)) -> u64| each.iter().map(part).fold(0, u64::saturating_add);
        let throttled = self.throttled.as_mut().and_then(|file| text::keyed(file.text(), "throttled_time"));
        Some(ProcessorTime {
            user_ns: sum(|one| one.1),
            nice_ns: 0,
            system_ns: sum(|one| one.2),
            throttled_ns: throttled.unwrap_or(0),
            each,
        })
    }

    /// The block devices that the group has used.
    pub fn devices(&mut self) -> Vec<Device> {
        let [counts, bytes] = &mut self.io;
        if !self.is_legacy.io {
            return text::unified_devices(counts.text());
        }
        let devices = text::legacy_devices(counts.text(), bytes.text());
        match &mut self.io_of_bfq {
            Some([counts, bytes]) if devices.is_empty() => text::legacy_devices(counts.text(), bytes.text()),
            _ => devices,
        }
    }

    /// What the group's tasks had to wait for, as the kernel's own text (Documentation/accounting/psi); `None` where it is not
    /// counted for groups.
    pub fn pressure(&mut self, resource: Resource) -> Option<&[u8]> {
        let index = Resource::ALL.iter().position(|one| *one == resource)?;
        self.pressure.get_mut(index)?.as_mut()?.read()
    }

    /// Processes and threads now.
    pub fn tasks(&mut self) -> Option<u64> {
        self.tasks.number()
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
