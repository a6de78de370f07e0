// SPDX-License-Identifier: Apache-2.0
//! Signals as descriptors, and the mask that makes them so.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result};

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset and sigaddset only write the set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Blocks these signals and gives a non-blocking descriptor that becomes readable when one is there.
///
/// # Errors
/// sigprocmask(2)'s or signalfd(2)'s.
pub fn descriptor(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: the set lives through both calls.
    let fd = unsafe {
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(Error::last("sigprocmask(SIG_BLOCK)"));
        }
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd == -1 {
        return Err(Error::last("signalfd()"));
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the next signal that waits in the descriptor, if any.
#[must_use]
pub fn next(descriptor: &OwnedFd) -> Option<i32> {
    // SAFETY: an all-zero signalfd_siginfo is a valid value of that plain C structure.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is valid for the size given.
    let read = unsafe { libc::read(descriptor.as_raw_fd(), std::ptr::from_mut(&mut info).cast(), size) };
    (usize::try_from(read) == Ok(size)).then(|| info.ssi_signo.cast_signed())
}

/// No signal blocked, every one of them at its default: what a new program should find.
///
/// # Errors
/// sigprocmask(2)'s.
pub fn reset() -> Result<()> {
    let none = set_of(&[]);
    // SAFETY: SIG_DFL is no handler of ours; the set lives through the call. Signals that can not be set are refused
    // by the kernel, which is right.
    unsafe {
        for number in 1..=libc::SIGRTMAX() {
            libc::signal(number, libc::SIG_DFL);
        }
        if libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) != 0 {
            return Err(Error::last("sigprocmask(SIG_SETMASK)"));
        }
    }
    Ok(())
}

/// Ignores a signal (`SIGPIPE` in a process that writes to sockets).
pub fn ignore(number: i32) {
    // SAFETY: SIG_IGN is no handler of ours.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// Lets a signal do again what it does by default (a Rust program begins with `SIGPIPE` ignored, and a program that it becomes
/// should not).
pub fn unignore(number: i32) {
    // SAFETY: SIG_DFL is no handler of ours.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// The signals that were blocked.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

/// Blocks none; returns those that were.
///
/// # Errors
/// sigprocmask(2)'s.
pub fn unblock_all() -> Result<Mask> {
    let (none, mut before) = (set_of(&[]), set_of(&[]));
    // SAFETY: both sets live through the call.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, &raw mut before) } {
        0 => Ok(Mask(before)),
        _ => Err(Error::last("sigprocmask(SIG_SETMASK)")),
    }
}

/// Blocks these again.
///
/// # Errors
/// sigprocmask(2)'s.
pub fn restore(mask: &Mask) -> Result<()> {
    // SAFETY: the set lives through the call.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Error::last("sigprocmask(SIG_SETMASK)")),
    }
}
