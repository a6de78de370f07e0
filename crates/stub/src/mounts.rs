// SPDX-License-Identifier: Apache-2.0
//! Operations on mounts and on what is in the root file system.

use crate::find::{self, Kind};
use crate::follow::{AT_FDCWD, Follower, place};
use crate::sys::{Call, Failure, Result, Stat, Text, call, close, errno, nr, same};

const EMPTY_PATH: usize = 0x1000;
const RECURSIVE: usize = 0x8000;
const TREE_CLOEXEC: usize = 0o2_000_000;

fn fd_of(result: usize) -> i32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a descriptor")]
    let fd = result as i32;
    fd
}

/// A new file system: fsopen, its parameters, fsmount.
pub(crate) fn mount(on: &mut Follower<'_>, slot: u64, kind: u64, parameters: u64, attributes: u64) -> Result<()> {
    const CREATE: usize = 6;
    let kind = on.text(kind)?;
    let context = fd_of(call!(same::FSOPEN, kind.as_ptr(), 1).call("fsopen", kind)?);
    let mounted = configure(on, context, parameters)
        .and_then(|()| call!(same::FSCONFIG, context, CREATE, 0, 0, 0).call("fsconfig", kind))
        .and_then(|_| call!(same::FSMOUNT, context, 1, attributes).call("fsmount", kind));
    close(context);
    on.set(slot, fd_of(mounted?));
    Ok(())
}

fn configure(on: &Follower<'_>, context: i32, mut at: u64) -> Result<()> {
    loop {
        let kind = on.bytes(at, 1)?.first().copied().unwrap_or(0);
        if kind == 0 {
            return Ok(());
        }
        let key = on.text(at + 1)?;
        at += 1 + key.len() as u64;
        if kind == 1 {
            call!(same::FSCONFIG, context, 0, key.as_ptr(), 0, 0).call("fsconfig", key)?;
            continue;
        }
        let value = on.text(at)?;
        at += value.len() as u64;
        call!(same::FSCONFIG, context, 1, key.as_ptr(), value.as_ptr(), 0).call("fsconfig", key)?;
    }
}

pub(crate) fn attach(mount: i32, place: i32) -> Result<()> {
    const BOTH_EMPTY: usize = 0x44;
    let empty = c"".as_ptr();
    call!(same::MOVE_MOUNT, mount, empty, place, empty, BOTH_EMPTY).call("move_mount", b"").map(drop)
}

pub(crate) fn attach_slot(on: &mut Follower<'_>, mount: u64, place: u64, flags: u16) -> Result<()> {
    attach(on.slot(mount)?, on.slot(place)?)?;
    on.release(place);
    if flags & 1 == 0 {
        on.release(mount);
    }
    Ok(())
}

pub(crate) fn attributes(fd: i32, words: [u64; 4], recursive: bool, userns: Option<i32>) -> Result<()> {
    let [set, clear, propagation, _] = words;
    let attributes = [set, clear, propagation, userns.map_or(0, |fd| u64::from(fd.cast_unsigned()))];
    let flags = EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    call!(same::MOUNT_SETATTR, fd, c"".as_ptr(), flags, attributes.as_ptr(), 32).call("mount_setattr", b"").map(drop)
}

pub(crate) fn copy(fd: i32, recursive: bool) -> Result<i32> {
    let flags = 1 | TREE_CLOEXEC | EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    call!(same::OPEN_TREE, fd, c"".as_ptr(), flags).call("open_tree", b"").map(fd_of)
}

/// A detached copy of what is at a path of the host, verified when it has to be a certain device.
pub(crate) fn tree(on: &mut Follower<'_>, operands: &[u64; 6], flags: u16) -> Result<()> {
    const NO_FOLLOW: usize = 0x100;
    let [slot, path, kind, device, ..] = *operands;
    let path = on.text(path)?;
    let below = if flags & 1 != 0 { RECURSIVE } else { 0 };
    let flags = 1 | TREE_CLOEXEC | below | if flags & 2 != 0 { NO_FOLLOW } else { 0 };
    let fd = fd_of(call!(same::OPEN_TREE, AT_FDCWD, path.as_ptr(), flags).call("open_tree", path)?);
    if kind != 0 {
        let stat = Stat::of(fd)?;
        let (major, minor) = (device >> 32, device & 0xffff_ffff);
        if u64::from(stat.mode) & 0o170_000 != kind || (u64::from(stat.device.0), u64::from(stat.device.1)) != (major, minor) {
            return Err(Failure { errno: errno::ENXIO, call: "verify", about: Text::new(path) });
        }
    }
    on.set(slot, fd);
    Ok(())
}

/// Attaches the root over a directory that is on every host, and stands in it.
pub(crate) fn root(on: &mut Follower<'_>, tree: u64, anchor: u64) -> Result<()> {
    if tree == crate::wire::NONE {
        on.root = find::open_at(AT_FDCWD, b"/\0", find::O_PATH | find::O_CLOEXEC, 0).call("open", b"/")?;
        return Ok(());
    }
    let anchor = on.text(anchor)?;
    let tree = on.slot(tree)?;
    let place = find::open_at(AT_FDCWD, anchor, find::O_PATH | find::O_CLOEXEC, 0).call("open", anchor)?;
    attach(tree, place)?;
    close(place);
    call!(nr::FCHDIR, tree).call("fchdir", b"")?;
    on.root = tree;
    Ok(())
}

pub(crate) fn propagation(flags: u64) -> Result<()> {
    call!(nr::MOUNT, 0, c"/".as_ptr(), 0, flags, 0).call("mount", b"/").map(drop)
}

/// The directory that a path is in, and its last name.
fn parent<'a>(on: &mut Follower<'a>, path: &'a [u8]) -> Result<(i32, &'a [u8])> {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (directory, name) = path.split_at(start);
    if matches!(name, b"\0" | b".\0" | b"..\0") {
        return Err(Failure { errno: errno::EINVAL, call: "make", about: Text::new(path) });
    }
    if let Some(kept) = on.kept(directory) {
        return Ok((kept, name));
    }
    let mut text = Text::EMPTY;
    text.push(directory);
    if text.as_bytes().len() != directory.len() || directory.len() >= 199 {
        return Err(Failure { errno: errno::ENAMETOOLONG, call: "make", about: Text::new(path) });
    }
    text.push(b"\0");
    find::find_or_make(on.root, text.as_bytes(), Kind::Directory, 0o755, false).map(|fd| (fd, name))
}

pub(crate) fn link(on: &mut Follower<'_>, path: u64, target: u64) -> Result<()> {
    let (path, target) = (on.text(path)?, on.text(target)?);
    let (directory, name) = parent(on, path)?;
    let made = call!(nr::SYMLINKAT, target.as_ptr(), directory, name.as_ptr());
    on.keep(path, directory);
    match made {
        Err(errno::EEXIST) => Ok(()),
        other => other.call("symlinkat", path).map(drop),
    }
}

/// Makes a device node, or takes one that is there when it is the same; that one's mode and owner stay.
pub(crate) fn node(on: &mut Follower<'_>, operands: &[u64; 6]) -> Result<()> {
    let [path, mode, device, user, group, _] = *operands;
    let path = on.text(path)?;
    let (directory, name) = parent(on, path)?;
    // It is born with its mode (the mask is 0), which is never set by name: whoever writes to the root file system at the
    // same time may put a link to a file of the host in the node's place.
    let made = call!(nr::MKNODAT, directory, name.as_ptr(), mode, device);
    let done = match made {
        // What we have made belongs to user and group 0, as we are.
        Ok(_) if (user, group) == (0, 0) => Ok(()),
        Ok(_) => existing_node(directory, name, mode, device, Some((user, group))),
        Err(errno::EEXIST) => existing_node(directory, name, mode, device, None),
        other => other.call("mknodat", path).map(drop),
    };
    on.keep(path, directory);
    done
}

/// Verifies the node by one descriptor, and gives it its owner by the same.
fn existing_node(directory: i32, name: &[u8], mode: u64, device: u64, owner: Option<(u64, u64)>) -> Result<()> {
    let flags = find::O_PATH | find::O_NOFOLLOW | find::O_CLOEXEC;
    let there = find::open_at(directory, name, flags, find::BENEATH).call("openat2", name)?;
    let mut done = verify_node(there, name, mode, device);
    if let (Ok(()), Some((user, group))) = (&done, owner) {
        done = call!(nr::FCHOWNAT, there, c"".as_ptr(), user, group, EMPTY_PATH).call("fchownat", name).map(drop);
    }
    close(there);
    done
}

/// Whether it is the device that was asked for; a link is none.
fn verify_node(there: i32, name: &[u8], mode: u64, device: u64) -> Result<()> {
    let stat = Stat::of(there)?;
    let wanted = ((device >> 8 & 0xfff | device >> 32 & !0xfff), (device & 0xff | device >> 12 & 0xfff_ff00));
    let found = (u64::from(stat.device.0), u64::from(stat.device.1));
    if u64::from(stat.mode) & 0o170_000 == mode & 0o170_000 && (found == wanted || mode & 0o170_000 == 0o010_000) {
        return Ok(());
    }
    Err(Failure { errno: errno::EEXIST, call: "mknodat", about: Text::new(name) })
}

/// Opens a terminal in the container's own devpts, so that its name means the same inside; gives the master away.
pub(crate) fn terminal(on: &Follower<'_>, operands: &[u64; 6], flags: u16) -> Result<()> {
    const SET_LOCK: usize = 0x4004_5431;
    const GET_PEER: usize = 0x5441;
    const SET_SIZE: usize = 0x5414;
    const SET_CONTROLLING: usize = 0x540e;
    const READ_WRITE_NOCTTY: u64 = 0o402;
    let [pts, user, group, size, socket, _] = *operands;
    let flags_open = READ_WRITE_NOCTTY | find::O_CLOEXEC | find::O_NOFOLLOW;
    let master = find::open_at(on.slot(pts)?, b"ptmx\0", flags_open, find::BENEATH).call("openat2", b"ptmx")?;
    verify_ptmx(master)?;
    let unlocked = 0_i32;
    call!(nr::IOCTL, master, SET_LOCK, &raw const unlocked).call("ioctl(TIOCSPTLCK)", b"")?;
    let peer = READ_WRITE_NOCTTY | find::O_CLOEXEC;
    let slave = fd_of(call!(nr::IOCTL, master, GET_PEER, peer).call("ioctl(TIOCGPTPEER)", b"")?);
    let mode = call!(nr::FCHOWNAT, slave, c"".as_ptr(), user, group, EMPTY_PATH);
    // A user namespace without the terminals' group leaves it to the one that has the process.
    mode.or_else(|_| call!(nr::FCHOWNAT, slave, c"".as_ptr(), user, u32::MAX, EMPTY_PATH)).call("fchown", b"pts")?;
    if size != 0 {
        call!(nr::IOCTL, master, SET_SIZE, &raw const size).call("ioctl(TIOCSWINSZ)", b"")?;
    }
    let word: &[u8] = if flags & 2 != 0 { b"/dev/pts/ptmx" } else { b"T" };
    send(on.slot(socket)?, word, master)?;
    close(master);
    call!(nr::IOCTL, slave, SET_CONTROLLING, 0).call("ioctl(TIOCSCTTY)", b"")?;
    for number in 0..3 {
        place(slave, number)?;
    }
    if flags & 1 != 0 {
        let console = copy(slave, false)?;
        let at = find::find_or_make(on.root, b"/dev/console\0", Kind::File, 0o600, false)?;
        attach(console, at)?;
        close(at);
        close(console);
    }
    if slave > 2 {
        close(slave);
    }
    Ok(())
}

/// Whatever is mounted or linked there: it has to be character device 5:2 on a devpts.
fn verify_ptmx(fd: i32) -> Result<()> {
    const DEVPTS: usize = 0x1cd1;
    let mut system = [0_usize; 15];
    call!(nr::FSTATFS, fd, system.as_mut_ptr()).call("fstatfs", b"ptmx")?;
    if system[0] == DEVPTS && Stat::of(fd)?.device == (5, 2) {
        return Ok(());
    }
    Err(Failure { errno: errno::EXDEV, call: "verify", about: Text::new(b"ptmx") })
}

pub(crate) fn send(socket: i32, word: &[u8], fd: i32) -> Result<()> {
    let part = [word.as_ptr() as usize, word.len()];
    // struct cmsghdr: length (16 + 4), level SOL_SOCKET and type SCM_RIGHTS, then the descriptor.
    let control = [20_u64, 1 | 1 << 32, u64::from(fd.cast_unsigned())];
    let header = [0, 0, part.as_ptr() as usize, 1, control.as_ptr() as usize, 24, 0];
    const NOSIGNAL: usize = 0x4000;
    call!(nr::SENDMSG, socket, header.as_ptr(), NOSIGNAL).call("sendmsg", b"").map(drop)
}

/// What is at the path below a mount of ours, or below the root. The mount's own descriptor is one that nobody can swap for
/// another meanwhile: by the path from the root, what a link in its place hides would be taken for missing.
fn existing(on: &Follower<'_>, path: &[u8], below: u64) -> Result<Option<i32>> {
    match find::find(on.optional(below)?.unwrap_or(on.root), path, false) {
        Err(errno::ENOENT | errno::ENOTDIR) => Ok(None),
        other => other.call("openat2", path).map(Some),
    }
}

/// A file is hidden by a null device that was verified outside, a directory by an empty one: the first by the mount
/// itself, the others by copies of it, which the kernel makes of mounts of our own namespace only.
pub(crate) fn mask(on: &mut Follower<'_>, path: u64, [empty, null]: [u64; 2], below: u64) -> Result<()> {
    let path = on.text(path)?;
    let Some(at) = existing(on, path, below)? else { return Ok(()) };
    let directory = Stat::of(at)?.is_directory();
    let from = if directory { on.slot(empty)? } else { on.slot(null)? };
    let used = if directory { &mut on.covered.0 } else { &mut on.covered.1 };
    if core::mem::replace(used, true) {
        let cover = copy(from, false)?;
        attach(cover, at)?;
        close(cover);
    } else {
        attach(from, at)?;
    }
    close(at);
    Ok(())
}

pub(crate) fn read_only(on: &Follower<'_>, path: u64, below: u64) -> Result<()> {
    const RDONLY: u64 = 1;
    let path = on.text(path)?;
    let Some(at) = existing(on, path, below)? else { return Ok(()) };
    if Stat::of(at)?.mount_root {
        let done = attributes(at, [RDONLY, 0, 0, 0], false, None);
        close(at);
        return done;
    }
    let copy = copy(at, true)?;
    attributes(copy, [RDONLY, 0, 0, 0], true, None)?;
    attach(copy, at)?;
    close(copy);
    close(at);
    Ok(())
}

/// In the namespace that was joined: whatever the path leads to there is the container's own.
pub(crate) fn detach(path: &[u8]) -> Result<()> {
    const DETACH_NOFOLLOW: usize = 2 | 8;
    call!(nr::UMOUNT2, path.as_ptr(), DETACH_NOFOLLOW).call("umount2", path).map(drop)
}

pub(crate) fn pivot() -> Result<()> {
    const DETACH: usize = 2;
    let here = c".".as_ptr();
    call!(nr::PIVOT_ROOT, here, here).call("pivot_root", b".")?;
    call!(nr::UMOUNT2, here, DETACH).call("umount2", b".")?;
    call!(nr::CHDIR, c"/".as_ptr()).call("chdir", b"/").map(drop)
}

/// For hosts whose root can not be pivoted away from (an initramfs): what is below the root stays mounted there.
pub(crate) fn move_root() -> Result<()> {
    const MOVE: usize = 8192;
    call!(nr::MOUNT, c".".as_ptr(), c"/".as_ptr(), 0, MOVE, 0).call("mount(MS_MOVE)", b"/")?;
    call!(nr::CHROOT, c".".as_ptr()).call("chroot", b".")?;
    call!(nr::CHDIR, c"/".as_ptr()).call("chdir", b"/").map(drop)
}

/// Stands in the directory, and makes sure that it is inside: a path that leads outside does not begin with a slash.
pub(crate) fn directory(on: &Follower<'_>, path: u64, make: bool) -> Result<()> {
    let path = on.text(path)?;
    let found = if make {
        find::find_or_make(on.root, path, Kind::Directory, 0o755, false)
    } else {
        find::find(on.root, path, false).call("openat2", path)
    };
    let fd = match found {
        // Nothing can be made below a read-only root: say what is missing instead.
        Err(failure) if failure.errno == errno::EROFS => {
            return Err(Failure { errno: errno::ENOENT, call: "chdir", about: Text::new(path) });
        }
        other => other?,
    };
    call!(nr::FCHDIR, fd).call("chdir", path)?;
    close(fd);
    let mut here = [0_u8; 4097];
    call!(nr::GETCWD, here.as_mut_ptr(), here.len()).call("getcwd", path)?;
    if here.first() == Some(&b'/') {
        return Ok(());
    }
    Err(Failure { errno: errno::EXDEV, call: "chdir", about: Text::new(path) })
}

