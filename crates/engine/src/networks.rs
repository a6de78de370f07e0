// SPDX-License-Identifier: Apache-2.0
//! Networks and published ports as the commands see them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use kernel::lock::Lock;
use runtime::{Answer, Connection, Request};
use serde::Serialize;
use spec::Name;
use spec::definition::Network as Mode;
use spec::network::{Attach, Limits, Network, Nic, Publish, Share};

use crate::error::{Doing, Error, Kind, Result};
use crate::network::{self as own, Ask, Done};
use crate::start;
use crate::store::{Found, Store};

/// A network with who is on it.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkView {
    /// Its definition.
    #[serde(flatten)]
    pub network: Network,
    /// Who is on it now.
    pub attached: Vec<AttachedView>,
    /// The containers that have an address of it, running or not, by name.
    pub leases: BTreeMap<String, LeaseView>,
}

/// The addresses that a container has on a network.
#[derive(Debug, Clone, Serialize)]
pub struct LeaseView {
    /// On the link.
    pub mac: String,
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// A device of a container that runs.
#[derive(Debug, Clone, Serialize)]
pub struct AttachedView {
    /// The container's name.
    pub container: String,
    /// The network, or what it is on instead (`bridge-br0`).
    pub network: String,
    /// Its name inside.
    pub interface: String,
    /// The host's end.
    pub device: Option<String>,
    /// On the link.
    pub mac: String,
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
    /// Names on this network.
    pub names: Vec<String>,
    /// Published ports.
    pub ports: Vec<Publish>,
    /// Limits.
    pub limits: Limits,
}

fn view(container: &str, live: &network::Live) -> AttachedView {
    AttachedView {
        container: container.to_owned(),
        network: live.network.trim_start_matches('@').to_owned(),
        interface: live.interface.clone(),
        device: live.device.clone(),
        mac: live.endpoint.mac.to_string(),
        v4: live.endpoint.v4,
        v6: live.endpoint.v6,
        names: live.endpoint.names.clone(),
        ports: live.publishes.clone(),
        limits: live.limits,
    }
}

/// The devices of a container now.
pub(crate) fn attached(store: &Store, found: &Found) -> Result<Vec<AttachedView>> {
    let list = store.networks().endpoints_of(&found.record.id)?;
    Ok(list.iter().map(|live| view(found.name.as_str(), live)).collect())
}

/// The names of all containers by id.
fn names(store: &Store) -> Result<BTreeMap<String, Name>> {
    let found = store.names()?.into_iter().filter_map(|name| store.find(name.as_str()).ok());
    Ok(found.map(|found| (found.record.id, found.name)).collect())
}

pub(crate) fn create(store: &Store, request: network::Request) -> Result<Network> {
    store.make()?;
    Ok(store.networks().create(request)?)
}

pub(crate) fn list(store: &Store) -> Result<Vec<NetworkView>> {
    let names = names(store)?;
    store.networks().list()?.into_iter().map(|network| whole(store, network, &names)).collect()
}

pub(crate) fn inspect(store: &Store, name: &Name) -> Result<NetworkView> {
    let network = if name.as_str() == network::DEFAULT { default(store)? } else { store.networks().get(name)? };
    whole(store, network, &names(store)?)
}

fn default(store: &Store) -> Result<Network> {
    store.make()?;
    Ok(store.networks().default()?)
}

fn whole(store: &Store, network: Network, names: &BTreeMap<String, Name>) -> Result<NetworkView> {
    let short = |id: &String| names.get(id).map_or_else(|| id.chars().take(12).collect(), Name::to_string);
    let networks = store.networks();
    let attached = networks.endpoints(network.name.as_str())?;
    let attached = attached.iter().map(|live| view(&short(&live.endpoint.container), live)).collect();
    let leases = networks.leases_of(&network)?;
    let lease = |(id, lease): (&String, &network::Lease)| {
        (short(id), LeaseView { mac: lease.mac.to_string(), v4: lease.v4, v6: lease.v6 })
    };
    Ok(NetworkView { attached, leases: leases.iter().map(lease).collect(), network })
}

/// The containers whose definition has a device on this network.
fn users(store: &Store, network: &Name) -> Result<Vec<String>> {
    let on = |nic: &Nic| match &nic.attach {
        Attach::Network(name) => name.as_ref().map_or(network::DEFAULT, Name::as_str) == network.as_str(),
        _ => false,
    };
    let found = store.names()?.into_iter().filter_map(|name| store.find(name.as_str()).ok());
    let uses = found.filter(|found| own::nics(&found.record.definition).iter().any(on));
    Ok(uses.map(|found| found.name.to_string()).collect())
}

pub(crate) fn remove(store: &Store, name: &Name) -> Result<()> {
    Ok(store.networks().remove(name, &users(store, name)?)?)
}

/// Removes every network that no container is on; which.
pub(crate) fn prune(store: &Store, dry_run: bool) -> Result<Vec<Name>> {
    let mut gone = Vec::new();
    for network in store.networks().list()? {
        if users(store, &network.name)?.is_empty() {
            if !dry_run {
                store.networks().remove(&network.name, &[])?;
            }
            gone.push(network.name);
        }
    }
    Ok(gone)
}

pub(crate) fn repair(store: &Store) -> Result<Vec<String>> {
    Ok(store.networks().repair()?)
}

/// Asks the keeper; `None` when the container does not run.
fn ask(store: &Store, found: &Found, ask: &Ask) -> Result<Option<Vec<Publish>>> {
    if store.state(found)?.is_none_or(|state| state.pid.is_none()) {
        return Ok(None);
    }
    let request = serde_json::to_vec(ask).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    let connection = Connection::open(&store.run_directory(&found.record.id))?;
    connection.ask(&Request::Network(request))?;
    loop {
        match connection.answer()? {
            Some(Answer::Network(answer)) => {
                let done: std::result::Result<Done, _> = serde_json::from_slice(&answer);
                let done = done.map_err(|error| Error::new(Kind::Own, error.to_string()))?;
                return done.into_result().map(Some);
            }
            Some(Answer::Refused(reason)) => {
                let (message, hint) = own::heard(&reason);
                return Err(Error { kind: Kind::Conflict, message, hint });
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

fn change(store: &Store, container: &str) -> Result<(Found, Lock)> {
    let (found, lock) = start::locked(store, container)?;
    if !own::is_own(&found.record.definition) {
        let message = format!("{} has no network of its own", found.name);
        return Err(Error::new(Kind::Conflict, message).hint("its network is that which --network said"));
    }
    Ok((found, lock))
}

fn event(store: &Store, found: &Found, what: &str, attributes: &[(&str, String)]) -> Result<()> {
    let attributes: Vec<_> =
        attributes.iter().map(|(key, value)| (*key, value.trim_start_matches('@').to_owned())).collect();
    Ok(store.events().append(what, &found.record.id, found.name.as_str(), &attributes)?)
}

fn words(ports: &[Publish]) -> String {
    ports.iter().map(Publish::to_string).collect::<Vec<_>>().join(" ")
}

fn save(store: &Store, found: &Found) -> Result<()> {
    let durable = !found.record.definition.remove;
    found.record.write(&store.directory(&found.name), durable).doing(|| format!("change {}", found.name))
}

/// Attaches a container to a network, at once when it runs, and from its next start on.
pub(crate) fn connect(store: &Store, container: &str, nic: Nic) -> Result<()> {
    let (mut found, _lock) = change(store, container)?;
    let mut nics = own::nics(&found.record.definition);
    if nics.iter().any(|other| other.attach == nic.attach) {
        return Err(Error::new(Kind::Conflict, format!("{} is on that network already", found.name)));
    }
    if let Attach::Network(Some(name)) = &nic.attach
        && name.as_str() != network::DEFAULT
    {
        store.networks().get(name)?;
    }
    let names = own::owner(&found).names;
    let what = format!("connect {}", found.name);
    let on = place(&nic);
    ask(store, &found, &Ask::Connect(Box::new(nic.clone()), names)).doing(|| what)?;
    nics.push(nic);
    found.record.definition.nics = nics;
    found.record.definition.namespaces.network = Mode::Private;
    save(store, &found)?;
    start::refresh_etc(store, &found)?;
    event(store, &found, "connect", &[("network", on)])
}

/// The name of the place that a device is on.
fn place(nic: &Nic) -> String {
    nic.attach.place(network::DEFAULT)
}

/// Takes a container off a network.
pub(crate) fn disconnect(store: &Store, container: &str, nic: &Nic) -> Result<()> {
    let (mut found, _lock) = change(store, container)?;
    let mut nics = own::nics(&found.record.definition);
    let before = nics.len();
    nics.retain(|other| place(other) != place(nic));
    if nics.len() == before {
        let message = format!("{} is not on network {}", found.name, place(nic).trim_start_matches('@'));
        return Err(
            Error::new(Kind::NotFound, message).hint(format!("cella inspect {} shows its networks", found.name))
        );
    }
    let what = format!("disconnect {}", found.name);
    ask(store, &found, &Ask::Disconnect(place(nic))).doing(|| what)?;
    if let Attach::Network(_) = &nic.attach
        && let Ok(name) = place(nic).parse::<Name>()
        && let Ok(network) = store.networks().get(&name)
    {
        store.networks().release(&found.record.id, Some(&network))?;
    }
    if nics.is_empty() {
        // Without a device and not on the default network either.
        found.record.definition.namespaces.network = Mode::None;
    }
    found.record.definition.nics = nics;
    save(store, &found)?;
    start::refresh_etc(store, &found)?;
    event(store, &found, "disconnect", &[("network", place(nic))])
}

/// Publishes further ports; those with the ports that were chosen.
pub(crate) fn publish(store: &Store, container: &str, ports: &[Publish]) -> Result<Vec<Publish>> {
    let (mut found, _lock) = change(store, container)?;
    if matches!(found.record.definition.namespaces.network, Mode::None) {
        let message = format!("{} is on no network that a port could lead to", found.name);
        return Err(Error::new(Kind::Conflict, message).hint("cella network connect NETWORK CONTAINER"));
    }
    if let Some(port) = ports.iter().find(|port| port.host != 0 && found.record.definition.ports.contains(port)) {
        return Err(Error::new(Kind::Conflict, format!("{} publishes {port} already", found.name)));
    }
    let what = || format!("publish ports of {}", found.name);
    let settled = ask(store, &found, &Ask::Publish(ports.to_vec())).doing(what)?.unwrap_or_else(|| ports.to_vec());
    // One that was chosen stays what it is: it has been told.
    found.record.definition.ports.extend(&settled);
    save(store, &found)?;
    event(store, &found, "publish", &[("ports", words(&settled))])?;
    Ok(settled)
}

/// Takes published ports back.
pub(crate) fn unpublish(store: &Store, container: &str, ports: &[Publish]) -> Result<Vec<Publish>> {
    let (mut found, _lock) = change(store, container)?;
    let what = || format!("take back ports of {}", found.name);
    let there = self::ports(store, found.name.as_str())?;
    let is = |one: &Publish, port: &Publish| {
        one.container == port.container
            && one.protocol == port.protocol
            && (port.host == 0 || one.host == 0 || one.host == port.host)
            && (port.address.is_none() || one.address == port.address)
    };
    if let Some(missing) = ports.iter().find(|port| !there.iter().any(|one| is(one, port))) {
        return Err(Error::new(Kind::NotFound, format!("{} does not publish {missing}", found.name))
            .hint(format!("cella port ls {}", found.name)));
    }
    let live = ask(store, &found, &Ask::Unpublish(ports.to_vec())).doing(what)?;
    let before = found.record.definition.ports.clone();
    let gone =
        live.unwrap_or_else(|| before.iter().filter(|one| ports.iter().any(|port| is(one, port))).copied().collect());
    for port in &gone {
        let exact = found.record.definition.ports.iter().position(|one| one == port);
        let at = exact.or_else(|| found.record.definition.ports.iter().position(|one| one.host == 0 && is(one, port)));
        if let Some(at) = at {
            found.record.definition.ports.remove(at);
        }
    }
    save(store, &found)?;
    event(store, &found, "unpublish", &[("ports", words(&gone))])?;
    Ok(gone)
}

/// The published ports of every container, by its name.
pub(crate) fn all_ports(store: &Store) -> Result<BTreeMap<String, Vec<Publish>>> {
    let names =
        store.names()?.into_iter().filter_map(|name| Some((name.to_string(), ports(store, name.as_str()).ok()?)));
    Ok(names.filter(|(_, ports)| !ports.is_empty()).collect())
}

/// The ports that are published now, or would be at the next start.
pub(crate) fn ports(store: &Store, container: &str) -> Result<Vec<Publish>> {
    let found = store.find(container)?;
    if store.state(&found)?.is_none() {
        return Ok(own::publishes(&found.record));
    }
    Ok(attached(store, &found)?.into_iter().flat_map(|one| one.ports).collect())
}

/// Limits the bandwidth of all devices together; at once when it runs.
pub(crate) fn limit_whole(store: &Store, found: &mut Found, change: &Limits, running: bool) -> Result<()> {
    if own::nics(&found.record.definition).is_empty() {
        let message = format!("{} has no network device of its own", found.name);
        return Err(Error::new(Kind::Conflict, message).hint("cella inspect shows its networks"));
    }
    let whole = found.record.definition.bandwidth.changed_by(change);
    if running {
        ask(store, found, &Ask::Whole(whole))?;
    }
    found.record.definition.bandwidth = whole;
    Ok(())
}

/// Limits what all containers of a network have together.
pub(crate) fn limit_network(store: &Store, name: &Name, change: &Limits) -> Result<Network> {
    if name.as_str() == network::DEFAULT {
        default(store)?;
    }
    Ok(store.networks().limit_network(name, change)?)
}

/// May one device have more than all together?
fn fits<T: Ord + std::fmt::Display>(found: &Found, flag: &str, own: Option<T>, whole: Option<T>) -> Result<()> {
    match (own, whole) {
        (Some(own), Some(whole)) if own > whole => {
            let message = format!("all devices of {} together may use {whole}, which is less than {own}", found.name);
            Err(Error::new(Kind::Conflict, message).hint(format!("cella set {} {flag} {own}", found.name)))
        }
        _ => Ok(()),
    }
}

/// Limits the bandwidth of one device, or gives it another part of what its network has.
pub(crate) fn limit(store: &Store, container: &str, nic: &Nic, change: &Limits, share: &Share) -> Result<()> {
    let (mut found, _lock) = self::change(store, container)?;
    let mut nics = own::nics(&found.record.definition);
    let place = place(nic);
    let Some(own) = nics.iter_mut().find(|other| self::place(other) == place) else {
        let message = format!("{} is not on network {}", found.name, place.trim_start_matches('@'));
        return Err(
            Error::new(Kind::NotFound, message).hint(format!("cella inspect {} shows its networks", found.name))
        );
    };
    own.limits = own.limits.changed_by(change);
    let whole = found.record.definition.bandwidth.effective();
    let wanted = change.effective();
    fits(&found, "--net-egress", wanted.egress, whole.egress)?;
    fits(&found, "--net-ingress", wanted.ingress, whole.ingress)?;
    fits(&found, "--net-egress-packets", wanted.egress_packets, whole.egress_packets)?;
    fits(&found, "--net-ingress-packets", wanted.ingress_packets, whole.ingress_packets)?;
    own.share = own.share.changed_by(share);
    let (limits, share) = (own.limits, own.share);
    ask(store, &found, &Ask::Limit(place, limits, share)).doing(|| format!("change {}", found.name))?;
    found.record.definition.nics = nics;
    save(store, &found)
}

/// Tells the networks of a container's new name.
pub(crate) fn renamed(store: &Store, found: &Found) -> Result<()> {
    ask(store, found, &Ask::Rename(own::owner(found).names)).map(drop)
}

/// What a container has sent and received, by the month.
#[derive(Debug, Clone, Serialize)]
pub struct TrafficView {
    /// Its name.
    pub container: String,
    /// `2026-11` (UTC).
    pub month: String,
    /// Bytes and packets.
    #[serde(flatten)]
    pub totals: network::Totals,
    /// Bytes that it may send and receive in a month.
    pub quota: Option<u64>,
}

/// The traffic of one container, or of all.
pub(crate) fn traffic(store: &Store, container: Option<&str>) -> Result<Vec<TrafficView>> {
    let found = match container {
        Some(one) => vec![store.find(one)?],
        None => store.names()?.into_iter().filter_map(|name| store.find(name.as_str()).ok()).collect(),
    };
    let mut list = Vec::new();
    for found in found {
        let account = store.networks().account(&found.record.id)?;
        list.extend(account.months.into_iter().map(|(month, totals)| TrafficView {
            container: found.name.to_string(),
            month,
            totals,
            quota: found.record.definition.net_quota,
        }));
    }
    Ok(list)
}

/// Tells the keeper of a quota.
pub(crate) fn quota(store: &Store, found: &Found) -> Result<()> {
    ask(store, found, &Ask::Quota(found.record.definition.net_quota)).map(drop)
}
