// SPDX-License-Identifier: Apache-2.0
//! What each container has sent and received, by the month, over all its runs.
//!
//! The kernel counts at the host's end of a device, where root inside can not reach, and forgets with it: what is new is added
//! to a file at each look and before a device is taken off. Between two looks a crash of the keeper loses what came after the
//! first.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kernel::link;
use kernel::netlink::{Family, Socket};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::live::Live;
use crate::place::{self, Networks};

/// Bytes (with the headers of the link) and packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes from the container.
    pub sent: u64,
    /// Bytes to the container.
    pub received: u64,
    /// Packets from the container.
    pub sent_packets: u64,
    /// Packets to the container.
    pub received_packets: u64,
}

impl Totals {
    /// Bytes both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            sent_packets: self.sent_packets.saturating_sub(before.sent_packets),
            received_packets: self.received_packets.saturating_sub(before.received_packets),
        }
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.sent_packets += other.sent_packets;
        self.received_packets += other.received_packets;
    }
}

/// What a device had counted at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// The device's number on the host: another one began at 0.
    device: u32,
    totals: Totals,
}

/// `networks/traffic/ID.json`. Format: docs/formats/network.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    version: u32,
    /// By the month, `2026-11` (UTC).
    pub months: BTreeMap<String, Totals>,
    /// By the place of the device.
    seen: BTreeMap<String, Seen>,
}

impl Default for Account {
    fn default() -> Self {
        Self { version: 1, months: BTreeMap::new(), seen: BTreeMap::new() }
    }
}

impl Account {
    /// What has gone both ways in the month of `time` (RFC 3339).
    #[must_use]
    pub fn month_of(&self, time: &str) -> Totals {
        self.months.get(month(time)).copied().unwrap_or_default()
    }

    fn note(&mut self, place: &str, device: u32, totals: Totals, time: &str) -> bool {
        let before = self.seen.get(place).filter(|seen| seen.device == device).map(|seen| seen.totals);
        let new = totals.since(&before.unwrap_or_default());
        if before == Some(totals) {
            return false;
        }
        self.seen.insert(place.to_owned(), Seen { device, totals });
        self.months.entry(month(time).to_owned()).or_default().add(&new);
        true
    }
}

fn month(time: &str) -> &str {
    time.get(..7).unwrap_or(time)
}

impl Networks {
    fn account_file(&self, container: &str) -> (PathBuf, String) {
        (self.root.join("traffic"), format!("{container}.json"))
    }

    /// What a container has sent and received, up to now.
    ///
    /// # Errors
    /// When its file can not be written.
    pub fn account(&self, container: &str) -> Result<Account> {
        let _lock = self.lock()?;
        let list = self.endpoints_of(container)?;
        self.note_all(container, &list)
    }

    /// Adds what is new; the caller holds the lock.
    pub(crate) fn note_all(&self, container: &str, list: &[Live]) -> Result<Account> {
        let (directory, file) = self.account_file(container);
        // One that was cut off by a crash of the host begins anew.
        let mut account: Account = place::read(&directory.join(&file)).unwrap_or_default().unwrap_or_default();
        let mut changed = false;
        let mut host = Socket::open(Family::Route)?;
        let now = spec::timestamp::format(kernel::time::now_ns());
        for live in list {
            let Some(device) = &live.device else { continue };
            let Some(found) = link::find(&mut host, device)? else { continue };
            // What the host's end receives is what the container has sent.
            let totals = Totals {
                sent: found.stats.rx_bytes,
                received: found.stats.tx_bytes,
                sent_packets: found.stats.rx_packets,
                received_packets: found.stats.tx_packets,
            };
            changed |= account.note(&live.network, found.index, totals, &now);
        }
        if changed {
            kernel::file::make_directories(&directory, 0o700)?;
            place::write(&directory, &file, &account, false)?;
        }
        Ok(account)
    }

    /// Forgets what a container has sent and received.
    ///
    /// # Errors
    /// unlink(2)'s.
    pub fn close_account(&self, container: &str) -> Result<()> {
        let (directory, file) = self.account_file(container);
        Ok(kernel::file::remove(&directory.join(file))?)
    }

    /// Opens or shuts a container's devices on the host's side: what is shut passes nothing either way.
    ///
    /// # Errors
    /// The kernel's.
    pub fn shut(&self, container: &str, shut: bool) -> Result<()> {
        let _lock = self.lock()?;
        let mut host = Socket::open(Family::Route)?;
        for live in self.endpoints_of(container)? {
            let Some(found) = live.device.as_deref().map(|name| link::find(&mut host, name)).transpose()?.flatten()
            else {
                continue;
            };
            if found.up == shut {
                link::set(&mut host, found.index, &link::Change { up: Some(!shut), ..link::Change::default() })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(sent: u64, received: u64) -> Totals {
        Totals { sent, received, sent_packets: sent / 10, received_packets: received / 10 }
    }

    #[test]
    fn months_add_up_over_runs_and_looks() {
        let mut account = Account::default();
        assert!(account.note("cella0", 7, totals(100, 50), "2026-11-30T23:59:59Z"));
        assert!(!account.note("cella0", 7, totals(100, 50), "2026-11-30T23:59:59Z"));
        assert!(account.note("cella0", 7, totals(160, 90), "2026-12-01T00:00:00Z"));
        // The next run has a device of its own, which begins at 0.
        assert!(account.note("cella0", 9, totals(30, 10), "2026-12-02T00:00:00Z"));
        assert!(account.note("back", 10, totals(1, 1), "2026-12-02T00:00:00Z"));
        assert_eq!(account.month_of("2026-11-01T00:00:00Z"), totals(100, 50));
        let december = account.month_of("2026-12-31T00:00:00Z");
        assert_eq!((december.sent, december.received, december.bytes()), (91, 51, 142));
    }
}
