// SPDX-License-Identifier: Apache-2.0
//! Bandwidth: queues on the host's side, both ways, that nobody inside can reach.
//!
//! ```text
//!   to the container:    host ──► host's end [HTB ► queue] ──► container
//!   from the container:  container ──► host's end ─(redirect)─► ifb [HTB ► queue] ──► bridge, routes
//! ```
//!
//! A packet that would be too early waits; what waits is at most 100 ms long, so that a full queue delays nothing for seconds.
//! Packets in a second are counted by a program at the hooks before that; those that are too many are thrown away.
//! Below 64 Mbit/s large packets are cut to those of the link first: one of 64 KiB takes half a second at 1 Mbit/s.
//!
//! As measured (`cargo xtask bench network`): the rate is met within 2.5 % at 1 Mbit/s, 1.5 % at 10 Mbit/s and 0.5 % from
//! 100 Mbit/s to 1 Gbit/s, with 1 and 8 streams.

use std::os::fd::{AsFd, OwnedFd};

use kernel::link::{self, Change, New};
use kernel::netlink::Socket;
use kernel::traffic::{
    self, Action, Class, Direction, Discipline, Filter, Handle, Hook, How, Match, Place, Queue, add_hooks,
};
use spec::network::{Packets, Rate, Share};

use crate::device::index_of;
use crate::error::Result;

/// Below this rate large packets are cut.
const CUT: Rate = Rate(64_000_000);

/// What may wait, in milliseconds of the rate.
const WAIT_MS: u64 = 100;

/// The least that may wait: some packets of the link, or two large ones.
const LEAST_CUT: u64 = 8 * 1514;
const LEAST: u64 = 2 * 65_536;

/// What a class has that may borrow, in bytes per second: it must have something. Below a packet in a second, so that even
/// thousands of them do not raise what all have together.
const NEXT_TO_NOTHING: u64 = 1000;

/// Our filters among those of a device, in the order in which they look: what counts packets, into the class of a device, to the
/// queue of all devices of the container, to the device's own.
const COUNT: u16 = 7;
const SORT: u16 = 8;
const ALL: u16 = 9;
const OWN: u16 = 10;

/// The queue of a device.
const MAJOR: u16 = 1;
const LEAF: u16 = 0x10;

/// In a queue with several classes: that of all together, and that of what has no other.
const TOP: u16 = 1;
const REST: u16 = 2;

/// The first class of a device among those of its container.
const FIRST: u16 = 0x100;

/// The name of the device where packets of a host's end wait.
pub(crate) fn waiting_room(device: &str) -> String {
    format!("{device}i")
}

/// The device where packets to all devices of a container wait, and that of those from them.
pub(crate) fn shared_rooms(container: &str) -> [String; 2] {
    let id = container.get(..8).unwrap_or(container);
    [format!("v{id}.to"), format!("v{id}.from")]
}

/// The queue and its class, with `rate` for everything; in place of what was there.
fn shape(host: &mut Socket, device: u32, rate: Rate) -> Result<()> {
    let root = Handle::new(MAJOR, 1);
    root_queue(host, device, MAJOR, 1)?;
    traffic::put_class(host, How::Replace, device, Handle::new(MAJOR, 0), root, &class(rate))?;
    let queue = Queue { device, place: Place::Class(root), major: Some(LEAF), discipline: leaf(rate) };
    Ok(traffic::put_queue(host, How::Replace, &queue)?)
}

fn root_queue(host: &mut Socket, device: u32, major: u16, default: u16) -> Result<()> {
    if traffic::queue(host, device, Place::Root)?.is_none_or(|queue| queue.kind != "htb") {
        let discipline = Discipline::Htb { default, direct_queue: Some(1000) };
        let queue = Queue { device, place: Place::Root, major: Some(major), discipline };
        traffic::put_queue(host, How::Replace, &queue)?;
    }
    Ok(())
}

/// A queue that has classes: `rate` for all of them, and what has none comes before them.
pub(crate) fn plant(host: &mut Socket, device: u32, major: u16, rate: Rate) -> Result<()> {
    root_queue(host, device, major, REST)?;
    traffic::put_class(host, How::Replace, device, Handle::new(major, 0), Handle::new(major, TOP), &class(rate))?;
    let rest = Share { guarantee: None, priority: Some(0) };
    branch(host, device, Handle::new(major, REST), rate, &rest)
}

/// A class in such a queue, which may have up to `most` of what is there for all.
pub(crate) fn branch(host: &mut Socket, device: u32, handle: Handle, most: Rate, share: &Share) -> Result<()> {
    let whole = class(most);
    let rate = share.guarantee.map_or(NEXT_TO_NOTHING, |rate| (rate.0 / 8).min(whole.rate));
    let own = Class { rate, priority: share.priority.unwrap_or(Share::PRIORITY), ..whole };
    let parent = Handle::new(handle.major, TOP);
    traffic::put_class(host, How::Replace, device, parent, handle, &own)?;
    let queue = Queue { device, place: Place::Class(handle), major: None, discipline: leaf(most) };
    Ok(traffic::put_queue(host, How::Replace, &queue)?)
}

/// Takes a class away; fine when it is not there.
pub(crate) fn prune(host: &mut Socket, device: u32, handle: Handle) -> Result<()> {
    match traffic::delete_class(host, device, handle) {
        Err(error) if error.is(kernel::Errno::NOENT) || error.is(kernel::Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

fn class(rate: Rate) -> Class {
    let bytes = rate.0 / 8;
    // Who borrows has its turn for a large packet, or where they are cut for two of the link: a turn of 64 KiB takes half a
    // second at 1 Mbit/s.
    let (least, quantum) = if rate < CUT { (2 * 1514, 2 * 1514) } else { (65_536, 60_000) };
    let burst = u32::try_from((bytes / 100).clamp(least, 8 << 20)).unwrap_or(u32::MAX);
    Class { rate: bytes, ceil: bytes, burst, ceil_burst: burst, priority: 0, quantum: Some(quantum) }
}

fn leaf(rate: Rate) -> Discipline {
    let waiting = |least: u64| u32::try_from((rate.0 / 8 * WAIT_MS / 1000).clamp(least, 16 << 20)).unwrap_or(u32::MAX);
    if rate < CUT {
        // A bucket that is never empty, for what it does on the way in: it cuts what is larger than it is.
        return Discipline::Tbf { rate: rate.0, burst: 2 * 1514, limit: waiting(LEAST_CUT) };
    }
    Discipline::ByteFifo { bytes: waiting(LEAST) }
}

/// Limits what goes to the container behind the host's end `device`; `None` takes the limit away.
pub(crate) fn limit_to(host: &mut Socket, device: u32, rate: Option<Rate>) -> Result<()> {
    match rate {
        Some(rate) => shape(host, device, rate),
        None => clear(host, device),
    }
}

/// Takes the queue of a device away.
pub(crate) fn clear(host: &mut Socket, index: u32) -> Result<()> {
    if traffic::queue(host, index, Place::Root)?.is_some_and(|queue| queue.kind == "htb") {
        traffic::delete_queue(host, index, Place::Root)?;
    }
    Ok(())
}

/// Limits what comes from the container behind the host's end `device`; `None` takes the limit away.
pub(crate) fn limit_from(host: &mut Socket, device: &str, rate: Option<Rate>) -> Result<()> {
    let index = index_of(host, device)?;
    let name = waiting_room(device);
    let Some(rate) = rate else {
        if link::find(host, &name)?.is_some() {
            redirect_if(host, index, Hook::Ingress, OWN, None)?;
            remove(host, &name)?;
        }
        return Ok(());
    };
    let room = room(host, &name)?;
    shape(host, room, rate)?;
    redirect_if(host, index, Hook::Ingress, OWN, Some(room))
}

/// A device where packets wait, made unless it is there.
pub(crate) fn room(host: &mut Socket, name: &str) -> Result<u32> {
    if let Some(found) = link::find(host, name)? {
        return Ok(found.index);
    }
    link::create(host, &New { queue: Some(1000), ..New::of(name, link::Kind::Ifb) })?;
    let room = index_of(host, name)?;
    // Nobody speaks IPv6 there.
    link::set_link_local(host, room, false).ok();
    link::set(host, room, &Change { up: Some(true), ..Change::default() })?;
    Ok(room)
}

/// The room of all devices of a container, which is theirs together.
pub(crate) fn shared_room(host: &mut Socket, name: &str, rate: Rate) -> Result<u32> {
    let room = room(host, name)?;
    plant(host, room, MAJOR, rate)?;
    Ok(room)
}

/// Sends all that passes the hook through the room of all devices, or no longer.
pub(crate) fn share_room(host: &mut Socket, device: u32, hook: Hook, room: Option<u32>) -> Result<()> {
    redirect_if(host, device, hook, ALL, room)
}

/// Sends all that comes in at a bridge through a room, or no longer. Where br_netfilter is loaded the packet's connection, and
/// where it is translated to, is known by then and not asked for again: a redirect by an action would forget it, and the packet
/// would belong to none.
pub(crate) fn border_room(host: &mut Socket, bridge: u32, room: Option<u32>) -> Result<()> {
    let there = is_there(host, bridge, Hook::Ingress, OWN);
    let (false, Some(room)) = (there, room) else {
        return if there && room.is_none() { redirect_if(host, bridge, Hook::Ingress, OWN, None) } else { Ok(()) };
    };
    let program = kernel::bpf::redirect_program(room)?;
    add_program(host, bridge, Hook::Ingress, OWN, (&program, "redirect"))
}

/// Gives what comes in at the container's device number `index` a class of its own in the room of all, which has up to `rate`.
pub(crate) fn sort(host: &mut Socket, device: u32, index: usize, to: Option<(u32, Rate, Rate)>) -> Result<()> {
    let there = is_there(host, device, Hook::Ingress, SORT);
    let Some((room, rate, total)) = to else {
        return if there { Ok(traffic::delete_filters(host, device, Hook::Ingress, SORT)?) } else { Ok(()) };
    };
    let handle = Handle::new(MAJOR, FIRST + u16::try_from(index).unwrap_or(0));
    branch(host, room, handle, rate.min(total), &Share::default())?;
    if there {
        return Ok(());
    }
    let program = kernel::bpf::class_program(handle)?;
    add_program(host, device, Hook::Ingress, SORT, (&program, "class"))
}

/// So many packets may come at once, where a tenth of a second has less: as many as the largest of UDP is cut into.
const LEAST_PACKETS: u64 = 128;

/// Lets through so many packets in a second, counted anew from now on; `None` takes the limit away. What comes back from a room
/// of all at the hook where it went there was counted then.
pub(crate) fn count(
    host: &mut Socket,
    device: u32,
    hook: Hook,
    packets: Option<Packets>,
    room: Option<u32>,
) -> Result<()> {
    let program = |Packets(rate)| kernel::bpf::packets_program(rate, (rate / 10).max(LEAST_PACKETS), room);
    let program = packets.map(program).transpose()?;
    if is_there(host, device, hook, COUNT) {
        traffic::delete_filters(host, device, hook, COUNT)?;
    }
    match program {
        Some(program) => add_program(host, device, hook, COUNT, (&program, "packets")),
        None => Ok(()),
    }
}

/// Has a program, whose name is for people, look at all that passes a hook.
fn add_program(
    host: &mut Socket,
    device: u32,
    hook: Hook,
    priority: u16,
    (program, name): (&OwnedFd, &str),
) -> Result<()> {
    hooks(host, device)?;
    let matching = Match::Program(program.as_fd(), name);
    Ok(traffic::add_filter(host, &Filter { device, hook, priority, matching, class: None, actions: &[] })?)
}

fn is_there(host: &mut Socket, device: u32, hook: Hook, priority: u16) -> bool {
    // Without the hooks there are no filters.
    let filters = traffic::filters(host, device, hook).unwrap_or_default();
    filters.iter().any(|filter| filter.priority == priority)
}

fn hooks(host: &mut Socket, device: u32) -> Result<()> {
    let added = add_hooks(host, device);
    Ok(added.or_else(|error| if error.is(kernel::Errno::EXIST) { Ok(()) } else { Err(error) })?)
}

fn redirect_if(host: &mut Socket, device: u32, hook: Hook, priority: u16, to: Option<u32>) -> Result<()> {
    match (is_there(host, device, hook, priority), to) {
        (true, None) => Ok(traffic::delete_filters(host, device, hook, priority)?),
        (false, Some(to)) => {
            hooks(host, device)?;
            redirect_at(host, device, hook, priority, to)
        }
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

/// All that comes in at `from` goes out by `to`.
pub(crate) fn redirect(host: &mut Socket, from: u32, to: u32) -> Result<()> {
    redirect_at(host, from, Hook::Ingress, OWN, to)
}

fn redirect_at(host: &mut Socket, device: u32, hook: Hook, priority: u16, to: u32) -> Result<()> {
    let actions = &[Action::Redirect { device: to, to: Direction::Out }];
    let filter = Filter { device, hook, priority, matching: Match::All, class: None, actions };
    Ok(traffic::add_filter(host, &filter)?)
}

/// Removes a room; fine when there is none.
pub(crate) fn remove(host: &mut Socket, name: &str) -> Result<()> {
    match link::find(host, name)? {
        Some(room) => Ok(link::delete(host, room.index)?),
        None => Ok(()),
    }
}

/// What a limited direction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shaped {
    /// Packets thrown away since too many waited, or were counted.
    pub(crate) drops: u64,
    /// Bytes that wait now.
    pub(crate) waiting: u64,
}

/// The counters of both directions: to the container, from it.
pub(crate) fn counters(host: &mut Socket, device: &str) -> Result<[Shaped; 2]> {
    let mut of = |name: &str| -> Result<Shaped> {
        let Some(found) = link::find(host, name)? else { return Ok(Shaped::default()) };
        let queue = traffic::queue(host, found.index, Place::Root)?.filter(|queue| queue.kind == "htb");
        let counters = queue.map(|queue| queue.counters).unwrap_or_default();
        // What programs have thrown away is one number for both ways.
        let hooks = traffic::queue(host, found.index, Place::Hooks)?;
        let counted = hooks.map_or(0, |hooks| hooks.counters.drops);
        Ok(Shaped { drops: u64::from(counters.drops) + u64::from(counted), waiting: counters.backlog.into() })
    };
    Ok([of(device)?, of(&waiting_room(device))?])
}
