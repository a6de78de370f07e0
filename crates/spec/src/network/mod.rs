// SPDX-License-Identifier: Apache-2.0
//! Networks, a container's devices on them, and the ports that it publishes, as they are written down.

mod nic;
mod port;
mod rate;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::name::Name;

pub use nic::{Attach, Nic, mtu};
pub use port::{Protocol, Publish};
pub use rate::{Limits, Packets, Rate, Share};

/// A network, complete: what was asked for and what was settled when it was made. Format: docs/formats/network.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Version of the format.
    pub version: u32,
    /// Its name.
    pub name: Name,
    /// When it was made, RFC 3339.
    pub created: String,
    /// What it is made of.
    pub driver: Driver,
    /// The host's device: the bridge of a bridge network; the device that the others are made on.
    pub device: String,
    /// Addresses, one of each family at most.
    pub subnets: Vec<Subnet>,
    /// Nothing leaves it and nothing comes in.
    #[serde(default)]
    pub internal: bool,
    /// Its containers do not reach each other.
    #[serde(default)]
    pub isolated: bool,
    /// Packets that leave it get the host's address.
    pub nat: bool,
    /// Names of containers are answered.
    pub dns: bool,
    /// DHCP and router advertisements are answered.
    pub dhcp: bool,
    /// The domain of the names.
    pub domain: String,
    /// The name servers that containers are told in place of the network's own.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// Maximum size of a packet; the parent's otherwise.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// What all containers together may send to and get from beyond the network.
    #[serde(default)]
    pub limits: Limits,
    /// Labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Network {
    /// Of the format.
    pub const VERSION: u32 = 1;

    /// The subnet of the family of `ip`.
    #[must_use]
    pub fn subnet_of(&self, ip: &IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(ip))
    }

    /// The IPv4 subnet.
    #[must_use]
    pub fn v4(&self) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| matches!(subnet.net, IpNet::V4(_)))
    }

    /// The IPv6 subnet.
    #[must_use]
    pub fn v6(&self) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| matches!(subnet.net, IpNet::V6(_)))
    }

    /// Is its bridge ours, to be made and removed with it?
    #[must_use]
    pub fn is_managed(&self) -> bool {
        matches!(self.driver, Driver::Bridge { existing: false, .. })
    }
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// All of them.
    pub net: IpNet,
    /// The router: the host's address on a bridge of ours.
    pub gateway: Option<IpAddr>,
    /// Those that containers get by themselves; all of `net` otherwise.
    #[serde(default)]
    pub range: Option<IpNet>,
}

/// What a network is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge.
    Bridge {
        /// It is somebody else's, and is only used.
        #[serde(default)]
        existing: bool,
        /// What else is a port of it: a tunnel to other hosts.
        #[serde(default)]
        vxlan: Option<Vxlan>,
    },
    /// Devices of their own on a device of the host, on the same link.
    Macvlan {
        /// The host's device.
        parent: String,
        /// `bridge`, `private`, `vepa`.
        mode: MacvlanMode,
    },
    /// The same with the parent's MAC address.
    Ipvlan {
        /// The host's device.
        parent: String,
        /// `l2`, `l3`, `l3s`.
        mode: IpvlanMode,
    },
    /// Pairs of devices and a route for each address; no bridge.
    Routed,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge { vxlan: Some(_), .. } => "vxlan",
            Self::Bridge { .. } => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Routed => "routed",
        })
    }
}

/// A tunnel that carries a network's frames between hosts (RFC 7348).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan {
    /// The network's number, 24 bits.
    pub id: u32,
    /// The other hosts.
    pub remotes: Vec<IpAddr>,
    /// This host's address in the tunnel.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// UDP port.
    pub port: u16,
}

/// How devices on one parent reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// Through the switch outside.
    Vepa,
}

/// What an ipvlan device sees of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// The link.
    #[default]
    L2,
    /// Routed packets only.
    L3,
    /// The same, through the host's packet filter.
    L3s,
}

/// One word of a closed list.
fn one_of<T: Copy>(what: &'static str, text: &str, list: &[(&str, T)]) -> Result<T, Invalid> {
    list.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
        Invalid::new(what, text, "unknown").hint(format!("write one of: {}", names.join(" ")))
    })
}

impl FromStr for MacvlanMode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        one_of("macvlan mode", text, &[("bridge", Self::Bridge), ("private", Self::Private), ("vepa", Self::Vepa)])
    }
}

impl FromStr for IpvlanMode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        one_of("ipvlan mode", text, &[("l2", Self::L2), ("l3", Self::L3), ("l3s", Self::L3s)])
    }
}

/// A name that the kernel takes for a device: 1 to 15 printable characters, none of `/ : %` and no blank.
///
/// # Errors
/// Why it is refused.
pub fn check_device(text: &str) -> Result<(), Invalid> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
    let known = (1..=15).contains(&text.len()) && text.bytes().all(plain);
    if !known || [".", "..", "all", "default", "lo"].contains(&text) {
        let reason = "a device has a name of 1 to 15 letters, digits and signs other than / : %";
        return Err(Invalid::new("device name", text, reason));
    }
    Ok(())
}

/// A domain name: labels of letters, digits, `-` and `_`, each at most 63 bytes.
///
/// # Errors
/// Why it is refused.
pub fn check_domain(text: &str) -> Result<(), Invalid> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() > 200 || !text.split('.').all(label) {
        return Err(Invalid::new("domain", text, "it must be labels of letters, digits and -, with dots between"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_140_names_of_devices_and_domains() {
        for good in ["eth0", "br-lan", "a", "123456789012345", "wg0.5"] {
            assert!(check_device(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "a:b", "1234567890123456", "a b", "a\u{7}", "eth%d", "lo", "all"] {
            assert!(check_device(bad).is_err(), "{bad}");
        }
        assert!(check_domain("cella").is_ok() && check_domain("a.b-c.d").is_ok());
        for bad in ["", ".", "a..b", "a b", "a\nb", &"x".repeat(64)] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
    }
}
