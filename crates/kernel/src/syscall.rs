// SPDX-License-Identifier: Apache-2.0
//! The raw system call: the one place where numbers become calls for what rustix does not wrap.

use crate::error::{Error, Result};

/// Calls `number` with up to six arguments; a result of -1 becomes the errno, named by `name`.
///
/// # Safety
/// The arguments must be what the kernel expects for `number`: pointers valid for the length it reads or writes.
pub(crate) unsafe fn raw<S: Into<String>>(
    number: libc::c_long,
    arguments: [libc::c_long; 6],
    name: impl FnOnce() -> S,
) -> Result<libc::c_long> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller vouches for the arguments; the call itself touches nothing else.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(Error::last(name())) } else { Ok(result) }
}
