// SPDX-License-Identifier: Apache-2.0
//! The mounts that the launcher makes: now where it can, later where the container's user namespace has to be there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kernel::mount::{self, Depth, Parameter};
use kernel::types::{IdRange, Propagation, attr};
use kernel::{Errno, Error, Result};
use plan::{Idmap, Source, Tree};

use crate::overlay;
use crate::program::{Inside, Made, Shape};

/// A null device, verified, and an empty directory: for what is masked.
pub(crate) fn covers() -> Result<[OwnedFd; 2]> {
    let null = device(Path::new("/dev/null"), true, Some((1, 3)))?;
    let parameters = [Parameter::Text("size", "0"), Parameter::Text("nr_inodes", "1")];
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    Ok([null, mount::new("tmpfs", &parameters, attributes)?])
}

/// A tree of the root file system; its layers' ids are shifted, so it waits for a user namespace that is not there yet.
pub(crate) fn tree(tree: &Tree, users: Option<&OwnedFd>, waits: bool) -> Result<Made> {
    let mount = if waits { None } else { Some(overlay::mount(tree, users)?) };
    Ok(Made { mount, shape: Shape::Directory, inside: None })
}

/// A source, made unless it has to wait.
pub(crate) fn source(source: &Source, users: Option<&OwnedFd>, waits: bool) -> Result<Made> {
    if let Source::Bind { path, copy_link: true, .. } = source
        && let Ok(text) = std::fs::read_link(path)
    {
        return Ok(Made { mount: None, shape: Shape::Link(text), inside: None });
    }
    let shape = shape(source)?;
    let shifts = matches!(source, Source::Bind { idmap: Idmap::Container { .. }, .. });
    let mount = if waits && shifts { None } else { Some(make(source, users)?) };
    Ok(Made { mount, shape, inside: None })
}

/// The same for a launcher that may not make mounts: the stub does, which has the rights of its user namespace.
pub(crate) fn source_inside(source: &Source) -> Result<Made> {
    let (path, inside) = match source {
        Source::Device { path, character, number } => {
            let kind = if *character { 0o020_000 } else { 0o060_000 };
            let (major, minor) = number.unwrap_or((0, 0));
            let device = if number.is_some() { (kind, u64::from(major) << 32 | u64::from(minor)) } else { (0, 0) };
            (path, Inside { device, ..Inside::of(path) })
        }
        Source::Bind { path, copy_link: true, .. } if std::fs::read_link(path).is_ok() => {
            let text = std::fs::read_link(path).unwrap_or_default();
            return Ok(Made { mount: None, shape: Shape::Link(text), inside: None });
        }
        Source::Bind {
            path,
            recursive,
            set,
            clear,
            set_below,
            clear_below,
            idmap: Idmap::None,
            propagation,
            propagate_below,
            root,
            ..
        } => {
            let attributes = [*set, *clear, *set_below, *clear_below];
            let (recursive, propagate_below, root) = (*recursive, *propagate_below, *root);
            let propagation = crate::program::propagation_bits(propagation);
            (path, Inside { recursive, attributes, propagation, propagate_below, root, ..Inside::of(path) })
        }
        Source::Bind { path, .. } | Source::CopyUp { path, .. } => {
            return Err(Error::new(format!("mount {path:?}: idmap and tmpcopyup need root"), Errno::PERM));
        }
        Source::Node { .. } => return Err(Error::new("a device node needs root", Errno::PERM)),
        Source::View { path, .. } => return Err(no_view(path)),
    };
    let shape = if kernel::file::is_directory(path)? { Shape::Directory } else { Shape::File };
    Ok(Made { mount: None, shape, inside: Some(inside) })
}

impl Inside {
    fn of(path: &Path) -> Self {
        let path = path.to_owned();
        let (recursive, propagate_below, root) = (false, false, false);
        Self { path, recursive, device: (0, 0), attributes: [0; 4], propagation: 0, propagate_below, root }
    }
}

fn shape(source: &Source) -> Result<Shape> {
    let directory = match source {
        Source::Bind { path, .. } => kernel::file::is_directory(path)?,
        Source::CopyUp { .. } => true,
        Source::View { directory, .. } => *directory,
        Source::Node { .. } | Source::Device { .. } => false,
    };
    Ok(if directory { Shape::Directory } else { Shape::File })
}

/// Makes it, detached.
pub(crate) fn make(source: &Source, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    match source {
        Source::Node { character, major, minor, owner } => {
            let make = |home: &OwnedFd| {
                kernel::root::make_device(home, "node", *character, (*major, *minor), *owner)?;
                mount::clone_at(home, Path::new("node"), false)
            };
            // In a file system that nobody ever sees, gone with the node's last mount.
            match make(&mount::new("tmpfs", &[Parameter::Text("size", "4k")], 0)?) {
                // Before Linux 6.15 only of what is attached a part is copied.
                Err(error) if error.is(Errno::INVAL) => overlay::in_own_namespace(|| make(&overlay::table()?)),
                other => other,
            }
        }
        Source::Device { path, character, number } => device(path, *character, *number),
        Source::CopyUp { root, path, parameters, attributes } => copy_up(root, path, parameters, *attributes),
        Source::Bind { .. } => bind(source, userns),
        Source::View { path, .. } => Err(no_view(path)),
    }
}

/// The launcher has it already, or nobody serves it.
fn no_view(path: &Path) -> Error {
    Error::new(format!("mount {path:?} of the container's own view"), Errno::NOENT)
}

/// The same of a part of the view, of which the launcher has these.
pub(crate) fn view(source: &Source, views: &mut Vec<(std::path::PathBuf, OwnedFd)>) -> Option<Made> {
    let Source::View { path, directory } = source else { return None };
    let at = views.iter().position(|(known, _)| known == path)?;
    let (_, mount) = views.swap_remove(at);
    let shape = if *directory { Shape::Directory } else { Shape::File };
    Some(Made { mount: Some(mount), shape, inside: None })
}

/// A device of the host, verified. On hosts with systemd `/dev` is shared: what would be mounted over a copy that is its peer
/// would be mounted over the host's own device.
fn device(path: &Path, character: bool, number: Option<(u32, u32)>) -> Result<OwnedFd> {
    let node = mount::clone(path, false)?;
    mount::set_propagation(&node, Propagation::Private, Depth::One)?;
    kernel::root::verify_device(&node, character, number)?;
    Ok(node)
}

fn bind(source: &Source, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    let Source::Bind {
        path,
        recursive,
        set,
        clear,
        set_below,
        clear_below,
        idmap,
        propagation,
        propagate_below,
        root,
        ..
    } = source
    else {
        return Err(Error::new("bind", Errno::INVAL));
    };
    let depth = |below: bool| if below { Depth::Recursive } else { Depth::One };
    // Whether it is a link was asked before: by now it may be one.
    let tree = if *root { mount::clone_directory(path, *recursive)? } else { mount::clone(path, *recursive)? };
    let to = match *propagation {
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => Propagation::Private,
    };
    mount::set_propagation(&tree, to, depth(*propagate_below && *recursive))?;
    if *set | *clear != 0 {
        mount::set_attributes(&tree, *set, *clear, Depth::One)?;
    }
    if *set_below | *clear_below != 0 {
        mount::set_attributes(&tree, *set_below, *clear_below, depth(*recursive))?;
    }
    match (idmap, userns) {
        (Idmap::None, _) => {}
        (Idmap::Container { recursive }, Some(userns)) => mount::idmap(&tree, userns, depth(*recursive))?,
        (Idmap::Container { .. }, None) => {
            return Err(Error::new(
                format!("mount {path:?}: idmap without a user namespace or mappings"),
                Errno::INVAL,
            ));
        }
        (Idmap::Own { uids, gids, recursive }, _) => {
            let userns = kernel::idmap::user_namespace_of(&ranges(uids), &ranges(gids))?;
            mount::idmap(&tree, &userns, depth(*recursive))?;
        }
    }
    Ok(tree)
}

fn ranges(maps: &[plan::Map]) -> Vec<IdRange> {
    maps.iter().map(|one| IdRange { inside: one.inside, outside: one.outside, count: one.count }).collect()
}

/// A tmpfs with what the root file system has there now, owners and modes as they are.
fn copy_up(root: &Path, path: &Path, parameters: &[String], attributes: u64) -> Result<OwnedFd> {
    let parsed: Vec<Parameter<'_>> = parameters
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) => Parameter::Text(key, value),
            None => Parameter::Flag(text),
        })
        .collect();
    let writable = mount::new("tmpfs", &parsed, attributes & !attr::RDONLY)?;
    let from = kernel::root::Root::new(kernel::root::open_own_directory(root)?);
    match from.find(path, false) {
        Ok(from) => kernel::fs::copy_tree(&from, &kernel::root::open_directory(&writable, ".")?)?,
        Err(error) if error.is(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    if attributes & attr::RDONLY != 0 {
        mount::set_attributes(writable.as_fd(), attr::RDONLY, 0, Depth::One)?;
    }
    Ok(writable)
}
