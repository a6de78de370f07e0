// SPDX-License-Identifier: Apache-2.0
//! A container's networks: what it is attached to when it starts, changes while it runs, and the files that tell it of them.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use network::{Attachment, Networks, Owner, Wired};
use runtime::{Failure, FailureKind, Wire};
use serde::{Deserialize, Serialize};
use spec::definition::{Definition, Network};
use spec::network::{Attach, Limits, Nic, Protocol, Publish, Share};

use crate::compose;
use crate::error::{Error, Kind, Result};
use crate::record::Record;
use crate::store::{Found, Store};

impl From<network::Error> for Error {
    fn from(error: network::Error) -> Self {
        let kind = match error.kind {
            network::Kind::Invalid => Kind::Invalid,
            network::Kind::NotFound => Kind::NotFound,
            network::Kind::Conflict => Kind::Conflict,
            network::Kind::Own => Kind::Own,
        };
        Self { kind, message: error.message, hint: error.hint }
    }
}

impl Store {
    pub(crate) fn networks(&self) -> Networks {
        let standard = self.place.root == crate::Place::standard().root;
        Networks::new(&self.place.root, &self.place.run, standard)
    }
}

/// The devices that a definition has: the default one when it says nothing.
pub(crate) fn nics(definition: &Definition) -> Vec<Nic> {
    match definition.namespaces.network {
        Network::Private if definition.nics.is_empty() => vec![Nic::on(Attach::Network(None))],
        Network::Private => definition.nics.clone(),
        Network::None | Network::Host | Network::Container(_) | Network::Path(_) => Vec::new(),
    }
}

/// Has it a network namespace that is its own, to which devices may come?
pub(crate) fn is_own(definition: &Definition) -> bool {
    matches!(definition.namespaces.network, Network::Private | Network::None)
}

/// Are its networks consistent with each other?
pub(crate) fn check(definition: &Definition) -> Result<()> {
    let mode = &definition.namespaces.network;
    let own = matches!(mode, Network::Private);
    let refuse = |what: &str| {
        let message = format!("{what} needs a network of its own, and this container has {mode}");
        Err(Error::new(Kind::Invalid, message).hint("leave --network out, or name a network"))
    };
    if !own && !definition.nics.is_empty() {
        return refuse("a network device");
    }
    if !own && (!definition.ports.is_empty() || definition.publish_all) {
        return refuse("a published port");
    }
    if !own && (definition.bandwidth.is_some() || definition.net_quota.is_some()) {
        return refuse("a limit of bandwidth");
    }
    check_nics(&definition.nics)?;
    for search in &definition.dns.search {
        if search != "." {
            spec::network::check_domain(search)?;
        }
    }
    for option in &definition.dns.options {
        if option.is_empty() || !option.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(Kind::Invalid, format!("invalid DNS option {option:?}: it has blanks")));
        }
    }
    for (name, _) in &definition.hosts {
        spec::name::check_hostname(name)?;
    }
    Ok(())
}

/// Two devices that can not both be.
fn check_nics(nics: &[Nic]) -> Result<()> {
    for (index, nic) in nics.iter().enumerate() {
        let others = nics.get(index + 1..).unwrap_or_default();
        let place = nic.attach.place(network::DEFAULT);
        if others.iter().any(|other| other.attach.place(network::DEFAULT) == place) {
            let message = format!("two devices are on {}", place.trim_start_matches('@'));
            return Err(Error::new(Kind::Invalid, message).hint("one of them is enough: it can have several aliases"));
        }
        if nic.interface.is_some() && others.iter().any(|other| other.interface == nic.interface) {
            let name = nic.interface.as_deref().unwrap_or_default();
            return Err(Error::new(Kind::Invalid, format!("two devices are called {name}")));
        }
    }
    Ok(())
}

/// Are the networks there that it names?
pub(crate) fn exist(store: &Store, definition: &Definition) -> Result<()> {
    for nic in &definition.nics {
        match &nic.attach {
            Attach::Network(Some(name)) if name.as_str() != network::DEFAULT => drop(store.networks().get(name)?),
            Attach::Network(_) | Attach::Bridge(_) | Attach::Macvlan(..) | Attach::Ipvlan(..) | Attach::Vlan(..) => {}
            Attach::Physical(_) => {}
            Attach::Cni(name) => drop(network::cni::find(name)?),
        }
    }
    Ok(())
}

/// Who the container is on its networks.
pub(crate) fn owner(found: &Found) -> Owner {
    let id = found.record.id.clone();
    let hostname = compose::hostname(found);
    let mut names = vec![found.name.to_string()];
    names.extend([hostname, id.get(..12).unwrap_or(&id).to_owned()]);
    names.dedup();
    Owner { id, names }
}

/// What a start needs to know of its networks.
pub(crate) struct Prepared {
    pub(crate) attachments: Vec<Attachment>,
    publishes: Vec<Publish>,
}

/// Resolves its networks; addresses are taken, nothing is attached.
pub(crate) fn prepare(store: &Store, found: &Found) -> Result<Prepared> {
    let definition = &found.record.definition;
    let nics = nics(definition);
    if nics.is_empty() {
        return Ok(Prepared { attachments: Vec::new(), publishes: Vec::new() });
    }
    let attachments = store.networks().resolve(&owner(found), &nics, 0, [false, false])?;
    let publishes = publishes(&found.record);
    if let Some(port) = publishes.first() {
        let is_cni = |one: &Attachment| matches!(one.nic.attach, Attach::Cni(_));
        let lead = attachments.iter().find(|one| one.v4.is_some() || one.v6.is_some() || is_cni(one));
        let reason = match lead {
            None => "no device of it has an address".to_owned(),
            // Its plugins publish, or do not.
            Some(one) if is_cni(one) => return Ok(Prepared { attachments, publishes }),
            Some(one) if one.network.as_ref().is_some_and(|network| network.internal) => {
                format!("network {} is internal", one.place)
            }
            Some(one) if !one.network.as_ref().is_some_and(|network| network.nat || network.is_managed()) => {
                format!("the host does not pass packets of {}", one.place)
            }
            Some(_) => return Ok(Prepared { attachments, publishes }),
        };
        return Err(Error::new(Kind::Invalid, format!("port {port} would lead nowhere: {reason}"))
            .hint("put a bridge network of ours first: --network cella0"));
    }
    Ok(Prepared { attachments, publishes })
}

/// The ports that are published, those that the image declares among them when all are.
pub(crate) fn publishes(record: &Record) -> Vec<Publish> {
    let exposed = if record.definition.publish_all { exposed(record) } else { Vec::new() };
    network::all_ports(&record.definition.ports, &exposed)
}

/// The image's own words, which are not trusted: what is no port is left out.
fn exposed(record: &Record) -> Vec<(u16, Protocol)> {
    let one = |text: &String| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((port.parse().ok().filter(|port| *port > 0)?, protocol.parse().ok()?))
    };
    record.config.exposed_ports.iter().flat_map(|ports| ports.keys()).filter_map(one).collect()
}

/// `/etc/resolv.conf` of a container on these networks.
pub(crate) fn resolv(definition: &Definition, attachments: &[Attachment], of_host: &str) -> String {
    let networks: Vec<_> = attachments.iter().filter_map(|one| one.network.as_ref()).collect();
    let mut servers = definition.dns.servers.clone();
    if servers.is_empty() {
        for network in &networks {
            if network.servers.is_empty() && network.dns {
                servers.extend(network.subnets.iter().filter_map(|subnet| subnet.gateway));
            }
            servers.extend(&network.servers);
        }
    }
    let mut lines: Vec<String> = servers.iter().take(3).map(|server| format!("nameserver {server}")).collect();
    let words = |key: &str| of_host.lines().find(|line| line.starts_with(key)).map(str::to_owned);
    if lines.is_empty() && !attachments.is_empty() && networks.iter().all(|network| !network.internal) {
        let reachable =
            |line: &&str| line.starts_with("nameserver") && !line.contains(" 127.") && !line.contains(" ::1");
        lines.extend(of_host.lines().filter(reachable).map(str::to_owned));
        lines.extend(words("search"));
    }
    let search = match definition.dns.search.as_slice() {
        [] => networks.iter().filter(|network| network.dns).map(|network| network.domain.clone()).collect(),
        [dot] if dot == "." => Vec::new(),
        own => own.to_vec(),
    };
    let mut search: Vec<String> = search;
    search.dedup();
    if !search.is_empty() {
        lines.retain(|line| !line.starts_with("search"));
        lines.push(format!("search {}", search.join(" ")));
    }
    if !definition.dns.options.is_empty() {
        lines.push(format!("options {}", definition.dns.options.join(" ")));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The addresses by which `/etc/hosts` knows the container.
pub(crate) fn own_addresses(attachments: &[Attachment]) -> Vec<IpAddr> {
    attachments
        .iter()
        .find(|one| one.v4.is_some() || one.v6.is_some())
        .map(|one| one.address_like(None))
        .unwrap_or_default()
}

/// What is asked of the keeper about networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ask {
    /// Publish these.
    Publish(Vec<Publish>),
    /// Take these back.
    Unpublish(Vec<Publish>),
    /// Attach it to one more.
    Connect(Box<Nic>, Vec<String>),
    /// Take it off this place.
    Disconnect(String),
    /// Limit what goes through the device on this place, and what part of its network it has.
    Limit(String, Limits, Share),
    /// Limit what goes through all devices together.
    Whole(Limits),
    /// It is called so now.
    Rename(Vec<String>),
    /// So much in a month.
    Quota(Option<u64>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Done {
    /// It is done; the ports that it was about.
    Ports(Vec<Publish>),
    /// It is refused: whose fault, why, what would help.
    Refused(Fault, String, Option<String>),
}

/// Whose fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fault {
    /// What was asked for can not be.
    Invalid,
    /// Something is not there.
    NotFound,
    /// Something is taken.
    Conflict,
    /// Ours.
    Own,
}

impl Done {
    pub(crate) fn into_result(self) -> Result<Vec<Publish>> {
        let (fault, message, hint) = match self {
            Self::Ports(ports) => return Ok(ports),
            Self::Refused(fault, message, hint) => (fault, message, hint),
        };
        let kind = match fault {
            Fault::Invalid => Kind::Invalid,
            Fault::NotFound => Kind::NotFound,
            Fault::Conflict => Kind::Conflict,
            Fault::Own => Kind::Own,
        };
        Err(Error { kind, message, hint })
    }
}

impl From<network::Result<Vec<Publish>>> for Done {
    fn from(result: network::Result<Vec<Publish>>) -> Self {
        match result {
            Ok(ports) => Self::Ports(ports),
            Err(error) => {
                let fault = match error.kind {
                    network::Kind::Invalid => Fault::Invalid,
                    network::Kind::NotFound => Fault::NotFound,
                    network::Kind::Conflict => Fault::Conflict,
                    network::Kind::Own => Fault::Own,
                };
                Self::Refused(fault, error.message, error.hint)
            }
        }
    }
}

/// A failed start as the keeper tells it: what would help is on a second line.
fn told(error: network::Error) -> String {
    let hint = error.hint.map(|hint| format!("\n{hint}")).unwrap_or_default();
    error.message + &hint
}

/// What the keeper has told, and what would help.
pub(crate) fn heard(text: &str) -> (String, Option<String>) {
    match text.split_once('\n') {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// The keeper's part: attaches and takes off.
pub(crate) struct Wiring {
    networks: Networks,
    owner: Owner,
    attachments: Vec<Attachment>,
    publishes: Vec<Publish>,
    bandwidth: Limits,
    /// Bytes in a month.
    quota: Option<u64>,
    /// The quota is used up.
    is_shut: bool,
    wired: Option<Wired>,
}

/// Between two looks at a quota.
const QUOTA_MS: u64 = 5000;

impl Wiring {
    /// `None` when its network is not its own. One without a device may get one later.
    pub(crate) fn of(store: &Store, found: &Found, prepared: Prepared) -> Option<Box<dyn Wire>> {
        if !is_own(&found.record.definition) {
            return None;
        }
        Some(Box::new(Self {
            networks: store.networks(),
            owner: owner(found),
            attachments: prepared.attachments,
            publishes: prepared.publishes,
            bandwidth: found.record.definition.bandwidth,
            quota: found.record.definition.net_quota,
            is_shut: false,
            wired: None,
        }))
    }

    fn shut(&mut self, shut: bool) {
        // When this fails the next look tries again.
        if self.is_shut != shut && self.networks.shut(&self.owner.id, shut).is_ok() {
            self.is_shut = shut;
        }
    }

    /// Publishes those ports that lead nowhere since the device that they led to was taken off, if there is another.
    fn publish_rest(&mut self) -> network::Result<Vec<Publish>> {
        let id = &self.owner.id;
        let live: Vec<Publish> = self.networks.endpoints_of(id)?.into_iter().flat_map(|live| live.publishes).collect();
        let rest: Vec<Publish> = self.publishes.iter().filter(|one| !live.contains(one)).copied().collect();
        let leads = self.attachments.iter().any(|one| !one.address_like(None).is_empty());
        if let (true, false, Some(wired)) = (leads, rest.is_empty(), &mut self.wired) {
            wired.kept.add(self.networks.publish(id, &rest)?.1);
        }
        Ok(rest)
    }

    fn act(&mut self, ask: Ask) -> network::Result<Vec<Publish>> {
        let Some(wired) = &mut self.wired else {
            return Err(network::Error::new(network::Kind::Conflict, "it is not attached"));
        };
        let id = &self.owner.id;
        match ask {
            Ask::Publish(ports) => {
                let (settled, kept) = self.networks.publish(id, &ports)?;
                wired.kept.add(kept);
                self.publishes.extend(&settled);
                Ok(settled)
            }
            Ask::Unpublish(ports) => {
                let gone = self.networks.unpublish(id, &ports)?;
                for one in &gone {
                    wired.kept.release(one);
                    self.publishes.retain(|publish| publish != one);
                }
                Ok(gone)
            }
            Ask::Connect(nic, names) => {
                self.owner.names = names;
                let next = self.networks.endpoints_of(id)?.iter().map(|live| live.index + 1).max().unwrap_or(0);
                let routed = Networks::routed(wired)?;
                for one in self.networks.resolve(&self.owner, &[*nic], next, routed)? {
                    if let Err(error) = self.networks.join(&self.owner, wired, &one, &self.bandwidth) {
                        // It was on no such network before; that it has an address there still would be a second trouble.
                        one.network.as_ref().map(|network| self.networks.release(id, Some(network)).ok());
                        return Err(error);
                    }
                    self.attachments.push(one);
                }
                self.publish_rest()
            }
            Ask::Disconnect(place) => {
                let gone = self.networks.leave(id, &place, wired)?;
                gone.publishes.iter().for_each(|publish| wired.kept.release(publish));
                self.attachments.retain(|one| one.place != place);
                if self.bandwidth.is_some() {
                    self.networks.limit(id, None, &self.bandwidth)?;
                }
                self.networks.reroute(wired, &self.attachments)?;
                self.publish_rest()
            }
            Ask::Quota(quota) => {
                self.quota = quota;
                self.shut(false);
                Ok(Vec::new())
            }
            Ask::Rename(names) => {
                self.networks.rename(id, &self.owner.names, &names)?;
                self.owner.names = names;
                Ok(Vec::new())
            }
            Ask::Limit(place, limits, share) => {
                let change = network::Retune { place, limits, share };
                self.networks.limit(id, Some(&change), &self.bandwidth)?;
                for one in self.attachments.iter_mut().filter(|one| one.place == change.place) {
                    (one.nic.limits, one.nic.share) = (limits, share);
                }
                Ok(Vec::new())
            }
            Ask::Whole(limits) => {
                self.networks.limit(id, None, &limits)?;
                self.bandwidth = limits;
                Ok(Vec::new())
            }
        }
    }
}

impl Wire for Wiring {
    fn wire(&mut self, namespace: OwnedFd) -> std::result::Result<Vec<String>, Failure> {
        let (list, publishes, bandwidth) = (&self.attachments, &self.publishes, &self.bandwidth);
        let wired = self.networks.wire(&self.owner, namespace, list, publishes, bandwidth);
        let mut wired = wired.map_err(|error| Failure { kind: FailureKind::Own, message: told(error) })?;
        let warnings = std::mem::take(&mut wired.warnings);
        self.wired = Some(wired);
        // The devices are new ones.
        self.is_shut = false;
        Ok(warnings)
    }

    fn unwire(&mut self) -> Vec<String> {
        let wired = self.wired.take();
        self.networks.unwire(&self.owner.id, wired.as_ref())
    }

    fn tick(&mut self) -> Option<u64> {
        let quota = self.quota?;
        let now = spec::timestamp::format(kernel::time::now_ns());
        if let Ok(account) = self.networks.account(&self.owner.id) {
            self.shut(account.month_of(&now).bytes() >= quota);
        }
        Some(QUOTA_MS)
    }

    fn ask(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let ask: Ask = serde_json::from_slice(request).map_err(|error| error.to_string())?;
        serde_json::to_vec(&Done::from(self.act(ask))).map_err(|error| error.to_string())
    }
}
