// SPDX-License-Identifier: Apache-2.0
//! Installs a system call filter.

use crate::error::Result;
use crate::syscall::raw;
use crate::types::SockFilter;

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
