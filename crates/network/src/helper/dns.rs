// SPDX-License-Identifier: Apache-2.0
//! What a name query is answered: by ourselves, by those upstream, or not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{self, Query, Reply, Transport as By};
use super::{Config, Names};
use crate::helper::names::Client;

pub use super::message::Transport;

/// Seconds that an answer may be kept: an address can be another container's soon.
const TTL: u32 = 5;

/// What to do with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Answer(Vec<u8>),
    /// Ask upstream, and send no more than `limit` bytes of what they say.
    Forward {
        /// Maximum size of the answer.
        limit: usize,
    },
    /// Say nothing.
    Drop,
}

/// Decides about the bytes that came from an address; `turn` says which of several addresses is the first.
#[must_use]
pub fn decide(bytes: &[u8], from: IpAddr, by: By, config: &Config, names: &Names, turn: usize) -> Verdict {
    let Some(client) = names.client(from) else { return Verdict::Drop };
    let query = match message::parse(bytes) {
        Ok(query) => query,
        Err(fault) => {
            return fault.and_then(|code| message::bare(bytes, code)).map_or(Verdict::Drop, Verdict::Answer);
        }
    };
    let asked = Asked { query, limit: query.limit(by), config, names, client, turn };
    asked.decide()
}

/// That we could not find out: the answer to a query for which nobody upstream had one.
#[must_use]
pub fn failure(bytes: &[u8]) -> Option<Vec<u8>> {
    match message::parse(bytes) {
        Ok(query) => {
            let limit = query.limit(By::Udp);
            Some(Reply::new(&query, message::SERVER_FAILURE, message::RECURSION_AVAILABLE, limit).finish())
        }
        Err(_) => message::bare(bytes, message::SERVER_FAILURE),
    }
}

struct Asked<'a> {
    query: Query<'a>,
    limit: usize,
    config: &'a Config,
    names: &'a Names,
    client: Client,
    turn: usize,
}

impl Asked<'_> {
    fn decide(&self) -> Verdict {
        if self.query.edns.is_some_and(|(_, version)| version > 0) {
            return self.plain(message::BAD_VERSION);
        }
        if self.query.class != message::CLASS_IN {
            return self.plain(message::REFUSED);
        }
        let key = self.query.name().to_ascii_lowercase();
        if let Some(address) = reversed(&key) {
            return self.pointer(address);
        }
        if let Some(addresses) = self.names.find(self.client, &key) {
            return self.addresses(addresses);
        }
        match self.names.domain().map(|domain| within(&key, domain)) {
            Some(Some([])) => self.plain(message::NO_ERROR),
            Some(Some(inner)) => match self.names.find(self.client, inner) {
                Some(addresses) => self.addresses(addresses),
                None => self.plain(message::NAME_ERROR),
            },
            // A name of one label is nobody else's: what is upstream need not know whom we look for.
            None | Some(None) if labels(&key).count() == 1 => self.plain(message::NAME_ERROR),
            None | Some(None) => self.elsewhere(),
        }
    }

    fn reply(&self, code: u16) -> Reply {
        let recursion = if self.config.internal { 0 } else { message::RECURSION_AVAILABLE };
        let authority =
            if matches!(code, message::NO_ERROR | message::NAME_ERROR) { message::AUTHORITATIVE } else { 0 };
        Reply::new(&self.query, code, recursion | authority, self.limit)
    }

    /// No record. There is no SOA with it, so that nobody remembers that a name is missing which may come in a moment.
    fn plain(&self, code: u16) -> Verdict {
        Verdict::Answer(self.reply(code).finish())
    }

    fn addresses(&self, mut addresses: Vec<IpAddr>) -> Verdict {
        let kind = self.query.kind;
        addresses.retain(|address| match address {
            IpAddr::V4(_) => kind == message::A || kind == message::ANY,
            IpAddr::V6(_) => kind == message::AAAA || kind == message::ANY,
        });
        if !addresses.is_empty() {
            let first = self.turn % addresses.len();
            addresses.rotate_left(first);
        }
        let mut reply = self.reply(message::NO_ERROR);
        for address in addresses {
            reply.address(TTL, address);
        }
        Verdict::Answer(reply.finish())
    }

    fn pointer(&self, address: IpAddr) -> Verdict {
        let Some(name) = self.names.pointer(self.client, address) else {
            let ours = self.names.is_here(address);
            return if ours { self.plain(message::NAME_ERROR) } else { self.elsewhere() };
        };
        let mut reply = self.reply(message::NO_ERROR);
        if matches!(self.query.kind, message::PTR | message::ANY) {
            let value = [name, self.names.domain().unwrap_or_default(), &[0]].concat();
            // A name that is too long with its domain is told without.
            let value = if value.len() > 255 { [name, &[0]].concat() } else { value };
            reply.record(message::PTR, TTL, &value);
        }
        Verdict::Answer(reply.finish())
    }

    fn elsewhere(&self) -> Verdict {
        if self.config.internal {
            return self.plain(message::REFUSED);
        }
        if self.config.upstream.is_empty() {
            return self.plain(message::SERVER_FAILURE);
        }
        Verdict::Forward { limit: self.limit }
    }
}

/// The labels of a key, each with all that follows it.
fn labels(key: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (label, next) = behind.split_at_checked(usize::from(*length))?;
        let here = std::mem::replace(&mut rest, next);
        Some((label, here))
    })
}

/// What of a name is before the domain; `None` when it is not in it.
fn within<'a>(key: &'a [u8], domain: &[u8]) -> Option<&'a [u8]> {
    if key == domain {
        return Some(&[]);
    }
    let at = labels(key).find(|(_, from)| *from == domain)?.1.len();
    key.get(..key.len() - at)
}

/// The address that `1.0.168.192.in-addr.arpa` and its like of IPv6 stand for.
fn reversed(key: &[u8]) -> Option<IpAddr> {
    let parts: Vec<&[u8]> = labels(key).map(|(label, _)| label).collect();
    let (digits, top) = parts.split_at_checked(parts.len().checked_sub(2)?)?;
    let text = |part: &&[u8]| std::str::from_utf8(part).ok().map(str::to_owned);
    match (top, digits.len()) {
        ([b"in-addr", b"arpa"], 4) => {
            let mut octets = [0; 4];
            for (octet, part) in octets.iter_mut().rev().zip(digits) {
                *octet = text(part).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
            }
            Some(Ipv4Addr::from(octets).into())
        }
        ([b"ip6", b"arpa"], 32) => {
            let mut bits = 0_u128;
            for part in digits.iter().rev() {
                let digit = text(part).filter(|text| text.len() == 1)?;
                bits = bits << 4 | u128::from(u8::from_str_radix(&digit, 16).ok()?);
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::RData;
    use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, Question, RCODE, TYPE};

    use super::super::tests::{config, mac, names};
    use super::*;

    const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    const DB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 3));
    const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 7, 7));

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(Name::new_unchecked(name), kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().unwrap()
    }

    fn ask_as(from: IpAddr, name: &str, kind: TYPE) -> Verdict {
        decide(&query(name, kind), from, By::Udp, &config(), &names(), 0)
    }

    /// Error code and what the records say, as a parser that is not ours reads them.
    fn read(verdict: Verdict) -> (RCODE, Vec<String>) {
        let Verdict::Answer(bytes) = verdict else { panic!("{verdict:?}") };
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED) && packet.id() == 7);
        let texts = packet.answers.iter().map(|record| match &record.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).to_string(),
            RData::AAAA(a) => Ipv6Addr::from(a.address).to_string(),
            RData::PTR(name) => name.0.to_string(),
            other => panic!("{other:?}"),
        });
        let texts = texts.collect();
        assert!(packet.answers.iter().all(|record| record.ttl == TTL && record.name == packet.questions[0].qname));
        (packet.rcode(), texts)
    }

    #[test]
    fn names_with_and_without_the_domain() {
        for name in ["web", "WEB", "www", "web.cella", "Web.CELLA"] {
            assert_eq!(read(ask_as(DB, name, TYPE::A)), (RCODE::NoError, vec!["10.9.0.2".into()]), "{name}");
        }
        let v6 = mac(2).eui64("fd09::".parse().unwrap()).to_string();
        assert_eq!(read(ask_as(DB, "web", TYPE::AAAA)), (RCODE::NoError, vec![v6]));
        assert_eq!(read(ask_as(DB, "dotted.alias", TYPE::A)).1, ["10.9.0.3"]);
        for (name, kind) in [("db", TYPE::AAAA), ("alone", TYPE::A), ("web", TYPE::MX), ("cella", TYPE::A)] {
            assert_eq!(read(ask_as(WEB, name, kind)), (RCODE::NoError, vec![]), "{name}");
        }
    }

    #[test]
    fn each_sees_the_networks_that_it_is_on() {
        assert_eq!(read(ask_as(WEB, "far", TYPE::A)).1, ["10.8.0.66"]);
        assert_eq!(read(ask_as(mac(2).link_local().into(), "far", TYPE::A)).1, ["10.8.0.66"]);
        for from in [DB, GUEST] {
            assert_eq!(read(ask_as(from, "far", TYPE::A)).0, RCODE::NameError);
            assert_eq!(read(ask_as(from, "web", TYPE::A)).1, ["10.9.0.2"]);
        }
        assert_eq!(read(ask_as(WEB, "stranger", TYPE::A)).0, RCODE::NameError);
        assert_eq!(ask_as("10.8.0.66".parse().unwrap(), "web", TYPE::A), Verdict::Drop);
        assert_eq!(ask_as("fd0a::2".parse().unwrap(), "web", TYPE::A), Verdict::Drop);
    }

    #[test]
    fn several_addresses_take_turns() {
        let first = |turn| {
            let query = query("all.cella", TYPE::A);
            read(decide(&query, WEB, By::Udp, &config(), &names(), turn)).1
        };
        assert_eq!(first(0), ["10.9.0.2", "10.9.0.3", "10.8.0.66"]);
        assert_eq!(first(1), ["10.9.0.3", "10.8.0.66", "10.9.0.2"]);
        assert_eq!(first(5), first(2));
    }

    #[test]
    fn addresses_have_names() {
        let ptr = |from, name: &str| read(ask_as(from, name, TYPE::PTR));
        assert_eq!(ptr(DB, "2.0.9.10.in-addr.arpa").1, ["web.cella"]);
        assert_eq!(ptr(DB, "99.0.9.10.IN-ADDR.ARPA").0, RCODE::NameError);
        assert_eq!(ptr(WEB, "66.0.8.10.in-addr.arpa").1, ["far.cella"]);
        let nibbles: Vec<String> = format!("{:032x}", mac(2).eui64("fd09::".parse().unwrap()).to_bits())
            .chars()
            .rev()
            .map(String::from)
            .collect();
        assert_eq!(ptr(DB, &format!("{}.ip6.arpa", nibbles.join("."))).1, ["web.cella"]);
        for name in ["66.0.8.10.in-addr.arpa", "+2.0.9.10.in-addr.arpa", "2.9.10.in-addr.arpa", "x.ip6.arpa"] {
            assert!(matches!(ask_as(DB, name, TYPE::PTR), Verdict::Forward { .. }), "{name}");
        }
    }

    #[test]
    fn what_is_not_ours_goes_upstream_unless_the_network_is_internal() {
        assert_eq!(ask_as(WEB, "example.com", TYPE::A), Verdict::Forward { limit: 512 });
        assert_eq!(ask_as(WEB, ".", TYPE::NS), Verdict::Forward { limit: 512 });
        for name in ["missing", "missing.cella", "a.web.cella"] {
            assert_eq!(read(ask_as(WEB, name, TYPE::A)).0, RCODE::NameError, "{name}");
        }
        let mut config = config();
        config.upstream.clear();
        let ask = |config: &Config| read(decide(&query("example.com", TYPE::A), WEB, By::Udp, config, &names(), 0)).0;
        assert_eq!(ask(&config), RCODE::ServerFailure);
        config.internal = true;
        assert_eq!(ask(&config), RCODE::Refused);
        config.upstream = super::super::tests::config().upstream;
        assert_eq!(ask(&config), RCODE::Refused);
    }

    #[test]
    fn a_dot_in_a_label_is_none_between_two() {
        let bytes = [&query("x", TYPE::A)[..12], b"\x0cdotted.alias\0\0\x01\0\x01"].concat();
        assert_eq!(read_code(&bytes), Some(3));
    }

    fn read_code(bytes: &[u8]) -> Option<u16> {
        match decide(bytes, WEB, By::Udp, &config(), &names(), 0) {
            Verdict::Answer(answer) => Some(message::code(&answer)),
            Verdict::Forward { .. } | Verdict::Drop => None,
        }
    }

    #[test]
    fn what_is_no_query() {
        let good = query("web", TYPE::A);
        for length in 0..10 {
            assert_eq!(read_code(&good[..length]), None, "{length}");
        }
        for length in 12..good.len() {
            assert_eq!(read_code(&good[..length]), Some(1), "{length}");
        }
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            read_code(&bytes)
        };
        assert_eq!(changed(2, 0x81), None, "an answer");
        assert_eq!(changed(2, (OPCODE::Notify as u8) << 3), Some(4));
        for at in [5, 7, 9, 11] {
            assert_eq!(changed(at, 9), Some(1), "counts that are not true, at {at}");
        }
        assert_eq!(changed(12, 0xc0), Some(1), "a compressed name");
        assert_eq!(changed(good.len() - 1, 3), Some(5), "class CHAOS");
        assert_eq!(changed(3, 0x40), Some(0), "the Z bit is nobody's fault");
        assert_eq!(changed(good.len() - 4, 0xff), Some(0), "a type that has no name");
    }

    #[test]
    fn sizes_and_versions_of_edns() {
        let with = |size: [u8; 2], ttl: [u8; 4], name: &str| {
            let mut bytes = query(name, TYPE::A);
            bytes[11] = 1;
            bytes.extend([0, 0, 41]);
            bytes.extend(size);
            bytes.extend(ttl);
            bytes.extend([0, 0]);
            bytes
        };
        let ask = |bytes: &[u8]| decide(bytes, WEB, By::Udp, &config(), &names(), 0);
        assert_eq!(ask(&with([4, 0], [0; 4], "a.b")), Verdict::Forward { limit: 1024 });
        assert_eq!(ask(&with([0, 0], [0; 4], "a.b")), Verdict::Forward { limit: 512 });
        assert_eq!(ask(&with([0xff, 0xff], [0, 0, 0x80, 0], "a.b")), Verdict::Forward { limit: 4096 });
        let Verdict::Answer(answer) = ask(&with([4, 0], [0, 1, 0, 0], "web")) else { panic!() };
        assert_eq!((answer[3] & 15, &answer[answer.len() - 11..]), (0, &[0, 0, 41, 16, 0, 1, 0, 0, 0, 0, 0][..]));
        let Verdict::Answer(answer) = ask(&with([4, 0], [0; 4], "web")) else { panic!() };
        assert_eq!(Packet::parse(&answer).unwrap().opt().unwrap().udp_packet_size, 4096);
        let twice = [&with([4, 0], [0; 4], "web")[..], &[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut twice = twice;
        twice[11] = 2;
        assert_eq!(read_code(&twice), Some(1));
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_missing() {
        let mut endpoints = super::super::tests::endpoints();
        let many = endpoints.get_mut("net").unwrap();
        for number in 0..500_u16 {
            let mut one = many[0].clone();
            let [high, low] = number.to_be_bytes();
            one.v4 = Some(Ipv4Addr::new(10, 9, 128 + high, low));
            many.push(one);
        }
        let names = Names::new(&config(), &endpoints);
        let ask = |by| match decide(&query("www", TYPE::A), WEB, by, &config(), &names, 0) {
            Verdict::Answer(answer) => answer,
            other => panic!("{other:?}"),
        };
        let (small, all) = (ask(By::Udp), ask(By::Tcp));
        assert!(small.len() <= 512 && small.len() > 490);
        assert!(Packet::parse(&small).unwrap().has_flags(PacketFlag::TRUNCATION));
        let all = Packet::parse(&all).unwrap();
        assert!(all.answers.len() == 501 && !all.has_flags(PacketFlag::TRUNCATION));
    }

    #[test]
    fn failures_say_to_whom_they_belong() {
        let failed = failure(&query("a.b", TYPE::A)).unwrap();
        let packet = Packet::parse(&failed).unwrap();
        assert_eq!((packet.rcode(), packet.id(), packet.questions.len()), (RCODE::ServerFailure, 7, 1));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic_or_a_large_answer(
            bytes in proptest::collection::vec(any::<u8>(), 0..600), tcp in any::<bool>(), turn in any::<usize>()
        ) {
            let by = if tcp { By::Tcp } else { By::Udp };
            if let Verdict::Answer(answer) = decide(&bytes, WEB, by, &config(), &names(), turn) {
                prop_assert!(answer.starts_with(&bytes[..2]) && (tcp || answer.len() <= 4096));
            }
            prop_assert_eq!(failure(&bytes).is_some(), bytes.len() >= 4);
        }

        #[test]
        fn every_name_has_one_verdict(name in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..6)) {
            let mut bytes = query("", TYPE::A)[..12].to_vec();
            for label in &name {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend(label);
            }
            bytes.extend([0, 0, 1, 0, 1]);
            match decide(&bytes, WEB, By::Udp, &config(), &names(), 0) {
                Verdict::Answer(answer) => {
                    prop_assert!(Packet::parse(&answer).is_ok());
                    prop_assert!(message::code(&answer) != 1 || bytes.len() > 12 + 255 + 4);
                }
                Verdict::Forward { .. } => prop_assert!(name.len() != 1),
                Verdict::Drop => prop_assert!(false),
            }
        }

        #[test]
        fn domains_are_cut_off_whole(labels in "[a-c]{1,2}(\\.[a-c]{1,2}){0,3}", domain in "[a-c]{1,2}(\\.[a-c]{1,2}){0,1}") {
            let key = |name: &str| crate::helper::names::key(name).unwrap();
            let (name, domain_key) = (key(&labels), key(&domain));
            let expected = if labels == domain { Some(Vec::new()) } else { labels.strip_suffix(&format!(".{domain}")).map(key) };
            prop_assert_eq!(within(&name, &domain_key).map(<[u8]>::to_vec), expected);
        }
    }
}
