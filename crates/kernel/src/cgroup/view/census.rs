// SPDX-License-Identifier: Apache-2.0
//! How many tasks of a group run or wait for a device at this moment.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Dir, Mode, OFlags};

use super::Watched;
use crate::survey::Brief;

/// More threads than these are not looked at one by one: what is seen is scaled up.
const MOST_TASKS: u64 = 50_000;

/// So many ids are remembered as known between two counts.
const MOST_KNOWN: usize = 65_536;

/// The tasks of a group and of those below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Threads.
    pub tasks: u64,
    /// Threads that run or would (`R`).
    pub running: u64,
    /// Threads that wait and can not be interrupted (`D`).
    pub blocked: u64,
    /// The largest process id seen until now, as the namespace of pids that counts has it.
    pub last_pid: i32,
}

/// The processes that were seen, so that each is asked for its inner id once.
#[derive(Debug, Default)]
pub(super) struct LastPid {
    known: HashSet<i32>,
    /// Where their ids counted.
    depth: Option<usize>,
    largest: i32,
}

impl Watched {
    /// The processes of the group and of those below it, by their ids on this host.
    #[must_use]
    pub fn members(&self) -> Vec<i32> {
        self.group.processes().unwrap_or_default()
    }

    /// Counts the tasks now. `depth` is the number of namespaces of pids down to that whose ids count: 1 is the host's own.
    /// As long as that is not known the innermost counts, but not the host's.
    ///
    /// The state of each thread is read: some 10 µs for each.
    pub fn census(&mut self, depth: Option<usize>) -> Census {
        let members = self.members();
        let mut census = Census::default();
        let mut seen = 0;
        for pid in &members {
            seen += 1;
            add_process(*pid, &mut census);
            if census.tasks >= MOST_TASKS {
                break;
            }
        }
        let total = u64::try_from(members.len()).unwrap_or(u64::MAX);
        if seen < total {
            let scale = |count: u64| count.saturating_mul(total) / seen.max(1);
            (census.tasks, census.running, census.blocked) =
                (scale(census.tasks), scale(census.running), scale(census.blocked));
        }
        // Frozen tasks of version 1 look as if they waited for a device.
        if census.blocked > 0 && self.group.is_frozen() {
            census.blocked = 0;
        }
        census.last_pid = self.last_pid.update(&members, depth);
        census
    }
}

impl LastPid {
    fn update(&mut self, members: &[i32], depth: Option<usize>) -> i32 {
        if self.depth != depth {
            self.known.clear();
            self.depth = depth;
        }
        let new: Vec<i32> = members.iter().copied().filter(|pid| !self.known.contains(pid)).collect();
        for pid in new {
            if let Ok(process) = crate::procfs::process(pid) {
                self.largest = self.largest.max(inner(&process.pids, depth));
            }
        }
        self.known.clear();
        self.known.extend(members.iter().copied().take(MOST_KNOWN));
        self.largest
    }
}

/// A process's id where it counts; 0 for one that is on its way in, and has an id outside only.
fn inner(pids: &[i32], depth: Option<usize>) -> i32 {
    let counts = match depth {
        Some(depth) => depth.checked_sub(1).and_then(|index| pids.get(index)),
        None => pids.get(1..).and_then(<[i32]>::last),
    };
    counts.copied().unwrap_or(0)
}

/// A process's own thread says how many others there are to ask.
fn add_process(pid: i32, census: &mut Census) {
    let mut buffer = [0; 1024];
    let Some(first) = stat(CWD, &format!("/proc/{pid}/stat"), &mut buffer) else { return };
    add(first.state, census);
    if first.threads < 2 {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(format!("/proc/{pid}/task"), flags, Mode::empty()) else { return };
    let Ok(entries) = Dir::read_from(&directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with('.') || name.parse() == Ok(pid) {
            continue;
        }
        if let Some(thread) = stat(&directory, &format!("{name}/stat"), &mut buffer) {
            add(thread.state, census);
        }
        if census.tasks >= MOST_TASKS {
            return;
        }
    }
}

fn add(state: u8, census: &mut Census) {
    census.tasks += 1;
    match state {
        b'R' => census.running += 1,
        b'D' => census.blocked += 1,
        _ => {}
    }
}

fn stat(directory: impl std::os::fd::AsFd, path: &str, buffer: &mut [u8]) -> Option<Brief> {
    let file: OwnedFd = rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let read = rustix::io::read(&file, &mut *buffer).ok()?;
    Brief::parse(buffer.get(..read)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_on_the_way_in_has_no_id_inside() {
        assert_eq!((inner(&[5745], Some(2)), inner(&[5745], None), inner(&[], None)), (0, 0, 0));
        assert_eq!((inner(&[5745], Some(1)), inner(&[5745, 7], Some(2)), inner(&[5745, 7], None)), (5745, 7, 7));
        assert_eq!((inner(&[5745, 7, 2], Some(2)), inner(&[5745, 7, 2], None), inner(&[5745], Some(0))), (7, 2, 0));
    }
}
