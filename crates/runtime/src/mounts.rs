// SPDX-License-Identifier: Apache-2.0
//! Changes the mounts of a container that runs: made outside, attached by a stub that joins its namespaces.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::event::Interest;
use kernel::process;
use kernel::types::NamespaceKind;
use plan::Source;
use stub::wire::{NONE, code};

use crate::launch::{Failure, parse_report};
use crate::program::{Shape, Writer, option};
use crate::source;

/// Milliseconds that a change may take.
const PATIENCE_MS: u64 = 20_000;

const DIRECTORY: u64 = 1;
const FILE: u64 = 2;
const MAKE: u16 = 1;

/// Attaches these at their places, in order.
///
/// # Errors
/// The one that failed; those before it stay.
pub fn add_mounts(mounts: &[(Source, PathBuf)], init: &OwnedFd, pid: i32) -> Result<(), Failure> {
    let users = kernel::namespace::open_of(pid, NamespaceKind::User)?;
    let made = mounts
        .iter()
        .map(|(one, target)| Ok((source::source(one, Some(&users), false)?, target)))
        .collect::<kernel::Result<Vec<_>>>()?;
    let (ours, theirs) = kernel::socket::pair()?;
    let mut to = begin(&theirs, init, pid)?;
    for (one, target) in &made {
        let Some(mount) = &one.mount else { continue };
        let (slot, place, path) = (to.slot(mount.as_fd()), to.empty_slot(), to.path(target));
        let kind = if one.shape == Shape::Directory { DIRECTORY } else { FILE };
        to.push_with(code::FIND, MAKE, &[place, path, kind, 0o755]);
        to.push(code::ATTACH, &[slot, place]);
    }
    let child = end(to)?;
    drop(theirs);
    hear(&ours, &child)
}

/// Takes away what is mounted last at each of these places.
///
/// # Errors
/// The one that failed.
pub fn remove_mounts(targets: &[&Path], init: &OwnedFd, pid: i32) -> Result<(), Failure> {
    let (ours, theirs) = kernel::socket::pair()?;
    let mut to = begin(&theirs, init, pid)?;
    for target in targets {
        let path = to.path(target);
        to.push(code::DETACH, &[path]);
    }
    let child = end(to)?;
    drop(theirs);
    hear(&ours, &child)
}

/// A program that joins the mount namespace, and the user namespace that owns it.
fn begin<'fd>(channel: &'fd OwnedFd, init: &'fd OwnedFd, pid: i32) -> Result<Writer<'fd>, Failure> {
    let same = kernel::namespace::is_same(pid, NamespaceKind::User)?;
    let users = if same { 0 } else { NamespaceKind::User.flag() };
    let mut to = Writer::new(channel.as_fd());
    to.push(code::SIGNALS, &[]);
    to.push(code::PRCTL, &[option::DUMPABLE, 0]);
    let init = to.slot(init.as_fd());
    to.push(code::JOIN, &[init, NamespaceKind::Mount.flag() | users]);
    if !same {
        // Root in there: who has no id in a user namespace makes no files in it.
        to.push_with(code::IDENTITY, 0, &[0, 0, 0, 0]);
    }
    to.push(code::ROOT, &[NONE, 0]);
    Ok(to)
}

fn end(mut to: Writer<'_>) -> Result<process::Child, Failure> {
    to.push(code::END, &[]);
    let (bytes, fds) = to.finish()?;
    Ok(crate::launch::spawn_stub(&bytes, &fds, 0, None)?)
}

fn hear(channel: &OwnedFd, child: &process::Child) -> Result<(), Failure> {
    let ready = kernel::event::wait(&[(channel.as_fd(), Interest::Read)], Some(PATIENCE_MS))?;
    if !ready.contains(&true) {
        // A file system of the container's own may never answer.
        process::signal(&child.pidfd, 9).ok();
        return Err(kernel::Error::new("change mounts", kernel::Errno::TIMEDOUT).into());
    }
    let mut buffer = [0; 512];
    let (length, _) = kernel::socket::receive(channel, &mut buffer)?;
    process::wait(&child.pidfd)?;
    match length {
        0 => Ok(()),
        length => Err(parse_report(buffer.get(..length).unwrap_or_default(), &[])),
    }
}
