// SPDX-License-Identifier: Apache-2.0
//! Ends a container or holds it: stop, restart, kill, freeze, wait.

use runtime::{Answer, Connection, Order, Request};
use spec::signal::Signal;

use crate::error::{Doing, Error, Kind, Result};
use crate::record;
use crate::request::{Attach, Stop};
use crate::session::not_running;
use crate::start;
use crate::store::{Found, Store};

const SIGTERM: i32 = 15;

pub(crate) fn stop(store: &Store, container: &str, stop: Stop) -> Result<()> {
    let found = store.find(container)?;
    if store.state(&found)?.is_none() {
        return Ok(());
    }
    let definition = &found.record.definition;
    let of_image = || found.record.config.stop_signal.as_deref().and_then(|signal| signal.parse().ok());
    let asked = stop.signal.or(definition.stop_signal);
    let timeout_ms = stop.timeout_ms.or(definition.stop_timeout_ms).unwrap_or_else(|| start::stop_timeout(definition));
    let request = match (asked, &definition.system) {
        (None, Some(_)) => Request::Order { order: Order::PowerOff, timeout_ms },
        (asked, _) => {
            let signal = asked.or_else(of_image).map_or(SIGTERM, |signal: Signal| signal.0);
            Request::Stop { signal, timeout_ms }
        }
    };
    end(store, &found, &request).doing(|| format!("stop {}", found.name))?;
    store.events().append("stop", &found.record.id, found.name.as_str(), &[])?;
    Ok(())
}

/// Asks the keeper to end it, and waits until nothing is left of the run.
pub(crate) fn end(store: &Store, found: &Found, request: &Request) -> Result<()> {
    let Some(connection) = connect(store, found)? else { return Ok(()) };
    match connection.ask(request) {
        Err(error) if error.is(kernel::Errno::PIPE) => {}
        other => other?,
    }
    ended(store, found, &connection).map(drop)
}

/// The keeper, when there is one.
pub(crate) fn connect(store: &Store, found: &Found) -> Result<Option<Connection>> {
    match Connection::open(&store.run_directory(&found.record.id)) {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if error.is(kernel::Errno::NOENT) || error.is(kernel::Errno::CONNREFUSED) => {
            // Either it is gone, or it is only coming up: the state tells.
            match store.state(found)? {
                None => Ok(None),
                Some(_) => retry(store, found),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn retry(store: &Store, found: &Found) -> Result<Option<Connection>> {
    for _ in 0..500 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        match Connection::open(&store.run_directory(&found.record.id)) {
            Ok(connection) => return Ok(Some(connection)),
            Err(_) if store.state(found)?.is_none() => return Ok(None),
            Err(_) => {}
        }
    }
    Err(Error::new(Kind::Own, "its keeper does not answer").hint(format!("cella rm -f {} removes it", found.name)))
}

/// Waits for the keeper's last word: the exit code, or `None` when it died without one.
fn ended(store: &Store, found: &Found, connection: &Connection) -> Result<Option<i32>> {
    loop {
        match connection.answer()? {
            Some(Answer::Exited { code }) => return Ok(Some(code)),
            Some(Answer::Failed(_)) | None => {
                store.state(found)?;
                return Ok(None);
            }
            Some(
                Answer::Started { .. }
                | Answer::Output(..)
                | Answer::Done
                | Answer::Refused(_)
                | Answer::Warning(_)
                | Answer::Ready
                | Answer::Network(_),
            ) => {}
        }
    }
}

pub(crate) fn restart(store: &Store, container: &str, how: Stop) -> Result<()> {
    let found = store.find(container)?;
    stop(store, found.name.as_str(), how)?;
    drop(start::start(store, found.name.as_str(), Attach::None)?);
    store.events().append("restart", &found.record.id, found.name.as_str(), &[])?;
    Ok(())
}

/// Has a whole system begin again; returns when it has, with everything down.
pub(crate) fn reboot(store: &Store, container: &str, timeout_ms: Option<u64>) -> Result<()> {
    let found = store.find(container)?;
    let definition = &found.record.definition;
    if definition.system.is_none() {
        let message = format!("{} is no system container", found.name);
        return Err(Error::new(Kind::Conflict, message).hint(format!("cella restart {}", found.name)));
    }
    let timeout_ms = timeout_ms.unwrap_or_else(|| start::stop_timeout(definition));
    let request = Request::Order { order: Order::Reboot, timeout_ms };
    ask(store, &found, &request).doing(|| format!("reboot {}", found.name))
}

pub(crate) fn kill(store: &Store, container: &str, signal: Signal) -> Result<()> {
    let found = store.find(container)?;
    if store.state(&found)?.and_then(|state| state.pid).is_none() {
        return Err(not_running(&found.name));
    }
    ask(store, &found, &Request::Kill { signal: signal.0 }).doing(|| format!("send {} {signal}", found.name))
}

/// Asks the keeper for something that it does at once.
pub(crate) fn ask(store: &Store, found: &Found, request: &Request) -> Result<()> {
    let connection = connect(store, found)?.ok_or_else(|| not_running(&found.name))?;
    connection.ask(request)?;
    loop {
        match connection.answer()? {
            Some(Answer::Done) => return Ok(()),
            Some(Answer::Refused(reason)) => return Err(Error::new(Kind::Conflict, reason)),
            None | Some(Answer::Exited { .. } | Answer::Failed(_)) => return Err(not_running(&found.name)),
            Some(
                Answer::Started { .. } | Answer::Output(..) | Answer::Warning(_) | Answer::Ready | Answer::Network(_),
            ) => {}
        }
    }
}

pub(crate) fn freeze(store: &Store, container: &str, frozen: bool) -> Result<()> {
    let (found, _lock) = start::locked(store, container)?;
    let name = &found.name;
    if store.state(&found)?.and_then(|state| state.pid).is_none() {
        return Err(not_running(name));
    }
    let group = store.group(&found)?;
    match (group.is_frozen(), frozen) {
        (true, true) => return Err(Error::new(Kind::Conflict, format!("container {name} is paused already"))),
        (false, false) => return Err(Error::new(Kind::Conflict, format!("container {name} is not paused"))),
        (true, false) | (false, true) => {}
    }
    let verb = if frozen { "pause" } else { "resume" };
    group.set_frozen(frozen).doing(|| format!("{verb} {name}"))?;
    store.events().append(verb, &found.record.id, name.as_str(), &[])?;
    Ok(())
}

pub(crate) fn wait(store: &Store, container: &str) -> Result<i32> {
    let found = store.find(container)?;
    if let Some(connection) = store.state(&found)?.map(|_| connect(store, &found)).transpose()?.flatten() {
        connection.ask(&Request::Wait)?;
        if let Some(code) = ended(store, &found, &connection)? {
            return Ok(code);
        }
    }
    match record::read_last(&store.directory(&found.name))? {
        Some(exited) => Ok(exited.code),
        None => Err(Error::new(Kind::Conflict, format!("container {} was never started", found.name))
            .hint(format!("cella start {}", found.name))),
    }
}
