// SPDX-License-Identifier: Apache-2.0
//! A container's limits: of each of its devices, and of all of them together.
//!
//! A container with one device has one queue each way, with the stricter of both. With several, what goes to and comes from all
//! of them passes through two rooms of the container besides:
//!
//! ```text
//!   to the container:    host ──► host's end ─(redirect)─► room of all [HTB] ──► host's end [HTB] ──► container
//!   from the container:  container ──► host's end ─(class, redirect)─► room of all [HTB: a class for each] ──► bridge, routes
//!   wired to a device:   container ──► host's end ──► the device ─(redirect)─► room of all [HTB] ──► the device [HTB] ──► link
//! ```
//!
//! Packets are counted where they come in: at the host's end those of a device, at the rooms those of all, at the bridge those of
//! a network. What is too many is thrown away.

use kernel::netlink::{Family, Socket};
use kernel::traffic::Hook;
use spec::network::{Limits, Packets, Rate, Share};

use crate::device::index_of;
use crate::error::{Error, Kind, Result};
use crate::live::Live;
use crate::place::Networks;
use crate::shape;

/// What is to be changed of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retune {
    /// The place that it is on.
    pub place: String,
    /// Its limits.
    pub limits: Limits,
    /// Its share of the network.
    pub share: Share,
}

/// The limits of one device of `count`, and those of all together.
pub(crate) fn parts(own: &Limits, whole: &Limits, count: usize) -> [Limits; 2] {
    if count > 1 { [*own, *whole] } else { [own.least(whole), Limits::default()] }
}

/// The rate of the rooms of all, to and from: what is counted there passes through them too.
fn rooms(whole: &Limits) -> [Option<Rate>; 2] {
    let room = |rate: Option<Rate>, packets: Option<Packets>| rate.or(packets.map(|_| Rate::MOST));
    [room(whole.ingress, whole.ingress_packets), room(whole.egress, whole.egress_packets)]
}

/// Is anything held back?
pub(crate) fn holds(parts: &[Limits; 2]) -> bool {
    parts.iter().any(|limits| limits.effective().is_some())
}

/// Brings the queues of a device to its limits and those of all.
pub(crate) fn device(host: &mut Socket, live: &Live, parts: &[Limits; 2]) -> Result<()> {
    let Some(name) = &live.device else { return Ok(()) };
    let [own, whole] = parts.map(|limits| limits.effective());
    let upper = index_of(host, name)?;
    let [to, from] = shape::shared_rooms(&live.endpoint.container);
    let mut room = |name: &str, rate: Option<Rate>, packets: Option<Packets>| -> Result<Option<u32>> {
        let Some(rate) = rate else { return Ok(None) };
        let room = shape::shared_room(host, name, rate)?;
        shape::count(host, room, Hook::Egress, packets, None)?;
        Ok(Some(room))
    };
    let [rate_to, rate_from] = rooms(&whole);
    let (to, from) = (room(&to, rate_to, whole.ingress_packets)?, room(&from, rate_from, whole.egress_packets)?);
    shape::count(host, upper, Hook::Ingress, own.egress_packets, None)?;
    shape::count(host, upper, Hook::Egress, own.ingress_packets, to)?;
    shape::limit_to(host, upper, own.ingress)?;
    shape::share_room(host, upper, Hook::Egress, to)?;
    if let Some(lower) = &live.borrowed {
        // What leaves the host's device waits there.
        let lower = index_of(host, &lower.name)?;
        shape::limit_to(host, lower, own.egress)?;
        return shape::share_room(host, lower, Hook::Egress, from);
    }
    // What waits for all can not wait once more behind that: the device has a class among them.
    let class = from.zip(rate_from).map(|(room, all)| (room, own.egress.unwrap_or(all), all));
    shape::sort(host, upper, live.index, class)?;
    shape::share_room(host, upper, Hook::Ingress, from)?;
    shape::limit_from(host, name, if from.is_some() { None } else { own.egress })
}

/// Removes the rooms of a container that no limit of all needs.
pub(crate) fn forget(host: &mut Socket, container: &str, whole: &Limits) -> Result<()> {
    let rates = rooms(&whole.effective());
    for (room, rate) in shape::shared_rooms(container).into_iter().zip(rates) {
        if rate.is_none() {
            shape::remove(host, &room)?;
        }
    }
    Ok(())
}

impl Networks {
    /// Changes the limits of a container that runs: of one device, and what all may have together.
    ///
    /// # Errors
    /// The kernel's; a device of the host that was moved in without limits is not where it could be limited.
    pub fn limit(&self, container: &str, change: Option<&Retune>, whole: &Limits) -> Result<()> {
        let _lock = self.lock()?;
        let mut host = Socket::open(Family::Route)?;
        let mut list = self.endpoints_of(container)?;
        let count = list.len();
        for live in list.iter_mut().filter(|live| change.is_some_and(|change| change.place == live.network)) {
            if let Some(change) = change {
                live.nic.limits = change.limits;
                if change.share != live.nic.share {
                    self.may_share(live, &change.share)?;
                }
                live.nic.share = change.share;
            }
        }
        let inside = |live: &&Live| live.device.is_none() && holds(&parts(&live.nic.limits, whole, count));
        if let Some(live) = list.iter().find(inside) {
            let message = format!("{} is inside the container, where root could undo a limit", live.interface);
            return Err(Error::new(Kind::Conflict, message).hint("the limit holds from the next start on"));
        }
        let mut total = Limits::default();
        for mut live in list {
            let parts = parts(&live.nic.limits, whole, count);
            device(&mut host, &live, &parts)?;
            [live.limits, live.total] = parts;
            total = live.total;
            self.record(&live)?;
            self.put_share(&mut host, &live)?;
        }
        forget(&mut host, container, &total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_has_the_stricter_of_both_and_several_have_both() {
        let limits = |egress: u64, ingress: Option<u64>| Limits {
            egress: Some(Rate(egress)),
            ingress: ingress.map(Rate),
            ..Limits::default()
        };
        let (own, whole) = (limits(2_000_000, None), limits(3_000_000, Some(1_000_000)));
        assert_eq!(parts(&own, &whole, 1), [limits(2_000_000, Some(1_000_000)), Limits::default()]);
        assert_eq!(parts(&own, &whole, 2), [own, whole]);
        assert!(!holds(&[Limits { egress: Some(Rate::NONE), ..Limits::default() }, Limits::default()]));
        // What is only counted has rooms that hold nothing back.
        let counted = Limits { egress_packets: Some(Packets(10)), ..Limits::default() };
        assert_eq!(
            (rooms(&counted), rooms(&whole)),
            ([None, Some(Rate::MOST)], [Some(Rate(1_000_000)), Some(Rate(3_000_000))])
        );
    }
}
