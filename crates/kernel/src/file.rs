// SPDX-License-Identifier: Apache-2.0
//! Our own files: appended to, renamed, made and removed, in directories that only root can write.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use crate::error::{Call, Errno, Result};

/// Appends `bytes` in one write (mode 0600 when it has to be made); gives the file's size.
///
/// # Errors
/// open(2)'s or write(2)'s.
pub fn append(path: &Path, bytes: &[u8]) -> Result<u64> {
    let file = open_append(CWD, path)?;
    rustix::io::write(&file, bytes).call(|| format!("write({path:?})"))?;
    size(&file)
}

/// Opens a file for appending, made with mode 0600 when it is missing.
///
/// # Errors
/// openat(2)'s.
pub fn open_append(directory: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, path, flags, Mode::from_raw_mode(0o600))
        .call(|| format!("openat({path:?}, O_APPEND)"))
}

/// Opens a file for reading below a directory.
///
/// # Errors
/// openat(2)'s.
pub fn open_read(directory: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, path, flags, Mode::empty()).call(|| format!("openat({path:?})"))
}

/// Size in bytes.
///
/// # Errors
/// fstat(2)'s.
pub fn size(file: impl AsFd) -> Result<u64> {
    let stat = rustix::fs::fstat(file).call(|| "fstat()")?;
    Ok(u64::try_from(stat.st_size).unwrap_or_default())
}

/// Renames, replacing what is there.
///
/// # Errors
/// rename(2)'s.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::rename(from, to).call(|| format!("rename({from:?}, {to:?})"))
}

/// Renames below a directory, replacing what is there.
///
/// # Errors
/// renameat(2)'s.
pub fn rename_at(directory: impl AsFd, from: &str, to: &str) -> Result<()> {
    rustix::fs::renameat(&directory, from, &directory, to).call(|| format!("renameat({from:?}, {to:?})"))
}

/// Renames unless something has the new name already.
///
/// # Errors
/// renameat2(2)'s: `EEXIST`.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .call(|| format!("renameat2({from:?}, {to:?}, RENAME_NOREPLACE)"))
}

/// Makes a directory of exactly this mode; one that is there already is left alone.
///
/// # Errors
/// mkdir(2)'s.
pub fn make_directory(path: &Path, mode: u32) -> Result<()> {
    match make_new_directory(path, mode) {
        Err(error) if error.is(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Makes a directory that must not be there.
///
/// # Errors
/// mkdir(2)'s: `EEXIST`.
pub fn make_new_directory(path: &Path, mode: u32) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).call(|| format!("mkdir({path:?})"))
}

/// Makes a directory and those that lead to it, which get mode 0711.
///
/// # Errors
/// mkdir(2)'s.
pub fn make_directories(path: &Path, mode: u32) -> Result<()> {
    match make_directory(path, mode) {
        Err(error) if error.is(Errno::NOENT) => {
            let parent = path.parent().ok_or(error)?;
            make_directories(parent, 0o711)?;
            make_directory(path, mode)
        }
        other => other,
    }
}

/// Makes a file of exactly this content that must not be there.
///
/// # Errors
/// open(2)'s: `EEXIST`; write(2)'s.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::open(path, flags, Mode::from_raw_mode(mode)).call(|| format!("open({path:?}, O_CREAT|O_EXCL)"))?;
    crate::event::write_all(&file, bytes)
}

/// Writes another content into a file that is there, whose number stays the same.
///
/// # Errors
/// open(2)'s, ftruncate(2)'s or write(2)'s.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?}, O_WRONLY|O_TRUNC)"))?;
    crate::event::write_all(&file, bytes)
}

/// Writes another content into a file that is there; whoever reads it meanwhile finds the one or the other where both fit a
/// page.
///
/// # Errors
/// open(2)'s, write(2)'s or ftruncate(2)'s.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?}, O_WRONLY)"))?;
    crate::event::write_all(&file, bytes)?;
    rustix::fs::ftruncate(&file, bytes.len() as u64).call(|| format!("ftruncate({path:?})"))
}

/// Removes a file; one that is gone already is fine.
///
/// # Errors
/// unlink(2)'s.
pub fn remove(path: &Path) -> Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).call(|| format!("unlink({path:?})")),
    }
}

/// Removes an empty directory; one that is gone already is fine.
///
/// # Errors
/// rmdir(2)'s.
pub fn remove_directory(path: &Path) -> Result<()> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).call(|| format!("rmdir({path:?})")),
    }
}

/// Makes a symbolic link that must not be there.
///
/// # Errors
/// symlink(2)'s: `EEXIST`.
pub fn make_link(path: &Path, text: &str) -> Result<()> {
    rustix::fs::symlink(text, path).call(|| format!("symlink({text:?}, {path:?})"))
}

/// The text of a symbolic link.
///
/// # Errors
/// readlink(2)'s.
pub fn read_link(path: &Path) -> Result<String> {
    let text = rustix::fs::readlink(path, Vec::new()).call(|| format!("readlink({path:?})"))?;
    Ok(text.to_string_lossy().into_owned())
}

/// Is there anything at this path (not followed when it is a link)?
#[must_use]
pub fn exists(path: &Path) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Changes the owner of the file at this path of ours.
///
/// # Errors
/// chown(2)'s.
pub fn set_owner(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let (owner, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("fchownat({path:?}, {uid}, {gid})"))
}

/// Puts what was written to a directory's entries on the disk.
///
/// # Errors
/// fsync(2)'s.
pub fn sync_directory(path: &Path) -> Result<()> {
    let directory = crate::root::open_directory_path(path)?;
    rustix::fs::fsync(&directory).call(|| format!("fsync({path:?})"))
}

/// The null device, for reading and writing.
///
/// # Errors
/// open(2)'s.
pub fn open_null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call(|| "open(\"/dev/null\", O_RDWR)")
}

/// A file without a name, in memory.
///
/// # Errors
/// memfd_create(2)'s.
pub fn open_unnamed() -> Result<OwnedFd> {
    rustix::fs::memfd_create("cella", rustix::fs::MemfdFlags::CLOEXEC).call(|| "memfd_create(MFD_CLOEXEC)")
}

/// The names in a directory, unsorted.
///
/// # Errors
/// open(2)'s or getdents64(2)'s.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(path).call(|| format!("opendir({path:?})"))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Removes a file, a link, a socket, or an empty directory.
///
/// # Errors
/// unlink(2)'s or rmdir(2)'s.
pub fn remove_any(path: &Path) -> Result<()> {
    match remove(path) {
        Err(error) if error.is(Errno::ISDIR) || error.is(Errno::PERM) => {
            for name in names(path)? {
                remove_any(&path.join(name))?;
            }
            remove_directory(path)
        }
        other => other,
    }
}

/// Replaces the file `name` in the directory as a whole: written beside it, then renamed over it.
///
/// `durable` puts it on the disk before anybody can see it.
///
/// # Errors
/// openat(2)'s, write(2)'s, fsync(2)'s or renameat(2)'s.
pub fn write_atomic(directory: impl AsFd, name: &str, bytes: &[u8], durable: bool) -> Result<()> {
    write_atomic_mode(directory, name, bytes, durable, 0o600)
}

/// The same, for a file that others may read as `mode` says.
///
/// # Errors
/// openat(2)'s, fchmod(2)'s, write(2)'s, fsync(2)'s or renameat(2)'s.
pub fn write_atomic_mode(directory: impl AsFd, name: &str, bytes: &[u8], durable: bool, mode: u32) -> Result<()> {
    let temporary = format!(".{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&directory, temporary.as_str(), flags, Mode::from_raw_mode(mode))
        .call(|| format!("openat({temporary:?}, O_CREAT|O_TRUNC)"))?;
    if mode != 0o600 {
        crate::fs::set_mode(&file, mode)?;
    }
    crate::event::write_all(&file, bytes)?;
    if durable {
        rustix::fs::fdatasync(&file).call(|| format!("fdatasync({temporary:?})"))?;
    }
    rename_at(&directory, &temporary, name)?;
    if durable {
        let directory = crate::root::open_directory(&directory, ".")?;
        rustix::fs::fsync(&directory).call(|| "fsync(directory)")?;
    }
    Ok(())
}

/// Reads a small file of the kernel, whose size is told by nobody, at once.
///
/// # Errors
/// open(2)'s or read(2)'s.
pub fn read_small(path: &Path) -> Result<Vec<u8>> {
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = rustix::io::read(&file, &mut buffer).call(|| format!("read({path:?})"))?;
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        // Such a file gives all that there is, as far as there is room.
        if read < buffer.len() {
            return Ok(bytes);
        }
    }
}

/// Reads a file of the kernel to its end: one that is made line by line (`mountinfo`) gives whole lines at each read.
///
/// # Errors
/// open(2)'s or read(2)'s.
pub fn read_lines(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).call(|| format!("read({path:?})"))
}

/// At most so many bytes of a plain file; nothing is waited for.
///
/// # Errors
/// open(2)'s, read(2)'s, or `EINVAL` for what is no plain file.
pub fn read_plain(path: &Path, most: usize) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?})"))?;
    if crate::fs::look_fd(&file)?.kind != crate::fs::Kind::File {
        return Err(crate::Error::new(format!("open({path:?}): it is no plain file"), Errno::INVAL));
    }
    read_start(&file, most)
}

/// At most so many bytes of an open file, from where it stands.
///
/// # Errors
/// read(2)'s.
pub fn read_start(file: impl AsFd, most: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).call(|| "read()"),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A second descriptor of the same open file.
///
/// # Errors
/// fcntl(2)'s.
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0).call(|| "fcntl(F_DUPFD_CLOEXEC)")
}

/// Is there a directory, symbolic links followed?
///
/// # Errors
/// stat(2)'s.
pub fn is_directory(path: &Path) -> Result<bool> {
    let stat = rustix::fs::stat(path).call(|| format!("stat({path:?})"))?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Makes a FIFO that must not be there, and opens both its ends at once, so that no reader of it ever sees an end.
///
/// # Errors
/// mkfifo(3)'s or open(2)'s.
pub fn make_fifo(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&directory, name, rustix::fs::FileType::Fifo, mode, 0).call(|| format!("mkfifo({name:?})"))?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(&directory, name, flags, Mode::empty()).call(|| format!("open({name:?})"))
}

/// Opens one end of a FIFO at once: for reading, or for writing, which fails with `ENXIO` when nobody has it open.
///
/// # Errors
/// open(2)'s.
pub fn open_fifo(directory: impl AsFd, name: &str, write: bool) -> Result<OwnedFd> {
    let end = if write { OFlags::WRONLY } else { OFlags::RDONLY };
    let flags = end | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(&directory, name, flags, Mode::empty()).call(|| format!("open({name:?})"))
}

/// Is the open file a FIFO?
///
/// # Errors
/// fstat(2)'s.
pub fn is_fifo(fd: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).call(|| "fstat()")?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo)
}

/// Is this descriptor open?
#[must_use]
pub fn is_open(number: i32) -> bool {
    // SAFETY: the call only looks.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// May we write there (access(2))?
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The content of a regular file that is ours and that nobody else may write; `None` for any other.
#[must_use]
pub fn read_own(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let plain = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if !plain || stat.st_uid != crate::process::euid() || stat.st_mode & 0o022 != 0 {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(stat.st_size).ok()?];
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::read(&file, bytes.get_mut(at..)?).ok()? {
            0 => return None,
            read => at += read,
        }
    }
    Some(bytes)
}

/// Keeps a descriptor that we were given open over execve.
///
/// # Errors
/// fcntl(2)'s.
pub fn keep_on_exec(number: i32) -> Result<()> {
    // SAFETY: only the flag changes; whoever owns the descriptor still does.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        -1 => Err(crate::Error::last(format!("fcntl({number}, F_SETFD)"))),
        _ => Ok(()),
    }
}

/// Is the open file what is at this path now?
#[must_use]
pub fn is_at(file: impl AsFd, path: &Path) -> bool {
    let here = rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    let there = rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    here.is_ok() && here == there
}
