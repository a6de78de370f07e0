// SPDX-License-Identifier: Apache-2.0
//! `tar:`: an archive of a root file system, unpacked once for each state of the file.

use std::path::{Path, PathBuf};

use kernel::fs::{Entry, Kind};
use sha2::{Digest, Sha256};

use crate::Progress;
use crate::error::{At, Error, Result};
use crate::layers::Layers;
use crate::unpack::{Meaning, Unpacker};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;

/// The layer that the archive is unpacked to.
pub(crate) fn prepare(layers: &Layers, path: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
    let found = look(path)?;
    layers.get_or_make(&format!("tar-{}", key(path, &found)), |directory| {
        progress.stage(&format!("unpack {path}"));
        let file = std::fs::File::open(path).at(|| format!("open {path}"))?;
        feed(file, Some(found.size), directory, Meaning::Whole, progress)?;
        // What was unpacked must be what the name of the layer says.
        match look(path)? == found {
            true => Ok(()),
            false => Err(Error::new(format!("{path} changed while it was unpacked")).hint("try again")),
        }
    })
}

fn look(path: &str) -> Result<Entry> {
    let hint = "name an archive that is there";
    match kernel::root::open_directory_path(Path::new("/"))
        .and_then(|root| kernel::fs::look(root, path.trim_start_matches('/')))
    {
        Ok(Some(found)) if found.kind == Kind::File => Ok(found),
        Ok(Some(found)) if found.kind == Kind::Directory => {
            Err(Error::new(format!("{path} is a directory")).hint(format!("write dir:{path}")))
        }
        Ok(Some(_)) => Err(Error::new(format!("{path} is not a regular file")).hint(hint)),
        Ok(None) => Err(Error::new(format!("there is no file {path}")).hint(hint)),
        Err(error) => Err(Error::new(format!("look at {path}")).because(error)),
    }
}

/// Path, device, inode, size and times: a file that is written again gets another key.
fn key(path: &str, found: &Entry) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!(
        "{path}\0{}\0{}\0{}\0{:?}\0{:?}",
        found.device, found.inode, found.size, found.modified, found.changed
    ));
    hex(&hasher.finalize()).chars().take(32).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digests of what was unpacked: as it came, and after decompression.
pub(crate) struct Digests {
    pub(crate) stored: String,
    pub(crate) plain: String,
}

/// Unpacks a stream, and hashes exactly the bytes that are unpacked.
pub(crate) fn feed(
    mut source: impl std::io::Read,
    total: Option<u64>,
    directory: &Path,
    meaning: Meaning,
    progress: &mut dyn Progress,
) -> Result<Digests> {
    let mut unpacker = Unpacker::start(directory, meaning)?;
    let (mut hasher, mut done) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = source.read(&mut buffer).at(|| "read the archive".to_owned())?;
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        if count == 0 || !unpacker.write(bytes) {
            break;
        }
        done += count as u64;
        progress.advance(done, total);
    }
    let plain = unpacker.finish()?;
    Ok(Digests { stored: hex(&hasher.finalize()), plain })
}
