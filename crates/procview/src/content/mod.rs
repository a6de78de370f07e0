// SPDX-License-Identifier: Apache-2.0
//! What one container sees, made from its group's files and the host's; docs/procview.md has every formula.

mod clocks;
mod disks;
mod host;
mod load;
mod memory;
mod node;
mod proc;
mod processors;
mod sys;
#[cfg(test)]
mod tests;
mod tree;

use kernel::cgroup::{Census, Group, ProcessorTime, Processors, Watched};
use kernel::time::{boottime_ns, monotonic_ms};

use clocks::{Clocks, Moment};
use host::Host;
use load::Load;
use memory::Figures;
use node::Node;

pub use node::{Entry, Id, Shape};

/// The quota that its worker's share comes from is looked at this often.
const LIMITS_MS: u64 = 1000;

/// At the least so long a count of tasks is good enough.
const COUNT_MS: u64 = 1000;

/// Tasks are counted for no more than one part in so many of the time.
const COUNT_SHARE: u64 = 50;

/// What one container sees.
///
/// It opens nothing before it is asked, never fails, and can be made again at any moment by another process: the numbers of
/// nodes and nearly all texts depend on the host alone. The load average, and how processor time was divided among
/// visible processors while limits changed, are to be kept by whoever wants them to go on ([`Content::to_keep`]).
#[derive(Debug)]
pub struct Content {
    birth: Birth,
    watched: Watched,
    host: Host,
    clocks: Clocks,
    load: Load,
    count: Count,
    /// Namespaces of pids from the host's down to the container's.
    depth: Option<usize>,
    /// Interrupts, context switches and soft interrupts of the host when it began.
    counted: [u64; 3],
    /// Its quota, and when that was looked at.
    quota: Option<kernel::cgroup::Quota>,
    quota_ms: u64,
}

/// When the container's first process started, and what else is its own from then on.
#[derive(Clone, Debug)]
pub struct Birth {
    /// CLOCK_BOOTTIME at which it started, in nanoseconds; before the host's boot where its clock is ahead.
    pub boottime_ns: i64,
    /// It has a time namespace whose boot time began then, so that times in `/proc/PID/stat` count from it.
    pub own_clock: bool,
    /// A random boot id, without a newline.
    pub boot_id: String,
    /// Its first process on the host, if known: whose namespace of pids counts.
    pub init: Option<i32>,
}

/// What sysinfo(2) tells; memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysInfo {
    /// Seconds since the start, rounded up.
    pub uptime_s: u64,
    /// Load averages over 1, 5 and 15 minutes; 65536 is 1.0.
    pub loads: [u64; 3],
    /// Memory.
    pub total_ram: u64,
    /// Of it, free.
    pub free_ram: u64,
    /// Of it, shared.
    pub shared_ram: u64,
    /// Of it, for buffers.
    pub buffer_ram: u64,
    /// Swap.
    pub total_swap: u64,
    /// Of it, free.
    pub free_swap: u64,
    /// Processes and threads.
    pub procs: u64,
}

/// The last count of tasks.
#[derive(Debug, Default)]
struct Count {
    census: Census,
    made_ms: Option<u64>,
    took_ms: u64,
}

/// The processors that are seen at one moment.
#[derive(Debug)]
struct Sight {
    visible: Vec<u32>,
    /// These are all that the container may run on.
    is_all: bool,
    limits: Processors,
}

impl Content {
    /// The view of a group's container; nothing is opened yet.
    #[must_use]
    pub fn new(group: Group, birth: Birth) -> Self {
        Self {
            birth,
            watched: group.watch(),
            host: Host::new(),
            clocks: Clocks::default(),
            load: Load::default(),
            count: Count::default(),
            depth: None,
            counted: [0; 3],
            quota: None,
            quota_ms: 0,
        }
    }

    /// Makes a file's text, or where a link leads, into `out`; `false` when it is not there.
    pub fn text(&mut self, id: Id, out: &mut Vec<u8>) -> bool {
        out.clear();
        // Anybody may ask for a number that nobody was told.
        let Some((node, path)) = Node::of(id).and_then(|node| Some((node, self.place(node)?))) else { return false };
        match node {
            Node::ProcFile(file) => self.proc_text(file, out),
            Node::PressureFile(resource) => self.pressure_text(resource, out),
            Node::Disk(major, minor) => self.disk_text(major, minor, out),
            _ => self.sys_text(node, &path, out),
        }
    }

    /// Whether the text changes with limits and hotplug only.
    #[must_use]
    pub fn is_lasting(&self, id: Id) -> bool {
        Node::of(id).is_none_or(Node::is_lasting)
    }

    /// Nanoseconds of a processor that its worker may use in a window: half of one at most, less where the container has less.
    pub(crate) fn share(&mut self) -> u64 {
        let window = crate::serve::WINDOW_MS * 1_000_000;
        let now = monotonic_ms();
        if now >= self.quota_ms + LIMITS_MS {
            (self.quota, self.quota_ms) = (self.watched.processors().quota, now);
        }
        self.quota.map_or(window, |quota| quota.share_of(window)).clamp(window / 10, window / 2)
    }

    /// The host's processors that it sees, in order: the index is the number inside.
    pub fn processors(&mut self) -> Vec<u32> {
        self.sight().visible
    }

    fn sight(&mut self) -> Sight {
        let limits = self.watched.processors();
        let online = if limits.set.is_some() { Vec::new() } else { self.host.online() };
        let visible = processors::visible(&limits, &online);
        let all = limits.set.as_deref().unwrap_or(&online).len();
        Sight { is_all: visible.len() >= all, visible, limits }
    }

    fn moment<'a>(&self, sight: &'a Sight, time: &'a ProcessorTime) -> Moment<'a> {
        let (visible, is_all, quota) = (&sight.visible, sight.is_all, sight.limits.quota);
        Moment { uptime_ns: self.uptime_ns(), visible, is_all, quota, time }
    }

    /// What sysinfo(2) tells inside.
    pub fn memory_sysinfo(&mut self) -> SysInfo {
        let now = monotonic_ms();
        let (used_ns, uptime_ns) = (self.used_ns(), self.uptime_ns());
        self.load.catch_up(now, used_ns, uptime_ns);
        let (host, figures) = self.figures();
        let bytes = |kb: u64| kb.saturating_mul(1024);
        let procs = self.tasks();
        let base = SysInfo {
            uptime_s: uptime_ns.div_ceil(1_000_000_000),
            loads: self.load.for_sysinfo(),
            procs,
            ..SysInfo::default()
        };
        match figures {
            Some(figures) => SysInfo {
                total_ram: bytes(figures.total),
                free_ram: bytes(figures.free),
                shared_ram: bytes(figures.shared),
                total_swap: bytes(figures.swap_total),
                free_swap: bytes(figures.swap_free),
                ..base
            },
            None => SysInfo {
                total_ram: bytes(host.total),
                free_ram: bytes(host.free),
                shared_ram: bytes(host.shared),
                buffer_ram: bytes(host.buffers),
                total_swap: bytes(host.swap_total),
                free_swap: bytes(host.swap_free),
                ..base
            },
        }
    }

    /// The host's memory, and what of it the container sees; `None` where nobody counts its memory.
    fn figures(&mut self) -> (memory::Host, Option<Figures>) {
        let ratio = self.host.overcommit_ratio();
        let host = memory::Host::parse(self.host.meminfo.text(), ratio);
        let figures = self.watched.memory().map(|memory| Figures::new(&host, &memory));
        (host, figures)
    }

    /// Nanoseconds since the container started.
    fn uptime_ns(&self) -> u64 {
        let now = i64::try_from(boottime_ns()).unwrap_or(i64::MAX);
        u64::try_from(now.saturating_sub(self.birth.boottime_ns)).unwrap_or(0)
    }

    /// Somebody looks at the load average.
    fn ask_load(&mut self, now: u64) {
        let used_ns = self.used_ns();
        self.load.ask(now, used_ns, self.uptime_ns());
    }

    /// Nanoseconds of processors.
    fn used_ns(&mut self) -> u64 {
        self.watched.processor_time().map_or(0, |time| time.used_ns())
    }

    /// When the load average wants to be sampled next ([`monotonic_ms`]); `None` while nobody has asked for it in a minute.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        self.load.next_ms(monotonic_ms())
    }

    /// Its first process runs.
    pub fn born(&mut self, init: i32) {
        self.birth.init = Some(init);
        // What was counted without it may lack the last id.
        self.count = Count::default();
    }

    /// Is its first process known?
    #[must_use]
    pub const fn is_born(&self) -> bool {
        self.birth.init.is_some()
    }

    /// What its files do not say again: the load average, and the processors' clocks; when it has changed since this was
    /// asked last.
    pub fn to_keep(&mut self) -> Option<Vec<u64>> {
        let changed = [self.load.changed(), self.clocks.changed()].contains(&true);
        changed.then(|| [&self.load.words()[..], &self.clocks.words()].concat())
    }

    /// Goes on with what somebody has kept.
    pub fn go_on(&mut self, kept: &[u64]) {
        let Some((load, clocks)) = kept.split_first_chunk::<5>() else { return };
        self.load = Load::of(*load);
        self.clocks = Clocks::of(clocks).unwrap_or_default();
    }

    /// What only the host counts (interrupts, context switches) is shown from now on; gives what there was before.
    pub fn count_from_now(&mut self) -> [u64; 3] {
        let host = self.host.stat();
        self.counted = clocks::EVENTS.map(|key| clocks::host_value(host, key).unwrap_or(0));
        self.counted
    }

    /// The same as from another time.
    pub const fn count_from(&mut self, counted: [u64; 3]) {
        self.counted = counted;
    }

    /// Samples the load average when it is time.
    pub fn tick(&mut self) {
        let now = monotonic_ms();
        if self.load.next_ms(now).is_some_and(|next| now >= next) {
            self.count_now(now);
            let census = self.count.census;
            let used_ns = self.used_ns();
            self.load.sample(now, census.running.saturating_add(census.blocked), used_ns);
        }
    }

    /// The tasks, as counted not long ago.
    fn counted(&mut self) -> Census {
        let now = monotonic_ms();
        let pause = COUNT_MS.max(self.count.took_ms.saturating_mul(COUNT_SHARE));
        if self.count.made_ms.is_none_or(|made| now.saturating_sub(made) >= pause) {
            self.count_now(now);
        }
        self.count.census
    }

    fn count_now(&mut self, now: u64) {
        if self.depth.is_none() {
            let init = self.birth.init.and_then(|init| kernel::procfs::process(init).ok());
            self.depth = init.map(|init| init.pids.len());
        }
        let census = self.watched.census(self.depth);
        self.count = Count { census, made_ms: Some(now), took_ms: monotonic_ms().saturating_sub(now) };
    }

    /// Processes and threads.
    fn tasks(&mut self) -> u64 {
        self.watched.tasks().unwrap_or_else(|| self.counted().tasks)
    }
}
