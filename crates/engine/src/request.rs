// SPDX-License-Identifier: Apache-2.0
//! What can be asked of the engine, besides a definition.

use std::path::PathBuf;

use spec::definition::{Limits, Restart};
use spec::signal::Signal;
use spec::system::Autostart;

/// Where the store and the runtime state are.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store, e.g. `/var/lib/cella`.
    pub root: PathBuf,
    /// Runtime state, e.g. `/run/cella`.
    pub run: PathBuf,
}

impl Place {
    /// `/var/lib/cella` and `/run/cella`.
    #[must_use]
    pub fn standard() -> Self {
        Self { root: "/var/lib/cella".into(), run: "/run/cella".into() }
    }

    /// Everything below one directory.
    #[must_use]
    pub fn below(root: PathBuf) -> Self {
        let run = root.join("run");
        Self { root, run }
    }
}

/// How much of a running program one is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// Nothing: it goes on alone.
    None,
    /// Its output.
    Output,
    /// Its output and its input.
    All,
}

/// A program to run in a running container.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// `user[:group]` in place of the container's.
    pub user: Option<String>,
    /// Directory in place of the container's.
    pub workdir: Option<String>,
    /// A terminal.
    pub tty: bool,
    /// Standard input is passed on.
    pub interactive: bool,
    /// It goes on alone.
    pub detach: bool,
    /// With all capabilities.
    pub privileged: bool,
}

/// Which lines of a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Go on with new ones until the container has ended.
    pub follow: bool,
    /// From this time on, in nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// Up to this time.
    pub until_ns: Option<u64>,
    /// Only so many of the last ones.
    pub tail: Option<usize>,
}

/// Which events.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventOptions {
    /// Go on with new ones for ever (or until `until_ns`).
    pub follow: bool,
    /// From this time on, in nanoseconds since 1970; only new ones without it.
    pub since_ns: Option<u64>,
    /// Up to this time.
    pub until_ns: Option<u64>,
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// Kill it when it runs.
    pub force: bool,
    /// Remove the unnamed volumes that came with it.
    pub volumes: bool,
}

/// What `set` changes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Limits.
    pub limits: Limits,
    /// Restart policy.
    pub restart: Option<Restart>,
    /// Bandwidth.
    pub bandwidth: spec::network::Limits,
    /// Bytes in a month; `u64::MAX` is no limit.
    pub net_quota: Option<u64>,
    /// Started with the host, or not any more.
    pub autostart: Option<Option<Autostart>>,
}

/// How to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stop {
    /// The signal in place of the container's.
    pub signal: Option<Signal>,
    /// Milliseconds until `SIGKILL`, in place of the container's.
    pub timeout_ms: Option<u64>,
}

/// What a terminal session needs to know.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// The keys that let go of the container; empty for none. Docker's are ctrl-p ctrl-q: `[16, 17]`.
    pub detach_keys: Vec<u8>,
    /// Pass on signals that this process gets (when there is no terminal).
    pub forward_signals: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { detach_keys: vec![16, 17], forward_signals: true }
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ended with this code (128 + n for signal n).
    Exited(i32),
    /// The user let go of it.
    Detached,
}
