// SPDX-License-Identifier: Apache-2.0
//! Whole systems: containers whose first process is the init of a distribution.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::name::Name;

/// The largest credential, as systemd has it.
pub const LARGEST_CREDENTIAL: usize = 1 << 20;

/// What is asked for of a whole system besides what every container has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct System {
    /// It runs containers itself: it has the ids for them.
    #[serde(default)]
    pub nesting: bool,
    /// What its services are told in confidence, by name (systemd.exec(5), "Credentials").
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<Name, Credential>,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// These words.
    Text(String),
    /// A file of the host, read at each start.
    File(String),
}

impl Credential {
    /// `NAME:VALUE`.
    ///
    /// # Errors
    /// A name that is none, or a value that is too large.
    pub fn parse_text(text: &str) -> Result<(Name, Self), Invalid> {
        let (name, value) = split(text)?;
        if value.len() > LARGEST_CREDENTIAL {
            return Err(Invalid::new("credential", name.as_str(), "it is larger than 1M"));
        }
        Ok((name, Self::Text(value.to_owned())))
    }

    /// `NAME:PATH`.
    ///
    /// # Errors
    /// A name that is none, or a path that is not absolute.
    pub fn parse_file(text: &str) -> Result<(Name, Self), Invalid> {
        let (name, path) = split(text)?;
        if !path.starts_with('/') {
            return Err(Invalid::new("credential", text, "the path is not absolute"));
        }
        Ok((name, Self::File(path.to_owned())))
    }
}

fn split(text: &str) -> Result<(Name, &str), Invalid> {
    let pair = text.split_once(':');
    let (name, value) =
        pair.ok_or_else(|| Invalid::new("credential", text, "it has no colon").hint("write NAME:VALUE"))?;
    Ok((name.parse()?, value))
}

/// It is started with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Autostart {
    /// Lower numbers are started first and stopped last.
    #[serde(default)]
    pub order: i32,
    /// Milliseconds until the next one is started.
    #[serde(default)]
    pub delay_ms: u64,
}

/// How limits and groups of a container are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// By systemd where it is the host's init, else directly.
    #[default]
    Auto,
    /// By systemd, as a transient scope.
    Systemd,
    /// As directories that we make ourselves.
    Direct,
}

impl FromStr for CgroupDriver {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "systemd" => Ok(Self::Systemd),
            "direct" | "cgroupfs" => Ok(Self::Direct),
            _ => Err(Invalid::new("cgroup driver", text, "unknown").hint("write auto, systemd or direct")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let (name, value) = Credential::parse_text("a.b:x:y").unwrap();
        assert_eq!((name.as_str(), value), ("a.b", Credential::Text("x:y".into())));
        assert_eq!(Credential::parse_file("a:/x").unwrap().1, Credential::File("/x".into()));
        for bad in ["a", "../a:x", ":x", "a/b:x"] {
            assert!(Credential::parse_text(bad).is_err(), "{bad}");
        }
        assert!(Credential::parse_file("a:x").is_err());
    }
}
