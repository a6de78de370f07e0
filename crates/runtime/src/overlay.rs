// SPDX-License-Identifier: Apache-2.0
//! The trees of the root file system: overlays of read-only layers, shown with shifted ids, below a writable one.
//!
//! A layer is a detached mount, which overlayfs takes as a descriptor since Linux 6.13. Before, it takes names of directories of
//! its caller's mount namespace: a child makes the overlay in a namespace of its own, where the layers have names, and hands it
//! out. What it has made holds on to the layers when that namespace is gone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::mount::{self, Depth, Parameter};
use kernel::process::{self, Forked};
use kernel::types::{NamespaceKind, Propagation, attr};
use kernel::{Errno, Error, Result};
use plan::Tree;

/// Where the layers have their names in that namespace: a directory that every host has.
pub(crate) const PLACE: &str = "/dev";

/// The most bytes of a parameter that fsconfig(2) takes as a string.
const LONGEST: usize = 255;

/// What an overlay is made of.
struct Parts<'a> {
    lowers: &'a [PathBuf],
    /// Upper and work directory; without them nothing can be written.
    above: Option<(&'a Path, &'a Path)>,
    volatile: bool,
    userns: Option<&'a OwnedFd>,
}

/// Mounts the tree, detached. `userns` shifts the ids of its layers.
///
/// Where the file system of a layer can not be id-mapped, its files keep their owners, whom nobody inside is: they can
/// be read as far as everybody may read them.
pub(crate) fn mount(tree: &Tree, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    let above = Some((tree.upper.as_path(), tree.work.as_path()));
    make(&Parts { lowers: &tree.lowers, above, volatile: tree.volatile, userns })
}

/// Mounts the tree of a container that does not run, detached, as its users see it.
///
/// # Errors
/// mount_setattr(2)'s, or those of the new mount.
pub fn mount_tree(tree: &Tree, userns: &OwnedFd) -> Result<OwnedFd> {
    mount(tree, Some(userns))
}

/// Mounts layers alone, of which there are at least two, detached.
///
/// # Errors
/// Those of the new mount.
pub fn mount_layers(lowers: &[PathBuf]) -> Result<OwnedFd> {
    make(&Parts { lowers, above: None, volatile: false, userns: None })
}

fn make(parts: &Parts<'_>) -> Result<OwnedFd> {
    match by_descriptor(parts) {
        // Only of what it does not take as a descriptor.
        Err(error) if error.is(Errno::INVAL) && error.call.contains("SET_FD") => in_own_namespace(|| by_name(parts)),
        other => other,
    }
}

fn by_descriptor(parts: &Parts<'_>) -> Result<OwnedFd> {
    let layers = parts.lowers.iter().map(|path| layer(path, parts.userns)).collect::<Result<Vec<_>>>()?;
    let layers = layers.iter().map(|layer| kernel::root::open_directory(layer, ".")).collect::<Result<Vec<_>>>()?;
    let open = |path: &Path| kernel::root::open_directory_path(path);
    let above = parts.above.map(|(upper, work)| Ok::<_, Error>((open(upper)?, open(work)?))).transpose()?;
    let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(layers.len() + 4);
    parameters.push(Parameter::Text("source", "cella"));
    parameters.extend(layers.iter().map(|layer| Parameter::Fd("lowerdir+", layer.as_fd())));
    if let Some((upper, work)) = &above {
        parameters.push(Parameter::Fd("upperdir", upper.as_fd()));
        parameters.push(Parameter::Fd("workdir", work.as_fd()));
    }
    overlay(parts, parameters)
}

fn overlay(parts: &Parts<'_>, mut parameters: Vec<Parameter<'_>>) -> Result<OwnedFd> {
    if parts.volatile {
        parameters.push(Parameter::Flag("volatile"));
    }
    let read_only = if parts.above.is_none() { attr::RDONLY } else { 0 };
    mount::new("overlay", &parameters, attr::NODEV | read_only)
}

/// A copy of the layer's mount, its ids shifted.
fn layer(path: &Path, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    let copy = mount::clone(path, false)?;
    mount::set_attributes(&copy, attr::RDONLY, 0, Depth::One)?;
    if let Some(userns) = userns {
        match mount::idmap(&copy, userns, Depth::One) {
            Err(error) if error.is(Errno::INVAL) || error.is(Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(copy)
}

/// A detached mount that is made in a mount namespace of its own, where things can be attached and named on the way.
pub(crate) fn in_own_namespace(make: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let mut made = all_in_own_namespace(|| Ok(vec![make()?]))?;
    made.pop().ok_or_else(|| Error::new("make a mount: there is none", Errno::NOENT))
}

/// The same for several, as many as a message takes.
pub(crate) fn all_in_own_namespace(make: impl FnOnce() -> Result<Vec<OwnedFd>>) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = kernel::socket::pair()?;
    match process::clone(NamespaceKind::Mount.flag(), None)? {
        Forked::Child => {
            drop(ours);
            let made = mount::set_all_propagation(Propagation::Private).and_then(|()| make());
            let sent = match made {
                Ok(mounts) => {
                    let mounts: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
                    kernel::socket::send(&theirs, &[&[0]], &mounts)
                }
                Err(error) => {
                    let errno = error.errno.raw_os_error().to_le_bytes();
                    kernel::socket::send(&theirs, &[&[1], &errno, error.call.as_bytes()], &[])
                }
            };
            process::exit_now(i32::from(sent.is_err()))
        }
        Forked::Parent(child) => {
            drop(theirs);
            let mut buffer = [0; 1024];
            let heard = kernel::socket::receive(&ours, &mut buffer);
            process::wait(&child.pidfd)?;
            let (length, descriptors) = heard?;
            match buffer.get(..length).and_then(<[u8]>::split_first) {
                Some((0, _)) => Ok(descriptors),
                Some((_, rest)) => Err(told(rest)),
                None => Err(Error::new("make a mount: the child died", Errno::CHILD)),
            }
        }
    }
}

/// In that namespace: a small file system with a name, as a directory to work in.
pub(crate) fn table() -> Result<OwnedFd> {
    let table = mount::new("tmpfs", &[Parameter::Text("size", "1m")], 0)?;
    mount::attach(&table, kernel::root::open_directory_path(Path::new(PLACE))?)?;
    kernel::root::open_directory(&table, ".")
}

/// What the child says when it fails.
fn told(message: &[u8]) -> Error {
    let errno = message.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_le_bytes);
    let call = String::from_utf8_lossy(message.get(4..).unwrap_or_default()).into_owned();
    Error::new(call, Errno::from_raw_os_error(errno.clamp(1, 4095)))
}

/// Gives the layers names, and makes the overlay of these.
fn by_name(parts: &Parts<'_>) -> Result<OwnedFd> {
    // Opened in this namespace, before anything is covered: of another's mounts none is taken.
    let open = |path: &Path| kernel::root::open_directory_path(path);
    let above = parts.above.map(|(upper, work)| Ok::<_, Error>((open(upper)?, open(work)?))).transpose()?;
    let layers = parts.lowers.iter().map(|path| layer(path, parts.userns)).collect::<Result<Vec<_>>>()?;
    let directory = table()?;
    let names: Vec<String> = (0..layers.len()).map(|number| number.to_string()).collect();
    for (layer, name) in layers.iter().zip(&names) {
        kernel::fs::make_directory(&directory, name.as_ref(), 0o700)?;
        mount::attach(layer, kernel::root::open_directory(&directory, name)?)?;
    }
    process::change_directory(&directory)?;
    let joined = names.join(":");
    let mut parameters = vec![Parameter::Text("source", "cella")];
    if joined.len() <= LONGEST {
        parameters.push(Parameter::Text("lowerdir", &joined));
    } else {
        // Since Linux 6.7 each by itself.
        parameters.extend(names.iter().map(|name| Parameter::Text("lowerdir+", name)));
    }
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let above = above.as_ref().map(|(upper, work)| (path(upper), path(work)));
    if let Some((upper, work)) = &above {
        parameters.push(Parameter::Text("upperdir", upper));
        parameters.push(Parameter::Text("workdir", work));
    }
    overlay(parts, parameters)
}
