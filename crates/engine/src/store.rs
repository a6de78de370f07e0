// SPDX-License-Identifier: Apache-2.0
//! The store: where everything is, who may change it now, and the mending of what a crash has left half done.
//!
//! A container is made as `containers/.new-ID` and renamed to its name when it is complete; it is removed by renaming
//! it to `containers/.rm-ID` first. Whoever makes or removes holds the lock of the directory; one that nobody holds is
//! a leftover. `run/ID` exists from the start to the end of a run; one whose keeper is dead is a leftover, too.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kernel::Errno;
use kernel::cgroup::{Group, Layout};
use kernel::lock::Lock;
use runtime::{EventLog, Exited, Phase, State};
use spec::Name;

use crate::driver;
use crate::error::{Error, Kind, Result};
use crate::ids::Ranges;
use crate::record::{self, Record};
use crate::request::Place;

/// Prefix of a container that is being made.
pub(crate) const NEW: &str = ".new-";

/// Prefix of a container that is being removed.
pub(crate) const GOING: &str = ".rm-";

/// Paths, and what belongs to the store as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) place: Place,
    pub(crate) ranges: Ranges,
}

/// A container that was found, with its record.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) record: Record,
}

impl Store {
    pub(crate) fn open(place: Place) -> Result<Self> {
        if kernel::process::euid() != 0 {
            let message = format!("cannot use {}: this needs root", place.root.display());
            return Err(Error::new(Kind::Own, message).hint("run it as root (sudo)"));
        }
        let ranges = Ranges::of(&place.root);
        Ok(Self { place, ranges })
    }

    /// Makes the directories that are missing.
    pub(crate) fn make(&self) -> Result<()> {
        kernel::file::make_directories(&self.place.root, 0o711)?;
        kernel::file::make_directory(&self.containers(), 0o711)?;
        kernel::file::make_directories(&self.place.run, 0o700)?;
        Ok(())
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.place.root.join("containers")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.place.root.join("volumes")
    }

    pub(crate) fn directory(&self, name: &Name) -> PathBuf {
        self.containers().join(name.as_str())
    }

    /// Named by the id, so that a rename touches nothing of a run.
    pub(crate) fn run_directory(&self, id: &str) -> PathBuf {
        self.place.run.join(id)
    }

    pub(crate) fn events(&self) -> EventLog {
        EventLog::new(self.place.run.join("events.jsonl"))
    }

    /// The names of all containers, sorted.
    pub(crate) fn names(&self) -> Result<Vec<Name>> {
        if !self.containers().exists() {
            return Ok(Vec::new());
        }
        let mut names: Vec<Name> =
            kernel::file::names(&self.containers())?.into_iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The container that `text` means: its name, its id, or a prefix of either that is no other's.
    pub(crate) fn find(&self, text: &str) -> Result<Found> {
        if let Ok(name) = text.parse::<Name>() {
            match Record::read(&self.directory(&name)) {
                Ok(record) => return Ok(Found { name, record }),
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut matches = Vec::new();
        for name in self.names()? {
            let Ok(record) = Record::read(&self.directory(&name)) else { continue };
            if record.id == text {
                return Ok(Found { name, record });
            }
            let is_id = text.len() >= 2 && record.id.starts_with(text);
            if !text.is_empty() && (name.as_str().starts_with(text) || is_id) {
                matches.push(Found { name, record });
            }
        }
        if matches.len() > 1 {
            let names: Vec<&str> = matches.iter().map(|found| found.name.as_str()).collect();
            let message = format!("{text:?} may mean any of: {}", names.join(", "));
            return Err(Error::new(Kind::NotFound, message).hint("write more of the name"));
        }
        matches.pop().ok_or_else(|| self.unknown(text))
    }

    /// One that was found before, under its new name if it has been renamed. To look for an id is to read every record.
    pub(crate) fn find_again(&self, found: &Found) -> Result<Found> {
        match self.find(found.name.as_str()) {
            Ok(again) if again.record.id == found.record.id => Ok(again),
            _ => self.find(&found.record.id),
        }
    }

    pub(crate) fn unknown(&self, text: &str) -> Error {
        let error = Error::new(Kind::NotFound, format!("there is no container {text:?}"));
        let names = self.names().unwrap_or_default();
        match spec::error::nearest(text, names.iter().map(Name::as_str)) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("cella ls --all shows all containers"),
        }
    }

    /// Waits for the right to change this container.
    pub(crate) fn lock(&self, name: &Name) -> Result<Lock> {
        let path = self.directory(name);
        loop {
            let directory = match kernel::root::open_directory_path(&path) {
                Err(error) if error.is(Errno::NOENT) => return Err(self.unknown(name.as_str())),
                other => other?,
            };
            let lock = Lock::wait(directory)?;
            // It may have been removed or renamed while we waited.
            if kernel::root::path_of(&lock)? == canonical(&path) {
                return Ok(lock);
            }
        }
    }

    /// Its state while it has a keeper; a dead keeper's leftovers are cleared away first when nobody else is at it.
    pub(crate) fn state(&self, found: &Found) -> Result<Option<State>> {
        let run = self.run_directory(&found.record.id);
        if !run.exists() {
            return Ok(None);
        }
        if runtime::is_kept(&run)? {
            return Ok(State::read(&run).unwrap_or(None).filter(|state| state.phase != Phase::Ending));
        }
        let directory = match kernel::root::open_directory_path(&self.directory(&found.name)) {
            Err(error) if error.is(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        match Lock::try_take(directory)? {
            Some(lock) => self.mend(found, &lock).map(|()| None),
            None => Ok(None),
        }
    }

    /// The name of its control group: that of its run, when it runs or has left something.
    pub(crate) fn group_name(&self, found: &Found) -> String {
        let state = State::read(&self.run_directory(&found.record.id)).unwrap_or(None);
        state.map_or_else(|| record::cgroup_of(&found.record.id), |state| state.cgroup)
    }

    /// Its first process, when it runs: the descriptor means that one and no later one of the same number.
    pub(crate) fn init(&self, found: &Found) -> Result<Option<(OwnedFd, i32)>> {
        let Some(state) = self.state(found)? else { return Ok(None) };
        let Some(pid) = state.pid else { return Ok(None) };
        let init = match kernel::process::open(pid) {
            Err(error) if error.is(Errno::SRCH) => return Ok(None),
            other => other?,
        };
        Ok((kernel::procfs::start_time(pid).ok() == state.start_time).then_some((init, pid)))
    }

    /// Its control group.
    pub(crate) fn group(&self, found: &Found) -> Result<Group> {
        Ok(Group::new(Layout::detect()?, &self.group_name(found)))
    }

    /// Clears away what a dead keeper has left; the caller holds the container's lock.
    pub(crate) fn mend(&self, found: &Found, _lock: &Lock) -> Result<()> {
        let run = self.run_directory(&found.record.id);
        if !run.exists() || runtime::is_kept(&run)? {
            return Ok(());
        }
        let state = State::read(&run).unwrap_or(None);
        let group = self.group(found)?;
        group.kill()?;
        group.remove()?;
        stop_unit(state.as_ref())?;
        self.unwire(&found.record.id)?;
        let directory = self.directory(&found.name);
        let exited = Exited {
            code: 137,
            started: state.as_ref().and_then(|state| state.started.clone()),
            finished: spec::timestamp::format(kernel::time::now_ns()),
            oom_killed: false,
            restarts: state.as_ref().map_or(0, |state| state.restarts),
            error: Some("its keeper died".to_owned()),
            by_hand: false,
        };
        // A keeper that died after its last words has nothing left to tell.
        let ended = state.as_ref().is_some_and(|state| state.phase == Phase::Ending);
        if !ended && state.as_ref().is_some_and(|state| state.started.is_some()) {
            record::write_last(&directory, &exited, !found.record.definition.remove)?;
        }
        if found.record.definition.remove {
            self.discard(&found.name, &found.record)?;
        }
        kernel::file::remove_any(&run)?;
        Ok(())
    }

    /// Takes a container off its networks whose keeper did not.
    fn unwire(&self, id: &str) -> Result<()> {
        match self.networks().unwire(id, None).as_slice() {
            [] => Ok(()),
            failed => Err(Error::new(Kind::Own, failed.join("; ")).hint("cella network repair")),
        }
    }

    /// Removes the container's directory and lets go of its ids. It has no process and no group any more.
    pub(crate) fn discard(&self, name: &Name, record: &Record) -> Result<()> {
        let going = self.containers().join(format!("{GOING}{}", record.id));
        match kernel::file::rename(&self.directory(name), &going) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => other?,
        }
        for volume in &record.volumes {
            self.remove_tree(&self.volumes(), volume)?;
        }
        // Nothing of it is attached any more, but for a device of the host that has not come back until now.
        self.networks().unwire(&record.id, None);
        self.networks().release(&record.id, None)?;
        self.networks().close_account(&record.id)?;
        if let Some(ids) = record.ids.filter(|ids| ids.own) {
            self.ranges.release(ids.base, ids.count)?;
        }
        self.remove_tree(&self.containers(), &format!("{GOING}{}", record.id))
    }

    pub(crate) fn remove_tree(&self, parent: &Path, name: &str) -> Result<()> {
        let parent = match kernel::root::open_directory_path(parent) {
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match kernel::fs::remove_tree(&parent, name.as_ref()) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Undoes the making of a container that has no name yet.
    pub(crate) fn undo(&self, record: &Record) -> Result<()> {
        for volume in &record.volumes {
            self.remove_tree(&self.volumes(), volume)?;
        }
        self.ranges.release_all_of(&record.id)?;
        self.remove_tree(&self.containers(), &format!("{NEW}{}", record.id))
    }

    /// The lock under which half made directories come to be and are looked at.
    fn lock_all(&self) -> Result<Lock> {
        Ok(Lock::wait(kernel::root::open_directory_path(&self.containers())?)?)
    }

    /// A new directory for the container with this id, locked before anybody can take it for a leftover.
    pub(crate) fn begin(&self, id: &str) -> Result<(PathBuf, Lock)> {
        let _all = self.lock_all()?;
        let path = self.containers().join(format!("{NEW}{id}"));
        kernel::file::make_new_directory(&path, 0o700)?;
        let lock = Lock::wait(kernel::root::open_directory_path(&path)?)?;
        Ok((path, lock))
    }

    /// Clears away half made and half removed containers that nobody is at any more; says which.
    pub(crate) fn sweep(&self) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        if !self.containers().exists() {
            return Ok(swept);
        }
        for name in kernel::file::names(&self.containers())? {
            let Some(id) = name.strip_prefix(NEW).or_else(|| name.strip_prefix(GOING)) else { continue };
            let path = self.containers().join(&name);
            let lock = {
                let _all = self.lock_all()?;
                let Ok(directory) = kernel::root::open_directory_path(&path) else { continue };
                Lock::try_take(directory)?
            };
            if lock.is_none() {
                continue;
            }
            self.clear(&name, id)?;
            swept.push(name);
        }
        Ok(swept)
    }

    /// Removes what is left of a container in the directory `entry`, with its volumes and ids.
    fn clear(&self, entry: &str, id: &str) -> Result<()> {
        if let Ok(record) = Record::read(&self.containers().join(entry)) {
            for volume in &record.volumes {
                self.remove_tree(&self.volumes(), volume)?;
            }
        }
        self.networks().release(id, None)?;
        self.ranges.release_all_of(id)?;
        self.remove_tree(&self.containers(), entry)
    }

    /// Removes a container whose record can not be read: all that can be found of it.
    pub(crate) fn discard_unreadable(&self, name: &Name) -> Result<()> {
        let lock = self.lock(name)?;
        let going = format!("{GOING}{}", crate::names::new_id());
        kernel::file::rename(&self.directory(name), &self.containers().join(&going))?;
        drop(lock);
        self.remove_tree(&self.containers(), &going)?;
        self.sweep_ids()?;
        self.sweep_runs().map(drop)
    }

    /// The ids of all containers that there are, complete or not.
    fn known(&self) -> Result<Vec<String>> {
        let mut known = Vec::new();
        for name in kernel::file::names(&self.containers()).unwrap_or_default() {
            match name.strip_prefix(NEW).or_else(|| name.strip_prefix(GOING)) {
                Some(id) => known.push(id.to_owned()),
                None => known.extend(Record::read(&self.containers().join(&name)).ok().map(|record| record.id)),
            }
        }
        Ok(known)
    }

    /// Lets go of ranges of ids whose container is gone; says whose.
    pub(crate) fn sweep_ids(&self) -> Result<Vec<String>> {
        // In this order: a range is taken after its container's directory was made, and let go before it is gone.
        let taken = self.ranges.taken()?;
        let known = self.known()?;
        let orphans = taken.into_iter().map(|(_, id)| id).filter(|id| !known.contains(id));
        orphans.map(|id| self.ranges.release_all_of(&id).map(|()| format!("ids of {id}"))).collect()
    }

    /// Runtime directories of containers that are gone; says which.
    pub(crate) fn sweep_runs(&self) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        if !self.place.run.exists() {
            return Ok(swept);
        }
        let names = kernel::file::names(&self.place.run)?;
        let known = self.known()?;
        for id in names {
            let run = self.place.run.join(&id);
            let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_id || known.contains(&id) || runtime::is_kept(&run)? {
                continue;
            }
            let state = State::read(&run).unwrap_or(None);
            let name = state.as_ref().map_or_else(|| record::cgroup_of(&id), |state| state.cgroup.clone());
            let group = Group::new(Layout::detect()?, &name);
            group.kill()?;
            group.remove()?;
            stop_unit(state.as_ref())?;
            self.unwire(&id)?;
            self.networks().release(&id, None)?;
            self.ranges.release_all_of(&id)?;
            kernel::file::remove_any(&run)?;
            swept.push(id);
        }
        Ok(swept)
    }
}

/// Has systemd forget the unit of a dead keeper's container. Where there is no systemd any more, there is no unit.
fn stop_unit(state: Option<&State>) -> Result<()> {
    let Some(unit) = state.and_then(|state| state.unit.as_ref()).filter(|_| driver::has_systemd()) else {
        return Ok(());
    };
    let stopped = runtime::systemd::stop(&driver::bus(), unit);
    stopped.map_err(|error| Error::new(Kind::Own, format!("stop {unit}: {error}")).hint("systemctl status cella.slice"))
}

/// The path as the kernel tells it: without links in the way to it.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
