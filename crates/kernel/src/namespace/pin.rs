// SPDX-License-Identifier: Apache-2.0
//! Namespaces kept alive by a bind mount of their file, as ip-netns(8) does in `/run/netns`.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::UnmountFlags;

use super::Namespace;
use crate::error::{Call, Errno, Error, Result};
use crate::types::Propagation;

/// Keeps a namespace at `path`, which must not be there: an empty file with the namespace's own mounted on it. Nothing is there
/// after an error.
///
/// # Errors
/// open(2)'s: `EEXIST`; those of mounting: `EINVAL` for a mount namespace on a place whose mounts are shared, or within itself.
pub fn pin(namespace: &Namespace, path: &Path) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let place = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?}, O_CREAT|O_EXCL)"))?;
    let pinned = crate::mount::clone_at(namespace, Path::new(""), false)
        .map_err(|error| Error::new(format!("open_tree({}, OPEN_TREE_CLONE)", namespace.id()), error.errno))
        .and_then(|tree| {
            crate::mount::attach(tree, &place)
                .map_err(|error| Error::new(format!("move_mount({}, {path:?})", namespace.id()), error.errno))
        });
    if pinned.is_err() {
        // Only what we made ourselves a moment ago.
        rustix::fs::unlink(path).ok();
    }
    pinned
}

/// Takes a pin away: the mount and the file below it.
///
/// # Errors
/// `EINVAL` when the path is no namespace that is mounted there; umount2(2)'s, unlink(2)'s.
pub fn unpin(path: &Path) -> Result<()> {
    let call = || format!("umount2({path:?})");
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?}, O_PATH)"))?;
    Namespace::reopen(&place, || format!("open({path:?})"))?;
    if !is_mount_root(&place)? {
        return Err(Error::new(format!("{}: nothing is mounted there", call()), Errno::INVAL));
    }
    drop(place);
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).call(call)?;
    rustix::fs::unlink(path).call(|| format!("unlink({path:?})"))
}

/// A directory for pins: mounted on itself, so that its mounts can propagate as told. A mount namespace can be pinned only where
/// they are private.
///
/// # Errors
/// Those of mounting.
pub fn prepare(directory: &Path, propagation: Propagation) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let call = || format!("open({directory:?}, O_PATH)");
    let place = rustix::fs::open(directory, flags, Mode::empty()).call(call)?;
    if is_mount_root(&place)? {
        return Ok(());
    }
    let tree = crate::mount::clone_at(&place, Path::new(""), false)?;
    crate::mount::attach(&tree, &place)?;
    // The copy is a peer of what it was copied from; what is mounted in it from now on is to be nobody's else.
    let place = rustix::fs::open(directory, flags, Mode::empty()).call(call)?;
    crate::mount::set_propagation(&place, Propagation::Private, crate::mount::Depth::One)?;
    crate::mount::set_propagation(&place, propagation, crate::mount::Depth::One)
}

/// Undoes [`prepare`] and removes the directory, when nothing is pinned in it any more.
pub fn clear(directory: &Path) {
    let busy = crate::file::names(directory).map_or(true, |names| !names.is_empty());
    if !busy && rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW).is_ok() {
        rustix::fs::rmdir(directory).ok();
    }
}

/// Does a mount begin there? Asked without a look at text: `STATX_ATTR_MOUNT_ROOT`, since Linux 5.8.
fn is_mount_root(place: impl AsFd) -> Result<bool> {
    let found = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).call(|| "statx()")?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
