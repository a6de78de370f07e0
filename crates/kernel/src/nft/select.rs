// SPDX-License-Identifier: Apache-2.0
//! What a rule looks at: fields of packets, devices, connections, routes; each is named as nft(8) writes it.

use super::object::{Element, Family};
use super::statement::Statement;
use super::value::{Type, Value, Verdict};
use crate::netlink::Message;

/// Where a field of a packet begins to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Meta(u32),
    Payload(Base, u32),
    Connection(u32),
    /// Flags of what is looked up: its result is the type of the address.
    Route(u32),
}

/// What a packet must be so that a field means what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Any,
    /// The device speaks Ethernet.
    Ether,
    /// The packet is of this Ethernet type.
    Packet(u16),
    /// The packet carries this protocol, over whatever.
    Carries(u8),
    /// It is ICMPv6, in IPv6.
    Icmp6,
}

/// Something that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    source: Source,
    pub(super) layer: Layer,
    pub(super) kind: Type,
}

const IP: Layer = Layer::Packet(ETHERTYPE_IP);
const IP6: Layer = Layer::Packet(ETHERTYPE_IP6);
const ARP: Layer = Layer::Packet(ETHERTYPE_ARP);

/// The Ethernet type of IPv4.
pub const ETHERTYPE_IP: u16 = 0x0800;
/// The Ethernet type of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The Ethernet type of IPv6.
pub const ETHERTYPE_IP6: u16 = 0x86dd;

const fn meta(key: u32, kind: Type) -> Selector {
    Selector { source: Source::Meta(key), layer: Layer::Any, kind }
}

const fn payload(layer: Layer, base: Base, offset: u32, kind: Type) -> Selector {
    Selector { source: Source::Payload(base, offset), layer, kind }
}

/// `meta protocol`
pub const META_PROTOCOL: Selector = meta(1, Type::EtherType);
/// `iifname`
pub const IIFNAME: Selector = meta(6, Type::Device);
/// `oifname`
pub const OIFNAME: Selector = meta(7, Type::Device);
/// `meta iiftype`
pub const IIFTYPE: Selector = meta(8, Type::DeviceType);
/// `meta nfproto`
pub const NFPROTO: Selector = meta(15, Type::Family);
/// `meta l4proto`
pub const L4PROTO: Selector = meta(16, Type::Protocol);
/// `ether daddr`
pub const ETHER_DADDR: Selector = payload(Layer::Ether, Base::Link, 0, Type::Ether);
/// `ether saddr`
pub const ETHER_SADDR: Selector = payload(Layer::Ether, Base::Link, 6, Type::Ether);
/// `ether type`: that of a tag, if the frame has one.
pub const ETHER_TYPE: Selector = payload(Layer::Ether, Base::Link, 12, Type::EtherType);
/// `arp htype`
pub const ARP_HTYPE: Selector = payload(ARP, Base::Network, 0, Type::Integer(2));
/// `arp ptype`
pub const ARP_PTYPE: Selector = payload(ARP, Base::Network, 2, Type::EtherType);
/// `arp hlen`
pub const ARP_HLEN: Selector = payload(ARP, Base::Network, 4, Type::Integer(1));
/// `arp plen`
pub const ARP_PLEN: Selector = payload(ARP, Base::Network, 5, Type::Integer(1));
/// `arp operation`
pub const ARP_OPERATION: Selector = payload(ARP, Base::Network, 6, Type::ArpOperation);
/// `arp saddr ether`
pub const ARP_SADDR_ETHER: Selector = payload(ARP, Base::Network, 8, Type::Ether);
/// `arp saddr ip`
pub const ARP_SADDR_IP: Selector = payload(ARP, Base::Network, 14, Type::V4);
/// `ip protocol`
pub const IP_PROTOCOL: Selector = payload(IP, Base::Network, 9, Type::Protocol);
/// `ip saddr`
pub const IP_SADDR: Selector = payload(IP, Base::Network, 12, Type::V4);
/// `ip daddr`
pub const IP_DADDR: Selector = payload(IP, Base::Network, 16, Type::V4);
/// `ip6 length`
pub const IP6_LENGTH: Selector = payload(IP6, Base::Network, 4, Type::Integer(2));
/// `ip6 nexthdr`
pub const IP6_NEXTHDR: Selector = payload(IP6, Base::Network, 6, Type::Protocol);
/// `ip6 saddr`
pub const IP6_SADDR: Selector = payload(IP6, Base::Network, 8, Type::V6);
/// `ip6 daddr`
pub const IP6_DADDR: Selector = payload(IP6, Base::Network, 24, Type::V6);
/// `th dport`: a port of whatever is carried; ask for [`L4PROTO`] too.
pub const TH_DPORT: Selector = payload(Layer::Any, Base::Transport, 2, Type::Service);
/// `tcp dport`
pub const TCP_DPORT: Selector = payload(Layer::Carries(6), Base::Transport, 2, Type::Service);
/// `udp sport`
pub const UDP_SPORT: Selector = payload(Layer::Carries(17), Base::Transport, 0, Type::Service);
/// `udp dport`
pub const UDP_DPORT: Selector = payload(Layer::Carries(17), Base::Transport, 2, Type::Service);
/// `icmp type`
pub const ICMP_TYPE: Selector = payload(Layer::Carries(1), Base::Transport, 0, Type::IcmpType);
/// `igmp type`
pub const IGMP_TYPE: Selector = payload(Layer::Carries(2), Base::Transport, 0, Type::Integer(1));
/// `icmpv6 type`
pub const ICMP6_TYPE: Selector = payload(Layer::Icmp6, Base::Transport, 0, Type::Icmp6Type);
/// `icmpv6 taddr`: whom a neighbour solicitation or advertisement is about.
pub const ICMP6_TARGET: Selector = payload(Layer::Icmp6, Base::Transport, 8, Type::V6);
/// Type and length of the first option of a neighbour solicitation or advertisement.
pub const ND_OPTION: Selector = payload(Layer::Icmp6, Base::Transport, 24, Type::Integer(2));
/// The Ethernet address in that option.
pub const ND_OPTION_ETHER: Selector = payload(Layer::Icmp6, Base::Transport, 26, Type::Ether);
/// `ct state`
pub const CT_STATE: Selector = Selector { source: Source::Connection(0), layer: Layer::Any, kind: Type::State };
/// `ct status`
pub const CT_STATUS: Selector = Selector { source: Source::Connection(2), layer: Layer::Any, kind: Type::Status };
/// `fib daddr type`
pub const FIB_DADDR_TYPE: Selector = Selector { source: Source::Route(2), layer: Layer::Any, kind: Type::AddressType };
/// `fib daddr . iif type`: of the device that the packet came in by.
pub const FIB_DADDR_IIF_TYPE: Selector =
    Selector { source: Source::Route(2 | 8), layer: Layer::Any, kind: Type::AddressType };

impl Selector {
    /// Writes the expression that loads this into the register of this number.
    pub(super) fn load(self, register: u32, list: &mut Message) {
        let (name, fields): (&str, &[(u16, u32)]) = match self.source {
            Source::Meta(key) => ("meta", &[(2, key), (1, register)]),
            Source::Payload(base, offset) => {
                ("payload", &[(1, register), (2, base as u32), (3, offset), (4, self.kind.len())])
            }
            Source::Connection(key) => ("ct", &[(2, key), (1, register)]),
            // NFT_FIB_RESULT_ADDRTYPE
            Source::Route(flags) => ("fib", &[(1, register), (2, 3), (3, flags)]),
        };
        super::statement::expression(list, name, |list| {
            for (kind, value) in fields {
                list.be32(*kind, *value);
            }
        });
    }

    /// A key of this and another.
    #[must_use]
    pub fn and(self, other: Self) -> Key {
        Key(vec![self, other])
    }

    /// It has this value.
    #[must_use]
    pub fn is(self, value: impl Into<Value>) -> Statement {
        Statement::Compare { selector: self, mask: None, equal: true, value: value.into() }
    }

    /// It has another value.
    #[must_use]
    pub fn is_not(self, value: impl Into<Value>) -> Statement {
        Statement::Compare { selector: self, mask: None, equal: false, value: value.into() }
    }

    /// Its bits below `mask` are those of `value`.
    #[must_use]
    pub fn masked(self, mask: impl Into<Value>, value: impl Into<Value>) -> Statement {
        Statement::Compare { selector: self, mask: Some(mask.into()), equal: true, value: value.into() }
    }

    /// It has one at least of these bits.
    #[must_use]
    pub fn has(self, bits: u32) -> Statement {
        Statement::Compare { selector: self, mask: Some(bits.into()), equal: false, value: 0_u32.into() }
    }

    /// It is an element of the set of this name.
    #[must_use]
    pub fn within(self, set: &str) -> Statement {
        Key(vec![self]).within(set)
    }

    /// It is no element of the set of this name.
    #[must_use]
    pub fn not_in(self, set: &str) -> Statement {
        Key(vec![self]).not_in(set)
    }

    /// It is one of these.
    #[must_use]
    pub fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Statement {
        let elements = values.into_iter().map(|value| Element::new([value.into()])).collect();
        Statement::OneOf { key: Key(vec![self]), elements, inverted: false }
    }

    /// It is none of these.
    #[must_use]
    pub fn none_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Statement {
        let elements = values.into_iter().map(|value| Element::new([value.into()])).collect();
        Statement::OneOf { key: Key(vec![self]), elements, inverted: true }
    }

    /// The verdict that stands beside its value.
    #[must_use]
    pub fn verdicts<V: Into<Value>>(self, list: impl IntoIterator<Item = (V, Verdict)>) -> Statement {
        let elements = list.into_iter().map(|(value, verdict)| Element::new([value.into()]).verdict(verdict)).collect();
        Statement::Verdicts { key: Key(vec![self]), elements }
    }
}

/// Several selectors as one key: `iifname . ip saddr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub(super) Vec<Selector>);

impl Key {
    /// A key of this and one more.
    #[must_use]
    pub fn and(mut self, other: Selector) -> Self {
        self.0.push(other);
        self
    }

    /// It is an element of the set of this name.
    #[must_use]
    pub fn within(self, set: &str) -> Statement {
        Statement::Lookup { key: self, set: set.to_owned(), inverted: false }
    }

    /// It is no element of the set of this name.
    #[must_use]
    pub fn not_in(self, set: &str) -> Statement {
        Statement::Lookup { key: self, set: set.to_owned(), inverted: true }
    }

    /// It is one of these.
    #[must_use]
    pub fn one_of<const N: usize>(self, keys: impl IntoIterator<Item = [Value; N]>) -> Statement {
        Statement::OneOf { key: self, elements: keys.into_iter().map(Element::new).collect(), inverted: false }
    }

    /// The verdict that the map of this name has for it.
    #[must_use]
    pub fn verdict_in(self, map: &str) -> Statement {
        Statement::VerdictIn { key: self, map: map.to_owned() }
    }

    /// The destination becomes the address and the port that the map of this name has for it.
    #[must_use]
    pub fn dnat(self, family: Family, map: &str) -> Statement {
        Statement::Dnat { key: self, family, map: map.to_owned() }
    }

    /// The packet goes to the class that the map of this name has for it, in queues that have one of that name.
    #[must_use]
    pub fn class(self, map: &str) -> Statement {
        Statement::Priority { key: self, map: map.to_owned() }
    }
}

impl From<Selector> for Key {
    fn from(selector: Selector) -> Self {
        Self(vec![selector])
    }
}
