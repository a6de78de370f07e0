// SPDX-License-Identifier: Apache-2.0
//! Devices: the host's and the container's end of each kind, and what is set inside.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use kernel::address::{self, Address};
use kernel::link::{self, Change, Kind as LinkKind, New, Peer, Port};
use kernel::netlink::Socket;
use kernel::route::{self, Route};
use kernel::{neighbour, net};
use spec::network::{Attach, Driver, IpvlanMode, MacvlanMode};

use crate::attachment::{Attachment, routed_gateway};
use crate::borrow;
use crate::error::{Error, Kind, Result};
use crate::live::Borrowed;

/// The device of this name.
pub(crate) fn index_of(socket: &mut Socket, name: &str) -> Result<u32> {
    Ok(link_of(socket, name)?.index)
}

pub(crate) fn link_of(socket: &mut Socket, name: &str) -> Result<link::Link> {
    let missing =
        || Error::new(Kind::Own, format!("this host has no device {name}")).hint("ip link shows those it has");
    link::find(socket, name)?.ok_or_else(missing)
}

/// The name that a device has on its way into a container, where its own may be taken on the host.
pub(crate) fn passing(one: &Attachment) -> String {
    format!("{}p", one.device)
}

/// Removes what is left of a device on its way into a container.
pub(crate) fn sweep(host: &mut Socket, device: &str) -> Result<()> {
    match link::find(host, &format!("{device}p"))? {
        Some(left) => Ok(link::delete(host, left.index).or_else(gone)?),
        None => Ok(()),
    }
}

/// Makes the device of an attachment in the container's network namespace; what the host has of it is down.
pub(crate) fn make(host: &mut Socket, namespace: BorrowedFd<'_>, one: &Attachment) -> Result<()> {
    match (&one.nic.attach, one.network.as_ref().map(|network| &network.driver)) {
        (_, Some(Driver::Bridge { .. })) => {
            let bridge = one.network.as_ref().map(|network| network.device.clone()).unwrap_or_default();
            pair(host, namespace, one, Some(&bridge))
        }
        (Attach::Bridge(bridge), _) => pair(host, namespace, one, Some(bridge)),
        (_, Some(Driver::Routed)) => pair(host, namespace, one, None),
        (Attach::Macvlan(parent, mode), _) | (_, Some(Driver::Macvlan { parent, mode })) => {
            on_parent(host, namespace, one, parent, macvlan(*mode))
        }
        (Attach::Ipvlan(parent, mode), _) | (_, Some(Driver::Ipvlan { parent, mode })) => {
            on_parent(host, namespace, one, parent, ipvlan(*mode))
        }
        (Attach::Vlan(parent, id), _) => {
            on_parent(host, namespace, one, parent, LinkKind::Vlan { id: *id, protocol: link::VlanProtocol::Q })
        }
        (Attach::Physical(name), _) => borrow::lend(host, namespace, one, name),
        (Attach::Network(_) | Attach::Cni(_), None) => Err(Error::new(Kind::Own, "a device without a kind")),
    }
}

fn macvlan(mode: MacvlanMode) -> LinkKind<'static> {
    LinkKind::Macvlan(match mode {
        MacvlanMode::Bridge => link::MacvlanMode::Bridge,
        MacvlanMode::Private => link::MacvlanMode::Private,
        MacvlanMode::Vepa => link::MacvlanMode::Vepa,
    })
}

fn ipvlan(mode: IpvlanMode) -> LinkKind<'static> {
    LinkKind::Ipvlan(match mode {
        IpvlanMode::L2 => link::IpvlanMode::L2,
        IpvlanMode::L3 => link::IpvlanMode::L3,
        IpvlanMode::L3s => link::IpvlanMode::L3Symmetric,
    })
}

/// A pair of devices: the host's end a port of `bridge`, or alone.
fn pair(host: &mut Socket, namespace: BorrowedFd<'_>, one: &Attachment, bridge: Option<&str>) -> Result<()> {
    let bridge = bridge.map(|name| link_of(host, name)).transpose()?;
    // A smaller packet than the bridge's is asked for, or the bridge's is taken.
    let mtu = one.mtu.or(bridge.as_ref().map(|bridge| bridge.mtu));
    let peer = Peer { name: &one.interface, mac: Some(one.mac.0), mtu, namespace: Some(namespace) };
    let new = New { mtu, master: bridge.map(|bridge| bridge.index), ..New::of(&one.device, LinkKind::Veth(peer)) };
    match link::create(host, &new) {
        // That of the last run, whose namespace the kernel has not yet taken down.
        Err(error) if error.is(kernel::Errno::EXIST) => {
            if let Some(old) = link::find(host, &one.device)? {
                link::delete(host, old.index).or_else(gone)?;
            }
            Ok(link::create(host, &new)?)
        }
        other => Ok(other?),
    }
}

fn gone(error: kernel::Error) -> kernel::Result<()> {
    if error.is(kernel::Errno::NODEV) { Ok(()) } else { Err(error) }
}

/// A device on one of the host.
fn on_parent(
    host: &mut Socket,
    namespace: BorrowedFd<'_>,
    one: &Attachment,
    parent: &str,
    kind: LinkKind<'_>,
) -> Result<()> {
    let parent = link_of(host, parent)?;
    if !parent.up {
        link::set(host, parent.index, &Change { up: Some(true), ..Change::default() })?;
    }
    let mac = if matches!(kind, LinkKind::Ipvlan(_)) { None } else { Some(one.mac.0) };
    let name = passing(one);
    let new = New { mtu: one.mtu, mac, parent: Some(parent.index), ..New::of(&name, kind) };
    link::create(host, &new)?;
    let index = index_of(host, &name)?;
    let there = Change { name: Some(&one.interface), namespace: Some(namespace), ..Change::default() };
    link::set(host, index, &there).inspect_err(|_| drop(link::delete(host, index)))?;
    Ok(())
}

/// Sets up the host's end: for a port of a bridge its flags, for a routed pair its routes.
pub(crate) fn ready(host: &mut Socket, one: &Attachment, isolated: bool) -> Result<()> {
    let routed = one.network.as_ref().is_some_and(|network| matches!(network.driver, Driver::Routed));
    let index = index_of(host, &one.device)?;
    // It is a host's end of nothing that IPv6 would speak to by itself.
    link::set_link_local(host, index, routed).ok();
    if !routed {
        let port = Port {
            isolated: Some(isolated),
            // A published port is reached by its own container, too.
            hairpin: Some(true),
            bpdu_guard: Some(true),
            root_block: Some(true),
            ..Port::default()
        };
        return Ok(link::set(host, index, &Change { up: Some(true), port: Some(port), ..Change::default() })?);
    }
    let name = one.device.as_str();
    for setting in ["accept_ra", "autoconf", "disable_ipv6"] {
        net::set_sysctl(&["ipv6", "conf", name, setting], "0").ok();
    }
    // The host answers for its own address of the link, and for whatever else is asked for on the pair.
    net::set_sysctl(&["ipv4", "conf", name, "proxy_arp"], "1")?;
    net::set_sysctl(&["ipv4", "conf", name, "forwarding"], "1")?;
    link::set(host, index, &Change { up: Some(true), ..Change::default() })?;
    if one.v4.is_some() {
        // A proxy answers only for what the host has a route to elsewhere, which without a default route it has not. Nobody
        // else sees the address, and nothing is sent from it.
        let own = Address { scope: address::Scope::Host, ..Address::new(index, routed_gateway(false), 32) };
        address::add(host, &own).or_else(exists)?;
    }
    if one.v6.is_some() {
        address::add(host, &Address::new(index, routed_gateway(true), 64)).or_else(exists)?;
    }
    for ip in one.address_like(None) {
        let length = if ip.is_ipv4() { 32 } else { 128 };
        route::replace(host, &Route { device: Some(index), ..Route::to(ip, length) })?;
        neighbour::set(host, index, ip, one.mac.0)?;
    }
    Ok(())
}

pub(crate) fn exists(error: kernel::Error) -> kernel::Result<()> {
    if error.is(kernel::Errno::EXIST) { Ok(()) } else { Err(error) }
}

/// Sets up the container's end: name, addresses, routes.
pub(crate) fn inside(there: &mut Socket, namespace: impl AsFd, one: &Attachment) -> Result<()> {
    let index = index_of(there, &one.interface)?;
    let routed = one.network.as_ref().is_some_and(|network| matches!(network.driver, Driver::Routed));
    if one.v6.is_some() {
        // Its address and route are given here; a program inside that does it by itself does not ask the kernel.
        let of = |setting| ["ipv6", "conf", one.interface.as_str(), setting];
        // A host may hand down that it has no IPv6 (net.core.devconf_inherit_init_net).
        let (accept, auto, off) = (of("accept_ra"), of("autoconf"), of("disable_ipv6"));
        net::set_sysctls_in(namespace, &[(&accept, "0"), (&auto, "0"), (&off, "0")])?;
    }
    for (ip, prefix) in addresses(one) {
        let prefix = if routed { if ip.is_ipv4() { 32 } else { 128 } } else { prefix };
        let broadcast = match ip {
            IpAddr::V4(ip) if prefix < 31 => Some(std::net::Ipv4Addr::from(u32::from(ip) | (u32::MAX >> prefix))),
            _ => None,
        };
        address::add(there, &Address { broadcast, ..Address::new(index, ip, prefix) }).or_else(exists)?;
    }
    up(there, index)?;
    if routed {
        to_others(there, index, one)?;
    }
    lead_out(there, one)
}

/// The ways to everywhere through a device.
pub(crate) fn lead_out(there: &mut Socket, one: &Attachment) -> Result<()> {
    let index = index_of(there, &one.interface)?;
    for router in &one.routers {
        route::replace(there, &Route { device: Some(index), onlink: true, ..Route::default_by(*router) })?;
    }
    Ok(())
}

/// Two devices of one MAC address on the same parent are not up at once; the one of a run before is there until the kernel has
/// ended its namespace.
fn up(there: &mut Socket, index: u32) -> Result<()> {
    let mut last = None;
    let done = borrow::patiently(|| match link::set(there, index, &Change { up: Some(true), ..Change::default() }) {
        Err(error) if error.is(kernel::Errno::ADDRINUSE) => {
            last = Some(error);
            Ok(None)
        }
        other => Ok(Some(other?)),
    })?;
    match (done, last) {
        (None, Some(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// The way to the others of a routed network, whose only neighbour on the link is the host.
fn to_others(there: &mut Socket, index: u32, one: &Attachment) -> Result<()> {
    for subnet in one.network.iter().flat_map(|network| &network.subnets) {
        let router = routed_gateway(matches!(subnet.net, ipnet::IpNet::V6(_)));
        if router.is_ipv4() {
            route::replace(there, &Route { device: Some(index), ..Route::to(router, 32) })?;
        }
        let to = Route::to(subnet.net.network(), subnet.net.prefix_len());
        route::replace(there, &Route { gateway: Some(router), device: Some(index), onlink: true, ..to })?;
    }
    Ok(())
}

fn addresses(one: &Attachment) -> impl Iterator<Item = (IpAddr, u8)> {
    let v4 = one.v4.map(|(ip, prefix)| (IpAddr::V4(ip), prefix));
    let v6 = one.v6.map(|(ip, prefix)| (IpAddr::V6(ip), prefix));
    [v4, v6].into_iter().flatten()
}

/// The other way for devices of the host's own links: they stay on the host, and the container has a pair whose host's end is
/// wired to them both ways. So what is limited is where root inside can not reach it. The host's own stack sees nothing of it.
pub(crate) fn wire_to(host: &mut Socket, namespace: BorrowedFd<'_>, one: &Attachment) -> Result<()> {
    let physical = matches!(one.nic.attach, Attach::Physical(_));
    let lower = match &one.nic.attach {
        Attach::Physical(name) => name.clone(),
        _ => lower_of(host, one)?,
    };
    let before = link_of(host, &lower)?;
    if physical {
        borrow::addresses(host, before.index)?.iter().try_for_each(|one| address::delete(host, one))?;
    }
    // Both have the same address on the link, so that what is for it is taken in.
    let mac = if physical && one.nic.mac.is_none() { before.mac } else { Some(one.mac.0) };
    let mtu = Some(one.mtu.unwrap_or(before.mtu));
    let peer = Peer { name: &one.interface, mac, mtu, namespace: Some(namespace) };
    link::create(host, &New { mtu, ..New::of(&one.device, LinkKind::Veth(peer)) })?;
    let upper = index_of(host, &one.device)?;
    for (from, to) in [(before.index, upper), (upper, before.index)] {
        link::set_link_local(host, from, false).ok();
        kernel::traffic::add_hooks(host, from).or_else(exists)?;
        crate::shape::redirect(host, from, to)?;
    }
    let change = Change { up: Some(true), mac: mac.filter(|mac| Some(*mac) != before.mac), ..Change::default() };
    link::set(host, before.index, &change)?;
    Ok(link::set(host, upper, &Change { up: Some(true), ..Change::default() })?)
}

/// Makes the device on the parent, on the host.
fn lower_of(host: &mut Socket, one: &Attachment) -> Result<String> {
    let driver = one.network.as_ref().map(|network| &network.driver);
    let (parent, kind) = match (&one.nic.attach, driver) {
        (Attach::Macvlan(parent, mode), _) | (_, Some(Driver::Macvlan { parent, mode })) => (parent, macvlan(*mode)),
        (Attach::Vlan(parent, id), _) => (parent, LinkKind::Vlan { id: *id, protocol: link::VlanProtocol::Q }),
        _ => {
            return Err(Error::new(Kind::Invalid, "an ipvlan device can not be limited")
                .hint("use macvlan, or a routed network"));
        }
    };
    let parent = link_of(host, parent)?;
    if !parent.up {
        link::set(host, parent.index, &Change { up: Some(true), ..Change::default() })?;
    }
    let name = passing(one);
    let new = New { mtu: one.mtu, mac: Some(one.mac.0), parent: Some(parent.index), ..New::of(&name, kind) };
    link::create(host, &new)?;
    Ok(name)
}

/// Undoes [`wire_to`]: a device of the host is as it was, one that was made for it is gone.
pub(crate) fn unwire_from(host: &mut Socket, live: &crate::live::Live, borrowed: &Borrowed) -> Result<()> {
    let Some(lower) = link::find(host, &borrowed.name)? else { return Ok(()) };
    if !matches!(live.nic.attach, Attach::Physical(_)) {
        return Ok(link::delete(host, lower.index)?);
    }
    kernel::traffic::delete_hooks(host, lower.index).ok();
    crate::shape::clear(host, lower.index)?;
    link::set_link_local(host, lower.index, true).ok();
    borrow::restore(host, borrowed)
}
