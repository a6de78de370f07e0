// SPDX-License-Identifier: Apache-2.0
//! All that can be told of one process's namespaces.

use kernel::Errno;
use kernel::idmap;
use kernel::namespace::Namespace;
use kernel::pidfd::Handle;
use kernel::types::NamespaceKind;
use serde::Serialize;

use super::inside::{self, Clock, Inside};
use super::mounts::{self, MountView};
use super::names::Owner;
use super::scan::container_of;
use super::tree::lines;
use crate::error::{Error, Result};

/// A process, and everything that its namespaces have of their own.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessDetails {
    /// Its number.
    pub pid: i32,
    /// What it is called at every level: by us first, in its own pid namespace last.
    pub pids: Vec<i32>,
    /// Its user, as we see it.
    pub uid: u32,
    /// Its command line: text of anybody's choice.
    pub command: String,
    /// The container that it is in.
    pub container: Option<Owner>,
    /// Its namespaces, in the order in which they would be joined.
    pub namespaces: Vec<Sight>,
    /// The map of its user namespace.
    pub ids: MappedIds,
    /// Mounts that it has and we have not.
    pub mounts: Vec<MountView>,
    /// All that it has.
    #[serde(skip)]
    pub(super) all_mounts: Vec<MountView>,
    /// Mounts that it has from where we have ours.
    pub mounts_shared: usize,
    /// Its control groups, as we see them.
    pub groups: Vec<String>,
    /// How far its clocks are ahead of the kernel's.
    pub clock: Option<Clock>,
    /// What is seen only from inside.
    #[serde(flatten)]
    pub inside: Inside,
}

/// One of a process's namespaces.
#[derive(Debug, Clone, Serialize)]
pub struct Sight {
    /// Its kind.
    pub kind: &'static str,
    /// Its inode.
    pub inode: u64,
    /// Are we in the same?
    pub shared: bool,
    /// The user namespace that has the rights over it.
    pub owner: Option<u64>,
}

/// Ranges of inside, outside (as we see it), count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedIds {
    /// Users.
    pub users: Vec<[u32; 3]>,
    /// Groups.
    pub groups: Vec<[u32; 3]>,
}

pub(super) fn details(handle: &Handle, ours: &[(String, String)]) -> Result<ProcessDetails> {
    let pid = handle.pid();
    let read = |file: &str| {
        let bytes = handle.checked(kernel::file::read_lines(format!("/proc/{pid}/{file}").as_ref()));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let process = handle.checked(kernel::procfs::process(pid))?;
    let mut namespaces = Vec::new();
    for kind in NamespaceKind::ALL {
        let Ok(own) = Namespace::current(kind) else { continue };
        let theirs = handle.namespace(kind).map_err(unseen)?;
        let owner = theirs.owner().ok().flatten().map(|owner| owner.id().ino);
        namespaces.push(Sight { kind: kind.file(), inode: theirs.id().ino, shared: theirs.id() == own.id(), owner });
    }
    let (users, groups) = handle.checked(idmap::of(pid))?;
    let is_shared = |kind: &str| namespaces.iter().any(|one| one.kind == kind && one.shared);
    let all_mounts = mounts::parse(&read("mountinfo")?);
    let (mounts, mounts_shared) = match is_shared("mnt") {
        true => (Vec::new(), 0),
        false => different_mounts(&all_mounts, &mounts::parse(&read_own_mounts())),
    };
    let groups_of = |text: String| text.lines().map(str::to_owned).collect();
    let details = ProcessDetails {
        pid,
        pids: process.pids,
        uid: process.uid,
        command: process.command,
        container: container_of(pid, ours),
        ids: MappedIds { users: lines(&users), groups: lines(&groups) },
        mounts,
        all_mounts,
        mounts_shared,
        groups: read("cgroup").map(groups_of).unwrap_or_default(),
        clock: read("timens_offsets").ok().and_then(|text| Clock::parse(&text)),
        inside: inside::look(handle)?,
        namespaces,
    };
    // All of it was of this process only if it still is there.
    handle.checked(Ok(details)).map_err(unseen)
}

/// Says why the kernel shows us nothing of a process.
pub(super) fn unseen(error: kernel::Error) -> Error {
    match error.errno {
        Errno::ACCESS | Errno::PERM => {
            let is_root = kernel::process::euid() == 0;
            let hint = if is_root {
                "it is more privileged than we are"
            } else {
                "it is another user's, or more privileged: run it as root (sudo)"
            };
            let mut told = Error::from(error);
            told.hint = Some(hint.to_owned());
            told
        }
        _ => error.into(),
    }
}

fn read_own_mounts() -> String {
    let bytes = kernel::file::read_lines("/proc/self/mountinfo".as_ref()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Those that only `theirs` has, by their places; and how many are the same part of the same file system at the same place.
fn different_mounts(theirs: &[MountView], ours: &[MountView]) -> (Vec<MountView>, usize) {
    let is_ours = |mount: &MountView| {
        ours.iter().any(|own| (&own.device, &own.root, &own.target) == (&mount.device, &mount.root, &mount.target))
    };
    let mut different: Vec<MountView> = theirs.iter().filter(|mount| !is_ours(mount)).cloned().collect();
    let shared = theirs.len() - different.len();
    // What lies on another has the same place and comes after it.
    different.sort_by(|one, other| one.target.cmp(&other.target));
    (different, shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_the_same_by_place_part_and_device() {
        let ours = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /proc rw - proc proc rw\n";
        let theirs = "9 8 8:1 / / rw - ext4 x rw\n10 9 0:9 / /proc rw - proc proc rw\n";
        let (different, shared) = different_mounts(&mounts::parse(theirs), &mounts::parse(ours));
        assert_eq!((different.len(), different[0].target.as_str(), shared), (1, "/proc", 1));
    }

    #[test]
    fn of_ourselves_everything_is_shared() {
        let own = details(&Handle::open(kernel::process::id()).unwrap(), &[]).unwrap();
        assert!(own.namespaces.len() >= 7 && own.namespaces.iter().all(|one| one.shared));
        assert!(own.mounts.is_empty() && own.pids == [own.pid]);
    }
}
