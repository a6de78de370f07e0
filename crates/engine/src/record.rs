// SPDX-License-Identifier: Apache-2.0
//! What the store keeps of a container: `definition.json`, and `last.json` about its last run.

use std::path::Path;

use runtime::Exited;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::Definition;

use crate::error::{Doing, Error, Kind, Result};

/// The definition's file. Format: docs/formats/definition.md.
pub(crate) const DEFINITION: &str = "definition.json";

/// The file about the last run.
pub(crate) const LAST: &str = "last.json";

/// `definition.json`: what was asked for, and what was settled when the container was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of the format.
    pub(crate) version: u32,
    /// Full id.
    pub(crate) id: String,
    /// When it was made, RFC 3339.
    pub(crate) created: String,
    /// What was asked for.
    pub(crate) definition: Definition,
    /// The image's digest.
    pub(crate) digest: Option<String>,
    /// The image's configuration.
    pub(crate) config: spec::image::Config,
    /// The program that is its init, for a whole system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<String>,
    /// The image's layers.
    pub(crate) trees: Vec<image::Tree>,
    /// Its ids on the host.
    pub(crate) ids: Option<Ids>,
    /// Unnamed volumes that were made for it.
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
}

/// Ids of the host: 65,536, or several times that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// The first.
    pub(crate) base: u32,
    /// How many.
    #[serde(default = "one_range")]
    pub(crate) count: u32,
    /// Allocated for this container; otherwise that of the container whose namespaces it shares.
    pub(crate) own: bool,
}

fn one_range() -> u32 {
    crate::ids::COUNT
}

impl Record {
    pub(crate) const VERSION: u32 = 1;

    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let record: Self = read(&directory.join(DEFINITION))?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("{} has no {DEFINITION}", directory.display())))?;
        if record.version != Self::VERSION {
            let message = format!("{}: format {} is newer than this program", directory.display(), record.version);
            return Err(Error::new(Kind::Own, message).hint("use the newer program"));
        }
        Ok(record)
    }

    pub(crate) fn write(&self, directory: &Path, durable: bool) -> Result<()> {
        write(directory, DEFINITION, self, durable)
    }
}

/// The name of the control group of the container with this id, where we make it ourselves.
pub(crate) fn cgroup_of(id: &str) -> String {
    format!("cella-{id}")
}

pub(crate) fn read_last(directory: &Path) -> Result<Option<Exited>> {
    read(&directory.join(LAST))
}

pub(crate) fn write_last(directory: &Path, exited: &Exited, durable: bool) -> Result<()> {
    write(directory, LAST, exited, durable)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => kernel::Call::call(other, || format!("read({path:?})"))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::new(Kind::Own, format!("{}: {error}", path.display())).hint("cella doctor --repair"))
}

fn write<T: Serialize>(directory: &Path, name: &str, value: &T, durable: bool) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    let fd = kernel::root::open_directory_path(directory)?;
    kernel::file::write_atomic(fd, name, &text, durable).doing(|| format!("write {}", directory.join(name).display()))
}
