// SPDX-License-Identifier: Apache-2.0
//! Bandwidth: queues on the host's side, both ways, that nobody inside can reach.
//!
//! ```text
//!   to the container:    host ──► host's end [HTB ► queue] ──► container
//!   from the container:  container ──► host's end ─(redirect)─► ifb [HTB ► queue] ──► bridge, routes
//! ```
//!
//! A packet that would be too early waits; what waits is at most 100 ms long, so that a full queue delays nothing for seconds.
//! Below 64 Mbit/s large packets are cut to those of the link first: one of 64 KiB takes half a second at 1 Mbit/s.

use kernel::link::{self, Change, New};
use kernel::netlink::Socket;
use kernel::traffic::{
    self, Action, Class, Direction, Discipline, Filter, Handle, Hook, How, Match, Place, Queue, add_hooks,
};
use spec::network::Rate;

use crate::device::index_of;
use crate::error::Result;

/// Below this rate large packets are cut.
const CUT: Rate = Rate(64_000_000);

/// What may wait, in milliseconds of the rate.
const WAIT_MS: u64 = 100;

/// The least that may wait: some packets of the link, or two large ones.
const LEAST_CUT: u64 = 8 * 1514;
const LEAST: u64 = 2 * 65_536;

/// Our filter among those of a device.
const PRIORITY: u16 = 10;

const MAJOR: u16 = 1;
const LEAF: u16 = 0x10;

/// The name of the device where packets of a host's end wait.
pub(crate) fn waiting_room(device: &str) -> String {
    format!("{device}i")
}

/// The queue and its class, with `rate` for everything; in place of what was there.
fn shape(host: &mut Socket, device: u32, rate: Rate) -> Result<()> {
    let root = Handle::new(MAJOR, 1);
    if traffic::queue(host, device, Place::Root)?.is_none_or(|queue| queue.kind != "htb") {
        let discipline = Discipline::Htb { default: 1, direct_queue: Some(1000) };
        let queue = Queue { device, place: Place::Root, major: Some(MAJOR), discipline };
        traffic::put_queue(host, How::Replace, &queue)?;
    }
    traffic::put_class(host, How::Replace, device, Handle::new(MAJOR, 0), root, &class(rate))?;
    let queue = Queue { device, place: Place::Class(root), major: Some(LEAF), discipline: leaf(rate) };
    Ok(traffic::put_queue(host, How::Replace, &queue)?)
}

fn class(rate: Rate) -> Class {
    let bytes = rate.0 / 8;
    let least = if rate < CUT { 2 * 1514 } else { 65_536 };
    let burst = u32::try_from((bytes / 100).clamp(least, 8 << 20)).unwrap_or(u32::MAX);
    Class { rate: bytes, ceil: bytes, burst, ceil_burst: burst, priority: 0, quantum: Some(60_000) }
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
pub(crate) fn limit_to(host: &mut Socket, device: &str, rate: Option<Rate>) -> Result<()> {
    let index = index_of(host, device)?;
    match rate {
        Some(rate) => shape(host, index, rate),
        None => clear(host, index),
    }
}

fn clear(host: &mut Socket, index: u32) -> Result<()> {
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
            traffic::delete_filters(host, index, Hook::Ingress, PRIORITY)?;
            forget(host, device)?;
        }
        return Ok(());
    };
    if link::find(host, &name)?.is_none() {
        link::create(host, &New { queue: Some(1000), ..New::of(&name, link::Kind::Ifb) })?;
    }
    let room = index_of(host, &name)?;
    shape(host, room, rate)?;
    link::set(host, room, &Change { up: Some(true), ..Change::default() })?;
    if traffic::filters(host, index, Hook::Ingress).unwrap_or_default().is_empty() {
        add_hooks(host, index).or_else(|error| if error.is(kernel::Errno::EXIST) { Ok(()) } else { Err(error) })?;
        redirect(host, index, room)?;
    }
    Ok(())
}

/// All that comes in at `from` goes out by `to`.
pub(crate) fn redirect(host: &mut Socket, from: u32, to: u32) -> Result<()> {
    let filter = Filter {
        device: from,
        hook: Hook::Ingress,
        priority: PRIORITY,
        matching: Match::All,
        class: None,
        actions: &[Action::Redirect { device: to, to: Direction::Out }],
    };
    Ok(traffic::add_filter(host, &filter)?)
}

/// Shapes what leaves a device of the host that is wired to a container's.
pub(crate) fn limit_lower(host: &mut Socket, device: u32, rate: Option<Rate>) -> Result<()> {
    match rate {
        Some(rate) => shape(host, device, rate),
        None => clear(host, device),
    }
}

/// Removes the waiting room of a host's end; fine when there is none.
pub(crate) fn forget(host: &mut Socket, device: &str) -> Result<()> {
    match link::find(host, &waiting_room(device))? {
        Some(room) => Ok(link::delete(host, room.index)?),
        None => Ok(()),
    }
}

/// What a limited direction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shaped {
    /// Packets thrown away since too many waited.
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
        Ok(Shaped { drops: counters.drops.into(), waiting: counters.backlog.into() })
    };
    Ok([of(device)?, of(&waiting_room(device))?])
}
