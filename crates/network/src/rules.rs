// SPDX-License-Identifier: Apache-2.0
//! From what is attached to what the packet filter holds.

use std::net::IpAddr;

use kernel::traffic::Handle;
use spec::network::{Driver, Network, Protocol};

use crate::error::{Doing, Result};
use crate::firewall::{self, Firewall, Net, Port, Publication, Rules};
use crate::live::Live;
use crate::place::Networks;
use crate::share;

/// The part of a network.
pub(crate) fn of_network(network: &Network) -> Rules {
    let mut rules = Rules::default();
    if network.is_managed() {
        rules.nets.push(net(network, &network.device));
    }
    rules
}

fn net(network: &Network, device: &str) -> Net {
    Net {
        device: device.to_owned(),
        subnets: network.subnets.iter().map(|subnet| subnet.net).collect(),
        nat: network.nat,
        internal: network.internal,
        isolated_ports: network.isolated,
        serves: network.dns || network.dhcp,
    }
}

/// The part of a device. One on somebody else's link, whose addresses we do not know, is only held to its MAC address.
pub(crate) fn of_live(network: Option<&Network>, live: &Live) -> Rules {
    let mut rules = Rules::default();
    let Some(device) = &live.device else { return rules };
    let routed = network.is_some_and(|network| matches!(network.driver, Driver::Routed));
    if let (true, Some(network)) = (routed, network) {
        rules.nets.push(net(network, device));
    }
    if routed || live.bridge.is_some() {
        rules.ports.push(Port {
            device: device.clone(),
            bridge: live.bridge.clone(),
            mac: live.endpoint.mac,
            v4: live.endpoint.v4.into_iter().collect(),
            v6: live.endpoint.v6.into_iter().collect(),
            any_address: network.is_none_or(|network| network.subnets.is_empty()),
            isolated: network.is_some_and(|network| network.isolated),
            class: network.and_then(|network| share::class(network, live)).map(Handle::number),
        });
    }
    rules.publications = live.publishes.iter().flat_map(|publish| publications(live, publish)).collect();
    rules
}

/// One publication for each address of the container that the host's address fits.
pub(crate) fn publications(live: &Live, publish: &spec::network::Publish) -> Vec<Publication> {
    let own = [live.endpoint.v4.map(IpAddr::V4), live.endpoint.v6.map(IpAddr::V6)];
    let fits = |ip: &IpAddr| publish.address.is_none_or(|address| address.is_ipv4() == ip.is_ipv4());
    own.into_iter()
        .flatten()
        .filter(fits)
        .map(|to| Publication {
            host: publish.address,
            host_port: publish.host,
            protocol: match publish.protocol {
                Protocol::Tcp => firewall::Protocol::Tcp,
                Protocol::Udp => firewall::Protocol::Udp,
                Protocol::Sctp => firewall::Protocol::Sctp,
            },
            to,
            to_port: publish.container,
        })
        .collect()
}

fn add(to: &mut Rules, from: Rules) {
    to.nets.extend(from.nets);
    to.ports.extend(from.ports);
    to.publications.extend(from.publications);
}

impl Networks {
    pub(crate) fn firewall(&self) -> Result<Firewall> {
        let firewall = Firewall::open(&self.table()).doing(|| "open the packet filter".to_owned())?;
        // br_netfilter gives an answer its true receiver, ::1, before the host takes it from the bridge, and no host takes that
        // from a wire. Who asks there is better refused at once, and asks at 127.0.0.1, than left to wait.
        let early = kernel::net::read_sysctl(&["bridge", "bridge-nf-call-ip6tables"]).is_ok_and(|value| value == "1");
        Ok(if early { firewall.without_v6_loopback() } else { firewall })
    }

    /// All that the packet filter is to hold now.
    pub(crate) fn rules(&self) -> Result<Rules> {
        let mut rules = Rules::default();
        for name in self.running()? {
            let network = match name.parse() {
                Ok(name) => self.get(&name).ok(),
                Err(_) => None,
            };
            if let Some(network) = &network
                && self.is_up(network)
            {
                add(&mut rules, of_network(network));
            }
            for live in self.endpoints(&name)? {
                add(&mut rules, of_live(network.as_ref(), &live));
            }
        }
        Ok(rules)
    }

    /// Changes the packet filter; makes it anew when it is not as it should be: somebody may have flushed it. What is
    /// attached must have been written down, or forgotten, before.
    pub(crate) fn filter(&self, add: &Rules, remove: &Rules) -> Result<()> {
        let mut firewall = self.firewall()?;
        if firewall.change(add, remove).is_ok() {
            if *remove != Rules::default() {
                firewall.keep_open();
            }
            return Ok(());
        }
        firewall.replace(&self.rules()?).doing(|| "set the packet filter".to_owned())
    }
}

impl From<firewall::Error> for crate::Error {
    fn from(error: firewall::Error) -> Self {
        match error {
            firewall::Error::Kernel(error) => error.into(),
            other => Self::new(crate::Kind::Invalid, other.to_string()),
        }
    }
}
