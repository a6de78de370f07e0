// SPDX-License-Identifier: Apache-2.0
//! Changes of a network device, all of one call in one message; the flags of a bridge's port.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{
    HEADER, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_INFO_SLAVE_DATA, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, IFLA_NET_NS_FD, Mac, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, check_name, get, header,
};
use crate::error::{Errno, Error, Result};
use crate::netlink::{Attributes, Message, Socket};

const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_EUI64: u8 = 0;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET6: u16 = 10;

/// What a device becomes; what is none stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Up or down?
    pub up: Option<bool>,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its name; with `namespace` the name it has there.
    pub name: Option<&'a str>,
    /// The bridge that it is a port of. Its port flags begin anew with another.
    pub master: Option<Master>,
    /// Flags of the port that it is already: those come before all else, so that a port is never up without them.
    pub port: Option<Port>,
    /// The network namespace that it moves to. It loses its addresses and routes and is down there, unless `up` is told.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// What a device is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Master {
    /// Of this bridge.
    Of(u32),
    /// Of none.
    Nobody,
}

/// The flags of a bridge's port; what is none stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Port {
    /// It reaches only ports that are not isolated.
    pub isolated: Option<bool>,
    /// Packets may leave by the port that they came in by.
    pub hairpin: Option<bool>,
    /// The bridge learns addresses from its packets.
    pub learning: Option<bool>,
    /// It gets packets to unknown addresses.
    pub flood: Option<bool>,
    /// It gets multicast packets that nobody asked for.
    pub multicast_flood: Option<bool>,
    /// It gets broadcasts.
    pub broadcast_flood: Option<bool>,
    /// A packet of the spanning tree protocol from here shuts the port (BPDU guard).
    pub bpdu_guard: Option<bool>,
    /// It can never lead to the root of the spanning tree.
    pub root_block: Option<bool>,
    /// The bridge answers ARP and neighbour discovery in the place of others, from its entries.
    pub neighbour_suppress: Option<bool>,
    /// Only packets from Ethernet addresses that the bridge has an entry for come in.
    pub locked: Option<bool>,
}

impl Port {
    /// Each flag with its number among the attributes (`IFLA_BRPORT_*`).
    fn table(&mut self) -> [(u16, &mut Option<bool>); 10] {
        [
            (4, &mut self.hairpin),
            (5, &mut self.bpdu_guard),
            (6, &mut self.root_block),
            (8, &mut self.learning),
            (9, &mut self.flood),
            (27, &mut self.multicast_flood),
            (30, &mut self.broadcast_flood),
            (32, &mut self.neighbour_suppress),
            (33, &mut self.isolated),
            (39, &mut self.locked),
        ]
    }
}

/// A port of a bridge takes and gives no packet any more, at once; other changes of a port wait for all processors.
///
/// # Errors
/// `EOPNOTSUPP` for a device that is no port, `EBUSY` with the spanning tree protocol.
pub fn silence(socket: &mut Socket, index: u32) -> Result<()> {
    const IFLA_BRPORT_STATE: u16 = 1;
    const IFLA_PROTINFO: u16 = 12;
    const AF_BRIDGE: u8 = 7;
    const DISABLED: u8 = 0;
    let mut head = header(index, 0, 0);
    if let Some(family) = head.first_mut() {
        *family = AF_BRIDGE;
    }
    let mut message = Message::new(RTM_SETLINK, 0, &head);
    message.nest(IFLA_PROTINFO, |port| {
        port.u8(IFLA_BRPORT_STATE, DISABLED);
    });
    socket.call(message, || format!("netlink(silence device {index})"))
}

/// Changes a device.
///
/// # Errors
/// `ENODEV` when it is not there, `EEXIST` for a name that is taken, `EINVAL` for what is no name, `EOPNOTSUPP` for port flags
/// of a device that is no port.
pub fn set(socket: &mut Socket, index: u32, change: &Change<'_>) -> Result<()> {
    // Number 0 would be read as "the device of this name" or "all of group 0".
    if index == 0 {
        return Err(Error::new("netlink(change device 0)", Errno::NODEV));
    }
    let (state, changed) = change.up.map_or((0, 0), |up| (if up { IFF_UP } else { 0 }, IFF_UP));
    let mut message = Message::new(RTM_NEWLINK, 0, &header(index, state, changed));
    if let Some(name) = change.name {
        check_name(name)?;
        message.text(IFLA_IFNAME, name);
    }
    if let Some(mac) = change.mac {
        message.put(IFLA_ADDRESS, &mac);
    }
    if let Some(mtu) = change.mtu {
        message.u32(IFLA_MTU, mtu);
    }
    if let Some(master) = change.master {
        let number = if let Master::Of(number) = master { number } else { 0 };
        message.u32(IFLA_MASTER, number);
    }
    if let Some(namespace) = change.namespace {
        message.put(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    }
    if let Some(mut port) = change.port {
        message.nest(IFLA_LINKINFO, |info| {
            info.nest(IFLA_INFO_SLAVE_DATA, |data| {
                for (kind, flag) in port.table() {
                    flag.map(|flag| data.u8(kind, flag.into()));
                }
            });
        });
    }
    socket.call(message, || format!("netlink(change device {index})"))
}

/// The flags of a bridge's port; none when the device is no port, or not there.
///
/// # Errors
/// The kernel's.
pub fn port(socket: &mut Socket, index: u32) -> Result<Option<Port>> {
    let message = Message::new(RTM_GETLINK, 0, &header(index, 0, 0));
    let read = |attributes: Attributes<'_>| {
        let data = Attributes::of(attributes.nested(IFLA_LINKINFO).get(IFLA_INFO_SLAVE_DATA)?);
        let mut port = Port::default();
        for (kind, flag) in port.table() {
            *flag = data.get_u8(kind).map(|value| value != 0);
        }
        Some(port)
    };
    let name = || format!("netlink(find device {index})");
    Ok(get(socket, message, name, |one| read(one.attributes(HEADER)))?.flatten())
}

/// Does the device give itself a link-local IPv6 address when it comes up? The port of a bridge needs none.
///
/// # Errors
/// `EAFNOSUPPORT` when there is no IPv6, `ENODEV` when there is no such device.
pub fn set_link_local(socket: &mut Socket, index: u32, on: bool) -> Result<()> {
    let mode = if on { IN6_ADDR_GEN_MODE_EUI64 } else { IN6_ADDR_GEN_MODE_NONE };
    let mut message = Message::new(RTM_NEWLINK, 0, &header(index, 0, 0));
    message.nest(IFLA_AF_SPEC, |families| {
        families.nest(AF_INET6, |settings| {
            settings.u8(IFLA_INET6_ADDR_GEN_MODE, mode);
        });
    });
    socket.call(message, || format!("netlink(link-local address of device {index})"))
}
