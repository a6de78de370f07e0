// SPDX-License-Identifier: Apache-2.0
//! Landlock: rights that a process gives up for good, with no privilege needed.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::error::Result;
use crate::syscall::raw;

/// File-system rights (`LANDLOCK_ACCESS_FS_*`).
pub mod access {
    /// Make character devices.
    pub const MAKE_CHAR: u64 = 1 << 6;
    /// Make block devices.
    pub const MAKE_BLOCK: u64 = 1 << 11;
    /// ioctl on devices (version 5).
    pub const IOCTL_DEV: u64 = 1 << 15;
}

const CREATE_RULESET_VERSION: libc::c_long = 1;
const RULE_PATH_BENEATH: libc::c_long = 1;

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// The version of the interface: 1 for Linux 5.13, 5 for 6.10; 0 where there is none.
#[must_use]
pub fn version() -> u32 {
    // SAFETY: this form of the call takes no memory.
    let version = unsafe {
        raw(libc::SYS_landlock_create_ruleset, [0, 0, CREATE_RULESET_VERSION, 0, 0, 0], || "landlock_create_ruleset")
    };
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// A set of rights that will be given up except below certain directories.
#[derive(Debug)]
pub struct Ruleset(OwnedFd);

impl Ruleset {
    /// The rights in `handled` are to be given up.
    ///
    /// # Errors
    /// landlock_create_ruleset(2)'s.
    pub fn new(handled: u64) -> Result<Self> {
        // SAFETY: the attribute is one 64-bit word, as version 1 of the interface has it.
        let fd = unsafe {
            raw(
                libc::SYS_landlock_create_ruleset,
                [std::ptr::from_ref(&handled) as libc::c_long, 8, 0, 0, 0, 0],
                || format!("landlock_create_ruleset({handled:#x})"),
            )?
        };
        // SAFETY: the kernel has just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) }))
    }

    /// Keeps the rights `allowed` below the directory.
    ///
    /// # Errors
    /// landlock_add_rule(2)'s.
    pub fn allow(&self, directory: impl AsFd, allowed: u64) -> Result<()> {
        let rule = PathBeneath { allowed, parent: directory.as_fd().as_raw_fd() };
        // SAFETY: the rule lives through the call and has the kernel's packed layout.
        unsafe {
            raw(
                libc::SYS_landlock_add_rule,
                [self.0.as_raw_fd().into(), RULE_PATH_BENEATH, std::ptr::from_ref(&rule) as libc::c_long, 0, 0, 0],
                || format!("landlock_add_rule({allowed:#x})"),
            )?;
        }
        Ok(())
    }
}
