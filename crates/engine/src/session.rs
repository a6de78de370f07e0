// SPDX-License-Identifier: Apache-2.0
//! A connection to a running container: its output to ours, our input, signals and window size to it.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::Errno;
use kernel::event::{self, Interest, Read};
use kernel::process;
use kernel::pty::{self, RawMode};
use runtime::{Answer, Connection, Order, Request, Stream};
use spec::Name;

use crate::error::{Doing, Error, Kind, Result};
use crate::request::{Attach, Outcome, Terminal};
use crate::start;
use crate::store::{Found, Store};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
const SIGWINCH: i32 = 28;

/// Bytes that are read from our input at once.
const CHUNK: usize = 16 * 1024;

/// A connection to the keeper of a container that runs.
#[derive(Debug)]
pub struct Session {
    name: Name,
    id: String,
    tty: bool,
    interactive: bool,
    /// Milliseconds that a whole system has for its end.
    system: Option<u64>,
    pid: i32,
    warnings: Vec<String>,
    connection: Connection,
    signals: Option<OwnedFd>,
    /// The keeper, when it is a child of ours.
    keeper: Option<process::Child>,
}

/// The signals that a session passes on are held back from before the start: none may get lost in between.
pub(crate) fn signals(attach: Attach) -> Result<Option<OwnedFd>> {
    let list = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH];
    Ok((attach != Attach::None).then(|| kernel::signal::descriptor(&list)).transpose()?)
}

pub(crate) fn attach(store: &Store, container: &str, attach: Attach) -> Result<Session> {
    let found = store.find(container)?;
    let pid = store.state(&found)?.and_then(|state| state.pid).ok_or_else(|| not_running(&found.name))?;
    let run = store.run_directory(&found.record.id);
    let connection = Connection::open(&run).doing(|| format!("attach to {}", found.name))?;
    let signals = signals(attach)?;
    if attach != Attach::None {
        connection.ask(&Request::Attach { input: attach == Attach::All && found.record.definition.interactive })?;
    }
    Ok(Session::new(&found, connection, pid, Vec::new(), attach, signals, None))
}

pub(crate) fn not_running(name: &Name) -> Error {
    Error::new(Kind::Conflict, format!("container {name} is not running")).hint(format!("cella start {name}"))
}

impl Session {
    pub(crate) fn new(
        found: &Found,
        connection: Connection,
        pid: i32,
        warnings: Vec<String>,
        attach: Attach,
        signals: Option<OwnedFd>,
        keeper: Option<process::Child>,
    ) -> Self {
        let definition = &found.record.definition;
        let interactive = attach == Attach::All && definition.interactive;
        let (name, id, tty) = (found.name.clone(), found.record.id.clone(), definition.tty);
        let by_protocol = definition.system.is_some() && definition.stop_signal.is_none();
        let system = by_protocol.then(|| start::stop_timeout(definition));
        Self { name, id, tty, interactive, system, pid, warnings, connection, signals, keeper }
    }

    /// The container's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its full id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Has it a terminal?
    #[must_use]
    pub fn tty(&self) -> bool {
        self.tty
    }

    /// The id of its first process on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What could not be done at its start and does no harm.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Connects this process's standard streams with the container's until it ends, or the user lets go of it.
    ///
    /// # Errors
    /// When the keeper dies, or our output can not be written.
    pub fn run(self, terminal: &Terminal) -> Result<Outcome> {
        event::set_nonblocking(&self.connection)?;
        let input = std::io::stdin();
        let raw = match self.tty && self.interactive && pty::is_terminal(&input) {
            true => Some(RawMode::enter(input.as_fd())?),
            false => None,
        };
        let outcome = Pump::new(&self, terminal, raw.is_some()).run();
        drop(raw);
        if let (Ok(Outcome::Exited(_)), Some(keeper)) = (&outcome, &self.keeper) {
            // It has said its last word, and nothing but its descriptors is left of it: closing them is not waited for.
            process::try_wait(&keeper.pidfd).ok();
        }
        outcome
    }
}

/// The loop of a session.
struct Pump<'a> {
    session: &'a Session,
    terminal: &'a Terminal,
    detach: DetachKeys,
    input_open: bool,
    /// Requests that the keeper has not taken yet; no more input is read before it has.
    waiting: Vec<Request>,
}

impl<'a> Pump<'a> {
    fn new(session: &'a Session, terminal: &'a Terminal, raw: bool) -> Self {
        let keys = if session.tty { terminal.detach_keys.clone() } else { Vec::new() };
        let mut waiting = Vec::new();
        if session.tty && (raw || pty::is_terminal(std::io::stdout())) {
            waiting.extend(window());
        }
        Self { session, terminal, detach: DetachKeys::new(keys), input_open: session.interactive, waiting }
    }

    fn run(mut self) -> Result<Outcome> {
        let input = std::io::stdin();
        loop {
            let connection = self.session.connection.as_fd();
            let mut watched: Vec<(BorrowedFd<'_>, Interest)> = vec![(connection, Interest::Read)];
            watched.extend(self.session.signals.as_ref().map(|signals| (signals.as_fd(), Interest::Read)));
            let reading = self.input_open && self.waiting.is_empty();
            if reading {
                watched.push((input.as_fd(), Interest::Read));
            } else if !self.waiting.is_empty() {
                watched.push((connection, Interest::Write));
            }
            let ready = event::wait(&watched, None)?;
            let last = ready.last().copied().unwrap_or(false);
            drop(watched);
            if let Some(outcome) = self.hear()? {
                return Ok(outcome);
            }
            self.pass_signals();
            if reading && last && self.read_input(input.as_fd())? {
                return Ok(Outcome::Detached);
            }
            self.send()?;
        }
    }

    /// Everything that the keeper has said since.
    fn hear(&mut self) -> Result<Option<Outcome>> {
        loop {
            match self.session.connection.answer() {
                Err(error) if error.is(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(Some(Answer::Output(Stream::Output, bytes))) => show(&mut std::io::stdout().lock(), &bytes)?,
                Ok(Some(Answer::Output(Stream::Error, bytes))) => show(&mut std::io::stderr().lock(), &bytes)?,
                Ok(Some(Answer::Exited { code })) => return Ok(Some(Outcome::Exited(code))),
                Ok(Some(Answer::Failed(failure))) => return Err(start::of_failure(failure)),
                Ok(Some(
                    Answer::Started { .. }
                    | Answer::Done
                    | Answer::Warning(_)
                    | Answer::Refused(_)
                    | Answer::Ready
                    | Answer::Network(_),
                )) => {}
                Ok(None) => return Err(Error::new(Kind::Own, format!("the keeper of {} died", self.session.name))),
            }
        }
    }

    fn pass_signals(&mut self) {
        let Some(signals) = &self.session.signals else { return };
        while let Some(number) = kernel::signal::next(signals) {
            match number {
                SIGWINCH => self.waiting.extend(self.session.tty.then(window).flatten()),
                signal if self.terminal.forward_signals => self.waiting.push(match (signal, self.session.system) {
                    (SIGHUP | SIGINT | SIGTERM, Some(timeout_ms)) => {
                        Request::Order { order: Order::PowerOff, timeout_ms }
                    }
                    _ => Request::Kill { signal },
                }),
                // Whoever does not want signals passed on wants to be ended by them.
                signal => process::exit_now(128 + signal),
            }
        }
    }

    /// Says whether the keys to let go were typed.
    fn read_input(&mut self, input: BorrowedFd<'_>) -> Result<bool> {
        let mut buffer = vec![0; CHUNK];
        match event::read(input, &mut buffer)? {
            Read::Nothing => {}
            Read::End => {
                self.input_open = false;
                self.waiting.push(Request::CloseInput);
            }
            Read::Bytes(count) => {
                buffer.truncate(count);
                let (bytes, detached) = self.detach.filter(buffer);
                if detached {
                    return Ok(true);
                }
                if !bytes.is_empty() {
                    self.waiting.push(Request::Input(bytes));
                }
            }
        }
        Ok(false)
    }

    fn send(&mut self) -> Result<()> {
        while let Some(request) = self.waiting.first() {
            match self.session.connection.ask(request) {
                Err(error) if error.is(Errno::AGAIN) => return Ok(()),
                // It is at its end: its last words are still to be read.
                Err(error) if error.is(Errno::PIPE) || error.is(Errno::CONNRESET) => self.waiting.clear(),
                Err(error) => return Err(error.into()),
                Ok(()) => drop(self.waiting.remove(0)),
            }
        }
        Ok(())
    }
}

/// The size of our window.
fn window() -> Option<Request> {
    let size = pty::size(std::io::stdout()).or_else(|_| pty::size(std::io::stdin())).ok()?;
    Some(Request::Resize { rows: size.rows, columns: size.columns })
}

/// Our own output: when nobody reads it any more the command is over, as for any program in a pipe.
pub(crate) fn show(output: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    Ok(kernel::Call::call(written, || "write(output)")?)
}

/// Looks for the keys that let go of the container; what turns out not to be them is passed on.
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    seen: usize,
}

impl DetachKeys {
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, seen: 0 }
    }

    /// What is to be passed on, and whether the keys are complete.
    pub(crate) fn filter(&mut self, bytes: Vec<u8>) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (bytes, false);
        }
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys.get(self.seen) == Some(&byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(self.keys.get(..self.seen).unwrap_or_default());
            self.seen = usize::from(self.keys.first() == Some(&byte));
            if self.seen == 0 {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_let_go_are_found_across_reads_and_others_passed_on() {
        let mut keys = DetachKeys::new(vec![16, 17]);
        assert_eq!(keys.filter(vec![b'a', 16]), (vec![b'a'], false));
        assert_eq!(keys.filter(vec![b'b']), (vec![16, b'b'], false));
        assert_eq!(keys.filter(vec![16, 16]), (vec![16], false));
        assert_eq!(keys.filter(vec![17, b'x']), (vec![], true));
        assert_eq!(DetachKeys::new(vec![]).filter(vec![16, 17]), (vec![16, 17], false));
    }
}
