// SPDX-License-Identifier: Apache-2.0
//! Who has which Ethernet address: entries of ARP and neighbour discovery, those answered for others, and the tables by which
//! bridges and VXLAN tunnels forward (rtnetlink(7)), in the network namespace of the socket.

use std::net::IpAddr;

use crate::address::{family, ip, octets};
use crate::error::Result;
use crate::link::Mac;
use crate::netlink::{Message, Received, Socket, flags};

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;

const NUD_PERMANENT: u16 = 0x80;
const NUD_NOARP: u16 = 0x40;
const NTF_SELF: u8 = 0x02;
const NTF_MASTER: u8 = 0x04;
const NTF_PROXY: u8 = 0x08;
const AF_BRIDGE: u8 = 7;

/// `struct ndmsg`.
const HEADER: usize = 12;

/// The Ethernet address that stands for every one without an entry, in the table of a VXLAN tunnel.
pub const EVERYONE: Mac = [0; 6];

/// The Ethernet address of an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The device it is reached by.
    pub device: u32,
    /// Its IP address.
    pub ip: IpAddr,
    /// Its Ethernet address; none while it is not known.
    pub mac: Option<Mac>,
    /// Does it stay until it is deleted? Not heeded by [`set`].
    pub permanent: bool,
}

/// An entry of the table by which a bridge or a VXLAN tunnel forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The VXLAN device, or the port of a bridge.
    pub device: u32,
    /// The Ethernet address.
    pub mac: Mac,
    /// For a VXLAN device: the host that has it.
    pub remote: Option<IpAddr>,
    /// Does it stay until it is deleted? Not heeded by [`add_forward`].
    pub permanent: bool,
}

/// Tells an Ethernet address for good; what was known before is replaced.
///
/// # Errors
/// `ENODEV`, `ENETDOWN` when the device is down; `EINVAL` without an Ethernet address.
pub fn set(socket: &mut Socket, device: u32, ip: IpAddr, mac: Mac) -> Result<()> {
    let head = header(family(ip), device, NUD_PERMANENT, 0);
    let mut message = Message::new(RTM_NEWNEIGH, flags::CREATE | flags::REPLACE, &head);
    message.put(NDA_DST, &octets(ip)).put(NDA_LLADDR, &mac);
    socket.call(message, || format!("netlink(set neighbour {ip} of device {device})"))
}

/// Forgets a neighbour.
///
/// # Errors
/// `ENOENT` when there is none.
pub fn delete(socket: &mut Socket, device: u32, ip: IpAddr) -> Result<()> {
    let mut message = Message::new(RTM_DELNEIGH, 0, &header(family(ip), device, 0, 0));
    message.put(NDA_DST, &octets(ip));
    socket.call(message, || format!("netlink(delete neighbour {ip} of device {device})"))
}

/// Answers on this device for an address that is elsewhere. IPv6 needs `proxy_ndp` of the device on.
///
/// # Errors
/// `ENODEV`.
pub fn add_proxy(socket: &mut Socket, device: u32, ip: IpAddr) -> Result<()> {
    proxy(socket, Message::new(RTM_NEWNEIGH, flags::CREATE, &header(family(ip), device, 0, NTF_PROXY)), device, ip)
}

/// Answers no longer.
///
/// # Errors
/// `ENOENT` when there is no such entry.
pub fn delete_proxy(socket: &mut Socket, device: u32, ip: IpAddr) -> Result<()> {
    proxy(socket, Message::new(RTM_DELNEIGH, 0, &header(family(ip), device, 0, NTF_PROXY)), device, ip)
}

fn proxy(socket: &mut Socket, mut message: Message, device: u32, ip: IpAddr) -> Result<()> {
    message.put(NDA_DST, &octets(ip));
    socket.call(message, || format!("netlink(proxy of {ip} on device {device})"))
}

/// The neighbours of a device, whether they are known yet or not.
///
/// # Errors
/// The kernel's.
pub fn list(socket: &mut Socket, device: u32) -> Result<Vec<Neighbour>> {
    let mut message = Message::new(RTM_GETNEIGH, flags::DUMP, &header(0, 0, 0, 0));
    message.u32(NDA_IFINDEX, device);
    socket.list(&message, "netlink(list neighbours)", |one| {
        let (found, state, mac) = parse(&one)?;
        let ip = one.attributes(HEADER).get(NDA_DST).and_then(ip)?;
        let permanent = state & NUD_PERMANENT != 0;
        // NUD_NOARP: multicast, broadcast and devices that know no addresses.
        (found == device && state & NUD_NOARP == 0).then_some(Neighbour { device, ip, mac, permanent })
    })
}

/// Adds an entry. Several hosts may have the same group address or [`EVERYONE`]: each gets a copy.
///
/// # Errors
/// `EEXIST` when the entry is there, `EOPNOTSUPP` when the device has no such table.
pub fn add_forward(socket: &mut Socket, forward: &Forward) -> Result<()> {
    let group = forward.mac == EVERYONE || forward.mac[0] & 1 != 0;
    let more = if group && forward.remote.is_some() { flags::APPEND } else { flags::EXCL };
    let message = forward.message(RTM_NEWNEIGH, flags::CREATE | more);
    socket.call(message, || forward.name("add"))
}

/// Deletes an entry.
///
/// # Errors
/// `ENOENT` when it is not there.
pub fn delete_forward(socket: &mut Socket, forward: &Forward) -> Result<()> {
    socket.call(forward.message(RTM_DELNEIGH, 0), || forward.name("delete"))
}

/// The entries of a VXLAN device, or of a bridge for one of its ports.
///
/// # Errors
/// The kernel's.
pub fn forwards(socket: &mut Socket, device: u32) -> Result<Vec<Forward>> {
    let message = Message::new(RTM_GETNEIGH, flags::DUMP, &header(AF_BRIDGE, device, 0, 0));
    socket.list(&message, "netlink(list forwarding entries)", |one| {
        let (found, state, mac) = parse(&one)?;
        let remote = one.attributes(HEADER).get(NDA_DST).and_then(ip);
        let permanent = state & (NUD_PERMANENT | NUD_NOARP) != 0;
        (found == device).then_some(Forward { device, mac: mac?, remote, permanent })
    })
}

impl Forward {
    /// An entry for a port of a bridge; with `remote` for a VXLAN device.
    #[must_use]
    pub fn new(device: u32, mac: Mac, remote: Option<IpAddr>) -> Self {
        Self { device, mac, remote, permanent: true }
    }

    fn message(&self, kind: u16, more: u16) -> Message {
        // A tunnel has its table itself, a port that of its bridge, where it does not age.
        let (state, place) = match self.remote {
            Some(_) => (NUD_PERMANENT | NUD_NOARP, NTF_SELF),
            None => (NUD_NOARP, NTF_MASTER),
        };
        let mut message = Message::new(kind, more, &header(AF_BRIDGE, self.device, state, place));
        message.put(NDA_LLADDR, &self.mac);
        if let Some(remote) = self.remote {
            message.put(NDA_DST, &octets(remote));
        }
        message
    }

    fn name(&self, what: &str) -> String {
        format!("netlink({what} forwarding entry of device {})", self.device)
    }
}

fn header(family: u8, device: u32, state: u16, is: u8) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&device.to_ne_bytes());
    bytes[8..10].copy_from_slice(&state.to_ne_bytes());
    bytes[10] = is;
    bytes
}

/// Device, state and Ethernet address.
fn parse(one: &Received<'_>) -> Option<(u32, u16, Option<Mac>)> {
    let [_, _, _, _, a, b, c, d, low, high, _, _] = *one.body.first_chunk::<HEADER>()?;
    let mac = one.attributes(HEADER).get(NDA_LLADDR).and_then(|bytes| bytes.try_into().ok());
    (one.kind == RTM_NEWNEIGH).then_some((u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([low, high]), mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{self, Kind, New, Vxlan, tests::Scratch};

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn neighbours_are_told_listed_and_forgotten() {
        let Some(mut scratch) = Scratch::new("neighbours_are_told_listed_and_forgotten") else { return };
        let device = scratch.device("d0");
        let socket = &mut scratch.socket;
        for text in ["10.9.0.7", "fd00:9::7"] {
            let ip: IpAddr = text.parse().unwrap();
            set(socket, device, ip, [2, 0, 0, 0, 0, 9]).unwrap();
            set(socket, device, ip, MAC).unwrap();
            let entry = Neighbour { device, ip, mac: Some(MAC), permanent: true };
            assert!(list(socket, device).unwrap().contains(&entry));
            delete(socket, device, ip).unwrap();
            assert!(!list(socket, device).unwrap().contains(&entry));
            add_proxy(socket, device, ip).unwrap();
        }
        let shown =
            scratch.run("ip", &["neigh", "show", "proxy"]) + &scratch.run("ip", &["-6", "neigh", "show", "proxy"]);
        assert!(shown.contains("10.9.0.7 dev d0 proxy") && shown.contains("fd00:9::7 dev d0 proxy"), "{shown}");
        for text in ["10.9.0.7", "fd00:9::7"] {
            delete_proxy(&mut scratch.socket, device, text.parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_tunnel_and_a_bridge_have_tables() {
        let Some(mut scratch) = Scratch::new("a_tunnel_and_a_bridge_have_tables") else { return };
        let socket = &mut scratch.socket;
        let vxlan = Vxlan { id: 7, remote: None, local: None, device: None, port: 4789, learning: false };
        link::create(socket, &New { up: true, ..New::of("vx0", Kind::Vxlan(vxlan)) }).unwrap();
        link::create(socket, &New { up: true, ..New::of("br0", Kind::Bridge(link::Bridge::default())) }).unwrap();
        let tunnel = link::find(socket, "vx0").unwrap().unwrap().index;
        let [one, two] = ["10.1.1.1", "10.1.1.2"].map(|text| Some(text.parse().unwrap()));
        let entries = [(MAC, one), (EVERYONE, one), (EVERYONE, two)].map(|(mac, to)| Forward::new(tunnel, mac, to));
        for entry in &entries {
            add_forward(socket, entry).unwrap();
        }
        let found = forwards(socket, tunnel).unwrap();
        assert!(entries.iter().all(|entry| found.contains(entry)), "{found:?}");
        for entry in &entries {
            delete_forward(socket, entry).unwrap();
        }
        assert_eq!(forwards(socket, tunnel).unwrap(), []);
        let bridge = link::find(socket, "br0").unwrap().unwrap().index;
        let port = scratch.device("d0");
        let socket = &mut scratch.socket;
        let change = link::Change { master: Some(link::Master::Of(bridge)), ..Default::default() };
        link::set(socket, port, &change).unwrap();
        let entry = Forward::new(port, MAC, None);
        add_forward(socket, &entry).unwrap();
        assert!(add_forward(socket, &entry).unwrap_err().is(crate::Errno::EXIST));
        assert!(forwards(socket, port).unwrap().contains(&entry));
        delete_forward(socket, &entry).unwrap();
        assert!(!forwards(socket, port).unwrap().contains(&entry));
    }
}
