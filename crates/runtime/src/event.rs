// SPDX-License-Identifier: Apache-2.0
//! The log of events: JSON lines, each appended by one write, so that those of many processes never mix.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernel::Result;
use serde::{Deserialize, Serialize};

/// Bytes at which the log is put aside; one old one is kept.
const LARGEST: u64 = 4 << 20;

/// One event. Format: docs/formats/events.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, RFC 3339.
    pub time: String,
    /// What happened.
    pub event: String,
    /// Full id.
    pub id: String,
    /// Name at that time.
    pub name: String,
    /// What belongs to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The file that events go to.
#[derive(Debug, Clone)]
pub struct EventLog(PathBuf);

impl EventLog {
    /// The log at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the log goes when it is full.
    #[must_use]
    pub fn old_path(&self) -> PathBuf {
        self.0.with_extension("old.jsonl")
    }

    /// Appends an event that happens now.
    ///
    /// # Errors
    /// open(2)'s or write(2)'s.
    pub fn append(&self, event: &str, id: &str, name: &str, attributes: &[(&str, String)]) -> Result<()> {
        let record = Record {
            time: spec::timestamp::format(kernel::time::now_ns()),
            event: event.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        };
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        if kernel::file::append(&self.0, &line)? > LARGEST {
            kernel::file::rename(&self.0, &self.old_path())?;
        }
        Ok(())
    }
}
