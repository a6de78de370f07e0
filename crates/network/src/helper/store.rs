// SPDX-License-Identifier: Apache-2.0
//! The networks' files as a helper sees them: read once, and after that when they change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use kernel::inotify::{Event, Inotify};
use kernel::{Errno, Result};

use super::files::{self, CONFIG, ENDPOINTS, SUFFIX};
use super::{Config, Endpoint, Names};

/// What a watch is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The directory of all networks.
    Networks,
    /// A network's own.
    Network(String),
    /// Its endpoints.
    Endpoints(String),
}

/// What has to be read again.
#[derive(Debug, Default)]
struct Stale {
    all: bool,
    config: bool,
    files: BTreeSet<(String, String)>,
}

/// The files, and what follows from them.
#[derive(Debug)]
pub(super) struct Store {
    /// The directory of all networks.
    base: PathBuf,
    inotify: Inotify,
    places: HashMap<i32, Place>,
    endpoints: BTreeMap<String, BTreeMap<String, Endpoint>>,
    pub(super) config: Config,
    pub(super) names: Names,
    /// Our own file is there.
    pub(super) is_told: bool,
}

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Store {
    /// The files below `base`, which are read by the first [`Store::refresh`].
    pub(super) fn new(config: Config, inotify: Inotify, base: PathBuf) -> Self {
        let (places, endpoints, names) = (HashMap::new(), BTreeMap::new(), Names::default());
        let config = without_itself(config);
        Self { base, inotify, places, endpoints, config, names, is_told: true }
    }

    /// Reads everything, and sees to it that changes are told.
    pub(super) fn read_all(&mut self) -> Result<()> {
        let networks = self.inotify.watch(&self.base)?;
        self.places.insert(networks, Place::Networks);
        let before = std::mem::take(&mut self.endpoints);
        if let Err(error) = self.read_networks() {
            // Old names are better than some of the new ones.
            self.endpoints = before;
            return Err(error);
        }
        self.read_config()?;
        self.rebuild();
        Ok(())
    }

    fn read_networks(&mut self) -> Result<()> {
        for network in kernel::file::names(&self.base)?.into_iter().filter(|name| !name.starts_with('.')) {
            // It may be going at this moment, and then that is told; a file among the directories is none of ours.
            let foreign = network != self.config.network;
            self.read_network(&network).or_else(|error| match error.errno {
                Errno::NOENT | Errno::NOTDIR => Ok(()),
                // What is closed to us is another's affair.
                Errno::ACCESS if foreign => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(())
    }

    fn read_network(&mut self, network: &str) -> Result<()> {
        let directory = self.base.join(network);
        // First the watches, then the files: what changes in between is read twice.
        let watch = self.inotify.watch(&directory)?;
        self.places.insert(watch, Place::Network(network.to_owned()));
        let directory = directory.join(ENDPOINTS);
        let watch = self.inotify.watch(&directory)?;
        self.places.insert(watch, Place::Endpoints(network.to_owned()));
        for file in kernel::file::names(&directory)? {
            self.read_endpoint(network, &file);
        }
        Ok(())
    }

    /// A file that is not there, or that cannot be understood, is no endpoint.
    fn read_endpoint(&mut self, network: &str, file: &str) {
        if file.starts_with('.') || !file.ends_with(SUFFIX) {
            return;
        }
        let list = self.endpoints.entry(network.to_owned()).or_default();
        match files::read(&self.base.join(network).join(ENDPOINTS).join(file)) {
            Ok(endpoint) => drop(list.insert(file.to_owned(), endpoint)),
            Err(_) => drop(list.remove(file)),
        }
    }

    /// Takes what may change while we serve; our addresses, ports and device are those of the open sockets.
    fn read_config(&mut self) -> Result<()> {
        let path = self.base.join(&self.config.network).join(CONFIG);
        match files::read::<Config>(&path) {
            Ok(new) => {
                let Config { domain, internal, upstream, servers, mtu, .. } = new;
                let new = Config { domain, internal, upstream, servers, mtu, ..self.config.clone() };
                self.config = without_itself(new);
            }
            Err(error) if error.is(Errno::NOENT) => self.is_told = false,
            // Somebody writes it by hand: what was told before holds.
            Err(error) if error.is(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn rebuild(&mut self) {
        let all: Vec<(&str, &Endpoint)> = self
            .endpoints
            .iter()
            .flat_map(|(network, list)| list.values().map(move |endpoint| (network.as_str(), endpoint)))
            .collect();
        self.names = Names::of(&self.config, &all);
    }

    /// Takes over what has changed; cheap when nothing has. Each query is decided by the files as they are when it is read.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let mut stale = Stale::default();
        let (places, config) = (&mut self.places, &self.config);
        self.inotify.read(&mut |event| match event {
            Event::Lost => stale.all = true,
            Event::Gone(watch) => drop(places.remove(&watch)),
            Event::Entry { watch, name } => match places.get(&watch) {
                Some(Place::Endpoints(network)) => drop(stale.files.insert((network.clone(), name))),
                Some(Place::Network(network)) => {
                    stale.all |= name == ENDPOINTS;
                    stale.config |= name == CONFIG && *network == config.network;
                }
                Some(Place::Networks) => stale.all |= !name.starts_with('.'),
                None => {}
            },
        })?;
        if stale.all {
            return self.read_all();
        }
        if !stale.config && stale.files.is_empty() {
            return Ok(());
        }
        if stale.config {
            self.read_config()?;
        }
        for (network, file) in &stale.files {
            self.read_endpoint(network, file);
        }
        self.rebuild();
        Ok(())
    }
}

/// A helper that asks itself would never stop.
fn without_itself(mut config: Config) -> Config {
    let own = [config.gateway4.map(|(own, _)| own.into()), config.gateway6.map(|(own, _)| own.into())];
    config.upstream.retain(|server| server.port() != config.port || !own.contains(&Some(server.ip())));
    config
}
