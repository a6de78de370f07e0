// SPDX-License-Identifier: Apache-2.0
//! The start of a program that lives for a moment: without what the standard library prepares for long ones.
//!
//! Its start-up looks for the end of the stack page by page and installs handlers that tell of an overflow: some 45 system
//! calls and 50 µs here, in a program that ends after two milliseconds. What matters of it is done: the standard streams are
//! open, so that no file of ours gets one of their numbers, and a closed pipe is an error and no death.

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

/// Makes `main`, a function from the words of the command line (the program's own first) to an exit code, the program's.
///
/// The crate that uses it has `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: the C library calls `main` once, with what the kernel gave it.
            unsafe { $crate::entry::enter(count, words, $main) }
        }
    };
}

/// What [`entry!`] calls.
///
/// # Safety
/// `words` must be the array of `count` texts that the C library calls `main` with.
pub unsafe fn enter(count: c_int, words: *const *const c_char, main: fn(Vec<OsString>) -> u8) -> c_int {
    // SAFETY: the caller's promise.
    let word = |index| unsafe { CStr::from_ptr(*words.add(index)) };
    let words =
        (0..usize::try_from(count).unwrap_or(0)).map(|index| OsString::from_vec(word(index).to_bytes().to_vec()));
    if open_streams().is_err() {
        return 125;
    }
    crate::signal::ignore(libc::SIGPIPE);
    c_int::from(main(words.collect()))
}

/// Opens `/dev/null` for each standard stream that the caller has closed.
fn open_streams() -> rustix::io::Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut list = streams.map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    rustix::event::poll(&mut list, Some(&rustix::event::Timespec::default()))?;
    for entry in &list {
        if entry.revents().contains(PollFlags::NVAL) {
            // The lowest number that is free is that of the stream, since those below it are open.
            std::mem::forget(rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?);
        }
    }
    Ok(())
}
