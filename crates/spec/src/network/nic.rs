// SPDX-License-Identifier: Apache-2.0
//! A container's device on a network: `--network`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rate::{Limits, Share};
use super::{IpvlanMode, MacvlanMode, check_device, check_domain};
use crate::error::Invalid;
use crate::mac::Mac;
use crate::name::Name;

/// A network device of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// What it is on.
    pub attach: Attach,
    /// Its name inside; `eth0` and so on otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its IPv4 address, in place of one that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address, in place of one that is made of its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// Its address on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Further names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Maximum size of a packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What may go through it.
    #[serde(default)]
    pub limits: Limits,
    /// Its part of what its network may.
    #[serde(default)]
    pub share: Share,
}

/// What a device is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// The network of this name; that of the host's default when it is empty.
    Network(Option<Name>),
    /// A bridge of the host, as it is.
    Bridge(String),
    /// A device on this one of the host.
    Macvlan(String, MacvlanMode),
    /// The same with its MAC address.
    Ipvlan(String, IpvlanMode),
    /// A tagged device on this one of the host.
    Vlan(String, u16),
    /// This device of the host itself, which is given back.
    Physical(String),
    /// What the CNI configuration of this name makes.
    Cni(String),
}

impl Attach {
    /// The name of the place: the network's (`default` where none is named), or `@` and what it is on.
    #[must_use]
    pub fn place(&self, default: &str) -> String {
        match self {
            Self::Network(name) => name.as_ref().map_or(default, Name::as_str).to_owned(),
            Self::Bridge(name) => format!("@bridge-{name}"),
            Self::Macvlan(name, _) => format!("@macvlan-{name}"),
            Self::Ipvlan(name, _) => format!("@ipvlan-{name}"),
            Self::Vlan(name, id) => format!("@vlan-{name}.{id}"),
            Self::Physical(name) => format!("@physical-{name}"),
            Self::Cni(name) => format!("@cni-{name}"),
        }
    }
}

impl Nic {
    /// A device on a network with all defaults.
    #[must_use]
    pub fn on(attach: Attach) -> Self {
        Self {
            attach,
            interface: None,
            ip: None,
            ip6: None,
            mac: None,
            aliases: Vec::new(),
            mtu: None,
            limits: Limits::default(),
            share: Share::default(),
        }
    }

    fn option(&mut self, whole: &str, key: &str, value: &str) -> Result<(), Invalid> {
        let refuse = |reason: &str| Invalid::new("network", whole, reason);
        match key {
            "ip" => self.ip = Some(value.parse().map_err(|_| refuse("ip is no IPv4 address"))?),
            "ip6" => self.ip6 = Some(value.parse().map_err(|_| refuse("ip6 is no IPv6 address"))?),
            "mac" | "mac-address" | "mac_address" => self.mac = Some(mac(value)?),
            "alias" => {
                check_domain(value)?;
                self.aliases.push(value.to_owned());
            }
            "interface" | "interface-name" | "interface_name" => {
                check_device(value)?;
                self.interface = Some(value.to_owned());
            }
            "mtu" => self.mtu = Some(mtu(value)?),
            "egress" => self.limits.egress = Some(value.parse()?),
            "ingress" => self.limits.ingress = Some(value.parse()?),
            "egress-packets" => self.limits.egress_packets = Some(value.parse()?),
            "ingress-packets" => self.limits.ingress_packets = Some(value.parse()?),
            "guarantee" => self.share.guarantee = Some(value.parse()?),
            "priority" => self.share.priority = Some(Share::priority(value)?),
            "mode" => self.mode(whole, value)?,
            _ => {
                return Err(refuse(&format!("there is no option {key}")).hint(
                    "options are: ip ip6 mac alias interface mtu egress ingress egress-packets ingress-packets guarantee priority mode",
                ));
            }
        }
        Ok(())
    }

    fn mode(&mut self, whole: &str, value: &str) -> Result<(), Invalid> {
        match &mut self.attach {
            Attach::Macvlan(_, mode) => *mode = value.parse()?,
            Attach::Ipvlan(_, mode) => *mode = value.parse()?,
            Attach::Network(_) | Attach::Bridge(_) | Attach::Vlan(..) | Attach::Physical(_) | Attach::Cni(_) => {
                return Err(Invalid::new("network", whole, "only macvlan: and ipvlan: have a mode"));
            }
        }
        Ok(())
    }
}

/// A MAC address that a device may have.
pub(crate) fn mac(text: &str) -> Result<Mac, Invalid> {
    let mac: Mac = text.parse()?;
    if mac.is_unicast() { Ok(mac) } else { Err(Invalid::new("MAC address", text, "it is not that of one device")) }
}

/// A size of packets that IPv4 can live with.
///
/// # Errors
/// Why it is refused.
pub fn mtu(text: &str) -> Result<u32, Invalid> {
    let number = text.parse().ok().filter(|number| (68..=65_535).contains(number));
    number.ok_or_else(|| Invalid::new("MTU", text, "it must be 68 to 65535"))
}

impl FromStr for Nic {
    type Err = Invalid;

    /// `NAME`, `bridge:BR`, `macvlan:IF`, `ipvlan:IF`, `vlan:IF.ID`, `physical:IF` or `cni:NAME`; then options with commas
    /// between: docker's `name=NAME,ip=…` and podman's `NAME:ip=…` are the same.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (head, options) = split(text);
        let mut nic = Self::on(attach(text, head)?);
        for option in options {
            let (key, value) = option.split_once('=').ok_or_else(|| {
                Invalid::new("network", text, format!("{option:?} has no =")).hint("write NAME,ip=10.88.0.9,alias=db")
            })?;
            if key == "name" && nic.attach == Attach::Network(None) {
                nic.attach = attach(text, value)?;
            } else {
                nic.option(text, key, value)?;
            }
        }
        Ok(nic)
    }
}

/// What it is on, and the options.
fn split(text: &str) -> (&str, Vec<&str>) {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let rest = parts.filter(|part| !part.is_empty());
    match first.split_once(':') {
        Some((name, option)) if option.contains('=') => (name, std::iter::once(option).chain(rest).collect()),
        None if first.contains('=') => ("", std::iter::once(first).chain(rest).collect()),
        _ => (first, rest.collect()),
    }
}

fn attach(whole: &str, text: &str) -> Result<Attach, Invalid> {
    let device = |name: &str| check_device(name).map(|()| name.to_owned());
    Ok(match text.split_once(':') {
        None if text.is_empty() => Attach::Network(None),
        None => Attach::Network(Some(text.parse()?)),
        Some(("bridge", name)) => Attach::Bridge(device(name)?),
        Some(("macvlan", name)) => Attach::Macvlan(device(name)?, MacvlanMode::default()),
        Some(("ipvlan", name)) => Attach::Ipvlan(device(name)?, IpvlanMode::default()),
        Some(("physical" | "phys", name)) => Attach::Physical(device(name)?),
        Some(("vlan", name)) => {
            let (parent, id) = name.rsplit_once('.').unwrap_or((name, ""));
            let id = id.parse().ok().filter(|id| (1..=4094).contains(id));
            let id =
                id.ok_or_else(|| Invalid::new("network", whole, "a VLAN is 1 to 4094").hint("write vlan:eth0.5"))?;
            Attach::Vlan(device(parent)?, id)
        }
        Some(("cni", name)) => Attach::Cni(name.parse::<Name>()?.into()),
        Some(_) => {
            return Err(Invalid::new("network", whole, "unknown kind").hint(
                "write NAME, none, host, container:NAME, ns:PATH, bridge:, macvlan:, ipvlan:, vlan:, physical: or cni:",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_docker_and_podman_have_them() {
        let nic: Nic = "back,ip=10.1.2.3,alias=db,alias=sql,mac=02:00:00:00:00:09,egress=10mbit".parse().unwrap();
        assert_eq!(
            (&nic.attach, nic.ip),
            (&Attach::Network(Some("back".parse().unwrap())), Some([10, 1, 2, 3].into()))
        );
        assert_eq!((nic.aliases.len(), nic.limits.egress.unwrap().0), (2, 10_000_000));
        assert_eq!("back:ip=10.1.2.3,interface_name=lan0".parse::<Nic>().unwrap().interface.unwrap(), "lan0");
        assert_eq!("name=back,mtu=1400".parse::<Nic>().unwrap().mtu, Some(1400));
        assert_eq!("vlan:eth0.7".parse::<Nic>().unwrap().attach, Attach::Vlan("eth0".into(), 7));
        assert_eq!(
            "macvlan:eth0,mode=vepa".parse::<Nic>().unwrap().attach,
            Attach::Macvlan("eth0".into(), MacvlanMode::Vepa)
        );
        for bad in [
            "a/b",
            "frob:x",
            "physical:",
            "vlan:eth0",
            "vlan:eth0.4095",
            "back,ip=::1",
            "back,mac=01:00:00:00:00:00",
            "back,frob=1",
            "back,ip",
            "macvlan:../x",
            "cni:../x",
            "back,mode=l2",
            "back,mtu=1",
            "back,priority=8",
            "back,guarantee=fast",
        ] {
            assert!(bad.parse::<Nic>().is_err(), "{bad}");
        }
    }
}
