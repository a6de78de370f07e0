// SPDX-License-Identifier: Apache-2.0
//! Namespaces: join, leave, open, compare.
//!
//! Three system calls, and `/proc/PID/ns`. A child in its own IPC namespace (clone(2)):
//!
//! ```
//! use kernel::namespace::{Namespace, NamespaceSet, child};
//! use kernel::{process::Exit, types::NamespaceKind::Ipc};
//!
//! # if kernel::process::euid() != 0 { return Ok(()) } // Without a user namespace of its own this needs root.
//! let ours = Namespace::current(Ipc)?.id();
//! let child = child(NamespaceSet::of(&[Ipc]), || i32::from(Namespace::current(Ipc).unwrap().id() == ours))?;
//! assert_eq!(kernel::process::wait(&child.pidfd)?, Exit::Code(0), "it has another than we");
//! assert_eq!(Namespace::current(Ipc)?.id(), ours, "and we have the same as before");
//! # Ok::<(), kernel::Error>(())
//! ```
//!
//! The caller moves to a new network namespace (unshare(2)), and back (setns(2)):
//!
//! ```
//! use kernel::namespace::{Namespace, NamespaceSet, unshare};
//! use kernel::{netlink, link, types::NamespaceKind::Net};
//!
//! # if kernel::process::euid() != 0 { return Ok(()) }
//! let before = Namespace::current(Net)?;
//! unshare(NamespaceSet::of(&[Net]).flags())?;
//! assert_ne!(Namespace::current(Net)?.id(), before.id());
//! let devices = link::list(&mut netlink::Socket::open(netlink::Family::Route)?)?;
//! assert!(devices.iter().any(|device| device.name == "lo"), "a loopback device, and nothing of ours");
//! before.enter()?;
//! assert_eq!(Namespace::current(Net)?.id(), before.id());
//! # Ok::<(), kernel::Error>(())
//! ```
//!
//! Join the namespaces of a process (setns(2) by its pidfd: all of them or none):
//!
//! ```
//! use kernel::namespace::{Namespace, NamespaceSet, child};
//! use kernel::pidfd::Handle;
//! use kernel::process::{self, Exit};
//! use kernel::types::NamespaceKind::{Ipc, Uts};
//!
//! # if process::euid() != 0 { return Ok(()) }
//! let kinds = NamespaceSet::of(&[Uts, Ipc]);
//! let target = child(kinds, || loop { std::thread::park() })?;
//! let handle = Handle::open(target.pid)?;
//! assert_eq!(handle.different()?, kinds);
//! let theirs = handle.namespace(Uts)?.id();
//!
//! // A child of ours goes there, and we stay.
//! let visitor = child(NamespaceSet::EMPTY, || {
//!     handle.enter(kinds).unwrap();
//!     i32::from(Namespace::current(Uts).unwrap().id() != theirs)
//! })?;
//! assert_eq!(process::wait(&visitor.pidfd)?, Exit::Code(0));
//! process::signal(&target.pidfd, 9)?;
//! process::wait(&target.pidfd)?;
//! assert!(handle.enter(kinds).is_err(), "nobody else can be meant by a handle");
//! # Ok::<(), kernel::Error>(())
//! ```
//!
//! The fourth, ids that are others outside, is at [`crate::idmap::Unmapped`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Call, Result};
use crate::process::{self, Child, Forked};
use crate::syscall::raw;
use crate::types::NamespaceKind;

mod handle;
mod pin;
mod set;

pub use handle::{Namespace, NamespaceId, parse_link};
pub use pin::{clear as clear_pins, pin, prepare as prepare_pins, unpin};
pub use set::{NamespaceSet, kind};

/// A child in new namespaces of these kinds, and otherwise as we are, that runs `body`; its answer is the exit code (101 after a
/// panic). The caller must have one thread only. A user namespace has no ids then: [`crate::idmap::Unmapped`] gives it some.
///
/// # Errors
/// clone3(2)'s: `EPERM` without CAP_SYS_ADMIN.
pub fn child(kinds: NamespaceSet, body: impl FnOnce() -> i32) -> Result<Child> {
    match process::clone(kinds.flags(), None)? {
        Forked::Child => process::end_after(body),
        Forked::Parent(child) => Ok(child),
    }
}

/// Moves the calling thread into new namespaces (`NamespaceKind::flag`s ored).
///
/// # Errors
/// unshare(2)'s.
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: only integers; namespaces hold no memory of ours (CLONE_FILES and friends are not namespace flags).
    unsafe {
        raw(libc::SYS_unshare, [flags.cast_signed(), 0, 0, 0, 0, 0], || format!("unshare({flags:#x})"))?;
    }
    Ok(())
}

/// Joins the namespaces `flags` of the process that `pidfd` stands for, or the one that an nsfs file stands for.
///
/// # Errors
/// setns(2)'s.
pub fn join(fd: impl AsFd, flags: u64) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: only integers.
    unsafe {
        raw(libc::SYS_setns, [fd.into(), flags.cast_signed(), 0, 0, 0, 0], || format!("setns({fd}, {flags:#x})"))?;
    }
    Ok(())
}

/// A file of `/proc/PID/ns`.
///
/// # Errors
/// open(2)'s.
pub fn open_of(pid: i32, kind: NamespaceKind) -> Result<OwnedFd> {
    open(Path::new(&format!("/proc/{pid}/ns/{}", kind.file())))
}

/// A namespace by the path of its file (`/proc/PID/ns/net`, `/run/netns/NAME`).
///
/// # Errors
/// open(2)'s.
pub fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))
}

/// Device and inode of a namespace file: equal numbers are the same namespace.
///
/// # Errors
/// fstat(2)'s.
pub fn id(fd: impl AsFd) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd).call(|| "fstat(namespace)")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The same, of this kind for sure: whatever else the path may lead to.
///
/// # Errors
/// open(2)'s, or `EINVAL` when it is no namespace of this kind.
pub fn open_kind(path: &Path, kind: NamespaceKind) -> Result<OwnedFd> {
    const NS_GET_NSTYPE: u64 = 0xb703;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?})"))?;
    // SAFETY: this request takes no memory.
    let found = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    if u64::try_from(found) == Ok(kind.flag()) {
        return Ok(file);
    }
    Err(crate::Error::new(format!("open({path:?}): it is not a {kind} namespace"), crate::Errno::INVAL))
}

/// Is the process `pid` in the same namespace of this kind as we are?
///
/// # Errors
/// stat(2)'s.
pub fn is_same(pid: i32, kind: NamespaceKind) -> Result<bool> {
    let stat = |path: String| rustix::fs::stat(&path).call(|| format!("stat({path:?})"));
    let theirs = stat(format!("/proc/{pid}/ns/{}", kind.file()))?;
    let own = stat(format!("/proc/self/ns/{}", kind.file()))?;
    Ok((theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino))
}

/// A new network namespace that nobody is in.
#[derive(Debug)]
pub struct NewNetwork {
    /// Its file.
    pub namespace: OwnedFd,
    /// A socket of it: what a namespace holds is changed through one of its own, from wherever.
    socket: OwnedFd,
}

/// Makes a network namespace; we are where we were before.
///
/// # Errors
/// unshare(2)'s, open(2)'s, socket(2)'s or setns(2)'s.
pub fn new_network() -> Result<NewNetwork> {
    // Of this thread: `self` is the main one, which stays where it is.
    let own = Path::new("/proc/thread-self/ns/net");
    let before = open(own)?;
    unshare(NamespaceKind::Net.flag())?;
    let new = open(own).and_then(|namespace| {
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .call(|| "socket(AF_INET, SOCK_DGRAM)")?;
        Ok(NewNetwork { namespace, socket })
    });
    join(&before, NamespaceKind::Net.flag())?;
    new
}

impl AsFd for NewNetwork {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

impl NewNetwork {
    /// Brings the loopback device up; the kernel gives it its addresses.
    ///
    /// # Errors
    /// ioctl(SIOCSIFFLAGS)'s.
    pub fn loopback_up(&self) -> Result<()> {
        // SAFETY: an all-zero ifreq is a valid value of that plain C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
        if result == -1 { Err(crate::Error::last("ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)")) } else { Ok(()) }
    }
}

/// Does this kernel have namespaces of this kind?
#[must_use]
pub fn is_known(kind: NamespaceKind) -> bool {
    rustix::fs::access(format!("/proc/self/ns/{}", kind.file()), rustix::fs::Access::EXISTS).is_ok()
}

/// Are we in the user namespace that the host began with? As everybody tells it: by its map, which has one line, of all ids.
/// (The number of its file would be surer, and costs fifty times the look; who maps all ids into another namespace splits
/// the line for this reason.)
#[must_use]
pub fn is_initial_user() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}
