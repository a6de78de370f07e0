// SPDX-License-Identifier: Apache-2.0
//! Which subnets are taken on this host, by whichever store: a link for each, that leads to the network's definition.
//!
//! A bridge is there only while a container is on it; two stores would choose the same subnet without knowing.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use spec::network::Network;

use crate::error::Result;
use crate::place::Networks;

/// Of the host, as the ids are.
const CLAIMS: &str = "/var/lib/cella/subnets";

fn file_of(net: &IpNet) -> PathBuf {
    Path::new(CLAIMS).join(net.to_string().replace('/', "-"))
}

fn net_of(name: &str) -> Option<IpNet> {
    let (address, length) = name.rsplit_once('-')?;
    format!("{address}/{length}").parse().ok()
}

/// What is claimed; claims of networks that are gone are removed on the way. The caller holds the host's lock.
pub(crate) fn all() -> Result<Vec<IpNet>> {
    let directory = Path::new(CLAIMS);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    for name in kernel::file::names(directory)? {
        let path = directory.join(&name);
        match (net_of(&name), path.exists()) {
            (Some(net), true) => list.push(net),
            // The link leads nowhere any more: its store was removed as a whole.
            _ => kernel::file::remove(&path)?,
        }
    }
    Ok(list)
}

impl Networks {
    /// Claims a network's subnets. The caller holds the host's lock.
    pub(crate) fn claim(&self, network: &Network) -> Result<()> {
        let to = self.root.join(format!("{}.json", network.name));
        kernel::file::make_directories(Path::new(CLAIMS), 0o755)?;
        for subnet in &network.subnets {
            let path = file_of(&subnet.net);
            kernel::file::remove(&path)?;
            kernel::file::make_link(&path, &to.to_string_lossy())?;
        }
        Ok(())
    }

    /// Lets go of them.
    pub(crate) fn unclaim(&self, network: &Network) -> Result<()> {
        let _host = Self::lock_host()?;
        let own = self.root.join(format!("{}.json", network.name));
        for subnet in &network.subnets {
            let path = file_of(&subnet.net);
            if kernel::file::read_link(&path).is_ok_and(|to| Path::new(&to) == own) {
                kernel::file::remove(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_a_file_name_and_back() {
        for text in ["10.88.0.0/20", "fd01:203::/64", "::/0"] {
            let net: IpNet = text.parse().unwrap();
            let file = file_of(&net);
            let name = file.file_name().unwrap().to_str().unwrap();
            assert_eq!(net_of(name), Some(net), "{name}");
        }
        assert_eq!(net_of("x"), None);
    }
}
