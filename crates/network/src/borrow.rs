// SPDX-License-Identifier: Apache-2.0
//! Devices of the host that a container has as long as it runs: what they were is remembered, and they come back as they were.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use kernel::address::{self, Address};
use kernel::link::{self, Change, Link};
use kernel::netlink::Socket;
use kernel::route::{self, Route};
use spec::mac::Mac;
use spec::network::Attach;

use crate::attachment::Attachment;
use crate::device::{exists, link_of, passing};
use crate::error::{Error, Kind, Result};
use crate::live::{Borrowed, BorrowedRoute, Live};

/// How long the kernel may take to end a namespace.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks again until there is an answer, or for as long as the end of a namespace may take.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask()? {
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            answer => return Ok(answer),
        }
    }
}

/// The addresses of a device that somebody gave it for good.
pub(crate) fn addresses(host: &mut Socket, index: u32) -> Result<Vec<Address>> {
    let mut list = address::list(host, Some(index))?;
    list.retain(|address| address.permanent && address.scope == address::Scope::Universe);
    Ok(list)
}

/// The routes through a device, those that its addresses bring among them.
fn routes(host: &mut Socket, index: u32) -> Result<Vec<BorrowedRoute>> {
    let link_local = |ip: &std::net::IpAddr| matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    let all = route::list(host, route::MAIN)?.into_iter();
    let through = all.filter(|one| one.device == Some(index) && one.action == route::Action::Forward);
    Ok(through
        .filter(|one| !link_local(&one.destination.0))
        .map(|one| BorrowedRoute {
            to: one.destination,
            gateway: one.gateway,
            source: one.source,
            metric: one.metric,
            onlink: one.onlink,
        })
        .collect())
}

/// What a device of the host is now.
pub(crate) fn remember(host: &mut Socket, link: &Link) -> Result<Borrowed> {
    let addresses = addresses(host, link.index)?;
    Ok(Borrowed {
        name: link.name.clone(),
        mac: link.mac.map(Mac),
        mtu: link.mtu,
        up: link.up,
        addresses: addresses.into_iter().map(|address| (address.ip, address.prefix)).collect(),
        routes: routes(host, link.index)?,
        index: None,
        wired: false,
    })
}

/// What a device of the host is now that is to be lent, to be written down before it is touched; `wired` when it stays there.
pub(crate) fn survey(host: &mut Socket, one: &Attachment, wired: bool) -> Result<Option<Borrowed>> {
    let Attach::Physical(name) = &one.nic.attach else {
        // One that is made for the container, on the host: it goes at the end.
        let made = Borrowed { name: passing(one), mac: Some(one.mac), wired: true, ..Borrowed::default() };
        return Ok(wired.then_some(made));
    };
    let before = link_of(host, name)?;
    Ok(Some(Borrowed { wired, ..remember(host, &before)? }))
}

/// Moves a device of the host in.
pub(crate) fn lend(host: &mut Socket, namespace: BorrowedFd<'_>, one: &Attachment, name: &str) -> Result<()> {
    let before = link_of(host, name)?;
    // First what may be refused: from inside it could not be taken back as it was.
    let change = Change { mac: one.nic.mac.map(|mac| mac.0), mtu: one.mtu, up: Some(false), ..Change::default() };
    link::set(host, before.index, &change)?;
    let there = Change { name: Some(&one.interface), namespace: Some(namespace), ..Change::default() };
    Ok(link::set(host, before.index, &there)?)
}

/// Gives a device back to the host that `own` stands for, as it was. It is known by its number inside: what it is called there,
/// and what is called so instead, is up to root inside.
pub(crate) fn give_back(there: &mut Socket, host: &mut Socket, own: BorrowedFd<'_>, borrowed: &Borrowed) -> Result<()> {
    if let Some(index) = borrowed.index
        && let Some(inside) = link::by_index(there, index)?
    {
        link::set(there, inside.index, &Change { up: Some(false), ..Change::default() })?;
        let back = Change { name: Some(&borrowed.name), namespace: Some(own), ..Change::default() };
        link::set(there, inside.index, &back)?;
    }
    restore(host, borrowed)
}

/// The MAC address, the size of packets, the addresses, the state and the routes of a device that has come back.
pub(crate) fn restore(host: &mut Socket, borrowed: &Borrowed) -> Result<()> {
    let link = link_of(host, &borrowed.name)?;
    let index = link.index;
    if link.mac.map(Mac) != borrowed.mac || link.mtu != borrowed.mtu {
        link::set(host, index, &Change { up: Some(false), ..Change::default() })?;
        let change = Change { mac: borrowed.mac.map(|mac| mac.0), mtu: Some(borrowed.mtu), ..Change::default() };
        link::set(host, index, &change)?;
    }
    for (ip, prefix) in &borrowed.addresses {
        address::add(host, &Address::new(index, *ip, *prefix)).or_else(exists)?;
    }
    link::set(host, index, &Change { up: Some(borrowed.up), ..Change::default() })?;
    // A router is only known when there is a route to it: those without one first.
    let (far, near): (Vec<_>, Vec<_>) = borrowed.routes.iter().partition(|one| one.gateway.is_some());
    for one in near.into_iter().chain(far) {
        let (gateway, source, metric) = (one.gateway, one.source, one.metric);
        let device = Some(index);
        let route = Route { gateway, source, metric, device, onlink: one.onlink, ..Route::to(one.to.0, one.to.1) };
        route::add(host, &route).or_else(exists)?;
    }
    Ok(())
}

/// A device whose namespace has ended came back to the host by itself, with the name and the MAC address that it had inside.
pub(crate) fn restore_stray(host: &mut Socket, live: &Live, borrowed: &Borrowed) -> Result<()> {
    let gone = || {
        let message = format!("device {} did not come back from the namespace of its container", borrowed.name);
        Error::new(Kind::Own, message).hint("ip link shows where it is")
    };
    // The kernel takes a namespace apart when it has time.
    let found = patiently(|| stray(host, live, borrowed))?.ok_or_else(gone)?;
    if found.name != borrowed.name {
        link::set(host, found.index, &Change { up: Some(false), ..Change::default() })?;
        link::set(host, found.index, &Change { name: Some(&borrowed.name), ..Change::default() })?;
    }
    restore(host, borrowed)
}

/// Under its own name, the one it had inside, or one that only its MAC address tells of.
fn stray(host: &mut Socket, live: &Live, borrowed: &Borrowed) -> Result<Option<Link>> {
    if let Some(found) = link::find(host, &borrowed.name)? {
        return Ok(Some(found));
    }
    let known = |link: &Link| {
        let mac = link.mac.map(Mac);
        mac.is_some() && (mac == borrowed.mac || mac == Some(live.endpoint.mac))
    };
    // Bridges and devices on others have the addresses of hardware, too.
    let own = |link: &Link| matches!(link.kind.as_deref(), None | Some("veth"));
    let list = link::list(host)?;
    Ok(list.into_iter().find(|link| link.name != "lo" && own(link) && known(link)))
}
