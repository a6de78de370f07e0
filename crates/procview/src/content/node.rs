// SPDX-License-Identifier: Apache-2.0
//! The nodes of the tree and their numbers, which say all that there is to know of a node: nothing is remembered, so that
//! every process that serves the same container gives the same numbers.

use kernel::cgroup::Resource;

/// A node of the tree; 1 is the root.
///
/// All fit 32 bits: programs without large-file support can not look at files with larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub u64);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// It has entries.
    Directory,
    /// It has a text.
    File,
    /// Its text is where it leads.
    Link,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node.
    pub id: Id,
    /// What it is.
    pub shape: Shape,
    /// Its name.
    pub name: String,
}

/// More processors than these are not shown.
pub(super) const MOST_PROCESSORS: usize = 1 << 12;

/// Files of `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcFile {
    Meminfo,
    Cpuinfo,
    Stat,
    Uptime,
    Loadavg,
    Swaps,
    Diskstats,
    Vmstat,
    Slabinfo,
    Partitions,
    BootId,
}

impl ProcFile {
    pub(super) const ALL: [(Self, &str); 11] = [
        (Self::Meminfo, "meminfo"),
        (Self::Cpuinfo, "cpuinfo"),
        (Self::Stat, "stat"),
        (Self::Uptime, "uptime"),
        (Self::Loadavg, "loadavg"),
        (Self::Swaps, "swaps"),
        (Self::Diskstats, "diskstats"),
        (Self::Vmstat, "vmstat"),
        (Self::Slabinfo, "slabinfo"),
        (Self::Partitions, "partitions"),
        (Self::BootId, "boot_id"),
    ];
}

/// `/sys/devices/system/cpu`.
pub(super) const CPUS_FILES: &[&str] =
    &["online", "present", "possible", "enabled", "offline", "isolated", "kernel_max", "modalias", "uevent"];
/// `/sys/devices/system/cpu/smt`.
pub(super) const SMT_FILES: &[&str] = &["active", "control"];
/// `/sys/devices/system/cpu/cpuN`.
pub(super) const CPU_FILES: &[&str] = &["uevent", "online", "cpu_capacity"];
/// `/sys/devices/system/cpu/cpuN/topology`: numbers, then sets as mask and as list.
pub(super) const TOPOLOGY_FILES: &[&str] = &[
    "physical_package_id",
    "die_id",
    "cluster_id",
    "core_id",
    "thread_siblings",
    "thread_siblings_list",
    "core_cpus",
    "core_cpus_list",
    "core_siblings",
    "core_siblings_list",
    "package_cpus",
    "package_cpus_list",
    "die_cpus",
    "die_cpus_list",
    "cluster_cpus",
    "cluster_cpus_list",
];
/// `/sys/devices/system/cpu/cpuN/cache/indexM`.
pub(super) const CACHE_FILES: &[&str] = &[
    "level",
    "type",
    "size",
    "id",
    "ways_of_associativity",
    "coherency_line_size",
    "number_of_sets",
    "physical_line_partition",
    "write_policy",
    "allocation_policy",
    "shared_cpu_map",
    "shared_cpu_list",
    "uevent",
];
/// `/sys/devices/system/node`.
pub(super) const NODES_FILES: &[&str] =
    &["online", "possible", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator", "uevent"];
/// `/sys/devices/system/node/nodeN`.
pub(super) const NUMA_FILES: &[&str] = &["cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat", "uevent"];

/// A node, by what is there. Processors are counted as the container does, memory nodes as the host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Root,
    Proc,
    ProcFile(ProcFile),
    Pressure,
    PressureFile(Resource),
    Sys,
    Cpus,
    CpusFile(usize),
    Smt,
    SmtFile(usize),
    Vulnerabilities,
    Vulnerability(usize),
    Cpu(usize),
    CpuFile(usize, usize),
    CpuSubsystem(usize),
    CpuNuma(usize, usize),
    Topology(usize),
    TopologyFile(usize, usize),
    Caches(usize),
    Cache(usize, usize),
    CacheFile(usize, usize, usize),
    Numas,
    NumasFile(usize),
    Numa(usize),
    NumaFile(usize, usize),
    NumaCpu(usize, usize),
    NumaSubsystem(usize),
    Disks,
    /// The counters of a disk or partition of these numbers.
    Disk(usize, usize),
}

/// The numbers of disks have room for these.
const MOST_MAJOR: usize = 1 << 9;
const MOST_MINOR: usize = 1 << 18;

/// Kind (5 bits), processor (12), cache or memory node (7), file (8).
fn pack(kind: usize, processor: usize, index: usize, file: usize) -> Id {
    let number = (kind << 27) | ((processor & 0xfff) << 15) | ((index & 0x7f) << 8) | (file & 0xff);
    Id(u64::try_from(number).unwrap_or_default())
}

/// Kind (5 bits), major (9), minor (18).
fn pack_disk(major: usize, minor: usize) -> Id {
    let number = (28 << 27) | ((major % MOST_MAJOR) << 18) | (minor % MOST_MINOR);
    Id(u64::try_from(number).unwrap_or_default())
}

impl Node {
    /// The counters of the disk that is named `MAJOR:MINOR`.
    pub(super) fn disk(name: &str) -> Option<Self> {
        let (major, minor) = name.split_once(':')?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        (major < MOST_MAJOR && minor < MOST_MINOR).then_some(Self::Disk(major, minor))
    }

    pub(super) fn id(self) -> Id {
        match self {
            Self::Root => Id(1),
            Self::Proc => pack(1, 0, 0, 0),
            Self::ProcFile(file) => pack(2, 0, 0, position(&ProcFile::ALL, |(one, _)| *one == file)),
            Self::Pressure => pack(3, 0, 0, 0),
            Self::PressureFile(of) => pack(4, 0, 0, position(&Resource::ALL, |one| *one == of)),
            Self::Sys => pack(5, 0, 0, 0),
            Self::Cpus => pack(6, 0, 0, 0),
            Self::CpusFile(file) => pack(7, 0, 0, file),
            Self::Smt => pack(8, 0, 0, 0),
            Self::SmtFile(file) => pack(9, 0, 0, file),
            Self::Vulnerabilities => pack(10, 0, 0, 0),
            Self::Vulnerability(file) => pack(11, 0, 0, file),
            Self::Cpu(cpu) => pack(12, cpu, 0, 0),
            Self::CpuFile(cpu, file) => pack(13, cpu, 0, file),
            Self::CpuSubsystem(cpu) => pack(14, cpu, 0, 0),
            Self::CpuNuma(cpu, node) => pack(15, cpu, node, 0),
            Self::Topology(cpu) => pack(16, cpu, 0, 0),
            Self::TopologyFile(cpu, file) => pack(17, cpu, 0, file),
            Self::Caches(cpu) => pack(18, cpu, 0, 0),
            Self::Cache(cpu, index) => pack(19, cpu, index, 0),
            Self::CacheFile(cpu, index, file) => pack(20, cpu, index, file),
            Self::Numas => pack(21, 0, 0, 0),
            Self::NumasFile(file) => pack(22, 0, 0, file),
            Self::Numa(node) => pack(23, 0, node, 0),
            Self::NumaFile(node, file) => pack(24, 0, node, file),
            Self::NumaCpu(node, cpu) => pack(25, cpu, node, 0),
            Self::NumaSubsystem(node) => pack(26, 0, node, 0),
            Self::Disks => pack(27, 0, 0, 0),
            Self::Disk(major, minor) => pack_disk(major, minor),
        }
    }

    /// The node of a number that came from anywhere.
    pub(super) fn of(id: Id) -> Option<Self> {
        let number = usize::try_from(id.0).ok()?;
        if number == 1 {
            return Some(Self::Root);
        }
        let (cpu, index, file) = ((number >> 15) & 0xfff, (number >> 8) & 0x7f, number & 0xff);
        let node = match number >> 27 {
            1 => Self::Proc,
            2 => Self::ProcFile(ProcFile::ALL.get(file)?.0),
            3 => Self::Pressure,
            4 => Self::PressureFile(*Resource::ALL.get(file)?),
            5 => Self::Sys,
            6 => Self::Cpus,
            7 => Self::CpusFile(file),
            8 => Self::Smt,
            9 => Self::SmtFile(file),
            10 => Self::Vulnerabilities,
            11 => Self::Vulnerability(file),
            12 => Self::Cpu(cpu),
            13 => Self::CpuFile(cpu, file),
            14 => Self::CpuSubsystem(cpu),
            15 => Self::CpuNuma(cpu, index),
            16 => Self::Topology(cpu),
            17 => Self::TopologyFile(cpu, file),
            18 => Self::Caches(cpu),
            19 => Self::Cache(cpu, index),
            20 => Self::CacheFile(cpu, index, file),
            21 => Self::Numas,
            22 => Self::NumasFile(file),
            23 => Self::Numa(index),
            24 => Self::NumaFile(index, file),
            25 => Self::NumaCpu(index, cpu),
            26 => Self::NumaSubsystem(index),
            27 => Self::Disks,
            28 => Self::Disk((number >> 18) % MOST_MAJOR, number % MOST_MINOR),
            _ => return None,
        };
        // Bits that this kind of node does not use are of no node.
        (node.id() == id).then_some(node)
    }

    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::Root
            | Self::Proc
            | Self::Pressure
            | Self::Sys
            | Self::Cpus
            | Self::Smt
            | Self::Vulnerabilities
            | Self::Cpu(_)
            | Self::Topology(_)
            | Self::Caches(_)
            | Self::Cache(..)
            | Self::Numas
            | Self::Numa(_)
            | Self::Disks => Shape::Directory,
            Self::ProcFile(_)
            | Self::PressureFile(_)
            | Self::CpusFile(_)
            | Self::SmtFile(_)
            | Self::Vulnerability(_)
            | Self::CpuFile(..)
            | Self::TopologyFile(..)
            | Self::CacheFile(..)
            | Self::NumasFile(_)
            | Self::NumaFile(..)
            | Self::Disk(..) => Shape::File,
            Self::CpuSubsystem(_) | Self::CpuNuma(..) | Self::NumaCpu(..) | Self::NumaSubsystem(_) => Shape::Link,
        }
    }

    pub(super) const fn parent(self) -> Self {
        match self {
            Self::Root | Self::Proc | Self::Sys | Self::Disks => Self::Root,
            Self::Disk(..) => Self::Disks,
            Self::ProcFile(_) | Self::Pressure => Self::Proc,
            Self::PressureFile(_) => Self::Pressure,
            Self::Cpus | Self::Numas => Self::Sys,
            Self::CpusFile(_) | Self::Smt | Self::Vulnerabilities | Self::Cpu(_) => Self::Cpus,
            Self::SmtFile(_) => Self::Smt,
            Self::Vulnerability(_) => Self::Vulnerabilities,
            Self::CpuFile(cpu, _)
            | Self::CpuSubsystem(cpu)
            | Self::CpuNuma(cpu, _)
            | Self::Topology(cpu)
            | Self::Caches(cpu) => Self::Cpu(cpu),
            Self::TopologyFile(cpu, _) => Self::Topology(cpu),
            Self::Cache(cpu, _) => Self::Caches(cpu),
            Self::CacheFile(cpu, index, _) => Self::Cache(cpu, index),
            Self::NumasFile(_) | Self::Numa(_) => Self::Numas,
            Self::NumaFile(node, _) | Self::NumaCpu(node, _) | Self::NumaSubsystem(node) => Self::Numa(node),
        }
    }

    /// Whether its text changes with limits and hotplug only.
    pub(super) fn is_lasting(self) -> bool {
        let changing = |file: usize| NUMA_FILES.get(file).is_some_and(|name| CHANGING.contains(name));
        match self {
            Self::ProcFile(file) => [ProcFile::Cpuinfo, ProcFile::BootId, ProcFile::Slabinfo].contains(&file),
            Self::PressureFile(_) | Self::Disk(..) => false,
            Self::NumaFile(_, file) => !changing(file),
            _ => true,
        }
    }
}

/// Files of a memory node that change all the time.
const CHANGING: [&str; 3] = ["meminfo", "numastat", "vmstat"];

fn position<T>(all: &[T], is: impl Fn(&T) -> bool) -> usize {
    all.iter().position(is).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_of_one_node_at_most(kind in 0_u64..40, rest in 0_u64..(1 << 27), any: u64) {
            for number in [kind << 27 | rest, kind << 27 | (rest & 0xff), kind << 27 | (rest & 0x7f00), any] {
                if let Some(node) = Node::of(Id(number)) {
                    prop_assert_eq!(node.id(), Id(number));
                    prop_assert!(Node::of(node.parent().id()).is_some());
                }
            }
        }
    }

    #[test]
    fn the_root_is_its_own_parent_and_all_numbers_fit_32_bits() {
        assert_eq!(Node::of(Id(1)), Some(Node::Root));
        assert_eq!(Node::Root.parent(), Node::Root);
        let last = Node::NumaCpu(127, MOST_PROCESSORS - 1);
        assert!(last.id().0 <= u64::from(u32::MAX) && Node::of(last.id()) == Some(last));
    }
}
