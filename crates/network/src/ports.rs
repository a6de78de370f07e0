// SPDX-License-Identifier: Apache-2.0
//! Ports of the host: which are free, and keeping them while a container has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use kernel::inet::{self, Transport};
use spec::network::{Protocol, Publish};

use crate::error::{Error, Kind, Result};
use crate::live::Live;

/// How often a port is looked for that is free in both families.
const ATTEMPTS: usize = 32;

/// Ports that are kept, so that no program of the host takes one and wonders where its clients are.
#[derive(Debug, Default)]
pub struct Kept(Vec<(Publish, Vec<OwnedFd>)>);

impl Kept {
    /// Lets one go.
    pub fn release(&mut self, publish: &Publish) {
        self.0.retain(|(kept, _)| kept != publish);
    }

    /// Adds what another has.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Chooses ports where none is named, and takes all of them. `others` are attached already, `v6` is whether the container has
/// an IPv6 address.
pub(crate) fn take(publishes: &[Publish], others: &[Live], families: [bool; 2]) -> Result<(Vec<Publish>, Kept)> {
    let owned = |live: &Live| {
        let name = live.endpoint.names.first().unwrap_or(&live.endpoint.container).clone();
        live.publishes.iter().map(move |one| (*one, name.clone())).collect::<Vec<_>>()
    };
    let of_others: Vec<(Publish, String)> = others.iter().flat_map(owned).collect();
    let mut taken: Vec<Publish> = of_others.iter().map(|(one, _)| *one).collect();
    let (mut settled, mut kept) = (Vec::new(), Kept::default());
    for publish in publishes {
        let collides = |other: &Publish| publish.host != 0 && collide(other, publish);
        if let Some((other, owner)) = of_others.iter().find(|(other, _)| collides(other)) {
            return Err(Error::new(Kind::Conflict, format!("port {publish} is taken by container {owner}"))
                .hint(format!("cella port rm {owner} {other}")));
        }
        if taken.iter().any(collides) {
            return Err(Error::new(Kind::Invalid, format!("port {publish} is published twice")));
        }
        let (publish, descriptors) = match publish.host {
            0 => choose(publish, &taken, families)?,
            _ => (*publish, bind(publish, families).map_err(|error| refused(publish, &error))?),
        };
        taken.push(publish);
        settled.push(publish);
        kept.0.push((publish, descriptors));
    }
    Ok((settled, kept))
}

fn refused(publish: &Publish, error: &kernel::Error) -> Error {
    let message = format!("port {publish} can not be published: {error}");
    match error.errno {
        kernel::Errno::ADDRINUSE => {
            Error::new(Kind::Conflict, message).hint("a program of this host listens there: ss -lntup")
        }
        _ => Error::new(Kind::Invalid, message),
    }
}

fn collide(one: &Publish, other: &Publish) -> bool {
    let anywhere = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
    one.host == other.host
        && one.protocol == other.protocol
        && (anywhere(one.address) || anywhere(other.address) || one.address == other.address)
}

fn choose(publish: &Publish, taken: &[Publish], families: [bool; 2]) -> Result<(Publish, Vec<OwnedFd>)> {
    for _ in 0..ATTEMPTS {
        let Some(address) = addresses(publish, families).first().copied() else { break };
        let Some(transport) = transport(publish.protocol) else { break };
        let port = inet::reserve(transport, SocketAddr::new(address, 0)).map_err(|error| refused(publish, &error))?.1;
        let candidate = Publish { host: port, ..*publish };
        if taken.iter().any(|other| collide(other, &candidate)) {
            continue;
        }
        if let Ok(descriptors) = bind(&candidate, families) {
            return Ok((candidate, descriptors));
        }
    }
    let free = (49_152..=u16::MAX).map(|host| Publish { host, ..*publish });
    let mut free = free.filter(|candidate| !taken.iter().any(|other| collide(other, candidate)));
    match free.next() {
        Some(candidate) if transport(publish.protocol).is_none() => Ok((candidate, Vec::new())),
        _ => Err(Error::new(Kind::Conflict, format!("no port of the host is free for {publish}"))),
    }
}

/// SCTP has no sockets on every kernel; its ports are only compared with our own.
fn transport(protocol: Protocol) -> Option<Transport> {
    match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

fn addresses(publish: &Publish, [v4, v6]: [bool; 2]) -> Vec<IpAddr> {
    match publish.address {
        Some(address) => vec![address],
        None => [(v4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (v6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
            .into_iter()
            .filter_map(|(has, address)| has.then_some(address))
            .collect(),
    }
}

fn bind(publish: &Publish, families: [bool; 2]) -> kernel::Result<Vec<OwnedFd>> {
    let Some(transport) = transport(publish.protocol) else { return Ok(Vec::new()) };
    let one = |address| Ok(inet::reserve(transport, SocketAddr::new(address, publish.host))?.0);
    addresses(publish, families).into_iter().map(one).collect()
}
