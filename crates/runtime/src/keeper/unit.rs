// SPDX-License-Identifier: Apache-2.0
//! The unit of the host's systemd that a container's control group is.

use std::cell::Cell;

use kernel::{Errno, Error, Result};

use crate::systemd::{self, Bus, Scope};

/// Milliseconds that systemd has to make it.
const PATIENCE_MS: u64 = 20_000;

/// How often one of the same name, which is going, is waited for; milliseconds between.
const ATTEMPTS: usize = 50;
const PAUSE_MS: u64 = 40;

/// A unit, and whom to ask for it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// What it is asked to have.
    pub scope: Scope,
    /// Who answers.
    pub bus: Bus,
    /// It has been made for this container.
    made: Cell<bool>,
}

impl Unit {
    /// One that is not there yet.
    #[must_use]
    pub fn new(scope: Scope, bus: Bus) -> Self {
        Self { scope, bus, made: Cell::new(false) }
    }

    /// Is it ours to end?
    pub(super) fn is_made(&self) -> bool {
        self.made.get()
    }

    /// Has systemd put the process, which waits, into the unit.
    pub(super) fn start(&self, pid: i32) -> Result<()> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match systemd::start(&self.bus, &self.scope, pid.cast_unsigned()) {
                Ok(started) => {
                    self.made.set(true);
                    return started.wait(PATIENCE_MS).map(drop).map_err(|error| {
                        // A part of it may be there.
                        systemd::stop(&self.bus, &self.scope.unit).ok();
                        failed(&error)
                    });
                }
                Err(error) if error.is_taken() => last = Some(error),
                Err(error) => return Err(failed(&error)),
            }
            std::thread::sleep(std::time::Duration::from_millis(PAUSE_MS));
        }
        Err(last.map_or_else(|| Error::new("systemd", Errno::EXIST), |error| failed(&error)))
    }

    /// Leaves the session or the service that this keeper was started in, whose end would be its own.
    pub(super) fn move_keeper(&self) -> Result<()> {
        let name = self.scope.unit.strip_suffix(".scope").unwrap_or(&self.scope.unit);
        let scope = Scope {
            // No container has a name with a colon.
            unit: format!("{name}:keeper.scope"),
            description: format!("keeper of {}", self.scope.description),
            properties: Vec::new(),
            ..self.scope.clone()
        };
        Self::new(scope, self.bus.clone()).start(kernel::process::id())
    }

    /// Ends it, if it is still there.
    pub(super) fn stop(&self) -> Result<()> {
        systemd::stop(&self.bus, &self.scope.unit).map_err(|error| failed(&error))
    }
}

fn failed(error: &systemd::Error) -> Error {
    Error::new(format!("ask systemd: {error}"), Errno::IO)
}
