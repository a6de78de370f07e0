// SPDX-License-Identifier: Apache-2.0
//! What the host's /proc says of processes.

use std::fs;

use crate::error::{Call, Errno, Error, Result};

/// What identifies and describes a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id on the host.
    pub pid: i32,
    /// Its ids from the host's down to its own namespace's.
    pub pids: Vec<i32>,
    /// Its parent on the host.
    pub parent: i32,
    /// The real user id, as the host sees it.
    pub uid: u32,
    /// State letter of proc_pid_stat(5).
    pub state: char,
    /// User and system time together, in clock ticks.
    pub ticks: u64,
    /// Start, in clock ticks since boot: with the id this names one process for good.
    pub start: u64,
    /// Resident pages.
    pub resident: u64,
    /// Command line, or the name in brackets when there is none.
    pub command: String,
}

/// Start of the process in clock ticks since boot.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn start_time(pid: i32) -> Result<u64> {
    let stat = read(pid, "stat")?;
    field(&stat, 22).ok_or_else(|| malformed(pid, "stat"))
}

/// Start of the process in clock ticks since boot, and its state letter.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn life(pid: i32) -> Result<(u64, char)> {
    let stat = read(pid, "stat")?;
    let start = field(&stat, 22).ok_or_else(|| malformed(pid, "stat"))?;
    Ok((start, after_name(&stat).trim_start().chars().next().unwrap_or('?')))
}

/// Whether the process has ended, or does so at this moment: it lets go of its descriptors before it can be waited for.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn is_ending(pid: i32) -> Result<bool> {
    /// `PF_EXITING` of the kernel's linux/sched.h.
    const ENDING: u64 = 4;
    let stat = read(pid, "stat")?;
    field(&stat, 9).map(|flags| flags & ENDING != 0).ok_or_else(|| malformed(pid, "stat"))
}

/// Describes a process.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn process(pid: i32) -> Result<Process> {
    let (stat, status) = (read(pid, "stat")?, read(pid, "status")?);
    let bad = || malformed(pid, "stat");
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    Ok(Process {
        pid,
        pids: line("NSpid:").split_whitespace().filter_map(|id| id.parse().ok()).collect(),
        parent: field(&stat, 4).and_then(|id| i32::try_from(id).ok()).ok_or_else(bad)?,
        uid: line("Uid:").split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(u32::MAX),
        state: after_name(&stat).trim_start().chars().next().unwrap_or('?'),
        ticks: field(&stat, 14).unwrap_or(0) + field(&stat, 15).unwrap_or(0),
        start: field(&stat, 22).ok_or_else(bad)?,
        resident: field(&stat, 24).unwrap_or(0),
        command: command(pid, &stat),
    })
}

/// The first process of the namespace that the process `pid` is in, as we see it; `None` where we do not, or when `pid` is gone.
#[must_use]
pub fn init_of(pid: i32) -> Option<i32> {
    let wanted = process(pid).ok()?;
    let mut one = wanted.clone();
    // Orphans are the init's: who was born in the namespace finds it above.
    for _ in 0..MOST_ANCESTORS {
        if one.pids.last() == Some(&1) && is_alike(&one, &wanted) {
            return Some(one.pid);
        }
        match process(one.parent) {
            Ok(parent) if is_alike(&parent, &wanted) => one = parent,
            _ => break,
        }
    }
    // Who joined it later has a parent outside.
    let names = crate::file::names(std::path::Path::new("/proc")).ok()?;
    let others = names.iter().filter_map(|name| process(name.parse().ok()?).ok());
    others.filter(|one| one.pids.last() == Some(&1)).find(|one| is_alike(one, &wanted)).map(|one| one.pid)
}

const MOST_ANCESTORS: u32 = 64;

/// Are both in the same process namespace? In ours every process has one number.
fn is_alike(one: &Process, other: &Process) -> bool {
    let namespace = |one: &Process| fs::read_link(format!("/proc/{}/ns/pid", one.pid)).ok();
    let both = (one.pids.len(), other.pids.len());
    one.pid == other.pid
        || both == (1, 1)
        || (both.0 == both.1 && namespace(one).is_some_and(|id| namespace(other) == Some(id)))
}

/// The name of the control group of a process: that of its memory where version 1 counts it, else of its processor time, else of
/// the version 2 tree.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn group_of(pid: i32) -> Result<String> {
    Ok(group_name(&read(pid, "cgroup")?).to_owned())
}

fn group_name(text: &str) -> &str {
    let of = |controller: &str| {
        let mut lines = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        });
        lines.find(|(names, _)| names.split(',').any(|name| name == controller)).map(|(_, path)| path)
    };
    let found = ["memory", "cpu"].into_iter().find_map(of).or_else(|| of(""));
    found.unwrap_or_default().trim_start_matches('/')
}

fn command(pid: i32, stat: &str) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    if !words.is_empty() {
        return words.join(" ");
    }
    let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("?", |(name, _)| name);
    format!("[{name}]")
}

/// The id of this boot.
///
/// # Errors
/// open(2)'s or read(2)'s.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).call(|| format!("read({path:?})")).map(|id| id.trim().to_owned())
}

/// Field `number` (from 1, as proc_pid_stat(5) counts) of a stat line, whose name field may hold spaces and brackets.
fn field(stat: &str, number: usize) -> Option<u64> {
    after_name(stat).split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn after_name(stat: &str) -> &str {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest)
}

fn read(pid: i32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    crate::file::read_small(path.as_ref()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn malformed(pid: i32, file: &str) -> Error {
    Error::new(format!("parse /proc/{pid}/{file}"), Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_fields() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 7 8 0 0 20 0 1 0 4242 100 3";
        assert_eq!((field(stat, 4), field(stat, 14), field(stat, 22)), (Some(1), Some(7), Some(4242)));
        assert_eq!(after_name(stat).trim_start().chars().next(), Some('S'));
    }

    #[test]
    fn a_group_is_named_by_the_hierarchy_that_counts_its_memory() {
        assert_eq!(group_name("4:memory:/lxc/web\n3:cpu,cpuacct:/lxc/web2\n0::/\n"), "lxc/web");
        assert_eq!(group_name("3:cpu,cpuacct:/a:b\n0::/x\n"), "a:b");
        assert_eq!(group_name("0::/system.slice/docker-1.scope\n"), "system.slice/docker-1.scope");
        assert_eq!(group_name(""), "");
    }

    #[test]
    fn the_first_process_of_our_own_namespace_is_number_one() {
        let init = init_of(crate::process::id()).unwrap();
        assert_eq!(process(init).unwrap().pids.last(), Some(&1));
    }

    #[test]
    fn describes_this_process() {
        let me = process(crate::process::id()).unwrap();
        assert_eq!(me.pids.first(), Some(&me.pid));
        assert!(me.start > 0 && me.resident > 0);
        assert!(!is_ending(me.pid).unwrap());
    }
}
