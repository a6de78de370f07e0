// SPDX-License-Identifier: Apache-2.0
//! Devices of the host that a container has as long as it runs: what they were is remembered, and they come back as they were.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use kernel::address::{self, Address};
use kernel::link::{self, Change, Link};
use kernel::netlink::{Family, Socket};
use kernel::route::{self, Route};
use spec::mac::Mac;

use crate::attachment::Attachment;
use crate::device::{exists, index_of, link_of};
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

/// Moves a device of the host in.
pub(crate) fn lend(host: &mut Socket, namespace: BorrowedFd<'_>, one: &Attachment, name: &str) -> Result<Borrowed> {
    let before = link_of(host, name)?;
    let borrowed = remember(host, &before)?;
    let there = Change {
        name: Some(&one.interface),
        namespace: Some(namespace),
        mac: one.nic.mac.map(|mac| mac.0),
        mtu: one.mtu,
        ..Change::default()
    };
    link::set(host, before.index, &there)?;
    let index = index_of(&mut Socket::open_in(namespace, Family::Route)?, &one.interface)?;
    Ok(Borrowed { index: Some(index), ..borrowed })
}

/// Gives a device back to the host that `own` stands for, as it was.
pub(crate) fn give_back(
    there: &mut Socket,
    host: &mut Socket,
    own: BorrowedFd<'_>,
    interface: &str,
    borrowed: &Borrowed,
) -> Result<()> {
    let inside = match borrowed.index {
        Some(index) => link::by_index(there, index)?,
        None => link::find(there, interface)?,
    };
    if let Some(inside) = inside {
        let back = Change {
            name: Some(&borrowed.name),
            namespace: Some(own),
            mac: borrowed.mac.map(|mac| mac.0),
            mtu: Some(borrowed.mtu),
            ..Change::default()
        };
        link::set(there, inside.index, &Change { up: Some(false), ..Change::default() })?;
        link::set(there, inside.index, &back)?;
    }
    restore(host, borrowed)
}

/// The addresses, the state and the routes of a device that has come back.
pub(crate) fn restore(host: &mut Socket, borrowed: &Borrowed) -> Result<()> {
    let index = index_of(host, &borrowed.name)?;
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
    let is_as_it_was = found.name == borrowed.name && found.mac.map(Mac) == borrowed.mac;
    if !is_as_it_was {
        link::set(host, found.index, &Change { up: Some(false), ..Change::default() })?;
    }
    let change = Change {
        name: Some(borrowed.name.as_str()).filter(|name| *name != found.name),
        mac: borrowed.mac.filter(|mac| Some(*mac) != found.mac.map(Mac)).map(|mac| mac.0),
        mtu: Some(borrowed.mtu).filter(|mtu| *mtu != found.mtu),
        ..Change::default()
    };
    link::set(host, found.index, &change)?;
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
