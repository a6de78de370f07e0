// SPDX-License-Identifier: Apache-2.0
//! Mounts as objects: made detached, given their attributes, then attached to a verified place.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::{Call, Error, Result};
use crate::syscall::raw;
use crate::types::Propagation;

const AT_EMPTY_PATH: i32 = 0x1000;
const AT_RECURSIVE: i32 = 0x8000;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// A parameter of a file system that is being configured (fsconfig(2)).
#[derive(Debug, Clone, Copy)]
pub enum Parameter<'a> {
    /// `key`.
    Flag(&'a str),
    /// `key=value`.
    Text(&'a str, &'a str),
    /// `key=` an open directory or file.
    Fd(&'a str, BorrowedFd<'a>),
}

/// A new file system of type `kind`, detached, with the given mount attributes (`types::attr`).
///
/// # Errors
/// The failing call of fsopen, fsconfig, fsmount with its argument.
pub fn new(kind: &str, parameters: &[Parameter<'_>], attributes: u64) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen({kind:?})"))?;
    for parameter in parameters {
        configure(&context, *parameter)?;
    }
    rustix::mount::fsconfig_create(&context).call(|| format!("fsconfig({kind}, CMD_CREATE)"))?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(u32::MAX));
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).call(|| format!("fsmount({kind})"))
}

/// Does the kernel know file systems of type `kind`? It loads the module that does.
#[must_use]
pub fn is_known(kind: &str) -> bool {
    rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

fn configure(context: &OwnedFd, parameter: Parameter<'_>) -> Result<()> {
    match parameter {
        Parameter::Flag(key) => {
            rustix::mount::fsconfig_set_flag(context, key).call(|| format!("fsconfig(SET_FLAG, {key:?})"))
        }
        Parameter::Text(key, value) => rustix::mount::fsconfig_set_string(context, key, value)
            .call(|| format!("fsconfig(SET_STRING, {key:?}, {value:?})")),
        Parameter::Fd(key, fd) => rustix::mount::fsconfig_set_fd(context, key, fd)
            .call(|| format!("fsconfig(SET_FD, {key:?}, {})", fd.as_raw_fd())),
    }
}

/// A detached copy of the mount at `path` below `dir`; with `recursive`, of what is mounted below it too.
///
/// # Errors
/// open_tree(2)'s.
pub fn clone_at(dir: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::open_tree(dir, path, flags).call(|| format!("open_tree({path:?}, OPEN_TREE_CLONE)"))
}

/// A detached copy of the mount at an absolute `path`.
///
/// # Errors
/// open_tree(2)'s.
pub fn clone(path: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_at(rustix::fs::CWD, path, recursive)
}

/// The same of a directory, which has to have the path's last name itself: a symbolic link is not followed.
///
/// # Errors
/// open_tree(2)'s; `ENOTDIR` for whatever else has the name.
pub fn clone_directory(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let call = || format!("open_tree({path:?}, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW)");
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = rustix::mount::open_tree(rustix::fs::CWD, path, flags).call(call)?;
    let found = rustix::fs::fstat(&tree).call(|| format!("fstat({path:?})"))?;
    match rustix::fs::FileType::from_raw_mode(found.st_mode) {
        rustix::fs::FileType::Directory => Ok(tree),
        _ => Err(Error::new(call(), crate::Errno::NOTDIR)),
    }
}

/// Which mounts a change of attributes covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The mount itself.
    One,
    /// It and all below it.
    Recursive,
}

/// Sets and clears attributes (`types::attr`) of the mount that `fd` stands for.
///
/// # Errors
/// mount_setattr(2)'s: `EPERM` for a locked attribute, `ENOSYS` before Linux 5.12.
pub fn set_attributes(fd: impl AsFd, set: u64, clear: u64, depth: Depth) -> Result<()> {
    setattr(fd, &MountAttr { set, clear, ..MountAttr::default() }, depth)
}

/// Shows the detached mount `fd` with its ids shifted by the map of the user namespace `userns`.
///
/// # Errors
/// `EINVAL` where the file system can not be id-mapped.
pub fn idmap(fd: impl AsFd, userns: impl AsFd, depth: Depth) -> Result<()> {
    let userns = u64::try_from(userns.as_fd().as_raw_fd()).unwrap_or(u64::MAX);
    setattr(fd, &MountAttr { set: crate::types::attr::IDMAP, userns, ..MountAttr::default() }, depth)
}

/// Changes how the mount `fd` propagates.
///
/// # Errors
/// mount_setattr(2)'s.
pub fn set_propagation(fd: impl AsFd, to: Propagation, depth: Depth) -> Result<()> {
    setattr(fd, &MountAttr { propagation: to.bits(), ..MountAttr::default() }, depth)
}

fn setattr(fd: impl AsFd, attr: &MountAttr, depth: Depth) -> Result<()> {
    let flags = AT_EMPTY_PATH | if depth == Depth::Recursive { AT_RECURSIVE } else { 0 };
    let fd = fd.as_fd().as_raw_fd();
    let path: &CStr = c"";
    // SAFETY: the path is a C string and the structure lives through the call; its size is passed with it.
    unsafe {
        raw(
            libc::SYS_mount_setattr,
            [
                fd.into(),
                path.as_ptr() as libc::c_long,
                flags.into(),
                std::ptr::from_ref(attr) as libc::c_long,
                size_of::<MountAttr>() as libc::c_long,
                0,
            ],
            || format!("mount_setattr({fd}, set {:#x}, clear {:#x})", attr.set, attr.clear),
        )
    }?;
    Ok(())
}

/// Attaches the detached mount `mount` onto the place that `target` stands for.
///
/// # Errors
/// move_mount(2)'s.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).call(|| "move_mount(F_EMPTY_PATH|T_EMPTY_PATH)")
}

/// Makes every mount of the calling process's namespace propagate as told.
///
/// # Errors
/// mount(2)'s.
pub fn set_all_propagation(to: Propagation) -> Result<()> {
    let flags = rustix::mount::MountPropagationFlags::from_bits_retain(
        u32::try_from(to.bits()).unwrap_or_default() | rustix::mount::MountPropagationFlags::REC.bits(),
    );
    rustix::mount::mount_change("/", flags).call(|| format!("mount(\"/\", {to:?}|MS_REC)"))
}

/// Makes the current directory the root and the old root unreachable: pivot_root(".", ".") and a lazy unmount.
///
/// # Errors
/// pivot_root(2)'s or umount2(2)'s.
pub fn pivot_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "umount2(\".\", MNT_DETACH)")?;
    rustix::process::chdir("/").call(|| "chdir(\"/\")")
}

/// Lazily unmounts what is at `path`, which is not followed when it is a symbolic link.
///
/// # Errors
/// umount2(2)'s.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call(|| format!("umount2({path:?}, MNT_DETACH|UMOUNT_NOFOLLOW)"))
}
