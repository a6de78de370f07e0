// SPDX-License-Identifier: Apache-2.0
//! Bandwidth as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// Bits in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

impl Rate {
    /// The least that is taken: below it a packet takes longer than a connection waits.
    pub const LEAST: Self = Self(8_000);
    /// The most.
    pub const MOST: Self = Self(1_000_000_000_000);
    /// No limit, where there was one.
    pub const NONE: Self = Self(u64::MAX);
}

impl FromStr for Rate {
    type Err = Invalid;

    /// A number with a unit, as tc(8) has them: `kbit mbit gbit tbit`, powers of 1000.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: &str| {
            Invalid::new("rate", text, reason).hint("write a number and kbit, mbit or gbit, such as 10mbit")
        };
        if matches!(text, "none" | "unlimited" | "-1") {
            return Ok(Self::NONE);
        }
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "bit" => 1,
            "k" | "kbit" | "kbit/s" => 1_000,
            "m" | "mbit" | "mbit/s" => 1_000_000,
            "g" | "gbit" | "gbit/s" => 1_000_000_000,
            "t" | "tbit" => 1_000_000_000_000,
            // tc(8) means bytes by it, everybody else bits.
            "bps" | "kbps" | "mbps" | "gbps" => return Err(refuse("it may mean bits or bytes")),
            "" => return Err(refuse("it has no unit")),
            _ => return Err(refuse("unknown unit")),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) {
            return Err(refuse("it does not begin with a number"));
        }
        let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or(0));
        let number = format!("{whole}{part}").parse::<u128>().map_err(|_| refuse("it is too large"))?;
        let bits = u64::try_from(number * u128::from(factor) / scale).map_err(|_| refuse("it is too large"))?;
        match Self(bits) {
            rate if rate < Self::LEAST => Err(refuse("it is below 8kbit")),
            rate if rate > Self::MOST => Err(refuse("it is above 1tbit")),
            rate => Ok(rate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
        match units.into_iter().find(|(factor, _)| self.0.is_multiple_of(*factor) && self.0 >= *factor) {
            Some((factor, unit)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}bit", self.0),
        }
    }
}

/// Packets in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packets(pub u64);

impl Packets {
    /// The most.
    pub const MOST: Self = Self(100_000_000);
    /// No limit, where there was one.
    pub const NONE: Self = Self(u64::MAX);
}

impl FromStr for Packets {
    type Err = Invalid;

    /// A whole number, also of thousands (`k`) or millions (`m`).
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse =
            |reason: &str| Invalid::new("packets", text, reason).hint("write a number in a second, such as 5000 or 5k");
        if matches!(text, "none" | "unlimited" | "-1") {
            return Ok(Self::NONE);
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "pps" => 1,
            "k" | "kpps" => 1_000,
            "m" | "mpps" => 1_000_000,
            _ => return Err(refuse("unknown unit")),
        };
        let number: u64 = number.parse().map_err(|_| refuse("it does not begin with a number"))?;
        match number.checked_mul(factor).map(Self) {
            Some(packets) if packets.0 == 0 => Err(refuse("nothing would pass")),
            Some(packets) if packets <= Self::MOST => Ok(packets),
            _ => Err(refuse("it is above 100 million")),
        }
    }
}

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE { f.write_str("none") } else { write!(f, "{}pps", self.0) }
    }
}

/// What may go each way; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// From the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Rate>,
    /// To the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Rate>,
    /// Packets from the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_packets: Option<Packets>,
    /// Packets to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_packets: Option<Packets>,
}

impl Limits {
    /// Is anything said?
    #[must_use]
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// These with those of `change` in their place where it has one.
    #[must_use]
    pub fn changed_by(&self, change: &Self) -> Self {
        Self {
            egress: change.egress.or(self.egress),
            ingress: change.ingress.or(self.ingress),
            egress_packets: change.egress_packets.or(self.egress_packets),
            ingress_packets: change.ingress_packets.or(self.ingress_packets),
        }
    }

    /// The stricter of both.
    #[must_use]
    pub fn least(&self, other: &Self) -> Self {
        Self {
            egress: stricter(self.egress, other.egress),
            ingress: stricter(self.ingress, other.ingress),
            egress_packets: stricter(self.egress_packets, other.egress_packets),
            ingress_packets: stricter(self.ingress_packets, other.ingress_packets),
        }
    }

    /// What is limited in the end.
    #[must_use]
    pub fn effective(&self) -> Self {
        let (real, counted) = (|rate: &Rate| *rate != Rate::NONE, |packets: &Packets| *packets != Packets::NONE);
        Self {
            egress: self.egress.filter(real),
            ingress: self.ingress.filter(real),
            egress_packets: self.egress_packets.filter(counted),
            ingress_packets: self.ingress_packets.filter(counted),
        }
    }
}

fn stricter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A container's part of what its network may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// What it has in any case, each way; what it does not use others may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Rate>,
    /// Who is served first with what is left: 0 before 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

impl Share {
    /// The priority of who says nothing.
    pub const PRIORITY: u8 = 4;

    /// Is anything said?
    #[must_use]
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// This with what `change` says in its place.
    #[must_use]
    pub fn changed_by(&self, change: &Self) -> Self {
        Self { guarantee: change.guarantee.or(self.guarantee), priority: change.priority.or(self.priority) }
    }

    /// Reads a priority.
    ///
    /// # Errors
    /// What is not 0 to 7.
    pub fn priority(text: &str) -> Result<u8, Invalid> {
        let number = text.parse().ok().filter(|number| *number <= 7);
        number.ok_or_else(|| Invalid::new("priority", text, "it must be 0 (first) to 7"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_and_some() {
        let read = |text: &str| text.parse::<Packets>().map(|packets| packets.0).ok();
        assert_eq!(
            ["1", "5000", "5k", "2Mpps", "none"].map(read),
            [Some(1), Some(5000), Some(5000), Some(2_000_000), Some(u64::MAX)]
        );
        for bad in ["", "0", "0k", "-5", "1.5k", "5kbit", "101m", "99999999999999999999", "k"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Packets(5000).to_string().parse(), Ok(Packets(5000)));
    }

    #[test]
    fn limits_are_changed_compared_and_lifted_each_by_itself() {
        let one = Limits { egress: Some(Rate(10_000)), egress_packets: Some(Packets(7)), ..Limits::default() };
        let other =
            Limits { egress_packets: Some(Packets::NONE), ingress_packets: Some(Packets(9)), ..Limits::default() };
        let both = one.changed_by(&other);
        assert_eq!(
            (both.egress, both.egress_packets, both.ingress_packets),
            (Some(Rate(10_000)), Some(Packets::NONE), Some(Packets(9)))
        );
        assert_eq!((both.effective().egress_packets, one.least(&other).egress_packets), (None, Some(Packets(7))));
    }

    #[test]
    fn rates_are_bits() {
        let bits = |text: &str| text.parse::<Rate>().unwrap().0;
        assert_eq!(
            (bits("10mbit"), bits("1.5Gbit"), bits("1mbit/s"), bits("64k")),
            (10_000_000, 1_500_000_000, 1_000_000, 64_000)
        );
        for bad in [
            "",
            "10",
            "mbit",
            "-1mbit",
            "1e9mbit",
            "7kbit",
            "10mbps",
            "1kbps",
            "2tbit",
            "99999999999999mbit",
            "1..5mbit",
            "1xbit",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert_eq!((Rate(50_000_000).to_string(), Rate(1_500).to_string()), ("50mbit".into(), "1500bit".into()));
    }
}
