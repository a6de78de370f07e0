// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with a `config.json`.

use std::path::{Path, PathBuf};

use spec::oci;

use crate::failure::{Failure, Result};

/// The version of the specification that is spoken.
pub(crate) const VERSION: &str = "1.3.0";

/// The longest `config.json`; those of Kubernetes have some 50 KiB.
const LONGEST: u64 = 16 << 20;

/// What was read.
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    /// The text, as it stands there.
    pub(crate) text: Vec<u8>,
    pub(crate) spec: oci::Spec,
}

/// Reads the configuration of the bundle in `directory`; `config` names another file.
pub(crate) fn read(directory: &Path, config: Option<&Path>) -> Result<Bundle> {
    let show = |error: std::io::Error| Failure::new(format!("bundle {}: {error}", directory.display()));
    let path = std::fs::canonicalize(directory).map_err(show)?;
    let file = config.map_or_else(|| path.join("config.json"), Path::to_owned);
    let text = read_limited(&file)?;
    let spec: oci::Spec = parse(&file, &text)?;
    check(&spec)?;
    Ok(Bundle { path, text, spec })
}

/// Reads a document that is not trusted to be short, or a file at all.
pub(crate) fn read_limited(file: &Path) -> Result<Vec<u8>> {
    let show = |error: String| Failure::new(format!("read {}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| show(error.to_string()))?;
    if !size.is_file() {
        return Err(show("it is not a regular file".to_owned()));
    }
    if size.len() > LONGEST {
        return Err(show(format!("it has {} bytes, more than {LONGEST}", size.len())));
    }
    std::fs::read(file).map_err(|error| show(error.to_string()))
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &Path, text: &[u8]) -> Result<T> {
    let show = |reason: String| Failure::new(format!("parse {}: {reason}", file.display()));
    let text = std::str::from_utf8(text).map_err(|error| show(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| show(error.to_string()))
}

fn check(spec: &oci::Spec) -> Result<()> {
    let mut parts = spec.oci_version.split('.');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    match (number(parts.next()), number(parts.next())) {
        (Some(1), Some(_)) => {}
        _ => {
            let message = format!("ociVersion {:?} is not one of version 1", spec.oci_version);
            return Err(Failure::new(message));
        }
    }
    if let Some(name) = spec.annotations.keys().find(|name| name.is_empty()) {
        return Err(Failure::new(format!("annotation {name:?} has no name")));
    }
    Ok(())
}
