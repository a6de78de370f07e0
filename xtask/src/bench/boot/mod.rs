// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench boot`: the same Debian tree booted by cella, LXC and systemd-nspawn in turn, from the command to the last
//! unit; what their processes keep; and many at once.

mod host;
mod inotify;
mod proc;
pub(in crate::bench) mod roots;
mod system;
mod table;

use super::Options;
use crate::Result;
use host::Host;
use std::process::ExitCode;
use system::Manager;
use table::{Boots, Many};

/// Rounds when nobody says how many.
pub(crate) const ROUNDS: usize = 20;
/// Rounds of the measurement of many at once, at most.
const ROUNDS_OF_MANY: usize = 3;
/// How many at once, and whether the host's limit of inotify instances, which all containers share with root, is raised before.
const MANY: [(Manager, usize, bool); 6] = [
    (Manager::Cella, 1, false),
    (Manager::Cella, 10, false),
    (Manager::Cella, 50, false),
    (Manager::Cella, 50, true),
    (Manager::Lxc, 10, false),
    (Manager::Nspawn, 10, false),
];

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let host = Host::new()?;
    let absent = |manager: Manager| host.without_peers().filter(|_| manager.is_peer()).map(str::to_owned);
    let new = |manager| Boots { manager, seen: Vec::new(), failed: absent(manager) };
    let mut field = Manager::ALL.map(new);
    for one in &mut field {
        // The first fills caches.
        attempt(&host, one, 1);
        one.seen.clear();
    }
    for round in 0..options.rounds {
        for turn in 0..field.len() {
            // Nobody is always behind the same one, nor always the first.
            let turn = if round.is_multiple_of(2) { turn } else { field.len() - 1 - turn };
            let turn = (turn + round) % field.len();
            if let Some(one) = field.get_mut(turn) {
                attempt(&host, one, 1);
            }
        }
    }
    let mut many = MANY.map(|(manager, count, raised)| Many { count, raised, boots: new(manager) });
    for _ in 0..options.rounds.min(ROUNDS_OF_MANY) {
        for one in &mut many {
            let raised = one.raised.then(inotify::Raised::new).transpose()?;
            attempt(&host, &mut one.boots, one.count);
            drop(raised);
        }
    }
    let versions = host.versions();
    drop(host);
    table::print(options.format, &versions, &field, &many)?;
    Ok(ExitCode::SUCCESS)
}

/// So many boots at once; who fails is out.
fn attempt(host: &Host, one: &mut Boots, count: usize) {
    if one.failed.is_none() {
        match system::boot(host, one.manager, count) {
            Ok(seen) => one.seen.push(seen),
            Err(reason) => one.failed = Some(reason),
        }
    }
}
