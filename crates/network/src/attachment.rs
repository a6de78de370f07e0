// SPDX-License-Identifier: Apache-2.0
//! A container's devices, resolved: which network, which addresses, which names on both sides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use spec::network::{Attach, Driver, Network, Nic, Publish};

use crate::error::{Doing, Error, Kind, Result};
use crate::lease;
use crate::mac::Mac;
use crate::place::Networks;

/// Who is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Full id.
    pub id: String,
    /// Its names on every network: its name, its host name, the beginning of its id.
    pub names: Vec<String>,
}

/// A device, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Which of the container's devices.
    pub index: usize,
    /// As it was asked for.
    pub nic: Nic,
    /// The network, unless it is on something of the host directly.
    pub network: Option<Network>,
    /// The name of its place: the network's, or `@` and what it is on.
    pub place: String,
    /// The host's end, where there is one.
    pub device: String,
    /// Its name inside.
    pub interface: String,
    /// Its address on the link.
    pub mac: Mac,
    /// Its IPv4 address and prefix length.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// Its IPv6 address and prefix length.
    pub v6: Option<(Ipv6Addr, u8)>,
    /// The routers that lead everywhere, when it is the first that has one of that family.
    pub routers: Vec<IpAddr>,
    /// Maximum size of a packet.
    pub mtu: Option<u32>,
}

impl Attachment {
    /// The address of the family that goes with `ip`.
    #[must_use]
    pub fn address_like(&self, ip: Option<IpAddr>) -> Vec<IpAddr> {
        let own = [self.v4.map(|(ip, _)| IpAddr::V4(ip)), self.v6.map(|(ip, _)| IpAddr::V6(ip))];
        own.into_iter().flatten().filter(|own| ip.is_none_or(|ip| ip.is_ipv4() == own.is_ipv4())).collect()
    }
}

impl Networks {
    /// Resolves devices, the first of them number `first`; leases are made or found. The default network is made when one
    /// wants it. What is written down is only leases.
    ///
    /// # Errors
    /// The network that is not there, the address that is taken, two devices on one network.
    pub fn resolve(&self, owner: &Owner, nics: &[Nic], first: usize, routed: [bool; 2]) -> Result<Vec<Attachment>> {
        let mut list: Vec<Attachment> = Vec::new();
        let mut routed = routed;
        for (index, nic) in (first..).zip(nics) {
            let one = self.resolve_one(owner, nic, index, &mut routed)?;
            if list.iter().any(|other| other.place == one.place || other.interface == one.interface) {
                let message = format!("two devices of one container are on {}, or called {}", one.place, one.interface);
                return Err(Error::new(Kind::Invalid, message));
            }
            list.push(one);
        }
        Ok(list)
    }

    fn resolve_one(&self, owner: &Owner, nic: &Nic, index: usize, routed: &mut [bool; 2]) -> Result<Attachment> {
        let network = match &nic.attach {
            Attach::Network(Some(name)) if name.as_str() != crate::DEFAULT => Some(self.get(name)?),
            Attach::Network(_) => Some(self.default()?),
            _ => None,
        };
        let place = nic.attach.place(crate::DEFAULT);
        let lease = match &network {
            Some(network) => {
                let _lock = self.lock()?;
                Some(self.lease(network, &owner.id, nic).doing(|| format!("join network {}", network.name))?)
            }
            None if nic.ip.is_some() || nic.ip6.is_some() => {
                let message = format!("an address on {place} needs a network with a subnet");
                return Err(Error::new(Kind::Invalid, message).hint("cella network create --subnet"));
            }
            None => None,
        };
        let mac = lease.map(|lease| lease.mac).or(nic.mac).unwrap_or_else(|| lease::mac_of(&owner.id, &place));
        let own_name = match &nic.attach {
            Attach::Physical(name) => Some(name.clone()),
            _ => None,
        };
        let interface = nic.interface.clone().or(own_name).unwrap_or_else(|| format!("eth{index}"));
        let length = |v6: bool| {
            let subnet = network.as_ref().and_then(|network| if v6 { network.v6() } else { network.v4() });
            subnet.map_or(0, |subnet| subnet.net.prefix_len())
        };
        let (v4_length, v6_length) = (length(false), length(true));
        Ok(Attachment {
            index,
            mtu: nic.mtu.or(network.as_ref().and_then(|network| network.mtu)),
            nic: nic.clone(),
            device: format!("v{}.{index}", owner.id.get(..8).unwrap_or(&owner.id)),
            routers: network.as_ref().map(|network| routers(network, routed)).unwrap_or_default(),
            network,
            place,
            interface,
            mac,
            v4: lease.and_then(|lease| lease.v4).map(|ip| (ip, v4_length)),
            v6: lease.and_then(|lease| lease.v6).map(|ip| (ip, v6_length)),
        })
    }
}

/// The routers of a network for those families that no device before has one of.
pub(crate) fn routers(network: &Network, routed: &mut [bool; 2]) -> Vec<IpAddr> {
    if network.internal {
        return Vec::new();
    }
    let mut list = Vec::new();
    for subnet in &network.subnets {
        let six = usize::from(matches!(subnet.net, IpNet::V6(_)));
        let gateway = match network.driver {
            Driver::Routed => Some(routed_gateway(six == 1)),
            _ => subnet.gateway,
        };
        if let (Some(gateway), Some(done)) = (gateway, routed.get_mut(six))
            && !std::mem::replace(done, true)
        {
            list.push(gateway);
        }
    }
    list
}

/// The address that the host answers for on a routed pair: of the link only.
pub(crate) fn routed_gateway(six: bool) -> IpAddr {
    if six { IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)) } else { IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)) }
}

/// The ports that are published, with those that the image exposes when all are.
#[must_use]
pub fn all_ports(publishes: &[Publish], exposed: &[(u16, spec::network::Protocol)]) -> Vec<Publish> {
    let mut list = publishes.to_vec();
    for (port, protocol) in exposed {
        if !list.iter().any(|one| one.container == *port && one.protocol == *protocol) {
            list.push(Publish { address: None, host: 0, container: *port, protocol: *protocol });
        }
    }
    list
}
