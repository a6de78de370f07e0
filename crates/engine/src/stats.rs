// SPDX-License-Identifier: Apache-2.0
//! What a container uses, and its processes.

use kernel::cgroup::Group;
use runtime::State;

use crate::error::Result;
use crate::ids::COUNT;
use crate::session::not_running;
use crate::store::{Found, Store};
use crate::view::{NetworkStats, ProcessRow, StatsRow};

/// Bytes of a page, and milliseconds of a clock tick, on every architecture that is supported.
const PAGE: u64 = 4096;
const TICK_MS: u64 = 10;

fn running(store: &Store, container: &str) -> Result<(Found, State, Group)> {
    let found = store.find(container)?;
    let state = store.state(&found)?.filter(|state| state.pid.is_some()).ok_or_else(|| not_running(&found.name))?;
    let group = store.group(&found)?;
    Ok((found, state, group))
}

pub(crate) fn stats(store: &Store, container: &str) -> Result<StatsRow> {
    let (found, _, group) = running(store, container)?;
    let stats = group.stats();
    let networks = store.networks().traffic(&found.record.id)?;
    let networks = networks.into_iter().map(|one| NetworkStats {
        network: one.live.network.trim_start_matches('@').to_owned(),
        interface: one.live.interface,
        sent_bytes: one.sent,
        received_bytes: one.received,
        sent_packets: one.sent_packets,
        received_packets: one.received_packets,
        dropped_packets: one.dropped,
        waiting_bytes: one.waiting,
        limits: one.live.limits,
    });
    Ok(StatsRow {
        networks: networks.collect(),
        id: found.record.id,
        name: found.name,
        time_ns: kernel::time::now_ns(),
        cpu_ns: stats.cpu_ns,
        throttled_ns: stats.throttled_ns,
        memory: stats.memory,
        memory_limit: stats.memory_limit,
        pids: stats.pids,
        pids_limit: stats.pids_limit,
        read_bytes: stats.read_bytes,
        write_bytes: stats.write_bytes,
    })
}

pub(crate) fn top(store: &Store, container: &str) -> Result<Vec<ProcessRow>> {
    let (found, state, group) = running(store, container)?;
    // Its first process tells how deep its process namespace is below ours.
    let depth = state.pid.and_then(|pid| kernel::procfs::process(pid).ok()).map_or(1, |first| first.pids.len());
    let base = found.record.ids.map(|ids| ids.base);
    let mut rows = Vec::new();
    for pid in group.processes()? {
        // One that has ended meanwhile is none of its processes any more.
        let Ok(process) = kernel::procfs::process(pid) else { continue };
        let inside_uid = match base {
            Some(base) => process.uid.checked_sub(base).filter(|uid| *uid < COUNT),
            None => Some(process.uid),
        };
        rows.push(ProcessRow {
            pid,
            inside: process.pids.get(depth - 1).or(process.pids.last()).copied().unwrap_or(pid),
            parent: process.parent,
            uid: process.uid,
            inside_uid,
            state: process.state,
            cpu_ms: process.ticks * TICK_MS,
            resident: process.resident * PAGE,
            command: process.command,
        });
    }
    rows.sort_by_key(|row| row.inside);
    Ok(rows)
}
