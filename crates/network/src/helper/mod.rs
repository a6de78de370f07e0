// SPDX-License-Identifier: Apache-2.0
//! The helper of a managed network: names (DNS) and addresses (DHCP, router advertisements) for its containers.
//!
//! One process with one thread per network. What it is asked is decided by pure functions, bytes in and bytes out
//! ([`dns`], [`dhcp4`], [`dhcp6`], [`advert`]) with the [`names`] as they are now; [`Helper`] has the sockets and the loop.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::mac::Mac;

pub mod advert;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
mod files;
mod forward;
mod limit;
mod message;
pub mod names;
mod serve;
mod sockets;
mod store;
mod stream;

pub use files::{remove_endpoint, write_config, write_endpoint};
pub use names::Names;
pub use serve::Helper;

/// What a helper is told: `helper.json` in the network's directory below `/run/cella/networks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The network's name.
    pub network: String,
    /// The bridge.
    pub bridge: String,
    /// Its IPv4 address and prefix length.
    pub gateway4: Option<(Ipv4Addr, u8)>,
    /// Its IPv6 address and prefix length.
    pub gateway6: Option<(Ipv6Addr, u8)>,
    /// Names are answered.
    pub dns: bool,
    /// The port where they are.
    #[serde(default = "dns_port")]
    pub port: u16,
    /// DHCP and router advertisements are answered.
    pub dhcp: bool,
    /// The domain of the containers' names, without dots around.
    pub domain: String,
    /// Nothing beyond the network is reachable: no default route is announced, no query is forwarded.
    pub internal: bool,
    /// Who is asked about other names; none for an internal network.
    pub upstream: Vec<SocketAddr>,
    /// The name servers that DHCP tells, where they are not the helper itself.
    pub servers: Vec<IpAddr>,
    /// Maximum size of a packet.
    pub mtu: u32,
}

/// Where the world's resolvers ask.
#[must_use]
pub const fn dns_port() -> u16 {
    53
}

impl Config {
    /// The IPv4 name servers that DHCP tells.
    fn servers4(&self) -> Vec<Ipv4Addr> {
        let told = self.servers.iter().filter_map(|server| match server {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let own = self.gateway4.map(|(address, _)| address).filter(|_| self.answers_names());
        if self.servers.is_empty() { own.into_iter().collect() } else { told.take(MOST_SERVERS).collect() }
    }

    /// The IPv6 name servers that DHCP and router advertisements tell.
    fn servers6(&self) -> Vec<Ipv6Addr> {
        let told = self.servers.iter().filter_map(|server| match server {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        });
        let own = self.gateway6.map(|(address, _)| address).filter(|_| self.answers_names());
        if self.servers.is_empty() { own.into_iter().collect() } else { told.take(MOST_SERVERS).collect() }
    }

    /// Do clients find us where they look? Neither DHCP nor `resolv.conf` can tell a port.
    fn answers_names(&self) -> bool {
        self.dns && self.port == dns_port()
    }
}

/// No resolver asks more, and packets have an end.
const MOST_SERVERS: usize = 8;

/// A container's device on the network: one file below `endpoints/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's id: the same on each network it is on.
    pub container: String,
    /// Its name and aliases on this network.
    pub names: Vec<String>,
    /// Its address on the link.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// The endpoints of every network by the network's name, as a helper sees them.
pub type Endpoints = BTreeMap<String, Vec<Endpoint>>;

#[cfg(test)]
mod tests;
