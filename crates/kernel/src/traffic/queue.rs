// SPDX-License-Identifier: Apache-2.0
//! Queues (queueing disciplines): at a device's root, below a class, and the hooks for filters.

use super::{Counters, Handle, How, Object, TC_H_ROOT, TCA_KIND, TCA_OPTIONS, call, header, rate, ticks};
use crate::error::{Errno, Result};
use crate::netlink::{Message, Socket, flags};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;

const TC_H_CLSACT: u32 = 0xffff_fff1;

const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_DIRECT_QLEN: u16 = 5;
const TC_HTB_VERSION: u32 = 3;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_FQ_CODEL_LIMIT: u16 = 2;

/// A queue of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The device.
    pub device: u32,
    /// Where.
    pub place: Place,
    /// Its number, by which classes and filters name it; by chance unless given.
    pub major: Option<u16>,
    /// How it works.
    pub discipline: Discipline,
}

/// Where a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everything that the device sends goes through it.
    Root,
    /// What a class lets wait is in it.
    Class(Handle),
    /// The hooks, where nothing waits; their filters throw away.
    Hooks,
}

impl Place {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Root => TC_H_ROOT,
            Self::Class(handle) => handle.number(),
            Self::Hooks => TC_H_CLSACT,
        }
    }

    pub(super) fn from_number(number: u32) -> Self {
        if number == TC_H_ROOT { Self::Root } else { Self::Class(Handle::from_number(number)) }
    }
}

/// How a queue works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// Classes with rates that lend each other what they do not use (tc-htb(8)). It cannot be changed, only its classes.
    Htb {
        /// The class of packets that no filter sorts (its minor number); those of class 0 are not held back.
        default: u16,
        /// How many packets without a class may wait; the device's number unless given.
        direct_queue: Option<u32>,
    },
    /// One rate for all (tc-tbf(8)).
    Tbf {
        /// Bytes per second.
        rate: u64,
        /// Bytes that may pass at once; not below the largest packet, which with segmentation by the device is 64 KiB.
        burst: u32,
        /// Bytes that may wait.
        limit: u32,
    },
    /// First in, first out.
    Fifo {
        /// Packets that may wait.
        packets: u32,
    },
    /// First in, first out.
    ByteFifo {
        /// Bytes that may wait.
        bytes: u32,
    },
    /// A queue for each conversation, kept short (tc-fq_codel(8)).
    FqCodel {
        /// Packets that may wait; 10240 unless given.
        packets: Option<u32>,
    },
}

impl Discipline {
    fn name(self) -> &'static str {
        match self {
            Self::Htb { .. } => "htb",
            Self::Tbf { .. } => "tbf",
            Self::Fifo { .. } => "pfifo",
            Self::ByteFifo { .. } => "bfifo",
            Self::FqCodel { .. } => "fq_codel",
        }
    }

    fn write(self, message: &mut Message) {
        match self {
            Self::Htb { default, direct_queue } => message.nest(TCA_OPTIONS, |options| {
                // struct tc_htb_glob: version, rate to quantum, default class, debug, packets without a class.
                let words = [TC_HTB_VERSION, 10, default.into(), 0, 0];
                options.put(TCA_HTB_INIT, words.map(u32::to_ne_bytes).as_flattened());
                direct_queue.map(|packets| options.u32(TCA_HTB_DIRECT_QLEN, packets));
            }),
            Self::Tbf { rate, burst, limit } => message.nest(TCA_OPTIONS, |options| tbf(options, rate, burst, limit)),
            Self::Fifo { packets: limit } | Self::ByteFifo { bytes: limit } => message.u32(TCA_OPTIONS, limit),
            Self::FqCodel { packets } => message.nest(TCA_OPTIONS, |options| {
                packets.map(|packets| options.u32(TCA_FQ_CODEL_LIMIT, packets));
            }),
        };
    }
}

/// Writes a `struct tc_tbf_qopt` and what does not fit in.
fn tbf(options: &mut Message, bytes_per_second: u64, burst: u32, limit: u32) {
    let words = [limit, ticks(burst, bytes_per_second), 0].map(u32::to_ne_bytes);
    let parameters = [&rate(bytes_per_second)[..], &[0; 12], words.as_flattened()].concat();
    options.put(TCA_TBF_PARMS, &parameters).u32(TCA_TBF_BURST, burst);
    if bytes_per_second > u32::MAX.into() {
        options.put(TCA_TBF_RATE64, &bytes_per_second.to_ne_bytes());
    }
}

/// A queue as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// What the kernel calls it: `htb`, `noqueue`.
    pub kind: String,
    /// Its name.
    pub handle: Handle,
    /// Where it is; none for the hooks of filters.
    pub place: Option<Place>,
    /// What it has done.
    pub counters: Counters,
}

impl QueueState {
    fn of(object: Object<'_>) -> Self {
        let place = (object.parent != TC_H_CLSACT).then(|| Place::from_number(object.parent));
        Self { kind: object.kind, handle: Handle::from_number(object.handle), place, counters: object.counters }
    }
}

/// Adds, replaces or changes a queue.
///
/// # Errors
/// `EEXIST`, `ENOENT` when there is none to change, `EOPNOTSUPP` when the kernel does not have this discipline, or cannot change it.
pub fn put_queue(socket: &mut Socket, how: How, queue: &Queue) -> Result<()> {
    let handle = Handle::new(queue.major.unwrap_or(0), 0);
    let mut message =
        Message::new(RTM_NEWQDISC, how.flags(), &header(queue.device, handle.number(), queue.place.number(), 0));
    message.text(TCA_KIND, queue.discipline.name());
    queue.discipline.write(&mut message);
    call(socket, message, || format!("netlink({how:?} queue {} of device {})", queue.discipline.name(), queue.device))
}

/// Deletes a queue with its classes and filters; the kernel's default takes its place.
///
/// # Errors
/// `ENOENT` when there is only the default.
pub fn delete_queue(socket: &mut Socket, device: u32, place: Place) -> Result<()> {
    let message = Message::new(RTM_DELQDISC, 0, &header(device, 0, place.number(), 0));
    call(socket, message, || format!("netlink(delete queue of device {device})"))
}

/// Gives a device the hooks for filters of what comes in and goes out (tc-clsact).
///
/// # Errors
/// `EEXIST`, `EOPNOTSUPP` when the kernel does not have them.
pub fn add_hooks(socket: &mut Socket, device: u32) -> Result<()> {
    let handle = Handle::new(0xffff, 0).number();
    let mut message = Message::new(RTM_NEWQDISC, How::Add.flags(), &header(device, handle, TC_H_CLSACT, 0));
    message.text(TCA_KIND, "clsact");
    call(socket, message, || format!("netlink(add hooks of device {device})"))
}

/// Takes the hooks away, and all filters there.
///
/// # Errors
/// `ENOENT` or `EINVAL` when there are none.
pub fn delete_hooks(socket: &mut Socket, device: u32) -> Result<()> {
    let message = Message::new(RTM_DELQDISC, 0, &header(device, 0, TC_H_CLSACT, 0));
    call(socket, message, || format!("netlink(delete hooks of device {device})"))
}

/// The queues of a device and its hooks. The kernel lists those of the whole namespace: for one queue of many there is [`queue`].
///
/// # Errors
/// The kernel's.
pub fn queues(socket: &mut Socket, device: u32) -> Result<Vec<QueueState>> {
    let message = Message::new(RTM_GETQDISC, flags::DUMP, &header(device, 0, 0, 0));
    socket.list(&message, "netlink(list queues)", |one| {
        let object = Object::parse(&one).filter(|_| one.kind == RTM_NEWQDISC)?;
        (object.device == device).then(|| QueueState::of(object))
    })
}

/// One queue; none when there is only the kernel's default.
///
/// # Errors
/// `ENODEV`.
pub fn queue(socket: &mut Socket, device: u32, place: Place) -> Result<Option<QueueState>> {
    // Without the echo the answer goes to those only who listen to all changes.
    let message = Message::new(RTM_GETQDISC, flags::ECHO, &header(device, 0, place.number(), 0));
    let mut found = None;
    let name = || format!("netlink(find queue of device {device})");
    let answer = socket.ask(message, name, &mut |one| found = Object::parse(&one).map(QueueState::of));
    match answer {
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        other => other.map(|()| found.filter(|queue| queue.handle.major != 0)),
    }
}
