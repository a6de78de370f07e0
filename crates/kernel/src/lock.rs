// SPDX-License-Identifier: Apache-2.0
//! Advisory locks (flock(2)): held by an open file, let go by the kernel when the holder dies.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::error::{Call, Errno, Result};

/// A lock that is let go when this is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Waits for the exclusive lock of the file or directory `fd`.
    ///
    /// # Errors
    /// flock(2)'s.
    pub fn wait(fd: OwnedFd) -> Result<Self> {
        loop {
            match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                other => return other.call(|| "flock(LOCK_EX)").map(|()| Self(fd)),
            }
        }
    }

    /// The exclusive lock, or `None` when somebody else has it.
    ///
    /// # Errors
    /// flock(2)'s other than `EWOULDBLOCK`.
    pub fn try_take(fd: OwnedFd) -> Result<Option<Self>> {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            other => other.call(|| "flock(LOCK_EX|LOCK_NB)").map(|()| Some(Self(fd))),
        }
    }

    /// The open file that holds it.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// The same, to look at.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens (and makes, 0600) the file at `path` and waits for its lock.
    ///
    /// # Errors
    /// open(2)'s or flock(2)'s.
    pub fn wait_file(path: &Path) -> Result<Self> {
        Self::wait(open_file(path)?)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Does anybody hold the lock of the existing file at `path`? A missing file is held by nobody.
///
/// # Errors
/// open(2)'s or flock(2)'s.
pub fn is_held(path: &Path) -> Result<bool> {
    let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.call(|| format!("open({path:?})"))?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(true),
        other => other.call(|| format!("flock({path:?})")).map(|()| false),
    }
}

fn open_file(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).call(|| format!("open({path:?}, O_RDWR|O_CREAT)"))
}
