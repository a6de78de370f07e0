// SPDX-License-Identifier: Apache-2.0
//! Classes of an HTB queue: the rates that what is sent is held to (tc-htb(8)).

use super::{Counters, Handle, How, Object, Place, TCA_KIND, TCA_OPTIONS, bytes_in, call, header, rate, ticks};
use crate::error::Result;
use crate::netlink::{Attributes, Message, Socket, flags};

const RTM_NEWTCLASS: u16 = 40;
const RTM_DELTCLASS: u16 = 41;
const RTM_GETTCLASS: u16 = 42;

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;

/// The rates of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Bytes per second that it has for sure; not 0.
    pub rate: u64,
    /// Bytes per second with what others lend it; not below `rate`.
    pub ceil: u64,
    /// Bytes that may pass at once at `rate`; not below the largest packet, which with segmentation by the device is 64 KiB.
    pub burst: u32,
    /// Bytes that may pass at once at `ceil`.
    pub ceil_burst: u32,
    /// Who borrows first: 0 before 7.
    pub priority: u8,
    /// Bytes that it borrows before another of its priority has its turn, 1000 to 200000. Unless given a tenth of `rate`, for
    /// which the kernel's log complains when it is not in this range.
    pub quantum: Option<u32>,
}

/// A class as it is. Bursts are what remains of them after the kernel's rounding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassState {
    /// Its name.
    pub handle: Handle,
    /// Where it is: at the top of the queue or below a class.
    pub place: Place,
    /// Its rates.
    pub class: Class,
    /// What it has done.
    pub counters: Counters,
}

/// Adds, replaces or changes the class `handle` below the queue or class `parent` of a device.
///
/// # Errors
/// `EEXIST`, `ENOENT` when there is none to change or no such parent, `EINVAL` for rates that are 0.
pub fn put_class(
    socket: &mut Socket,
    how: How,
    device: u32,
    parent: Handle,
    handle: Handle,
    class: &Class,
) -> Result<()> {
    let head = header(device, handle.number(), parent.number(), 0);
    let mut message = Message::new(RTM_NEWTCLASS, how.flags(), &head);
    message.text(TCA_KIND, "htb").nest(TCA_OPTIONS, |options| class.write(options));
    call(socket, message, || format!("netlink({how:?} class {handle} of device {device})"))
}

/// Deletes a class.
///
/// # Errors
/// `ENOENT` when it is not there, `EBUSY` when filters or classes below use it.
pub fn delete_class(socket: &mut Socket, device: u32, handle: Handle) -> Result<()> {
    let message = Message::new(RTM_DELTCLASS, 0, &header(device, handle.number(), 0, 0));
    call(socket, message, || format!("netlink(delete class {handle} of device {device})"))
}

/// The HTB classes of a device.
///
/// # Errors
/// The kernel's.
pub fn classes(socket: &mut Socket, device: u32) -> Result<Vec<ClassState>> {
    let message = Message::new(RTM_GETTCLASS, flags::DUMP, &header(device, 0, 0, 0));
    socket.list(&message, "netlink(list classes)", |one| {
        let object = Object::parse(&one).filter(|object| object.kind == "htb" && object.device == device)?;
        let class = Class::parse(Attributes::of(object.options?))?;
        let handle = Handle::from_number(object.handle);
        Some(ClassState { handle, place: Place::from_number(object.parent), class, counters: object.counters })
    })
}

impl Class {
    /// Writes a `struct tc_htb_opt` and what does not fit in.
    fn write(&self, options: &mut Message) {
        let bursts = [ticks(self.burst, self.rate), ticks(self.ceil_burst, self.ceil)];
        // buffer, cbuffer, quantum, level (the kernel's), prio.
        let words = [bursts[0], bursts[1], self.quantum.unwrap_or(0), 0, self.priority.into()].map(u32::to_ne_bytes);
        let parameters = [&rate(self.rate)[..], &rate(self.ceil), words.as_flattened()].concat();
        options.put(TCA_HTB_PARMS, &parameters);
        for (kind, value) in [(TCA_HTB_RATE64, self.rate), (TCA_HTB_CEIL64, self.ceil)] {
            if value > u32::MAX.into() {
                options.put(kind, &value.to_ne_bytes());
            }
        }
    }

    fn parse(options: Attributes<'_>) -> Option<Self> {
        let parameters = options.get(TCA_HTB_PARMS)?;
        let word = |place: usize| parameters.get(place * 4..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let long = |kind| options.get(kind)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
        let rate = long(TCA_HTB_RATE64).unwrap_or(word(2)?.into());
        let ceil = long(TCA_HTB_CEIL64).unwrap_or(word(5)?.into());
        Some(Self {
            rate,
            ceil,
            burst: bytes_in(word(6)?, rate),
            ceil_burst: bytes_in(word(7)?, ceil),
            priority: u8::try_from(word(10)?).unwrap_or(u8::MAX),
            quantum: word(8),
        })
    }
}
