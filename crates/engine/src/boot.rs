// SPDX-License-Identifier: Apache-2.0
//! How far a whole system is: whether everything is up, and what its init says about it.

use std::os::fd::AsFd;

use kernel::event::{self, Interest};
use runtime::{Answer, Request};
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::exec;
use crate::session::not_running;
use crate::stop;
use crate::store::{Found, Store};

/// How far a system is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SystemView {
    /// Its init, with the version where it tells: `systemd 257`.
    pub init: String,
    /// `running`, `degraded`, `starting`…, in systemd's words; `running` for an init without such.
    pub state: String,
    /// Units that have failed.
    pub failed_units: Option<u64>,
    /// When everything was up, RFC 3339.
    pub ready: Option<String>,
}

/// Waits until everything is up, so long at most.
pub(crate) fn wait_ready(store: &Store, container: &str, timeout_ms: u64) -> Result<()> {
    let found = system(store, container)?;
    let name = &found.name;
    let connection = stop::connect(store, &found)?.ok_or_else(|| not_running(name))?;
    connection.ask(&Request::WaitReady)?;
    let deadline = kernel::time::monotonic_ms().saturating_add(timeout_ms);
    loop {
        let left = deadline.saturating_sub(kernel::time::monotonic_ms());
        if left == 0 {
            let seconds = timeout_ms / 1000;
            let message = format!("{name} runs, but was not up after {seconds} s");
            return Err(Error::new(Kind::Own, message).hint(format!("cella boot-log {name} shows what it waits for")));
        }
        event::wait(&[(connection.as_fd(), Interest::Read)], Some(left)).ok();
        if !event::wait(&[(connection.as_fd(), Interest::Read)], Some(0))?.contains(&true) {
            continue;
        }
        match connection.answer()? {
            Some(Answer::Ready) => return Ok(()),
            Some(Answer::Exited { code }) => return Err(ended(name, Some(code))),
            Some(Answer::Failed(_)) | None => return Err(ended(name, None)),
            Some(_) => {}
        }
    }
}

fn ended(name: &spec::Name, code: Option<i32>) -> Error {
    let code = code.map(|code| format!(" with code {code}")).unwrap_or_default();
    Error::new(Kind::Own, format!("{name} ended{code} before it was up"))
        .hint(format!("cella boot-log {name} shows why"))
}

/// A system container.
fn system(store: &Store, container: &str) -> Result<Found> {
    let found = store.find(container)?;
    match found.record.definition.system {
        Some(_) => Ok(found),
        None => Err(Error::new(Kind::Conflict, format!("{} is no system container", found.name))),
    }
}

/// What its init says.
pub(crate) fn view(store: &Store, container: &str) -> Result<SystemView> {
    let found = system(store, container)?;
    let state = store.state(&found)?.ok_or_else(|| not_running(&found.name))?;
    let pid = state.pid.ok_or_else(|| not_running(&found.name))?;
    let ready = state.ready;
    let plain = |init: &str| SystemView {
        init: init.to_owned(),
        state: "running".to_owned(),
        failed_units: None,
        ready: ready.clone(),
    };
    match runtime::Init::of(pid) {
        runtime::Init::Systemd => {}
        runtime::Init::SystemV => return Ok(plain("sysvinit")),
        runtime::Init::Busybox => return Ok(plain("busybox")),
        runtime::Init::Other => return Ok(plain("init")),
    }
    let command = ["systemctl", "show", "--property=Version,SystemState,NFailedUnits"].map(str::to_owned);
    // It is up whether it answers or not.
    let text = exec::capture(store, container, &command).unwrap_or_default();
    Ok(SystemView { ready: ready.clone(), ..of_systemd(&text) })
}

/// What systemd answers, as far as it makes sense: it comes from inside.
fn of_systemd(text: &str) -> SystemView {
    let plain = |value: &str| value.chars().filter(|letter| letter.is_ascii_graphic()).take(32).collect::<String>();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let version: String = value("Version").map(plain).unwrap_or_default();
    let number = version.split(['.', '~', '-', '(']).next().unwrap_or_default();
    SystemView {
        init: format!("systemd {number}").trim_end().to_owned(),
        state: value("SystemState").map(plain).unwrap_or_else(|| "unknown".to_owned()),
        failed_units: value("NFailedUnits").and_then(|value| value.parse().ok()),
        ready: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_answer_is_read_with_care() {
        let view = of_systemd("Version=257.9-1~deb13u1\nNFailedUnits=2\nSystemState=degraded\n");
        assert_eq!((view.init.as_str(), view.state.as_str(), view.failed_units), ("systemd 257", "degraded", Some(2)));
        let hostile = of_systemd("SystemState=\u{1b}[2Jx\nNFailedUnits=-1\n");
        assert_eq!((hostile.init.as_str(), hostile.state.as_str(), hostile.failed_units), ("systemd", "[2Jx", None));
    }
}
