// SPDX-License-Identifier: Apache-2.0
//! What a group may use and does use, read again and again through files that stay open.

mod census;
mod kept;
mod read;
mod text;

pub use census::Census;
pub use kept::Kept;
pub use read::Watched;
pub use text::parse_list;

/// Bytes in a page of memory.
#[must_use]
pub fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Memory of a group; all in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The smallest limit of the group and of all groups above it; `None` when none has one.
    pub limit: Option<u64>,
    /// The least that is left below any of these limits.
    pub room: Option<u64>,
    /// What the group uses, with its page cache.
    pub usage: u64,
    /// Its swap; `None` where the kernel does not count it.
    pub swap: Option<Swap>,
    /// What the memory is used for.
    pub stat: MemoryStat,
}

/// Swap of a group; in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swap {
    /// The smallest limit of the group and of all groups above it; `None` when none has one.
    pub limit: Option<u64>,
    /// What is used.
    pub used: u64,
}

/// What the memory of a group and of those below it is used for; all in bytes. What this kernel does not count is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the kernel's admin-guide/cgroup-v2, in words")]
pub struct MemoryStat {
    pub anon: u64,
    pub file: u64,
    pub shmem: u64,
    pub mapped: u64,
    pub dirty: u64,
    pub writeback: u64,
    pub active_anon: u64,
    pub inactive_anon: u64,
    pub active_file: u64,
    pub inactive_file: u64,
    pub unevictable: u64,
    pub swap_cached: u64,
    pub anon_huge: u64,
    pub shmem_huge: u64,
    pub file_huge: u64,
    pub kernel_stack: u64,
    pub page_tables: u64,
    pub secondary_page_tables: u64,
    pub per_processor: u64,
    pub vmalloc: u64,
    pub slab_reclaimable: u64,
    pub slab_unreclaimable: u64,
    pub zswap: u64,
    pub zswapped: u64,
    /// Swapped out, where it is counted here.
    pub swap: Option<u64>,
}

/// Processor time per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds of processor time, of all processors together.
    pub quota_us: u64,
    /// Microseconds of real time.
    pub period_us: u64,
}

impl Quota {
    /// How many whole processors it takes to use it up, at least one.
    #[must_use]
    pub fn whole(self) -> u64 {
        self.quota_us.div_ceil(self.period_us.max(1)).max(1)
    }

    /// The processor time that it allows in so much real time, both in nanoseconds.
    #[must_use]
    pub fn share_of(self, ns: u64) -> u64 {
        let share = u128::from(ns) * u128::from(self.quota_us) / u128::from(self.period_us.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn is_less_than(self, other: Self) -> bool {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.quota_us, other.period_us) < product(other.quota_us, self.period_us)
    }
}

/// On which processors a group may run, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processors {
    /// The processors, in order; `None` when nothing restricts them.
    pub set: Option<Vec<u32>>,
    /// The memory nodes, in order; `None` when nothing restricts them.
    pub nodes: Option<Vec<u32>>,
    /// The tightest quota of the group and of all groups above it.
    pub quota: Option<Quota>,
}

/// Processor time that a group and those below it have used since it was made; in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    /// In user mode, without `nice_ns`.
    pub user_ns: u64,
    /// In user mode at low priority, where the kernel tells it apart.
    pub nice_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Kept waiting by the quota, over all processors.
    pub throttled_ns: u64,
    /// User and system time of each processor of the host, where the kernel tells them apart; `user_ns` and `system_ns` are
    /// their sums then.
    pub each: Vec<(u32, u64, u64)>,
}

impl ProcessorTime {
    /// All that was used.
    #[must_use]
    pub const fn used_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.nice_ns).saturating_add(self.system_ns)
    }
}

/// What a group and those below it have done with one block device since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself")]
pub struct Device {
    pub major: u32,
    pub minor: u32,
    pub reads: u64,
    pub writes: u64,
    pub discards: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub discarded_bytes: u64,
}

/// What tasks may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself")]
pub enum Resource {
    Processor,
    Memory,
    Io,
    Interrupts,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Processor, Self::Memory, Self::Io, Self::Interrupts];

    /// As the kernel names it: of `/proc/pressure/cpu` and `cpu.pressure`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processor => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Interrupts => "irq",
        }
    }
}
