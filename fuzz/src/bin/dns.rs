// SPDX-License-Identifier: Apache-2.0
//! A query, as bytes, to the decision about it: by whom, how and in what network it is asked is the first byte.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use network::helper::dns::{self, Transport, Verdict};

/// The most bytes that a datagram is answered with.
const LARGE: usize = 4096;

/// An answer, in the third byte.
const RESPONSE: u8 = 0x80;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, query)) = bytes.split_first() else { return };
    let by = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let internal = how & 2 != 0;
    let from: IpAddr = Ipv4Addr::new(10, 9, 0, 2 + (how >> 4)).into();
    fuzz::network::with(internal, |config, names| {
        match dns::decide(query, from, by, config, names, usize::from(*how)) {
            Verdict::Answer(answer) => {
                assert!(answer.len() >= 12 && answer[..2] == query[..2] && answer[2] & RESPONSE != 0);
                assert!(by == Transport::Tcp || answer.len() <= LARGE);
                assert_eq!(dns::decide(&answer, from, by, config, names, 0), Verdict::Drop, "an answer is answered");
            }
            Verdict::Forward { limit } => assert!(!internal && limit >= 512),
            Verdict::Drop => assert!(query.len() < 12 || query[2] & RESPONSE != 0),
        }
        let foreign = Ipv4Addr::new(192, 0, 2, 1).into();
        assert_eq!(dns::decide(query, foreign, by, config, names, 0), Verdict::Drop);
    });
    if let Some(failure) = dns::failure(query) {
        assert!(failure[..2] == query[..2] && failure.len() <= LARGE);
    }
});
