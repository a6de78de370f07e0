// SPDX-License-Identifier: Apache-2.0
//! A set of kinds of namespaces: what clone(2), unshare(2) and setns(2) take as flags.

use std::fmt;
use std::str::FromStr;

use crate::types::NamespaceKind;

/// Some of the eight kinds.
///
/// ```
/// use kernel::namespace::NamespaceSet;
/// use kernel::types::NamespaceKind::{Mount, User};
///
/// let set: NamespaceSet = "user,mnt".parse().unwrap();
/// assert_eq!(set, NamespaceSet::of(&[Mount, User]));
/// assert_eq!(set.flags(), 0x1002_0000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NamespaceSet(u64);

impl NamespaceSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// All eight.
    pub const ALL: Self = Self::of(&NamespaceKind::ALL);

    /// These.
    #[must_use]
    pub const fn of(kinds: &[NamespaceKind]) -> Self {
        let (mut flags, mut rest) = (0, kinds);
        while let [kind, more @ ..] = rest {
            flags |= kind.flag();
            rest = more;
        }
        Self(flags)
    }

    /// The set and this kind.
    #[must_use]
    pub const fn with(self, kind: NamespaceKind) -> Self {
        Self(self.0 | kind.flag())
    }

    /// The set but for this kind.
    #[must_use]
    pub const fn without(self, kind: NamespaceKind) -> Self {
        Self(self.0 & !kind.flag())
    }

    /// Is this kind in it?
    #[must_use]
    pub const fn has(self, kind: NamespaceKind) -> bool {
        self.0 & kind.flag() != 0
    }

    /// Is there none in it?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The `CLONE_NEW*` flags, ored.
    #[must_use]
    pub const fn flags(self) -> u64 {
        self.0
    }

    /// The kinds, in the order in which they are joined.
    pub fn iter(self) -> impl Iterator<Item = NamespaceKind> {
        NamespaceKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

impl FromIterator<NamespaceKind> for NamespaceSet {
    fn from_iter<T: IntoIterator<Item = NamespaceKind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for NamespaceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.iter().enumerate() {
            write!(f, "{}{kind}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The kind with this name: that of its file in `/proc/PID/ns`, or a long one that util-linux has for it.
///
/// # Errors
/// The word, when no kind has it as its name.
pub fn kind(word: &str) -> Result<NamespaceKind, &str> {
    let long = match word {
        "mount" => "mnt",
        "network" => "net",
        other => other,
    };
    NamespaceKind::ALL.into_iter().find(|kind| kind.file() == long).ok_or(word)
}

impl FromStr for NamespaceSet {
    type Err = String;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|word| kind(word.trim()).map_err(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_and_unknown_ones_are_told() {
        assert_eq!("net,mount".parse::<NamespaceSet>().unwrap().to_string(), "net,mnt");
        assert_eq!("net,nett".parse::<NamespaceSet>().unwrap_err(), "nett");
        assert_eq!("".parse::<NamespaceSet>().unwrap_err(), "");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(picks in proptest::collection::vec(0..8_usize, 1..10)) {
            let set: NamespaceSet = picks.iter().map(|pick| NamespaceKind::ALL[*pick]).collect();
            prop_assert_eq!(set.to_string().parse::<NamespaceSet>().unwrap(), set);
            prop_assert_eq!(set.iter().map(NamespaceKind::flag).sum::<u64>(), set.flags());
        }
    }
}
