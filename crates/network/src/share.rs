// SPDX-License-Identifier: Apache-2.0
//! What all containers of a network have together at its border: queues of its bridge, with a class for each of them.
//!
//! ```text
//!   to them:    routes ──► bridge [HTB: all ► a class for each ► queue] ──► the host's end
//!   from them:  the host's end ──► bridge ─(redirect)─► ifb [HTB: all ► a class for each ► queue] ──► routes
//! ```
//!
//! Packets in a second are counted where they come to the bridge, before that; they have no shares.
//!
//! What goes from one of them to another does not come to the bridge's own device, and is not held back. The packet filter says
//! whose a packet is (`shares` in its tables: by device, or by address, which it has checked before), in one look at a map
//! however many there are; filters of the queues would be asked one after the other. When somebody has flushed the packet filter
//! all are in one class, and limited still.

use kernel::link;
use kernel::netlink::{Family, Socket};
use kernel::traffic::{Handle, Hook};
use spec::Name;
use spec::network::{IpNet, Limits, Network, Rate, Share};

use crate::device::index_of;
use crate::error::{Error, Kind, Result};
use crate::firewall::Rules;
use crate::live::Live;
use crate::place::{self, Networks};
use crate::shape;

/// The queues of a bridge; those of devices have another, so that a class of the one is none in the other.
const MAJOR: u16 = 2;

/// The first class of a container.
const FIRST: u32 = 0x100;

/// Where packets from the containers wait.
fn waiting_room(network: &Network) -> String {
    format!("ci{:08x}", place::hash(network.device.as_bytes()))
}

fn is_limited(network: &Network) -> bool {
    let limits = network.limits.effective();
    network.is_managed() && (limits.egress.is_some() || limits.ingress.is_some())
}

/// A container's class: the place of its address in the subnet, so that nobody has to look for a free one. Where the subnet has
/// more addresses than there are classes some share one.
pub(crate) fn class(network: &Network, live: &Live) -> Option<Handle> {
    const MOST: u32 = 0xffff - FIRST;
    if !is_limited(network) {
        return None;
    }
    let place = match (live.endpoint.v4, network.v4().map(|subnet| subnet.net)) {
        (Some(ip), Some(IpNet::V4(net))) => u32::from(ip) - u32::from(net.network()),
        _ => live.endpoint.v6?.segments()[7].into(),
    };
    Some(Handle::new(MAJOR, u16::try_from(FIRST + place % MOST).ok()?))
}

/// Is a share of this network possible, beside what others have for sure?
fn check(network: &Network, share: &Share, others: u64) -> Result<()> {
    let Some(guarantee) = share.guarantee.filter(|_| is_limited(network)) else {
        if !share.is_some() || is_limited(network) {
            return Ok(());
        }
        let name = &network.name;
        return Err(Error::new(Kind::Invalid, format!("network {name} has no limit that could be shared"))
            .hint(format!("cella network set --egress 100mbit --ingress 100mbit {name}")));
    };
    let limits = network.limits.effective();
    for limit in [limits.egress, limits.ingress].into_iter().flatten() {
        let left = limit.0.saturating_sub(others);
        if guarantee.0 > left {
            let message =
                format!("{guarantee} can not be guaranteed: of {limit} of {} {} is left", network.name, Rate(left));
            return Err(Error::new(Kind::Conflict, message).hint("ask for less, or give the network more"));
        }
    }
    Ok(())
}

impl Networks {
    /// The network of a device as it is now.
    pub(crate) fn network_of(&self, live: &Live) -> Option<Network> {
        live.network.parse().ok().and_then(|name| self.get(&name).ok())
    }

    /// Is there enough left of its network for what a device wants?
    pub(crate) fn may_share(&self, live: &Live, share: &Share) -> Result<()> {
        if !share.is_some() {
            return Ok(());
        }
        let Some(network) = self.network_of(live) else {
            return Err(Error::new(Kind::Invalid, "only what is on a network of ours has a share of it"));
        };
        let mut others = 0;
        if share.guarantee.is_some() {
            let list = self.endpoints(&live.network)?;
            let list = list.iter().filter(|other| other.endpoint.container != live.endpoint.container);
            others = list.filter_map(|other| other.nic.share.guarantee).map(|rate| rate.0).sum();
        }
        check(&network, share, others)
    }

    /// Brings the queues of a network that is up to its limits.
    pub(crate) fn limit_border(&self, host: &mut Socket, network: &Network) -> Result<()> {
        let Some(bridge) = link::find(host, &network.device)? else { return Ok(()) };
        let limits = network.limits.effective();
        shape::count(host, bridge.index, Hook::Ingress, limits.egress_packets, None)?;
        shape::count(host, bridge.index, Hook::Egress, limits.ingress_packets, None)?;
        match limits.ingress {
            Some(rate) => shape::plant(host, bridge.index, MAJOR, rate)?,
            None => shape::clear(host, bridge.index)?,
        }
        let name = waiting_room(network);
        let Some(rate) = limits.egress else {
            if link::find(host, &name)?.is_some() {
                shape::border_room(host, bridge.index, None)?;
                shape::remove(host, &name)?;
            }
            return Ok(());
        };
        let room = shape::room(host, &name)?;
        shape::plant(host, room, MAJOR, rate)?;
        shape::border_room(host, bridge.index, Some(room))
    }

    /// What is left of a network's queues when it goes down: its bridge takes the rest with it.
    pub(crate) fn forget_border(host: &mut Socket, network: &Network) -> Result<()> {
        if network.limits.egress.is_some() { shape::remove(host, &waiting_room(network)) } else { Ok(()) }
    }

    /// Gives a device its class in the queues of its network; nothing where that has none.
    pub(crate) fn put_share(&self, host: &mut Socket, live: &Live) -> Result<()> {
        let Some(network) = self.network_of(live) else { return Ok(()) };
        let Some(handle) = class(&network, live) else { return Ok(()) };
        let limits = network.limits.effective();
        for (device, rate) in [(network.device.clone(), limits.ingress), (waiting_room(&network), limits.egress)] {
            if let Some(rate) = rate {
                let device = index_of(host, &device)?;
                shape::branch(host, device, handle, rate, &live.nic.share)?;
            }
        }
        Ok(())
    }

    /// Takes the class of a device away.
    pub(crate) fn take_share(&self, host: &mut Socket, network: &Network, live: &Live) -> Result<()> {
        let Some(handle) = class(network, live) else { return Ok(()) };
        let limits = network.limits.effective();
        for (device, rate) in [(network.device.clone(), limits.ingress), (waiting_room(network), limits.egress)] {
            if let (Some(_), Some(found)) = (rate, link::find(host, &device)?) {
                shape::prune(host, found.index, handle)?;
            }
        }
        Ok(())
    }

    /// Limits what all containers of a network have together; at once when it is up.
    ///
    /// # Errors
    /// A network without a bridge of ours; guarantees that would not fit any more.
    pub fn limit_network(&self, name: &Name, change: &Limits) -> Result<Network> {
        let _lock = self.lock()?;
        let mut network = self.get(name)?;
        check_kind(&network)?;
        network.limits = network.limits.changed_by(change);
        let list = self.endpoints(name.as_str())?;
        let promised = list.iter().filter_map(|live| live.nic.share.guarantee).map(|rate| rate.0).sum();
        // Without a limit everything is there for everybody, and promises are kept until there is one again.
        if promised > 0 && is_limited(&network) {
            let share = Share { guarantee: Some(Rate(promised)), priority: None };
            check(&network, &share, 0)?;
        }
        place::write(&self.root, &format!("{name}.json"), &network, true)?;
        if !self.is_up(&network) {
            return Ok(network);
        }
        let mut host = Socket::open(Family::Route)?;
        self.limit_border(&mut host, &network)?;
        for live in &list {
            self.put_share(&mut host, live)?;
        }
        let all: Rules = self.rules()?;
        self.firewall()?.replace(&all)?;
        Ok(network)
    }
}

/// Has a network of this kind a border of ours?
pub(crate) fn check_kind(network: &Network) -> Result<()> {
    if network.is_managed() {
        return Ok(());
    }
    let message = format!("a {} network has no bridge of ours that could be limited", network.driver);
    Err(Error::new(Kind::Invalid, message)
        .hint("limit its containers: cella network set --egress 10mbit NETWORK CONTAINER"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(limits: Limits) -> Network {
        let text = r#"{"version":1,"name":"n","created":"","driver":{"bridge":{}},"device":"br","nat":true,"dns":true,
            "dhcp":true,"domain":"cella","subnets":[{"net":"10.9.0.0/24","gateway":"10.9.0.1"}]}"#;
        Network { limits, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn what_is_guaranteed_is_there() {
        let share = |mbit: u64| Share { guarantee: Some(Rate(mbit * 1_000_000)), priority: None };
        let limited =
            network(Limits { egress: Some(Rate(100_000_000)), ingress: Some(Rate(50_000_000)), ..Limits::default() });
        assert!(check(&limited, &share(50), 0).is_ok() && check(&limited, &share(20), 30_000_000).is_ok());
        for (mbit, others) in [(51, 0), (20, 31_000_000)] {
            assert!(check(&limited, &share(mbit), others).is_err(), "{mbit} beside {others}");
        }
        assert!(check(&network(Limits::default()), &share(1), 0).is_err());
        assert!(check(&network(Limits::default()), &Share::default(), 0).is_ok());
    }
}
