// SPDX-License-Identifier: Apache-2.0
//! IP addresses of network devices: add, list, delete (rtnetlink(7)), in the network namespace of the socket.

use std::net::{IpAddr, Ipv4Addr};

use crate::error::Result;
use crate::netlink::{Message, Received, Socket, flags};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

const IFA_F_NODAD: u32 = 0x02;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_PERMANENT: u32 = 0x80;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// `struct ifaddrmsg`.
const HEADER: usize = 8;

/// How far an address or a route reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Universe,
    /// This site.
    Site,
    /// This link.
    Link,
    /// This host.
    Host,
    /// Nowhere.
    Nowhere,
}

impl Scope {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Universe => 0,
            Self::Site => 200,
            Self::Link => 253,
            Self::Host => 254,
            Self::Nowhere => 255,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            200 => Self::Site,
            253 => Self::Link,
            254 => Self::Host,
            255 => Self::Nowhere,
            _ => Self::Universe,
        }
    }
}

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The number of the device.
    pub device: u32,
    /// The address.
    pub ip: IpAddr,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// Where broadcasts of an IPv4 network go to.
    pub broadcast: Option<Ipv4Addr>,
    /// How far it reaches.
    pub scope: Scope,
    /// Does it bring a route to its network with it?
    pub prefix_route: bool,
    /// Has it no end of its own? Addresses that routers or DHCP gave have one. Not heeded by [`add`].
    pub permanent: bool,
    /// Is it still asked around whether somebody else has it? Not heeded by [`add`].
    pub tentative: bool,
}

impl Address {
    /// An address that reaches everywhere and brings a route to its network.
    #[must_use]
    pub fn new(device: u32, ip: IpAddr, prefix: u8) -> Self {
        let scope = Scope::Universe;
        Self { device, ip, prefix, broadcast: None, scope, prefix_route: true, permanent: true, tentative: false }
    }

    fn message(&self, kind: u16, more: u16) -> Message {
        let mut message = Message::new(kind, more, &header(self.ip, self.prefix, self.scope.number(), self.device));
        let bytes = octets(self.ip);
        message.put(IFA_LOCAL, &bytes).put(IFA_ADDRESS, &bytes);
        message
    }
}

/// Adds an address. IPv6 does not ask around first: the address serves at once.
///
/// # Errors
/// `EEXIST` when the device has it, `ENODEV`, `EACCES` when IPv6 is off there.
pub fn add(socket: &mut Socket, address: &Address) -> Result<()> {
    let mut message = address.message(RTM_NEWADDR, flags::CREATE | flags::EXCL);
    if let Some(broadcast) = address.broadcast {
        message.put(IFA_BROADCAST, &broadcast.octets());
    }
    let no_detection = if address.ip.is_ipv6() { IFA_F_NODAD } else { 0 };
    let no_route = if address.prefix_route { 0 } else { IFA_F_NOPREFIXROUTE };
    message.u32(IFA_FLAGS, no_detection | no_route);
    socket.call(message, || name("add", address))
}

/// Deletes an address of this device, ip and prefix.
///
/// # Errors
/// `EADDRNOTAVAIL` when it is not there.
pub fn delete(socket: &mut Socket, address: &Address) -> Result<()> {
    socket.call(address.message(RTM_DELADDR, 0), || name("delete", address))
}

/// The addresses of one device, or of all.
///
/// # Errors
/// The kernel's.
pub fn list(socket: &mut Socket, device: Option<u32>) -> Result<Vec<Address>> {
    let mut head = [0; HEADER];
    head[4..].copy_from_slice(&device.unwrap_or(0).to_ne_bytes());
    let read = |one: Received<'_>| parse(&one).filter(|found| device.is_none_or(|device| device == found.device));
    match socket.list(&Message::new(RTM_GETADDR, flags::DUMP, &head), "netlink(list addresses)", read) {
        Err(error) if error.is(crate::Errno::NODEV) => Ok(Vec::new()),
        other => other,
    }
}

fn name(what: &str, address: &Address) -> String {
    format!("netlink({what} address {}/{} of device {})", address.ip, address.prefix, address.device)
}

fn header(ip: IpAddr, prefix: u8, scope: u8, device: u32) -> [u8; HEADER] {
    let [a, b, c, d] = device.to_ne_bytes();
    [family(ip), prefix, 0, scope, a, b, c, d]
}

fn parse(one: &Received<'_>) -> Option<Address> {
    let [_, prefix, low_flags, scope, a, b, c, d] = *one.body.first_chunk::<HEADER>()?;
    if one.kind != RTM_NEWADDR {
        return None;
    }
    let attributes = one.attributes(HEADER);
    // IPv6 has no IFA_LOCAL unless there is a peer.
    let ip = attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS)).and_then(ip)?;
    let set = attributes.get_u32(IFA_FLAGS).unwrap_or(low_flags.into());
    Some(Address {
        device: u32::from_ne_bytes([a, b, c, d]),
        ip,
        prefix,
        broadcast: attributes
            .get(IFA_BROADCAST)
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes: &[u8; 4]| (*bytes).into()),
        scope: Scope::from_number(scope),
        prefix_route: set & IFA_F_NOPREFIXROUTE == 0,
        permanent: set & IFA_F_PERMANENT != 0,
        tentative: set & IFA_F_TENTATIVE != 0,
    })
}

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

/// The address as it is in messages.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The address of a message: 4 or 16 bytes.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{self, tests::Scratch};

    #[test]
    fn what_is_added_is_listed_and_can_be_deleted() {
        let Some(mut scratch) = Scratch::new("what_is_added_is_listed_and_can_be_deleted") else { return };
        let device = scratch.device("d0");
        let socket = &mut scratch.socket;
        let four = Address {
            broadcast: Some(Ipv4Addr::new(10, 9, 0, 255)),
            ..Address::new(device, "10.9.0.2".parse().unwrap(), 24)
        };
        let six = Address { prefix_route: false, ..Address::new(device, "fd00:9::2".parse().unwrap(), 64) };
        add(socket, &four).unwrap();
        add(socket, &six).unwrap();
        assert!(add(socket, &four).unwrap_err().is(crate::Errno::EXIST));
        let mut found = list(socket, Some(device)).unwrap();
        found.retain(|one| one.scope == Scope::Universe);
        assert_eq!(found, [four, six]);
        assert!(list(socket, None).unwrap().len() >= 2);
        delete(socket, &four).unwrap();
        delete(socket, &six).unwrap();
        assert!(delete(socket, &six).unwrap_err().is(crate::Errno::ADDRNOTAVAIL));
        assert!(!list(socket, Some(device)).unwrap().iter().any(|one| one.scope == Scope::Universe));
        link::delete(socket, device).unwrap();
        assert_eq!(list(socket, Some(device)).unwrap(), []);
    }

    #[test]
    fn ip_shows_the_same_address() {
        let Some(mut scratch) = Scratch::new("ip_shows_the_same_address") else { return };
        let device = scratch.device("d0");
        add(&mut scratch.socket, &Address::new(device, "fd00:9::2".parse().unwrap(), 64)).unwrap();
        let shown = scratch.run("ip", &["-o", "-6", "address", "show", "dev", "d0"]);
        assert!(shown.contains("inet6 fd00:9::2/64 scope global nodad"), "{shown}");
    }
}
