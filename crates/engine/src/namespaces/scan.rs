// SPDX-License-Identifier: Apache-2.0
//! One look at every process: which namespaces there are, who is in them, and what else keeps them alive.
//!
//! For each process: its links (one readlink(2) each, no file of it is opened), its start, its descriptors, its threads where it
//! has some. For each mount namespace: one process's mount table. For each namespace: its file is opened once, and the ioctls ask
//! who owns it and what is above it; that finds those which only live because others below them do. A process that ends meanwhile
//! is left out.

use std::collections::HashMap;

use kernel::namespace::{Namespace, parse_link};
use kernel::survey::{Links, Survey};
use kernel::types::NamespaceKind;
use kernel::{Errno, Result};

use super::mounts;
use super::names::{self, Owner};
use super::view::{Hidden, Kept, Listing, NamespaceRow, ProcessBrief};

/// A namespace while we look.
pub(crate) type Key = (NamespaceKind, u64);

/// Of what else keeps one alive, so many are remembered.
const KEPT: usize = 4;

/// What is known of a namespace so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) processes: u32,
    /// Start and number: who was started first is least.
    pub(crate) oldest: Option<(u64, i32)>,
    pub(crate) kept: Vec<Kept>,
    owner: Option<u64>,
    parent: Option<u64>,
    creator: Option<u32>,
    /// Were owner and parent asked for?
    asked: bool,
}

impl Found {
    fn keep(&mut self, kept: Kept) {
        if self.kept.len() < KEPT {
            self.kept.push(kept);
        }
    }
}

/// A look.
#[derive(Debug)]
pub(crate) struct Scan {
    survey: Survey,
    pub(crate) found: HashMap<Key, Found>,
    hidden: u32,
    /// Our own user namespace.
    user: Option<u64>,
    /// Of those in namespaces of this kind, everybody is remembered, with the start.
    members_of: Option<NamespaceKind>,
    pub(crate) members: HashMap<u64, Vec<(u64, i32)>>,
}

impl Scan {
    /// Looks at all processes; `members_of` names a kind whose members are remembered.
    pub(crate) fn new(members_of: Option<NamespaceKind>) -> Result<Self> {
        let mut scan = Self::empty(members_of)?;
        for pid in scan.survey.pids()? {
            scan.process(pid)?;
        }
        scan.mounts();
        Ok(scan)
    }

    /// Looks at these processes only, and at no mounts.
    pub(crate) fn of(pids: &[i32]) -> Result<Self> {
        let mut scan = Self::empty(None)?;
        for pid in pids {
            scan.process(*pid)?;
        }
        Ok(scan)
    }

    fn empty(members_of: Option<NamespaceKind>) -> Result<Self> {
        let survey = Survey::open()?;
        // By `self`, not by our number: this `/proc` may be of another pid namespace than ours.
        let user = Namespace::current(NamespaceKind::User).ok().map(|own| own.id().ino);
        Ok(Self { survey, found: HashMap::new(), hidden: 0, user, members_of, members: HashMap::new() })
    }

    /// A process that is gone by now counts for nothing; one that we may not see is counted.
    fn process(&mut self, pid: i32) -> Result<()> {
        let links = match self.survey.links(pid) {
            Err(error) if is_gone(error.errno) => return Ok(()),
            Err(error) if is_hidden(error.errno) => {
                self.hidden += 1;
                return Ok(());
            }
            other => other?,
        };
        let brief = match self.survey.brief(pid) {
            Err(error) if is_gone(error.errno) => return Ok(()),
            other => other?,
        };
        for key in own(&links) {
            let found = self.found.entry(key).or_default();
            found.processes += 1;
            let this = (brief.start, pid);
            found.oldest = Some(found.oldest.map_or(this, |oldest| oldest.min(this)));
            if self.members_of == Some(key.0) {
                self.members.entry(key.1).or_default().push(this);
            }
        }
        for key in to_come(&links) {
            self.found.entry(key).or_default().keep(Kept::Children { pid });
        }
        if brief.threads > 1 {
            self.threads(pid, &links);
        }
        let found = &mut self.found;
        // Also one of ours may keep what it has open from us; what it is in was seen.
        self.survey
            .descriptors(pid, &mut |number, kind, inode| {
                found.entry((kind, inode)).or_default().keep(Kept::Descriptor { pid, number });
            })
            .ok();
        Ok(())
    }

    /// Threads that are in other namespaces than the first.
    fn threads(&mut self, pid: i32, first: &Links) {
        for thread in self.survey.threads(pid).unwrap_or_default() {
            let Ok(links) = self.survey.links(thread) else { continue };
            if links == *first {
                continue;
            }
            for (key, same) in own(&links).zip(own(first)) {
                if key != same {
                    self.found.entry(key).or_default().keep(Kept::Thread { pid, thread });
                }
            }
        }
    }

    /// Bind mounts of namespaces' files, in the mount table of one process of each mount namespace.
    fn mounts(&mut self) {
        let one_of_each = |(key, found): (&Key, &Found)| (key.0 == NamespaceKind::Mount).then_some(found.oldest?.1);
        let mut pids: Vec<i32> = self.found.iter().filter_map(one_of_each).collect();
        pids.sort_unstable();
        for pid in pids {
            let Ok(text) = self.survey.mounts(pid) else { continue };
            if !text.contains(" - nsfs ") {
                continue;
            }
            // Who has another user namespace may have mounted whatever they like.
            let ours = self.survey.links(pid).is_ok_and(|links| links.own.first() == self.user.as_ref());
            let table = mounts::parse(&text);
            for mount in table.iter().filter(|mount| mount.kind == "nsfs") {
                if let Some(key) = parse_link(mount.root.as_bytes()) {
                    let (path, safe) = (mount.target.clone(), ours && mounts::is_local(&table, &mount.target));
                    self.found.entry(key).or_default().keep(Kept::Mount { pid, path, safe });
                }
            }
        }
    }

    /// Asks the kernel for owners and parents of all that was found, and finds those above them.
    pub(crate) fn ask(&mut self) {
        let keys: Vec<Key> = self.found.keys().copied().collect();
        for key in keys {
            let Some(namespace) = self.found.get(&key).and_then(|found| open(key, found)) else { continue };
            self.ask_one(namespace);
        }
    }

    fn ask_one(&mut self, namespace: Namespace) {
        let mut next = vec![namespace];
        while let Some(namespace) = next.pop() {
            let id = namespace.id();
            let key = (id.kind, id.ino);
            let is_user = id.kind == NamespaceKind::User;
            let found = self.found.entry(key).or_default();
            if std::mem::replace(&mut found.asked, true) {
                continue;
            }
            let owner = namespace.owner().ok().flatten();
            let parent = (id.kind == NamespaceKind::Pid).then(|| namespace.parent().ok().flatten()).flatten();
            found.owner = owner.as_ref().map(|owner| owner.id().ino);
            found.parent = if is_user { found.owner } else { parent.as_ref().map(|parent| parent.id().ino) };
            found.creator = if is_user { namespace.owner_uid().ok() } else { None };
            // What is above may have nobody in it, and no file: only those below it keep it.
            for above in owner.into_iter().chain(parent) {
                let key = (above.id().kind, above.id().ino);
                let found = self.found.entry(key).or_default();
                if found.processes == 0 && !found.kept.contains(&Kept::Below) {
                    found.keep(Kept::Below);
                }
                if !found.asked {
                    next.push(above);
                }
            }
        }
    }

    /// How many namespaces of other kinds this user namespace has the rights over.
    pub(crate) fn owned_by(&self, user: u64) -> usize {
        let is_owned = |(key, found): &(&Key, &Found)| key.0 != NamespaceKind::User && found.owner == Some(user);
        self.found.iter().filter(is_owned).count()
    }

    /// A process in short; `None` when it is gone.
    pub(crate) fn brief(&mut self, pid: i32) -> Option<ProcessBrief> {
        let command = self.survey.command(pid).ok()?;
        Some(ProcessBrief { pid, uid: self.survey.user(pid).ok()?, command })
    }

    /// What is hidden from us.
    pub(crate) fn hidden(&self) -> Hidden {
        let table = kernel::file::read_lines("/proc/self/mountinfo".as_ref()).unwrap_or_default();
        let table = String::from_utf8_lossy(&table);
        let root = kernel::process::euid() == 0;
        Hidden { processes: self.hidden, hidepid: mounts::hidden_processes(&table), root }
    }

    /// As a list, of those `wanted`; `ours` are the groups of our own containers.
    pub(crate) fn listing(mut self, wanted: impl Fn(Key) -> bool, ours: &[(String, String)]) -> Listing {
        let mut keys: Vec<Key> = self.found.keys().copied().filter(|key| wanted(*key)).collect();
        keys.sort_unstable();
        let mut seen = Processes::default();
        let namespaces = keys.into_iter().filter_map(|key| self.row(key, ours, &mut seen)).collect();
        Listing { namespaces, hidden: self.hidden() }
    }

    pub(crate) fn row(&mut self, key: Key, ours: &[(String, String)], seen: &mut Processes) -> Option<NamespaceRow> {
        let found = self.found.get(&key)?;
        let (owner, parent, processes) = (found.owner, found.parent, found.processes);
        let (kept, oldest) = (found.kept.clone(), found.oldest);
        let creator = match key.0 {
            NamespaceKind::User => found.creator,
            _ => owner.and_then(|owner| self.found.get(&(NamespaceKind::User, owner))?.creator),
        };
        let (oldest, container) = oldest
            .and_then(|(_, pid)| seen.look(self, pid, ours))
            .map_or((None, None), |(brief, owner)| (Some(brief), owner));
        Some(NamespaceRow {
            kind: key.0.file(),
            inode: key.1,
            owner,
            creator,
            parent,
            processes,
            oldest,
            container,
            kept,
        })
    }
}

/// Processes that were looked at for a row: one is the oldest of several namespaces.
#[derive(Debug, Default)]
pub(crate) struct Processes(HashMap<i32, Option<(ProcessBrief, Option<Owner>)>>);

impl Processes {
    fn look(&mut self, scan: &mut Scan, pid: i32, ours: &[(String, String)]) -> Option<(ProcessBrief, Option<Owner>)> {
        self.0.entry(pid).or_insert_with(|| Some((scan.brief(pid)?, container_of(pid, ours)))).clone()
    }
}

/// The container that a process is in, by its groups.
pub(crate) fn container_of(pid: i32, ours: &[(String, String)]) -> Option<Owner> {
    let text = kernel::file::read_lines(format!("/proc/{pid}/cgroup").as_ref()).ok()?;
    names::owner(&String::from_utf8_lossy(&text), ours)
}

fn own(links: &Links) -> impl Iterator<Item = Key> {
    NamespaceKind::ALL.into_iter().zip(links.own).filter(|(_, inode)| *inode != 0)
}

/// Those that a process's children will be in, and itself is not.
fn to_come(links: &Links) -> impl Iterator<Item = Key> {
    let now = |wanted: NamespaceKind| {
        NamespaceKind::ALL.into_iter().zip(links.own).find(|(kind, _)| *kind == wanted).map_or(0, |(_, inode)| inode)
    };
    let both = [(NamespaceKind::Pid, links.pid_for_children), (NamespaceKind::Time, links.time_for_children)];
    both.into_iter().filter(move |(kind, inode)| *inode != 0 && *inode != now(*kind))
}

/// Opens a namespace that was found, if it still is what it was.
pub(crate) fn open(key: Key, found: &Found) -> Option<Namespace> {
    let same =
        |namespace: Namespace| (namespace.id().kind == key.0 && namespace.id().ino == key.1).then_some(namespace);
    let by_process = found.oldest.and_then(|(_, pid)| Namespace::of(pid, key.0).ok()).and_then(same);
    by_process.or_else(|| found.kept.iter().find_map(|kept| open_kept(key.0, kept).and_then(same)))
}

fn open_kept(kind: NamespaceKind, kept: &Kept) -> Option<Namespace> {
    let path = |path: String| Namespace::open(path.as_ref()).ok();
    match kept {
        Kept::Descriptor { pid, number } => path(format!("/proc/{pid}/fd/{number}")),
        Kept::Thread { thread, .. } => Namespace::of(*thread, kind).ok(),
        Kept::Children { pid } => path(format!("/proc/{pid}/ns/{kind}_for_children")),
        Kept::Mount { safe: false, .. } | Kept::Below => None,
        Kept::Mount { pid, path, .. } => {
            // The path was read in a namespace of others: it stays below their root, whatever lies on it now.
            let root = kernel::root::Root::new(kernel::pidfd::Handle::open(*pid).ok()?.root().ok()?);
            let place = root.find(path.as_ref(), false).ok()?;
            Namespace::reopen(&place, || format!("open({path:?})")).ok()
        }
    }
}

fn is_gone(errno: Errno) -> bool {
    [Errno::NOENT, Errno::SRCH].contains(&errno)
}

fn is_hidden(errno: Errno) -> bool {
    [Errno::ACCESS, Errno::PERM].contains(&errno)
}
