// SPDX-License-Identifier: Apache-2.0
//! The packet filter: tables of ours in nf_tables, with what each network and each device of a container may do.
//!
//! The rules are always the same; networks, devices and published ports are elements of sets and maps. So a container
//! that comes or goes is a transaction of a few elements, whatever else there is, and no packet is compared with a list.
//!
//! What holds (the rules are in `rules.rs`, the checks of sources in `source.rs`):
//! - A container speaks as itself only: MAC, IPv4, IPv6, ARP and neighbour discovery are checked first, before anything
//!   else sees the packet; it is no router and no DHCP server for others.
//! - Networks do not reach each other, but for published ports. An `internal` one reaches nothing outside and is not reached.
//! - As with Docker, a container reaches what the host offers on its addresses, but never through 127.0.0.0/8. From an
//!   `internal` network only ping is answered, and if it `serves`, DNS and DHCP.
//! - Who is outside reaches published ports of a `nat` network, and nothing else of it, whatever its routes say.
//!
//! What the owner of a bridge adds so that all of this works: forwarding; `route_localnet` for ports published on 127.0.0.1,
//! and for those on ::1 a route `local ::1 dev BRIDGE table local metric 4096`, which only helps while
//! `bridge-nf-call-ip6tables` is 0 (see [`Firewall::without_v6_loopback`]); `hairpin` on its ports where `bridge-nf-call-iptables` is 1; and `no_linklocal_learn`,
//! without which a frame of LLDP, for which there is no hook, may tell the bridge a false place of a MAC.
//!
//! An accept of ours is not the last word: a foreign chain that drops what it does not know (firewalld, ufw, Docker's
//! `FORWARD`) must be told by its owner to let our devices through. A drop of ours is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::mac::Mac;

mod elements;
mod rules;
mod source;
mod transactions;

pub use transactions::{Error, Firewall, Traffic};

/// A network whose packets are forwarded and filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// The host's device: the bridge, or for routed containers the host's end of the pair.
    pub device: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Packets that leave it get the host's address.
    pub nat: bool,
    /// Nothing leaves it or comes into it from elsewhere; the host itself may speak to it.
    pub internal: bool,
    /// Its containers do not reach each other by the host's routes; its ports say the same of the bridge.
    pub isolated_ports: bool,
    /// The host answers DNS (53), and DHCP (67, 547) here, even if it is internal.
    pub serves: bool,
}

/// A container's device on a network: what may come from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The host's end.
    pub device: String,
    /// The bridge it is a port of; none when it is routed.
    pub bridge: Option<String>,
    /// Its only address on the link.
    pub mac: Mac,
    /// The only IPv4 addresses that it may use.
    pub v4: Vec<Ipv4Addr>,
    /// The only IPv6 addresses that it may use besides the link-local one of `mac`.
    pub v6: Vec<Ipv6Addr>,
    /// Its addresses are not ours to know: only its MAC address is checked. For ports of bridges.
    pub any_address: bool,
    /// It does not reach other such ports of its bridge: its network's `isolated_ports`.
    pub isolated: bool,
    /// The class that it has in the queues of its bridge; for ports of bridges.
    pub class: Option<u32>,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that leads to one of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The address of the host; none or an unspecified one: each of it of the family of `to`.
    pub host: Option<IpAddr>,
    /// The port of the host.
    pub host_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The container's address.
    pub to: IpAddr,
    /// The container's port.
    pub to_port: u16,
}

/// All that the table holds, or a part of it that is to come or to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Networks.
    pub nets: Vec<Net>,
    /// Devices.
    pub ports: Vec<Port>,
    /// Published ports.
    pub publications: Vec<Publication>,
}
