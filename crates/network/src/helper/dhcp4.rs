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

#[cfg(test)]
mod tests {
    use super::super::tests::{config, mac, names};
    use super::*;
    use proptest::prelude::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

    fn packet(device: u8, current: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[REQUEST, 1, 6]);
        bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
        bytes[10] = 0x80;
        bytes[12..16].copy_from_slice(&current.octets());
        bytes[28..34].copy_from_slice(&mac(device).0);
        bytes[50] = b'x';
        bytes.extend(COOKIE);
        for (kind, value) in options {
            bytes.extend([PAD, *kind, u8::try_from(value.len()).unwrap()]);
            bytes.extend(*value);
        }
        bytes.push(END);
        bytes
    }

    /// Type, given address, destination; and the packet.
    fn ask(bytes: &[u8], config: &Config) -> Option<(u8, Ipv4Addr, Ipv4Addr, Vec<u8>)> {
        let (reply, to) = answer(bytes, config, &names())?;
        assert_eq!(
            (&reply[..3], &reply[4..8], reply[10], to.port()),
            (&[REPLY, 1, 6][..], &[1, 2, 3, 4][..], 0x80, 68)
        );
        assert!(reply.len() >= LEAST && reply[44..FIXED].iter().all(|byte| *byte == 0));
        let mut again = reply.clone();
        again[0] = REQUEST;
        let parsed = Packet::parse(&again).unwrap();
        assert_eq!(parsed.option_address(SERVER), Some(GATEWAY));
        Some((parsed.option(TYPE).unwrap()[0], parsed.address(16), *to.ip(), again))
    }

    fn kind(options: &[(u8, &[u8])], current: Ipv4Addr) -> Option<u8> {
        ask(&packet(2, current, options), &config()).map(|(kind, ..)| kind)
    }

    #[test]
    fn a_known_device_is_offered_its_address() {
        let wants = packet(
            2,
            Ipv4Addr::UNSPECIFIED,
            &[(TYPE, &[DISCOVER]), (ADDRESS, &[10, 9, 0, 77]), (12, b"\xff"), (CLIENT, b"\x01me")],
        );
        let (kind, given, to, bytes) = ask(&wants, &config()).unwrap();
        assert_eq!((kind, given, to), (OFFER, OWN, Ipv4Addr::BROADCAST));
        let reply = Packet::parse(&bytes).unwrap();
        for (option, value) in [
            (MASK, &[255, 255, 0, 0][..]),
            (BROADCAST, &[10, 9, 255, 255]),
            (ROUTER, &[10, 9, 0, 1]),
            (SERVERS, &[10, 9, 0, 1]),
            (DOMAIN, b"cella"),
            (MTU, &[5, 220]),
            (SECONDS, &LEASE.to_be_bytes()),
            (CLIENT, b"\x01me"),
        ] {
            assert_eq!(reply.option(option), Some(value), "{option}");
        }
        let mut config = config();
        config.internal = true;
        config.servers = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let (.., bytes) = ask(&wants, &config).unwrap();
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.option(ROUTER), reply.option(SERVERS)), (None, Some(&[192, 0, 2, 1, 192, 0, 2, 2][..])));
    }

    #[test]
    fn an_unknown_device_hears_nothing() {
        for device in [1, 4, 66, 99] {
            let bytes = packet(device, Ipv4Addr::UNSPECIFIED, &[(TYPE, &[DISCOVER])]);
            assert_eq!(answer(&bytes, &config(), &names()), None, "{device}");
        }
    }

    #[test]
    fn requests_of_each_state() {
        let none = Ipv4Addr::UNSPECIFIED;
        let (own, other, server) = (OWN.octets(), [10, 9, 0, 9], GATEWAY.octets());
        // SELECTING: the offer is ours, or it is another server's.
        assert_eq!(kind(&[(TYPE, &[WANT]), (SERVER, &server), (ADDRESS, &own)], none), Some(ACK));
        assert_eq!(kind(&[(TYPE, &[WANT]), (SERVER, &server), (ADDRESS, &other)], none), Some(NAK));
        assert_eq!(kind(&[(TYPE, &[WANT]), (SERVER, &other), (ADDRESS, &own)], none), None);
        // INIT-REBOOT.
        assert_eq!(kind(&[(TYPE, &[WANT]), (ADDRESS, &own)], none), Some(ACK));
        assert_eq!(kind(&[(TYPE, &[WANT]), (ADDRESS, &other)], none), Some(NAK));
        // RENEWING, REBINDING.
        assert_eq!(kind(&[(TYPE, &[WANT])], OWN), Some(ACK));
        assert_eq!(kind(&[(TYPE, &[WANT])], Ipv4Addr::from(other)), Some(NAK));
        let (_, given, to, _) = ask(&packet(2, OWN, &[(TYPE, &[WANT])]), &config()).unwrap();
        assert_eq!((given, to), (OWN, OWN));
        let (_, given, to, bytes) = ask(&packet(2, none, &[(TYPE, &[WANT]), (ADDRESS, &other)]), &config()).unwrap();
        assert_eq!((given, to), (none, Ipv4Addr::BROADCAST));
        assert_eq!(Packet::parse(&bytes).unwrap().option(MASK), None, "a refusal has no settings");
    }

    #[test]
    fn information_is_given_without_an_address() {
        let (kind_, given, to, bytes) = ask(&packet(2, OWN, &[(TYPE, &[INFORM])]), &config()).unwrap();
        assert_eq!((kind_, given, to), (ACK, Ipv4Addr::UNSPECIFIED, OWN));
        assert_eq!(Packet::parse(&bytes).unwrap().option(SECONDS), None);
        assert_eq!(kind(&[(TYPE, &[INFORM])], Ipv4Addr::new(192, 0, 2, 1)), None);
        for silent in [4, 7, 0, 2, 5] {
            assert_eq!(kind(&[(TYPE, &[silent])], OWN), None, "{silent}");
        }
    }

    #[test]
    fn what_is_no_request() {
        let good = packet(2, Ipv4Addr::UNSPECIFIED, &[(TYPE, &[DISCOVER])]);
        for length in 0..good.len() - 1 {
            assert_eq!(answer(&good[..length], &config(), &names()), None, "{length}");
        }
        for at in [0, 1, 2, 24, FIXED, FIXED + 3] {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            assert_eq!(
                answer(&bytes, &config(), &names()),
                None,
                "at {at}: a reply, other hardware, a relay, no cookie"
            );
        }
        let mut config = config();
        config.gateway4 = None;
        assert_eq!(answer(&good, &config, &names()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(answer(&bytes, &config(), &names()).is_none_or(|(reply, _)| reply.len() < 1000));
        }

        #[test]
        fn only_the_endpoints_address_is_given(options in proptest::collection::vec(any::<u8>(), 0..100), current in any::<u32>()) {
            let mut bytes = packet(2, current.into(), &[]);
            bytes.truncate(FIXED + 4);
            bytes.extend(options);
            for kind in [DISCOVER, WANT, INFORM] {
                let with = [&bytes[..], &[TYPE, 1, kind]].concat();
                if let Some((reply, to)) = answer(&with, &config(), &names()) {
                    prop_assert!([[0; 4], OWN.octets()].contains(&reply[16..20].try_into().unwrap()));
                    prop_assert!([Ipv4Addr::BROADCAST, OWN].contains(to.ip()) && reply.len() < 1000);
                }
            }
        }
    }
}
