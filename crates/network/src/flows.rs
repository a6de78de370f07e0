// SPDX-License-Identifier: Apache-2.0
//! Flows of UDP to ports that are published, or no longer: the kernel goes on to translate, or not to, what it knows already.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kernel::netlink::{Family, Socket};
use kernel::{address, conntrack};
use spec::network::{Protocol, Publish};

use crate::error::Result;

const UDP: u8 = 17;

/// Forgets the flows to these ports of the host. A client that has kept asking while nobody was there would else never be
/// heard, and one of a container that is gone be heard by the next that gets its address.
pub(crate) fn forget(publishes: &[Publish]) -> Result<()> {
    let ports: BTreeSet<u16> =
        publishes.iter().filter(|one| one.protocol == Protocol::Udp).map(|one| one.host).collect();
    if ports.is_empty() {
        return Ok(());
    }
    // What the host or others ask elsewhere at the same port is none of them.
    let own = address::list(&mut Socket::open(Family::Route)?, None)?;
    let own: BTreeSet<IpAddr> = own.into_iter().map(|one| one.ip).collect();
    let is_own = |ip: &IpAddr| own.contains(ip) || ip.is_loopback();
    let mut socket = Socket::open(Family::Netfilter)?;
    conntrack::forget(&mut socket, |one| one.protocol == UDP && ports.contains(&one.port) && is_own(&one.ip))?;
    Ok(())
}
