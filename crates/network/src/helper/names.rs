// SPDX-License-Identifier: Apache-2.0
//! Who is on the network, and which names they may know: everything that a query needs, ready to be looked up.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Config, Endpoint, Endpoints};
use crate::mac::Mac;

/// The most bytes of a name on the wire, less its end (RFC 1035, 3.1).
const NAME: usize = 254;

/// The most bytes of one label.
const LABEL: usize = 63;

/// A name as it is on the wire, in small letters and without the root: each label behind its length.
///
/// Names are compared in this form, where a dot inside a label is not one between two.
pub type Key = Vec<u8>;

/// The key of a name that people wrote; `None` when it cannot be one.
#[must_use]
pub fn key(name: &str) -> Option<Key> {
    let mut key = Key::new();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=LABEL).contains(&usize::from(*length)))?;
        key.push(length);
        key.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    (key.len() <= NAME).then_some(key)
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// A container, which may know the names of all networks that it is on.
    Container(usize),
    /// Some address of this network that no endpoint has: it knows this network's names alone.
    Guest,
}

/// One name of one endpoint, or its first one.
#[derive(Debug)]
struct Entry<T> {
    network: usize,
    value: T,
}

/// The names as one network's helper sees them.
#[derive(Debug, Default)]
pub struct Names {
    gateway4: Option<(Ipv4Addr, u8)>,
    gateway6: Option<(Ipv6Addr, u8)>,
    domain: Option<Key>,
    /// The containers of this network: by its addresses, and by their addresses on its link.
    clients: HashMap<IpAddr, usize>,
    devices: HashMap<Mac, Endpoint>,
    /// The networks of each container; 0 is this one.
    networks: Vec<Vec<usize>>,
    addresses: HashMap<Key, Vec<Entry<Option<IpAddr>>>>,
    pointers: HashMap<IpAddr, Vec<Entry<Key>>>,
}

impl Names {
    /// The names of `config`'s network and of those that its containers are on too.
    #[must_use]
    pub fn new(config: &Config, endpoints: &Endpoints) -> Self {
        let all = endpoints.iter().flat_map(|(network, list)| list.iter().map(move |one| (network.as_str(), one)));
        Self::of(config, &all.collect::<Vec<_>>())
    }

    pub(super) fn of(config: &Config, all: &[(&str, &Endpoint)]) -> Self {
        let mut names = Self {
            gateway4: config.gateway4,
            gateway6: config.gateway6,
            domain: key(&config.domain),
            ..Self::default()
        };
        let mut numbers = HashMap::new();
        for (_, endpoint) in all.iter().filter(|(network, _)| *network == config.network) {
            let next = numbers.len();
            let number = *numbers.entry(endpoint.container.as_str()).or_insert(next);
            names.add_client(number, endpoint);
        }
        names.networks = vec![vec![0]; numbers.len()];
        let (known, mut order) = (names.networks_of(all, &numbers, config), HashMap::new());
        for (network, endpoint) in all.iter().filter(|(network, _)| known.contains(network)) {
            let next = order.len() + 1;
            let network = if *network == config.network { 0 } else { *order.entry(*network).or_insert(next) };
            let list = numbers.get(endpoint.container.as_str()).and_then(|number| names.networks.get_mut(*number));
            if let Some(list) = list.filter(|list| !list.contains(&network)) {
                list.push(network);
            }
            names.add_names(network, endpoint);
        }
        names
    }

    /// The networks that at least one of our containers is on.
    fn networks_of<'a>(
        &self,
        all: &[(&'a str, &Endpoint)],
        numbers: &HashMap<&str, usize>,
        config: &'a Config,
    ) -> HashSet<&'a str> {
        let shared = all.iter().filter(|(_, endpoint)| numbers.contains_key(endpoint.container.as_str()));
        shared.map(|(network, _)| *network).chain([config.network.as_str()]).collect()
    }

    fn add_client(&mut self, number: usize, endpoint: &Endpoint) {
        let link_local = IpAddr::V6(endpoint.mac.link_local());
        for address in addresses(endpoint).chain([link_local]) {
            self.clients.insert(address, number);
        }
        self.devices.insert(endpoint.mac, endpoint.clone());
    }

    fn add_names(&mut self, network: usize, endpoint: &Endpoint) {
        for key in endpoint.names.iter().filter_map(|name| key(name)) {
            let list = self.addresses.entry(key).or_default();
            // A name without an address is there all the same.
            list.push(Entry { network, value: None });
            list.extend(addresses(endpoint).map(|address| Entry { network, value: Some(address) }));
        }
        let Some(first) = endpoint.names.iter().find_map(|name| key(name)) else { return };
        for address in addresses(endpoint) {
            self.pointers.entry(address).or_default().push(Entry { network, value: first.clone() });
        }
    }

    /// Who has this address on this network; `None` for an address that is not of it.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> Option<Client> {
        match self.clients.get(&address) {
            Some(number) => Some(Client::Container(*number)),
            None => self.is_here(address).then_some(Client::Guest),
        }
    }

    /// Is it an address of this network?
    #[must_use]
    pub fn is_here(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.gateway4.is_some_and(|(gateway, length)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or_default();
                (address.to_bits() ^ gateway.to_bits()) & mask == 0
            }),
            IpAddr::V6(address) => self.gateway6.is_some_and(|(gateway, length)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or_default();
                (address.to_bits() ^ gateway.to_bits()) & mask == 0
            }),
        }
    }

    fn may_know(&self, client: Client, network: usize) -> bool {
        match client {
            Client::Guest => network == 0,
            Client::Container(number) => self.networks.get(number).is_some_and(|list| list.contains(&network)),
        }
    }

    /// The addresses of a name that the client may know; `None` when there is no such name for it.
    #[must_use]
    pub fn find(&self, client: Client, key: &[u8]) -> Option<Vec<IpAddr>> {
        let list = self.addresses.get(key)?.iter().filter(|entry| self.may_know(client, entry.network));
        let (mut found, mut seen) = (None, HashSet::new());
        for entry in list {
            let addresses = found.get_or_insert_with(Vec::new);
            addresses.extend(entry.value.filter(|address| seen.insert(*address)));
        }
        found
    }

    /// The name of an address that the client may know.
    #[must_use]
    pub fn pointer(&self, client: Client, address: IpAddr) -> Option<&[u8]> {
        let list = self.pointers.get(&address)?;
        list.iter().find(|entry| self.may_know(client, entry.network)).map(|entry| entry.value.as_slice())
    }

    /// The domain of all names, when it has one.
    #[must_use]
    pub fn domain(&self) -> Option<&[u8]> {
        self.domain.as_deref()
    }

    /// The endpoint with this address on the link.
    #[must_use]
    pub fn device(&self, mac: Mac) -> Option<&Endpoint> {
        self.devices.get(&mac)
    }
}

fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint.v4.map(IpAddr::V4).into_iter().chain(endpoint.v6.map(IpAddr::V6))
}
