// SPDX-License-Identifier: Apache-2.0
//! Runs a further program in a container: joins exactly its namespaces, groups, users, rights and filter.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kernel::cgroup::Group;
use kernel::process::{self, Exit};
use kernel::types::NamespaceKind;
use kernel::{Errno, Error, Result};
use plan::Joining as Exec;
use stub::wire::{NONE, code};

use crate::launch::{Failure, exec_kind};
use crate::program::{self, Writer, option};

/// A program that was started in a container.
#[derive(Debug)]
pub struct Joined {
    child: process::Child,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
}

impl Joined {
    /// The descriptor of the process.
    #[must_use]
    pub fn pidfd(&self) -> &OwnedFd {
        &self.child.pidfd
    }

    /// Its id on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// waitid(2)'s.
    pub fn wait(&self) -> Result<Exit> {
        process::wait(&self.child.pidfd)
    }
}

/// Where a further program comes from and goes to.
#[derive(Default)]
pub struct Ends {
    /// Standard streams; ours without them.
    pub streams: Option<[OwnedFd; 3]>,
    /// The socket that gets the terminal's master, when it is not us.
    pub console: Option<OwnedFd>,
    /// Who is told of system calls that the filter leaves to a listener: its socket, and what it is told.
    pub listener: Option<(std::path::PathBuf, String)>,
    /// The container's keeper, when it is the one who is told.
    pub keeper: Option<crate::protocol::Connection>,
}

/// Starts the program in the container whose first process is `init`, with a terminal of the container if it wants one.
///
/// # Errors
/// The step that failed, and why.
pub fn join(
    exec: &Exec,
    init: &OwnedFd,
    init_pid: i32,
    group: Option<&Group>,
    ends: Ends,
) -> std::result::Result<Joined, Failure> {
    let kinds = joined_kinds(init_pid)?;
    let entry = group.map(Group::entry).transpose()?.flatten();
    let groups = group.map(Group::join_files).transpose()?.unwrap_or_default();
    let (ours, theirs) = kernel::socket::pair()?;
    let proc = exec.label.as_ref().map(|_| kernel::root::open_directory_path(Path::new("/proc"))).transpose()?;
    let given = Given { init, kinds, groups: &groups, channel: &theirs, proc: proc.as_ref(), ends: &ends };
    let (bytes, fds) = write(exec, &given).finish()?;
    let helper = match crate::launch::spawn_stub(&bytes, &fds, 0, entry.as_ref().map(AsFd::as_fd)) {
        // A group of version 2 whose own processes are all in groups below it takes no other: beside the first one.
        Err(error) if entry.is_some() && (error.is(Errno::BUSY) || error.is(Errno::OPNOTSUPP)) => {
            let beside = kernel::cgroup::unified_of(init_pid)?;
            crate::launch::spawn_stub(&bytes, &fds, 0, beside.as_ref().map(AsFd::as_fd))?
        }
        other => other?,
    };
    drop(fds);
    drop(theirs);
    let mut child = None;
    let outcome = listen(&ours, exec, &ends, &mut child);
    process::wait(&helper.pidfd)?;
    match (outcome, child) {
        (Ok(terminal), Some(child)) => Ok(Joined { child, terminal }),
        (Ok(_), None) => Err(Error::new("the stub said nothing", Errno::PROTO).into()),
        (Err(failure), child) => {
            // Who is told that it failed must not have it run nevertheless.
            if let Some(child) = child {
                process::signal(&child.pidfd, 9).ok();
                process::wait(&child.pidfd).ok();
            }
            Err(failure)
        }
    }
}

/// The namespaces that are joined: all but a user namespace that is our own, which is refused; without the rights of the
/// host's root none that are our own.
fn joined_kinds(init_pid: i32) -> Result<u64> {
    let trusted = process::euid() == 0 && kernel::namespace::is_initial_user();
    let mut flags = 0;
    for kind in NamespaceKind::ALL {
        let asks = !trusted || kind == NamespaceKind::User;
        if !asks || !kernel::namespace::is_same(init_pid, kind)? {
            flags |= kind.flag();
        }
    }
    Ok(flags)
}

struct Given<'fd> {
    init: &'fd OwnedFd,
    kinds: u64,
    groups: &'fd [OwnedFd],
    channel: &'fd OwnedFd,
    proc: Option<&'fd OwnedFd>,
    ends: &'fd Ends,
}

/// The program: joins, then makes the program as a child of ours, inside the process namespace.
fn write<'fd>(exec: &Exec, given: &Given<'fd>) -> Writer<'fd> {
    let mut to = Writer::new(given.channel.as_fd());
    to.push(code::SIGNALS, &[]);
    if let Some(score) = exec.oom_score_adj {
        let text = score.to_string();
        let (path, bytes) = (to.text("/proc/self/oom_score_adj"), to.bytes(text.as_bytes()));
        to.push(code::WRITE_FILE, &[path, bytes, text.len() as u64]);
    }
    to.push(code::PRCTL, &[option::DUMPABLE, 0]);
    if let Some(processors) = &exec.affinity_before {
        program::affinity(&mut to, processors);
    }
    let zero = to.bytes(b"0");
    for group in given.groups {
        let slot = to.slot(group.as_fd());
        to.push(code::WRITE, &[slot, zero, 1]);
    }
    if let Some(processors) = &exec.affinity_after {
        program::affinity(&mut to, processors);
    }
    scheduling(exec, &mut to);
    for limit in &exec.limits {
        to.push(code::LIMIT, &[limit.resource.into(), limit.soft, limit.hard]);
    }
    let init = to.slot(given.init.as_fd());
    to.push(code::JOIN, &[init, given.kinds]);
    to.push_with(code::CLONE, 1, &[0]);
    to.push(code::SESSION, &[]);
    to.push_with(code::IDENTITY, exec.keep_groups.into(), &[0, 0, 0, 0]);
    to.push(code::ROOT, &[NONE, 0]);
    streams(exec, given, &mut to);
    let workdir = to.path(&exec.workdir);
    to.push(code::DIRECTORY, &[workdir]);
    confine(exec, given, &mut to);
    let lists = [to.list(&exec.candidates), to.list(&exec.arguments), to.list(&exec.environment)];
    to.push(code::EXECUTE, &lists);
    to
}

fn scheduling(exec: &Exec, to: &mut Writer<'_>) {
    if let Some(scheduler) = &exec.scheduler {
        program::schedule(to, scheduler);
    }
    if let Some(value) = exec.io_priority {
        to.push(code::IO_PRIORITY, &[value.into()]);
    }
    if let Some(value) = exec.personality {
        to.push(code::PERSONALITY, &[value.into()]);
    }
    if let Some((mode, nodes)) = &exec.memory_policy {
        program::memory_policy(to, *mode, nodes);
    }
}

fn streams<'fd>(exec: &Exec, given: &Given<'fd>, to: &mut Writer<'fd>) {
    if exec.tty {
        const TTY_GROUP: u64 = 5;
        let (pts, path) = (to.empty_slot(), to.text("/dev/pts"));
        to.push(code::OPEN, &[pts, path]);
        let size = exec.size.map_or(0, |(rows, columns)| u64::from(rows) | u64::from(columns) << 16);
        let (socket, named) = match &given.ends.console {
            Some(console) => (to.slot(console.as_fd()), 2),
            None => (0, 0),
        };
        to.push_with(code::TERMINAL, named, &[pts, exec.uid.into(), TTY_GROUP, size, socket]);
    } else if let Some(streams) = &given.ends.streams {
        for (stream, number) in streams.iter().zip(0..) {
            let slot = to.slot(stream.as_fd());
            to.push(code::STREAM, &[slot, number]);
        }
    }
}

/// The same order as at the start of the container.
fn confine<'fd>(exec: &Exec, given: &Given<'fd>, to: &mut Writer<'fd>) {
    to.push(code::KEYRING, &[]);
    if let (Some((file, value)), Some(proc)) = (&exec.label, given.proc) {
        let proc = to.slot(proc.as_fd());
        program::label(to, proc, file, value);
    }
    if let Some((handled, dev)) = exec.landlock {
        to.push(code::LANDLOCK, &[handled, dev]);
    }
    to.push(code::CLOSE_FROM, &[u64::from(3 + exec.inherits)]);
    if let (false, Some(filter)) = (exec.no_new_privileges, &exec.filter) {
        program::seccomp(to, filter);
    }
    to.push(code::BOUNDING, &[exec.bounding.0]);
    if !exec.tty {
        to.push(code::OWN_STREAMS, &[exec.uid.into()]);
    }
    program::identity(to, exec.uid, exec.gid, &exec.groups, exec.umask, exec.keep_groups);
    let sets = [exec.effective, exec.permitted, exec.inheritable, exec.ambient].map(|set| set.0);
    to.push(code::CAPABILITIES, &sets);
    if exec.no_new_privileges {
        to.push(code::PRCTL, &[option::NO_NEW_PRIVILEGES, 1]);
        if let Some(filter) = &exec.filter {
            program::seccomp(to, filter);
        }
    }
}

/// Hears how it went until the program runs.
fn listen(
    channel: &OwnedFd,
    exec: &Exec,
    ends: &Ends,
    child: &mut Option<process::Child>,
) -> std::result::Result<Option<OwnedFd>, Failure> {
    let mut terminal = None;
    let mut buffer = [0; 512];
    loop {
        let (length, mut descriptors) = kernel::socket::receive(channel, &mut buffer)?;
        let message = buffer.get(..length).unwrap_or_default();
        match message.first() {
            None => return Ok(terminal),
            Some(b'W') => {}
            Some(b'T') => terminal = descriptors.pop(),
            Some(b'P') => {
                let pid = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_le_bytes);
                *child = Some(process::Child { pid, pidfd: process::open(pid)? });
            }
            Some(b'L') => {
                if let Some(child) = child.as_ref() {
                    pass_listener(message, ends, child)?;
                }
                kernel::socket::send(channel, &[b"A"], &[])?;
            }
            Some(_) => return Err(failed(message, exec)),
        }
    }
}

/// Hands the listener of the filter to who is told.
fn pass_listener(message: &[u8], ends: &Ends, child: &process::Child) -> Result<()> {
    let number = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_le_bytes);
    let listener = kernel::spawn::take_descriptor(&child.pidfd, number)?;
    match (&ends.listener, &ends.keeper) {
        (Some((path, told)), _) => {
            let told = told.replace("\"pid\":0", &format!("\"pid\":{}", child.pid));
            kernel::socket::send_to_stream(path, told.as_bytes(), &[listener.as_fd()])
        }
        (None, Some(keeper)) => keeper.pass_listener(&listener),
        (None, None) => Ok(()),
    }
}

/// `E`, step, errno, call.
fn failed(message: &[u8], exec: &Exec) -> Failure {
    let failure = crate::launch::parse_report(message, &[]);
    let errno = message.get(5..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_le_bytes);
    let errno = Errno::from_raw_os_error(errno.clamp(1, 4095));
    let program = exec.arguments.first().map_or("", String::as_str);
    if message.get(9..).is_some_and(|call| call.starts_with(b"execve")) {
        let message = format!("run {program:?}: {}", kernel::error::describe(errno));
        return Failure { kind: exec_kind(errno), message };
    }
    failure
}
