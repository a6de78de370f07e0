// SPDX-License-Identifier: Apache-2.0
//! Routes: add, list, delete (rtnetlink(7)), in the network namespace of the socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use crate::address::Scope;
use crate::address::{family, ip, octets};
use crate::error::Result;
use crate::netlink::{Attributes, Message, Received, Socket, flags};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const RTNH_F_ONLINK: u32 = 4;
const RTPROT_STATIC: u8 = 4;
const RTM_F_CLONED: u32 = 0x200;

/// `struct rtmsg`.
const HEADER: usize = 12;

/// The table that a host routes by unless rules say another.
pub const MAIN: u32 = 254;
/// The table of the host's own addresses, which the kernel fills.
pub const LOCAL: u32 = 255;

/// What becomes of packets that a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They go on.
    Forward,
    /// They are for this host.
    Local,
    /// They vanish.
    Blackhole,
    /// Their sender is told that there is no way.
    Unreachable,
    /// Their sender is told that it is forbidden.
    Prohibit,
    /// Something else that the kernel made: broadcast, multicast.
    Other,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to: an address and how many bits of it count; 0 for everywhere.
    pub destination: (IpAddr, u8),
    /// By which router; for IPv4 it may have an IPv6 address.
    pub gateway: Option<IpAddr>,
    /// Through which device.
    pub device: Option<u32>,
    /// The sender's address, where the sender has no preference.
    pub source: Option<IpAddr>,
    /// How far it reaches; unless given as far as its action and gateway suggest.
    pub scope: Option<Scope>,
    /// Is the gateway on the device's link, whatever the addresses say?
    pub onlink: bool,
    /// The lower, the better; the kernel's default (0 for IPv4, 1024 for IPv6) unless given.
    pub metric: Option<u32>,
    /// In which table.
    pub table: u32,
    /// What becomes of the packets.
    pub action: Action,
}

impl Route {
    /// A route of the main table to `ip/prefix`, by nothing yet.
    #[must_use]
    pub fn to(ip: IpAddr, prefix: u8) -> Self {
        let (gateway, device, source, scope, metric) = (None, None, None, None, None);
        let (table, action) = (MAIN, Action::Forward);
        Self { destination: (ip, prefix), gateway, device, source, scope, onlink: false, metric, table, action }
    }

    /// The way to everywhere of this family by a router.
    #[must_use]
    pub fn default_by(gateway: IpAddr) -> Self {
        Self { gateway: Some(gateway), ..Self::to(any(gateway.is_ipv4()), 0) }
    }

    fn scope(&self) -> Scope {
        let plain = match self.action {
            Action::Local => Scope::Host,
            Action::Forward if self.destination.0.is_ipv4() && self.gateway.is_none() => Scope::Link,
            _ => Scope::Universe,
        };
        self.scope.unwrap_or(plain)
    }

    fn message(&self, kind: u16, more: u16) -> Message {
        let (to, prefix) = self.destination;
        let table = u8::try_from(self.table).unwrap_or(0);
        // Deleting takes every scope unless one is told.
        let deleting = kind == RTM_DELROUTE && self.scope.is_none();
        let scope = if deleting { Scope::Nowhere } else { self.scope() }.number();
        let protocol = if kind == RTM_DELROUTE { 0 } else { RTPROT_STATIC };
        let mut head = [0; HEADER];
        head[..8].copy_from_slice(&[family(to), prefix, 0, 0, table, protocol, scope, self.action.number()]);
        head[8..].copy_from_slice(&if self.onlink { RTNH_F_ONLINK } else { 0 }.to_ne_bytes());
        let mut message = Message::new(kind, more, &head);
        message.u32(RTA_TABLE, self.table);
        if prefix > 0 {
            message.put(RTA_DST, &octets(to));
        }
        match self.gateway {
            Some(gateway) if gateway.is_ipv4() == to.is_ipv4() => message.put(RTA_GATEWAY, &octets(gateway)),
            Some(gateway) => {
                let family = u16::from(family(gateway)).to_ne_bytes();
                message.put(RTA_VIA, &[&family[..], &octets(gateway)].concat())
            }
            None => &mut message,
        };
        if let Some(source) = self.source {
            message.put(RTA_PREFSRC, &octets(source));
        }
        for (kind, value) in [(RTA_OIF, self.device), (RTA_PRIORITY, self.metric)] {
            if let Some(value) = value {
                message.u32(kind, value);
            }
        }
        message
    }

    fn name(&self, what: &str) -> String {
        format!("netlink({what} route to {}/{})", self.destination.0, self.destination.1)
    }
}

impl Action {
    fn number(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Forward => 1,
            Self::Local => 2,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
        }
    }

    fn from_number(number: u8) -> Self {
        let known = [Self::Forward, Self::Local, Self::Blackhole, Self::Unreachable, Self::Prohibit];
        known.into_iter().find(|one| one.number() == number).unwrap_or(Self::Other)
    }
}

/// Adds a route.
///
/// # Errors
/// `EEXIST` when there is one to the same destination with this metric, `ENETUNREACH` when the gateway cannot be reached
/// (the device is down, or no address is on the gateway's link), `ENODEV`.
pub fn add(socket: &mut Socket, route: &Route) -> Result<()> {
    socket.call(route.message(RTM_NEWROUTE, flags::CREATE | flags::EXCL), || route.name("add"))
}

/// Adds a route, in the place of one to the same destination with the same metric.
///
/// # Errors
/// Those of [`add`], less `EEXIST`.
pub fn replace(socket: &mut Socket, route: &Route) -> Result<()> {
    socket.call(route.message(RTM_NEWROUTE, flags::CREATE | flags::REPLACE), || route.name("replace"))
}

/// Deletes the first route that is so, as far as it is told.
///
/// # Errors
/// `ESRCH` when there is none.
pub fn delete(socket: &mut Socket, route: &Route) -> Result<()> {
    socket.call(route.message(RTM_DELROUTE, 0), || route.name("delete"))
}

/// The routes of a table: those of IPv4, then those of IPv6.
///
/// # Errors
/// The kernel's.
pub fn list(socket: &mut Socket, table: u32) -> Result<Vec<Route>> {
    let mut all = Vec::new();
    for version4 in [true, false] {
        let mut head = [0; HEADER];
        head[0] = family(any(version4));
        let mut message = Message::new(RTM_GETROUTE, flags::DUMP, &head);
        // An older kernel lists all tables; one that has no such table says ENOENT.
        message.u32(RTA_TABLE, table);
        match socket.list(&message, "netlink(list routes)", |one| parse(&one).filter(|route| route.table == table)) {
            Err(error) if error.is(crate::Errno::NOENT) || error.is_unsupported() => {}
            other => all.extend(other?),
        }
    }
    Ok(all)
}

fn any(version4: bool) -> IpAddr {
    if version4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn parse(one: &Received<'_>) -> Option<Route> {
    let [family, prefix, _, _, table, _, scope, action, a, b, c, d] = *one.body.first_chunk::<HEADER>()?;
    let state = u32::from_ne_bytes([a, b, c, d]);
    if one.kind != RTM_NEWROUTE || state & RTM_F_CLONED != 0 || ![2, 10].contains(&family) {
        return None;
    }
    let attributes = one.attributes(HEADER);
    let destination = attributes.get(RTA_DST).and_then(ip).unwrap_or(any(family == 2));
    Some(Route {
        destination: (destination, prefix),
        gateway: gateway(attributes),
        device: attributes.get_u32(RTA_OIF),
        source: attributes.get(RTA_PREFSRC).and_then(ip),
        scope: Some(Scope::from_number(scope)),
        onlink: state & RTNH_F_ONLINK != 0,
        metric: attributes.get_u32(RTA_PRIORITY),
        table: attributes.get_u32(RTA_TABLE).unwrap_or(table.into()),
        action: Action::from_number(action),
    })
}

fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
    // RTA_VIA: the family, then the address.
    let via = || attributes.get(RTA_VIA).and_then(|bytes| bytes.get(2..)).and_then(ip);
    attributes.get(RTA_GATEWAY).and_then(ip).or_else(via)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{self, Address};
    use crate::link::tests::Scratch;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn routes_are_added_listed_replaced_and_deleted() {
        let Some(mut scratch) = Scratch::new("routes_are_added_listed_replaced_and_deleted") else { return };
        let device = scratch.device("d0");
        let socket = &mut scratch.socket;
        address::add(socket, &Address::new(device, at("10.9.0.2"), 24)).unwrap();
        address::add(socket, &Address::new(device, at("fd00:9::2"), 64)).unwrap();
        let routes = [
            Route { source: Some(at("10.9.0.2")), metric: Some(7), ..Route::default_by(at("10.9.0.1")) },
            Route {
                device: Some(device),
                onlink: true,
                ..Route { gateway: Some(at("169.254.1.1")), ..Route::to(at("10.77.0.0"), 16) }
            },
            Route { device: Some(device), ..Route::to(at("10.78.0.1"), 32) },
            Route { gateway: Some(at("fd00:9::1")), device: Some(device), ..Route::to(at("10.79.0.0"), 16) },
            Route::default_by(at("fd00:9::1")),
            Route { action: Action::Unreachable, ..Route::to(at("fd00:55::"), 32) },
            Route { action: Action::Blackhole, table: 1000, ..Route::to(at("10.80.0.0"), 16) },
        ];
        for route in &routes {
            add(socket, route).unwrap();
        }
        assert!(add(socket, &routes[0]).unwrap_err().is(crate::Errno::EXIST));
        replace(socket, &routes[0]).unwrap();
        let found = list(socket, MAIN).unwrap();
        for route in &routes[..6] {
            let same = |one: &&Route| one.destination == route.destination && one.table == route.table;
            let one = found.iter().find(same).unwrap_or_else(|| panic!("{route:?} of {found:?}"));
            assert_eq!(
                (one.gateway, one.source, one.onlink, one.action),
                (route.gateway, route.source, route.onlink, route.action)
            );
        }
        assert_eq!(list(socket, 1000).unwrap().len(), 1);
        assert_eq!(list(socket, 1001).unwrap(), []);
        for route in &routes {
            delete(socket, route).unwrap();
        }
        assert!(delete(socket, &routes[0]).unwrap_err().is(crate::Errno::SRCH));
        assert!(list(socket, LOCAL).unwrap().iter().any(|one| one.action == Action::Local));
    }

    #[test]
    fn ip_shows_the_same_route() {
        let Some(mut scratch) = Scratch::new("ip_shows_the_same_route") else { return };
        let device = scratch.device("d0");
        address::add(&mut scratch.socket, &Address::new(device, at("10.9.0.2"), 24)).unwrap();
        let route =
            Route { device: Some(device), onlink: true, metric: Some(9), ..Route::default_by(at("169.254.1.1")) };
        add(&mut scratch.socket, &route).unwrap();
        let link = Route { device: Some(device), source: Some(at("10.9.0.2")), ..Route::to(at("10.78.0.1"), 32) };
        add(&mut scratch.socket, &link).unwrap();
        let shown = scratch.run("ip", &["route"]);
        assert!(shown.contains("default via 169.254.1.1 dev d0 proto static metric 9 onlink"), "{shown}");
        assert!(shown.contains("10.78.0.1 dev d0 proto static scope link src 10.9.0.2"), "{shown}");
    }
}
