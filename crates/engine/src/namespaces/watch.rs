// SPDX-License-Identifier: Apache-2.0
//! Namespaces as they come and go. No call of the kernel tells that: processes that are born or begin another program are
//! looked at when the kernel tells of them, and everything is looked at in an interval, which also finds what a process does
//! without either (unshare(2)), and what is gone.

use std::collections::HashMap;
use std::os::fd::AsFd;

use kernel::event::{self, Interest};
use kernel::procevent::{ProcessEvent, ProcessEvents};
use kernel::time::{monotonic_ms, now_ns};
use serde::Serialize;

use super::scan::{Key, Processes, Scan};
use super::view::NamespaceRow;
use crate::error::{Doing, Result};

/// A namespace that has come or gone.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// When it was noticed, RFC 3339.
    pub time: String,
    /// `new` or `gone`.
    pub event: &'static str,
    /// What it is, or was when it was seen last.
    #[serde(flatten)]
    pub namespace: NamespaceRow,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel tells of processes; and a look in every interval.
    Events,
    /// A look in every interval only.
    Looks,
}

/// Who watches.
pub trait Watching {
    /// Told once, when the first look is over.
    fn begin(&mut self, source: Source);

    /// Told of each change, and after each wait (`None`); false ends the watching.
    fn heard(&mut self, change: Option<&Change>) -> bool;
}

/// After the news of a process so long is waited for further ones.
const SETTLE_MS: u64 = 20;

pub(super) fn watch(interval_ms: u64, ours: &[(String, String)], watching: &mut dyn Watching) -> Result<()> {
    // Before the first look, so that nothing is between both.
    let events = ProcessEvents::open().ok();
    let mut known = look(ours, &HashMap::new())?;
    watching.begin(if events.is_some() { Source::Events } else { Source::Looks });
    let mut next = monotonic_ms() + interval_ms;
    loop {
        let stirred = wait(events.as_ref(), next)?;
        let due = monotonic_ms() >= next;
        if due || stirred {
            let seen = look(ours, &known)?;
            for change in changes(&known, &seen) {
                if !watching.heard(Some(&change)) {
                    return Ok(());
                }
            }
            known = seen;
            next = monotonic_ms() + interval_ms;
        }
        if !watching.heard(None) {
            return Ok(());
        }
    }
}

/// Waits for news, or for the next look: was there news of a process that may have other namespaces, or that has ended?
fn wait(events: Option<&ProcessEvents>, next: u64) -> Result<bool> {
    let left = next.saturating_sub(monotonic_ms());
    let Some(events) = events else {
        event::wait(&[], Some(left)).doing(|| "wait")?;
        return Ok(false);
    };
    let ready = event::wait(&[(events.as_fd(), Interest::Read)], Some(left)).doing(|| "wait for news of processes")?;
    if ready.first() != Some(&true) {
        return Ok(false);
    }
    event::wait(&[], Some(SETTLE_MS)).doing(|| "wait")?;
    let heard = events.heard().doing(|| "hear of processes")?;
    Ok(heard.iter().any(|one| match one {
        ProcessEvent::Born(_) | ProcessEvent::Executed(_) | ProcessEvent::Ended(_) | ProcessEvent::Lost => true,
    }))
}

/// All there is now. What is known already is not asked about again.
fn look(ours: &[(String, String)], known: &HashMap<Key, NamespaceRow>) -> Result<HashMap<Key, NamespaceRow>> {
    let mut scan = Scan::new(None).doing(|| "look at namespaces")?;
    scan.ask();
    let mut seen = Processes::default();
    let keys: Vec<Key> = scan.found.keys().copied().collect();
    let mut rows = HashMap::with_capacity(keys.len());
    for key in keys {
        let row = known.get(&key).cloned().or_else(|| scan.row(key, ours, &mut seen));
        rows.extend(row.map(|row| (key, row)));
    }
    Ok(rows)
}

fn changes(before: &HashMap<Key, NamespaceRow>, now: &HashMap<Key, NamespaceRow>) -> Vec<Change> {
    let time = spec::timestamp::format(now_ns());
    let only = |one: &HashMap<Key, NamespaceRow>, other: &HashMap<Key, NamespaceRow>, event: &'static str| {
        let mut rows: Vec<(Key, NamespaceRow)> =
            one.iter().filter(|(key, _)| !other.contains_key(key)).map(|(key, row)| (*key, row.clone())).collect();
        rows.sort_by_key(|(key, _)| *key);
        rows.into_iter().map(|(_, namespace)| Change { time: time.clone(), event, namespace }).collect::<Vec<_>>()
    };
    [only(before, now, "gone"), only(now, before, "new")].concat()
}
