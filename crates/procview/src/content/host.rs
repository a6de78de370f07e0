// SPDX-License-Identifier: Apache-2.0
//! The host's files that the container's are made from, kept open, and what is remembered of those that seldom change.

use std::collections::BTreeMap;
use std::path::Path;

use kernel::cgroup::{Kept, parse_list};
use kernel::time::monotonic_ms;

use super::processors::{self, CPUS, Place};

/// Where sysfs has the memory nodes.
pub(super) const NODES: &str = "/sys/devices/system/node";

/// For how long `cpuinfo`, and what sits where, is taken to stay as it is.
const LASTING_MS: u64 = 2000;

/// For how long the totals of `/proc/stat` are: with many processors that file takes the kernel a millisecond.
const TOTALS_MS: u64 = 200;

/// So many small texts of sysfs are remembered, for when no descriptor is left to read them with.
const MOST_REMEMBERED: usize = 1024;

/// No memory node has a larger number here.
const MOST_NODES: u32 = 128;

/// The files.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) meminfo: Kept,
    pub(super) vmstat: Kept,
    pub(super) diskstats: Kept,
    pub(super) partitions: Kept,
    overcommit_ratio: (Kept, u64),
    online: Kept,
    cpuinfo: (Kept, u64),
    stat: (Kept, u64),
    remembered: BTreeMap<String, Vec<u8>>,
    /// Whether these are there, and until when that is taken to be so.
    places: BTreeMap<String, (bool, u64)>,
    layout: Layout,
}

/// What of the processors and memory nodes is seen, and where it sits.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    until_ms: u64,
    visible: Vec<u32>,
    allowed_nodes: Option<Vec<u32>>,
    pub(super) places: Vec<Place>,
    /// The host's memory nodes that have some of them, or whose memory may be used.
    pub(super) nodes: Vec<Numa>,
    /// All of the host.
    pub(super) host_nodes: Vec<u32>,
}

/// One memory node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numa {
    pub(super) number: u32,
    /// Its visible processors, by their numbers inside.
    pub(super) processors: Vec<usize>,
    /// May its memory be used?
    pub(super) has_memory: bool,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            meminfo: Kept::whole("/proc/meminfo"),
            vmstat: Kept::records("/proc/vmstat"),
            diskstats: Kept::records("/proc/diskstats"),
            partitions: Kept::records("/proc/partitions").opened_each_time(),
            overcommit_ratio: (Kept::whole("/proc/sys/vm/overcommit_ratio").opened_each_time(), 0),
            places: BTreeMap::new(),
            online: Kept::whole(format!("{CPUS}/online")),
            cpuinfo: (Kept::records("/proc/cpuinfo").opened_each_time(), 0),
            stat: (Kept::whole("/proc/stat"), 0),
            remembered: BTreeMap::new(),
            layout: Layout::default(),
        }
    }

    /// The host's processors that are online.
    pub(super) fn online(&mut self) -> Vec<u32> {
        parse_list(self.online.text())
    }

    /// Is this there? As of the last seconds.
    pub(super) fn has(&mut self, path: &str) -> bool {
        let now = monotonic_ms();
        if let Some((is_there, until_ms)) = self.places.get(path)
            && now < *until_ms
        {
            return *is_there;
        }
        let is_there = kernel::file::exists(Path::new(path));
        if self.places.len() >= MOST_REMEMBERED {
            self.places.clear();
        }
        self.places.insert(path.to_owned(), (is_there, now + LASTING_MS));
        is_there
    }

    /// Per cent of memory that may be promised, of the last seconds.
    pub(super) fn overcommit_ratio(&mut self) -> u64 {
        of_late(&mut self.overcommit_ratio, LASTING_MS).trim().parse().unwrap_or(50)
    }

    /// `/proc/cpuinfo`, of the last seconds.
    pub(super) fn cpuinfo(&mut self) -> &str {
        of_late(&mut self.cpuinfo, LASTING_MS)
    }

    /// `/proc/stat`, of the last moment.
    pub(super) fn stat(&mut self) -> &str {
        of_late(&mut self.stat, TOTALS_MS)
    }

    /// A small text of sysfs; the one that it had last when it can not be read.
    pub(super) fn small(&mut self, path: &str) -> Option<&[u8]> {
        if let Ok(text) = kernel::file::read_small(Path::new(path)) {
            if self.remembered.len() >= MOST_REMEMBERED && !self.remembered.contains_key(path) {
                self.remembered.clear();
            }
            self.remembered.insert(path.to_owned(), text);
        }
        self.remembered.get(path).map(Vec::as_slice)
    }

    /// The same as a string.
    pub(super) fn small_text(&mut self, path: &str) -> &str {
        self.small(path).map_or("", |text| std::str::from_utf8(text).unwrap_or_default())
    }

    /// Where the visible processors sit, and the memory nodes.
    pub(super) fn layout(&mut self, visible: &[u32], allowed_nodes: Option<&[u32]>) -> &Layout {
        let now = monotonic_ms();
        let same = self.layout.visible == visible && self.layout.allowed_nodes.as_deref() == allowed_nodes;
        if !same || now >= self.layout.until_ms {
            let ids: Vec<_> = visible.iter().map(|cpu| processors::host_ids(*cpu)).collect();
            let host_nodes: Vec<u32> = parse_list(self.small_text(&format!("{NODES}/online")))
                .into_iter()
                .filter(|one| *one < MOST_NODES)
                .collect();
            self.layout = Layout {
                until_ms: now + LASTING_MS,
                visible: visible.to_vec(),
                allowed_nodes: allowed_nodes.map(<[u32]>::to_vec),
                places: processors::places(&ids),
                nodes: self.nodes(&host_nodes, visible, allowed_nodes),
                host_nodes,
            };
        }
        &self.layout
    }

    fn nodes(&mut self, host_nodes: &[u32], visible: &[u32], allowed: Option<&[u32]>) -> Vec<Numa> {
        let node = |number: &u32| Numa {
            number: *number,
            processors: processors::inside(self.small_text(&format!("{NODES}/node{number}/cpulist")), visible),
            has_memory: allowed.is_none_or(|allowed| allowed.contains(number)),
        };
        let nodes: Vec<Numa> = host_nodes.iter().map(node).collect();
        nodes.into_iter().filter(|node| node.has_memory || !node.processors.is_empty()).collect()
    }
}

/// Reads a file again when what is known of it is older than this.
fn of_late((file, read_ms): &mut (Kept, u64), age_ms: u64) -> &str {
    let now = monotonic_ms();
    if file.last().is_none() || now.saturating_sub(*read_ms) >= age_ms {
        *read_ms = now;
        return file.text();
    }
    file.last().map_or("", |text| std::str::from_utf8(text).unwrap_or_default())
}
