// SPDX-License-Identifier: Apache-2.0
//! Compiled system call filters, kept: a profile that was compiled once is neither read nor compiled again.
//!
//! A file holds the whole text of the profile before its program, and is used only when that text is the same to the last
//! byte: its name is a mere hash, which nobody has to trust.

use std::path::{Path, PathBuf};

use kernel::types::SockFilter;
use plan::{Listener, Program};
use spec::oci;

use crate::failure::{Failure, Result};

const MAGIC: &[u8; 8] = b"cellaF01";

/// The program of the profile, from the directory `cache` or compiled now.
pub(crate) fn program(spec: &oci::Spec, cache: &Path) -> Result<Option<Program>> {
    let Some(filter) = &spec.linux.seccomp else { return Ok(None) };
    let text = filter.text().as_bytes();
    let file = cache.join(format!("{:016x}", hash(text)));
    if let Some(program) = load(&file, text) {
        return Ok(Some(program));
    }
    let program = plan::filter(spec).map_err(Failure::from)?;
    if let Some(program) = &program {
        // What can not be kept is compiled again next time.
        store(cache, &file, text, program).ok();
    }
    Ok(program)
}

pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join(".filters")
}

/// A word at a time: a profile has some 20 KiB.
fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(mix(hash, bytes.len() as u64), |hash, byte| mix(hash, u64::from(*byte)))
}

/// Magic, length of the text, flags, length of the listener's path and metadata, text, both, instructions.
fn store(cache: &Path, file: &Path, text: &[u8], program: &Program) -> Result<()> {
    let (path, metadata) = match &program.listener {
        Some(listener) => {
            (listener.path.as_os_str().as_encoded_bytes().to_vec(), listener.metadata.clone().into_bytes())
        }
        None => (Vec::new(), Vec::new()),
    };
    let mut bytes = MAGIC.to_vec();
    for word in [text.len(), program.flags as usize, path.len(), metadata.len()] {
        bytes.extend((word as u64).to_le_bytes());
    }
    bytes.extend(text);
    bytes.extend(path);
    bytes.extend(metadata);
    for one in &program.instructions {
        bytes.extend(one.code.to_le_bytes());
        bytes.extend([one.jt, one.jf]);
        bytes.extend(one.k.to_le_bytes());
    }
    let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| Failure::new("no name"))?;
    let directory = match kernel::root::open_directory_path(cache) {
        Ok(directory) => directory,
        Err(_) => {
            // The root of all containers first: nobody else has a reason to look into it, either.
            let root = cache.parent().unwrap_or(Path::new("/"));
            kernel::file::make_directories(root, 0o700)?;
            kernel::file::make_directories(cache, 0o700)?;
            kernel::root::open_directory_path(cache)?
        }
    };
    Ok(kernel::file::write_atomic(&directory, name, &bytes, false)?)
}

fn load(file: &Path, text: &[u8]) -> Option<Program> {
    let bytes = kernel::file::read_own(file)?;
    let word = |at: usize| -> Option<usize> {
        usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
    };
    let (length, flags, path, metadata) = (word(8)?, word(16)?, word(24)?, word(32)?);
    if bytes.get(..8)? != MAGIC || bytes.get(40..40_usize.checked_add(length)?)? != text {
        return None;
    }
    let rest = bytes.get(40 + length..)?;
    let (path, rest) = rest.split_at_checked(path)?;
    let (metadata, rest) = rest.split_at_checked(metadata)?;
    let (chunks, []) = rest.as_chunks::<8>() else { return None };
    let instructions = chunks
        .iter()
        .map(|[a, b, jt, jf, k @ ..]| SockFilter {
            code: u16::from_le_bytes([*a, *b]),
            jt: *jt,
            jf: *jf,
            k: u32::from_le_bytes(*k),
        })
        .collect();
    let listener = if path.is_empty() {
        None
    } else {
        let path = PathBuf::from(std::str::from_utf8(path).ok()?);
        Some(Listener { path, metadata: String::from_utf8(metadata.to_vec()).ok()? })
    };
    Some(Program { flags: u32::try_from(flags).ok()?, listener, instructions })
}
