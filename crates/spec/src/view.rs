// SPDX-License-Identifier: Apache-2.0
//! Whether a container has its own view of /proc and /sys.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// Whether a container sees its own memory, processors and load in /proc and /sys, or the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcView {
    /// Its own when it is a whole system or has a limit of memory or processors.
    #[default]
    Auto,
    /// Its own.
    On,
    /// The host's.
    Off,
}

impl FromStr for ProcView {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(Invalid::new("proc view", text, "unknown").hint("write on, off or auto")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words() {
        assert_eq!("auto".parse(), Ok(ProcView::Auto));
        assert_eq!(("on".parse(), "off".parse()), (Ok(ProcView::On), Ok(ProcView::Off)));
        assert!("yes".parse::<ProcView>().is_err());
    }
}
