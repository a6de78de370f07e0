// SPDX-License-Identifier: Apache-2.0
//! Networks come up with their first container and go with their last: bridge, tunnel, packet filter, helper.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use kernel::address::{self, Address};
use kernel::link::{self, Bridge, Change, Kind as LinkKind, Master, New};
use kernel::netlink::{Family, Socket};
use kernel::process::{self, Forked};
use kernel::route::{self, Route};
use kernel::{neighbour, net};
use spec::network::{Driver, Network, Vxlan};

use crate::error::{Doing, Result};
use crate::firewall::Rules;
use crate::helper::{Config, Helper};
use crate::mac::Mac;
use crate::place::{self, Networks};
use crate::rules;

/// The file that says that a network is up, and what its helper is told.
const CONFIG: &str = "helper.json";

/// Held by the helper as long as it lives.
const HELPER_LOCK: &str = "helper.lock";

impl Networks {
    pub(crate) fn is_up(&self, network: &Network) -> bool {
        self.run_of(network.name.as_str()).join(CONFIG).exists()
    }

    /// Brings a network up, or mends what is missing of it; says what could not be done and does no harm. The caller holds the
    /// lock.
    pub(crate) fn bring_up(&self, host: &mut Socket, network: &Network) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if matches!(network.driver, Driver::Routed) || (network.is_managed() && !network.internal) {
            forward(network)?;
        }
        if !network.is_managed() {
            return Ok(warnings);
        }
        let there = link::find(host, &network.device)?.is_some();
        if !(there && self.is_up(network)) {
            self.make(host, network).doing(|| format!("bring up network {}", network.name))?;
            if network.limits.effective().is_some() {
                self.limit_border(host, network).doing(|| format!("limit network {}", network.name))?;
            }
            let directory = self.run_of(network.name.as_str());
            self.make_run()?;
            kernel::file::make_directories(&directory, 0o755)?;
            kernel::file::make_directory(&directory.join("endpoints"), 0o755)?;
            place::publish(&directory, CONFIG, &config(network))?;
            self.filter(&rules::of_network(network), &Rules::default())?;
        }
        if (network.dns || network.dhcp)
            && let Err(error) = self.help(network)
        {
            warnings.push(format!("network {}: names and DHCP are not answered: {error}", network.name));
        }
        Ok(warnings)
    }

    fn make(&self, host: &mut Socket, network: &Network) -> Result<()> {
        let name = network.device.as_str();
        if link::find(host, name)?.is_none() {
            let [a, b, c, d] = place::hash(format!("{}/{name}", self.tag).as_bytes()).to_be_bytes();
            // The same each time: who has asked before goes on to know it.
            let mac = Mac::local([0x02, 0xce, a, b, c, d]);
            let new = New { mac: Some(mac.0), mtu: network.mtu, ..New::of(name, LinkKind::Bridge(Bridge::default())) };
            link::create(host, &new)?;
        }
        let index = crate::device::index_of(host, name)?;
        for (setting, value) in [("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")] {
            net::set_sysctl(&["ipv6", "conf", name, setting], value).ok();
        }
        // For ports that are published on 127.0.0.1; what comes from outside for it is dropped.
        net::set_sysctl(&["ipv4", "conf", name, "route_localnet"], "1")?;
        for subnet in &network.subnets {
            let Some(gateway) = subnet.gateway else { continue };
            let broadcast = match subnet.net {
                IpNet::V4(net) => Some(net.broadcast()),
                IpNet::V6(_) => None,
            };
            let one = Address { broadcast, ..Address::new(index, gateway, subnet.net.prefix_len()) };
            address::add(host, &one).or_else(exists)?;
        }
        link::set(host, index, &Change { up: Some(true), ..Change::default() })?;
        if network.v6().is_some() {
            let loopback = Route {
                device: Some(index),
                metric: Some(4096),
                table: route::LOCAL,
                action: route::Action::Local,
                ..Route::to(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)
            };
            // For ports that are published on ::1.
            route::replace(host, &loopback).ok();
        }
        if let Driver::Bridge { vxlan: Some(vxlan), .. } = &network.driver {
            tunnel(host, network, index, vxlan)?;
        }
        Ok(())
    }

    /// Starts the helper unless there is one.
    fn help(&self, network: &Network) -> Result<()> {
        let directory = self.run_of(network.name.as_str());
        let lock = directory.join(HELPER_LOCK);
        if lock.exists() && kernel::lock::is_held(&lock)? {
            return Ok(());
        }
        let helper = Helper::open(&directory, config(network))?;
        let lock = kernel::lock::Lock::wait_file(&lock)?;
        match process::clone(0, None)? {
            Forked::Parent(child) => {
                // It forks once more and ends: the helper is nobody's child.
                drop(lock);
                process::wait(&child.pidfd)?;
                Ok(())
            }
            Forked::Child => {
                process::new_session().ok();
                let orphan = process::clone(0, None);
                if !matches!(orphan, Ok(Forked::Child)) {
                    process::exit_now(0);
                }
                process::set_name(c"cella-network").ok();
                let null = kernel::file::open_null();
                if let Ok(null) = null {
                    (0..3).try_for_each(|number| process::place(&null, number)).ok();
                }
                let ended = helper.serve(Some(&lock));
                process::exit_now(i32::from(ended.is_err()))
            }
        }
    }

    /// Takes a network down that nobody is on; fine when it is down. The caller holds the lock.
    pub(crate) fn take_down(&self, network: &Network) -> Result<()> {
        if !network.is_managed() {
            return Ok(());
        }
        let directory = self.run_of(network.name.as_str());
        // The helper ends when it sees that this is gone.
        kernel::file::remove(&directory.join(CONFIG))?;
        let mut host = Socket::open(Family::Route)?;
        if let Driver::Bridge { vxlan: Some(_), .. } = &network.driver
            && let Some(found) = link::find(&mut host, &tunnel_name(network))?
        {
            link::delete(&mut host, found.index)?;
        }
        if let Some(bridge) = link::find(&mut host, &network.device)? {
            Self::forget_border(&mut host, network)?;
            link::delete(&mut host, bridge.index)?;
        }
        if directory.exists() {
            kernel::file::remove_any(&directory)?;
        }
        self.tidy_run();
        self.filter_without(&rules::of_network(network))
    }

    /// Takes rules away; the tables too, when nothing is left that needs them.
    pub(crate) fn filter_without(&self, gone: &Rules) -> Result<()> {
        for network in self.running()? {
            let up = network.parse().is_ok_and(|name| self.get(&name).is_ok_and(|network| self.is_up(&network)));
            if up || !self.is_deserted(&network)? {
                return self.filter(&Rules::default(), gone);
            }
        }
        Ok(self.firewall()?.remove()?)
    }
}

fn exists(error: kernel::Error) -> kernel::Result<()> {
    if error.is(kernel::Errno::EXIST) { Ok(()) } else { Err(error) }
}

/// Lets the host forward packets. IPv6 devices that listen to routers go on to do so.
fn forward(network: &Network) -> Result<()> {
    if network.v4().is_some() && net::read_sysctl(&["ipv4", "ip_forward"])? != "1" {
        net::set_sysctl(&["ipv4", "ip_forward"], "1")?;
    }
    if network.v6().is_some() && net::read_sysctl(&["ipv6", "conf", "all", "forwarding"])? != "1" {
        for device in kernel::file::names(std::path::Path::new("/proc/sys/net/ipv6/conf"))? {
            let accept = ["ipv6", "conf", device.as_str(), "accept_ra"];
            if device != "all" && net::read_sysctl(&accept).is_ok_and(|value| value == "1") {
                net::set_sysctl(&accept, "2")?;
            }
        }
        net::set_sysctl(&["ipv6", "conf", "all", "forwarding"], "1")?;
    }
    Ok(())
}

fn tunnel_name(network: &Network) -> String {
    format!("cx{:08x}", place::hash(network.device.as_bytes()))
}

/// The tunnel to other hosts, as a port of the bridge: what nobody is known for goes to all of them.
fn tunnel(host: &mut Socket, network: &Network, bridge: u32, vxlan: &Vxlan) -> Result<()> {
    let name = tunnel_name(network);
    if link::find(host, &name)?.is_none() {
        let kind = LinkKind::Vxlan(link::Vxlan {
            id: vxlan.id,
            remote: None,
            local: vxlan.local,
            device: None,
            port: vxlan.port,
            learning: true,
        });
        link::create(host, &New { mtu: network.mtu, ..New::of(&name, kind) })?;
    }
    let index = crate::device::index_of(host, &name)?;
    for remote in &vxlan.remotes {
        let forward = neighbour::Forward::new(index, neighbour::EVERYONE, Some(*remote));
        neighbour::add_forward(host, &forward).or_else(exists)?;
    }
    let change = Change { up: Some(true), master: Some(Master::Of(bridge)), ..Change::default() };
    Ok(link::set(host, index, &change)?)
}

fn config(network: &Network) -> Config {
    let gateway = |six: bool| {
        let subnet = if six { network.v6() } else { network.v4() }?;
        Some((subnet.gateway?, subnet.net.prefix_len()))
    };
    Config {
        network: network.name.to_string(),
        bridge: network.device.clone(),
        gateway4: gateway(false).and_then(|(ip, prefix)| match ip {
            IpAddr::V4(ip) => Some((ip, prefix)),
            IpAddr::V6(_) => None,
        }),
        gateway6: gateway(true).and_then(|(ip, prefix)| match ip {
            IpAddr::V6(ip) => Some((ip, prefix)),
            IpAddr::V4(_) => None,
        }),
        dns: network.dns,
        dhcp: network.dhcp,
        domain: network.domain.clone(),
        internal: network.internal,
        upstream: if network.internal { Vec::new() } else { upstream() },
        servers: network.servers.clone(),
        mtu: network.mtu.unwrap_or(1500),
        port: 53,
    }
}

/// The name servers of the host.
fn upstream() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = |line: &str| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok();
    text.lines().filter_map(address).map(|ip| SocketAddr::new(ip, 53)).take(3).collect()
}
