// SPDX-License-Identifier: Apache-2.0
//! Router advertisements (RFC 4861, 8106): the prefix below which devices make their own address, and the way out.

use std::net::Ipv6Addr;

use super::{Config, names};

/// ICMPv6 types.
pub const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// All routers, and all hosts, of a link.
pub const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All hosts of a link.
pub const HOSTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Seconds: how long we are the router, the prefix is used and preferred, and servers are asked.
const ROUTER: u16 = 1800;
const VALID: u32 = 86_400;
const PREFERRED: u32 = 14_400;
const SERVERS: u32 = 1800;

const HOPS: u8 = 64;
/// Addresses and the rest are also to be had by DHCPv6.
const MANAGED_OTHER: u8 = 0xc0;

/// Options.
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;
/// On the link, and for addresses that devices make themselves.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// The only prefixes that devices make addresses below.
const AUTONOMOUS_LENGTH: u8 = 64;

/// The least that a link of IPv6 has.
const LEAST_MTU: u32 = 1280;

/// Is this the question for a router, of a device of this link?
#[must_use]
pub fn is_solicitation(message: &[u8], from: Ipv6Addr) -> bool {
    let right = message.len() >= 8 && message.starts_with(&[SOLICITATION, 0]);
    right && (from.is_unspecified() || from.is_unicast_link_local())
}

/// The advertisement of the network, its checksum left to the kernel; `None` for one without IPv6.
#[must_use]
pub fn advertisement(config: &Config) -> Option<Vec<u8>> {
    let (gateway, length) = config.gateway6?;
    let lifetime = if config.internal { 0 } else { ROUTER };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, HOPS, MANAGED_OTHER];
    message.extend(lifetime.to_be_bytes());
    // Reachable and retransmission times are left to the hosts.
    message.extend([0; 8]);
    prefix(&mut message, gateway, length);
    if (LEAST_MTU..=u32::from(u16::MAX)).contains(&config.mtu) {
        option(&mut message, MTU, &[&[0, 0], &config.mtu.to_be_bytes()[..]].concat());
    }
    let servers: Vec<u8> = config.servers6().iter().flat_map(|server| server.octets()).collect();
    if !servers.is_empty() {
        option(&mut message, RDNSS, &[&[0, 0], &SERVERS.to_be_bytes()[..], &servers].concat());
    }
    if let Some(domain) = names::key(&config.domain) {
        option(&mut message, DNSSL, &[&[0, 0], &SERVERS.to_be_bytes()[..], &domain, &[0]].concat());
    }
    Some(message)
}

fn prefix(message: &mut Vec<u8>, gateway: Ipv6Addr, length: u8) {
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or_default();
    let flags = if length == AUTONOMOUS_LENGTH { ON_LINK | AUTONOMOUS } else { ON_LINK };
    let mut value = vec![length.min(128), flags];
    value.extend([VALID, PREFERRED, 0].iter().flat_map(|word| word.to_be_bytes()));
    value.extend((gateway.to_bits() & mask).to_be_bytes());
    option(message, PREFIX, &value);
}

/// Adds an option, whose length counts units of eight bytes.
fn option(message: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let whole = (value.len() + 2).next_multiple_of(8);
    let Ok(units) = u8::try_from(whole / 8) else { return };
    let end = message.len() + whole;
    message.extend([kind, units]);
    message.extend(value);
    message.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    /// The options of an advertisement: type and value.
    fn options(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let (mut rest, mut all) = (&message[16..], Vec::new());
        while let [kind, units, ..] = *rest {
            let (one, next) = rest.split_at(usize::from(units) * 8);
            all.push((kind, one[2..].to_vec()));
            rest = next;
        }
        all
    }

    #[test]
    fn the_prefix_and_the_way_out() {
        let mut config = config();
        let message = advertisement(&config).unwrap();
        assert_eq!(message[..8], [134, 0, 0, 0, 64, 0xc0, 7, 8]);
        let all = options(&message);
        assert_eq!(all.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [PREFIX, MTU, RDNSS, DNSSL]);
        assert_eq!(all[0].1[..2], [64, 0xc0]);
        assert_eq!(all[0].1[14..], "fd09::".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(all[1].1[2..], [0, 0, 5, 220]);
        assert_eq!(all[2].1[6..], "fd09::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(&all[3].1[6..13], b"\x05cella\0");
        config.internal = true;
        (config.domain, config.mtu, config.dns) = ("not..a.domain".into(), 9, false);
        config.gateway6 = config.gateway6.map(|(gateway, _)| (gateway, 80));
        let message = advertisement(&config).unwrap();
        assert_eq!(message[6..8], [0, 0], "no router");
        let all = options(&message);
        assert_eq!((all.len(), all[0].1[1]), (1, ON_LINK), "no device makes addresses below this prefix");
        config.gateway6 = None;
        assert_eq!(advertisement(&config), None);
    }

    #[test]
    fn questions_for_routers() {
        let good = [133, 0, 0, 0, 0, 0, 0, 0];
        assert!(is_solicitation(&good, Ipv6Addr::UNSPECIFIED));
        assert!(is_solicitation(&good, "fe80::1".parse().unwrap()));
        assert!(!is_solicitation(&good, "fd09::2".parse().unwrap()));
        assert!(!is_solicitation(&good[..7], Ipv6Addr::UNSPECIFIED));
        assert!(!is_solicitation(&[134, 0, 0, 0, 0, 0, 0, 0], Ipv6Addr::UNSPECIFIED));
    }
}
