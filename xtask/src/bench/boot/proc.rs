// SPDX-License-Identifier: Apache-2.0
//! What /proc tells of managers and of the systems that they run.

use std::collections::BTreeMap;
use std::path::PathBuf;

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// The process and all that descend from it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&one) = all.get(at) {
        all.extend(
            read(one, &format!("task/{one}/children")).split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    all
}

pub(super) fn exists(pid: u32) -> bool {
    pid != 0 && namespace(pid).is_some()
}

/// True when it is the first process of a pid namespace and systemd by now.
pub(super) fn is_init(pid: u32) -> bool {
    let status = read(pid, "status");
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1") && status.starts_with("Name:\tsystemd\n")
}

/// The init of the system below a manager.
pub(super) fn init_below(manager: u32) -> Option<u32> {
    family(manager).into_iter().find(|&pid| is_init(pid))
}

/// True when systemd can be asked. Its private socket is there before the bus.
pub(super) fn answers(init: u32) -> bool {
    is_init(init) && PathBuf::from(format!("/proc/{init}/root/run/systemd/private")).exists()
}

/// Proportional set size in KiB.
fn pss(pid: u32) -> u64 {
    let text = read(pid, "smaps_rollup");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// KiB of a manager's processes on the host's side.
pub(super) fn of_manager(manager: u32) -> u64 {
    let own = namespace(std::process::id());
    family(manager).into_iter().filter(|&pid| namespace(pid) == own).map(pss).sum()
}

/// KiB of all processes in the pid namespace of each init.
pub(super) fn of_systems() -> BTreeMap<PathBuf, u64> {
    let mut sums = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse().ok();
        if let Some((pid, space)) = pid.and_then(|pid| Some((pid, namespace(pid)?))) {
            *sums.entry(space).or_insert(0) += pss(pid);
        }
    }
    sums
}

/// KiB of the processes of one system, out of all.
pub(super) fn of_system(sums: &BTreeMap<PathBuf, u64>, init: u32) -> u64 {
    namespace(init).and_then(|space| sums.get(&space).copied()).unwrap_or(0)
}
