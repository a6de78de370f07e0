// SPDX-License-Identifier: Apache-2.0
//! Processes: clone, wait, signal, identity, and the last steps before a program runs.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::capability::prctl;
use crate::error::{Call, Errno, Error, Result};
use crate::syscall::raw;

/// `struct clone_args` of clone3(2), version 2 (88 bytes).
#[repr(C)]
#[derive(Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone the caller is now.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one, holding the new.
    Parent(Child),
}

/// A child process: its id, and a descriptor that no other process can come to mean.
#[derive(Debug)]
pub struct Child {
    /// Its id as the parent sees it.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

/// clone3(2) without a shared address space: new namespaces (`flags`), placed in the version 2 cgroup `cgroup`.
///
/// The calling process must have a single thread: only the calling one exists in the child, and a lock that another
/// one held would stay locked there.
///
/// # Errors
/// clone3(2)'s.
pub fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    clone_with(flags, libc::SIGCHLD as u64, cgroup)
}

fn clone_with(flags: u64, exit_signal: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    }
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of memory and continues on the same stack.
    let pid = unsafe {
        raw(
            libc::SYS_clone3,
            [std::ptr::from_mut(&mut args) as libc::c_long, size_of::<CloneArgs>() as libc::c_long, 0, 0, 0, 0],
            || format!("clone3({:#x})", args.flags),
        )?
    };
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd }))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By exit(2) with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// As a shell tells it: the code, or 128 + the signal's number.
    #[must_use]
    pub const fn shell(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Waits for the end of the child that `pidfd` stands for, and reaps it.
///
/// # Errors
/// waitid(2)'s: `ECHILD` when it is not our child.
pub fn wait(pidfd: impl AsFd) -> Result<Exit> {
    loop {
        match wait_with(&pidfd, libc::WEXITED) {
            Err(error) if error.is(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
        }
    }
}

/// The same without waiting: `None` while it runs.
///
/// # Errors
/// waitid(2)'s.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Exit>> {
    wait_with(pidfd, libc::WEXITED | libc::WNOHANG)
}

fn wait_with(pidfd: impl AsFd, options: i32) -> Result<Option<Exit>> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: an all-zero siginfo_t is a valid value of that plain C structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is written by the kernel and lives through the call.
    unsafe {
        raw(
            libc::SYS_waitid,
            [
                3, // P_PIDFD
                fd.into(),
                std::ptr::from_mut(&mut info) as libc::c_long,
                options.into(),
                0,
                0,
            ],
            || format!("waitid(P_PIDFD, {fd})"),
        )?;
    }
    // SAFETY: waitid fills the fields that these accessors read; zero means that nobody has ended yet.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Exit::Code(status)),
        _ => Some(Exit::Signal(status)),
    })
}

/// Reaps one child that has ended, whichever: its id and exit, or `None`.
///
/// # Errors
/// wait4(2)'s other than `ECHILD`.
pub fn reap_any(block: bool) -> Result<Option<(i32, Exit)>> {
    let mut status = 0;
    // SAFETY: the status word is written by the kernel.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, if block { 0 } else { libc::WNOHANG }) };
    match pid {
        -1 if std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Ok(None),
        -1 => Err(Error::last("waitpid(-1)")),
        0 => Ok(None),
        pid if libc::WIFEXITED(status) => Ok(Some((pid, Exit::Code(libc::WEXITSTATUS(status))))),
        pid => Ok(Some((pid, Exit::Signal(libc::WTERMSIG(status))))),
    }
}

/// A descriptor of the process `pid`.
///
/// # Errors
/// pidfd_open(2)'s: `ESRCH` when there is none.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: only integers.
    let fd = unsafe { raw(libc::SYS_pidfd_open, [pid.into(), 0, 0, 0, 0, 0], || format!("pidfd_open({pid})"))? };
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Sends a signal (by number; 0 only asks) to the process that `pidfd` stands for.
///
/// # Errors
/// pidfd_send_signal(2)'s: `ESRCH` when it has ended.
pub fn signal(pidfd: impl AsFd, number: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no siginfo is passed; the rest are integers.
    unsafe {
        raw(libc::SYS_pidfd_send_signal, [fd.into(), number.into(), 0, 0, 0, 0], || {
            format!("pidfd_send_signal({fd}, {number})")
        })?;
    }
    Ok(())
}

/// Sends a signal to the process with this id (negative: to that group).
///
/// # Errors
/// kill(2)'s.
pub fn kill(pid: i32, number: i32) -> Result<()> {
    // SAFETY: only integers.
    unsafe { raw(libc::SYS_kill, [pid.into(), number.into(), 0, 0, 0, 0], || format!("kill({pid}, {number})"))? };
    Ok(())
}

/// This process's id.
#[must_use]
pub fn id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The effective user id.
#[must_use]
pub fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The real user and group id.
#[must_use]
pub fn real_ids() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Starts a new session without a terminal.
///
/// # Errors
/// setsid(2)'s.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().call(|| "setsid()").map(drop)
}

/// This process is sent `SIGKILL` when its parent ends.
///
/// # Errors
/// prctl(2)'s.
pub fn die_with_parent() -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.into(), 0, "PR_SET_PDEATHSIG")
}

/// Orphans below this process become its children.
///
/// # Errors
/// prctl(2)'s.
pub fn become_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, "PR_SET_CHILD_SUBREAPER")
}

/// Nobody below our rights may trace this process or read its memory until the next execve.
///
/// # Errors
/// prctl(2)'s.
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0, "PR_SET_DUMPABLE")
}

/// No execve of this process or of its descendants gains rights.
///
/// # Errors
/// prctl(2)'s.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, "PR_SET_NO_NEW_PRIVS")
}

/// Does something with files as this user and group of the host would, without rights over others' files.
pub fn as_owner<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> T {
    // SAFETY: both change nothing but the numbers that file systems ask this thread for.
    let set = |uid: u32, gid: u32| unsafe { (libc::setfsuid(uid), libc::setfsgid(gid)) };
    let (was_uid, was_gid) = set(uid, gid);
    let done = act();
    set(was_uid.cast_unsigned(), was_gid.cast_unsigned());
    done
}

/// What new files do not have of the mode that they are made with.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// The name that `/proc/self/comm` shows (at most 15 bytes).
///
/// # Errors
/// prctl(2)'s.
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).call(|| format!("prctl(PR_SET_NAME, {name:?})"))
}

/// Supplementary groups.
///
/// # Errors
/// setgroups(2)'s.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the slice is valid for its length.
    unsafe {
        raw(libc::SYS_setgroups, [groups.len() as libc::c_long, groups.as_ptr() as libc::c_long, 0, 0, 0, 0], || {
            format!("setgroups({groups:?})")
        })?;
    }
    Ok(())
}

/// Real, effective and saved group and user id, in this order.
///
/// # Errors
/// setresgid(2)'s or setresuid(2)'s.
pub fn set_ids(uid: u32, gid: u32) -> Result<()> {
    let (u, g) = (i64::from(uid), i64::from(gid));
    // SAFETY: only integers. The raw call is right here: the process has one thread.
    unsafe {
        raw(libc::SYS_setresgid, [g, g, g, 0, 0, 0], || format!("setresgid({gid})"))?;
        raw(libc::SYS_setresuid, [u, u, u, 0, 0, 0], || format!("setresuid({uid})"))?;
    }
    Ok(())
}

/// A resource limit of the process `pid` (0: of this one); `u64::MAX` is none.
///
/// # Errors
/// prlimit(2)'s: `EPERM` for a hard limit above today's without CAP_SYS_RESOURCE.
pub fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the new limit lives through the call; no old one is asked for.
    unsafe {
        raw(
            libc::SYS_prlimit64,
            [pid.into(), resource.into(), std::ptr::from_ref(&limit) as libc::c_long, 0, 0, 0],
            || format!("prlimit({pid}, {resource}, {soft}:{hard})"),
        )?;
    }
    Ok(())
}

/// A resource limit of this process: soft, hard.
///
/// # Errors
/// prlimit(2)'s.
pub fn limit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit is written by the kernel.
    unsafe {
        raw(
            libc::SYS_prlimit64,
            [0, resource.into(), 0, std::ptr::from_mut(&mut limit) as libc::c_long, 0, 0],
            || format!("prlimit({resource})"),
        )?;
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Every descriptor from `first` on is closed at the next execve.
///
/// # Errors
/// close_range(2)'s.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC (4) closes nothing now.
    unsafe {
        raw(libc::SYS_close_range, [first.into(), u32::MAX.into(), 4, 0, 0, 0], || {
            format!("close_range({first}, ~0, CLOEXEC)")
        })?;
    }
    Ok(())
}

/// Closes every descriptor from `first` on, but those in `keep`.
///
/// # Errors
/// close_range(2)'s.
pub fn close_from(first: i32, keep: &[&OwnedFd]) -> Result<()> {
    let mut kept: Vec<i32> = keep.iter().map(|fd| fd.as_raw_fd()).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().map(Some).chain([None]) {
        let to = fd.map_or(u32::MAX, |fd| fd.cast_unsigned().wrapping_sub(1));
        if fd.is_none_or(|fd| fd > from) {
            // SAFETY: the caller says that nothing else of this process is used any more.
            unsafe {
                raw(libc::SYS_close_range, [from.into(), to.into(), 0, 0, 0, 0], || {
                    format!("close_range({from}, {to})")
                })?;
            }
        }
        from = fd.map_or(from, |fd| fd + 1);
    }
    Ok(())
}

/// Runs `program` in place of this process; returns only to say why not.
///
/// # Errors
/// execve(2)'s.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Result<Infallible> {
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and all strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Err(Error::last(format!("execve({program:?})")))
}

/// The processors that a thread may run on, as the kernel's mask, of `length` bytes at most.
///
/// # Errors
/// `sched_getaffinity(2)`'s: `EINVAL` when the mask does not fit or is no whole number of longs, `ESRCH`.
pub fn affinity(thread: i32, length: usize) -> Result<Vec<u8>> {
    const MOST: usize = 1 << 16;
    let mut mask = vec![0_u8; length.min(MOST)];
    let length = libc::c_long::try_from(mask.len()).unwrap_or(0);
    let arguments = [thread.into(), length, mask.as_mut_ptr() as libc::c_long, 0, 0, 0];
    let name = || format!("sched_getaffinity({thread})");
    // SAFETY: the kernel writes no more than the length that it is told, which is the buffer's.
    let filled = unsafe { crate::syscall::raw(libc::SYS_sched_getaffinity, arguments, name)? };
    mask.truncate(usize::try_from(filled).unwrap_or(0));
    Ok(mask)
}

/// The same with the program of an open file.
///
/// # Errors
/// execveat(2)'s.
pub fn execute_file(file: impl AsFd, arguments: &[CString], environment: &[CString]) -> Result<Infallible> {
    let (argv, envp, file) = (pointers(arguments), pointers(environment), file.as_fd().as_raw_fd());
    let (empty, argv, envp) =
        (c"".as_ptr() as libc::c_long, argv.as_ptr() as libc::c_long, envp.as_ptr() as libc::c_long);
    let call = || format!("execveat({file}, AT_EMPTY_PATH)");
    // SAFETY: both arrays end with a null pointer, and all strings outlive the call.
    unsafe { raw(libc::SYS_execveat, [file.into(), empty, argv, envp, libc::AT_EMPTY_PATH.into(), 0], call)? };
    Err(Error::new(call(), Errno::NOEXEC))
}

/// Pointers to these texts, and a null pointer.
fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Ends this process at once: no destructors, no buffers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns; nothing of ours needs to run after it in a forked child.
    unsafe { libc::_exit(code) }
}

/// Ends a forked child with what `body` answers; a panic ends it, too (101), and never becomes its parent's second self.
pub(crate) fn end_after(body: impl FnOnce() -> i32) -> ! {
    exit_now(std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101))
}

/// Copies `fd` to the number `to`, which stays open over execve.
///
/// # Errors
/// dup3(2)'s.
pub fn place(fd: impl AsFd, to: i32) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: only integers; nobody holds `to` as an owned descriptor, it is one of the standard three.
    let result = unsafe { libc::dup2(fd, to) };
    if result == -1 {
        return Err(Error::last(format!("dup2({fd}, {to})")));
    }
    if fd == to {
        // dup2 of a number onto itself changes nothing: the close-on-exec flag has to go by hand.
        // SAFETY: only integers.
        let result = unsafe { libc::fcntl(to, libc::F_SETFD, 0) };
        if result == -1 {
            return Err(Error::last(format!("fcntl({to}, F_SETFD, 0)")));
        }
    }
    Ok(())
}

/// Makes this directory the root, and stands in it.
///
/// # Errors
/// fchdir(2)'s or chroot(2)'s.
pub fn change_root(directory: impl AsFd) -> Result<()> {
    change_directory(directory)?;
    rustix::process::chroot(".").call(|| "chroot(\".\")")
}

/// The host name of the calling thread's UTS namespace.
///
/// # Errors
/// sethostname(2)'s.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))
}

/// Its NIS domain name.
///
/// # Errors
/// setdomainname(2)'s.
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))
}

/// Stands in this directory.
///
/// # Errors
/// fchdir(2)'s.
pub fn change_directory(directory: impl AsFd) -> Result<()> {
    rustix::process::fchdir(directory).call(|| "fchdir()")
}
