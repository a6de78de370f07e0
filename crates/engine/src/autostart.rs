// SPDX-License-Identifier: Apache-2.0
//! What is started with the host and stopped with it, and in which order.
//!
//! With the host are started: containers that ask for it, those whose restart policy is `always`, and those of `unless-stopped`
//! that nobody has stopped by hand. What the host's end has stopped, nobody has: it is written down until the next start.

use kernel::Errno;
use serde::Serialize;
use spec::Name;
use spec::definition::Restart;

use crate::error::{Doing, Result};
use crate::record;
use crate::request::{Attach, Stop};
use crate::start;
use crate::stop;
use crate::store::{Found, Store};

/// The file of the ids that were stopped with the host, one a line.
const STOPPED: &str = "stopped-with-host";

/// A container that is started with the host.
#[derive(Debug, Clone, Serialize)]
pub struct AutostartRow {
    /// Its name.
    pub name: Name,
    /// Lower numbers start first and stop last.
    pub order: i32,
    /// Milliseconds until the next one is started.
    pub delay_ms: u64,
    /// Why: `autostart`, or the restart policy.
    pub reason: String,
    /// Does it run?
    pub running: bool,
}

/// In the order in which they are started.
pub(crate) fn list(store: &Store) -> Result<Vec<AutostartRow>> {
    let stopped = stopped(store)?;
    let mut rows = Vec::new();
    for name in store.names()? {
        let Ok(found) = store.find(name.as_str()) else { continue };
        rows.extend(row(store, &found, &stopped)?);
    }
    rows.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Ok(rows)
}

fn row(store: &Store, found: &Found, stopped: &[String]) -> Result<Option<AutostartRow>> {
    let definition = &found.record.definition;
    let running = store.state(found)?.is_some();
    let by_hand = || -> Result<bool> {
        let last = record::read_last(&store.directory(&found.name))?;
        Ok(last.is_none_or(|last| last.by_hand) && !stopped.contains(&found.record.id))
    };
    let reason = match (definition.autostart, definition.restart) {
        (Some(_), _) => "autostart".to_owned(),
        (None, Restart::Always) => "restart always".to_owned(),
        (None, Restart::UnlessStopped) if running || !by_hand()? => "restart unless-stopped".to_owned(),
        _ => return Ok(None),
    };
    let autostart = definition.autostart.unwrap_or_default();
    let (order, delay_ms) = (autostart.order, autostart.delay_ms);
    Ok(Some(AutostartRow { name: found.name.clone(), order, delay_ms, reason, running }))
}

fn stopped(store: &Store) -> Result<Vec<String>> {
    match std::fs::read_to_string(store.place.root.join(STOPPED)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(kernel::Error::new(format!("read({STOPPED:?}): {error}"), Errno::IO).into()),
    }
}

/// Starts them, one after the other; `told` hears how each went.
pub(crate) fn start_all(store: &Store, told: &mut dyn FnMut(&Name, Result<()>)) -> Result<()> {
    let rows = list(store)?;
    for row in rows.iter().filter(|row| !row.running) {
        let started = start::start(store, row.name.as_str(), Attach::None).map(drop);
        let went = started.is_ok();
        told(&row.name, started);
        if went && row.delay_ms > 0 {
            std::thread::sleep(std::time::Duration::from_millis(row.delay_ms));
        }
    }
    kernel::file::remove(&store.place.root.join(STOPPED)).doing(|| "forget what was stopped with the host")
}

/// Stops everything that runs, in the opposite order: what is not started with the host first.
pub(crate) fn stop_all(store: &Store, told: &mut dyn FnMut(&Name, Result<()>)) -> Result<()> {
    let listed = list(store)?;
    let mut running: Vec<Name> = Vec::new();
    for name in store.names()? {
        let Ok(found) = store.find(name.as_str()) else { continue };
        if !listed.iter().any(|row| row.name == name) && store.state(&found)?.is_some() {
            running.push(name);
        }
    }
    running.extend(listed.iter().rev().filter(|row| row.running).map(|row| row.name.clone()));
    let ids: Vec<String> = running.iter().filter_map(|name| Some(store.find(name.as_str()).ok()?.record.id)).collect();
    if !ids.is_empty() {
        let root = kernel::root::open_directory_path(&store.place.root)?;
        kernel::file::write_atomic(root, STOPPED, ids.join("\n").as_bytes(), true)?;
    }
    for name in running {
        let stopped = stop::stop(store, name.as_str(), Stop::default());
        told(&name, stopped);
    }
    Ok(())
}
