// SPDX-License-Identifier: Apache-2.0
//! Id maps of user namespaces: written once, by the parent, before the child goes on.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Result};
use crate::process::{self, Forked};
use crate::types::{IdRange, NamespaceKind};

mod child;
mod map;

pub use child::{Mapped, Maps, Unmapped, unshare_mapped, unshare_with};
pub use map::{BadMap, MOST_BYTES, MOST_LINES, Map};

/// The maps of a process: users, then groups, as the reader's own user namespace sees the ids outside.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn of(pid: i32) -> Result<(Map, Map)> {
    let one = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let text = std::fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
        Map::parse(&text).map_err(|error| crate::Error::new(format!("read({path:?}): {error}"), crate::Errno::INVAL))
    };
    Ok((one("uid_map")?, one("gid_map")?))
}

/// Writes `/proc/PID/uid_map` and `gid_map`.
///
/// # Errors
/// `EPERM` when it is already written or not ours to write, `EINVAL` for overlapping ranges.
pub fn write(pid: i32, uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
    write_one(pid, "uid_map", uids)?;
    write_one(pid, "gid_map", gids)
}

/// How many user ids from 0 on this process's own user namespace has; `u32::MAX` for the host's.
///
/// # Errors
/// When the map can not be read.
pub fn own_users() -> Result<u32> {
    let path = "/proc/self/uid_map";
    let text = std::fs::read_to_string(path).call(|| format!("read({path:?})"))?;
    Ok(users_of(&text))
}

fn users_of(map: &str) -> u32 {
    let row = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok());
        let (inside, _, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some((inside, count))
    };
    let mut rows: Vec<(u32, u32)> = map.lines().filter_map(row).collect();
    rows.sort_unstable();
    rows.into_iter().fold(0, |end, (inside, count)| if inside == end { end.saturating_add(count) } else { end })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_up_to_the_first_gap() {
        assert_eq!(users_of("         0          0 4294967295\n"), u32::MAX);
        assert_eq!(users_of("0 100000 65536\n65536 900000 10\n70000 1 1\n"), 65_546);
        assert_eq!(users_of("1000 1000 1\n"), 0);
    }
}
