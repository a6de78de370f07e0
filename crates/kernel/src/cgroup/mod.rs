// SPDX-License-Identifier: Apache-2.0
//! Control groups, whichever of version 1, version 2 or a mix of both the host has: nobody above asks which.

mod group;
mod memory;
mod settings;
mod stats;
mod view;

use std::path::{Path, PathBuf};

use crate::error::{Call, Result};

pub use group::{Group, joins};
pub use memory::OomCount;
pub use settings::{DeviceKind, DeviceRule, Limits, Setting, Throttle, UNLIMITED, settings};
pub use stats::Stats;
pub use view::{
    Census, Device, Kept, Memory, MemoryStat, ProcessorTime, Processors, Quota, Resource, Swap, Watched, page_bytes,
    parse_list,
};

/// One mounted hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers, e.g. `cpu`, `cpuacct`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What is mounted where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The version 2 tree.
    pub unified: Option<PathBuf>,
    /// The controllers that the version 2 tree has.
    pub unified_controllers: Vec<String>,
    /// The version 1 hierarchies with a controller.
    pub legacy: Vec<Hierarchy>,
}

impl Layout {
    /// Reads the layout of this mount namespace.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` can not be read.
    pub fn detect() -> Result<Self> {
        const TREE: &str = "/sys/fs/cgroup";
        const CGROUP2_MAGIC: i64 = 0x6367_7270;
        // The usual place of a host with version 2 alone, whose table of mounts need not be read for that.
        if rustix::fs::statfs(TREE).is_ok_and(|system| system.f_type == CGROUP2_MAGIC) {
            let path = Path::new(TREE).join("cgroup.controllers");
            let controllers = crate::file::read_small(&path).unwrap_or_default();
            let controllers = String::from_utf8_lossy(&controllers);
            let unified_controllers = controllers.split_whitespace().map(str::to_owned).collect();
            return Ok(Self { unified: Some(TREE.into()), unified_controllers, legacy: Vec::new() });
        }
        let path = "/proc/self/mountinfo";
        let table = std::fs::read_to_string(path).call(|| format!("read({path:?})"))?;
        let mut layout = Self::parse(&table);
        if let Some(unified) = &layout.unified {
            let controllers = std::fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
            layout.unified_controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// The layout that a mountinfo text describes, without the controllers of version 2.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(path) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") if layout.unified.is_none() => layout.unified = Some(path),
                Some("cgroup") => {
                    let options = right.nth(1).unwrap_or_default();
                    let controllers: Vec<String> =
                        options.split(',').filter(|option| CONTROLLERS.contains(option)).map(str::to_owned).collect();
                    let known = |other: &Hierarchy| other.controllers == controllers;
                    if !controllers.is_empty() && !layout.legacy.iter().any(known) {
                        layout.legacy.push(Hierarchy { controllers, path });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Where version 1 keeps this controller, if it does.
    #[must_use]
    pub fn legacy_path(&self, controller: &str) -> Option<&Path> {
        let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|name| name == controller);
        self.legacy.iter().find(has).map(|hierarchy| hierarchy.path.as_path())
    }

    /// Can this controller limit anything here?
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        let unified = if controller == "blkio" { "io" } else { controller };
        self.legacy_path(controller).is_some() || self.unified_controllers.iter().any(|name| name == unified)
    }

    /// In a word: `v2`, `v1`, `hybrid` or `none`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }
}

/// The version 2 group that the process `pid` is in now.
///
/// # Errors
/// When its file can not be read, or open(2)'s.
pub fn unified_of(pid: i32) -> Result<Option<std::os::fd::OwnedFd>> {
    let Some(root) = Layout::detect()?.unified else { return Ok(None) };
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let Some(group) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(None) };
    let group = root.join(group);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(&group, flags, rustix::fs::Mode::empty()).call(|| format!("open({group:?})")).map(Some)
}

const CONTROLLERS: &[&str] = &[
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_hybrid_host_keeps_both_trees_and_skips_named_hierarchies() {
        let layout = Layout::parse(HYBRID);
        assert_eq!(layout.kind(), "hybrid");
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(layout.legacy_path("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(layout.legacy.len(), 1);
        assert!(layout.has("cpu") && !layout.has("memory"));
    }
}
