// SPDX-License-Identifier: Apache-2.0
//! DHCP (RFC 2131, 2132): each device that we know is told the address that its endpoint has; others hear nothing.
//!
//! A codec of our own and no crate: `edge-dhcp` 0.8 was read and takes the wrong bit for the broadcast flag, knows no pad
//! option, refuses packets whose host name is not UTF-8, and writes two name servers as a broken option.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Config, Endpoint, Names};
use crate::mac::Mac;

/// Where servers and clients hear.
pub const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// All before the options, and what these begin with.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What old relays and clients take for the least.
const LEAST: usize = 300;

/// Seconds of a lease; the address is the endpoint's as long as that is there.
const LEASE: u32 = 3600;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6];

const PAD: u8 = 0;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const SERVERS: u8 = 6;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const BROADCAST: u8 = 28;
const ADDRESS: u8 = 50;
const SECONDS: u8 = 51;
const TYPE: u8 = 53;
const SERVER: u8 = 54;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLIENT: u8 = 61;
const END: u8 = 255;

/// What a client says, and what we do.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const WANT: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// A client's packet.
struct Packet<'a> {
    /// All before the options.
    fixed: &'a [u8; FIXED],
    options: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a request of an Ethernet device that came by no relay.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk()?;
        let packet = Self { fixed, options: rest.strip_prefix(&COOKIE)? };
        let direct = packet.address(24).is_unspecified();
        (fixed.starts_with(&[REQUEST, ETHERNET[0], ETHERNET[1]]) && direct).then_some(packet)
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        let bytes = self.fixed.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map_or(Ipv4Addr::UNSPECIFIED, |bytes| Ipv4Addr::from(*bytes))
    }

    fn mac(&self) -> Option<Mac> {
        self.fixed.get(28..)?.first_chunk().map(|bytes| Mac(*bytes))
    }

    /// The value of the first option of this kind.
    fn option(&self, wanted: u8) -> Option<&'a [u8]> {
        let mut rest = self.options;
        loop {
            let (kind, behind) = rest.split_first()?;
            match *kind {
                PAD => rest = behind,
                END => return None,
                kind => {
                    let (length, behind) = behind.split_first()?;
                    let (value, next) = behind.split_at_checked(usize::from(*length))?;
                    if kind == wanted {
                        return Some(value);
                    }
                    rest = next;
                }
            }
        }
    }

    fn option_address(&self, wanted: u8) -> Option<Ipv4Addr> {
        self.option(wanted)?.try_into().ok().map(<[u8; 4]>::into).map(|octets: Ipv4Addr| octets)
    }
}

/// The answer to a client's packet and where it goes; `None` when there is nothing to say.
#[must_use]
pub fn answer(bytes: &[u8], config: &Config, names: &Names) -> Option<(Vec<u8>, SocketAddrV4)> {
    let packet = Packet::parse(bytes)?;
    let endpoint = names.device(packet.mac()?)?;
    let (own, gateway) = (endpoint.v4?, config.gateway4?);
    let current = packet.address(12);
    let kind = match packet.option(TYPE)? {
        [DISCOVER] => OFFER,
        [WANT] => wanted(&packet, own, gateway.0)?,
        // The address is its own already: it asks for the rest.
        [INFORM] if current == own => INFORM,
        // DECLINE and RELEASE change nothing: the address stays the endpoint's.
        _ => return None,
    };
    let to = if kind != NAK && current == own { own } else { Ipv4Addr::BROADCAST };
    Some((reply(&packet, kind, endpoint, gateway, config), SocketAddrV4::new(to, CLIENT_PORT)))
}

/// Is what the client wants what it has? Silence when it has taken another server's offer.
fn wanted(packet: &Packet<'_>, own: Ipv4Addr, server: Ipv4Addr) -> Option<u8> {
    if packet.option_address(SERVER).is_some_and(|chosen| chosen != server) {
        return None;
    }
    // A client that has an address says so in the packet, one that would like to have it in an option (RFC 2131, 4.3.2).
    let address = packet.option_address(ADDRESS).unwrap_or_else(|| packet.address(12));
    Some(if address == own { ACK } else { NAK })
}

/// `kind` INFORM is an ACK that gives no address.
fn reply(packet: &Packet<'_>, kind: u8, endpoint: &Endpoint, gateway: (Ipv4Addr, u8), config: &Config) -> Vec<u8> {
    let mut bytes = packet.fixed.to_vec();
    bytes.splice(0..1, [REPLY]);
    // Hops; seconds; where to boot from.
    bytes.splice(3..4, [0]);
    bytes.splice(8..10, [0; 2]);
    bytes.splice(44..FIXED, [0; FIXED - 44]);
    if kind == NAK {
        bytes.splice(12..16, [0; 4]);
    }
    let given = endpoint.v4.filter(|_| matches!(kind, OFFER | ACK)).unwrap_or(Ipv4Addr::UNSPECIFIED);
    bytes.splice(16..20, given.octets());
    bytes.splice(20..24, [0; 4]);
    bytes.extend(COOKIE);
    let mut put = |kind: u8, value: &[u8]| {
        if let Some(length) = u8::try_from(value.len()).ok().filter(|length| *length > 0) {
            bytes.extend([kind, length]);
            bytes.extend(value);
        }
    };
    put(TYPE, &[if kind == INFORM { ACK } else { kind }]);
    put(SERVER, &gateway.0.octets());
    if matches!(kind, OFFER | ACK) {
        for (kind, seconds) in [(SECONDS, LEASE), (RENEW, LEASE / 2), (REBIND, LEASE / 8 * 7)] {
            put(kind, &seconds.to_be_bytes());
        }
    }
    if kind != NAK {
        settings(gateway, config, &mut put);
    }
    // The client finds its own words again (RFC 6842).
    put(CLIENT, packet.option(CLIENT).unwrap_or_default());
    bytes.push(END);
    bytes.resize(bytes.len().max(LEAST), PAD);
    bytes
}

fn settings((gateway, length): (Ipv4Addr, u8), config: &Config, put: &mut dyn FnMut(u8, &[u8])) {
    let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or_default();
    put(MASK, &mask.to_be_bytes());
    put(BROADCAST, &(gateway.to_bits() | !mask).to_be_bytes());
    if !config.internal {
        put(ROUTER, &gateway.octets());
    }
    put(SERVERS, config.servers4().iter().flat_map(|server| server.octets()).collect::<Vec<_>>().as_slice());
    put(DOMAIN, config.domain.as_bytes());
    // Less than 68 bytes is none of IPv4.
    if let Some(mtu) = u16::try_from(config.mtu).ok().filter(|mtu| *mtu >= 68) {
        put(MTU, &mtu.to_be_bytes());
    }
}
