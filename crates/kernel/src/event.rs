// SPDX-License-Identifier: Apache-2.0
//! Waiting for many descriptors at once, and reading and writing without waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

use crate::error::{Call, Errno, Result};

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read (or the other side is gone).
    Read,
    /// Something can be written (or the other side is gone).
    Write,
    /// A file of the kernel has changed.
    Change,
}

/// Waits until at least one descriptor is ready or `timeout_ms` is over; says for each whether it is.
///
/// # Errors
/// ppoll(2)'s other than `EINTR`, which counts as nothing ready.
pub fn wait(watched: &[(BorrowedFd<'_>, Interest)], timeout_ms: Option<u64>) -> Result<Vec<bool>> {
    let mut list: Vec<PollFd<'_>> = watched
        .iter()
        .map(|(fd, interest)| {
            let flags = match interest {
                Interest::Read => PollFlags::IN,
                Interest::Write => PollFlags::OUT,
                Interest::Change => PollFlags::PRI,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let timeout = timeout_ms.map(|ms| Timespec {
        tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or_default(),
    });
    match rustix::event::poll(&mut list, timeout.as_ref()) {
        Err(Errno::INTR) => return Ok(vec![false; watched.len()]),
        other => other.call(|| "poll()")?,
    };
    Ok(list.iter().map(|entry| !entry.revents().is_empty()).collect())
}

/// Would a write go on at once?
#[must_use]
pub fn is_writable(fd: impl AsFd) -> bool {
    wait(&[(fd.as_fd(), Interest::Write)], Some(0)).is_ok_and(|ready| ready.first() == Some(&true))
}

/// A pipe: read end, write end.
///
/// # Errors
/// pipe2(2)'s.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2(O_CLOEXEC)")
}

/// Calls on the descriptor do not wait any more.
///
/// # Errors
/// fcntl(2)'s.
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd).call(|| "fcntl(F_GETFL)")?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).call(|| "fcntl(F_SETFL, O_NONBLOCK)")
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// Reads once. A terminal whose other side has been closed (`EIO`) is at its end.
///
/// # Errors
/// read(2)'s.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<Read> {
    match rustix::io::read(fd, buffer) {
        Ok(0) | Err(Errno::IO) => Ok(Read::End),
        Ok(count) => Ok(Read::Bytes(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
        Err(errno) => Err(errno).call(|| "read()"),
    }
}

/// Writes once: how many bytes were taken (0 when it would wait).
///
/// # Errors
/// write(2)'s: `EPIPE` when nobody reads.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    match rustix::io::write(fd, bytes) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        other => other.call(|| "write()"),
    }
}

/// Writes all of it, waiting as needed (also on a non-blocking descriptor).
///
/// # Errors
/// write(2)'s.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(&fd, bytes)? {
            0 => drop(wait(&[(fd.as_fd(), Interest::Write)], None)?),
            count => bytes = bytes.get(count..).unwrap_or_default(),
        }
    }
    Ok(())
}
