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

/// Ranges of a container that runs containers itself.
const NESTING: u32 = 16;

/// The directory of the host's ranges.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    directory: PathBuf,
    store: String,
    /// The first id of the first range.
    first: u32,
    /// How many there are.
    slots: u32,
}

impl Ranges {
    /// In place of a range that has not been taken yet; the first one, so that a plan can be shown.
    pub(crate) const ANY: u32 = FIRST;

    /// The ranges of this host, as seen from the store at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let mapped = kernel::idmap::own_users().unwrap_or(u32::MAX);
        let (first, slots) = places(mapped);
        Self { directory: "/var/lib/cella/ids".into(), store: root.to_string_lossy().into_owned(), first, slots }
    }

    /// How many ids a container has, with those for the ones inside it if so.
    pub(crate) fn count(&self, nesting: bool) -> u32 {
        match nesting {
            false => COUNT,
            true if self.slots > NESTING => NESTING * COUNT,
            // Inside a container a part of what there is, so that there is more than one.
            true => (self.slots / 4).max(1) * COUNT,
        }
    }

    /// Takes `count` free ids for the container; gives the first.
    pub(crate) fn allocate(&self, id: &str, count: u32) -> Result<u32> {
        if self.slots == 0 {
            let message = "this user namespace has no ids for a container inside it";
            return Err(Error::new(Kind::Own, message).hint("make the container that this is in with --nesting"));
        }
        kernel::file::make_directories(&self.directory, 0o700)?;
        let wide = count / COUNT;
        // Where the search begins is different for each container, so that it ends at once.
        let start = u32::from_str_radix(id.get(..6).unwrap_or("0"), 16).unwrap_or(0);
        for offset in 0..self.slots {
            let slot = (start % self.slots + offset) % self.slots;
            if slot + wide <= self.slots && self.take(id, slot, wide)? {
                return Ok(self.first + slot * COUNT);
            }
        }
        self.tidy();
        Err(Error::new(Kind::Own, format!("no {count} ids in a row are free ({} ranges)", self.slots))
            .hint("remove containers that are not needed, or run cella doctor --repair"))
    }

    /// Takes neighbouring ranges, all or none.
    fn take(&self, id: &str, slot: u32, wide: u32) -> Result<bool> {
        let text = format!("{}#{id}", self.store);
        for next in slot..slot + wide {
            match kernel::file::make_link(&self.directory.join(next.to_string()), &text) {
                Ok(()) => {}
                Err(error) => {
                    for taken in slot..next {
                        kernel::file::remove(&self.directory.join(taken.to_string()))?;
                    }
                    return if error.is(Errno::EXIST) { Ok(false) } else { Err(error.into()) };
                }
            }
        }
        Ok(true)
    }

    /// Lets ids go.
    pub(crate) fn release(&self, base: u32, count: u32) -> Result<()> {
        let slot = base.wrapping_sub(self.first) / COUNT;
        for next in slot..slot.saturating_add(count / COUNT) {
            kernel::file::remove(&self.directory.join(next.to_string()))?;
        }
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

/// The first id of the first range, and how many there are, where so many ids from 0 on are mapped: inside a container, what
/// it has itself comes first.
fn places(mapped: u32) -> (u32, u32) {
    match mapped {
        u32::MAX => (FIRST, SLOTS),
        mapped => (COUNT, (mapped / COUNT).saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gives_of_its_own() {
        assert_eq!(places(u32::MAX), (FIRST, SLOTS));
        assert_eq!(places(NESTING * COUNT), (COUNT, 15));
        assert_eq!(places(COUNT), (COUNT, 0));
        let inside = |slots| Ranges { directory: "/nowhere".into(), store: String::new(), first: COUNT, slots };
        assert_eq!(
            (inside(SLOTS).count(true), inside(15).count(true), inside(3).count(true)),
            (NESTING * COUNT, 3 * COUNT, COUNT)
        );
        assert_eq!(inside(15).count(false), COUNT);
        assert!(inside(0).allocate("00", COUNT).is_err());
    }
}
