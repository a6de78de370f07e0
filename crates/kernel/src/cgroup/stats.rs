// SPDX-License-Identifier: Apache-2.0
//! What a group has used, read from whichever version keeps it.

use std::fs;
use std::path::Path;

use super::Group;

/// Use and limits at one moment; `None` where this host does not count it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Nanoseconds of processor time.
    pub cpu_ns: Option<u64>,
    /// Of these, in user mode.
    pub cpu_user_ns: Option<u64>,
    /// Of these, in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// Nanoseconds that the processor limit kept it waiting.
    pub throttled_ns: Option<u64>,
    /// Bytes of memory, without inactive page cache.
    pub memory: Option<u64>,
    /// Its limit in bytes.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub write_bytes: Option<u64>,
    /// Times that the kernel killed a process of the group for lack of memory.
    pub oom_kills: Option<u64>,
}

/// Version 1 shows "no limit" as the largest multiple of the page size.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;

impl Group {
    /// Microseconds of processor time (-1 is no limit) per period of microseconds.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<(i64, u64)> {
        let read = |path: std::path::PathBuf| fs::read_to_string(path).ok();
        if let Some(path) = self.legacy("cpu") {
            let quota = read(path.join("cpu.cfs_quota_us"))?.trim().parse().ok()?;
            return Some((quota, read(path.join("cpu.cfs_period_us"))?.trim().parse().ok()?));
        }
        let text = read(self.unified()?.join("cpu.max"))?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some((quota.parse().unwrap_or(-1), period.parse().ok()?))
    }

    /// Reads what the group uses now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        if let Some(unified) = self.unified() {
            unified_stats(&unified, &mut stats);
        }
        if let Some(path) = self.legacy("cpuacct") {
            stats.cpu_ns = number(&path, "cpuacct.usage");
            stats.cpu_user_ns = number(&path, "cpuacct.usage_user");
            stats.cpu_system_ns = number(&path, "cpuacct.usage_sys");
        }
        if let Some(path) = self.legacy("cpu") {
            stats.throttled_ns = keyed(&path, "cpu.stat", "throttled_time").or(stats.throttled_ns);
        }
        if let Some(path) = self.legacy("memory") {
            let cache = keyed(&path, "memory.stat", "total_inactive_file").unwrap_or(0);
            stats.memory = number(&path, "memory.usage_in_bytes").map(|usage| usage.saturating_sub(cache));
            stats.memory_limit = number(&path, "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
            stats.oom_kills = keyed(&path, "memory.oom_control", "oom_kill");
        }
        if let Some(path) = self.legacy("pids") {
            stats.pids = number(&path, "pids.current");
            stats.pids_limit = number(&path, "pids.max");
        }
        if let Some(path) = self.legacy("blkio") {
            let text = fs::read_to_string(path.join("blkio.throttle.io_service_bytes_recursive")).unwrap_or_default();
            stats.read_bytes = Some(sum_of(&text, "Read"));
            stats.write_bytes = Some(sum_of(&text, "Write"));
        }
        stats
    }
}

fn unified_stats(path: &Path, stats: &mut Stats) {
    let micro = |key: &str| keyed(path, "cpu.stat", key).map(|value| value * 1000);
    stats.cpu_ns = micro("usage_usec");
    stats.cpu_user_ns = micro("user_usec");
    stats.cpu_system_ns = micro("system_usec");
    stats.throttled_ns = micro("throttled_usec");
    let cache = keyed(path, "memory.stat", "inactive_file").unwrap_or(0);
    stats.memory = number(path, "memory.current").map(|usage| usage.saturating_sub(cache));
    stats.memory_limit = number(path, "memory.max");
    stats.pids = number(path, "pids.current");
    stats.pids_limit = number(path, "pids.max");
    stats.oom_kills = keyed(path, "memory.events", "oom_kill");
    if let Ok(text) = fs::read_to_string(path.join("io.stat")) {
        stats.read_bytes = Some(sum_of_pairs(&text, "rbytes="));
        stats.write_bytes = Some(sum_of_pairs(&text, "wbytes="));
    }
}

fn number(path: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(path.join(file)).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path.join(file)).ok()?;
    text.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key)?.1.trim().parse().ok())
}

/// The sum over all devices of lines such as `254:0 Read 4096`.
fn sum_of(text: &str, operation: &str) -> u64 {
    let value = |line: &str| {
        let mut words = line.split_whitespace();
        (words.nth(1) == Some(operation)).then(|| words.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(value).sum()
}

/// The sum over all devices of words such as `rbytes=4096`.
fn sum_of_pairs(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_summed_over_devices() {
        assert_eq!(sum_of("254:0 Read 10\n254:0 Write 3\n8:0 Read 5\nTotal 18\n", "Read"), 15);
        assert_eq!(sum_of_pairs("254:0 rbytes=10 wbytes=3\n8:0 rbytes=5 wbytes=1\n", "rbytes="), 15);
    }
}
