// SPDX-License-Identifier: Apache-2.0
//! Installs a system call filter, and answers what it leaves to a listener.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::bytes;
use crate::error::{Call, Errno, Error, Result};
use crate::syscall::raw;
use crate::types::SockFilter;
use rustix::event::{PollFd, PollFlags, Timespec};

#[repr(C)]
struct Program {
    length: u16,
    filter: *const SockFilter,
}

/// Installs the filter for this thread and all that come from it; it can not be taken away again.
///
/// # Errors
/// seccomp(2)'s: `EACCES` without no_new_privs and CAP_SYS_ADMIN, `EINVAL` for a bad program.
pub fn install(filter: &[SockFilter], flags: u32) -> Result<()> {
    let program = Program { length: u16::try_from(filter.len()).unwrap_or(u16::MAX), filter: filter.as_ptr() };
    // SAFETY: the program and its instructions live through the call, which copies them.
    unsafe {
        raw(libc::SYS_seccomp, [1, flags.into(), std::ptr::from_ref(&program) as libc::c_long, 0, 0, 0], || {
            format!("seccomp(SECCOMP_SET_MODE_FILTER, {} instructions)", filter.len())
        })?;
    }
    Ok(())
}

/// May a filter of this process have a listener? No other one in its way to the host's may have one.
#[must_use]
pub fn can_listen() -> bool {
    const NEW_LISTENER: u32 = 1 << 3;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|line| line == "Seccomp:\t2") {
        return true;
    }
    // Found by trying, in a process that ends with it: SECCOMP_RET_ALLOW.
    let allow = [SockFilter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }];
    let attempt = || {
        let tried = install(&allow, NEW_LISTENER);
        crate::process::exit_now(i32::from(tried.is_err_and(|error| error.is(Errno::BUSY))))
    };
    match crate::process::clone(0, None) {
        Ok(crate::process::Forked::Child) => attempt(),
        Ok(crate::process::Forked::Parent(child)) => {
            matches!(crate::process::wait(&child.pidfd), Ok(crate::process::Exit::Code(0)))
        }
        Err(_) => false,
    }
}

/// Who answers system calls that a filter leaves to a listener (seccomp_unotify(2)).
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// The size of `struct seccomp_notif`: id, process, flags, then the call: number, architecture, instruction, six arguments.
pub const NOTIFICATION: usize = 80;

/// `struct seccomp_notif_resp`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What the answer refers to.
    pub id: u64,
    /// Who waits, in our process namespace.
    pub pid: u32,
    /// The call's number.
    pub number: i32,
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Waiting {
    /// What a buffer of [`Listener::receive`] holds; `None` when there is nothing in it.
    #[must_use]
    pub fn parse(buffer: &[u8; NOTIFICATION]) -> Option<Self> {
        let (word, long) = (|at| bytes::word(buffer, at), |at| bytes::long(buffer, at));
        let arguments = [32, 40, 48, 56, 64, 72].map(long);
        let (number, architecture) = (word(16).cast_signed(), word(20));
        let one = Self { id: long(0), pid: word(8), number, architecture, arguments };
        (one.id != 0).then_some(one)
    }
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;
const CONTINUE: u32 = 1;

impl From<OwnedFd> for Listener {
    /// The descriptor that seccomp(2) gave.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Does anybody have the filter of this listener any more?
#[must_use]
pub fn is_heard(listener: impl AsFd) -> bool {
    !matches!(poll(listener), Ok(None))
}

/// What there is: a call, none yet, none any more.
fn poll(listener: impl AsFd) -> Result<Option<bool>> {
    let mut list = [PollFd::new(&listener, PollFlags::IN)];
    rustix::event::poll(&mut list, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).call(|| "poll(listener)")?;
    let [entry] = list;
    let found = entry.revents();
    // An error says that a signal was in the way.
    Ok(match (found.contains(PollFlags::IN), found.contains(PollFlags::HUP)) {
        (true, _) => Some(true),
        (false, false) => Some(false),
        (false, true) => None,
    })
}

impl Listener {
    fn control<T>(&self, request: libc::c_ulong, data: &mut T) -> std::result::Result<(), Errno> {
        // SAFETY: the structure is the one that this request reads and writes, and lives through the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(data)) };
        if result < 0 { Err(Error::last("ioctl").errno) } else { Ok(()) }
    }

    /// Is there a call that waits? `None` when nobody has the filter any more, so that none will ever come.
    ///
    /// # Errors
    /// poll(2)'s.
    pub fn has_call(&self) -> Result<Option<bool>> {
        poll(&self.0)
    }

    /// Takes the next call that waits into a buffer, where it is found if we die; `None` when whoever waited was killed
    /// meanwhile. Waits when there is none.
    ///
    /// # Errors
    /// ioctl(2)'s.
    pub fn receive(&self, buffer: &mut [u8; NOTIFICATION]) -> Result<Option<Waiting>> {
        // The kernel takes nothing else.
        buffer.fill(0);
        match self.control(RECEIVE, buffer) {
            Ok(()) => Ok(Waiting::parse(buffer)),
            Err(Errno::NOENT | Errno::INTR) => Ok(None),
            Err(errno) => Err(Error::new("ioctl(SECCOMP_IOCTL_NOTIF_RECV)", errno)),
        }
    }

    /// Does it still wait? What was opened of its process before this said so is its own.
    #[must_use]
    pub fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.control(ID_VALID, &mut id).is_ok()
    }

    /// Answers with a value, or with an error.
    ///
    /// # Errors
    /// ioctl(2)'s, but for somebody who does not wait any more.
    pub fn answer(&self, id: u64, result: std::result::Result<i64, Errno>) -> Result<()> {
        let (value, error) = result.map_or_else(|errno| (0, -errno.raw_os_error()), |value| (value, 0));
        self.respond(Response { id, value, error, flags: 0 })
    }

    /// Lets the kernel do what was asked for. Never for a call that was decided on by what stands in the caller's memory.
    ///
    /// # Errors
    /// The same.
    pub fn let_through(&self, id: u64) -> Result<()> {
        self.respond(Response { id, value: 0, error: 0, flags: CONTINUE })
    }

    fn respond(&self, mut response: Response) -> Result<()> {
        match self.control(SEND, &mut response) {
            // Killed meanwhile; or answered, by the process before this one.
            Ok(()) | Err(Errno::NOENT | Errno::INPROGRESS) => Ok(()),
            Err(errno) => Err(Error::new("ioctl(SECCOMP_IOCTL_NOTIF_SEND)", errno)),
        }
    }

    /// Writes into the memory of who waits, at most to where it may write itself; `EFAULT` where that is not.
    ///
    /// What is mapped there may be a file whose server does not answer, or is the caller: it waits then, and can be killed. A
    /// number is somebody else's only after all others were given out since it was looked at.
    ///
    /// # Errors
    /// `ESRCH` when it does not wait any more, `EPERM`, `EFAULT`.
    pub fn write(&self, waiting: &Waiting, address: u64, bytes: &[u8]) -> Result<()> {
        let call = || format!("process_vm_writev({})", waiting.pid);
        if !self.is_waiting(waiting.id) {
            return Err(Error::new(format!("{}: it does not wait any more", call()), Errno::SRCH));
        }
        let ours = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let place = usize::try_from(address).unwrap_or(0);
        let theirs = libc::iovec { iov_base: std::ptr::without_provenance_mut(place), iov_len: bytes.len() };
        let (ours, theirs) = (std::ptr::from_ref(&ours) as libc::c_long, std::ptr::from_ref(&theirs) as libc::c_long);
        // SAFETY: the kernel reads our bytes alone, and writes into another process, where it checks the address.
        let written = unsafe { raw(libc::SYS_process_vm_writev, [waiting.pid.into(), ours, 1, theirs, 1, 0], call)? };
        if usize::try_from(written) == Ok(bytes.len()) { Ok(()) } else { Err(Error::new(call(), Errno::FAULT)) }
    }
}
