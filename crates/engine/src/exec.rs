// SPDX-License-Identifier: Apache-2.0
//! Runs a further program in a running container, with our standard streams or a terminal between.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::cgroup::Group;
use kernel::event::{self, Interest, Read};
use kernel::process::{self, Forked};
use kernel::pty::{self, RawMode};
use plan::Joining;
use runtime::{Connection, Joined};
use spec::view::ProcView;

use crate::compose;
use crate::error::{Doing, Error, Kind, Result};
use crate::request::{Attach, Exec, Outcome, Terminal};
use crate::session::{self, DetachKeys, not_running};
use crate::start;
use crate::store::{Found, Store};

const SIGWINCH: i32 = 28;

/// Bytes that are read at once.
const CHUNK: usize = 32 * 1024;

pub(crate) fn exec(store: &Store, container: &str, wanted: &Exec, terminal: &Terminal) -> Result<Outcome> {
    let (task, found) = task(store, container, wanted)?;
    let name = &found.name;
    let first = wanted.command.first().cloned().unwrap_or_default();
    store.events().append("exec", &found.record.id, name.as_str(), &[("command", first)])?;
    match wanted.detach {
        true => detached(&task),
        false => task.run(terminal),
    }
    .doing(|| format!("exec in {name}"))
}

/// A program on its way into a container that runs.
fn task(store: &Store, container: &str, wanted: &Exec) -> Result<(Task, Found)> {
    let found = store.find(container)?;
    let name = found.name.clone();
    let state = store.state(&found)?;
    let pid = state.as_ref().and_then(|state| state.pid).ok_or_else(|| not_running(&name))?;
    let init = process::open(pid)?;
    // The descriptor means that process only if the process is still the same one.
    if kernel::procfs::start_time(pid).ok() != state.and_then(|state| state.start_time) {
        return Err(not_running(&name));
    }
    let group = store.group(&found)?;
    if group.is_frozen() {
        let error = Error::new(Kind::Conflict, format!("container {name} is paused"));
        return Err(error.hint(format!("cella resume {name}")));
    }
    let (joining, owner) = joining(store, &found, wanted).doing(|| format!("exec in {name}"))?;
    let run = store.run_directory(&found.record.id);
    Ok((Task { joining, init, pid, group, run, owner, interactive: wanted.interactive }, found))
}

/// The most that is read of what a program says to us, and how long it may take.
const MOST: usize = 64 * 1024;
const PATIENCE_MS: u64 = 20_000;

/// Runs a program of the container's for what it prints.
pub(crate) fn capture(store: &Store, container: &str, command: &[String]) -> Result<String> {
    let wanted = Exec { command: command.to_vec(), ..Exec::default() };
    let (task, _) = task(store, container, &wanted)?;
    let (ends, theirs) = task.pipes()?;
    let joined = task.join(Some(theirs))?;
    let deadline = kernel::time::monotonic_ms() + PATIENCE_MS;
    let (mut text, mut buffer) = (Vec::new(), vec![0; CHUNK]);
    let output = ends.output.ok_or_else(|| Error::new(Kind::Own, "no output"))?;
    event::set_nonblocking(&output)?;
    loop {
        let left = deadline.saturating_sub(kernel::time::monotonic_ms());
        event::wait(&[(output.as_fd(), Interest::Read)], Some(left))?;
        match event::read(&output, &mut buffer)? {
            Read::Bytes(count) if text.len() < MOST => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Read::Nothing if left > 0 => {}
            Read::End => break,
            Read::Bytes(_) | Read::Nothing => {
                process::signal(joined.pidfd(), 9).ok();
                joined.wait()?;
                return Err(Error::new(Kind::Own, "it does not come to an end"));
            }
        }
    }
    let left = deadline.saturating_sub(kernel::time::monotonic_ms());
    if !event::wait(&[(joined.pidfd().as_fd(), Interest::Read)], Some(left))?.contains(&true) {
        process::signal(joined.pidfd(), 9).ok();
    }
    match joined.wait()?.shell() {
        0 => Ok(String::from_utf8_lossy(&text).into_owned()),
        code => Err(Error::new(Kind::Own, format!("{} ended with code {code}", command.join(" ")))),
    }
}

/// Everything about the program, the same way as the container's first one; and its user as the host sees it.
fn joining(store: &Store, found: &Found, wanted: &Exec) -> Result<(Joining, (u32, u32))> {
    let mut found = found.clone();
    // What it was started with counts, whatever was changed since: nobody else would answer.
    if !store.state(&found)?.is_some_and(|state| state.view) {
        found.record.definition.proc_view = ProcView::Off;
    }
    let definition = &mut found.record.definition;
    definition.tty = wanted.tty;
    definition.env.extend(wanted.env.iter().cloned());
    definition.workdir = wanted.workdir.clone().or(definition.workdir.take());
    definition.user = wanted.user.clone().or(definition.user.take());
    if wanted.privileged {
        definition.security.cap_add = vec!["ALL".to_owned()];
        definition.security.cap_drop.clear();
    }
    let (directory, run) = (store.directory(&found.name), store.run_directory(&found.record.id));
    let mut composed = compose::compose(store, &found, &directory, &run)?;
    composed.spec.process.args.clone_from(&wanted.command);
    if found.record.definition.system.is_some() {
        // What only the init is told.
        let own = ["NOTIFY_SOCKET=", "CREDENTIALS_DIRECTORY=", "container_uuid="];
        composed.spec.process.env.retain(|variable| !own.iter().any(|name| variable.starts_with(name)));
    }
    let joining = plan::joining(&composed.spec, None, &start::facts()?).map_err(start::of_plan)?;
    let base = found.record.ids.map_or(0, |ids| ids.base);
    Ok((joining, (base + composed.user.uid, base + composed.user.gid)))
}

/// A program on its way into a container.
struct Task {
    joining: Joining,
    init: OwnedFd,
    pid: i32,
    group: Group,
    /// Its runtime directory.
    run: std::path::PathBuf,
    /// Who owns its pipes.
    owner: (u32, u32),
    interactive: bool,
}

/// Our ends of the program's streams.
#[derive(Default)]
struct Ends {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
}

impl Task {
    fn join(&self, streams: Option<[OwnedFd; 3]>) -> Result<Joined> {
        let listens = self.joining.filter.as_ref().and_then(|filter| filter.listener.as_ref());
        let keeper = match listens.is_some_and(plan::Listener::is_keeper) {
            true => Some(Connection::open(&self.run)?),
            false => None,
        };
        let ends = runtime::Ends { streams, keeper, ..runtime::Ends::default() };
        runtime::join(&self.joining, &self.init, self.pid, Some(&self.group), ends).map_err(start::of_failure)
    }

    /// Pipes that belong to the program's user: our own descriptors stay outside.
    fn pipes(&self) -> Result<(Ends, [OwnedFd; 3])> {
        let (uid, gid) = self.owner;
        let (their_input, input) = match self.interactive {
            true => {
                let (theirs, ours) = event::pipe()?;
                kernel::root::set_owner(&theirs, uid, gid)?;
                (theirs, Some(ours))
            }
            false => (kernel::file::open_null()?, None),
        };
        let ((output, their_output), (error, their_error)) = (event::pipe()?, event::pipe()?);
        kernel::root::set_owner(&their_output, uid, gid)?;
        kernel::root::set_owner(&their_error, uid, gid)?;
        Ok((Ends { input, output: Some(output), error: Some(error) }, [their_input, their_output, their_error]))
    }

    fn run(&self, terminal: &Terminal) -> Result<Outcome> {
        let signals = session::signals(Attach::All)?;
        let (joined, ends) = if self.joining.tty {
            let joined = self.join(None)?;
            let master = joined.terminal.as_ref().map(AsFd::as_fd);
            let copy = |fd: BorrowedFd<'_>| kernel::Call::call(fd.try_clone_to_owned(), || "fcntl(F_DUPFD_CLOEXEC)");
            let input = if self.interactive { master.map(copy).transpose()? } else { None };
            let output = master.map(copy).transpose()?;
            (joined, Ends { input, output, error: None })
        } else {
            let (ends, theirs) = self.pipes()?;
            (self.join(Some(theirs))?, ends)
        };
        let stdin = std::io::stdin();
        let raw = match self.joining.tty && self.interactive && pty::is_terminal(&stdin) {
            true => Some(RawMode::enter(stdin.as_fd())?),
            false => None,
        };
        let keys = if self.joining.tty { terminal.detach_keys.clone() } else { Vec::new() };
        // login(1) hangs the terminal up and opens it again: in between nobody would have it, and that is its end for us.
        let _held = joined.terminal.as_ref().map(pty::other_side).transpose()?;
        let mut pump =
            Pump { joined: &joined, tty: self.joining.tty, ends, pending: Vec::new(), detach: DetachKeys::new(keys) };
        let outcome = pump.run(signals.as_ref());
        drop(raw);
        outcome
    }
}

/// Leaves the program alone with a process that waits for it.
fn detached(task: &Task) -> Result<Outcome> {
    let (ours, theirs) = kernel::socket::pair()?;
    match process::clone(0, None)? {
        Forked::Child => {
            drop(ours);
            process::exit_now(i32::from(stay(task, theirs).is_err()))
        }
        Forked::Parent(_) => drop(theirs),
    }
    let mut buffer = [0; 1024];
    let (length, _) = kernel::socket::receive(&ours, &mut buffer)?;
    match buffer.get(..length).and_then(<[u8]>::split_first) {
        Some((0, _)) => Ok(Outcome::Exited(0)),
        Some((kind, text)) => {
            let kind = match kind {
                126 => Kind::NotExecutable,
                127 => Kind::NoProgram,
                _ => Kind::Own,
            };
            Err(Error::new(kind, String::from_utf8_lossy(text).into_owned()))
        }
        None => Err(Error::new(Kind::Own, "the process that was to wait for it died")),
    }
}

fn stay(task: &Task, channel: OwnedFd) -> Result<()> {
    process::new_session()?;
    process::set_undumpable()?;
    process::set_name(c"cella-exec")?;
    let null = || kernel::file::open_null();
    let joined = match task.join((!task.joining.tty).then(|| Ok::<_, Error>([null()?, null()?, null()?])).transpose()?)
    {
        Ok(joined) => joined,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(125);
            kernel::socket::send(&channel, &[&[code], error.message.as_bytes()], &[])?;
            return Err(error);
        }
    };
    kernel::socket::send(&channel, &[&[0]], &[])?;
    let held = joined.terminal.as_ref().map(pty::other_side).transpose()?;
    let mut keep = vec![joined.pidfd()];
    keep.extend(joined.terminal.iter().chain(&held));
    process::close_from(3, &keep)?;
    (0..3).try_for_each(|number| process::place(null()?, number))?;
    let mut buffer = vec![0; CHUNK];
    // Somebody has to read what is written to the terminal.
    while let Some(master) = &joined.terminal {
        let watched = [(joined.pidfd().as_fd(), Interest::Read), (master.as_fd(), Interest::Read)];
        let ready = event::wait(&watched, None)?;
        let is_ready = |index: usize| ready.get(index) == Some(&true);
        if is_ready(1) && event::read(master, &mut buffer).is_err() || is_ready(0) {
            break;
        }
    }
    joined.wait()?;
    // The channel went with the others; closing it twice would close somebody else's descriptor.
    std::mem::forget(channel);
    Ok(())
}

/// Moves bytes until the program has ended and all that it wrote was shown.
struct Pump<'a> {
    joined: &'a Joined,
    tty: bool,
    ends: Ends,
    pending: Vec<u8>,
    detach: DetachKeys,
}

impl Pump<'_> {
    fn run(&mut self, signals: Option<&OwnedFd>) -> Result<Outcome> {
        for end in [&self.ends.input, &self.ends.output, &self.ends.error].into_iter().flatten() {
            event::set_nonblocking(end)?;
        }
        if self.tty {
            self.resize();
        }
        let mut exit = None;
        let mut input_open = true;
        loop {
            let input = std::io::stdin();
            let reading = input_open && self.ends.input.is_some() && self.pending.is_empty() && exit.is_none();
            let mut watched: Vec<(BorrowedFd<'_>, Interest)> = Vec::new();
            if exit.is_none() {
                watched.push((self.joined.pidfd().as_fd(), Interest::Read));
            }
            watched.extend(signals.map(|signals| (signals.as_fd(), Interest::Read)));
            watched.extend(
                [&self.ends.output, &self.ends.error].into_iter().flatten().map(|end| (end.as_fd(), Interest::Read)),
            );
            if !self.pending.is_empty() {
                watched.extend(self.ends.input.iter().map(|end| (end.as_fd(), Interest::Write)));
            }
            if reading {
                watched.push((input.as_fd(), Interest::Read));
            }
            // After its end only what is there already is shown: a process that it left behind may hold the pipes.
            let ready = event::wait(&watched, exit.map(|_| 0))?;
            let typed = reading && ready.last() == Some(&true);
            drop(watched);
            self.signals(signals);
            let moved = self.show()?;
            if let (Some(code), false) = (exit, moved) {
                return Ok(Outcome::Exited(code));
            }
            if typed && self.type_in(input.as_fd(), &mut input_open)? {
                return Ok(Outcome::Detached);
            }
            self.write_input(input_open);
            if exit.is_none() {
                exit = process::try_wait(self.joined.pidfd())?.map(process::Exit::shell);
            }
        }
    }

    fn signals(&self, signals: Option<&OwnedFd>) {
        while let Some(number) = signals.and_then(kernel::signal::next) {
            match number {
                SIGWINCH => self.resize(),
                number => drop(process::signal(self.joined.pidfd(), number)),
            }
        }
    }

    fn resize(&self) {
        let size = pty::size(std::io::stdout()).or_else(|_| pty::size(std::io::stdin()));
        if let (Some(master), Ok(size)) = (&self.joined.terminal, size) {
            pty::set_size(master, size).ok();
        }
    }

    /// Shows what there is; says whether there was anything.
    fn show(&mut self) -> Result<bool> {
        let mut moved = false;
        let mut buffer = vec![0; CHUNK];
        for (is_error, end) in [(false, &mut self.ends.output), (true, &mut self.ends.error)] {
            let Some(fd) = end else { continue };
            match event::read(&*fd, &mut buffer) {
                Ok(Read::Bytes(count)) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    moved = true;
                    match is_error {
                        true => session::show(&mut std::io::stderr().lock(), bytes)?,
                        false => session::show(&mut std::io::stdout().lock(), bytes)?,
                    }
                }
                Ok(Read::Nothing) => {}
                Ok(Read::End) | Err(_) => *end = None,
            }
        }
        Ok(moved)
    }

    /// Reads our input; says whether the keys to let go were typed.
    fn type_in(&mut self, input: BorrowedFd<'_>, open: &mut bool) -> Result<bool> {
        let mut buffer = vec![0; CHUNK];
        match event::read(input, &mut buffer)? {
            Read::Nothing => {}
            Read::End => *open = false,
            Read::Bytes(count) => {
                buffer.truncate(count);
                let (bytes, detached) = self.detach.filter(buffer);
                self.pending = bytes;
                return Ok(detached);
            }
        }
        Ok(false)
    }

    fn write_input(&mut self, open: bool) {
        let Some(sink) = &self.ends.input else { return };
        match event::write(sink, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(_) => {
                self.pending.clear();
                self.ends.input = None;
                return;
            }
        }
        if !open && self.pending.is_empty() {
            self.ends.input = None;
        }
    }
}
