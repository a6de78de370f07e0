// SPDX-License-Identifier: Apache-2.0
//! What an image says about how it is to be run (OCI image-spec, `config.json`); content, never policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `config` object of an image's configuration; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// Arguments before the command.
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the arguments of the entry point.
    pub cmd: Option<Vec<String>>,
    /// Directories that hold data, as keys.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// Ports that the program listens on, `80/tcp`, as keys.
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks the program to stop.
    pub stop_signal: Option<String>,
}
