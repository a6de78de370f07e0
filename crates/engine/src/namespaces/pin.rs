// SPDX-License-Identifier: Apache-2.0
//! Namespaces that stay without a process: a bind mount of their file. Those of networks are where ip-netns(8) has them.

use std::path::{Path, PathBuf};

use kernel::Errno;
use kernel::idmap::{Maps, Unmapped};
use kernel::namespace::{self, Namespace, NamespaceSet};
use kernel::pidfd::Handle;
use kernel::process;
use kernel::types::{NamespaceKind, Propagation};
use serde::Serialize;
use spec::Name;

use super::target::Target;
use super::unshare::map_of;
use crate::error::{Doing, Error, Kind, Result};
use crate::request::Place;

const SIGKILL: i32 = 9;

/// What is to be kept, and where.
#[derive(Debug, Clone)]
pub struct Pin {
    /// Its kind.
    pub kind: String,
    /// A name, or the path of a file that is not there yet.
    pub name: String,
    /// Whose namespace; a new one otherwise.
    pub of: Option<String>,
    /// Of a new user namespace: `INSIDE:OUTSIDE:COUNT`.
    pub maps: Vec<String>,
}

/// What is kept.
#[derive(Debug, Clone, Serialize)]
pub struct Pinned {
    /// Its kind.
    pub kind: &'static str,
    /// Its inode.
    pub inode: u64,
    /// Where.
    pub path: PathBuf,
}

pub(super) fn pin(place: &Place, target: Option<Target>, pin: &Pin) -> Result<Pinned> {
    let kind = super::kind_of(&pin.kind)?;
    let path = path_of(place, kind, &pin.name)?;
    let doing = || format!("pin {}", path.display());
    if !pin.maps.is_empty() && (target.is_some() || kind != NamespaceKind::User) {
        let error = Error::new(Kind::Invalid, "a map is for a new user namespace only");
        return Err(error.hint("write --user --map INSIDE:OUTSIDE:COUNT NAME"));
    }
    if kernel::file::exists(&path) {
        let error = Error::new(Kind::Conflict, format!("cannot pin {}: it is there already", path.display()));
        return Err(error.hint(format!("cella ns unpin --{kind} {}", pin.name)));
    }
    let namespace = match target {
        None => new(kind, &pin.maps).doing(doing)?,
        Some(Target::Process(handle)) => handle.namespace(kind).doing(doing)?,
        Some(Target::File(namespace)) if namespace.id().kind == kind => namespace,
        Some(Target::File(namespace)) => {
            let message = format!("cannot pin {}: {} is no {kind} namespace", path.display(), namespace.id());
            return Err(Error::new(Kind::Invalid, message).hint(format!("write --{}", namespace.id().kind)));
        }
    };
    // Only a directory of names is ours to prepare.
    let prepared = if pin.name.contains('/') { None } else { path.parent() };
    if let Some(directory) = prepared {
        prepare(kind, directory).doing(doing)?;
    }
    let done = namespace::pin(&namespace, &path).map_err(|error| refused(&path, kind, error));
    if done.is_err()
        && let Some(directory) = prepared
    {
        clear(kind, directory);
    }
    done.map(|()| Pinned { kind: kind.file(), inode: namespace.id().ino, path })
}

pub(super) fn unpin(place: &Place, kind: NamespaceKind, name: &str) -> Result<()> {
    let path = path_of(place, kind, name)?;
    if !kernel::file::exists(&path) {
        let error = Error::new(Kind::NotFound, format!("there is no {kind} namespace pinned at {}", path.display()));
        return Err(error.hint("cella ns ls shows what is pinned"));
    }
    // Of a path it is said what it has to be, as of a name.
    let found = Namespace::open(&path).map(|namespace| namespace.id().kind);
    if let Ok(found) = found
        && found != kind
    {
        let error = Error::new(Kind::Invalid, format!("{} is a {found} namespace", path.display()));
        return Err(error.hint(format!("write --{found}")));
    }
    namespace::unpin(&path).map_err(|error| match error.errno {
        Errno::INVAL => {
            let error = Error::new(Kind::Invalid, format!("{} is no namespace that is pinned", path.display()));
            error.hint("only a bind mount of a namespace's file is taken away")
        }
        _ => Error::from(error),
    })?;
    if !name.contains('/')
        && let Some(directory) = path.parent()
    {
        clear(kind, directory);
    }
    Ok(())
}

/// Names are files of a directory for each kind; a path is what it says.
fn path_of(place: &Place, kind: NamespaceKind, name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return std::path::absolute(name)
            .map_err(|error| Error::new(Kind::Invalid, format!("invalid path {name:?}: {error}")));
    }
    let name: Name = name.parse()?;
    let directory = match kind {
        NamespaceKind::Net => PathBuf::from("/run/netns"),
        _ => place.run.join("ns").join(kind.file()),
    };
    Ok(directory.join(name.as_str()))
}

/// `ip netns` wants its directory shared, so that what is taken away here is so everywhere; ours is nobody else's.
fn prepare(kind: NamespaceKind, directory: &Path) -> kernel::Result<()> {
    kernel::file::make_directories(directory, 0o755)?;
    let propagation = if kind == NamespaceKind::Net { Propagation::Shared } else { Propagation::Private };
    namespace::prepare_pins(directory, propagation)
}

/// Our own directories go with their last pin.
fn clear(kind: NamespaceKind, directory: &Path) {
    if kind != NamespaceKind::Net {
        namespace::clear_pins(directory);
        if let Some(parent) = directory.parent() {
            // Another kind may have one.
            kernel::file::remove_directory(parent).ok();
        }
    }
}

/// A new one, that nobody is in any more when we hold it.
fn new(kind: NamespaceKind, maps: &[String]) -> Result<Namespace> {
    if kind == NamespaceKind::Pid {
        let error = Error::new(Kind::Invalid, "a pid namespace without a process can not be entered");
        return Err(error.hint("name one that has some: --of PID|CONTAINER"));
    }
    if kind == NamespaceKind::User && !maps.is_empty() {
        let child = Unmapped::spawn(NamespaceSet::EMPTY, wait_for_the_end)?.map(&Maps::same(map_of(maps)?))?;
        return hold(child.child(), kind);
    }
    let child = namespace::child(NamespaceSet::of(&[kind]), wait_for_the_end)?;
    hold(&child, kind)
}

fn wait_for_the_end() -> i32 {
    // Whoever made us ends us, also by its own end.
    process::die_with_parent().ok();
    loop {
        kernel::event::wait(&[], None).ok();
    }
}

fn hold(child: &process::Child, kind: NamespaceKind) -> Result<Namespace> {
    let held = Handle::open(child.pid).and_then(|handle| handle.namespace(kind));
    process::signal(&child.pidfd, SIGKILL).ok();
    process::wait(&child.pidfd).ok();
    Ok(held?)
}

fn refused(path: &Path, kind: NamespaceKind, error: kernel::Error) -> Error {
    let hint = match error.errno {
        Errno::INVAL | Errno::LOOP if kind == NamespaceKind::Mount => Some(
            "a mount namespace can be kept only on a private mount, and not within itself: write a name in place of a path",
        ),
        Errno::PERM | Errno::ACCESS if process::euid() != 0 => Some("run it as root (sudo)"),
        Errno::NOENT => Some("make the directory first"),
        _ => None,
    };
    let error = Error::new(Kind::Own, format!("cannot pin {}: {error}", path.display()));
    hint.into_iter().fold(error, Error::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_a_directory_of_their_kind() {
        let place = Place::standard();
        let path = |kind, name| path_of(&place, kind, name).map(|path| path.display().to_string());
        assert_eq!(path(NamespaceKind::Net, "a").unwrap(), "/run/netns/a");
        assert_eq!(path(NamespaceKind::Uts, "a").unwrap(), "/run/cella/ns/uts/a");
        assert_eq!(path(NamespaceKind::Uts, "/x/y").unwrap(), "/x/y");
        assert!(path(NamespaceKind::Net, "..").is_err() && path(NamespaceKind::Net, "").is_err());
    }
}
