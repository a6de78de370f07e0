// SPDX-License-Identifier: Apache-2.0
//! What a helper is told by files, written as it can read them: as a whole, and by somebody without rights.

use std::path::Path;

use kernel::{Errno, Error, Result};
use serde::Serialize;

use super::{Config, Endpoint};

/// The names in a network's directory.
pub(super) const CONFIG: &str = "helper.json";
pub(super) const ENDPOINTS: &str = "endpoints";
pub(super) const SUFFIX: &str = ".json";

/// A helper is nobody by the time it reads them; nothing in them is secret.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Writes `helper.json` in a network's directory, and makes that and `endpoints` below it when they are missing; they and
/// the directory of all networks become readable for everybody.
///
/// # Errors
/// mkdir(2)'s, openat(2)'s, write(2)'s or renameat(2)'s.
pub fn write_config(directory: &Path, config: &Config) -> Result<()> {
    for path in directory.parent().into_iter().chain([directory, &directory.join(ENDPOINTS)]) {
        kernel::file::make_directory(path, DIRECTORY_MODE)?;
        // Whatever the umask was.
        kernel::fs::set_mode(kernel::root::open_directory_path(path)?, DIRECTORY_MODE)?;
    }
    write(directory, CONFIG, config)
}

/// Writes an endpoint's file in a network's directory, in place of the one that `id` had. Whoever asks from then on is told.
///
/// # Errors
/// `EINVAL` for an `id` that is no plain file name; otherwise as [`write_config`].
pub fn write_endpoint(directory: &Path, id: &str, endpoint: &Endpoint) -> Result<()> {
    write(&directory.join(ENDPOINTS), &file(id)?, endpoint)
}

/// Removes an endpoint's file; one that is gone already is fine.
///
/// # Errors
/// `EINVAL` for an `id` that is no plain file name; unlink(2)'s.
pub fn remove_endpoint(directory: &Path, id: &str) -> Result<()> {
    kernel::file::remove(&directory.join(ENDPOINTS).join(file(id)?))
}

fn file(id: &str) -> Result<String> {
    if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Error::new(format!("endpoint {id:?}: no plain name"), Errno::INVAL));
    }
    Ok(format!("{id}{SUFFIX}"))
}

fn write(directory: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| Error::new(format!("write {name}: {error}"), Errno::INVAL))?;
    let directory = kernel::root::open_directory_path(directory)?;
    kernel::file::write_atomic_mode(directory, name, &bytes, false, FILE_MODE)
}

/// Reads a file of this kind.
pub(super) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = kernel::file::read_small(path)?;
    let invalid = |error: serde_json::Error| Error::new(format!("read {}: {error}", path.display()), Errno::INVAL);
    serde_json::from_slice(&bytes).map_err(invalid)
}
