// SPDX-License-Identifier: Apache-2.0
//! The helper of a managed network: names (DNS) and addresses (DHCP, router advertisements) for its containers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::mac::Mac;

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
