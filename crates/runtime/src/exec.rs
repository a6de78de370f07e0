// SPDX-License-Identifier: Apache-2.0
//! Runs a further program in a container: joins exactly its namespaces, groups, users, rights and filter.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kernel::cgroup::Group;
use kernel::process::{self, Exit, Forked};
use kernel::types::{CapabilitySet, NamespaceKind};
use kernel::{Errno, Error, Result};
use plan::{Joining as Exec, Program};

use crate::launch::{Failure, FailureKind, exec_kind};

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

/// Starts the program in the container whose first process is `init`, with this process's standard streams (or
/// `streams`), or with a terminal of the container.
///
/// # Errors
/// The step that failed, and why.
pub fn join(
    exec: &Exec,
    init: &OwnedFd,
    init_pid: i32,
    group: &Group,
    streams: Option<[OwnedFd; 3]>,
) -> std::result::Result<Joined, Failure> {
    let kinds = differing(init_pid)?;
    let (entry, groups) = (group.entry()?, group.join_files()?);
    let (ours, theirs) = kernel::socket::pair()?;
    let helper = match process::clone(0, entry.as_ref().map(AsFd::as_fd))? {
        Forked::Parent(helper) => helper,
        Forked::Child => {
            drop(ours);
            let result = enter(exec, init, kinds, &groups, &theirs, streams);
            process::exit_now(i32::from(result.is_err()));
        }
    };
    drop((theirs, streams));
    let outcome = listen(&ours, exec);
    process::wait(&helper.pidfd)?;
    outcome
}

/// The namespaces of the container that are not ours: joining one's own user namespace is refused.
fn differing(init_pid: i32) -> Result<u64> {
    let mut flags = 0;
    for kind in NamespaceKind::ALL {
        let theirs = kernel::namespace::id(kernel::namespace::open_of(init_pid, kind)?)?;
        let own = kernel::namespace::id(kernel::namespace::open_of(process::id(), kind)?)?;
        if theirs != own {
            flags |= kind.flag();
        }
    }
    Ok(flags)
}

/// The helper: joins, then makes the program as a child of the caller, inside the process namespace.
fn enter(
    exec: &Exec,
    init: &OwnedFd,
    kinds: u64,
    groups: &[OwnedFd],
    channel: &OwnedFd,
    streams: Option<[OwnedFd; 3]>,
) -> Result<()> {
    let joined = process::set_undumpable()
        .and_then(|()| groups.iter().try_for_each(|group| kernel::event::write(group, b"0").map(drop)))
        .and_then(|()| kernel::namespace::join(init, kinds))
        .and_then(|()| process::clone_sibling(0));
    match joined {
        Ok(Forked::Child) => {
            let error = match program(exec, channel, streams) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            report(channel, &error);
            process::exit_now(125)
        }
        Ok(Forked::Parent(child)) => {
            kernel::socket::send(channel, &[b"P", &child.pid.to_le_bytes()], &[child.pidfd.as_fd()])
        }
        Err(error) => {
            report(channel, &error);
            Err(error)
        }
    }
}

fn report(channel: &OwnedFd, error: &Error) {
    let kind = if error.call.starts_with("execve") { exec_kind(error.errno) as u8 } else { FailureKind::Own as u8 };
    // When the caller is gone there is nobody left to tell.
    kernel::socket::send(channel, &[&[b'E', kind], error.to_string().as_bytes()], &[]).ok();
}

fn program(exec: &Exec, channel: &OwnedFd, streams: Option<[OwnedFd; 3]>) -> Result<std::convert::Infallible> {
    kernel::signal::reset()?;
    process::new_session()?;
    for limit in &exec.limits {
        // Above what this session may give it stays as it is, as at the start of the container.
        process::set_limit(0, limit.resource, limit.soft, limit.hard).ok();
    }
    process::set_groups(&[])?;
    process::set_ids(0, 0)?;
    if exec.tty {
        let pts = kernel::root::open_directory_path(Path::new("/dev/pts"))?;
        let (master, slave) = kernel::pty::open_pair(pts)?;
        kernel::root::set_owner(&slave, exec.uid, exec.gid)?;
        kernel::socket::send(channel, &[b"T"], &[master.as_fd()])?;
        kernel::pty::set_controlling(&slave)?;
        (0..3).try_for_each(|number| process::place(&slave, number))?;
    } else if let Some(streams) = streams {
        streams.iter().zip(0..).try_for_each(|(stream, number)| process::place(stream, number))?;
    }
    let root = kernel::root::open_directory_path(Path::new("/"))?;
    let workdir = kernel::root::Root::new(root);
    process::change_directory(workdir.find(&exec.workdir, false)?)?;
    if process::working_directory()?.first() != Some(&b'/') {
        return Err(Error::new("chdir(): it is outside of the root", Errno::XDEV));
    }
    drop(workdir);
    confine(exec)?;
    execute(exec)
}

/// The same order as at the start of the container.
fn confine(exec: &Exec) -> Result<()> {
    process::new_session_keyring().or_else(|error| if error.is(Errno::NOSYS) { Ok(()) } else { Err(error) })?;
    if let Some((file, value)) = &exec.label {
        kernel::idmap::write_file(&Path::new("/proc/thread-self/attr").join(file), value.as_bytes())?;
    }
    if let Some((handled, dev)) = exec.landlock {
        crate::child::restrict(handled, dev)?;
    }
    let install = |program: &Program| kernel::seccomp::install(&program.instructions, program.flags);
    if !exec.no_new_privileges {
        exec.filter.as_ref().map_or(Ok(()), install)?;
    }
    kernel::capability::keep(true)?;
    kernel::capability::limit_bounding(exec.bounding)?;
    process::set_umask(0o022);
    process::set_groups(&exec.groups)?;
    process::set_ids(exec.uid, exec.gid)?;
    kernel::capability::set(exec.effective, exec.effective, CapabilitySet::EMPTY)?;
    if exec.no_new_privileges {
        process::set_no_new_privileges()?;
        exec.filter.as_ref().map_or(Ok(()), install)?;
    }
    Ok(())
}

fn execute(exec: &Exec) -> Result<std::convert::Infallible> {
    let texts =
        |list: &[String]| -> Vec<CString> { list.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect() };
    crate::child::execute_first(&texts(&exec.candidates), &texts(&exec.arguments), &texts(&exec.environment))
}

/// Hears how it went until the program runs.
fn listen(channel: &OwnedFd, exec: &Exec) -> std::result::Result<Joined, Failure> {
    let (mut child, mut terminal) = (None, None);
    let mut buffer = [0; 1024];
    loop {
        let (length, mut descriptors) = kernel::socket::receive(channel, &mut buffer)?;
        let message = buffer.get(..length).unwrap_or_default();
        match message.first() {
            None => break,
            Some(b'T') => terminal = descriptors.pop(),
            Some(b'P') => {
                let pid = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes);
                child = descriptors.pop().map(|pidfd| process::Child { pid: pid.unwrap_or(-1), pidfd });
            }
            Some(_) => {
                if let Some(child) = &child {
                    process::wait(&child.pidfd).ok();
                }
                return Err(failed(message, exec));
            }
        }
    }
    match child {
        Some(child) => Ok(Joined { child, terminal }),
        None => Err(Error::new("the helper said nothing", Errno::PROTO).into()),
    }
}

fn failed(message: &[u8], exec: &Exec) -> Failure {
    let kind = match message.get(1) {
        Some(1) => FailureKind::NotFound,
        Some(2) => FailureKind::NotExecutable,
        _ => FailureKind::Own,
    };
    let text = String::from_utf8_lossy(message.get(2..).unwrap_or_default()).into_owned();
    let program = exec.arguments.first().map_or("", String::as_str);
    let message = match kind {
        FailureKind::Own => text,
        _ => format!("run {program:?}: {}", text.rsplit_once("): ").map_or(text.as_str(), |(_, reason)| reason)),
    };
    Failure { kind, message }
}
