// SPDX-License-Identifier: Apache-2.0
//! Tables, chains, sets and their elements, as data.

use super::value::{Type, Value, Verdict};

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP for this host.
    Arp,
    /// Frames of bridges.
    Bridge,
    /// Frames of one device.
    Netdev,
}

impl Family {
    /// `NFPROTO_*`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    /// The name that nft(8) has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
            Self::Ip6 => "ip6",
        }
    }
}

/// A table: a family and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Its name, unique in its family.
    pub name: String,
}

impl Table {
    /// A table of this name.
    #[must_use]
    pub fn new(family: Family, name: &str) -> Self {
        Self { family, name: name.to_owned() }
    }

    /// How errors name it: `inet mine`.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.family.name(), self.name)
    }
}

/// The place on a packet's way where a base chain looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before it is decided where it goes.
    Prerouting,
    /// It is for this host.
    Input,
    /// It passes through this host.
    Forward,
    /// It comes from this host.
    Output,
    /// It leaves.
    Postrouting,
    /// It comes in by a device; netdev only.
    Ingress,
    /// It goes out by a device; netdev only.
    Egress,
}

impl Hook {
    /// `NF_INET_*`, `NF_BR_*`, `NF_ARP_*` or `NF_NETDEV_*`.
    pub(super) fn number(self, family: Family) -> u32 {
        match (family, self) {
            (Family::Arp | Family::Netdev, Self::Output | Self::Egress) => 1,
            (Family::Arp | Family::Netdev, _) | (_, Self::Prerouting) => 0,
            (_, Self::Input) => 1,
            (_, Self::Forward) => 2,
            (_, Self::Output) => 3,
            (_, Self::Postrouting) => 4,
            // inet has one as well.
            (_, Self::Ingress | Self::Egress) => 5,
        }
    }
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Let pass or drop.
    Filter,
    /// Change addresses: sees the first packet of each connection.
    Nat,
    /// Change where it is routed to.
    Route,
}

/// A chain of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub(super) name: String,
    pub(super) base: Option<(Kind, Hook, i32)>,
    pub(super) policy: Verdict,
    pub(super) devices: Vec<String>,
}

impl Chain {
    /// A chain that others jump to.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), base: None, policy: Verdict::Accept, devices: Vec::new() }
    }

    /// A chain that the kernel gives packets to; those of a lower priority come first. Its policy is to accept.
    #[must_use]
    pub fn base(name: &str, kind: Kind, hook: Hook, priority: i32) -> Self {
        Self { base: Some((kind, hook, priority)), ..Self::new(name) }
    }

    /// What becomes of packets that no rule decides about: [`Verdict::Accept`] or [`Verdict::Drop`].
    #[must_use]
    pub fn policy(self, policy: Verdict) -> Self {
        Self { policy, ..self }
    }

    /// The devices of a netdev chain.
    #[must_use]
    pub fn devices(self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        Self { devices: names.into_iter().map(Into::into).collect(), ..self }
    }
}

/// What a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Values.
    Values(Vec<Value>),
    /// A verdict.
    Verdict(Verdict),
}

/// What the elements of a set have besides their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Nothing,
    Values(Vec<Type>),
    Verdict,
}

/// A set, or a map, with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub(super) name: String,
    pub(super) key: Vec<Type>,
    pub(super) data: Data,
    pub(super) interval: bool,
    pub(super) counts: bool,
}

impl Set {
    /// A set whose key has these parts.
    #[must_use]
    pub fn new(name: &str, key: impl Into<Vec<Type>>) -> Self {
        Self { name: name.to_owned(), key: key.into(), data: Data::Nothing, interval: false, counts: false }
    }

    /// A map from keys to values.
    #[must_use]
    pub fn map(name: &str, key: impl Into<Vec<Type>>, to: impl Into<Vec<Type>>) -> Self {
        Self { data: Data::Values(to.into()), ..Self::new(name, key) }
    }

    /// A map from keys to verdicts.
    #[must_use]
    pub fn verdicts(name: &str, key: impl Into<Vec<Type>>) -> Self {
        Self { data: Data::Verdict, ..Self::new(name, key) }
    }

    /// Its elements are ranges.
    #[must_use]
    pub fn interval(self) -> Self {
        Self { interval: true, ..self }
    }

    /// Each element counts the packets that found it.
    #[must_use]
    pub fn counting(self) -> Self {
        Self { counts: true, ..self }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub(super) key: Vec<Value>,
    pub(super) end: Option<Vec<Value>>,
    pub(super) outcome: Option<Outcome>,
}

impl Element {
    /// This key.
    #[must_use]
    pub fn new(key: impl Into<Vec<Value>>) -> Self {
        Self { key: key.into(), end: None, outcome: None }
    }

    /// All keys between these two, which belong to it.
    #[must_use]
    pub fn range(first: impl Into<Vec<Value>>, last: impl Into<Vec<Value>>) -> Self {
        Self { end: Some(last.into()), ..Self::new(first) }
    }

    /// It leads to these values.
    #[must_use]
    pub fn to(self, values: impl Into<Vec<Value>>) -> Self {
        Self { outcome: Some(Outcome::Values(values.into())), ..self }
    }

    /// It leads to this verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        Self { outcome: Some(Outcome::Verdict(verdict)), ..self }
    }

    /// How errors name it: `"eth0" . 10.0.0.1`.
    pub(super) fn shown(&self) -> String {
        let join = |list: &[Value]| list.iter().map(Value::to_string).collect::<Vec<_>>().join(" . ");
        match &self.end {
            Some(end) => format!("{} to {}", join(&self.key), join(end)),
            None => join(&self.key),
        }
    }
}
