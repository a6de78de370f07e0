// SPDX-License-Identifier: Apache-2.0
//! How many inotify instances a user may have: what containers take is counted for the user who made their user namespace too.

use crate::Result;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for fifty systems.
const ENOUGH: u32 = 8192;

/// The limit of this host.
pub(super) fn limit() -> u32 {
    std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The limit, raised until this is dropped.
pub(super) struct Raised(u32);

impl Raised {
    pub(super) fn new() -> Result<Self> {
        let old = limit();
        write(old.max(ENOUGH))?;
        Ok(Self(old))
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Err(reason) = write(self.0) {
            eprintln!("bench: {reason}");
        }
    }
}

fn write(value: u32) -> Result<()> {
    std::fs::write(LIMIT, value.to_string()).map_err(|error| format!("{LIMIT}: {error}"))
}
