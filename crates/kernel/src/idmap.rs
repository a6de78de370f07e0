// SPDX-License-Identifier: Apache-2.0
//! Id maps of user namespaces: written once, by the parent, before the child goes on.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Result};
use crate::process::{self, Forked};
use crate::types::{IdRange, NamespaceKind};

/// Writes `/proc/PID/uid_map` and `gid_map`.
///
/// # Errors
/// `EPERM` when it is already written or not ours to write, `EINVAL` for overlapping ranges.
pub fn write(pid: i32, uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
    write_one(pid, "uid_map", uids)?;
    write_one(pid, "gid_map", gids)
}

/// Writes `/proc/PID/uid_map` alone.
///
/// # Errors
/// write(2)'s.
pub fn write_users(pid: i32, ranges: &[IdRange]) -> Result<()> {
    write_one(pid, "uid_map", ranges)
}

/// Writes `/proc/PID/gid_map` alone.
///
/// # Errors
/// write(2)'s.
pub fn write_groups(pid: i32, ranges: &[IdRange]) -> Result<()> {
    write_one(pid, "gid_map", ranges)
}

/// Supplementary groups of the namespace can not be changed any more: what an ordinary user gives up for a map.
///
/// # Errors
/// write(2)'s.
pub fn deny_groups(pid: i32) -> Result<()> {
    write_file(Path::new(&format!("/proc/{pid}/setgroups")), b"deny")
}

fn write_one(pid: i32, file: &str, ranges: &[IdRange]) -> Result<()> {
    let text: String =
        ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect();
    write_file(Path::new(&format!("/proc/{pid}/{file}")), text.as_bytes())
}

/// Writes `bytes` to an existing kernel file in a single call, as such files want it.
///
/// # Errors
/// open(2)'s or write(2)'s.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_WRONLY)"))?;
    rustix::io::write(&file, bytes)
        .call(|| format!("write({path:?}, {:?})", String::from_utf8_lossy(bytes).trim_end()))?;
    Ok(())
}

/// A user namespace with this map for users and groups, that no process is in: for id-mapped mounts.
///
/// # Errors
/// clone3(2)'s, or those of writing the map.
pub fn user_namespace(ranges: &[IdRange]) -> Result<OwnedFd> {
    user_namespace_of(ranges, ranges)
}

/// The same with a map for each.
///
/// # Errors
/// clone3(2)'s, or those of writing the maps.
pub fn user_namespace_of(uids: &[IdRange], gids: &[IdRange]) -> Result<OwnedFd> {
    match process::clone(NamespaceKind::User.flag(), None)? {
        Forked::Child => {
            process::die_with_parent().ok();
            loop {
                rustix::event::pause();
            }
        }
        Forked::Parent(child) => {
            let namespace =
                write(child.pid, uids, gids).and_then(|()| crate::namespace::open_of(child.pid, NamespaceKind::User));
            process::signal(&child.pidfd, libc::SIGKILL)?;
            process::wait(&child.pidfd)?;
            namespace
        }
    }
}
