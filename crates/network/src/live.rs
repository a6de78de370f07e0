// SPDX-License-Identifier: Apache-2.0
//! What is attached now: one file for each device of each container, from which all that is on the host can be made again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spec::network::{Limits, Nic, Publish};

use crate::cni::Added;
use crate::error::Result;
use crate::helper::Endpoint;
use crate::place::{self, Networks};

/// A device that is attached: `networks/NETWORK/endpoints/CONTAINER.json` below the runtime directory. The helper reads the
/// first part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Names and addresses.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The network, or `@` and what it is on instead.
    pub network: String,
    /// Which of the container's devices it is.
    pub index: usize,
    /// Its name inside.
    pub interface: String,
    /// The host's end; none where there is none.
    pub device: Option<String>,
    /// The bridge that the host's end is a port of.
    pub bridge: Option<String>,
    /// Published ports, with the ports that were chosen.
    #[serde(default)]
    pub publishes: Vec<Publish>,
    /// What may go through it.
    #[serde(default)]
    pub limits: Limits,
    /// What may go through all devices of the container together, where it has several.
    #[serde(default)]
    pub total: Limits,
    /// As it was asked for.
    pub nic: Nic,
    /// A device of the host that is given back.
    #[serde(default)]
    pub borrowed: Option<Borrowed>,
    /// What CNI plugins have made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<Added>,
}

/// A device of the host as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Borrowed {
    /// Its name.
    pub name: String,
    /// Its address on the link.
    pub mac: Option<spec::mac::Mac>,
    /// Maximum size of a packet.
    pub mtu: u32,
    /// Was it up?
    pub up: bool,
    /// Its addresses, with prefix lengths.
    pub addresses: Vec<(std::net::IpAddr, u8)>,
    /// The routes through it.
    #[serde(default)]
    pub routes: Vec<BorrowedRoute>,
    /// Its number inside: what it is called there is root's there to change.
    #[serde(default)]
    pub index: Option<u32>,
    /// It stays on the host, and the container has a device that is wired to it: what is limited must be where root inside
    /// can not reach it.
    #[serde(default)]
    pub wired: bool,
}

/// A route through a device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BorrowedRoute {
    /// Where to, with the prefix length.
    pub to: (std::net::IpAddr, u8),
    /// By which router.
    pub gateway: Option<std::net::IpAddr>,
    /// The sender's address.
    pub source: Option<std::net::IpAddr>,
    /// The lower, the better.
    pub metric: Option<u32>,
    /// The router is on the link whatever the addresses say.
    pub onlink: bool,
}

/// The directory of endpoints of a network.
fn directory(networks: &Networks, network: &str) -> PathBuf {
    networks.run_of(network).join("endpoints")
}

fn is_endpoint(file: &str) -> bool {
    file.ends_with(".json") && !file.starts_with('.')
}

impl Networks {
    /// The devices on a network now.
    ///
    /// # Errors
    /// When the files can not be read.
    pub fn endpoints(&self, network: &str) -> Result<Vec<Live>> {
        let directory = directory(self, network);
        if !directory.exists() {
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        for file in kernel::file::names(&directory)? {
            if is_endpoint(&file) {
                list.extend(place::read::<Live>(&directory.join(file))?);
            }
        }
        Ok(list)
    }

    /// Is nobody on it? Without reading who they are: with five hundred of them that is what an end would take.
    pub(crate) fn is_deserted(&self, network: &str) -> Result<bool> {
        let directory = directory(self, network);
        if !directory.exists() {
            return Ok(true);
        }
        Ok(!kernel::file::names(&directory)?.iter().any(|file| is_endpoint(file)))
    }

    /// The networks that have a runtime directory, those without a definition (`@…`) too.
    pub(crate) fn running(&self) -> Result<Vec<String>> {
        if !self.run.exists() {
            return Ok(Vec::new());
        }
        // It goes with the last network, at any moment.
        let names = kernel::file::names(&self.run).unwrap_or_default();
        Ok(names.into_iter().filter(|name| self.run.join(name).join("endpoints").exists()).collect())
    }

    /// The devices of a container now, in order.
    ///
    /// # Errors
    /// When the files can not be read.
    pub fn endpoints_of(&self, container: &str) -> Result<Vec<Live>> {
        let mut list = Vec::new();
        for network in self.running()? {
            list.extend(place::read::<Live>(&directory(self, &network).join(format!("{container}.json")))?);
        }
        list.sort_by_key(|live| live.index);
        Ok(list)
    }

    /// Is any device on this network? So it is also when that can not be told.
    pub(crate) fn is_used(&self, network: &str) -> bool {
        !self.is_deserted(network).unwrap_or(false)
    }

    /// Is any network up, or any device attached?
    pub(crate) fn is_anything_up(&self) -> Result<bool> {
        Ok(self.running()?.iter().any(|name| self.is_used(name)))
    }

    pub(crate) fn record(&self, live: &Live) -> Result<()> {
        let directory = directory(self, &live.network);
        // The helper, which is nobody, reads them.
        self.make_run()?;
        kernel::file::make_directories(&directory, 0o755)?;
        place::publish(&directory, &format!("{}.json", live.endpoint.container), live)
    }

    pub(crate) fn forget(&self, live: &Live) -> Result<()> {
        let file = format!("{}.json", live.endpoint.container);
        Ok(kernel::file::remove(&directory(self, &live.network).join(file))?)
    }
}
