// SPDX-License-Identifier: Apache-2.0
//! Attaching a container to its networks, and letting it go: everything that is made has its inverse, and letting go goes on
//! after an error and tells all of them.

use std::os::fd::{AsFd, OwnedFd};

use kernel::link;
use kernel::namespace;
use kernel::netlink::{Family, Socket};
use spec::network::{Attach, Driver, Limits, Network, Publish};

use crate::attachment::{Attachment, Owner};
use crate::error::{Doing, Error, Kind, Result};
use crate::firewall::Rules;
use crate::helper::Endpoint;
use crate::limit::{self, holds};
use crate::live::Live;
use crate::place::Networks;
use crate::ports::{self, Kept};
use crate::{borrow, device, flows, rules, shape};

/// What an attached container holds as long as it runs.
#[derive(Debug)]
pub struct Wired {
    /// Its network namespace: devices of the host come back from it.
    namespace: OwnedFd,
    /// Its ports of the host.
    pub kept: Kept,
    /// What could not be done and does no harm.
    pub warnings: Vec<String>,
}

/// What has gone through a device since it was attached; bytes with the headers of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTraffic {
    /// The device.
    pub live: Live,
    /// Bytes from the container.
    pub sent: u64,
    /// Bytes to the container.
    pub received: u64,
    /// Packets from the container.
    pub sent_packets: u64,
    /// Packets to the container.
    pub received_packets: u64,
    /// Packets that found no room in the queue of a limit.
    pub dropped: u64,
    /// Bytes that wait in such a queue now.
    pub waiting: u64,
}

impl Wired {
    pub(crate) fn namespace(&self) -> &OwnedFd {
        &self.namespace
    }
}

impl Networks {
    /// Attaches a container's network namespace to all that `list` says, and publishes its ports. When it fails nothing is left.
    ///
    /// # Errors
    /// The step that failed.
    pub fn wire(
        &self,
        owner: &Owner,
        namespace: OwnedFd,
        list: &[Attachment],
        publishes: &[Publish],
        whole: &Limits,
    ) -> Result<Wired> {
        let mut wired = Wired { namespace, kept: Kept::default(), warnings: Vec::new() };
        match self.wire_all(owner, list, publishes, whole, &mut wired) {
            Ok(()) => Ok(wired),
            Err(error) => {
                let mut error = error;
                let left = self.undo(&owner.id, list, &wired);
                if !left.is_empty() {
                    error.message =
                        format!("{}; and what was made could not all be undone: {}", error.message, left.join("; "));
                }
                Err(error)
            }
        }
    }

    /// Takes back all that a failed start has made: the namespace lives, so that nothing goes by itself.
    fn undo(&self, container: &str, list: &[Attachment], wired: &Wired) -> Vec<String> {
        let mut failed = Vec::new();
        let mut note = |done: Result<()>| failed.extend(done.err().map(|error| error.message));
        for live in self.endpoints_of(container).unwrap_or_default() {
            Self::delete_cni(&live, Some(&wired.namespace), &mut note);
        }
        match self.lock().and_then(|lock| Ok((lock, self.endpoints_of(container)?))) {
            Ok((_lock, attached)) => {
                attached.iter().for_each(|live| self.unwire_one(live, Some(wired), Ends::Now, &mut note));
                for network in list.iter().filter_map(|one| one.network.as_ref()) {
                    if !self.is_used(network.name.as_str()) {
                        note(self.take_down(network, Rules::default()));
                    }
                }
            }
            Err(error) => note(Err(error)),
        }
        failed
    }

    fn wire_all(
        &self,
        owner: &Owner,
        list: &[Attachment],
        publishes: &[Publish],
        whole: &Limits,
        wired: &mut Wired,
    ) -> Result<()> {
        let mut host = Socket::open(Family::Route)?;
        let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
        loopback(&mut there)?;
        let mut publishes = publishes;
        for one in list {
            // Ports lead to the first device that has an address they can lead to.
            let takes = one.v4.is_some() || one.v6.is_some() || matches!(one.nic.attach, Attach::Cni(_));
            let own: &[Publish] = if takes { std::mem::take(&mut publishes) } else { &[] };
            let limits = limit::parts(&one.nic.limits, whole, list.len());
            self.wire_one(owner, one, own, &limits, wired, &mut host, &mut there)
                .doing(|| format!("attach {} to {}", one.interface, one.place.trim_start_matches('@')))?;
        }
        match publishes.first().filter(|_| !list.is_empty()) {
            Some(publish) => {
                Err(Error::new(Kind::Invalid, format!("port {publish} leads nowhere: no device has an address")))
            }
            None => Ok(()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one act, each used once")]
    fn wire_one(
        &self,
        owner: &Owner,
        one: &Attachment,
        publishes: &[Publish],
        limits: &[Limits; 2],
        wired: &mut Wired,
        host: &mut Socket,
        there: &mut Socket,
    ) -> Result<()> {
        if matches!(one.nic.attach, Attach::Cni(_)) {
            return self.add_cni(owner, one, publishes, limits, wired);
        }
        let _lock = self.lock()?;
        self.may_share(&live(owner, one, Vec::new(), limits), &one.nic.share)?;
        if let Some(network) = &one.network {
            wired.warnings.extend(self.bring_up(host, network)?);
        }
        let (settled, kept) = match publishes {
            [] => (Vec::new(), Kept::default()),
            _ => ports::take(publishes, &self.all_endpoints()?, [one.v4.is_some(), one.v6.is_some()])?,
        };
        if link::find(there, &one.interface)?.is_some() {
            return Err(Error::new(Kind::Conflict, format!("it has a device {} already", one.interface))
                .hint("give this one another name: interface=NAME"));
        }
        let mut live = live(owner, one, settled, limits);
        let isolated = one.network.as_ref().is_some_and(|network| network.isolated);
        let wires = is_lent(one) && limit::holds(limits);
        if is_lent(one) {
            device::sweep(host, &one.device)?;
            live.borrowed = borrow::survey(host, one, wires)?;
        }
        if wires {
            live.device = Some(one.device.clone());
        }
        // Written down first: whoever finds it half done knows what there may be, and what it was before.
        self.record(&live)?;
        match wires {
            true => device::wire_to(host, wired.namespace.as_fd(), one)?,
            false => device::make(host, wired.namespace.as_fd(), one)?,
        }
        if let Some(borrowed) = live.borrowed.as_mut().filter(|_| !wires) {
            borrowed.index = Some(device::index_of(there, &one.interface)?);
            self.record(&live)?;
        }
        // As it is now: its limits may have changed since the start began.
        let network = self.network_of(&live).or_else(|| one.network.clone());
        self.filter(&rules::of_live(network.as_ref(), &live), &Rules::default())?;
        self.open_ports(host, network.as_ref(), &live.publishes)?;
        flows::forget(&live.publishes).ok();
        // A new device has nothing that would have to be taken away.
        if limit::holds(limits) {
            limit::device(host, &live, limits)?;
        }
        self.put_share(host, &live)?;
        if live.device.is_some() && !wires {
            device::ready(host, one, isolated)?;
        }
        device::inside(there, &wired.namespace, one)?;
        wired.kept.add(kept);
        Ok(())
    }

    /// Attaches a container that runs to one more.
    ///
    /// # Errors
    /// The step that failed; nothing of it is left then.
    pub fn join(&self, owner: &Owner, wired: &mut Wired, one: &Attachment, whole: &Limits) -> Result<()> {
        let mut host = Socket::open(Family::Route)?;
        let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
        let place = one.place.trim_start_matches('@');
        let list = self.endpoints_of(&owner.id)?;
        if list.iter().any(|live| live.network == one.place) {
            return Err(Error::new(Kind::Conflict, format!("it is on {place} already")));
        }
        // What undoes a failure removes the device of this name.
        if link::find(&mut there, &one.interface)?.is_some() {
            return Err(Error::new(Kind::Conflict, format!("it has a device {} already", one.interface))
                .hint("choose another name: --interface"));
        }
        let limits = limit::parts(&one.nic.limits, whole, list.len() + 1);
        let joined = self.wire_one(owner, one, &[], &limits, wired, &mut host, &mut there);
        // With a second device what was the limit of the only one is that of both.
        let joined = joined.and_then(|()| if holds(&limits) { self.limit(&owner.id, None, whole) } else { Ok(()) });
        joined.doing(|| format!("attach {} to {place}", one.interface)).inspect_err(|_| {
            // What was said first is the reason.
            self.undo_join(&owner.id, one, wired);
        })
    }

    fn undo_join(&self, container: &str, one: &Attachment, wired: &Wired) {
        for live in self.endpoints_of(container).unwrap_or_default().iter().filter(|live| live.network == one.place) {
            Self::delete_cni(live, Some(&wired.namespace), &mut drop);
        }
        let Ok(_lock) = self.lock() else { return };
        let list = self.endpoints_of(container).unwrap_or_default();
        match list.iter().find(|live| live.network == one.place) {
            Some(live) => self.unwire_one(live, Some(wired), Ends::Now, &mut drop),
            None => {
                if let Some(network) = one.network.as_ref().filter(|network| !self.is_used(network.name.as_str())) {
                    self.take_down(network, Rules::default()).ok();
                }
            }
        }
    }

    /// Gives the container a way to everywhere again, when the device that had it was taken off.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reroute(&self, wired: &Wired, list: &[Attachment]) -> Result<()> {
        let has = Self::routed(wired)?;
        let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
        let mut routed = has;
        for one in list {
            let Some(network) = &one.network else { continue };
            let routers = crate::attachment::routers(network, &mut routed);
            if !routers.is_empty() {
                device::lead_out(&mut there, &Attachment { routers, ..one.clone() })?;
            }
        }
        Ok(())
    }

    /// Has the container a way to everywhere already, for IPv4 and IPv6?
    ///
    /// # Errors
    /// The kernel's.
    pub fn routed(wired: &Wired) -> Result<[bool; 2]> {
        let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
        let routes = kernel::route::list(&mut there, kernel::route::MAIN)?;
        let has = |v4: bool| routes.iter().any(|one| one.destination.1 == 0 && one.destination.0.is_ipv4() == v4);
        Ok([has(true), has(false)])
    }

    /// What has gone through a container's devices, and what waits for a limit.
    ///
    /// # Errors
    /// When the files can not be read.
    pub fn traffic(&self, container: &str) -> Result<Vec<DeviceTraffic>> {
        let mut host = Socket::open(Family::Route)?;
        let mut list = Vec::new();
        for live in self.endpoints_of(container)? {
            let Some(device) = live.device.clone() else { continue };
            let Some(found) = link::find(&mut host, &device)? else { continue };
            let [to, from] = shape::counters(&mut host, &device)?;
            // What the host's end receives is what the container has sent.
            list.push(DeviceTraffic {
                sent: found.stats.rx_bytes,
                received: found.stats.tx_bytes,
                sent_packets: found.stats.rx_packets,
                received_packets: found.stats.tx_packets,
                dropped: to.drops + from.drops,
                waiting: to.waiting + from.waiting,
                live,
            });
        }
        Ok(list)
    }

    /// What published ports need of the network besides the packet filter.
    fn open_ports(&self, host: &mut Socket, network: Option<&Network>, publishes: &[Publish]) -> Result<()> {
        let local =
            |publish: &Publish| publish.address.is_none_or(|address| address.is_loopback() || address.is_unspecified());
        match network.filter(|network| network.is_managed()) {
            Some(network) if publishes.iter().any(local) => self.open_loopback(host, network),
            _ => Ok(()),
        }
    }

    pub(crate) fn all_endpoints(&self) -> Result<Vec<Live>> {
        let mut list = Vec::new();
        for network in self.running()? {
            list.extend(self.endpoints(&network)?);
        }
        Ok(list)
    }

    /// Takes a container off all networks; what nobody needs any more goes down. Tells what could not be done.
    pub fn unwire(&self, container: &str, wired: Option<&Wired>) -> Vec<String> {
        if !self.run.exists() {
            return Vec::new();
        }
        let mut failed = Vec::new();
        let mut note = |done: Result<()>| failed.extend(done.err().map(|error| error.message));
        for live in self.endpoints_of(container).unwrap_or_default() {
            Self::delete_cni(&live, wired.map(Wired::namespace), &mut note);
        }
        match self.lock().and_then(|lock| Ok((lock, self.endpoints_of(container)?))) {
            Ok((_lock, list)) => {
                let ends = if wired.is_some() { Ends::WithNamespace } else { Ends::Now };
                note(self.note_all(container, &list).map(drop));
                for live in &list {
                    self.unwire_one(live, wired, ends, &mut note);
                }
                if list.iter().any(|live| live.total.is_some()) {
                    note(forget_rooms(container));
                }
            }
            Err(error) => note(Err(error)),
        }
        failed
    }

    /// Takes one device off; the caller holds the lock. What could not be taken back stays written down, for another try.
    fn unwire_one(&self, live: &Live, wired: Option<&Wired>, ends: Ends, note: &mut dyn FnMut(Result<()>)) {
        let network = live.network.parse().ok().and_then(|name| self.get(&name).ok());
        let taken = take_away(live, wired, ends);
        if taken.is_ok() || live.borrowed.is_none() {
            note(self.forget(live));
        }
        note(taken);
        if let Some(network) = &network {
            let host = Socket::open(Family::Route).map_err(Error::from);
            note(host.and_then(|mut host| self.take_share(&mut host, network, live)));
        }
        let rules = rules::of_live(network.as_ref(), live);
        let used = self.is_used(&live.network);
        match &network {
            Some(network) if !used && network.is_managed() => note(self.take_down(network, rules)),
            _ => {
                if !used {
                    kernel::file::remove_any(&self.run_of(&live.network)).ok();
                    self.tidy_run();
                }
                if rules != Rules::default() {
                    note(self.filter_without(&rules));
                }
            }
        }
        flows::forget(&live.publishes).ok();
    }

    /// Takes one device of a running container off; its ports go with it.
    ///
    /// # Errors
    /// When it is on no such network, or all that could not be done.
    pub fn leave(&self, container: &str, place: &str, wired: &Wired) -> Result<Live> {
        self.detach(container, place, kernel::file::duplicate(&wired.namespace)?)
    }

    fn detach(&self, container: &str, place: &str, namespace: OwnedFd) -> Result<Live> {
        let list = self.endpoints_of(container)?;
        let live = list.into_iter().find(|live| live.network == place).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("it is not on network {}", place.trim_start_matches('@')))
        })?;
        let wired = Wired { namespace, kept: Kept::default(), warnings: Vec::new() };
        let mut failed: Vec<String> = Vec::new();
        let mut note = |done: Result<()>| failed.extend(done.err().map(|error| error.message));
        Self::delete_cni(&live, Some(&wired.namespace), &mut note);
        let _lock = self.lock()?;
        note(self.note_all(container, std::slice::from_ref(&live)).map(drop));
        self.unwire_one(&live, Some(&wired), Ends::Now, &mut note);
        match failed.is_empty() {
            true => Ok(live),
            false => Err(Error::new(Kind::Own, failed.join("; "))),
        }
    }

    /// Publishes further ports of a container that runs: those with the ports that were chosen.
    ///
    /// # Errors
    /// The port that is taken.
    pub fn publish(&self, container: &str, publishes: &[Publish]) -> Result<(Vec<Publish>, Kept)> {
        let _lock = self.lock()?;
        let list = self.endpoints_of(container)?;
        // Those of CNI are published by its plugins, when they are added.
        let has_address =
            |live: &&Live| live.cni.is_none() && (live.endpoint.v4.is_some() || live.endpoint.v6.is_some());
        let live = list
            .iter()
            .find(has_address)
            .ok_or_else(|| Error::new(Kind::Conflict, "it has no address that a port could lead to"))?;
        let families = [live.endpoint.v4.is_some(), live.endpoint.v6.is_some()];
        let (settled, kept) = ports::take(publishes, &self.all_endpoints()?, families)?;
        let mut changed = live.clone();
        changed.publishes.extend(&settled);
        self.record(&changed)?;
        let network = live.network.parse().ok().and_then(|name| self.get(&name).ok());
        let mut host = Socket::open(Family::Route)?;
        let opened = self
            .filter(&only_ports(&changed, &settled), &Rules::default())
            .and_then(|()| self.open_ports(&mut host, network.as_ref(), &settled));
        if let Err(error) = opened {
            self.record(live)?;
            return Err(error);
        }
        flows::forget(&settled).ok();
        Ok((settled, kept))
    }

    /// Tells all networks of a container's new names; its aliases stay.
    ///
    /// # Errors
    /// When a file can not be written.
    pub fn rename(&self, container: &str, old: &[String], new: &[String]) -> Result<()> {
        let _lock = self.lock()?;
        for mut live in self.endpoints_of(container)? {
            let aliases = live.endpoint.names.iter().filter(|name| !old.contains(name)).cloned();
            live.endpoint.names = new.iter().cloned().chain(aliases.collect::<Vec<_>>()).collect();
            self.record(&live)?;
        }
        Ok(())
    }

    /// Takes published ports back; those that are not published are no error.
    ///
    /// # Errors
    /// The packet filter's.
    pub fn unpublish(&self, container: &str, publishes: &[Publish]) -> Result<Vec<Publish>> {
        let _lock = self.lock()?;
        let mut gone = Vec::new();
        for live in self.endpoints_of(container)? {
            let is_gone = |one: &&Publish| publishes.iter().any(|publish| same(one, publish));
            let own: Vec<Publish> = live.publishes.iter().filter(is_gone).copied().collect();
            if own.is_empty() {
                continue;
            }
            let mut changed = live.clone();
            changed.publishes.retain(|one| !own.contains(one));
            self.record(&changed)?;
            self.filter(&Rules::default(), &only_ports(&live, &own))?;
            flows::forget(&own).ok();
            gone.extend(own);
        }
        Ok(gone)
    }

    /// Makes everything on the host anew of what is written down: bridges, packet filter, helpers.
    ///
    /// # Errors
    /// The first that could not be made.
    pub fn repair(&self) -> Result<Vec<String>> {
        if !self.run.exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut host = Socket::open(Family::Route)?;
        let mut told = Vec::new();
        for network in self.list()? {
            if !self.endpoints(network.name.as_str())?.is_empty() {
                told.extend(self.bring_up(&mut host, &network)?);
                self.rejoin(&mut host, &network)?;
            }
        }
        let rules = self.rules()?;
        if rules != Rules::default() {
            self.firewall()?.replace(&rules).doing(|| "set the packet filter".to_owned())?;
        }
        Ok(told)
    }

    /// Makes hosts' ends ports again of a bridge that was removed by hand.
    pub(crate) fn rejoin(&self, host: &mut Socket, network: &Network) -> Result<()> {
        if !network.is_managed() {
            return Ok(());
        }
        let bridge = device::index_of(host, &network.device)?;
        for live in self.endpoints(network.name.as_str())? {
            let Some(found) = live.device.as_deref().map(|name| link::find(host, name)).transpose()?.flatten() else {
                continue;
            };
            if found.master != Some(bridge) {
                let master = Some(link::Master::Of(bridge));
                link::set(host, found.index, &link::Change { master, ..link::Change::default() })?;
                let port = link::Port {
                    isolated: Some(network.isolated),
                    hairpin: Some(true),
                    bpdu_guard: Some(true),
                    root_block: Some(true),
                    ..link::Port::default()
                };
                let change = link::Change { up: Some(true), port: Some(port), ..link::Change::default() };
                link::set(host, found.index, &change)?;
                self.put_share(host, &live)?;
            }
        }
        Ok(())
    }
}

fn same(one: &Publish, wanted: &Publish) -> bool {
    one.container == wanted.container
        && one.protocol == wanted.protocol
        && (wanted.host == 0 || one.host == wanted.host)
        && (wanted.address.is_none() || one.address == wanted.address)
}

fn only_ports(live: &Live, publishes: &[Publish]) -> Rules {
    Rules {
        publications: publishes.iter().flat_map(|publish| rules::publications(live, publish)).collect(),
        ..Rules::default()
    }
}

/// Is it a device that the container has from the host's links themselves?
fn is_lent(one: &Attachment) -> bool {
    let driver = one.network.as_ref().map(|network| &network.driver);
    matches!(one.nic.attach, Attach::Macvlan(..) | Attach::Ipvlan(..) | Attach::Vlan(..) | Attach::Physical(_))
        || matches!(driver, Some(Driver::Macvlan { .. } | Driver::Ipvlan { .. }))
}

pub(crate) fn live(owner: &Owner, one: &Attachment, publishes: Vec<Publish>, limits: &[Limits; 2]) -> Live {
    let bridge = match (&one.nic.attach, &one.network) {
        (Attach::Bridge(name), _) => Some(name.clone()),
        (_, Some(network)) if matches!(network.driver, Driver::Bridge { .. }) => Some(network.device.clone()),
        _ => None,
    };
    Live {
        endpoint: Endpoint {
            container: owner.id.clone(),
            names: owner.names.iter().chain(&one.nic.aliases).cloned().collect(),
            mac: one.mac,
            v4: one.v4.map(|(ip, _)| ip),
            v6: one.v6.map(|(ip, _)| ip),
        },
        network: one.place.clone(),
        index: one.index,
        interface: one.interface.clone(),
        device: (!is_lent(one)).then(|| one.device.clone()),
        bridge,
        publishes,
        limits: limits[0],
        total: limits[1],
        nic: one.nic.clone(),
        borrowed: None,
        cni: None,
    }
}

/// Removes the rooms of all devices of a container.
fn forget_rooms(container: &str) -> Result<()> {
    limit::forget(&mut Socket::open(Family::Route)?, container, &Limits::default())
}

fn loopback(there: &mut Socket) -> Result<()> {
    let index = device::index_of(there, "lo")?;
    Ok(link::set(there, index, &link::Change { up: Some(true), ..link::Change::default() })?)
}

/// How a device ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// By our hand.
    Now,
    /// By itself, with the container's namespace: to be waited for it takes the kernel 30 ms.
    WithNamespace,
}

/// Removes what the host has of a device, or takes back what it has lent.
fn take_away(live: &Live, wired: Option<&Wired>, ends: Ends) -> Result<()> {
    let mut host = Socket::open(Family::Route)?;
    if let Some(name) = &live.device {
        shape::remove(&mut host, &shape::waiting_room(name))?;
        if let Some(found) = link::find(&mut host, name)? {
            // Somebody else may still be in the namespace: a port that is silent does no harm until it goes.
            let silent =
                live.bridge.is_some() && ends == Ends::WithNamespace && link::silence(&mut host, found.index).is_ok();
            let deleted = if silent { Ok(()) } else { link::delete(&mut host, found.index) };
            match deleted {
                Err(error) if error.is(kernel::Errno::NODEV) => {}
                other => other?,
            }
        }
    }
    if live.device.is_none() && live.borrowed.is_none() {
        return remove_inside(live, wired);
    }
    let Some(borrowed) = &live.borrowed else { return Ok(()) };
    match wired {
        _ if borrowed.wired => device::unwire_from(&mut host, live, borrowed),
        Some(wired) => {
            let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
            let own = namespace::open(std::path::Path::new("/proc/thread-self/ns/net"))?;
            borrow::give_back(&mut there, &mut host, own.as_fd(), borrowed)
        }
        None => borrow::restore_stray(&mut host, live, borrowed),
    }
}

/// A device on one of the host is inside alone; its tag or its address is free for the next one when it is gone.
fn remove_inside(live: &Live, wired: Option<&Wired>) -> Result<()> {
    let Some(wired) = wired else { return Ok(()) };
    let mut there = Socket::open_in(&wired.namespace, Family::Route)?;
    let found = link::list(&mut there)?.into_iter().find(|link| {
        let made = ["macvlan", "ipvlan", "vlan"].iter().any(|kind| link.kind.as_deref() == Some(kind));
        made && (link.name == live.interface || link.mac.map(spec::mac::Mac) == Some(live.endpoint.mac))
    });
    match found.map(|found| link::delete(&mut there, found.index)) {
        Some(Err(error)) if !error.is(kernel::Errno::NODEV) => Err(error.into()),
        _ => Ok(()),
    }
}
