// SPDX-License-Identifier: Apache-2.0
//! DHCPv6 (RFC 8415): each device that we know is told the address that its endpoint has; others hear nothing.
//!
//! No crate has the format alone; the ones that there are bring an async runtime.

use std::net::Ipv6Addr;

use super::{Config, Endpoint, Names, names};
use crate::mac::Mac;

/// Where servers hear, and to which group clients speak.
pub const SERVER_PORT: u16 = 547;
/// All servers and relays of a link.
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Seconds that an address may be preferred, and used.
const PREFERRED: u32 = 1800;
const VALID: u32 = 3600;

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION: u8 = 11;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const PREFERENCE: u16 = 7;
const STATUS: u16 = 13;
const RAPID: u16 = 14;
const SERVERS: u16 = 23;
const DOMAINS: u16 = 24;

/// Status codes.
const SUCCESS: u16 = 0;
const NO_ADDRESSES: u16 = 2;
const NO_BINDING: u16 = 3;
const NOT_ON_LINK: u16 = 4;

/// More associations than any client has devices.
const ASSOCIATIONS: usize = 4;

/// The longest identifier of a client (RFC 8415, 11.1).
const IDENTIFIER: usize = 130;

/// Options one after the other; ends at the first that is broken.
#[derive(Clone, Copy)]
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*c, *d])))?;
        self.0 = rest;
        Some((u16::from_be_bytes([*a, *b]), value))
    }
}

impl<'a> Options<'a> {
    fn get(self, wanted: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    fn all(self, wanted: u16) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |(kind, _)| *kind == wanted).map(|(_, value)| value)
    }
}

fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(value.len()) else { return };
    bytes.extend([kind, length].iter().flat_map(|word| word.to_be_bytes()));
    bytes.extend(value);
}

/// The answer to what came from a link-local address, to which it goes; `None` when there is nothing to say.
#[must_use]
pub fn answer(bytes: &[u8], from: Ipv6Addr, config: &Config, names: &Names) -> Option<Vec<u8>> {
    let ([kind, transaction @ ..], rest) = bytes.split_first_chunk::<4>()?;
    let options = Options(rest);
    let own = server(config.gateway6?.0);
    // Each message is either for a server that it names, or for any.
    let for_us = match (*kind, options.get(SERVER_ID)) {
        (SOLICIT | CONFIRM | REBIND, None) | (INFORMATION, None) => true,
        (REQUEST | RENEW | RELEASE | DECLINE | INFORMATION, Some(named)) => named == own,
        _ => false,
    };
    let client = options.get(CLIENT_ID);
    let identified = client.map_or(*kind == INFORMATION, |client| (3..=IDENTIFIER).contains(&client.len()));
    if !for_us || !identified {
        return None;
    }
    let endpoint = device(from, client, names)?;
    let rapid = *kind == SOLICIT && options.get(RAPID).is_some();
    let mut reply = vec![if *kind == SOLICIT && !rapid { ADVERTISE } else { REPLY }];
    reply.extend(transaction);
    put(&mut reply, SERVER_ID, &own);
    if let Some(client) = client {
        put(&mut reply, CLIENT_ID, client);
    }
    body(&mut reply, *kind, options, endpoint, config)?;
    if rapid {
        put(&mut reply, RAPID, &[]);
    }
    if matches!(*kind, SOLICIT | REQUEST | RENEW | REBIND | INFORMATION) {
        settings(&mut reply, config);
    }
    Some(reply)
}

/// What belongs to the kind of message.
fn body(reply: &mut Vec<u8>, kind: u8, options: Options<'_>, endpoint: &Endpoint, config: &Config) -> Option<()> {
    match kind {
        SOLICIT | REQUEST | RENEW | REBIND => {
            for one in options.all(IA_NA).take(ASSOCIATIONS) {
                association(reply, kind, one, endpoint.v6)?;
            }
            if kind == SOLICIT {
                // There is no better server: nothing is to be waited for.
                put(reply, PREFERENCE, &[255]);
            }
        }
        CONFIRM => {
            let gateway = config.gateway6?;
            let mut asked = options
                .all(IA_NA)
                .filter_map(|one| one.get(12..))
                .flat_map(|inner| Options(inner).all(IA_ADDRESS).filter_map(address).collect::<Vec<_>>());
            // Without an address there is nothing to confirm, and that is not told (RFC 8415, 18.3.3).
            let first = asked.next()?;
            let fits = [first].into_iter().chain(asked).all(|address| is_below(address, gateway));
            status(reply, if fits { SUCCESS } else { NOT_ON_LINK });
        }
        // The address stays the endpoint's.
        RELEASE | DECLINE => status(reply, SUCCESS),
        _ => {}
    }
    Some(())
}

/// The identity association that the client named, with the endpoint's address.
fn association(reply: &mut Vec<u8>, kind: u8, asked: &[u8], own: Option<Ipv6Addr>) -> Option<()> {
    let (identifier, _) = asked.split_first_chunk::<4>()?;
    let inner = Options(asked.get(12..)?);
    let mut value = identifier.to_vec();
    match own {
        Some(own) => {
            value.extend([PREFERRED / 2, PREFERRED / 5 * 4].iter().flat_map(|seconds| seconds.to_be_bytes()));
            put(&mut value, IA_ADDRESS, &lease(own, PREFERRED, VALID));
            // What the client has besides is not its own any more.
            let others = inner.all(IA_ADDRESS).filter_map(address).filter(|other| *other != own);
            for other in others.filter(|_| matches!(kind, RENEW | REBIND)).take(ASSOCIATIONS) {
                put(&mut value, IA_ADDRESS, &lease(other, 0, 0));
            }
        }
        None => {
            value.extend([0; 8]);
            status(&mut value, if matches!(kind, RENEW | REBIND) { NO_BINDING } else { NO_ADDRESSES });
        }
    }
    put(reply, IA_NA, &value);
    Some(())
}

fn lease(address: Ipv6Addr, preferred: u32, valid: u32) -> Vec<u8> {
    [&address.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat()
}

fn status(bytes: &mut Vec<u8>, code: u16) {
    put(bytes, STATUS, &code.to_be_bytes());
}

fn settings(reply: &mut Vec<u8>, config: &Config) {
    let servers: Vec<u8> = config.servers6().iter().flat_map(|server| server.octets()).collect();
    if !servers.is_empty() {
        put(reply, SERVERS, &servers);
    }
    if let Some(mut domain) = names::key(&config.domain) {
        domain.push(0);
        put(reply, DOMAINS, &domain);
    }
}

/// The endpoint that speaks: the one whose address the link has seen, or else the one that the client says it is. Copies of
/// one root filesystem all say the same.
fn device<'a>(from: Ipv6Addr, client: Option<&[u8]>, names: &'a Names) -> Option<&'a Endpoint> {
    if !from.is_unicast_link_local() {
        return None;
    }
    let seen = mac_of(from).and_then(|mac| names.device(mac));
    seen.or_else(|| names.device(mac_in(client?)?))
}

/// The address on the link that a link-local address was made from.
fn mac_of(address: Ipv6Addr) -> Option<Mac> {
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else { return None };
    Some(Mac([a ^ 2, b, c, d, e, f]))
}

/// The address on the link in a DUID-LLT or DUID-LL of Ethernet (RFC 8415, 11.2 and 11.4).
fn mac_in(identifier: &[u8]) -> Option<Mac> {
    let mac = match identifier {
        [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] => mac,
        _ => return None,
    };
    mac.try_into().ok().map(Mac)
}

fn address(value: &[u8]) -> Option<Ipv6Addr> {
    value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets))
}

fn is_below(address: Ipv6Addr, (gateway, length): (Ipv6Addr, u8)) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or_default();
    (address.to_bits() ^ gateway.to_bits()) & mask == 0
}

/// What this server is known by: a DUID-UUID made of the network's address, so that the next helper is the same one.
fn server(gateway: Ipv6Addr) -> [u8; 18] {
    let mut identifier = [0; 18];
    identifier[1] = 4;
    identifier[2..].copy_from_slice(&gateway.octets());
    identifier
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, mac, names};
    use super::*;
    use proptest::prelude::*;

    const ASSOCIATION: &[u8] = &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];

    fn own() -> Ipv6Addr {
        mac(2).eui64("fd09::".parse().unwrap())
    }

    fn identifier(device: u8) -> Vec<u8> {
        [&[0, 3, 0, 1][..], &mac(device).0].concat()
    }

    fn message(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![kind, 1, 2, 3];
        for (kind, value) in options {
            put(&mut bytes, *kind, value);
        }
        bytes
    }

    fn ask(bytes: &[u8], device: u8) -> Option<Vec<u8>> {
        answer(bytes, mac(device).link_local(), &config(), &names())
    }

    fn association_with(address: Ipv6Addr) -> Vec<u8> {
        let mut value = ASSOCIATION.to_vec();
        put(&mut value, IA_ADDRESS, &lease(address, 1, 2));
        value
    }

    /// The addresses that a reply gives, and for how long.
    fn given(reply: &[u8]) -> Vec<(Ipv6Addr, u32)> {
        let all = Options(&reply[4..]).all(IA_NA).flat_map(|one| Options(&one[12..]).all(IA_ADDRESS));
        all.map(|one| (address(one).unwrap(), u32::from_be_bytes(one[20..24].try_into().unwrap()))).collect()
    }

    #[test]
    fn a_known_device_is_told_its_address() {
        let client = identifier(2);
        let reply = ask(&message(SOLICIT, &[(CLIENT_ID, &client), (IA_NA, ASSOCIATION)]), 2).unwrap();
        assert_eq!(reply[..4], [ADVERTISE, 1, 2, 3]);
        assert_eq!(given(&reply), [(own(), VALID)]);
        let options = Options(&reply[4..]);
        assert_eq!(options.get(CLIENT_ID), Some(&client[..]));
        assert_eq!(options.get(SERVERS), Some(&"fd09::1".parse::<Ipv6Addr>().unwrap().octets()[..]));
        assert_eq!(options.get(DOMAINS), Some(&b"\x05cella\0"[..]));
        assert_eq!(options.get(IA_NA).unwrap()[..4], ASSOCIATION[..4]);
        let server = options.get(SERVER_ID).unwrap();
        for kind in [REQUEST, RENEW] {
            let reply =
                ask(&message(kind, &[(CLIENT_ID, &client), (SERVER_ID, server), (IA_NA, ASSOCIATION)]), 2).unwrap();
            assert_eq!((reply[0], given(&reply)), (REPLY, vec![(own(), VALID)]), "{kind}");
            assert_eq!(
                ask(&message(kind, &[(CLIENT_ID, &client), (SERVER_ID, b"other"), (IA_NA, ASSOCIATION)]), 2),
                None
            );
            assert_eq!(ask(&message(kind, &[(CLIENT_ID, &client), (IA_NA, ASSOCIATION)]), 2), None);
        }
        let rapid = ask(&message(SOLICIT, &[(CLIENT_ID, &client), (RAPID, &[]), (IA_NA, ASSOCIATION)]), 2).unwrap();
        assert_eq!((rapid[0], Options(&rapid[4..]).get(RAPID)), (REPLY, Some(&[][..])));
    }

    #[test]
    fn the_link_is_believed_before_the_client() {
        let ask = |from: Ipv6Addr, identifier: &[u8]| {
            let bytes = message(SOLICIT, &[(CLIENT_ID, identifier), (IA_NA, ASSOCIATION)]);
            answer(&bytes, from, &config(), &names()).map(|reply| given(&reply))
        };
        let private = "fe80::1234:5678".parse().unwrap();
        assert_eq!(ask(mac(2).link_local(), &identifier(3)), Some(vec![(own(), VALID)]));
        assert_eq!(ask(private, &identifier(2)), Some(vec![(own(), VALID)]));
        assert_eq!(ask(private, &[&[0, 1, 0, 1, 9, 9, 9, 9][..], &mac(2).0].concat()), Some(vec![(own(), VALID)]));
        assert_eq!(ask(private, b"\0\x02something"), None);
        assert_eq!(ask(mac(99).link_local(), &identifier(98)), None);
        assert_eq!(ask(own(), &identifier(2)), None, "not of the link");
        assert_eq!(ask(mac(3).link_local(), &identifier(3)), Some(vec![]), "it has no IPv6 address");
    }

    #[test]
    fn other_addresses_are_taken_away() {
        let other = "fd09::bad".parse().unwrap();
        let bytes = message(REBIND, &[(CLIENT_ID, &identifier(2)), (IA_NA, &association_with(other))]);
        assert_eq!(given(&ask(&bytes, 2).unwrap()), [(own(), VALID), (other, 0)]);
        let status = |kind, address: Ipv6Addr| {
            let bytes = message(kind, &[(CLIENT_ID, &identifier(2)), (IA_NA, &association_with(address))]);
            Some(Options(&ask(&bytes, 2)?[4..]).get(STATUS)?.to_vec())
        };
        assert_eq!(status(CONFIRM, other), Some(vec![0, 0]));
        assert_eq!(status(CONFIRM, "fd0a::1".parse().unwrap()), Some(vec![0, 4]));
        assert_eq!(ask(&message(CONFIRM, &[(CLIENT_ID, &identifier(2)), (IA_NA, ASSOCIATION)]), 2), None);
    }

    #[test]
    fn information_needs_no_name() {
        let reply = ask(&message(INFORMATION, &[]), 2).unwrap();
        assert!(reply[0] == REPLY && Options(&reply[4..]).get(SERVERS).is_some() && given(&reply).is_empty());
        for wrong in
            [&b""[..], &[SOLICIT], &[SOLICIT, 1, 2, 3], &[0; 40], &message(REPLY, &[(CLIENT_ID, &identifier(2))])]
        {
            assert_eq!(ask(wrong, 2), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_endpoints_address_is_given(kind in 0..14_u8, rest in proptest::collection::vec(any::<u8>(), 0..200), inner in any::<u128>()) {
            let mut bytes = message(kind, &[(CLIENT_ID, &identifier(2)), (IA_NA, &association_with(inner.into()))]);
            bytes.extend(rest);
            if let Some(reply) = ask(&bytes, 2) {
                prop_assert!(given(&reply).iter().all(|(address, valid)| *address == own() || *valid == 0) && reply.len() < 2000);
            }
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            ask(&bytes, 2);
        }
    }
}
