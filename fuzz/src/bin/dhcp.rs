// SPDX-License-Identifier: Apache-2.0
//! A packet, as bytes, to the answers of DHCP, DHCPv6 and router discovery: which of them is the first byte.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use network::helper::{advert, dhcp4, dhcp6};

/// More than any answer has.
const LARGE: usize = 1500;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, packet)) = bytes.split_first() else { return };
    let device = fuzz::network::mac(2 + (how >> 4));
    fuzz::network::with(how & 2 != 0, |config, names| match how & 1 {
        0 => {
            let Some((reply, to)) = dhcp4::answer(packet, config, names) else { return };
            let given = Ipv4Addr::from(<[u8; 4]>::try_from(&reply[16..20]).unwrap_or_default());
            let owner = packet.get(28..34).and_then(|mac| names.device(network::Mac(mac.try_into().ok()?)));
            let own = owner.and_then(|owner| owner.v4);
            assert!(own.is_some() && (given.is_unspecified() || own == Some(given)), "{given} for {own:?}");
            assert!((300..LARGE).contains(&reply.len()) && (to.ip().is_broadcast() || own == Some(*to.ip())));
            assert!(dhcp4::answer(&reply, config, names).is_none(), "an answer is answered");
        }
        _ => {
            let from = device.link_local();
            if let Some(reply) = dhcp6::answer(packet, from, config, names) {
                assert!(reply.len() < LARGE + packet.len() && reply[1..4] == packet[1..4]);
                assert!(dhcp6::answer(&reply, from, config, names).is_none(), "an answer is answered");
            }
            assert!(dhcp6::answer(packet, Ipv6Addr::LOCALHOST, config, names).is_none());
            assert!(!advert::is_solicitation(packet, Ipv6Addr::LOCALHOST));
            assert!(!advert::is_solicitation(packet, from) || packet[0] == advert::SOLICITATION);
        }
    });
});
