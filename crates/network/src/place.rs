// SPDX-License-Identifier: Apache-2.0
//! Where networks are kept, who may change them now, and the names that they have on the host.

use std::path::{Path, PathBuf};

use kernel::lock::Lock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};

/// The networks of one store.
#[derive(Debug, Clone)]
pub struct Networks {
    /// Definitions and leases: durable.
    pub(crate) root: PathBuf,
    /// What is up now.
    pub(crate) run: PathBuf,
    /// Tells what is ours from what another store on this host has made; empty for the host's own.
    pub(crate) tag: String,
}

/// The lock below which subnets are chosen: of the host, since they must differ between stores too.
const HOST_LOCK: &str = "/run/cella-networks.lock";

impl Networks {
    /// The networks below these directories; nothing is made yet. `standard` is the host's own store.
    #[must_use]
    pub fn new(root: &Path, run: &Path, standard: bool) -> Self {
        let tag = if standard { String::new() } else { format!("{:08x}", hash(root.as_os_str().as_encoded_bytes())) };
        Self { root: root.join("networks"), run: run.join("networks"), tag }
    }

    /// Waits for the right to change the networks of this store.
    pub(crate) fn lock(&self) -> Result<Lock> {
        kernel::file::make_directories(&self.root, 0o711)?;
        Ok(Lock::wait(kernel::root::open_directory_path(&self.root)?)?)
    }

    /// Makes the directory of what is up, which the helpers read.
    pub(crate) fn make_run(&self) -> Result<()> {
        Ok(kernel::file::make_directories(&self.run, 0o755)?)
    }

    /// Removes it when nothing is up any more.
    pub(crate) fn tidy_run(&self) {
        kernel::file::remove_directory(&self.run).ok();
    }

    pub(crate) fn lock_host() -> Result<Lock> {
        Ok(Lock::wait_file(Path::new(HOST_LOCK))?)
    }

    /// The name of our table in nf_tables.
    pub(crate) fn table(&self) -> String {
        if self.tag.is_empty() { "cella".to_owned() } else { format!("cella-{}", self.tag) }
    }

    /// The host's name for the bridge of a network: readable where it can be, unique in any case.
    pub(crate) fn bridge_name(&self, network: &str) -> String {
        match (self.tag.as_str(), network) {
            ("", crate::DEFAULT) => crate::DEFAULT.to_owned(),
            ("", name) if name.len() <= 9 => format!("cella-{name}"),
            (tag, name) => format!("cella-{:08x}", hash(format!("{tag}/{name}").as_bytes())),
        }
    }

    /// The runtime directory of a network.
    pub(crate) fn run_of(&self, network: &str) -> PathBuf {
        self.run.join(network)
    }
}

/// FNV-1a: names, not secrets.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The document in a file; `None` where there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => kernel::Call::call(other, || format!("read({path:?})"))?,
    };
    let broken = |error: serde_json::Error| Error::new(Kind::Own, format!("{}: {error}", path.display()));
    serde_json::from_slice(&text).map(Some).map_err(broken)
}

/// Writes a document in one rename.
pub(crate) fn write<T: Serialize>(directory: &Path, name: &str, value: &T, durable: bool) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    let directory = kernel::root::open_directory_path(directory)?;
    Ok(kernel::file::write_atomic(directory, name, &text, durable)?)
}

/// Writes a document that the helper, which is nobody, reads.
pub(crate) fn publish<T: Serialize>(directory: &Path, name: &str, value: &T) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    Ok(kernel::file::write_atomic_mode(kernel::root::open_directory_path(directory)?, name, &text, false, 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_host_fit_and_differ() {
        let standard = Networks::new(Path::new("/var/lib/cella"), Path::new("/run/cella"), true);
        assert_eq!((standard.bridge_name("cella0"), standard.table()), ("cella0".into(), "cella".into()));
        assert_eq!(standard.bridge_name("back"), "cella-back");
        let other = Networks::new(Path::new("/tmp/x"), Path::new("/tmp/x/run"), false);
        for name in ["cella0", "back", "a-name-of-many-characters"] {
            assert!(other.bridge_name(name).len() <= 15 && other.bridge_name(name) != standard.bridge_name(name));
        }
        assert_ne!(other.table(), standard.table());
    }
}
