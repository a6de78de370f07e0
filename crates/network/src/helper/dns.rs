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
