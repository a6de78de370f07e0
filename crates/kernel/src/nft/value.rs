// SPDX-License-Identifier: Apache-2.0
//! What registers and elements hold: types, as nft(8) names them, values, and verdicts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::Message;

/// The type of a part of a key. The number is nft(8)'s, so that its listings show what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `ifname`: a device's name.
    Device,
    /// `ether_addr`.
    Ether,
    /// `ipv4_addr`.
    V4,
    /// `ipv6_addr`.
    V6,
    /// `ether_type`.
    EtherType,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`: a port.
    Service,
    /// `nf_proto`.
    Family,
    /// `arp_op`.
    ArpOperation,
    /// `icmp_type`.
    IcmpType,
    /// `icmpv6_type`.
    Icmp6Type,
    /// `ct_state`.
    State,
    /// `ct_status`.
    Status,
    /// `fib_addrtype`.
    AddressType,
    /// `iface_type`: the hardware type of a device.
    DeviceType,
    /// `classid`: a class of a queue, which a packet has as its priority.
    Class,
    /// `integer` of this many bytes, in the network's order.
    Integer(u8),
}

impl Type {
    /// nft(8)'s number.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Family => 2,
            Self::Integer(_) => 4,
            Self::V4 => 7,
            Self::V6 => 8,
            Self::Ether => 9,
            Self::EtherType => 10,
            Self::ArpOperation => 11,
            Self::Protocol => 12,
            Self::Service => 13,
            Self::IcmpType => 14,
            Self::DeviceType => 21,
            Self::Class => 23,
            Self::State => 26,
            Self::Status => 28,
            Self::Icmp6Type => 29,
            Self::AddressType => 38,
            Self::Device => 41,
        }
    }

    /// Bytes of a value.
    pub(super) fn len(self) -> u32 {
        match self {
            Self::Device | Self::V6 => 16,
            Self::Ether => 6,
            Self::V4 | Self::State | Self::Status | Self::AddressType | Self::Class => 4,
            Self::EtherType | Self::Service | Self::ArpOperation | Self::DeviceType => 2,
            Self::Protocol | Self::Family | Self::IcmpType | Self::Icmp6Type => 1,
            Self::Integer(bytes) => bytes.into(),
        }
    }

    /// Is it kept in this machine's order?
    pub(super) fn is_native(self) -> bool {
        use Type::{AddressType, Class, Device, DeviceType, State, Status};
        matches!(self, Device | State | Status | AddressType | DeviceType | Class)
    }
}

/// One value of a register or a part of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A device's name, of at most 15 bytes.
    Device(String),
    /// An Ethernet address.
    Ether([u8; 6]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A byte: protocol, type.
    Byte(u8),
    /// Two bytes in the network's order: port, Ethernet type.
    Half(u16),
    /// Two bytes in this machine's order: a hardware type.
    Native(u16),
    /// Four bytes in this machine's order: states, types of addresses, classes.
    Word(u32),
}

impl Value {
    /// The bytes, as many as the type has.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Device(name) => {
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(16, 0);
                bytes
            }
            Self::Ether(bytes) => bytes.to_vec(),
            Self::V4(address) => address.octets().to_vec(),
            Self::V6(address) => address.octets().to_vec(),
            Self::Byte(byte) => vec![*byte],
            Self::Half(half) => half.to_be_bytes().to_vec(),
            Self::Native(half) => half.to_ne_bytes().to_vec(),
            Self::Word(word) => word.to_ne_bytes().to_vec(),
        }
    }

    /// The values one after the other, each filled up to whole registers of four bytes when there are several.
    pub(super) fn joined(list: &[Self]) -> Vec<u8> {
        let mut joined = Vec::new();
        for value in list {
            joined.extend(value.bytes());
            if list.len() > 1 {
                joined.resize(joined.len().next_multiple_of(4), 0);
            }
        }
        joined
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name) => write!(out, "{name:?}"),
            Self::Ether([a, b, c, d, e, f]) => write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
            Self::V4(address) => address.fmt(out),
            Self::V6(address) => address.fmt(out),
            Self::Byte(number) => number.fmt(out),
            Self::Half(number) | Self::Native(number) => number.fmt(out),
            Self::Word(number) => number.fmt(out),
        }
    }
}

impl From<&str> for Value {
    fn from(name: &str) -> Self {
        Self::Device(name.to_owned())
    }
}

impl From<[u8; 6]> for Value {
    fn from(bytes: [u8; 6]) -> Self {
        Self::Ether(bytes)
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::V4(address)
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::V6(address)
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl From<u8> for Value {
    fn from(byte: u8) -> Self {
        Self::Byte(byte)
    }
}

impl From<u16> for Value {
    fn from(half: u16) -> Self {
        Self::Half(half)
    }
}

impl From<u32> for Value {
    fn from(word: u32) -> Self {
        Self::Word(word)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// This chain's hook is through with it; chains of a later priority still see it.
    Accept,
    /// It is gone.
    Drop,
    /// On with the next rule.
    Continue,
    /// Back to the chain that jumped here.
    Return,
    /// Into a chain and back.
    Jump(String),
    /// Into a chain without coming back.
    Goto(String),
}

impl Verdict {
    /// Writes `NFTA_DATA_VERDICT` into a data attribute.
    pub(super) fn write(&self, message: &mut Message) {
        const VERDICT: u16 = 2;
        const CODE: u16 = 1;
        const CHAIN: u16 = 2;
        let (code, chain) = match self {
            Self::Drop => (0_i32, None),
            Self::Accept => (1, None),
            Self::Continue => (-1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        };
        message.nest(VERDICT, |message| {
            message.be32(CODE, code.cast_unsigned());
            if let Some(chain) = chain {
                message.text(CHAIN, chain);
            }
        });
    }
}
