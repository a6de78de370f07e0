// SPDX-License-Identifier: Apache-2.0
//! Filters: which packets go to which class, or elsewhere by an action.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Counters, Handle, How, Object, TCA_KIND, TCA_OPTIONS, call, header};
use crate::address::octets;
use crate::error::{Errno, Result};
use crate::netlink::{Message, Socket, flags};

const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IPV6: u16 = 0x86dd;

const TCA_MATCHALL_CLASSID: u16 = 1;
const TCA_MATCHALL_ACT: u16 = 2;
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_FW_CLASSID: u16 = 1;
const TCA_FW_ACT: u16 = 4;
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_CLASSID: u16 = 3;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

const TC_U32_TERMINAL: u8 = 1;

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_POLICE_TBF: u16 = 1;
const TCA_POLICE_RESULT: u16 = 5;
const TCA_POLICE_PKTRATE64: u16 = 10;
const TCA_POLICE_PKTBURST64: u16 = 11;

const TC_ACT_SHOT: u32 = 2;
const TC_ACT_PIPE: u32 = 3;
const TC_ACT_STOLEN: u32 = 4;

/// A filter.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// The device.
    pub device: u32,
    /// Where it looks.
    pub hook: Hook,
    /// When it looks: the lowest first, from 1. One number has filters of one sort of [`Match`].
    pub priority: u16,
    /// Which packets it is for.
    pub matching: Match<'a>,
    /// The class that they go to.
    pub class: Option<Handle>,
    /// What becomes of them, one action after the other.
    pub actions: &'a [Action],
}

/// Where a filter looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// At what comes in; needs [`super::add_hooks`].
    Ingress,
    /// At what goes out, before it is queued; needs [`super::add_hooks`].
    Egress,
    /// At what comes to a queue with classes.
    Queue(Handle),
}

/// Which packets a filter is for.
#[derive(Debug, Clone, Copy)]
pub enum Match<'a> {
    /// All.
    All,
    /// Those from a network: address and how many bits of it count.
    From(IpAddr, u8),
    /// Those to a network.
    To(IpAddr, u8),
    /// Those with this mark, which a packet filter gave them.
    Mark(u32),
    /// Those that a program picks, which says itself what becomes of them (`BPF_PROG_TYPE_SCHED_CLS`).
    Program(BorrowedFd<'a>, &'a str),
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on at another device.
    Redirect {
        /// The device.
        device: u32,
        /// As if it was sent there, or had come in there.
        to: Direction,
    },
    /// It is thrown away when there are more than so many, and goes to the next action otherwise (Linux 5.13).
    Limit {
        /// Packets per second.
        packets: u64,
        /// Packets that may pass at once.
        burst: u64,
    },
}

/// A way through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It leaves by the device.
    Out,
    /// It came in by the device.
    In,
}

/// A filter as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterState {
    /// What the kernel calls it: `u32`, `matchall`.
    pub kind: String,
    /// Its priority.
    pub priority: u16,
    /// What the kernel counts for it; mostly nothing.
    pub counters: Counters,
}

/// Was the kernel found to be without cls_matchall?
static NO_MATCHALL: AtomicBool = AtomicBool::new(false);

/// Adds a filter behind those of its priority.
///
/// # Errors
/// `ENOENT` or `EINVAL` without the hooks or the queue, `ENODEV`, `EOPNOTSUPP` when the kernel does not have the sort of match
/// or the action.
pub fn add_filter(socket: &mut Socket, filter: &Filter<'_>) -> Result<()> {
    if matches!(filter.matching, Match::All) && !NO_MATCHALL.load(Ordering::Relaxed) {
        match filter.send(socket, "matchall") {
            // Does it lack the match or the action? With the other match we see.
            Err(error) if error.is(Errno::OPNOTSUPP) => {
                filter.send(socket, "u32")?;
                NO_MATCHALL.store(true, Ordering::Relaxed);
                return Ok(());
            }
            other => return other,
        }
    }
    let kind = match filter.matching {
        Match::All | Match::From(..) | Match::To(..) => "u32",
        Match::Mark(_) => "fw",
        Match::Program(..) => "bpf",
    };
    filter.send(socket, kind)
}

/// Deletes all filters of a priority.
///
/// # Errors
/// `ENOENT` or `EINVAL` when there is none.
pub fn delete_filters(socket: &mut Socket, device: u32, hook: Hook, priority: u16) -> Result<()> {
    let message = Message::new(RTM_DELTFILTER, 0, &header(device, 0, hook.number(), info(priority, 0)));
    call(socket, message, || format!("netlink(delete filters of device {device})"))
}

/// The filters of a hook.
///
/// # Errors
/// The kernel's.
pub fn filters(socket: &mut Socket, device: u32, hook: Hook) -> Result<Vec<FilterState>> {
    let message = Message::new(RTM_GETTFILTER, flags::DUMP, &header(device, 0, hook.number(), 0));
    socket.list(&message, "netlink(list filters)", |one| {
        let object = Object::parse(&one).filter(|object| one.kind == RTM_NEWTFILTER && object.device == device)?;
        // Besides the filters there are their tables, which have no name or one without the last 12 bits.
        let (priority, is_filter) = (object.info >> 16, object.handle & 0xfff != 0);
        let state = FilterState {
            kind: object.kind,
            priority: u16::try_from(priority).unwrap_or(u16::MAX),
            counters: object.counters,
        };
        is_filter.then_some(state)
    })
}

impl Hook {
    fn number(self) -> u32 {
        match self {
            Self::Ingress => TC_H_MIN_INGRESS,
            Self::Egress => TC_H_MIN_EGRESS,
            Self::Queue(handle) => handle.number(),
        }
    }
}

/// `tcm_info`: the priority, and the protocol in the network's order.
fn info(priority: u16, protocol: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(protocol.to_be())
}

impl Filter<'_> {
    fn send(&self, socket: &mut Socket, kind: &str) -> Result<()> {
        let protocol = match self.matching {
            Match::From(ip, _) | Match::To(ip, _) if ip.is_ipv4() => ETH_P_IP,
            Match::From(..) | Match::To(..) => ETH_P_IPV6,
            Match::All | Match::Mark(_) | Match::Program(..) => ETH_P_ALL,
        };
        let handle = if let Match::Mark(mark) = self.matching { mark } else { 0 };
        let head = header(self.device, handle, self.hook.number(), info(self.priority, protocol));
        let mut message = Message::new(RTM_NEWTFILTER, How::Add.flags(), &head);
        message.text(TCA_KIND, kind).nest(TCA_OPTIONS, |options| self.write(options, kind));
        call(socket, message, || format!("netlink(add filter of device {})", self.device))
    }

    fn write(&self, options: &mut Message, kind: &str) {
        let (class, act) = match kind {
            "matchall" => (TCA_MATCHALL_CLASSID, TCA_MATCHALL_ACT),
            "fw" => (TCA_FW_CLASSID, TCA_FW_ACT),
            "bpf" => (TCA_BPF_CLASSID, TCA_BPF_ACT),
            _ => (TCA_U32_CLASSID, TCA_U32_ACT),
        };
        if let Some(handle) = self.class {
            options.u32(class, handle.number());
        }
        if !self.actions.is_empty() {
            options.nest(act, |list| {
                for (order, action) in (1..).zip(self.actions) {
                    list.nest(order, |one| action.write(one));
                }
            });
        }
        match self.matching {
            Match::All if kind == "u32" => options.put(TCA_U32_SEL, &selector(&[([0; 4], [0; 4], 0)])),
            // Where the addresses are in the header: RFC 791, RFC 8200.
            Match::From(ip, prefix) => options.put(TCA_U32_SEL, &network(ip, prefix, [12, 8])),
            Match::To(ip, prefix) => options.put(TCA_U32_SEL, &network(ip, prefix, [16, 24])),
            Match::Program(program, name) => options
                .u32(TCA_BPF_FD, program.as_raw_fd().cast_unsigned())
                .text(TCA_BPF_NAME, name)
                .u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT),
            Match::All | Match::Mark(_) => options,
        };
    }
}

/// The keys for a network; `at` is where the address is in a header of IPv4 and of IPv6.
fn network(ip: IpAddr, prefix: u8, at: [i32; 2]) -> Vec<u8> {
    let at = if ip.is_ipv4() { at[0] } else { at[1] };
    let bytes = octets(ip);
    let mut keys = Vec::new();
    for ((value, offset), before) in bytes.as_chunks::<4>().0.iter().zip((at..).step_by(4)).zip((0_u32..).step_by(32)) {
        let bits = u32::from(prefix).saturating_sub(before).min(32);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        if bits > 0 {
            keys.push((mask.to_be_bytes(), (u32::from_be_bytes(*value) & mask).to_be_bytes(), offset));
        }
    }
    // A network of no bits is all: a selector without a key would match nothing.
    if keys.is_empty() {
        keys.push(([0; 4], [0; 4], 0));
    }
    selector(&keys)
}

/// A `struct tc_u32_sel` with its keys: mask, value, place.
fn selector(keys: &[([u8; 4], [u8; 4], i32)]) -> Vec<u8> {
    let mut bytes = vec![TC_U32_TERMINAL, 0, u8::try_from(keys.len()).unwrap_or(u8::MAX), 0];
    bytes.resize(16, 0);
    for (mask, value, place) in keys {
        bytes.extend([*mask, *value, place.to_ne_bytes(), [0; 4]].as_flattened());
    }
    bytes
}

impl Action {
    fn write(self, one: &mut Message) {
        match self {
            Self::Redirect { device, to } => {
                let how: u32 = match to {
                    Direction::Out => 1,
                    Direction::In => 3,
                };
                // struct tc_mirred: index, capabilities, action, two counts of use, how, device.
                let words = [0, 0, TC_ACT_STOLEN, 0, 0, how, device].map(u32::to_ne_bytes);
                one.text(TCA_ACT_KIND, "mirred").nest(TCA_ACT_OPTIONS, |options| {
                    options.put(TCA_MIRRED_PARMS, words.as_flattened());
                });
            }
            Self::Limit { packets, burst } => {
                // struct tc_police: index, what becomes of packets beyond the rate, then rates in bytes: none.
                let mut police = [0_u8; 56];
                police[4..8].copy_from_slice(&TC_ACT_SHOT.to_ne_bytes());
                one.text(TCA_ACT_KIND, "police").nest(TCA_ACT_OPTIONS, |options| {
                    options
                        .put(TCA_POLICE_TBF, &police)
                        .u32(TCA_POLICE_RESULT, TC_ACT_PIPE)
                        .put(TCA_POLICE_PKTRATE64, &packets.to_ne_bytes())
                        .put(TCA_POLICE_PKTBURST64, &burst.to_ne_bytes());
                });
            }
        }
    }
}
