// SPDX-License-Identifier: Apache-2.0
//! Names that become elements of paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// The longest name: what is left of a file name (255 bytes) after the prefixes that the store adds.
const MAX_LENGTH: usize = 128;

/// A name that is safe as an element of a path: `^[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: &str| {
            Err(Invalid::new("name", text, reason)
                .hint("use letters, digits and _ . + -, beginning with a letter or digit"))
        };
        let inner = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
        match text.chars().next() {
            None => refuse("it is empty"),
            Some(first) if !first.is_ascii_alphanumeric() => refuse("it does not begin with a letter or digit"),
            Some(_) if !text.chars().all(inner) => refuse("it has a character that a name can not have"),
            Some(_) if text.len() > MAX_LENGTH => refuse("it is longer than 128 characters"),
            Some(_) => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host name or domain name: letters, digits, `-` and `.`, at most 64 bytes as the kernel keeps them.
///
/// # Errors
/// Why it is refused.
pub fn check_hostname(text: &str) -> Result<(), Invalid> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(known) {
        let reason = "it must be 1 to 64 letters, digits, - and .";
        return Err(Invalid::new("host name", text, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["a", "web-1", "A.b_c+d", &"x".repeat(128)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "-x", "a b", "a\0", "a\n", "é", &"x".repeat(129)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
