// SPDX-License-Identifier: Apache-2.0
//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Invalid, nearest};

/// A signal's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(pub i32);

impl Signal {
    /// Ends a process that does not catch it.
    pub const TERM: Self = Self(15);
    /// Ends a process whatever it does.
    pub const KILL: Self = Self(9);
}

/// Real-time signals count from here (what the C library leaves to programs).
const REAL_TIME_MIN: i32 = 34;
const REAL_TIME_MAX: i32 = 64;

/// Names at the index that is the number (x86, arm, riscv).
const NAMES: &[&str] = &[
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH",
    "IO", "PWR", "SYS",
];

impl FromStr for Signal {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = || Invalid::new("signal", text, "there is no such signal");
        if let Ok(number) = text.parse::<i32>() {
            return if (1..=REAL_TIME_MAX).contains(&number) { Ok(Self(number)) } else { Err(refuse()) };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let plain = NAMES.iter().position(|known| *known == name && !name.is_empty());
        let number = plain.and_then(|number| i32::try_from(number).ok()).or_else(|| real_time(name));
        number.map(Self).ok_or_else(|| match nearest(name, NAMES.iter().copied()) {
            Some(near) => refuse().hint(format!("did you mean SIG{near}?")),
            None => refuse(),
        })
    }
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`.
fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => REAL_TIME_MIN + offset(rest, '+')?,
        (_, Some(rest)) => REAL_TIME_MAX - offset(rest, '-')?,
        _ => return None,
    };
    (REAL_TIME_MIN..=REAL_TIME_MAX).contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|number| NAMES.get(number)) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME_MIN),
        }
    }
}

impl TryFrom<String> for Signal {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_back() {
        let number = |text: &str| text.parse::<Signal>().map(|signal| signal.0).ok();
        assert_eq!(
            ["TERM", "sigkill", "1", "SIGRTMIN+3", "RTMAX-1"].map(number),
            [Some(15), Some(9), Some(1), Some(37), Some(63)]
        );
        assert_eq!(["", "SIG", "0", "65", "FOO", "RTMIN-1", "RTMIN+99"].map(number), [None; 7]);
        assert_eq!(Signal(37).to_string(), "SIGRTMIN+3");
    }
}
