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

/// What its helper is told.
const CONFIG: &str = "helper.json";

/// The file that says that a network is up, all of it: written last.
const UP: &str = "up";

/// Held by the helper as long as it lives.
const HELPER_LOCK: &str = "helper.lock";

/// How long it may take to end.
const HELPER_MS: u64 = 500;

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
        let there = self.bridge(host, network)?.is_some();
        let directory = self.run_of(network.name.as_str());
        if !(there && directory.join(UP).exists()) {
            // One that answered on a bridge that is gone hears nothing on the new one.
            self.end_helper(network)?;
            self.make(host, network).doing(|| format!("bring up network {}", network.name))?;
            if network.limits.effective().is_some() {
                self.limit_border(host, network).doing(|| format!("limit network {}", network.name))?;
            }
            self.make_run()?;
            kernel::file::make_directories(&directory, 0o755)?;
            kernel::file::make_directory(&directory.join("endpoints"), 0o755)?;
            place::publish(&directory, CONFIG, &config(network))?;
            // Somebody has removed the bridge below those who were on it.
            self.rejoin(host, network)?;
            self.filter(&rules::of_network(network), &Rules::default())?;
            place::publish(&directory, UP, &network.device)?;
        }
        if (network.dns || network.dhcp)
            && let Err(error) = self.help(network)
        {
            warnings.push(format!("network {}: names and DHCP are not answered: {error}", network.name));
        }
        Ok(warnings)
    }

    /// The MAC address of a bridge of ours: the same each time, so that who has asked before goes on to know it.
    fn bridge_mac(&self, network: &Network) -> Mac {
        let [a, b, c, d] = place::hash(format!("{}/{}", self.tag, network.device).as_bytes()).to_be_bytes();
        Mac::local([0x02, 0xce, a, b, c, d])
    }

    /// Our bridge, when it is there.
    fn bridge(&self, host: &mut Socket, network: &Network) -> Result<Option<link::Link>> {
        let found = link::find(host, &network.device)?;
        let foreign = |link: &link::Link| {
            link.kind.as_deref() != Some("bridge") || link.mac.map(Mac) != Some(self.bridge_mac(network))
        };
        match found {
            Some(link) if foreign(&link) => {
                let message = format!("the host's device {} is not the bridge of network {}", link.name, network.name);
                Err(crate::Error::new(crate::Kind::Conflict, message)
                    .hint("rename that device, or make the network anew with --device"))
            }
            other => Ok(other),
        }
    }

    fn make(&self, host: &mut Socket, network: &Network) -> Result<()> {
        let name = network.device.as_str();
        if self.bridge(host, network)?.is_none() {
            let mac = self.bridge_mac(network);
            let new = New { mac: Some(mac.0), mtu: network.mtu, ..New::of(name, LinkKind::Bridge(Bridge::default())) };
            link::create(host, &new)?;
        }
        let index = crate::device::index_of(host, name)?;
        for (setting, value) in [("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")] {
            net::set_sysctl(&["ipv6", "conf", name, setting], value).ok();
        }
        net::set_sysctl(&["ipv4", "conf", name, "rp_filter"], "1")?;
        if network.v6().is_some() {
            // Where new devices have it off by default.
            net::set_sysctl(&["ipv6", "conf", name, "disable_ipv6"], "0")?;
        }
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
        if let Driver::Bridge { vxlan: Some(vxlan), .. } = &network.driver {
            tunnel(host, network, index, vxlan)?;
        }
        Ok(())
    }

    pub(crate) fn has_helper(&self, network: &Network) -> bool {
        let lock = self.run_of(network.name.as_str()).join(HELPER_LOCK);
        lock.exists() && kernel::lock::is_held(&lock).unwrap_or(false)
    }

    /// Starts the helper unless there is one.
    fn help(&self, network: &Network) -> Result<()> {
        let directory = self.run_of(network.name.as_str());
        let lock = directory.join(HELPER_LOCK);
        if self.has_helper(network) {
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

    /// Lets packets for the host's loopback address through to this network: for ports that are published there. Only a network
    /// with such a port has it, since what keeps containers from the host's own loopback then is the packet filter.
    pub(crate) fn open_loopback(&self, host: &mut Socket, network: &Network) -> Result<()> {
        net::set_sysctl(&["ipv4", "conf", &network.device, "route_localnet"], "1")?;
        if network.v6().is_some() {
            let loopback = Route {
                device: Some(crate::device::index_of(host, &network.device)?),
                metric: Some(4096),
                table: route::LOCAL,
                action: route::Action::Local,
                ..Route::to(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)
            };
            route::replace(host, &loopback)?;
        }
        Ok(())
    }

    /// Tells the helper to end and waits for that, a moment: it holds the addresses that the next one needs.
    fn end_helper(&self, network: &Network) -> Result<()> {
        // It ends when it sees that this is gone.
        kernel::file::remove(&self.run_of(network.name.as_str()).join(CONFIG))?;
        let deadline = kernel::time::monotonic_ms() + HELPER_MS;
        while self.has_helper(network) && kernel::time::monotonic_ms() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }

    /// Takes a network down that nobody is on, with the rules of who was on it last; fine when it is down. The caller holds the
    /// lock.
    pub(crate) fn take_down(&self, network: &Network, rules: Rules) -> Result<()> {
        if !network.is_managed() {
            return Ok(());
        }
        let directory = self.run_of(network.name.as_str());
        kernel::file::remove(&directory.join(UP))?;
        self.end_helper(network)?;
        let mut host = Socket::open(Family::Route)?;
        if let Driver::Bridge { vxlan: Some(_), .. } = &network.driver
            && let Some(found) = link::find(&mut host, &tunnel_name(network))?
        {
            link::delete(&mut host, found.index)?;
        }
        if let Some(bridge) = self.bridge(&mut host, network)? {
            Self::forget_border(&mut host, network)?;
            link::delete(&mut host, bridge.index)?;
        }
        if directory.exists() {
            kernel::file::remove_any(&directory)?;
        }
        self.tidy_run();
        let mut gone = rules::of_network(network);
        gone.ports.extend(rules.ports);
        gone.publications.extend(rules.publications);
        self.filter_without(&gone)
    }

    /// Takes rules away; the tables too, when nothing is left that needs them.
    pub(crate) fn filter_without(&self, gone: &Rules) -> Result<()> {
        if !self.is_anything_up()? {
            let mut firewall = self.firewall()?;
            firewall.remove()?;
            firewall.keep_open();
            return Ok(());
        }
        self.filter(&Rules::default(), gone)
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
