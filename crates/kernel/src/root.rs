// SPDX-License-Identifier: Apache-2.0
//! A directory whose content is not trusted, as the root of every look-up below it.
//!
//! Each look-up is one openat2(2) from the same descriptor: a symbolic link, wherever it points, stays below the root,
//! and no path is resolved twice. Things are made with one plain name in a directory that was opened before.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};

use crate::error::{Call, Errno, Error, Result};

/// A place that is found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// The root of all look-ups.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Root {
    /// The directory `fd` as a root.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// What is at `path` as an `O_PATH` descriptor; `strict` refuses any symbolic link on the way and at the end.
    ///
    /// # Errors
    /// openat2(2)'s: `ENOENT`, `ELOOP` for a link that is refused.
    pub fn find(&self, path: &Path, strict: bool) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::CLOEXEC, strict)
    }

    /// Opens a regular file for reading; a FIFO or a device is not waited for.
    ///
    /// # Errors
    /// openat2(2)'s, or `EINVAL` when it is no regular file.
    pub fn open_file(&self, path: &Path) -> Result<OwnedFd> {
        let file = self.open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, false)?;
        match kind_of(&file)? {
            FileType::RegularFile => Ok(file),
            other => Err(Error::new(format!("open({path:?}): it is a {other:?}"), Errno::INVAL)),
        }
    }

    fn open(&self, path: &Path, flags: OFlags, strict: bool) -> Result<OwnedFd> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, strict);
        loop {
            match rustix::fs::openat2(&self.0, relative, flags, Mode::empty(), resolve) {
                // The kernel could not exclude a rename that was going on at the same time: ask again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other.call(|| format!("openat2({path:?}, RESOLVE_IN_ROOT)")),
            }
        }
    }

    /// What is at `path`; made as told when nothing is there, with the directories that lead to it.
    ///
    /// # Errors
    /// openat2(2)'s, mkdirat(2)'s: `EEXIST` for a dangling symbolic link in the way.
    pub fn find_or_make(&self, path: &Path, kind: Kind, mode: u32, strict: bool) -> Result<OwnedFd> {
        match self.find(path, strict) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return self.find(path, strict) };
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::new(format!("make {path:?}"), Errno::INVAL));
        }
        let parent = self.find_or_make(parent, Kind::Directory, 0o755, strict)?;
        make(&parent, name, kind, mode)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::empty()).call(|| format!("openat({name:?}, O_PATH|O_NOFOLLOW)"))
    }

    /// A symbolic link at `path`, unless something is there already.
    ///
    /// # Errors
    /// symlinkat(2)'s.
    pub fn symlink(&self, path: &Path, link: &str) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let parent = self.find_or_make(parent, Kind::Directory, 0o755, false)?;
        match rustix::fs::symlinkat(link, &parent, name) {
            Err(Errno::EXIST) => Ok(()),
            other => other.call(|| format!("symlinkat({link:?}, {path:?})")),
        }
    }
}

fn make(parent: &OwnedFd, name: &OsStr, kind: Kind, mode: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name, mode).call(|| format!("mkdirat({name:?})")),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, mode).call(|| format!("openat({name:?}, O_CREAT|O_EXCL)")).map(drop)
        }
    }
}

fn kind_of(fd: impl AsFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(stat(fd)?.st_mode))
}

/// Whether the descriptor is of a directory.
///
/// # Errors
/// fstat(2)'s.
pub fn is_directory(fd: impl AsFd) -> Result<bool> {
    Ok(kind_of(fd)?.is_dir())
}

fn stat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(fd).call(|| "fstat()")
}

/// Is it this device node?
///
/// # Errors
/// fstat(2)'s, or `ENXIO` when it is something else.
pub fn verify_device(fd: impl AsFd, character: bool, number: Option<(u32, u32)>) -> Result<()> {
    let stat = stat(fd)?;
    let found = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let wanted = if character { FileType::CharacterDevice } else { FileType::BlockDevice };
    if FileType::from_raw_mode(stat.st_mode) != wanted || number.is_some_and(|number| number != found) {
        return Err(Error::new(format!("verify device: found {:?} {}:{}", wanted, found.0, found.1), Errno::NXIO));
    }
    Ok(())
}

/// Character or block, major and minor number of the device node at an absolute path of the host.
///
/// # Errors
/// stat(2)'s, or `ENOTBLK`-like `EINVAL` when it is no device.
pub fn device_number(path: &Path) -> Result<(bool, u32, u32)> {
    let stat = rustix::fs::stat(path).call(|| format!("stat({path:?})"))?;
    let character = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => true,
        FileType::BlockDevice => false,
        _ => return Err(Error::new(format!("stat({path:?}): it is not a device"), Errno::INVAL)),
    };
    Ok((character, rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

/// Makes a device node, mode 0666, that must not be there.
///
/// # Errors
/// mknodat(2)'s, fchmodat(2)'s or fchownat(2)'s.
pub fn make_device(
    directory: impl AsFd,
    name: &str,
    character: bool,
    number: (u32, u32),
    owner: (u32, u32),
) -> Result<()> {
    let kind = if character { FileType::CharacterDevice } else { FileType::BlockDevice };
    let device = rustix::fs::makedev(number.0, number.1);
    let call = || format!("mknodat({name:?}, {kind:?} {}:{})", number.0, number.1);
    rustix::fs::mknodat(&directory, name, kind, Mode::from_raw_mode(0o666), device).call(call)?;
    rustix::fs::chmodat(&directory, name, Mode::from_raw_mode(0o666), AtFlags::empty()).call(|| "fchmodat(0666)")?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    rustix::fs::chownat(&directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).call(|| "fchownat()")
}

/// Opens a directory for look-ups below it.
///
/// # Errors
/// openat(2)'s.
pub fn open_directory(dir: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty()).call(|| format!("openat({path:?}, O_DIRECTORY)"))
}

/// Opens a directory by its absolute path.
///
/// # Errors
/// open(2)'s.
pub fn open_directory_path(path: &Path) -> Result<OwnedFd> {
    open_directory(rustix::fs::CWD, path)
}

/// The same for one that has to have the path's last name itself: a symbolic link is not followed.
///
/// # Errors
/// open(2)'s.
pub fn open_own_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let call = || format!("open({path:?}, O_DIRECTORY | O_NOFOLLOW)");
    rustix::fs::open(path, flags, Mode::empty()).call(call)
}

/// Changes the owner of what the descriptor stands for.
///
/// # Errors
/// fchown(2)'s.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    let (owner, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::fchown(fd, Some(owner), Some(group)).call(|| format!("fchown({uid}, {gid})"))
}

/// The path by which the kernel knows an open directory now.
///
/// # Errors
/// readlink(2)'s.
pub fn path_of(fd: impl AsFd) -> Result<std::path::PathBuf> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new()).call(|| format!("readlink({link:?})"))?;
    Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root(name: &str) -> (std::path::PathBuf, Root) {
        let path = std::env::temp_dir().join(format!("cella-root-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let fd = open_directory_path(&path).unwrap();
        (path, Root::new(fd))
    }

    #[test]
    fn links_stay_below_the_root() {
        let (path, root) = root("links");
        symlink("/etc", path.join("out")).unwrap();
        let found = root.find(Path::new("/out/passwd"), false).unwrap_err();
        assert!(found.is(Errno::NOENT), "{found}");
        let made = root.find_or_make(Path::new("/out/x"), Kind::File, 0o644, false);
        assert!(made.is_err(), "the link dangles inside");
        assert!(root.find(Path::new("out"), true).unwrap_err().is(Errno::LOOP));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn makes_what_is_missing_with_its_directories() {
        let (path, root) = root("make");
        root.find_or_make(Path::new("/a/b/c"), Kind::File, 0o600, false).unwrap();
        assert!(path.join("a/b/c").is_file());
        assert!(root.find_or_make(Path::new("/a/../../x"), Kind::File, 0o600, false).is_err());
        root.symlink(Path::new("/a/l"), "b").unwrap();
        assert!(is_directory(root.find(Path::new("a/l"), false).unwrap()).unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }
}
