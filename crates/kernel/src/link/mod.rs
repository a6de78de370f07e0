// SPDX-License-Identifier: Apache-2.0
//! Network devices: list, find, make, change, delete (rtnetlink(7)), in the network namespace of the socket.

use crate::error::{Errno, Error, Result};
use crate::netlink::{Attributes, Message, Received, Socket, flags};

mod change;
mod create;
#[cfg(test)]
pub(crate) mod tests;

pub use change::{Change, Master, Port, port, set, set_link_local, silence};
pub use create::{Bridge, IpvlanMode, Kind, MacvlanMode, New, Peer, VlanProtocol, Vxlan, create};

const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_LINK_NETNSID: u16 = 37;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;

/// `struct ifinfomsg`.
const HEADER: usize = 16;

/// The longest name of a device, in bytes (`IFNAMSIZ` less the zero byte).
pub const NAME_MAX: usize = 15;

/// The address of a device on an Ethernet.
pub type Mac = [u8; 6];

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its network namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// Its Ethernet address; a tunnel of IP packets has none.
    pub mac: Option<Mac>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Was it set up?
    pub up: bool,
    /// Can it carry packets: it is up and, for a veth, so is its peer?
    pub running: bool,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// The device it stands on (macvlan, VLAN), for a veth its peer; a number of the namespace `namespace` where there is one.
    pub parent: Option<u32>,
    /// What the kernel calls its kind: `veth`, `bridge`; none for hardware and the loopback device.
    pub kind: Option<String>,
    /// The number that this namespace has for the one where `parent` is, unless it is the same.
    pub namespace: Option<u32>,
    /// What has gone through.
    pub stats: Statistics,
}

/// What has gone through a device since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Received packets that were thrown away.
    pub rx_dropped: u64,
    /// Packets to send that were thrown away.
    pub tx_dropped: u64,
    /// Broken packets of both directions.
    pub errors: u64,
}

/// May a network device have this name? 1 to 15 bytes of printable ASCII, no space, `/`, `:` or `%` (the kernel puts a number
/// in the place of `%d`); not `.`, `..`, nor `all` and `default`, which mean something else below `/proc/sys/net`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte))
        && ![".", "..", "all", "default"].contains(&name)
}

/// Refuses what is no name of a device.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::new(format!("netlink: {name:?} cannot be the name of a network device"), Errno::INVAL))
}

/// All devices of the namespace.
///
/// # Errors
/// The kernel's.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
    let message = Message::new(RTM_GETLINK, flags::DUMP, &header(0, 0, 0));
    socket.list(&message, "netlink(list devices)", |one| parse(&one))
}

/// The device of this name.
///
/// # Errors
/// `EINVAL` for what is no name; the kernel's.
pub fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    check_name(name)?;
    let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
    message.text(IFLA_IFNAME, name);
    one(socket, message, || format!("netlink(find {name:?})"))
}

/// The device of this number.
///
/// # Errors
/// The kernel's.
pub fn by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>> {
    let message = Message::new(RTM_GETLINK, 0, &header(index, 0, 0));
    one(socket, message, || format!("netlink(find device {index})"))
}

/// Deletes a device; with one end of a veth goes the other.
///
/// # Errors
/// `ENODEV` when it is not there, `EOPNOTSUPP` for hardware and the loopback device.
pub fn delete(socket: &mut Socket, index: u32) -> Result<()> {
    // Number 0 would be read as "all of group 0" by some kernels.
    if index == 0 {
        return Err(Error::new("netlink(delete device 0)", Errno::NODEV));
    }
    socket.call(Message::new(RTM_DELLINK, 0, &header(index, 0, 0)), || format!("netlink(delete device {index})"))
}

fn one(socket: &mut Socket, message: Message, name: impl FnOnce() -> String) -> Result<Option<Link>> {
    let answer = get(socket, message, name, |one| parse(&one))?;
    Ok(answer.flatten())
}

/// What `read` reads from the answer; none when there is no such device.
fn get<T>(
    socket: &mut Socket,
    message: Message,
    name: impl FnOnce() -> String,
    mut read: impl FnMut(Received<'_>) -> T,
) -> Result<Option<T>> {
    let mut found = None;
    match socket.ask(message, name, &mut |one| found = Some(read(one))) {
        Err(error) if error.is(Errno::NODEV) => Ok(None),
        other => other.map(|()| found),
    }
}

/// A `struct ifinfomsg`.
fn header(index: u32, is: u32, change: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    for (place, value) in bytes.chunks_exact_mut(4).zip([0, index, is, change]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

fn parse(one: &Received<'_>) -> Option<Link> {
    if one.kind != RTM_NEWLINK {
        return None;
    }
    let word = |at: usize| one.body.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let (index, state) = (word(4)?, word(8)?);
    let attributes = one.attributes(HEADER);
    Some(Link {
        index,
        name: attributes.get_text(IFLA_IFNAME)?,
        mac: attributes.get(IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()),
        mtu: attributes.get_u32(IFLA_MTU).unwrap_or(0),
        up: state & IFF_UP != 0,
        running: state & IFF_LOWER_UP != 0,
        master: attributes.get_u32(IFLA_MASTER),
        parent: attributes.get_u32(IFLA_LINK).filter(|parent| *parent != 0),
        kind: attributes.nested(IFLA_LINKINFO).get_text(IFLA_INFO_KIND),
        namespace: attributes.get_u32(IFLA_LINK_NETNSID),
        stats: statistics(attributes),
    })
}

/// From `struct rtnl_link_stats64`.
fn statistics(attributes: Attributes<'_>) -> Statistics {
    let bytes = attributes.get(IFLA_STATS64).unwrap_or_default();
    let number = |place: usize| {
        let field = bytes.get(place * 8..).and_then(|rest| rest.first_chunk());
        field.map_or(0, |field| u64::from_ne_bytes(*field))
    };
    Statistics {
        rx_packets: number(0),
        tx_packets: number(1),
        rx_bytes: number(2),
        tx_bytes: number(3),
        errors: number(4).saturating_add(number(5)),
        rx_dropped: number(6),
        tx_dropped: number(7),
    }
}
