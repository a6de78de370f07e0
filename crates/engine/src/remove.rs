// SPDX-License-Identifier: Apache-2.0
//! Removes a container with all that belongs to it, whatever state it is in.

use spec::Name;

use crate::error::{Doing, Error, Kind, Result};
use crate::record::LAST;
use crate::request::Removal;
use crate::start;
use crate::stop;
use crate::store::{Found, Store};

const SIGKILL: i32 = 9;

/// How long a keeper may take to kill all and clear away.
const PATIENCE_MS: u64 = 20_000;

pub(crate) fn remove(store: &Store, container: &str, removal: Removal) -> Result<()> {
    let found = match store.find(container) {
        Err(error) if error.kind == Kind::Own && removal.force => return remove_unreadable(store, container, error),
        other => other?,
    };
    if store.state(&found)?.is_some() {
        refuse_running(&found, removal)?;
    }
    refuse_used(store, &found)?;
    // Without the lock: the keeper removes such a container itself when it has ended.
    let request = runtime::Request::Stop { signal: SIGKILL, timeout_ms: 0 };
    stop::end(store, &found, &request).doing(|| format!("kill {}", found.name))?;
    finish(store, &found, removal).doing(|| format!("remove {}", found.name))?;
    store.sweep().map(drop)
}

fn finish(store: &Store, found: &Found, removal: Removal) -> Result<()> {
    let (mut found, _lock) = match start::locked(store, found.name.as_str()) {
        // Its keeper has removed it, or somebody else has.
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        other => other?,
    };
    wait_for_keeper(store, &found)?;
    if !removal.volumes && !found.record.definition.remove {
        found.record.volumes.clear();
    }
    store.discard(&found.name, &found.record)?;
    store.events().append("remove", &found.record.id, found.name.as_str(), &[])?;
    Ok(())
}

/// A keeper that has told its end is about to go; one that hangs is killed.
fn wait_for_keeper(store: &Store, found: &Found) -> Result<()> {
    let run = store.run_directory(&found.record.id);
    let deadline = kernel::time::monotonic_ms() + PATIENCE_MS;
    while run.exists() && runtime::is_kept(&run)? {
        if kernel::time::monotonic_ms() > deadline {
            let Some(state) = runtime::State::read(&run)? else { break };
            kernel::process::kill(state.keeper, SIGKILL).ok();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}

fn remove_unreadable(store: &Store, container: &str, error: Error) -> Result<()> {
    let name: Name = container.parse().map_err(|_| error)?;
    store.discard_unreadable(&name)
}

fn refuse_running(found: &Found, removal: Removal) -> Result<()> {
    if removal.force {
        return Ok(());
    }
    let message = format!("cannot remove {}: it is running", found.name);
    Err(Error::new(Kind::Conflict, message).hint(format!("stop it first, or force it: cella rm -f {}", found.name)))
}

/// Its ids are not let go while another container lives with them.
fn refuse_used(store: &Store, found: &Found) -> Result<()> {
    let Some(own) = found.record.ids.filter(|ids| ids.own) else { return Ok(()) };
    for name in store.names()? {
        let Ok(other) = store.find(name.as_str()) else { continue };
        if other.record.ids.is_some_and(|ids| !ids.own && ids.base == own.base) {
            let message = format!("cannot remove {}: {name} shares its namespaces", found.name);
            return Err(Error::new(Kind::Conflict, message).hint(format!("remove {name} first")));
        }
    }
    Ok(())
}

pub(crate) fn preview(store: &Store, container: &str, removal: Removal) -> Result<Vec<String>> {
    let found = store.find(container)?;
    let mut list = Vec::new();
    if let Some(state) = store.state(&found)? {
        refuse_running(&found, removal)?;
        list.push(format!("kill process {}", state.pid.unwrap_or(state.keeper)));
        list.push(format!("control group {}", store.group_name(&found)));
        list.push(store.run_directory(&found.record.id).display().to_string());
    }
    refuse_used(store, &found)?;
    let directory = store.directory(&found.name);
    list.push(directory.display().to_string());
    if directory.join(LAST).exists() {
        list.push(format!("the log and the changes of container {}", found.name));
    }
    if removal.volumes || found.record.definition.remove {
        list.extend(found.record.volumes.iter().map(|volume| format!("volume {volume}")));
    }
    if let Some(ids) = found.record.ids.filter(|ids| ids.own) {
        list.push(format!("ids {} to {}", ids.base, u64::from(ids.base) + u64::from(ids.count) - 1));
    }
    Ok(list)
}
