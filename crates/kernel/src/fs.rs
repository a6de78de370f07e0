// SPDX-License-Identifier: Apache-2.0
//! Files below a directory that is not trusted: made, changed and removed by one plain name in an open directory.
//!
//! A path is resolved once, by openat2(2), below a directory that is held open; it meets no symbolic link and no other
//! mount. `fts` and `remove_dir_all` are not used: they resolve names more than once.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};

use crate::error::{Call, Errno, Error, Result};

/// How many directories are open at once while a tree is removed; what is deeper is moved up first.
const DEPTH: usize = 64;

/// How often a directory that is not empty after its removal is read again.
const ATTEMPTS: usize = 4;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// The character device 0/0, which hides the name in an overlay.
    Whiteout,
    /// A device, a socket, a FIFO.
    Special,
}

/// What is known of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Last change of the content: seconds, nanoseconds.
    pub modified: (i64, u64),
    /// Last change of the inode: seconds, nanoseconds.
    pub changed: (i64, u64),
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Entry {
    fn new(stat: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            FileType::CharacterDevice if stat.st_rdev == 0 => Kind::Whiteout,
            _ => Kind::Special,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            device: stat.st_dev,
            inode: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// What is at `path` below `directory`, not followed when it is a link; `None` when nothing is there.
///
/// # Errors
/// fstatat(2)'s other than `ENOENT`.
pub fn look(directory: impl AsFd, path: impl AsRef<Path>) -> Result<Option<Entry>> {
    let path = path.as_ref();
    match rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Err(Errno::NOENT) => Ok(None),
        other => other.call(|| format!("fstatat({path:?})")).map(|stat| Some(Entry::new(&stat))),
    }
}

/// What an open descriptor is of.
///
/// # Errors
/// fstat(2)'s.
pub fn look_fd(fd: impl AsFd) -> Result<Entry> {
    rustix::fs::fstat(fd).call(|| "fstat()").map(|stat| Entry::new(&stat))
}

/// Opens a directory below `root`: no symbolic link, no `..` out of it, no other mount on the way.
///
/// # Errors
/// openat2(2)'s: `ELOOP` for a symbolic link, `EXDEV` for a way out, `ENOTDIR`, `ENOENT`.
pub fn open_directory(root: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    open_beneath(root, path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a regular file or a directory below `root` for reading, in the same way; nothing is waited for.
///
/// # Errors
/// openat2(2)'s, or `EINVAL` for anything else.
pub fn open_plain(root: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let fd = open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW)?;
    match look_fd(&fd)?.kind {
        Kind::File | Kind::Directory => Ok(fd),
        Kind::Link | Kind::Whiteout | Kind::Special => {
            Err(Error::new(format!("open({path:?}): it is no plain file"), Errno::INVAL))
        }
    }
}

fn open_beneath(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // The kernel could not exclude a rename that was going on at the same time: ask again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other.call(|| format!("openat2({path:?}, RESOLVE_BENEATH|NO_SYMLINKS)")),
        }
    }
}

/// The names in an open directory, unsorted, without `.` and `..`.
///
/// # Errors
/// getdents64(2)'s.
pub fn names(directory: impl AsFd) -> Result<Vec<OsString>> {
    let mut list = Vec::new();
    for entry in Dir::read_from(directory).call(|| "openat(\".\")")? {
        let entry = entry.call(|| "getdents64()")?;
        if !is_dots(entry.file_name()) {
            list.push(OsString::from_vec(entry.file_name().to_bytes().to_vec()));
        }
    }
    Ok(list)
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Makes a directory that must not be there.
///
/// # Errors
/// mkdirat(2)'s.
pub fn make_directory(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode)).call(|| format!("mkdirat({name:?})"))
}

/// Makes an empty regular file that must not be there, open for writing.
///
/// # Errors
/// openat(2)'s.
pub fn make_file(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(mode))
        .call(|| format!("openat({name:?}, O_CREAT|O_EXCL)"))
}

/// Makes a symbolic link that must not be there; `text` may point anywhere.
///
/// # Errors
/// symlinkat(2)'s.
pub fn make_link(directory: impl AsFd, name: &OsStr, text: &OsStr) -> Result<()> {
    rustix::fs::symlinkat(text, directory, name).call(|| format!("symlinkat({text:?}, {name:?})"))
}

/// Gives a file a second name that must not be there; a symbolic link is not followed.
///
/// # Errors
/// linkat(2)'s.
pub fn make_hard_link(from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> Result<()> {
    rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())
        .call(|| format!("linkat({:?}, {:?})", from.1, to.1))
}

/// Makes the character device 0/0, which hides the name in the layers below.
///
/// # Errors
/// mknodat(2)'s.
pub fn make_whiteout(directory: impl AsFd, name: &OsStr) -> Result<()> {
    rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
        .call(|| format!("mknodat({name:?}, S_IFCHR, 0)"))
}

/// Makes a FIFO.
///
/// # Errors
/// mknodat(2)'s.
pub fn make_fifo(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<()> {
    rustix::fs::mknodat(directory, name, FileType::Fifo, Mode::from_raw_mode(mode), 0)
        .call(|| format!("mknodat({name:?}, S_IFIFO)"))
}

/// Removes one entry; a directory has to be empty.
///
/// # Errors
/// unlinkat(2)'s.
pub fn remove(directory: impl AsFd, name: &OsStr, is_directory: bool) -> Result<()> {
    let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    rustix::fs::unlinkat(directory, name, flags).call(|| format!("unlinkat({name:?})"))
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// unlinkat(2)'s.
pub fn remove_file(directory: impl AsFd, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        other => other.call(|| format!("unlinkat({name:?})")),
    }
}

/// Changes the owner of an entry, not followed when it is a link.
///
/// # Errors
/// fchownat(2)'s: `EINVAL` for ids that the user namespace does not have.
pub fn set_owner(directory: impl AsFd, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::chownat(directory, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("fchownat({name:?}, {uid}, {gid})"))
}

/// Changes the mode of what an open descriptor is of.
///
/// # Errors
/// fchmod(2)'s.
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).call(|| format!("fchmod({mode:o})"))
}

/// Sets the time of last access and of last modification of an entry, not followed when it is a link.
///
/// # Errors
/// utimensat(2)'s.
pub fn set_time(directory: impl AsFd, name: &OsStr, seconds: i64) -> Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).call(|| format!("utimensat({name:?})"))
}

/// Sets an extended attribute.
///
/// # Errors
/// fsetxattr(2)'s: `ENOTSUP` where the file system has none, `EPERM` for `trusted.*` without CAP_SYS_ADMIN.
pub fn set_attribute(fd: impl AsFd, name: &str, value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()).call(|| format!("fsetxattr({name:?})"))
}

/// An extended attribute's value, of at most 256 bytes; `None` when there is none.
///
/// # Errors
/// fgetxattr(2)'s other than `ENODATA`.
pub fn attribute(fd: impl AsFd, name: &str) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0_u8; 256];
    match rustix::fs::fgetxattr(fd, name, &mut buffer) {
        Err(Errno::NODATA) => Ok(None),
        other => {
            let length = other.call(|| format!("fgetxattr({name:?})"))?;
            Ok(buffer.get(..length).map(<[u8]>::to_vec))
        }
    }
}

/// Renames within an open directory unless something has the new name already.
///
/// # Errors
/// renameat2(2)'s: `EEXIST`.
pub fn rename_new(directory: impl AsFd, from: &str, to: &str) -> Result<()> {
    rustix::fs::renameat_with(&directory, from, &directory, to, RenameFlags::NOREPLACE)
        .call(|| format!("renameat2({from:?}, {to:?}, RENAME_NOREPLACE)"))
}

/// Puts everything that was written to the file system of `fd` on the disk.
///
/// # Errors
/// syncfs(2)'s.
pub fn sync_all(fd: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(fd).call(|| "syncfs()")
}

/// Puts a file or a directory's entries on the disk.
///
/// # Errors
/// fsync(2)'s.
pub fn sync(fd: impl AsFd) -> Result<()> {
    rustix::fs::fsync(fd).call(|| "fsync()")
}

/// One directory that is being emptied.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    name: OsString,
    attempts: usize,
}

impl Level {
    fn open(parent: impl AsFd, name: &OsStr) -> Result<Self> {
        let fd = open_directory(parent, Path::new(name))?;
        let entries = Dir::read_from(&fd).call(|| format!("openat({name:?})"))?;
        Ok(Self { fd, entries, name: name.to_owned(), attempts: 0 })
    }

    /// The next name, without `.` and `..`.
    fn next(&mut self) -> Result<Option<OsString>> {
        for entry in self.entries.by_ref() {
            let entry = entry.call(|| format!("getdents64({:?})", self.name))?;
            if !is_dots(entry.file_name()) {
                return Ok(Some(OsString::from_vec(entry.file_name().to_bytes().to_vec())));
            }
        }
        Ok(None)
    }
}

/// The deepest tree that is copied.
const DEEPEST: usize = 256;

/// Copies what is in the directory `from` into `to`: files, directories and links, with owner and mode. Devices, sockets
/// and other mounts are left out.
///
/// # Errors
/// The failing call; `ELOOP` for a tree that is too deep.
pub fn copy_tree(from: &impl AsFd, to: &impl AsFd) -> Result<()> {
    copy_level(from.as_fd(), to.as_fd(), 0)
}

fn copy_level(from: std::os::fd::BorrowedFd<'_>, to: std::os::fd::BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new("copy: the tree is too deep", Errno::LOOP));
    }
    let here = look_fd(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(here.uid)), Some(Gid::from_raw(here.gid))).call(|| "fchown()")?;
    set_mode(to, here.mode)?;
    for name in names(open_directory(from, ".")?)? {
        let Some(entry) = look(from, &name)? else { continue };
        if entry.device != here.device {
            continue;
        }
        match entry.kind {
            Kind::Directory => {
                make_directory(to, &name, 0o700)?;
                let (below, above) = (open_directory(from, &name)?, open_directory(to, &name)?);
                copy_level(below.as_fd(), above.as_fd(), depth + 1)?;
            }
            Kind::File => copy_file(from, to, &name, &entry)?,
            Kind::Link => {
                let text = rustix::fs::readlinkat(from, &name, Vec::new()).call(|| format!("readlinkat({name:?})"))?;
                make_link(to, &name, OsStr::from_bytes(text.as_bytes()))?;
                set_owner(to, &name, entry.uid, entry.gid)?;
            }
            Kind::Whiteout | Kind::Special => {}
        }
    }
    Ok(())
}

fn copy_file(
    from: std::os::fd::BorrowedFd<'_>,
    to: std::os::fd::BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
) -> Result<()> {
    let mut source = std::fs::File::from(open_plain(from, name)?);
    let mut target = std::fs::File::from(make_file(to, name, 0o600)?);
    std::io::copy(&mut source, &mut target).call(|| format!("copy({name:?})"))?;
    set_owner(to, name, entry.uid, entry.gid)?;
    set_mode(&target, entry.mode)
}

/// Removes `name` in `parent` with all that is below it; nothing there is fine. It follows no symbolic link, enters no
/// other mount, and holds a bounded number of descriptors however deep the tree is.
///
/// # Errors
/// unlinkat(2)'s, openat2(2)'s: `EXDEV` or `EBUSY` for a mount point.
pub fn remove_tree(parent: &OwnedFd, name: &OsStr) -> Result<()> {
    if matches!(name.as_bytes(), b"" | b"." | b"..") || name.as_bytes().contains(&b'/') {
        return Err(Error::new(format!("remove {name:?}"), Errno::INVAL));
    }
    if !unlink_or_is_full(parent, name)? {
        return Ok(());
    }
    let mut levels = vec![Level::open(parent, name)?];
    let mut moved = 0_u64;
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { break };
        match level.next()? {
            Some(entry) => {
                if !unlink_or_is_full(&level.fd, &entry)? {
                    continue;
                }
                if depth < DEPTH {
                    let next = Level::open(&level.fd, &entry)?;
                    levels.push(next);
                } else {
                    move_up(&mut levels, &entry, &mut moved)?;
                }
            }
            None => ascend(parent, &mut levels)?,
        }
    }
    Ok(())
}

/// Removes a file or an empty directory; `true` when it is a directory with something in it.
fn unlink_or_is_full(parent: impl AsFd, name: &OsStr) -> Result<bool> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(false),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno).call(|| format!("unlinkat({name:?})")),
    }
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
        Err(errno) => Err(errno).call(|| format!("unlinkat({name:?}, AT_REMOVEDIR)")),
    }
}

/// Removes the innermost directory, which has been read to its end; it is read again when something is left in it.
fn ascend(parent: &OwnedFd, levels: &mut Vec<Level>) -> Result<()> {
    let Some(mut level) = levels.pop() else { return Ok(()) };
    let above = levels.last().map_or(parent, |above| &above.fd);
    if unlink_or_is_full(above, &level.name)? {
        level.attempts += 1;
        if level.attempts > ATTEMPTS {
            return Err(Error::new(format!("unlinkat({:?}, AT_REMOVEDIR)", level.name), Errno::NOTEMPTY));
        }
        level.entries.rewind();
        levels.push(level);
    }
    Ok(())
}

/// Moves a directory that is too deep to the top one, where it will be met again.
fn move_up(levels: &mut [Level], name: &OsStr, moved: &mut u64) -> Result<()> {
    let [top, .., level] = levels else { return Ok(()) };
    // There is more to do in it, and that is progress.
    top.attempts = 0;
    loop {
        *moved += 1;
        let new = format!(".deep-{moved}");
        match rustix::fs::renameat_with(&level.fd, name, &top.fd, new.as_str(), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other.call(|| format!("renameat2({name:?}, {new:?})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("cella-fs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn removes_a_tree_and_follows_nothing() {
        let path = directory("tree");
        std::fs::create_dir_all(path.join("keep")).unwrap();
        std::fs::write(path.join("keep/file"), "x").unwrap();
        std::fs::create_dir_all(path.join("t/a/b")).unwrap();
        std::fs::write(path.join("t/a/b/c"), "x").unwrap();
        symlink(path.join("keep"), path.join("t/a/link")).unwrap();
        std::fs::set_permissions(path.join("t/a/b"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let parent = crate::root::open_directory_path(&path).unwrap();
        remove_tree(&parent, "t".as_ref()).unwrap();
        assert!(!path.join("t").exists());
        assert!(path.join("keep/file").exists());
        remove_tree(&parent, "t".as_ref()).unwrap();
        assert!(remove_tree(&parent, "..".as_ref()).unwrap_err().is(Errno::INVAL));
        assert!(remove_tree(&parent, "keep/file".as_ref()).unwrap_err().is(Errno::INVAL));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn removes_what_is_deeper_than_the_descriptors_reach() {
        let path = directory("deep");
        let parent = crate::root::open_directory_path(&path).unwrap();
        make_directory(&parent, "t".as_ref(), 0o700).unwrap();
        let mut inner = open_directory(&parent, "t").unwrap();
        for _ in 0..1500 {
            make_directory(&inner, "d".as_ref(), 0o700).unwrap();
            drop(make_file(&inner, "f".as_ref(), 0o600).unwrap());
            inner = open_directory(&inner, "d").unwrap();
        }
        drop(inner);
        remove_tree(&parent, "t".as_ref()).unwrap();
        assert!(!path.join("t").exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn looks_through_no_link() {
        let path = directory("link");
        symlink("/etc", path.join("l")).unwrap();
        let root = crate::root::open_directory_path(&path).unwrap();
        assert!(open_directory(&root, "l").unwrap_err().is(Errno::LOOP));
        assert!(open_directory(&root, "../").unwrap_err().is(Errno::XDEV));
        std::fs::remove_dir_all(path).unwrap();
    }
}
