// SPDX-License-Identifier: Apache-2.0
//! Ranges of 65,536 user and group ids, each for one container of this host, whatever store it is in.
//!
//! A range that is taken is a symbolic link `SLOT` → `STORE#CONTAINER-ID` in one directory of the host: making it is
//! atomic, and it says whose it is. It is let go before the container's directory is deleted, and made after the
//! directory exists: so whoever finds the directory half made or half deleted also lets go of the range.

use std::path::{Path, PathBuf};

use kernel::Errno;

use crate::error::{Error, Kind, Result};

/// Ids of one container.
pub(crate) const COUNT: u32 = 65_536;

/// The first id of the first range, and the number of ranges: systemd's "UIDS-GIDS" leaves 1879048192 to 2147483647
/// free of every other use.
const FIRST: u32 = 1_879_048_192;
const SLOTS: u32 = 4095;

/// The directory of the host's ranges.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    directory: PathBuf,
    store: String,
}

impl Ranges {
    /// In place of a range that has not been taken yet; the first one, so that a plan can be shown.
    pub(crate) const ANY: u32 = FIRST;

    /// The ranges of this host, as seen from the store at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        Self { directory: "/var/lib/cella/ids".into(), store: root.to_string_lossy().into_owned() }
    }

    /// Takes a free range for the container; gives its first id.
    pub(crate) fn allocate(&self, id: &str) -> Result<u32> {
        kernel::file::make_directories(&self.directory, 0o700)?;
        let text = format!("{}#{id}", self.store);
        // Where the search begins is different for each container, so that it ends at once.
        let start = u32::from_str_radix(id.get(..6).unwrap_or("0"), 16).unwrap_or(0);
        for slot in (0..SLOTS).map(|offset| (start % SLOTS + offset) % SLOTS) {
            match kernel::file::make_link(&self.directory.join(slot.to_string()), &text) {
                Ok(()) => return Ok(FIRST + slot * COUNT),
                Err(error) if error.is(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(Kind::Own, format!("all {SLOTS} ranges of ids are taken"))
            .hint("remove containers that are not needed, or run cella doctor --repair"))
    }

    /// Lets the range go.
    pub(crate) fn release(&self, base: u32) -> Result<()> {
        let slot = base.wrapping_sub(FIRST) / COUNT;
        kernel::file::remove(&self.directory.join(slot.to_string()))?;
        self.tidy();
        Ok(())
    }

    /// Lets every range of the container go: for one whose record can not be read.
    pub(crate) fn release_all_of(&self, id: &str) -> Result<()> {
        for (slot, owner) in self.taken()? {
            if owner == id {
                kernel::file::remove(&self.directory.join(slot))?;
            }
        }
        self.tidy();
        Ok(())
    }

    /// The ranges of this store: slot and container.
    pub(crate) fn taken(&self) -> Result<Vec<(String, String)>> {
        if !self.directory.exists() {
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        for slot in kernel::file::names(&self.directory)? {
            let Ok(text) = kernel::file::read_link(&self.directory.join(&slot)) else { continue };
            if let Some((store, id)) = text.rsplit_once('#').filter(|(store, _)| *store == self.store) {
                let _ = store;
                list.push((slot, id.to_owned()));
            }
        }
        Ok(list)
    }

    /// The directory goes with its last entry, so that a host without containers shows nothing of us.
    fn tidy(&self) {
        kernel::file::remove_directory(&self.directory).ok();
    }
}
