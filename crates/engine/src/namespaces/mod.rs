// SPDX-License-Identifier: Apache-2.0
//! Namespaces themselves, of containers and of everything else on this host: to look at, to understand, to enter, to build.

mod details;
mod diff;
mod enter;
mod ids;
mod inside;
mod mounts;
mod names;
mod pin;
mod program;
mod scan;
mod target;
mod tree;
mod unshare;
mod view;
mod watch;

use kernel::types::NamespaceKind;

use crate::error::{Doing, Error, Kind, Result};
use crate::request::Place;
use crate::store::Store;

pub use details::{MappedIds, ProcessDetails, Sight};
pub use diff::{Difference, Differences};
pub use enter::Entering;
pub use ids::{FileOwners, Question, Translation, What};
pub use inside::{Clock, Device, Inside, Ipc, Network, RouteView, Uts};
pub use mounts::MountView;
pub use names::Owner as ContainerOwner;
pub use pin::{Pin, Pinned};
pub use program::Program;
pub use tree::SHOWN;
pub use unshare::{Unsharing, map_of};
pub use view::{Hidden, Kept, Listing, NamespaceRow, ProcessBrief, TreeNode, ranges};
pub use watch::{Change as NamespaceChange, Source as WatchSource, Watching};

use target::Target;

/// What can be done with namespaces. Ordinary users may ask, too, and see what the kernel shows them.
#[derive(Debug)]
pub struct Namespaces {
    place: Place,
    /// Our own containers, where we may read of them.
    store: Option<Store>,
}

impl Namespaces {
    /// Nothing is read before it is asked for.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let store = Store::open(place.clone()).ok();
        Self { place, store }
    }

    /// Every namespace that can be seen, of one kind or of all.
    ///
    /// # Errors
    /// When `/proc` can not be read.
    pub fn list(&self, kind: Option<&str>) -> Result<Listing> {
        let kind = kind.map(kind_of).transpose()?;
        let mut scan = scan::Scan::new(None).doing(|| "list namespaces")?;
        scan.ask();
        Ok(scan.listing(|(one, _)| kind.is_none_or(|kind| kind == one), &self.groups()))
    }

    /// The user or the pid namespaces, each below the one that it was made in.
    ///
    /// # Errors
    /// When `/proc` can not be read, or for another kind.
    pub fn tree(&self, kind: &str) -> Result<(Vec<TreeNode>, Hidden)> {
        let kind = kind_of(kind)?;
        if ![NamespaceKind::User, NamespaceKind::Pid].contains(&kind) {
            let error = Error::new(Kind::Invalid, format!("{kind} namespaces have no hierarchy"));
            return Err(error.hint("write --type user or --type pid"));
        }
        tree::tree(kind, &self.groups()).doing(|| "list namespaces")
    }

    /// All about one process's namespaces.
    ///
    /// # Errors
    /// When there is no such process or container, or the kernel does not show it to us.
    pub fn show(&self, target: &str) -> Result<ProcessDetails> {
        let process = self.find(target)?.process(target)?;
        details::details(&process, &self.groups()).doing(|| format!("show {target}"))
    }

    /// What two processes share, and how the rest differs.
    ///
    /// # Errors
    /// Those of [`Namespaces::show`].
    pub fn diff(&self, one: &str, other: &str) -> Result<Differences> {
        let both = [one, other].map(|name| self.find(name).and_then(|found| found.process(name)));
        let [first, second] = both;
        let (first, second) = (first?, second?);
        let groups = self.groups();
        let details = |process, name: &str| details::details(process, &groups).doing(|| format!("show {name}"));
        Ok(diff::differences(details(&first, one)?, details(&second, other)?))
    }

    /// What an id or a process's number is on the other side.
    ///
    /// # Errors
    /// When it is nothing there, or when the process or container is not there.
    pub fn translate(&self, question: &Question) -> Result<Translation> {
        let process = self.find(&question.target)?.process(&question.target)?;
        ids::translate(&process, question)
    }

    /// Both owners of a file that a container, or another process, sees.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn stat(&self, target: &str, path: &std::path::Path) -> Result<FileOwners> {
        let process = self.find(target)?.process(target)?;
        ids::stat(&process, path).doing(|| format!("look at {} in {target}", path.display()))
    }

    /// Runs a program in the namespaces of a process, or in that of a file: its exit code.
    ///
    /// # Errors
    /// What can not be entered, or why the program can not be run; nothing of it has run then.
    pub fn enter(&self, entering: &Entering, program: &Program) -> Result<i32> {
        enter::enter(self.find(&entering.target)?, entering, program)
    }

    /// Runs a program in new namespaces: its exit code.
    ///
    /// # Errors
    /// What can not be had, or why the program can not be run; nothing of it has run then.
    pub fn unshare(unsharing: &Unsharing, program: &Program) -> Result<i32> {
        unshare::unshare(unsharing, program)
    }

    /// Keeps a namespace by a bind mount of its file.
    ///
    /// # Errors
    /// When the name is taken, or the mount is refused; nothing is left then.
    pub fn pin(&self, pin: &Pin) -> Result<Pinned> {
        let target = pin.of.as_deref().map(|of| self.find(of)).transpose()?;
        pin::pin(&self.place, target, pin)
    }

    /// Lets a namespace go that was kept by a bind mount.
    ///
    /// # Errors
    /// When nothing is pinned there.
    pub fn unpin(&self, kind: &str, name: &str) -> Result<()> {
        pin::unpin(&self.place, kind_of(kind)?, name)
    }

    /// Namespaces as they come and go, until `told` says false.
    ///
    /// # Errors
    /// When `/proc` can not be read.
    pub fn watch(&self, interval_ms: u64, watching: &mut dyn Watching) -> Result<()> {
        watch::watch(interval_ms, &self.groups(), watching)
    }

    fn find(&self, text: &str) -> Result<Target> {
        target::find(self.store.as_ref(), text)
    }

    /// The control groups of our containers that run, with the containers' names.
    fn groups(&self) -> Vec<(String, String)> {
        let Some(store) = &self.store else { return Vec::new() };
        let names = store.names().unwrap_or_default();
        let found = names.iter().filter_map(|name| store.find(name.as_str()).ok());
        found.map(|found| (store.group_name(&found), found.name.as_str().to_owned())).collect()
    }
}

/// The kind with this name.
fn kind_of(word: &str) -> Result<NamespaceKind> {
    kernel::namespace::kind(word).map_err(|_| {
        let names: Vec<&str> = NamespaceKind::ALL.iter().map(|kind| kind.file()).collect();
        let error = Error::new(Kind::Invalid, format!("there is no kind of namespace {word:?}"));
        error.hint(format!("write one of: {}", names.join(", ")))
    })
}
