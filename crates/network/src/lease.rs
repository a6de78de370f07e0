// SPDX-License-Identifier: Apache-2.0
//! Leases: the addresses that a container has on a network, from its first start to its removal.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use spec::network::{Network, Nic};

use crate::error::{Error, Kind, Result};
use crate::mac::Mac;
use crate::place::{self, Networks};
use crate::subnet;

/// What one container has on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its address on the link.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// `NAME.leases.json`. Format: docs/formats/network.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leases {
    version: u32,
    /// The IPv4 address that was given last.
    last: Option<Ipv4Addr>,
    /// By the container's id.
    leases: BTreeMap<String, Lease>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { version: 1, last: None, leases: BTreeMap::new() }
    }
}

impl Leases {
    fn settle(&mut self, network: &Network, container: &str, nic: &Nic) -> Result<Lease> {
        let before = self.leases.remove(container);
        let mac = nic.mac.or(before.map(|lease| lease.mac)).unwrap_or_else(|| mac_of(container, network.name.as_str()));
        if let Some((other, _)) = self.leases.iter().find(|(_, lease)| lease.mac == mac) {
            return Err(taken(network, &mac.to_string(), other));
        }
        let v4 = self.v4(network, nic, before.and_then(|lease| lease.v4))?;
        let v6 = self.v6(network, nic, mac)?;
        let lease = Lease { mac, v4, v6 };
        self.leases.insert(container.to_owned(), lease);
        Ok(lease)
    }

    fn v4(&mut self, network: &Network, nic: &Nic, before: Option<Ipv4Addr>) -> Result<Option<Ipv4Addr>> {
        let Some(subnet) = network.v4() else {
            return match nic.ip {
                Some(ip) => {
                    Err(Error::new(Kind::Invalid, format!("network {} has no IPv4 subnet for {ip}", network.name)))
                }
                None => Ok(None),
            };
        };
        let owner = |ip: Ipv4Addr| self.leases.iter().find(|(_, lease)| lease.v4 == Some(ip)).map(|(owner, _)| owner);
        if let Some(ip) = nic.ip {
            if !subnet::is_usable(subnet, &IpAddr::V4(ip)) {
                let message = format!("address {ip} is none of network {} ({})", network.name, subnet.net);
                return Err(Error::new(Kind::Invalid, message));
            }
            return match owner(ip) {
                Some(other) => Err(taken(network, &ip.to_string(), other)),
                None => Ok(Some(ip)),
            };
        }
        if let Some(ip) = before.filter(|ip| subnet::is_usable(subnet, &IpAddr::V4(*ip)) && owner(*ip).is_none()) {
            return Ok(Some(ip));
        }
        let taken: std::collections::BTreeSet<Ipv4Addr> = self.leases.values().filter_map(|lease| lease.v4).collect();
        let free = subnet::free_address(subnet, &|ip| taken.contains(&ip), self.last).ok_or_else(|| {
            Error::new(Kind::Conflict, format!("network {} has no address left in {}", network.name, subnet.net))
                .hint("remove containers that are not needed, or make a larger network")
        })?;
        self.last = Some(free);
        Ok(Some(free))
    }

    /// That which the device would make for itself of a router's advertisement, so that both ways give the same.
    fn v6(&self, network: &Network, nic: &Nic, mac: Mac) -> Result<Option<Ipv6Addr>> {
        let wanted = match (network.v6(), nic.ip6) {
            (None, Some(ip)) => {
                return Err(Error::new(Kind::Invalid, format!("network {} has no IPv6 subnet for {ip}", network.name)));
            }
            (None, None) => return Ok(None),
            (Some(subnet), Some(ip)) if !subnet::is_usable(subnet, &IpAddr::V6(ip)) => {
                let message = format!("address {ip} is none of network {} ({})", network.name, subnet.net);
                return Err(Error::new(Kind::Invalid, message));
            }
            (Some(_), Some(ip)) => ip,
            (Some(subnet), None) => {
                let IpNet::V6(net) = subnet.net else { return Ok(None) };
                if net.prefix_len() > 64 { narrow(net, mac) } else { mac.eui64(net.network()) }
            }
        };
        match self.leases.iter().find(|(_, lease)| lease.v6 == Some(wanted)) {
            Some((other, _)) => Err(taken(network, &wanted.to_string(), other)),
            None => Ok(Some(wanted)),
        }
    }
}

/// An address of a subnet that is too narrow for an EUI-64: the MAC's lowest bits, away from the ends.
fn narrow(net: ipnet::Ipv6Net, mac: Mac) -> Ipv6Addr {
    let room = u128::from(net.hostmask());
    let low = mac.0.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)) & room;
    Ipv6Addr::from(u128::from(net.network()) | low.clamp(2, room.saturating_sub(1)))
}

fn taken(network: &Network, what: &str, owner: &str) -> Error {
    let owner = owner.get(..12).unwrap_or(owner);
    Error::new(Kind::Conflict, format!("{what} on network {} is taken by container {owner}", network.name))
}

/// The MAC address of a container on a network: the same each time.
pub(crate) fn mac_of(container: &str, network: &str) -> Mac {
    let [a, b, c, d] = place::hash(format!("{container}/{network}").as_bytes()).to_be_bytes();
    let [e, f, ..] = place::hash(format!("{network}/{container}").as_bytes()).to_be_bytes();
    Mac::local([e, a, b, c, d, f])
}

impl Networks {
    fn leases(&self, network: &Network) -> Result<Leases> {
        // One that can not be read was cut off by a crash of the host: addresses are given anew, which beats no start at all.
        Ok(place::read(&self.root.join(format!("{}.leases.json", network.name)))
            .unwrap_or_default()
            .unwrap_or_default())
    }

    /// The lease of a container on a network, made or changed as its device wants it. The caller holds the lock.
    pub(crate) fn lease(&self, network: &Network, container: &str, nic: &Nic) -> Result<Lease> {
        let mut leases = self.leases(network)?;
        let before = leases.leases.get(container).copied();
        let lease = leases.settle(network, container, nic)?;
        if before != Some(lease) {
            place::write(&self.root, &format!("{}.leases.json", network.name), &leases, false)?;
        }
        Ok(lease)
    }

    /// The leases of a network, by container id.
    ///
    /// # Errors
    /// When they can not be read.
    pub fn leases_of(&self, network: &Network) -> Result<BTreeMap<String, Lease>> {
        Ok(self.leases(network)?.leases)
    }

    /// Lets go of what a container has on this network; on all of them without one.
    ///
    /// # Errors
    /// When a file can not be written.
    pub fn release(&self, container: &str, network: Option<&Network>) -> Result<()> {
        if !self.root.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let all = match network {
            Some(one) => vec![one.clone()],
            None => self.list()?,
        };
        for network in all {
            let mut leases = self.leases(&network)?;
            if leases.leases.remove(container).is_some() {
                place::write(&self.root, &format!("{}.leases.json", network.name), &leases, false)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::network::{Attach, Driver, Limits, Subnet};

    fn network() -> Network {
        let subnet = |net: &str, gateway: &str| Subnet {
            net: net.parse().unwrap(),
            gateway: Some(gateway.parse().unwrap()),
            range: None,
        };
        Network {
            version: 1,
            name: "net".parse().unwrap(),
            created: String::new(),
            driver: Driver::Bridge { existing: false, vxlan: None },
            device: "br".into(),
            subnets: vec![subnet("10.0.0.0/29", "10.0.0.1"), subnet("fd00::/64", "fd00::1")],
            internal: false,
            isolated: false,
            nat: true,
            dns: true,
            dhcp: true,
            domain: "cella".into(),
            servers: Vec::new(),
            mtu: None,
            limits: Limits::default(),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_lease_stays_and_an_exhausted_network_says_so() {
        let (network, nic) = (network(), Nic::on(Attach::Network(None)));
        let mut leases = Leases::default();
        let first = leases.settle(&network, "a", &nic).unwrap();
        assert_eq!(first.v4, Some([10, 0, 0, 2].into()));
        assert_eq!(first.v6.unwrap(), first.mac.eui64("fd00::".parse().unwrap()));
        for name in ["b", "c", "d", "e"] {
            leases.settle(&network, name, &nic).unwrap();
        }
        assert_eq!(leases.settle(&network, "a", &nic).unwrap(), first);
        let error = leases.settle(&network, "f", &nic).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (Kind::Conflict, "network net has no address left in 10.0.0.0/29")
        );
        leases.leases.remove("b");
        assert_eq!(leases.settle(&network, "f", &nic).unwrap().v4, Some([10, 0, 0, 3].into()));
    }

    #[test]
    fn what_is_asked_for_is_given_or_refused() {
        let network = network();
        let mut leases = Leases::default();
        let nic = |text: &str| text.parse::<Nic>().unwrap();
        let asked = leases.settle(&network, "a", &nic("net,ip=10.0.0.6,ip6=fd00::9,mac=02:00:00:00:00:01")).unwrap();
        assert_eq!((asked.v4, asked.v6), (Some([10, 0, 0, 6].into()), Some("fd00::9".parse().unwrap())));
        for (text, kind) in [
            ("net,ip=10.0.0.6", Kind::Conflict),
            ("net,ip6=fd00::9", Kind::Conflict),
            ("net,mac=02:00:00:00:00:01", Kind::Conflict),
            ("net,ip=10.0.0.1", Kind::Invalid),
            ("net,ip=10.0.0.7", Kind::Invalid),
            ("net,ip=10.1.0.2", Kind::Invalid),
            ("net,ip6=fd01::2", Kind::Invalid),
        ] {
            assert_eq!(leases.settle(&network, "b", &nic(text)).unwrap_err().kind, kind, "{text}");
        }
    }
}
