// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench boot`: the same Debian tree booted by cella, LXC and systemd-nspawn in turn, from the command to the last
//! unit; what their processes keep; and many at once.

mod host;
mod proc;
mod roots;
mod system;
mod table;

use super::Options;
use crate::Result;
use host::Host;
use std::process::ExitCode;
use system::{Manager, Seen};
use table::{Boots, Many};

/// Rounds when nobody says how many.
pub(crate) const ROUNDS: usize = 20;
/// Rounds of the measurement of many at once, at most.
const ROUNDS_OF_MANY: usize = 3;
/// How many at once.
const MANY: [(Manager, usize); 5] =
    [(Manager::Cella, 1), (Manager::Cella, 10), (Manager::Cella, 50), (Manager::Lxc, 10), (Manager::Nspawn, 10)];

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let host = Host::new()?;
    let absent = host.without_peers().map(str::to_owned);
    let mut field: Vec<Boots> = Manager::ALL.iter().map(|&manager| Boots::new(manager)).collect();
    let mut many: Vec<Many> = MANY.iter().map(|&(manager, count)| Many::new(manager, count)).collect();
    for one in &mut field {
        one.failed = absent.clone().filter(|_| one.manager.is_peer());
        // The first fills caches.
        attempt(&host, one.manager, 1, &mut one.failed);
    }
    for _ in 0..options.rounds {
        for one in &mut field {
            one.seen.extend(attempt(&host, one.manager, 1, &mut one.failed));
        }
    }
    for _ in 0..options.rounds.min(ROUNDS_OF_MANY) {
        for one in &mut many {
            if one.boots.manager.is_peer() && one.boots.failed.is_none() {
                one.boots.failed.clone_from(&absent);
            }
            one.boots.seen.extend(attempt(&host, one.boots.manager, one.count, &mut one.boots.failed));
        }
    }
    drop(host);
    table::print(options.format, &field, &many)?;
    Ok(ExitCode::SUCCESS)
}

/// One boot of so many at once; who fails is out.
fn attempt(host: &Host, manager: Manager, count: usize, failed: &mut Option<String>) -> Option<Seen> {
    if failed.is_some() {
        return None;
    }
    system::boot(host, manager, count).map_err(|reason| *failed = Some(reason)).ok()
}
