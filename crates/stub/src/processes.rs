// SPDX-License-Identifier: Apache-2.0
//! Operations that make, wait for or become processes.

use crate::find;
use crate::follow::{AT_FDCWD, BAD, Follower, place};
use crate::sys::{self, Call, Failure, Result, Text, call, close, errno, nr, same};

const CHILD: usize = 17;

/// The process that goes on with the plan; this one tells its number and ends.
pub(crate) fn clone(on: &Follower<'_>, flags: u64, how: u16) -> Result<()> {
    const PARENT: u64 = 0x8000;
    let sibling = how & 1 != 0;
    let mut arguments = [0_u64; 11];
    arguments[0] = flags | if sibling { PARENT } else { 0 };
    arguments[4] = if sibling { 0 } else { CHILD as u64 };
    let pid = call!(same::CLONE3, arguments.as_ptr(), 88).call("clone3", b"")?;
    if pid == 0 {
        return Ok(());
    }
    let [a, b, c, d, ..] = pid.to_le_bytes();
    on.say(&[b'P', a, b, c, d]);
    sys::exit(0)
}

pub(crate) fn join_path(path: &[u8], flags: u64) -> Result<()> {
    let fd = find::open_at(AT_FDCWD, path, find::O_CLOEXEC, 0).call("open", path)?;
    let joined = call!(nr::SETNS, fd, flags).call("setns", path);
    close(fd);
    joined.map(drop)
}

/// What a new program should find: no signal blocked, every one at its default.
pub(crate) fn reset_signals() -> Result<()> {
    let default = [0_usize; 4];
    for number in 1..=64 {
        // Those that can not be set are refused by the kernel, which is right.
        call!(nr::RT_SIGACTION, number, default.as_ptr(), 0, 8).ok();
    }
    const SET_MASK: usize = 2;
    let none = 0_u64;
    call!(nr::RT_SIGPROCMASK, SET_MASK, &raw const none, 0, 8).call("sigprocmask", b"").map(drop)
}

pub(crate) fn loopback() -> Result<()> {
    const SET_FLAGS: usize = 0x8914;
    const UP_RUNNING: u64 = 0x41;
    let socket = call!(nr::SOCKET, 2, 2 | 0o2_000_000, 0).call("socket", b"")?;
    // struct ifreq: 16 bytes of name, then the flags.
    let request = [u64::from_le_bytes(*b"lo\0\0\0\0\0\0"), 0, UP_RUNNING, 0, 0];
    let up = call!(nr::IOCTL, socket, SET_FLAGS, request.as_ptr()).call("ioctl(SIOCSIFFLAGS)", b"lo");
    call!(nr::CLOSE, socket).ok();
    up.map(drop)
}

/// Room for the array of most lists.
type Room = [usize; 128];

/// The array of pointers that execve(2) takes, made of a list of offsets; a long one gets memory of its own.
fn pointers(on: &Follower<'_>, list: u64, room: &mut Room) -> Result<*const usize> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    if !on.program.is_list(list) {
        return Err(BAD);
    }
    let count = on.program.list(list).count() + 1;
    let array = if count <= room.len() {
        room.as_mut_ptr()
    } else {
        call!(nr::MMAP, 0, count * 8, READ_WRITE, PRIVATE_ANONYMOUS, -1_i32, 0).call("mmap", b"")? as *mut usize
    };
    for (index, one) in on.program.list(list).enumerate() {
        // SAFETY: `array` has room for `count` words, and the list has one less.
        unsafe { array.add(index).write(on.text(one)?.as_ptr() as usize) };
    }
    // SAFETY: the last of the `count` words.
    unsafe { array.add(count - 1).write(0) };
    Ok(array)
}

/// Tries the paths in order, as execvp(3) does: one that is there but can not be run is told if none can.
pub(crate) fn execute(on: &Follower<'_>, paths: u64, arguments: u64, environment: u64) -> Result<()> {
    let (mut one, mut other) = ([0; 128], [0; 128]);
    let arguments = pointers(on, arguments, &mut one)?;
    let environment = pointers(on, environment, &mut other)?;
    let (mut worst, mut about) = (errno::ENOENT, Text::EMPTY);
    for path in on.program.list(paths) {
        let path = on.text(path)?;
        let Err(errno) = call!(nr::EXECVE, path.as_ptr(), arguments, environment) else { continue };
        let missing = |errno| matches!(errno, errno::ENOENT | errno::ENOTDIR);
        if about.as_bytes().is_empty() || missing(worst) && !missing(errno) {
            (worst, about) = (errno, Text::new(path));
        }
    }
    Err(Failure { errno: worst, call: "execve", about })
}

/// Runs a program with the container's state on its standard input, and waits for a good end.
pub(crate) fn hook(on: &Follower<'_>, operands: &[u64; 6]) -> Result<()> {
    const PIDFD: usize = 0x1000;
    let [path, arguments, environment, patience, state, _] = *operands;
    let (path, state) = (on.text(path)?, on.slot(state)?);
    let (mut one, mut other) = ([0; 128], [0; 128]);
    let arguments = pointers(on, arguments, &mut one)?;
    let environment = pointers(on, environment, &mut other)?;
    let mut pidfd = -1_i32;
    let pid = call!(nr::CLONE, PIDFD | CHILD, 0, &raw mut pidfd, 0, 0).call("clone", path)?;
    if pid == 0 {
        const SET: usize = 0;
        call!(nr::LSEEK, state, 0, SET).ok();
        place(state, 0).ok();
        call!(same::CLOSE_RANGE, 3, u32::MAX, 0).ok();
        call!(nr::EXECVE, path.as_ptr(), arguments, environment).ok();
        sys::exit(127);
    }
    let ended = wait_for(pidfd, pid, patience);
    close(pidfd);
    match ended {
        Some(0) => Ok(()),
        Some(_) => Err(Failure { errno: errno::ECANCELED, call: "hook", about: Text::new(path) }),
        None => Err(Failure { errno: errno::ETIMEDOUT, call: "hook", about: Text::new(path) }),
    }
}

/// The status of the child's end, or `None` when it took longer than `milliseconds` (0: has all the time).
fn wait_for(pidfd: i32, pid: usize, milliseconds: u64) -> Option<i32> {
    if milliseconds != 0 {
        let poll = u64::from(pidfd.cast_unsigned()) | 1 << 32;
        let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
        let ready = call!(nr::PPOLL, &raw const poll, 1, time.as_ptr(), 0, 0);
        if ready == Ok(0) {
            call!(nr::KILL, pid, 9).ok();
            let mut status = 0_i32;
            call!(nr::WAIT4, pid, &raw mut status, 0, 0).ok();
            return None;
        }
    }
    let mut status = 0_i32;
    loop {
        match call!(nr::WAIT4, pid, &raw mut status, 0, 0) {
            Err(errno::EINTR) => {}
            Err(_) => return Some(-1),
            Ok(_) => return Some(status),
        }
    }
}

/// Becomes a first process that passes signals on and reaps what nobody else does; its child goes on with the plan.
pub(crate) fn init() -> Result<()> {
    const BLOCK: usize = 0;
    // Every signal but KILL, STOP and the two that C libraries use among threads.
    let signals: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);
    let descriptor = call!(nr::SIGNALFD4, -1_i32, &raw const signals, 8, 0o2_000_000).call("signalfd", b"")?;
    call!(nr::RT_SIGPROCMASK, BLOCK, &raw const signals, 0, 8).call("sigprocmask", b"")?;
    let mut pidfd = -1_i32;
    const PIDFD: usize = 0x1000;
    // The old clone(2): a filter may refuse clone3(2).
    let pid = call!(nr::CLONE, PIDFD | CHILD, 0, &raw mut pidfd, 0, 0).call("clone", b"")?;
    if pid == 0 {
        call!(nr::CLOSE, descriptor).ok();
        call!(nr::SETSID).ok();
        return reset_signals();
    }
    place_first(&mut pidfd, descriptor)?;
    serve(pidfd, pid)
}

/// Only the two descriptors stay, as 3 and 4.
fn place_first(pidfd: &mut i32, descriptor: usize) -> Result<()> {
    // Both away from the low numbers first: one may sit where the other goes.
    const DUPLICATE: usize = 1030;
    let high = call!(nr::FCNTL, *pidfd, DUPLICATE, 5).call("fcntl", b"")?;
    let signals = call!(nr::FCNTL, descriptor, DUPLICATE, 5).call("fcntl", b"")?;
    call!(nr::DUP3, signals, 3, 0).call("dup3", b"")?;
    call!(nr::DUP3, high, 4, 0).call("dup3", b"")?;
    call!(same::CLOSE_RANGE, 5, u32::MAX, 0).call("close_range", b"")?;
    *pidfd = 4;
    Ok(())
}

fn serve(pidfd: i32, child: usize) -> ! {
    const SIGNALS: usize = 3;
    const NOHANG: usize = 1;
    let mut info = [0_u32; 32];
    loop {
        if call!(nr::READ, SIGNALS, info.as_mut_ptr(), 128).is_ok() && info[0] != CHILD as u32 {
            call!(same::PIDFD_SEND_SIGNAL, pidfd, info[0], 0, 0).ok();
        }
        let mut status = 0_i32;
        while let Ok(pid) = call!(nr::WAIT4, -1_i32, &raw mut status, NOHANG, 0) {
            if pid == 0 {
                break;
            }
            if pid == child {
                sys::exit(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
            }
        }
    }
}

/// The first path that is a file which we may run; else the reason of the one that came nearest.
pub(crate) fn look(on: &Follower<'_>, paths: u64) -> Result<()> {
    const EXECUTE: usize = 1;
    const EFFECTIVE: usize = 0x200;
    let (mut worst, mut about) = (errno::ENOENT, Text::EMPTY);
    for path in on.program.list(paths) {
        let path = on.text(path)?;
        let found = call!(same::FACCESSAT2, AT_FDCWD, path.as_ptr(), EXECUTE, EFFECTIVE).and_then(|_| {
            let fd = find::open_at(AT_FDCWD, path, find::O_PATH | find::O_CLOEXEC, 0)?;
            let directory = sys::Stat::of(fd).is_ok_and(|stat| stat.is_directory());
            close(fd);
            if directory { Err(errno::EACCES) } else { Ok(()) }
        });
        let missing = |errno| matches!(errno, errno::ENOENT | errno::ENOTDIR);
        match found {
            // A kernel or a filter without these calls tells at execve(2).
            Ok(()) | Err(errno::ENOSYS | errno::EPERM) => return Ok(()),
            Err(errno) if about.as_bytes().is_empty() || missing(worst) && !missing(errno) => {
                (worst, about) = (errno, Text::new(path));
            }
            Err(_) => {}
        }
    }
    Err(Failure { errno: worst, call: "execve", about })
}
