// SPDX-License-Identifier: Apache-2.0
//! Traffic control: queues that shape what a device sends, their classes, and filters that redirect what comes in (tc(8)), in
//! the network namespace of the socket.

use std::fmt;

use crate::error::{Errno, Result};
use crate::netlink::{Attributes, Message, Received, Socket, flags};

mod class;
mod filter;
mod queue;
#[cfg(test)]
mod tests;

pub use class::{Class, ClassState, classes, delete_class, put_class};
pub use filter::{Action, Direction, Filter, FilterState, Hook, Match, add_filter, delete_filters, filters};
pub use queue::{
    Discipline, Place, Queue, QueueState, add_hooks, delete_hooks, delete_queue, put_queue, queue, queues,
};

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;

const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// `struct tcmsg`.
const HEADER: usize = 20;

/// Nanoseconds of one tick of the kernel's packet scheduler (`PSCHED_SHIFT`).
const TICK: u64 = 64;

/// The name of a queue (`1:0`) or of a class in it (`1:10`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle {
    /// The number of the queue.
    pub major: u16,
    /// The number of the class in it; 0 for the queue itself.
    pub minor: u16,
}

impl Handle {
    /// `major:minor`.
    #[must_use]
    pub fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// As the kernel has it.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }

    fn from_number(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // tc(8) writes both in hexadecimal.
        write!(f, "{:x}:{:x}", self.major, self.minor)
    }
}

/// Is something new, in the place of another, or a change of what is there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It must not be there.
    Add,
    /// It may be there.
    Replace,
    /// It must be there; what waits in it stays.
    Change,
}

impl How {
    fn flags(self) -> u16 {
        match self {
            Self::Add => flags::CREATE | flags::EXCL,
            Self::Replace => flags::CREATE | flags::REPLACE,
            Self::Change => 0,
        }
    }
}

/// What a queue or a class has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets thrown away.
    pub drops: u32,
    /// How often a packet had to wait for the rate.
    pub overlimits: u32,
    /// Bytes that wait.
    pub backlog: u32,
    /// Packets that wait.
    pub waiting: u32,
}

impl Counters {
    fn parse(attributes: Attributes<'_>) -> Self {
        let stats = attributes.nested(TCA_STATS2);
        let basic = stats.get(TCA_STATS_BASIC).unwrap_or_default();
        let queue = stats.get(TCA_STATS_QUEUE).unwrap_or_default();
        let word = |bytes: &[u8], place: usize| {
            let field = bytes.get(place * 4..).and_then(|rest| rest.first_chunk());
            field.map_or(0, |field| u32::from_ne_bytes(*field))
        };
        let long = |bytes: &[u8]| bytes.first_chunk().map(|field| u64::from_ne_bytes(*field));
        // The count of packets in the basic part has 32 bits; where it has more, they are elsewhere.
        let packets = stats.get(TCA_STATS_PKT64).and_then(long).unwrap_or(word(basic, 2).into());
        let (bytes, waiting, backlog) = (long(basic).unwrap_or(0), word(queue, 0), word(queue, 1));
        Self { bytes, packets, drops: word(queue, 2), overlimits: word(queue, 4), backlog, waiting }
    }
}

/// A `struct tcmsg`.
fn header(device: u32, handle: u32, parent: u32, info: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    for (place, value) in bytes.chunks_exact_mut(4).zip([0, device, handle, parent, info]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// What all objects have: device, handle, parent, info, kind, counters.
struct Object<'a> {
    device: u32,
    handle: u32,
    parent: u32,
    info: u32,
    kind: String,
    counters: Counters,
    options: Option<&'a [u8]>,
}

impl<'a> Object<'a> {
    fn parse(one: &Received<'a>) -> Option<Self> {
        let word = |place: usize| one.body.get(place * 4..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let attributes = one.attributes(HEADER);
        Some(Self {
            device: word(1)?,
            handle: word(2)?,
            parent: word(3)?,
            info: word(4)?,
            kind: attributes.get_text(TCA_KIND)?,
            counters: Counters::parse(attributes),
            options: attributes.get(TCA_OPTIONS),
        })
    }
}

/// Sends a request. What this kernel does not have is `EOPNOTSUPP`: it says `ENOENT`, which may mean many things, and tells the
/// difference in words only.
fn call(socket: &mut Socket, message: Message, name: impl FnOnce() -> String) -> Result<()> {
    const LACKING: [&str; 4] =
        ["qdisc kind is unknown", "Specified qdisc not found", "classifier not found", "load TC action module"];
    socket.transact(message).map_err(|mut failed| {
        let words = failed.words.as_deref().unwrap_or_default();
        if failed.errno == Errno::NOENT && LACKING.iter().any(|one| words.contains(one)) {
            failed.errno = Errno::OPNOTSUPP;
        }
        failed.named(name)
    })
}

/// A `struct tc_ratespec` for bytes per second. It has 32 bits, the rest is in an attribute of its own. With the link layer told
/// the kernel computes (Linux 3.11), and needs no table of 1 KiB for each rate.
fn rate(bytes_per_second: u64) -> [u8; 12] {
    let [a, b, c, d] = u32::try_from(bytes_per_second).unwrap_or(u32::MAX).to_ne_bytes();
    [0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

/// How long `bytes` take at a rate, in ticks.
fn ticks(bytes: u32, bytes_per_second: u64) -> u32 {
    let nanoseconds = u128::from(bytes) * 1_000_000_000;
    let ticks = nanoseconds.div_ceil(u128::from(bytes_per_second.max(1)) * u128::from(TICK));
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// How many bytes pass in these ticks.
fn bytes_in(ticks: u32, bytes_per_second: u64) -> u32 {
    let bytes = u128::from(ticks) * u128::from(TICK) * u128::from(bytes_per_second) / 1_000_000_000;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
