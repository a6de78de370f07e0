// SPDX-License-Identifier: Apache-2.0
//! Networks as they are kept: made, listed, removed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use kernel::netlink::{Family, Socket};
use kernel::{address, link, route};
use spec::Name;
use spec::network::{Driver, Limits, Network, Subnet};

use crate::claim;
use crate::error::{Doing, Error, Kind, Result};
use crate::place::{self, Networks};
use crate::subnet;

/// The words that `--network` knows.
const RESERVED: [&str; 6] = ["host", "none", "private", "bridge", "default", "container"];

/// What a tunnel takes of each packet: outer Ethernet, IP, UDP and its own header.
const TUNNEL: u32 = 50;

/// What is asked of a new network; what is not said is settled when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: Name,
    /// What it is made of.
    pub driver: Driver,
    /// The bridge, when it is to have this name or is there already.
    pub device: Option<String>,
    /// Its subnets; one of each family is chosen for what has a router of ours.
    pub subnets: Vec<Subnet>,
    /// Without IPv6.
    pub no_v6: bool,
    /// Nothing leaves it.
    pub internal: bool,
    /// Its containers do not reach each other.
    pub isolated: bool,
    /// Addresses are not changed at its border.
    pub no_nat: bool,
    /// Names are not answered.
    pub no_dns: bool,
    /// DHCP is not answered.
    pub no_dhcp: bool,
    /// The domain of the names; `cella` otherwise.
    pub domain: Option<String>,
    /// Other name servers.
    pub servers: Vec<IpAddr>,
    /// Maximum size of a packet.
    pub mtu: Option<u32>,
    /// Limits of all together.
    pub limits: Limits,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Request {
    /// A bridge network with all defaults.
    #[must_use]
    pub fn bridge(name: Name) -> Self {
        Self {
            name,
            driver: Driver::Bridge { existing: false, vxlan: None },
            device: None,
            subnets: Vec::new(),
            no_v6: false,
            internal: false,
            isolated: false,
            no_nat: false,
            no_dns: false,
            no_dhcp: false,
            domain: None,
            servers: Vec::new(),
            mtu: None,
            limits: Limits::default(),
            labels: BTreeMap::new(),
        }
    }
}

impl Networks {
    /// Makes a network: its definition; devices come when the first container does.
    ///
    /// # Errors
    /// The name, the subnet or the device that is taken, or what can not be.
    pub fn create(&self, request: Request) -> Result<Network> {
        let _lock = self.lock()?;
        self.create_locked(request)
    }

    fn create_locked(&self, request: Request) -> Result<Network> {
        let name = request.name.clone();
        if RESERVED.contains(&name.as_str()) {
            let message = format!("a network can not be called {name}: --network {name} means something else");
            return Err(Error::new(Kind::Invalid, message).hint("choose another name"));
        }
        if self.path(&name).exists() {
            return Err(Error::new(Kind::Conflict, format!("the name {name} is taken by another network"))
                .hint("choose another name"));
        }
        let _host = Self::lock_host()?;
        let network = self.settle(request).doing(|| format!("make network {name}"))?;
        if network.limits.is_some() {
            crate::share::check_kind(&network)?;
        }
        // Only what has a router of ours is ours alone.
        if network.is_managed() || matches!(network.driver, Driver::Routed) {
            self.claim(&network)?;
        }
        place::write(&self.root, &format!("{name}.json"), &network, true)?;
        Ok(network)
    }

    fn path(&self, name: &Name) -> std::path::PathBuf {
        self.root.join(format!("{name}.json"))
    }

    /// The network of this name.
    ///
    /// # Errors
    /// When there is none, with the nearest that there is.
    pub fn get(&self, name: &Name) -> Result<Network> {
        if let Some(network) = place::read::<Network>(&self.path(name))? {
            if network.version != Network::VERSION {
                let message = format!("network {name}: format {} is newer than this program", network.version);
                return Err(Error::new(Kind::Own, message).hint("use the newer program"));
            }
            return Ok(network);
        }
        let names = self.names()?;
        let error = Error::new(Kind::NotFound, format!("there is no network {:?}", name.as_str()));
        Err(match spec::error::nearest(name.as_str(), names.iter().map(Name::as_str)) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None if RESERVED.contains(&name.as_str()) => error.hint(format!("--network {name} takes no options")),
            None => error.hint("cella network ls shows those that are there; cella network create makes one"),
        })
    }

    /// The default network, made when it is not there.
    ///
    /// # Errors
    /// Those of [`Networks::create`].
    pub fn default(&self) -> Result<Network> {
        let name: Name = crate::DEFAULT.parse()?;
        match self.get(&name) {
            Err(error) if error.kind == Kind::NotFound => {
                let _lock = self.lock()?;
                // Somebody else may have been faster.
                match self.get(&name) {
                    Err(error) if error.kind == Kind::NotFound => self.create_locked(Request::bridge(name)),
                    other => other,
                }
            }
            other => other,
        }
    }

    pub(crate) fn names(&self) -> Result<Vec<Name>> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let files = kernel::file::names(&self.root)?;
        let mut names: Vec<Name> = files
            .iter()
            .filter_map(|file| file.strip_suffix(".json").filter(|name| !name.ends_with(".leases"))?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// All networks by name.
    ///
    /// # Errors
    /// When a definition can not be read.
    pub fn list(&self) -> Result<Vec<Network>> {
        self.names()?.iter().map(|name| self.get(name)).collect()
    }

    /// Removes a network that nobody uses; `used` says who does by its definition.
    ///
    /// # Errors
    /// Who uses it.
    pub fn remove(&self, name: &Name, used: &[String]) -> Result<()> {
        let network = self.get(name)?;
        if let Some(user) = used.first() {
            let message = format!("cannot remove network {name}: container {user} is on it");
            return Err(Error::new(Kind::Conflict, message)
                .hint(format!("cella network disconnect {name} {user}, or remove the container")));
        }
        let _lock = self.lock()?;
        if !self.endpoints(name.as_str())?.is_empty() {
            return Err(Error::new(Kind::Conflict, format!("cannot remove network {name}: it is in use")));
        }
        self.take_down(&network, crate::firewall::Rules::default())?;
        self.unclaim(&network)?;
        kernel::file::remove(&self.root.join(format!("{name}.leases.json")))?;
        Ok(kernel::file::remove(&self.path(name))?)
    }

    /// Completes what was asked for.
    fn settle(&self, request: Request) -> Result<Network> {
        let mut socket = Socket::open(Family::Route)?;
        let managed = matches!(request.driver, Driver::Bridge { existing: false, .. });
        let routed = matches!(request.driver, Driver::Routed);
        if let Some(domain) = &request.domain {
            spec::network::check_domain(domain)?;
        }
        check_driver(&request)?;
        let device = self.device_of(&request, &mut socket)?;
        let tunnel = matches!(request.driver, Driver::Bridge { vxlan: Some(_), .. });
        let subnets = self.subnets_of(&request, &mut socket, managed || routed)?;
        Ok(Network {
            version: Network::VERSION,
            created: spec::timestamp::format(kernel::time::now_ns()),
            nat: (managed || routed) && !request.no_nat && !request.internal,
            dns: managed && !request.no_dns,
            dhcp: managed && !request.no_dhcp,
            domain: request.domain.unwrap_or_else(|| crate::DOMAIN.to_owned()),
            name: request.name,
            driver: request.driver,
            device,
            subnets,
            internal: request.internal,
            isolated: request.isolated,
            servers: request.servers,
            mtu: request.mtu.or(tunnel.then_some(1500 - TUNNEL)),
            limits: request.limits,
            labels: request.labels,
        })
    }

    fn device_of(&self, request: &Request, socket: &mut Socket) -> Result<String> {
        let there = |socket: &mut Socket, name: &str| -> Result<link::Link> {
            link::find(socket, name)?.ok_or_else(|| {
                Error::new(Kind::Invalid, format!("this host has no device {name}")).hint("ip link shows those it has")
            })
        };
        if let Some(device) = &request.device {
            spec::network::check_device(device)?;
        }
        match &request.driver {
            Driver::Bridge { existing: true, .. } => {
                let name = request.device.clone().unwrap_or_default();
                match there(socket, &name)?.kind.as_deref() {
                    Some("bridge") => Ok(name),
                    _ => Err(Error::new(Kind::Invalid, format!("device {name} is no bridge"))),
                }
            }
            Driver::Bridge { existing: false, .. } => {
                let name = request.device.clone().unwrap_or_else(|| self.bridge_name(request.name.as_str()));
                match link::find(socket, &name)? {
                    Some(_) => Err(Error::new(Kind::Conflict, format!("the host has a device {name} already"))
                        .hint("use it as it is: --existing, or name another: --device")),
                    None => Ok(name),
                }
            }
            Driver::Macvlan { parent, .. } | Driver::Ipvlan { parent, .. } => {
                there(socket, parent).map(|link| link.name)
            }
            Driver::Routed => Ok(String::new()),
        }
    }

    fn subnets_of(&self, request: &Request, socket: &mut Socket, ours: bool) -> Result<Vec<Subnet>> {
        let mut taken: Vec<IpNet> = self.list()?.into_iter().flat_map(|one| one.subnets).map(|one| one.net).collect();
        // What is on a device of the host is the host's own link: its subnet may, and mostly will, be the same.
        if ours {
            taken.extend(claim::all()?);
            taken.extend(host_nets(socket)?);
        }
        let mut subnets = Vec::new();
        for wanted in &request.subnets {
            let one = check(wanted, ours)?;
            if let Some(other) = taken.iter().find(|other| subnet::overlap(&one.net, other)) {
                let message =
                    format!("subnet {} overlaps with {other}, which this host or another network has", one.net);
                return Err(Error::new(Kind::Conflict, message).hint("choose another with --subnet"));
            }
            taken.push(one.net);
            subnets.push(one);
        }
        let has = |subnets: &[Subnet], six: bool| subnets.iter().any(|one| matches!(one.net, IpNet::V6(_)) == six);
        if [false, true]
            .iter()
            .any(|six| subnets.iter().filter(|one| matches!(one.net, IpNet::V6(_)) == *six).count() > 1)
        {
            return Err(Error::new(Kind::Invalid, "a network has one subnet of each family at most"));
        }
        if ours && request.subnets.is_empty() {
            let net = subnet::free_v4(&taken)?;
            subnets.push(Subnet { net, gateway: subnet::first(&net), range: None });
        }
        if ours && !request.no_v6 && !has(&subnets, true) && has_v6() {
            let net = subnet::free_v6(self.seed(), &taken)?;
            subnets.push(Subnet { net, gateway: subnet::first(&net), range: None });
        }
        Ok(subnets)
    }

    /// The part of this store in its IPv6 addresses: of the host, so that two hosts may be joined.
    fn seed(&self) -> [u8; 5] {
        let host = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let text = format!("{}{}", host.trim(), self.root.display());
        let [a, b, c, d] = place::hash(text.as_bytes()).to_be_bytes();
        let [e, ..] = place::hash(format!("{text}.").as_bytes()).to_be_bytes();
        [a, b, c, d, e]
    }
}

/// Refuses what a kind of network can not do.
fn check_driver(request: &Request) -> Result<()> {
    let bridge = matches!(request.driver, Driver::Bridge { existing: false, .. });
    let routed = matches!(request.driver, Driver::Routed);
    let filtered = [(request.internal, "--internal"), (request.no_nat, "--no-nat")];
    let served = [
        (request.no_dns, "--no-dns"),
        (request.no_dhcp, "--no-dhcp"),
        (request.domain.is_some(), "--domain"),
        (request.no_v6 && !routed, "--no-ipv6"),
    ];
    let isolated = request.isolated && matches!(request.driver, Driver::Macvlan { .. } | Driver::Ipvlan { .. });
    let on_parent = matches!(request.driver, Driver::Macvlan { .. } | Driver::Ipvlan { .. });
    let refused = filtered
        .into_iter()
        .filter(|_| !bridge && !routed)
        .chain(served.into_iter().filter(|_| !bridge))
        .chain([(isolated, "--isolate"), (on_parent && request.device.is_some(), "--device")])
        .find(|(asked, _)| *asked);
    match refused {
        Some((_, flag)) => {
            let message =
                format!("{flag} is not for this kind of network: the host does not pass or answer its packets");
            Err(Error::new(Kind::Invalid, message)
                .hint("only a bridge of ours (and a routed network, for some) can do that"))
        }
        None => Ok(()),
    }
}

/// Has this host IPv6, and have new devices?
fn has_v6() -> bool {
    kernel::net::read_sysctl(&["ipv6", "conf", "default", "disable_ipv6"]).is_ok_and(|value| value == "0")
}

/// The networks that the host reaches without a router, or has a route to.
fn host_nets(socket: &mut Socket) -> Result<Vec<IpNet>> {
    let addresses = address::list(socket, None)?.into_iter().map(|one| IpNet::new(one.ip, one.prefix));
    let routes = route::list(socket, route::MAIN)?.into_iter().map(|one| one.destination);
    let routes = routes.filter(|(_, prefix)| *prefix > 0).map(|(ip, prefix)| IpNet::new(ip, prefix));
    let link_local = |net: &IpNet| matches!(net, IpNet::V6(net) if net.network().is_unicast_link_local() || net.network().is_multicast());
    let nets = addresses.collect::<Vec<_>>().into_iter().chain(routes).flatten();
    Ok(nets.map(|net| net.trunc()).filter(|net| !link_local(net)).collect())
}

/// A subnet that was asked for, with its router.
fn check(wanted: &Subnet, ours: bool) -> Result<Subnet> {
    let refuse = |reason: String| Error::new(Kind::Invalid, format!("invalid subnet {}: {reason}", wanted.net));
    if wanted.net.network() != wanted.net.addr() {
        return Err(refuse(format!("it has bits behind its prefix; write {}", wanted.net.trunc())));
    }
    let (least, most) = if matches!(wanted.net, IpNet::V4(_)) { (8, 30) } else { (16, 126) };
    if !(least..=most).contains(&wanted.net.prefix_len()) {
        return Err(refuse(format!("its prefix must be {least} to {most}")));
    }
    let gateway = wanted.gateway.or_else(|| subnet::first(&wanted.net).filter(|_| ours));
    if let Some(gateway) = gateway.filter(|gateway| !wanted.net.contains(gateway)) {
        return Err(refuse(format!("gateway {gateway} is not in it")));
    }
    if let Some(range) = wanted.range.filter(|range| !wanted.net.contains(range)) {
        return Err(refuse(format!("range {range} is not in it")));
    }
    Ok(Subnet { net: wanted.net, gateway, range: wanted.range })
}
