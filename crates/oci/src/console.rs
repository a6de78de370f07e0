// SPDX-License-Identifier: Apache-2.0
//! A container in the foreground: its terminal is shown on ours, signals that we get go to it, and its end is ours.

use std::os::fd::{AsFd, OwnedFd};

use kernel::event::{Interest, Read};
use kernel::process::Exit;
use kernel::pty::{self, RawMode};

use crate::failure::Result;

const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;

/// Signals that are passed on: all that can be caught, but those that are about us.
fn forwarded() -> Vec<i32> {
    const OURS: [i32; 10] = [9, 11, 13, 19, 21, 22, 23, 32, 33, 8];
    (1..=64).filter(|number| !OURS.contains(number)).collect()
}

/// Where signals go from the moment on that the container exists.
pub(crate) struct Watch {
    signals: OwnedFd,
}

impl Watch {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { signals: kernel::signal::descriptor(&forwarded())? })
    }

    /// Serves until the process ends.
    pub(crate) fn serve(&self, process: &OwnedFd, terminal: Option<&OwnedFd>) -> Result<Exit> {
        let stdin = std::io::stdin();
        let raw = match terminal {
            Some(terminal) if pty::is_terminal(&stdin) => {
                resize(terminal);
                Some(RawMode::enter(&stdin)?)
            }
            _ => None,
        };
        let exit = self.relay(process, terminal);
        drop(raw);
        exit
    }

    fn relay(&self, process: &OwnedFd, terminal: Option<&OwnedFd>) -> Result<Exit> {
        let stdin = std::io::stdin();
        let (mut reads_input, mut reads_output) = (terminal.is_some(), terminal.is_some());
        loop {
            let mut watched = vec![(process.as_fd(), Interest::Read), (self.signals.as_fd(), Interest::Read)];
            let input = reads_input.then(|| {
                watched.push((stdin.as_fd(), Interest::Read));
                watched.len() - 1
            });
            let output = terminal.filter(|_| reads_output).map(|terminal| {
                watched.push((terminal.as_fd(), Interest::Read));
                watched.len() - 1
            });
            let ready = kernel::event::wait(&watched, None)?;
            let is_ready = |at: Option<usize>| at.and_then(|at| ready.get(at)).copied().unwrap_or(false);
            self.pass_signals(process, terminal);
            if let (Some(terminal), true) = (terminal, is_ready(output)) {
                reads_output = copy(terminal, &std::io::stdout());
            }
            if let (Some(terminal), true) = (terminal, is_ready(input)) {
                reads_input = copy(&stdin, terminal);
            }
            if let Some(exit) = if is_ready(Some(0)) { kernel::process::try_wait(process)? } else { None } {
                // What it said last is still in the terminal.
                while let Some(terminal) = terminal.filter(|_| reads_output) {
                    let more = kernel::event::wait(&[(terminal.as_fd(), Interest::Read)], Some(0))?;
                    if !more.first().copied().unwrap_or(false) || !copy(terminal, &std::io::stdout()) {
                        break;
                    }
                }
                return Ok(exit);
            }
        }
    }

    fn pass_signals(&self, process: &OwnedFd, terminal: Option<&OwnedFd>) {
        while let Some(number) = kernel::signal::next(&self.signals) {
            match (number, terminal) {
                (SIGCHLD, _) => {}
                (SIGWINCH, Some(terminal)) => resize(terminal),
                // It may have ended just now.
                _ => drop(kernel::process::signal(process, number)),
            }
        }
    }
}

/// Gives the container's terminal the size of ours.
fn resize(terminal: &OwnedFd) {
    if let Ok(size) = pty::size(std::io::stdin()) {
        pty::set_size(terminal, size).ok();
    }
}

/// Copies what is there; `false` at the end.
fn copy(from: &impl AsFd, to: &impl AsFd) -> bool {
    let mut buffer = [0; 4096];
    match kernel::event::read(from, &mut buffer) {
        Ok(Read::Bytes(length)) => {
            let bytes = buffer.get(..length).unwrap_or_default();
            kernel::event::write_all(to, bytes).is_ok()
        }
        Ok(Read::End) | Err(_) => false,
        Ok(Read::Nothing) => true,
    }
}
