// SPDX-License-Identifier: Apache-2.0
//! DNS messages on the wire (RFC 1035, 6891): queries read without trust, and answers that never outgrow their limit.
//!
//! A codec of our own and no crate: a server for a few record types reads one question and one OPT record and never follows
//! a compression pointer. `simple-dns` 0.13 was tried: it refuses questions of types and classes that it does not know
//! and headers with the Z bit, where such a query is to be forwarded or denied; and takes the DO bit for a version.

use std::net::IpAddr;

/// The bytes of a header.
const HEADER: usize = 12;

/// The most bytes of a name on the wire, with its end.
const NAME: usize = 255;

/// An OPT record without options.
const OPT: usize = 11;

/// What every resolver takes by UDP, and the most that we send by it.
const SMALL: usize = 512;
const LARGE: usize = 4096;

/// How many additional records a query may have: OPT, TSIG and more than anybody sends.
const ADDITIONAL: u16 = 4;

/// A pointer to the name of the question.
const QUESTION: [u8; 2] = [0xc0, 0x0c];

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;
pub(super) const OPT_TYPE: u16 = 41;
pub(super) const ANY: u16 = 255;
pub(super) const CLASS_IN: u16 = 1;

pub(super) const NO_ERROR: u16 = 0;
pub(super) const FORMAT_ERROR: u16 = 1;
pub(super) const SERVER_FAILURE: u16 = 2;
pub(super) const NAME_ERROR: u16 = 3;
pub(super) const NOT_IMPLEMENTED: u16 = 4;
pub(super) const REFUSED: u16 = 5;
pub(super) const BAD_VERSION: u16 = 16;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
pub(super) const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
pub(super) const RECURSION_AVAILABLE: u16 = 0x0080;

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram, and so must the answer.
    Udp,
    /// In a stream.
    Tcp,
}

/// A query that can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub(super) id: [u8; 2],
    flags: u16,
    /// Name, type and class as they came.
    question: &'a [u8],
    pub(super) kind: u16,
    pub(super) class: u16,
    /// Maximum size of a datagram, and version.
    pub(super) edns: Option<(u16, u8)>,
}

/// Why a query cannot be understood, and what to say about it: an error code, or nothing.
pub(super) type Fault = Option<u16>;

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// Where the name that starts at `at` ends; `None` when it does not, is too long, or is compressed.
fn end_of_name(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    loop {
        let length = usize::from(*bytes.get(end)?);
        end += 1 + length;
        if length > 63 || end - at > NAME || end > bytes.len() {
            return None;
        }
        if length == 0 {
            return Some(end);
        }
    }
}

/// Name, type and class of a message with one question.
pub(super) fn question(message: &[u8]) -> Option<&[u8]> {
    let end = end_of_name(message, HEADER)? + 4;
    message.get(HEADER..end).filter(|_| word(message, 4) == Some(1))
}

/// Reads a query.
pub(super) fn parse(bytes: &[u8]) -> Result<Query<'_>, Fault> {
    let at = |at| word(bytes, at).ok_or(None);
    let (flags, answers, authorities, additional) = (at(2)?, at(6)?, at(8)?, at(10)?);
    if flags & RESPONSE != 0 {
        // Whoever answers answers would talk for ever.
        return Err(None);
    }
    if flags & OPCODE != 0 {
        return Err(Some(NOT_IMPLEMENTED));
    }
    let fault = Some(FORMAT_ERROR);
    let question = question(bytes).filter(|_| answers == 0 && authorities == 0 && additional <= ADDITIONAL);
    let question = question.ok_or(fault)?;
    let end = question.len();
    let (kind, class) = (word(question, end - 4).ok_or(fault)?, word(question, end - 2).ok_or(fault)?);
    let edns = edns(bytes, HEADER + end, additional).ok_or(fault)?;
    Ok(Query { id: [bytes[0], bytes[1]], flags, question, kind, class, edns })
}

/// The OPT record among so many records, of which there may be one.
#[expect(clippy::option_option, reason = "a fault is not the same as no such record")]
fn edns(bytes: &[u8], mut at: usize, records: u16) -> Option<Option<(u16, u8)>> {
    let mut found = None;
    for _ in 0..records {
        at = end_of_name(bytes, at)?;
        let fixed: &[u8; 10] = bytes.get(at..)?.first_chunk()?;
        at += fixed.len() + usize::from(word(fixed, 8)?);
        if at > bytes.len() {
            return None;
        }
        if word(fixed, 0)? == OPT_TYPE {
            let [_, _, _, _, _, version, ..] = *fixed;
            if found.replace((word(fixed, 2)?, version)).is_some() {
                return None;
            }
        }
    }
    Some(found)
}

impl<'a> Query<'a> {
    /// The name without its end, as it came.
    pub(super) fn name(&self) -> &'a [u8] {
        self.question.get(..self.question.len() - 5).unwrap_or_default()
    }

    /// The most bytes that may answer it.
    pub(super) fn limit(&self, transport: Transport) -> usize {
        match (transport, self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, Some((size, _))) => usize::from(size).clamp(SMALL, LARGE),
            (Transport::Udp, None) => SMALL,
        }
    }
}

/// An answer that is being written.
#[derive(Debug)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    limit: usize,
    edns: bool,
    flags: u16,
    code: u16,
    answers: u16,
}

impl Reply {
    pub(super) fn new(query: &Query<'_>, code: u16, flags: u16, limit: usize) -> Self {
        let mut bytes = [&query.id[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        bytes.extend_from_slice(query.question);
        let edns = query.edns.is_some();
        let limit = limit - if edns { OPT } else { 0 };
        Self { bytes, limit, edns, flags: flags | query.flags & RECURSION_DESIRED, code, answers: 0 }
    }

    /// Adds a record about the question's name; what does not fit is said to be missing.
    pub(super) fn record(&mut self, kind: u16, seconds: u32, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        if self.bytes.len() + 12 + value.len() > self.limit || usize::from(length) != value.len() {
            self.flags |= TRUNCATED;
            return;
        }
        self.bytes.extend(QUESTION);
        self.bytes.extend([kind, CLASS_IN].iter().flat_map(|word| word.to_be_bytes()));
        self.bytes.extend(seconds.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(value);
        self.answers += 1;
    }

    pub(super) fn address(&mut self, seconds: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.record(A, seconds, &address.octets()),
            IpAddr::V6(address) => self.record(AAAA, seconds, &address.octets()),
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let flags = RESPONSE | self.flags | self.code & 0xf;
        self.bytes.splice(2..4, flags.to_be_bytes());
        self.bytes.splice(6..8, self.answers.to_be_bytes());
        if self.edns {
            let [_, size @ ..] = (LARGE as u32).to_be_bytes();
            let [_, kind] = OPT_TYPE.to_be_bytes();
            let upper = u8::try_from(self.code >> 4).unwrap_or_default();
            self.bytes.splice(10..12, [0, 1]);
            self.bytes.extend([0, 0, kind, size[1], size[2], upper, 0, 0, 0, 0, 0]);
        }
        self.bytes
    }
}

/// An answer to a query that was not understood, or to none: a header, without the question.
pub(super) fn bare(query: &[u8], code: u16) -> Option<Vec<u8>> {
    let id = query.first_chunk::<2>()?;
    let flags = word(query, 2)?;
    let flags = RESPONSE | flags & (OPCODE | RECURSION_DESIRED) | code & 0xf;
    Some([&id[..], &flags.to_be_bytes(), &[0; 8]].concat())
}

/// Is this what was asked for? Same id, an answer, and the same question; letters may have changed their size. Old servers
/// tell what they do not understand (EDNS) without the question.
pub(super) fn answers(query: &[u8], answer: &[u8]) -> bool {
    let is_answer = word(answer, 2).is_some_and(|flags| flags & RESPONSE != 0 && flags & OPCODE == 0);
    let same_id = query.first_chunk::<2>().is_some_and(|id| answer.starts_with(id));
    let same = |one: &[u8]| question(query).is_some_and(|asked| asked.eq_ignore_ascii_case(one));
    let is_complaint = answer.len() == HEADER && word(answer, 4) == Some(0) && code(answer) != NO_ERROR;
    is_answer && same_id && (is_complaint || question(answer).is_some_and(same))
}

/// The answer's error code.
pub(super) fn code(answer: &[u8]) -> u16 {
    word(answer, 2).unwrap_or_default() & 0xf
}

/// A foreign answer under the id of `query`, cut to its question when it is larger than `limit`.
pub(super) fn relay(mut answer: Vec<u8>, id: [u8; 2], limit: usize) -> Vec<u8> {
    if answer.len() > limit {
        let end = HEADER + question(&answer).map_or(0, <[u8]>::len);
        let flags = word(&answer, 2).unwrap_or_default() | TRUNCATED;
        answer.truncate(end);
        answer.splice(2..4, flags.to_be_bytes());
        answer.splice(6..HEADER, [0; 6]);
    }
    answer.splice(0..2, id);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03Web\x07example\0\0\x01\0\x01";

    fn answer() -> Vec<u8> {
        let query = parse(QUERY).unwrap();
        let mut reply = Reply::new(&query, NO_ERROR, 0, 512);
        reply.address(60, "192.0.2.1".parse().unwrap());
        reply.finish()
    }

    #[test]
    fn only_what_was_asked_for_is_an_answer() {
        let good = answer();
        assert!(answers(QUERY, &good));
        assert!(answers(&QUERY.to_ascii_uppercase(), &good), "letters may change their size");
        for at in [0, 1, 2, 5, 13, 17, 26] {
            let mut wrong = good.clone();
            wrong[at] ^= 0x81;
            assert!(!answers(QUERY, &wrong), "at {at}");
        }
        assert!(!answers(QUERY, QUERY) && !answers(QUERY, &good[..20]));
        assert!(answers(QUERY, &bare(QUERY, FORMAT_ERROR).unwrap()));
        assert!(!answers(QUERY, &bare(QUERY, NO_ERROR).unwrap()));
    }

    #[test]
    fn a_foreign_answer_is_cut_to_what_its_client_takes() {
        let whole = relay(answer(), [9, 9], 512);
        assert_eq!((&whole[..2], whole.len()), (&[9, 9][..], answer().len()));
        let cut = relay(answer(), [9, 9], 40);
        assert_eq!((question(&cut), cut[2] & 2, &cut[6..12]), (question(QUERY), 2, &[0; 6][..]));
        assert_eq!(cut.len(), QUERY.len());
    }

    proptest! {
        #[test]
        fn any_answer_can_be_cut(bytes in proptest::collection::vec(any::<u8>(), 12..200), limit in 12..200_usize) {
            let limit = limit.max(HEADER + question(&bytes).map_or(0, <[u8]>::len));
            prop_assert!(relay(bytes, [1, 2], limit).len() <= limit);
        }
    }
}
