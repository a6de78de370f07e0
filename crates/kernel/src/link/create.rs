// SPDX-License-Identifier: Apache-2.0
//! New network devices: one message makes a device with all its settings, and for a veth both ends.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{
    HEADER, IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, IFLA_NET_NS_FD, IFLA_TXQLEN, Mac, RTM_NEWLINK, check_name, header,
};
use crate::error::Result;
use crate::netlink::{Message, Socket, flags};

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_LOCAL6: u16 = 17;

/// A device to make: `New { mtu: Some(1400), up: true, ..New::of("web0", Kind::Ifb) }`.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind<'a>,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Its Ethernet address; by chance unless given.
    pub mac: Option<Mac>,
    /// The bridge that it becomes a port of.
    pub master: Option<u32>,
    /// The device that it stands on, which macvlan, ipvlan and VLAN need; a number of the socket's namespace.
    pub parent: Option<u32>,
    /// How many packets may wait to be sent.
    pub queue: Option<u32>,
    /// Is it set up at once? Not before a bridge port has its flags, where these protect others.
    pub up: bool,
    /// The network namespace that it is made in, unless it is that of the socket.
    pub namespace: Option<BorrowedFd<'a>>,
}

impl<'a> New<'a> {
    /// A device with the kernel's defaults, down.
    #[must_use]
    pub fn of(name: &'a str, kind: Kind<'a>) -> Self {
        let (mtu, mac, master, parent, queue) = (None, None, None, None, None);
        Self { name, kind, mtu, mac, master, parent, queue, up: false, namespace: None }
    }
}

/// The kinds of devices that have no hardware.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A switch.
    Bridge(Bridge),
    /// A cable with two ends: the device and its peer.
    Veth(Peer<'a>),
    /// Further Ethernet addresses of its parent.
    Macvlan(MacvlanMode),
    /// Further IP addresses of its parent, under the same Ethernet address.
    Ipvlan(IpvlanMode),
    /// The tagged packets of its parent.
    Vlan {
        /// The tag: 1 to 4094.
        id: u16,
        /// What kind of tag.
        protocol: VlanProtocol,
    },
    /// Ethernet over UDP (RFC 7348).
    Vxlan(Vxlan),
    /// A place where packets can wait that came in elsewhere.
    Ifb,
    /// A device without a cable.
    Dummy,
}

/// Settings of a bridge. By default it is a plain switch that forwards at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Does it heed VLAN tags?
    pub vlan_filtering: bool,
    /// Does it look for who listens to multicast, to send it to no other?
    pub multicast_snooping: bool,
    /// Does it speak the spanning tree protocol?
    pub spanning_tree: bool,
    /// How long a new port waits before it forwards; at least 2 s with the spanning tree protocol.
    pub forward_delay: Duration,
}

/// The other end of a veth. It is down: an end can only be set up when both are there.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Ethernet address; by chance unless given.
    pub mac: Option<Mac>,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
    /// The network namespace that it is made in, unless it is that of the socket.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// Who reaches whom on a parent with macvlan devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Nobody reaches another on the same parent.
    Private,
    /// They reach each other when the switch outside sends packets back.
    Vepa,
    /// They reach each other.
    Bridge,
    /// There is only one, which has the parent to itself.
    Passthru,
}

/// How far an ipvlan device does without the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanMode {
    /// The parent is a switch: broadcasts and ARP are there.
    L2,
    /// The parent routes; no broadcasts.
    L3,
    /// The same, and the packet filter of the parent's namespace sees connections.
    L3Symmetric,
}

/// What kind of tag a VLAN has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanProtocol {
    /// IEEE 802.1Q.
    Q,
    /// IEEE 802.1ad, the outer tag of two.
    Ad,
}

/// Settings of a tunnel of Ethernet packets in UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan {
    /// The number of the network: below 2^24.
    pub id: u32,
    /// Where packets go for which there is no entry: a multicast group or one host.
    pub remote: Option<IpAddr>,
    /// The address that packets come from.
    pub local: Option<IpAddr>,
    /// The device that packets leave by.
    pub device: Option<u32>,
    /// The UDP port of all hosts; 4789 is the registered one.
    pub port: u16,
    /// Does it learn from packets which address is where?
    pub learning: bool,
}

/// Makes a device. Its number is told by [`super::find`].
///
/// # Errors
/// `EEXIST` for a name that is taken, here or for the peer; `EINVAL` for what is no name; `EOPNOTSUPP` when the kernel does
/// not have this kind ([`crate::Error::is_unsupported`]).
pub fn create(socket: &mut Socket, new: &New<'_>) -> Result<()> {
    check_name(new.name)?;
    let state = if new.up { IFF_UP } else { 0 };
    let mut message = Message::new(RTM_NEWLINK, flags::CREATE | flags::EXCL, &header(0, state, state));
    common(&mut message, new.name, new.mac, new.mtu, new.namespace);
    for (kind, value) in [(IFLA_MASTER, new.master), (IFLA_LINK, new.parent), (IFLA_TXQLEN, new.queue)] {
        if let Some(value) = value {
            message.u32(kind, value);
        }
    }
    if let Kind::Veth(peer) = &new.kind {
        check_name(peer.name)?;
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_KIND, new.kind.name()).nest(IFLA_INFO_DATA, |data| new.kind.write(data));
    });
    socket.call(message, || format!("netlink(make {} {:?})", new.kind.name(), new.name))
}

/// What both ends of a veth can have.
fn common(message: &mut Message, name: &str, mac: Option<Mac>, mtu: Option<u32>, namespace: Option<BorrowedFd<'_>>) {
    message.text(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        message.put(IFLA_ADDRESS, &mac);
    }
    if let Some(mtu) = mtu {
        message.u32(IFLA_MTU, mtu);
    }
    if let Some(namespace) = namespace {
        message.put(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    }
}

impl Kind<'_> {
    /// What the kernel calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Veth(_) => "veth",
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(_) => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan(_) => "vxlan",
            Self::Ifb => "ifb",
            Self::Dummy => "dummy",
        }
    }

    fn write(&self, data: &mut Message) {
        match self {
            Self::Bridge(bridge) => bridge.write(data),
            Self::Veth(peer) => {
                data.nest(VETH_INFO_PEER, |inner| {
                    inner.raw(&[0; HEADER]);
                    common(inner, peer.name, peer.mac, peer.mtu, peer.namespace);
                });
            }
            Self::Macvlan(mode) => {
                data.u32(IFLA_MACVLAN_MODE, mode.number());
            }
            Self::Ipvlan(mode) => {
                data.u16(IFLA_IPVLAN_MODE, mode.number());
            }
            Self::Vlan { id, protocol } => {
                data.u16(IFLA_VLAN_ID, *id).put(IFLA_VLAN_PROTOCOL, &protocol.number().to_be_bytes());
            }
            Self::Vxlan(vxlan) => vxlan.write(data),
            Self::Ifb | Self::Dummy => {}
        }
    }
}

impl Bridge {
    fn write(self, data: &mut Message) {
        // clock_t: hundredths of a second. The delay comes first: the kernel checks it only with the protocol on.
        let delay = u32::try_from(self.forward_delay.as_millis() / 10).unwrap_or(u32::MAX);
        data.u32(IFLA_BR_FORWARD_DELAY, delay)
            .u32(IFLA_BR_STP_STATE, self.spanning_tree.into())
            .u8(IFLA_BR_MCAST_SNOOPING, self.multicast_snooping.into());
        // Off is the default, which a kernel without CONFIG_BRIDGE_VLAN_FILTERING refuses to be told.
        if self.vlan_filtering {
            data.u8(IFLA_BR_VLAN_FILTERING, 1);
        }
    }
}

impl MacvlanMode {
    fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Vepa => 2,
            Self::Bridge => 4,
            Self::Passthru => 8,
        }
    }
}

impl IpvlanMode {
    fn number(self) -> u16 {
        match self {
            Self::L2 => 0,
            Self::L3 => 1,
            Self::L3Symmetric => 2,
        }
    }
}

impl VlanProtocol {
    fn number(self) -> u16 {
        match self {
            Self::Q => 0x8100,
            Self::Ad => 0x88a8,
        }
    }
}

impl Vxlan {
    fn write(&self, data: &mut Message) {
        data.u32(IFLA_VXLAN_ID, self.id)
            .put(IFLA_VXLAN_PORT, &self.port.to_be_bytes())
            .u8(IFLA_VXLAN_LEARNING, self.learning.into());
        let addresses =
            [(self.remote, IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6), (self.local, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6)];
        for (address, version4, version6) in addresses {
            match address {
                Some(IpAddr::V4(ip)) => data.put(version4, &ip.octets()),
                Some(IpAddr::V6(ip)) => data.put(version6, &ip.octets()),
                None => data,
            };
        }
        if let Some(device) = self.device {
            data.u32(IFLA_VXLAN_LINK, device);
        }
    }
}
