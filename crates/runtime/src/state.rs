// SPDX-License-Identifier: Apache-2.0
//! What is known of a container while it has a keeper: one file, written anew as a whole at each change.

use std::os::fd::AsFd;
use std::path::Path;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// The name of the file in a container's runtime directory. Format: docs/formats/state.md.
pub(crate) const STATE: &str = "state.json";

/// The name of the file whose lock a keeper holds as long as it lives.
pub(crate) const ALIVE: &str = "keeper.lock";

/// The name of the keeper's socket.
pub(crate) const SOCKET: &str = "keeper.sock";

/// What the program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On its way to run.
    Starting,
    /// Running (or frozen: the control group knows).
    Running,
    /// Ended; it will be started again in a moment.
    Restarting,
    /// Ended; being cleared away.
    Ending,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of the format.
    pub version: u32,
    /// Full id.
    pub id: String,
    /// The boot that this belongs to.
    pub boot: String,
    /// What it is doing.
    pub phase: Phase,
    /// The control group's name.
    pub cgroup: String,
    /// The unit of the host's systemd that the group belongs to, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The keeper's process id.
    pub keeper: i32,
    /// The first process, when it runs.
    pub pid: Option<i32>,
    /// Its start in clock ticks since boot: together with the id this names one process for good.
    pub start_time: Option<u64>,
    /// When it was started last, RFC 3339.
    pub started: Option<String>,
    /// When its init said that everything is up, RFC 3339; of a whole system only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Its own view of /proc and /sys is served.
    #[serde(default)]
    pub view: bool,
    /// Processes that the kernel has killed for lack of memory, within this keeper's life.
    #[serde(default)]
    pub oom_kills: u64,
    /// Restarts by policy since it was started by hand.
    pub restarts: u32,
    /// How it ended last, within this keeper's life.
    pub last: Option<Exited>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Exit code, 128 + n for signal n.
    pub code: i32,
    /// When it was started, RFC 3339.
    pub started: Option<String>,
    /// When it ended, RFC 3339.
    pub finished: String,
    /// The kernel killed one of its processes for lack of memory.
    pub oom_killed: bool,
    /// Restarts by policy.
    pub restarts: u32,
    /// Why it could not be started, if so.
    pub error: Option<String>,
    /// Somebody asked for its end.
    pub by_hand: bool,
}

impl State {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// Reads the state in a runtime directory; `None` when there is none.
    ///
    /// # Errors
    /// When it can not be read or understood.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(STATE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => kernel::Call::call(other, || format!("read({path:?})"))?,
        };
        match serde_json::from_slice(&text) {
            Ok(state) => Ok(Some(state)),
            Err(error) => Err(Error::new(format!("parse {path:?}: {error}"), kernel::Errno::INVAL)),
        }
    }

    /// Writes it into the directory.
    ///
    /// # Errors
    /// open(2)'s, write(2)'s or rename(2)'s.
    pub fn write(&self, directory: impl AsFd) -> Result<()> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        kernel::file::write_atomic(directory, STATE, &text, false)
    }
}

/// Takes the lock that says a keeper lives; its descriptor is handed to the keeper.
///
/// # Errors
/// open(2)'s or flock(2)'s.
pub fn take_alive(directory: &Path) -> Result<std::os::fd::OwnedFd> {
    kernel::lock::Lock::wait_file(&directory.join(ALIVE)).map(kernel::lock::Lock::into_fd)
}

/// Does a keeper live that holds this runtime directory?
///
/// # Errors
/// open(2)'s or flock(2)'s.
pub fn is_kept(directory: &Path) -> Result<bool> {
    kernel::lock::is_held(&directory.join(ALIVE))
}
