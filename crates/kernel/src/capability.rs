// SPDX-License-Identifier: Apache-2.0
//! Capabilities of the calling thread.

use crate::error::{Error, Result};
use crate::syscall::raw;
use crate::types::CapabilitySet;

const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets the effective, permitted and inheritable sets.
///
/// # Errors
/// capset(2)'s.
pub fn set(effective: CapabilitySet, permitted: CapabilitySet, inheritable: CapabilitySet) -> Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |set: CapabilitySet, shift: u32| u32::try_from(set.0 >> shift & 0xffff_ffff).unwrap_or_default();
    let data = [0, 32].map(|shift| Data {
        effective: half(effective, shift),
        permitted: half(permitted, shift),
        inheritable: half(inheritable, shift),
    });
    // SAFETY: version 3 takes exactly two data words, both of which live through the call.
    unsafe {
        raw(
            libc::SYS_capset,
            [std::ptr::from_mut(&mut header) as libc::c_long, data.as_ptr() as libc::c_long, 0, 0, 0, 0],
            || format!("capset(effective {:#x}, permitted {:#x})", effective.0, permitted.0),
        )?;
    }
    Ok(())
}

/// The effective, permitted and inheritable sets of this thread.
///
/// # Errors
/// capget(2)'s.
pub fn get() -> Result<(CapabilitySet, CapabilitySet, CapabilitySet)> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes exactly two data words.
    unsafe {
        raw(
            libc::SYS_capget,
            [std::ptr::from_mut(&mut header) as libc::c_long, data.as_mut_ptr() as libc::c_long, 0, 0, 0, 0],
            || "capget()",
        )?;
    }
    let join = |low: u32, high: u32| CapabilitySet(u64::from(high) << 32 | u64::from(low));
    let [low, high] = data;
    Ok((
        join(low.effective, high.effective),
        join(low.permitted, high.permitted),
        join(low.inheritable, high.inheritable),
    ))
}

/// Keeps the permitted set over the change from user 0 to another.
///
/// # Errors
/// prctl(PR_SET_KEEPCAPS)'s.
pub fn keep(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0, "PR_SET_KEEPCAPS")
}

pub(crate) fn prctl(option: i32, a: i64, b: i64, name: &str) -> Result<()> {
    // SAFETY: every option used with this helper takes integers only.
    let result = unsafe { libc::prctl(option, a, b, 0, 0) };
    if result == -1 { Err(Error::last(format!("prctl({name}, {a}, {b})"))) } else { Ok(()) }
}
