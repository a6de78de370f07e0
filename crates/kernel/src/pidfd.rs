// SPDX-License-Identifier: Apache-2.0
//! A process that is held by a descriptor: its number may come to mean another one, the descriptor can not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;

use crate::error::{Call, Errno, Error, Result};
use crate::namespace::{Namespace, NamespaceSet};
use crate::process;
use crate::types::NamespaceKind;

/// The file system of processes (since Linux 6.9).
const PIDFS: i64 = 0x5049_4446;

/// A process and its pidfd. What is read of it by its number is checked against the descriptor afterwards: an answer about
/// another process that got the number meanwhile is never given.
#[derive(Debug)]
pub struct Handle {
    pid: i32,
    pidfd: OwnedFd,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Handle {
    /// The process with this number now.
    ///
    /// # Errors
    /// pidfd_open(2)'s: `ESRCH` when there is none.
    pub fn open(pid: i32) -> Result<Self> {
        Ok(Self { pid, pidfd: process::open(pid)? })
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Has it not ended? One that nobody has waited for counts as alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // EPERM says that there is somebody to refuse.
        process::signal(&self.pidfd, 0).map_or_else(|error| error.is(Errno::PERM), |()| true)
    }

    /// A number that no other process of this boot has: the inode of pidfs; before Linux 6.9 the time of its start.
    ///
    /// # Errors
    /// fstat(2)'s, or `ESRCH` when it has ended.
    pub fn identity(&self) -> Result<u64> {
        let kind = rustix::fs::fstatfs(&self.pidfd).call(|| "fstatfs(pidfd)")?;
        #[allow(clippy::useless_conversion, reason = "the word is as wide as the architecture's")]
        if i64::from(kind.f_type) == PIDFS {
            return Ok(rustix::fs::fstat(&self.pidfd).call(|| "fstat(pidfd)")?.st_ino);
        }
        self.checked(crate::procfs::start_time(self.pid))
    }

    /// What was read by number, if it was of this process.
    ///
    /// # Errors
    /// The reading's, or `ESRCH` when the process has ended meanwhile.
    pub fn checked<T>(&self, read: Result<T>) -> Result<T> {
        if self.is_alive() {
            return read;
        }
        Err(Error::new(format!("pidfd_send_signal({}, 0)", self.pid), Errno::SRCH))
    }

    /// Its namespace of this kind.
    ///
    /// # Errors
    /// open(2)'s: `EACCES` when we may not see it; `ESRCH` when it has ended.
    pub fn namespace(&self, kind: NamespaceKind) -> Result<Namespace> {
        self.checked(Namespace::of(self.pid, kind))
    }

    /// The kinds of which it has another namespace than the calling thread.
    ///
    /// # Errors
    /// Those of [`Handle::namespace`].
    pub fn different(&self) -> Result<NamespaceSet> {
        let mut set = NamespaceSet::EMPTY;
        for kind in NamespaceKind::ALL {
            let Ok(own) = Namespace::current(kind) else { continue };
            if self.namespace(kind)?.id() != own.id() {
                set = set.with(kind);
            }
        }
        Ok(set)
    }

    /// Moves the calling thread into its namespaces of these kinds, into all or into none; of pid and time namespaces, also its
    /// children to come.
    ///
    /// # Errors
    /// setns(2)'s: `EPERM` without the right, `EINVAL` for the own user namespace, `ESRCH` when it has ended.
    pub fn enter(&self, kinds: NamespaceSet) -> Result<()> {
        crate::namespace::join(&self.pidfd, kinds.flags())
            .map_err(|error| Error::new(format!("setns({}, {kinds})", self.pid), error.errno))
    }

    /// Its root directory, as a place that nothing is read from.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn root(&self) -> Result<OwnedFd> {
        let path = format!("/proc/{}/root", self.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.checked(rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).call(|| format!("open({path:?})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Forked;

    #[test]
    fn a_number_that_is_given_again_is_another_process() {
        if process::euid() != 0 {
            println!("SKIPPED: a_number_that_is_given_again_is_another_process: it needs root");
            return;
        }
        let kinds = NamespaceSet::of(&[NamespaceKind::Pid, NamespaceKind::Mount]);
        // Process 1 of its own namespace can say which number comes next.
        let alone = crate::namespace::child(kinds, || {
            crate::mount::set_all_propagation(crate::types::Propagation::Private).unwrap();
            let tree = crate::mount::new("proc", &[], 0).unwrap();
            crate::mount::attach(tree, crate::root::open_directory_path("/proc".as_ref()).unwrap()).unwrap();
            let sleeper = || {
                crate::namespace::child(NamespaceSet::EMPTY, || {
                    loop {
                        std::thread::park()
                    }
                })
                .unwrap()
            };
            let first = sleeper();
            let handle = Handle::open(first.pid).unwrap();
            process::signal(&first.pidfd, libc::SIGKILL).unwrap();
            process::wait(&first.pidfd).unwrap();
            let last = (first.pid - 1).to_string();
            crate::idmap::write_file("/proc/sys/kernel/ns_last_pid".as_ref(), last.as_bytes()).unwrap();
            let second = sleeper();
            assert_eq!(second.pid, first.pid);
            assert!(Namespace::of(first.pid, NamespaceKind::Net).is_ok(), "by its number the other one is found");
            assert!(handle.namespace(NamespaceKind::Net).unwrap_err().is(Errno::SRCH));
            assert!(handle.root().unwrap_err().is(Errno::SRCH));
            assert_ne!(handle.identity(), Handle::open(second.pid).unwrap().identity());
            0
        });
        assert_eq!(process::wait(&alone.unwrap().pidfd).unwrap(), process::Exit::Code(0));
    }

    #[test]
    fn an_identity_is_no_other_processs() {
        let own = Handle::open(process::id()).unwrap();
        assert!(own.is_alive() && own.different().unwrap().is_empty());
        assert_eq!(own.identity().unwrap(), Handle::open(process::id()).unwrap().identity().unwrap());
        let child = match process::clone(0, None).unwrap() {
            Forked::Child => process::exit_now(0),
            Forked::Parent(child) => child,
        };
        let handle = Handle::open(child.pid).unwrap();
        assert_ne!(own.identity().unwrap(), handle.identity().unwrap());
        process::wait(&child.pidfd).unwrap();
        assert!(!handle.is_alive());
        assert!(handle.namespace(NamespaceKind::Net).unwrap_err().is(Errno::SRCH));
        assert!(handle.enter(NamespaceSet::of(&[NamespaceKind::Net])).unwrap_err().is(Errno::SRCH));
    }
}
