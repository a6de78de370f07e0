// SPDX-License-Identifier: Apache-2.0
//! What /proc tells of the processes that serve the files: who they are, their time on processors, and their memory.

use std::time::Duration;

/// What a tick of /proc/PID/stat lasts: the kernel's interface is fixed to 100 in a second.
const TICK: Duration = Duration::from_millis(10);

/// KiB.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct Memory {
    pub(super) rss: u64,
    pub(super) pss: u64,
    pub(super) private: u64,
}

/// A process, as /proc/PID/stat has it.
#[derive(PartialEq, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) name: String,
    /// Ticks on a processor, those of threads that have ended included.
    ticks: u32,
    zombie: bool,
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn process(text: &str) -> Option<Process> {
    // A name may hold anything, the signs around it included.
    let (front, rest) = text.rsplit_once(')')?;
    let (pid, name) = front.split_once(" (")?;
    let mut words = rest.split_whitespace();
    let zombie = words.next()? == "Z";
    let parent = words.next()?.parse().ok()?;
    let ticks: Vec<u32> = words.skip(9).take(2).filter_map(|word| word.parse().ok()).collect();
    Some(Process { pid: pid.parse().ok()?, parent, name: name.to_owned(), ticks: ticks.iter().sum(), zombie })
}

/// Every process that is not dead.
pub(super) fn all() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.filter_map(|pid| process(&read(pid, "stat"))).filter(|one| !one.zombie).collect()
}

/// The living children of a process with this name.
pub(super) fn children(all: &[Process], parent: u32, name: &str) -> Vec<u32> {
    all.iter().filter(|one| one.parent == parent && one.name == name).map(|one| one.pid).collect()
}

/// Time on processors of these processes and of their threads.
pub(super) fn processor(pids: &[u32]) -> Duration {
    pids.iter().map(|&pid| exact(pid).max(process(&read(pid, "stat")).map_or(0, |one| one.ticks) * TICK)).sum()
}

/// That of the children of a process that have ended.
pub(super) fn of_ended(parent: u32) -> Duration {
    let text = read(parent, "stat");
    let words = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    words.skip(13).take(2).filter_map(|word| word.parse::<u32>().ok()).sum::<u32>() * TICK
}

/// The threads that live, to the nanosecond.
fn exact(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    });
    times.map(Duration::from_nanos).sum()
}

/// Memory of these processes together.
pub(super) fn memory(pids: &[u32]) -> Memory {
    pids.iter().map(|&pid| rollup(&read(pid, "smaps_rollup"))).fold(Memory::default(), |all, one| Memory {
        rss: all.rss + one.rss,
        pss: all.pss + one.pss,
        private: all.private + one.private,
    })
}

fn rollup(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let Some((name, size)) = line.split_once(':') else { continue };
        let size = size.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        match name {
            "Rss" => memory.rss = size,
            "Pss" => memory.pss = size,
            "Private_Clean" | "Private_Dirty" => memory.private += size,
            _ => (),
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let one = process("7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 20 22 0 0 20 0 1 0 100").unwrap();
        assert_eq!(one, Process { pid: 7, parent: 3, name: "a) b (c".to_owned(), ticks: 42, zombie: false });
    }

    #[test]
    fn memory_is_summed_by_kind() {
        let text = "1-2 ---p 0 00:00 0 [rollup]\nRss:  90 kB\nPss:  50 kB\nPss_Dirty:  1 kB\nPrivate_Clean: 3 kB\nPrivate_Dirty: 4 kB\n";
        assert_eq!(rollup(text), Memory { rss: 90, pss: 50, private: 7 });
    }
}
