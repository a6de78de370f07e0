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

/// After the end of a process so long is waited for further ones; and so many times what a look at everything takes, so that
/// a host on which processes end all the time is not looked at all the time.
const SETTLE_MS: u64 = 100;
const SHARE: u64 = 4;

/// Namespaces that are there, as they were when they were seen first.
type Known = HashMap<Key, NamespaceRow>;

pub(super) fn watch(interval_ms: u64, ours: &[(String, String)], watching: &mut dyn Watching) -> Result<()> {
    // Before the first look, so that nothing is between both.
    let events = ProcessEvents::open().ok();
    let (mut known, mut cost) = look(ours, &Known::new())?;
    watching.begin(if events.is_some() { Source::Events } else { Source::Looks });
    let mut next = monotonic_ms() + interval_ms;
    loop {
        let heard = wait(events.as_ref(), next)?;
        let born = look_at(&heard, ours, &known)?;
        for change in changes(&Known::new(), &born) {
            if !watching.heard(Some(&change)) {
                return Ok(());
            }
        }
        known.extend(born);
        if heard.iter().any(|event| matches!(event, ProcessEvent::Ended(_) | ProcessEvent::Lost)) {
            next = next.min(monotonic_ms() + SETTLE_MS.max(SHARE * cost));
        }
        if monotonic_ms() >= next {
            let seen;
            (seen, cost) = look(ours, &known)?;
            for change in changes(&known, &seen) {
                if !watching.heard(Some(&change)) {
                    return Ok(());
                }
            }
            known = seen;
            next = monotonic_ms() + interval_ms.max(SHARE * cost);
        }
        if !watching.heard(None) {
            return Ok(());
        }
    }
}

/// Waits for news, or for the next look.
fn wait(events: Option<&ProcessEvents>, next: u64) -> Result<Vec<ProcessEvent>> {
    let left = next.saturating_sub(monotonic_ms());
    let watched: Vec<_> = events.iter().map(|events| (events.as_fd(), Interest::Read)).collect();
    let ready = event::wait(&watched, Some(left)).doing(|| "wait for news of processes")?;
    match events.filter(|_| ready.first() == Some(&true)) {
        Some(events) => events.heard().doing(|| "hear of processes"),
        None => Ok(Vec::new()),
    }
}

/// What those who were born or began another program are in, that was not known: at once, before they are gone.
fn look_at(heard: &[ProcessEvent], ours: &[(String, String)], known: &Known) -> Result<Known> {
    let mut pids: Vec<i32> = heard
        .iter()
        .filter_map(|event| match event {
            ProcessEvent::Born(pid) | ProcessEvent::Executed(pid) => Some(*pid),
            ProcessEvent::Ended(_) | ProcessEvent::Lost => None,
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    if pids.is_empty() {
        return Ok(Known::new());
    }
    let mut scan = Scan::of(&pids).doing(|| "look at processes")?;
    scan.found.retain(|key, _| !known.contains_key(key));
    scan.ask();
    Ok(rows(&mut scan, ours, known))
}

/// All there is now, and how many milliseconds it took. What is known already is as it was.
fn look(ours: &[(String, String)], known: &Known) -> Result<(Known, u64)> {
    let began = monotonic_ms();
    let mut scan = Scan::new(None).doing(|| "look at namespaces")?;
    scan.ask();
    let mut all = rows(&mut scan, ours, known);
    all.extend(scan.found.keys().copied().filter_map(|key| Some((key, known.get(&key)?.clone()))));
    Ok((all, monotonic_ms() - began))
}

/// Those of a look that are not known.
fn rows(scan: &mut Scan, ours: &[(String, String)], known: &Known) -> Known {
    let mut seen = Processes::default();
    let keys: Vec<Key> = scan.found.keys().copied().filter(|key| !known.contains_key(key)).collect();
    keys.into_iter().filter_map(|key| Some((key, scan.row(key, ours, &mut seen)?))).collect()
}

fn changes(before: &Known, now: &Known) -> Vec<Change> {
    let time = spec::timestamp::format(now_ns());
    let only = |one: &Known, other: &Known, event: &'static str| {
        let mut rows: Vec<(Key, NamespaceRow)> =
            one.iter().filter(|(key, _)| !other.contains_key(key)).map(|(key, row)| (*key, row.clone())).collect();
        rows.sort_by_key(|(key, _)| *key);
        rows.into_iter().map(|(_, namespace)| Change { time: time.clone(), event, namespace }).collect::<Vec<_>>()
    };
    [only(before, now, "gone"), only(now, before, "new")].concat()
}
