// SPDX-License-Identifier: Apache-2.0
//! The directory of layers: each is made beside the others under a lock, and gets its name when it is complete.

use std::path::{Path, PathBuf};

use kernel::Errno;
use kernel::lock::Lock;

use crate::error::{At, Result};

/// Prefix of a layer that is being made.
const NEW: &str = ".new-";

/// `layers/` of a store. Only root may enter: an image's set-user-id programs must not be reachable from the host.
#[derive(Debug)]
pub(crate) struct Layers {
    directory: PathBuf,
}

impl Layers {
    pub(crate) fn new(root: &Path) -> Self {
        Self { directory: root.join("layers") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The layer of this name; made by `fill` in an empty directory when it is not there. Who comes at the same time
    /// waits, and finds it done.
    pub(crate) fn get_or_make(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.path(name);
        if path.is_dir() {
            return Ok(path);
        }
        kernel::file::make_directories(&self.directory, 0o700).at(|| format!("make {}", self.directory.display()))?;
        let _lock = self.lock().at(|| format!("lock {}", self.directory.display()))?;
        // With the lock held nobody is making anything: what is half made is a leftover.
        self.clear()?;
        if path.is_dir() {
            return Ok(path);
        }
        let new = self.path(&format!("{NEW}{name}"));
        kernel::file::make_new_directory(&new, 0o755).at(|| "make a layer".to_owned())?;
        let done = fill(&new).and_then(|()| {
            sync(&new).at(|| "write the layer to the disk".to_owned())?;
            kernel::file::rename_new(&new, &path).at(|| "name the layer".to_owned())
        });
        if done.is_err() {
            // The failure is what is told; what can not be removed now is a leftover for the next one.
            self.clear().ok();
        }
        done.map(|()| path)
    }

    /// A small file beside the layers, replaced as a whole.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> kernel::Result<()> {
        kernel::file::make_directories(&self.directory, 0o700)?;
        kernel::file::write_atomic(kernel::root::open_directory_path(&self.directory)?, name, bytes, true)
    }

    fn lock(&self) -> kernel::Result<Lock> {
        Lock::wait(kernel::root::open_directory_path(&self.directory)?)
    }

    fn clear(&self) -> Result<Vec<String>> {
        let mut cleared = Vec::new();
        let parent = kernel::root::open_directory_path(&self.directory).at(|| "open the layers".to_owned())?;
        for name in kernel::file::names(&self.directory).at(|| "read the layers".to_owned())? {
            if name.starts_with(NEW) {
                kernel::fs::remove_tree(&parent, name.as_ref()).at(|| format!("remove {name}"))?;
                cleared.push(format!("layer {name}"));
            }
        }
        Ok(cleared)
    }

    pub(crate) fn repair(&self) -> Result<Vec<String>> {
        let directory = match kernel::root::open_directory_path(&self.directory) {
            Err(error) if error.is(Errno::NOENT) => return Ok(Vec::new()),
            other => other.at(|| "open the layers".to_owned())?,
        };
        match Lock::try_take(directory).at(|| "lock the layers".to_owned())? {
            Some(_lock) => self.clear(),
            None => Ok(Vec::new()),
        }
    }
}

/// Everything of the file system that the directory is on.
fn sync(directory: &Path) -> kernel::Result<()> {
    kernel::fs::sync_all(kernel::root::open_directory_path(directory)?)
}
