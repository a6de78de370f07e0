// SPDX-License-Identifier: Apache-2.0
//! The view as plain files on a tmpfs, made anew every second: for hosts without FUSE.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::Result;

use crate::content::{Content, Entry, Id, Shape};

/// How old a file may be, milliseconds.
pub(crate) const AGE_MS: u64 = 1000;

/// No directory of the view is deeper.
const DEPTH: usize = 8;

/// The file system, and what of the container was seen when it was filled last.
///
/// It belongs to the host's root, and containers have it read-only: what is written here by path no container can lead elsewhere.
#[derive(Debug)]
pub struct Snapshot {
    root: OwnedFd,
    visible: Vec<u32>,
}

impl Snapshot {
    /// Fills an empty file system.
    ///
    /// # Errors
    /// What there is no room for.
    pub fn new(root: OwnedFd, content: &mut Content) -> Result<Self> {
        let snapshot = Self { root, visible: content.processors() };
        snapshot.fill(Id(1), &snapshot.top(), content, true, 0)?;
        Ok(snapshot)
    }

    /// The file system.
    #[must_use]
    pub const fn root(&self) -> &OwnedFd {
        &self.root
    }

    fn top(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }

    /// Writes what may have changed; all of it when other processors are seen.
    pub(crate) fn refresh(&mut self, content: &mut Content) -> Result<()> {
        let visible = content.processors();
        let is_other = visible != self.visible;
        self.visible = visible;
        self.fill(Id(1), &self.top(), content, is_other, 0)
    }

    fn fill(&self, directory: Id, path: &Path, content: &mut Content, all: bool, depth: usize) -> Result<()> {
        let entries = content.list(directory);
        if all {
            let is_known = |name: &String| entries.iter().any(|entry| entry.name == *name);
            for gone in kernel::file::names(path)?.iter().filter(|name| !is_known(name)) {
                kernel::file::remove_any(&path.join(gone))?;
            }
        }
        let mut text = Vec::new();
        for Entry { id, shape, name } in entries {
            let place = path.join(name);
            match shape {
                Shape::Directory if depth < DEPTH => {
                    if all && !kernel::file::exists(&place) {
                        kernel::file::make_directory(&place, 0o755)?;
                    }
                    self.fill(id, &place, content, all, depth + 1)?;
                }
                Shape::File if (all || !content.is_lasting(id)) && content.text(id, &mut text) => {
                    if kernel::file::exists(&place) {
                        kernel::file::replace(&place, &text)?;
                    } else {
                        kernel::file::write_new(&place, &text, 0o644)?;
                    }
                }
                Shape::Link if all && !kernel::file::exists(&place) && content.text(id, &mut text) => {
                    kernel::file::make_link(&place, &String::from_utf8_lossy(&text))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Birth;
    use kernel::cgroup::{Group, Layout};

    #[test]
    fn it_has_what_the_view_has_and_follows_it() {
        let directory = std::env::temp_dir().join(format!("cella-snapshot-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let birth = Birth { boottime_ns: 0, own_clock: true, boot_id: "id".into(), init: None };
        let mut content = Content::new(Group::new(Layout::detect().unwrap(), "cella-snapshot-none"), birth);
        let root = kernel::root::open_directory_path(&directory).unwrap();
        let mut snapshot = Snapshot::new(root, &mut content).unwrap();
        let read = |path: &str| std::fs::read_to_string(directory.join(path)).unwrap();
        assert!(read("proc/meminfo").starts_with("MemTotal:") && read("proc/boot_id") == "id\n");
        assert_eq!(read("sys/cpu/cpu0/topology/core_id"), "0\n");
        std::fs::create_dir(directory.join("sys/cpu/cpu999")).unwrap();
        let first = read("proc/uptime");
        std::thread::sleep(std::time::Duration::from_millis(20));
        snapshot.visible.clear();
        snapshot.refresh(&mut content).unwrap();
        assert_ne!(read("proc/uptime"), first);
        assert!(!directory.join("sys/cpu/cpu999").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
