// SPDX-License-Identifier: Apache-2.0
//! Unpacks an archive: its bytes are parsed in a jail that can reach nothing but the directory they are unpacked to.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use kernel::jail::Jail;
use kernel::root::{Kind, Root};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use crate::error::{At, Error, Result};

/// The most entries, bytes of files, bytes of a path and directories in a path.
const ENTRIES: u64 = 2_000_000;
const BYTES: u64 = 64 << 30;
const PATH: usize = 4096;
const DEPTH: usize = 256;

/// The most bytes after the content of the last file: its padding and two empty blocks.
const END: u64 = 511 + 1024;

/// The ids that a container has.
const IDS: u64 = 65_536;

/// The most bytes of an answer from the jail, and of one extended attribute.
const ANSWER: usize = 64 << 20;
const ATTRIBUTE: usize = 4096;

/// What the jail says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// Why it gave up.
    error: Option<String>,
    /// Names that hide what is below, and directories that do.
    whiteouts: Vec<Vec<u8>>,
    opaque: Vec<Vec<u8>>,
    /// Digest of the bytes after decompression.
    digest: String,
}

/// How an archive is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Meaning {
    /// A whole root file system.
    Whole,
    /// A layer of an OCI image, with `.wh.` entries.
    Layer,
}

/// An archive on its way to a directory: bytes are written to it, then it is finished.
pub(crate) struct Unpacker {
    jail: Jail,
    input: Option<OwnedFd>,
    directory: PathBuf,
}

impl Unpacker {
    /// Begins to unpack into an empty directory.
    pub(crate) fn start(directory: &Path, meaning: Meaning) -> Result<Self> {
        let (theirs, ours) = kernel::event::pipe().at(|| "make a pipe".to_owned())?;
        let jail = kernel::jail::start(directory, theirs, |input| inside(input, meaning))
            .at(|| "start the unpacker".to_owned())?;
        Ok(Self { jail, input: Some(ours), directory: directory.to_owned() })
    }

    /// More bytes of it; `false` when no more are wanted: the answer says why.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let taken = self.input.as_ref().is_some_and(|input| kernel::event::write_all(input, bytes).is_ok());
        if !taken {
            self.input = None;
        }
        taken
    }

    /// There are no more: waits until all is unpacked. Gives the digest of the bytes after decompression.
    pub(crate) fn finish(mut self) -> Result<String> {
        self.input = None;
        let text = self.jail.answer(ANSWER).at(|| "unpack".to_owned())?;
        let answer: Answer = serde_json::from_slice(&text).at(|| "read the unpacker's answer".to_owned())?;
        if let Some(error) = answer.error {
            return Err(Error::new(error).hint("the archive is damaged, or was made to do harm"));
        }
        // These need rights over the host's file systems, which the jail does not have.
        let root = kernel::root::open_directory_path(&self.directory).at(|| "open the layer".to_owned())?;
        for path in &answer.whiteouts {
            let (parent, name) = split(path)?;
            let parent = kernel::fs::open_directory(&root, parent).at(|| shown(path))?;
            kernel::fs::make_whiteout(parent, name).at(|| shown(path))?;
        }
        for path in &answer.opaque {
            let directory = kernel::fs::open_directory(&root, OsStr::from_bytes(path)).at(|| shown(path))?;
            kernel::fs::set_attribute(directory, "trusted.overlay.opaque", b"y").at(|| shown(path))?;
        }
        Ok(answer.digest)
    }
}

fn split(path: &[u8]) -> Result<(&Path, &OsStr)> {
    let path = Path::new(OsStr::from_bytes(path));
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Error::new("a whiteout has no name")),
    }
}

fn shown(path: &[u8]) -> String {
    format!("hide {}", String::from_utf8_lossy(path))
}

/// What runs in the jail.
fn inside(input: OwnedFd, meaning: Meaning) -> Vec<u8> {
    let mut answer = Answer::default();
    match unpack(std::fs::File::from(input), meaning, &mut answer) {
        Ok(digest) => answer.digest = digest,
        Err(error) => answer.error = Some(error),
    }
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// Reads through, and hashes what was read.
struct Hashed<R> {
    inner: R,
    hasher: Rc<RefCell<Sha256>>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.borrow_mut().update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn unpack(input: std::fs::File, meaning: Meaning, answer: &mut Answer) -> std::result::Result<String, String> {
    let raw = std::io::BufReader::with_capacity(128 * 1024, input);
    let plain = crate::compression::decompress(raw).map_err(|error| format!("decompress: {error}"))?;
    let hasher = Rc::new(RefCell::new(Sha256::new()));
    // Some tools (umoci 0.4) leave out what follows the last file. Where a digest vouches for the bytes, that is no harm.
    let missing = if meaning == Meaning::Layer { END } else { 0 };
    let padded = Hashed { inner: plain, hasher: Rc::clone(&hasher) }.chain(std::io::repeat(0).take(missing));
    let mut archive = Archive::new(padded);
    let root = kernel::root::open_directory_path(Path::new("/")).map_err(|error| error.to_string())?;
    let mut tree = Tree { root: Root::new(root), entries: 0, bytes: 0, times: Vec::new(), meaning };
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| format!("read the archive: {error}"))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        tree.take(&mut entry, answer).map_err(|error| format!("entry {name:?}: {error}"))?;
    }
    tree.set_times();
    // What follows the end belongs to the digest, too.
    let (mut rest, _) = archive.into_inner().into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(|error| format!("read the archive: {error}"))?;
    rest.drain_compressed();
    drop(rest);
    let digest = std::mem::take(&mut *hasher.borrow_mut()).finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Hashed<crate::compression::Plain> {
    /// Whoever writes to us must not be hung up on after the last byte that matters.
    fn drain_compressed(&mut self) {
        std::io::copy(self.inner.compressed(), &mut std::io::sink()).ok();
    }
}

/// The tree that is being unpacked.
struct Tree {
    root: Root,
    entries: u64,
    bytes: u64,
    /// Directories get their times last: each entry in them changes it.
    times: Vec<(PathBuf, i64)>,
    meaning: Meaning,
}

type Outcome<T> = std::result::Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Tree {
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>, answer: &mut Answer) -> Outcome<()> {
        self.entries += 1;
        if self.entries > ENTRIES {
            return Err(format!("more than {ENTRIES} entries"));
        }
        let path = normal(&entry.path_bytes())?;
        let kind = entry.header().entry_type();
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return if kind == EntryType::Directory {
                self.dress_root(entry)
            } else {
                Err("it has no name".to_owned())
            };
        };
        let parent_path = path.parent().unwrap_or(Path::new(""));
        if self.meaning == Meaning::Layer && name.as_bytes().starts_with(b".wh.") {
            return self.whiteout(parent_path, &name, answer);
        }
        let parent = self.parent(parent_path)?;
        let (uid, gid) = owner(entry)?;
        let mode = entry.header().mode().map_err(text)? & 0o7777;
        match kind {
            EntryType::Directory => self.directory(&parent, &name, &path, mode, entry)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&parent, &name, (uid, gid), mode, entry)?
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or("a link without a target")?;
                clear(&parent, &name)?;
                kernel::fs::make_link(&parent, &name, OsStr::from_bytes(&target)).map_err(text)?;
            }
            EntryType::Link => return self.hard_link(&parent, &name, entry),
            EntryType::Fifo => {
                clear(&parent, &name)?;
                kernel::fs::make_fifo(&parent, &name, mode).map_err(text)?;
            }
            // Device nodes are the runtime's to make; what an archive asks for is left out.
            EntryType::Char | EntryType::Block => return Ok(()),
            EntryType::XGlobalHeader => return Ok(()),
            other => return Err(format!("it is of the unknown kind {other:?}")),
        }
        if kind != EntryType::Regular {
            kernel::fs::set_owner(&parent, &name, uid, gid).map_err(text)?;
        }
        if kind == EntryType::Directory {
            self.dress(&parent, &name, mode, entry)?;
        } else {
            let time = i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0);
            kernel::fs::set_time(&parent, &name, time).map_err(text)?;
        }
        Ok(())
    }

    fn parent(&self, path: &Path) -> Outcome<OwnedFd> {
        self.root.find_or_make(&Path::new("/").join(path), Kind::Directory, 0o755, false).map_err(text)
    }

    fn directory<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        mode: u32,
        entry: &Entry<'_, R>,
    ) -> Outcome<()> {
        match kernel::fs::look(parent, name).map_err(text)? {
            Some(found) if found.kind == kernel::fs::Kind::Directory => {}
            _ => {
                clear(parent, name)?;
                kernel::fs::make_directory(parent, name, mode & 0o777).map_err(text)?;
            }
        }
        self.times.push((path.to_owned(), i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0)));
        Ok(())
    }

    /// Mode and attributes of a directory, after its owner.
    fn dress<R: Read>(&self, parent: &OwnedFd, name: &OsStr, mode: u32, entry: &mut Entry<'_, R>) -> Outcome<()> {
        let directory = kernel::fs::open_directory(parent, name).map_err(text)?;
        attributes(&directory, entry)?;
        kernel::fs::set_mode(&directory, mode).map_err(text)
    }

    fn dress_root<R: Read>(&self, entry: &mut Entry<'_, R>) -> Outcome<()> {
        let (uid, gid) = owner(entry)?;
        let mode = entry.header().mode().map_err(text)? & 0o7777;
        let root = kernel::root::open_directory(&self.root, ".").map_err(text)?;
        kernel::root::set_owner(&root, uid, gid).map_err(text)?;
        kernel::fs::set_mode(&root, mode).map_err(text)
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        owner: (u32, u32),
        mode: u32,
        entry: &mut Entry<'_, R>,
    ) -> Outcome<()> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > BYTES {
            return Err(format!("more than {BYTES} bytes"));
        }
        clear(parent, name)?;
        let file = kernel::fs::make_file(parent, name, 0o600).map_err(text)?;
        let mut file = std::fs::File::from(file);
        std::io::copy(entry, &mut file).map_err(text)?;
        // The owner first: changing it takes set-user-id and capabilities away.
        kernel::root::set_owner(&file, owner.0, owner.1).map_err(text)?;
        attributes(&file, entry)?;
        kernel::fs::set_mode(&file, mode).map_err(text)
    }

    fn hard_link<R: Read>(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry<'_, R>) -> Outcome<()> {
        let target = entry.link_name_bytes().ok_or("a link without a target")?;
        let target = normal(&target).map_err(|why| format!("target {:?}: {why}", String::from_utf8_lossy(&target)))?;
        let (Some(directory), Some(file)) = (target.parent(), target.file_name()) else {
            return Err("a link to the root".to_owned());
        };
        let from = self.root.find(&Path::new("/").join(directory), false).map_err(text)?;
        clear(parent, name)?;
        kernel::fs::make_hard_link((&from, file), (parent, name)).map_err(text)
    }

    /// Remembers what is to be hidden; nothing that this layer itself has there is removed: a layer says each thing once.
    fn whiteout(&self, parent: &Path, name: &OsStr, answer: &mut Answer) -> Outcome<()> {
        self.parent(parent)?;
        if name == ".wh..wh..opq" {
            answer.opaque.push(parent.as_os_str().as_bytes().to_vec());
            return Ok(());
        }
        let hidden = name.as_bytes().strip_prefix(b".wh.").unwrap_or_default();
        if hidden.is_empty() || hidden.starts_with(b".wh.") {
            // Other tools' own marks (.wh..wh.plnk and the like) mean nothing here.
            return Ok(());
        }
        let path = parent.join(OsString::from_vec(hidden.to_vec()));
        if kernel::fs::look(&self.root, &path).map_err(text)?.is_none() {
            answer.whiteouts.push(path.into_os_string().into_vec());
        }
        Ok(())
    }

    fn set_times(&self) {
        for (path, time) in self.times.iter().rev() {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            // A time that can not be set does no harm.
            if let Ok(parent) = self.parent(parent) {
                kernel::fs::set_time(&parent, name, *time).ok();
            }
        }
    }
}

/// Takes away what has the name already, unless it is a directory with something in it.
fn clear(parent: &OwnedFd, name: &OsStr) -> Outcome<()> {
    match kernel::fs::look(parent, name).map_err(text)? {
        None => Ok(()),
        Some(found) => kernel::fs::remove(parent, name, found.kind == kernel::fs::Kind::Directory).map_err(text),
    }
}

fn owner<R: Read>(entry: &Entry<'_, R>) -> Outcome<(u32, u32)> {
    let (uid, gid) = (entry.header().uid().map_err(text)?, entry.header().gid().map_err(text)?);
    let within = |id: u64| u32::try_from(id).ok().filter(|id| u64::from(*id) < IDS);
    match (within(uid), within(gid)) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(format!("its owner {uid}:{gid} is outside of the {IDS} ids of a container")),
    }
}

/// The attributes that are a program's own business, and the capabilities of a program.
fn attributes<R: Read>(fd: impl std::os::fd::AsFd, entry: &mut Entry<'_, R>) -> Outcome<()> {
    let Some(extensions) = entry.pax_extensions().map_err(text)? else { return Ok(()) };
    for extension in extensions {
        let extension = extension.map_err(text)?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) else { continue };
        let allowed = name.starts_with("user.") || name == "security.capability";
        if allowed && extension.value_bytes().len() <= ATTRIBUTE {
            kernel::fs::set_attribute(&fd, name, extension.value_bytes()).map_err(text)?;
        }
    }
    Ok(())
}

/// A path of an archive, relative to its root.
fn normal(bytes: &[u8]) -> Outcome<PathBuf> {
    if bytes.len() > PATH || bytes.contains(&0) {
        return Err("its path is malformed".to_owned());
    }
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err("its path leads out of the archive (..)".to_owned());
            }
        }
    }
    match path.components().count() > DEPTH {
        true => Err(format!("it is more than {DEPTH} directories deep")),
        false => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normal(b"./a//b/.").unwrap(), Path::new("a/b"));
        assert_eq!(normal(b"/etc/passwd").unwrap(), Path::new("etc/passwd"));
        assert!(normal(b"a/../../b").is_err() && normal(b"..").is_err() && normal(&[b'a'; 5000]).is_err());
        assert!(normal("d/".repeat(300).as_bytes()).is_err());
    }
}
