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
    if !own && definition.bandwidth.is_some() {
        return refuse("a limit of bandwidth");
    }
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

/// Are the networks there that it names?
pub(crate) fn exist(store: &Store, definition: &Definition) -> Result<()> {
    for nic in &definition.nics {
        match &nic.attach {
            Attach::Network(Some(name)) if name.as_str() != network::DEFAULT => drop(store.networks().get(name)?),
            Attach::Network(_) | Attach::Bridge(_) | Attach::Macvlan(..) | Attach::Ipvlan(..) | Attach::Vlan(..) => {}
            Attach::Physical(_) | Attach::Cni(_) => {}
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
    Ok(Prepared { attachments, publishes: publishes(&found.record) })
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
    if lines.is_empty() && !networks.is_empty() && networks.iter().all(|network| !network.internal) {
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
}

/// The keeper's part: attaches and takes off.
pub(crate) struct Wiring {
    networks: Networks,
    owner: Owner,
    attachments: Vec<Attachment>,
    publishes: Vec<Publish>,
    bandwidth: Limits,
    wired: Option<Wired>,
}

impl Wiring {
    /// `None` when there is nothing to attach.
    pub(crate) fn of(store: &Store, found: &Found, prepared: Prepared) -> Option<Box<dyn Wire>> {
        if prepared.attachments.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            networks: store.networks(),
            owner: owner(found),
            attachments: prepared.attachments,
            publishes: prepared.publishes,
            bandwidth: found.record.definition.bandwidth,
            wired: None,
        }))
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
                    self.networks.join(&self.owner, wired, &one, &self.bandwidth)?;
                    self.attachments.push(one);
                }
                Ok(Vec::new())
            }
            Ask::Disconnect(place) => {
                let gone = self.networks.leave(id, &place, wired)?;
                gone.publishes.iter().for_each(|publish| wired.kept.release(publish));
                self.attachments.retain(|one| one.place != place);
                if self.bandwidth.is_some() {
                    self.networks.limit(id, None, &self.bandwidth)?;
                }
                Ok(gone.publishes)
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
        let mut wired = wired.map_err(|error| {
            let hint = error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            Failure { kind: FailureKind::Own, message: format!("{}{hint}", error.message) }
        })?;
        let warnings = std::mem::take(&mut wired.warnings);
        self.wired = Some(wired);
        Ok(warnings)
    }

    fn unwire(&mut self) -> Vec<String> {
        let wired = self.wired.take();
        self.networks.unwire(&self.owner.id, wired.as_ref())
    }

    fn ask(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let ask: Ask = serde_json::from_slice(request).map_err(|error| error.to_string())?;
        let answer = self.act(ask).map_err(|error| error.message)?;
        serde_json::to_vec(&answer).map_err(|error| error.to_string())
    }
}
