// SPDX-License-Identifier: Apache-2.0
//! One group across all hierarchies: made, filled, limited, frozen, killed, removed.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::view::Resource;
use super::{DeviceRule, Layout, Setting};
use crate::error::{Call, Errno, Error, Result};

/// Controllers that every group joins where version 1 has them: they count, or guard devices.
const ALWAYS: &[&str] = &["cpu", "cpuacct", "memory", "pids", "devices", "blkio"];

/// What is delegated by a kernel that does not say.
const DELEGATED: &str = "cgroup.procs cgroup.threads cgroup.subtree_control";

/// The group for what was at the top of a container's tree before there were groups below it.
const REST: &str = "rest";

/// How often the processes of a group are looked for: they may have children meanwhile.
const ATTEMPTS: usize = 20;

/// How long a killed group may take to become empty.
const EMPTY_TIMEOUT_MS: u64 = 10_000;

/// Does a group with these settings have its own directory in this version 1 controller?
pub fn joins<'a>(controller: &str, mut settings: impl Iterator<Item = &'a Setting>) -> bool {
    ALWAYS.contains(&controller) || settings.any(|setting| setting.controller == controller)
}

/// A group of one name in all hierarchies.
#[derive(Debug, Clone)]
pub struct Group {
    pub(super) layout: Layout,
    pub(super) name: String,
}

impl Group {
    /// The group `name`, which may or may not exist: a name, or several for groups in each other (`a/b/c`), without `..`.
    #[must_use]
    pub fn new(layout: Layout, name: &str) -> Self {
        Self { layout, name: name.to_owned() }
    }

    /// Makes the group's directories, with what version 1's cpuset needs before anybody can join.
    ///
    /// # Errors
    /// mkdir(2)'s: `EEXIST` when the group is there already.
    pub fn create(&self) -> Result<()> {
        if let Some(path) = self.unified() {
            self.enable_controllers()?;
            make(&path)?;
        }
        let freezer = if self.layout.unified.is_none() { Some("freezer") } else { None };
        for controller in ALWAYS.iter().copied().chain(freezer) {
            self.make_legacy(controller)?;
        }
        Ok(())
    }

    /// Puts a process into the group in every version 1 hierarchy that it belongs in, made where somebody else who made the
    /// group has left them out.
    ///
    /// # Errors
    /// mkdir(2)'s or write(2)'s.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        self.enable_controllers()?;
        for controller in ALWAYS {
            self.make_legacy(controller)?;
        }
        for directory in self.legacy_directories() {
            write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    fn make_legacy(&self, controller: &str) -> Result<()> {
        let Some(path) = self.legacy(controller) else { return Ok(()) };
        match make(&path) {
            // Controllers may share a hierarchy.
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            Err(error) if error.is(Errno::NOENT) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).call(|| format!("mkdir({parent:?})"))?;
                }
                make(&path)
            }
            other => other,
        }
    }

    /// Is there a directory of the group with a process in it, or one that is frozen?
    ///
    /// # Errors
    /// read(2)'s.
    pub fn refuses(&self) -> Result<Option<&'static str>> {
        if !self.exists() {
            return Ok(None);
        }
        if self.is_frozen() {
            return Ok(Some("frozen"));
        }
        Ok((!self.processes()?.is_empty()).then_some("not empty"))
    }

    /// Lets the controllers through from the top of the tree to the group's parent, which is made where it is missing.
    fn enable_controllers(&self) -> Result<()> {
        let Some(root) = &self.layout.unified else { return Ok(()) };
        let wanted: Vec<&str> = self.layout.unified_controllers.iter().map(String::as_str).collect();
        let mut directory = root.clone();
        let parents: Vec<&str> = self.name.split('/').collect();
        for part in parents.iter().take(parents.len().saturating_sub(1)) {
            enable(&directory, &wanted)?;
            directory.push(part);
            match make(&directory) {
                Err(error) if error.is(Errno::EXIST) => {}
                other => other?,
            }
        }
        enable(&directory, &wanted)
    }

    /// Bounds the groups below this one, whoever makes them.
    ///
    /// # Errors
    /// write(2)'s.
    pub fn bound(&self, depth: u32, descendants: u32) -> Result<()> {
        let Some(directory) = self.unified() else { return Ok(()) };
        write(&directory.join("cgroup.max.depth"), &depth.to_string())?;
        write(&directory.join("cgroup.max.descendants"), &descendants.to_string())
    }

    /// Gives the group's version 2 directory to an id, with the files that divide it among groups below it and not those that
    /// limit it: which these are is the kernel's word.
    ///
    /// # Errors
    /// chown(2)'s.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<()> {
        let Some(directory) = self.unified() else { return Ok(()) };
        let known = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
        let known = if known.is_empty() { DELEGATED } else { &known };
        crate::file::set_owner(&directory, uid, gid)?;
        let files = known.split_whitespace().filter(|file| !file.contains('/'));
        give(files.map(|file| directory.join(file)), (uid, gid))
    }

    /// The file that tells of the pressure on a resource (`cpu`, `memory`, `io`, `irq`), where the kernel counts it.
    #[must_use]
    pub fn pressure_file(&self, resource: &str) -> Option<PathBuf> {
        self.unified().map(|path| path.join(format!("{resource}.pressure")))
    }

    /// Lets an id ask to be told of pressure (poll(2)).
    ///
    /// # Errors
    /// chown(2)'s.
    pub fn give_pressure(&self, uid: u32) -> Result<()> {
        give(Resource::ALL.iter().filter_map(|resource| self.pressure_file(resource.name())), (uid, uid))
    }

    /// The version 2 directory, to clone a process into.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn entry(&self) -> Result<Option<OwnedFd>> {
        let Some(path) = self.unified() else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).call(|| format!("open({path:?})")).map(Some)
    }

    /// The version 1 files through which a process puts itself into the group by writing `0`.
    ///
    /// That a process moves itself, alone, spares it the wait of some 10 ms for a grace period that a write to
    /// `cgroup.procs` costs. The kernel checks the rights of whoever opened the file.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>> {
        let mut files = Vec::new();
        for path in self.legacy_directories() {
            let path = path.join("tasks");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            files.push(rustix::fs::open(&path, flags, Mode::empty()).call(|| format!("open({path:?})"))?);
        }
        Ok(files)
    }

    /// Writes the settings; makes the directory of a controller that the group had not joined, and moves it in.
    ///
    /// # Errors
    /// The write that was refused.
    pub fn apply(&self, settings: &[Setting]) -> Result<()> {
        let mut postponed = Vec::new();
        for setting in settings {
            match self.apply_one(setting) {
                // The memory limit and that of memory and swap must never cross: the order depends on the old values.
                Err(error) if error.is(Errno::INVAL) && setting.file == "memory.limit_in_bytes" => {
                    postponed.push(setting);
                }
                Err(error) if setting.optional && (error.is(Errno::NOENT) || error.is(Errno::OPNOTSUPP)) => {}
                other => other?,
            }
        }
        postponed.into_iter().try_for_each(|setting| self.apply_one(setting))
    }

    fn apply_one(&self, setting: &Setting) -> Result<()> {
        let directory = if setting.controller == "unified" { self.unified() } else { self.legacy(&setting.controller) };
        let Some(directory) = directory else {
            return Err(Error::new(format!("{}: controller {}", setting.file, setting.controller), Errno::NOENT));
        };
        if setting.controller == "cpuset" && !directory.exists() {
            self.join_cpuset(&directory)?;
        }
        write(&directory.join(&setting.file), &setting.value)
    }

    /// A version 1 cpuset is empty at first and refuses members until it has processors and memory nodes.
    fn join_cpuset(&self, directory: &Path) -> Result<()> {
        make_cpuset(directory)?;
        for pid in self.processes()? {
            match write(&directory.join("cgroup.procs"), &pid.to_string()) {
                Err(error) if error.is(Errno::SRCH) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Guards devices by a program on the version 2 group, where version 1 has no device controller. In a user namespace the
    /// kernel takes no such program, and makes no device either: the guard of who made it holds.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn guard_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        match self.entry()? {
            Some(entry) if self.layout.legacy_path("devices").is_none() && crate::namespace::is_initial_user() => {
                crate::bpf::guard_devices(&entry, rules)
            }
            _ => Ok(()),
        }
    }

    /// Makes `after` the rules for devices of a group that is in use and had `before`. Nothing that both allow is refused
    /// meanwhile.
    ///
    /// # Errors
    /// bpf(2)'s, or write(2)'s.
    pub fn change_devices(&self, before: &[DeviceRule], after: &[DeviceRule]) -> Result<()> {
        let Some(directory) = self.legacy("devices") else {
            return match self.entry()? {
                Some(entry) if crate::namespace::is_initial_user() => crate::bpf::replace_devices(&entry, after),
                _ => Ok(()),
            };
        };
        for rule in after.iter().filter(|rule| rule.allow && !before.contains(rule)) {
            write(&directory.join("devices.allow"), &rule.text())?;
        }
        let removed: Vec<_> = before.iter().filter(|rule| rule.allow && !after.contains(rule)).collect();
        for rule in &removed {
            write(&directory.join("devices.deny"), &rule.text())?;
        }
        // A rule that is denied takes with it what it shares with others.
        let shares = |rule: &&DeviceRule| removed.iter().any(|gone| (gone.major, gone.kind) == (rule.major, rule.kind));
        for rule in after.iter().filter(|rule| rule.allow).filter(shares) {
            write(&directory.join("devices.allow"), &rule.text())?;
        }
        Ok(())
    }

    /// Every process of the group and of the groups below it.
    ///
    /// # Errors
    /// read(2)'s; a group that is not there has none.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        if let Some(directory) = self.unified().or_else(|| self.legacy("pids")).or_else(|| self.legacy("freezer")) {
            collect(&directory, &mut pids)?;
        }
        Ok(pids)
    }

    /// Is there any directory of the group?
    #[must_use]
    pub fn exists(&self) -> bool {
        self.unified().is_some_and(|path| path.exists()) || !self.legacy_directories().is_empty()
    }

    /// Stops (or lets go on) every process of the group, and waits until it is so.
    ///
    /// # Errors
    /// write(2)'s.
    pub fn set_frozen(&self, frozen: bool) -> Result<()> {
        if let Some(unified) = self.unified() {
            write(&unified.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            let wanted = if frozen { "frozen 1" } else { "frozen 0" };
            return self.wait_event(wanted, EMPTY_TIMEOUT_MS);
        }
        let Some(directory) = self.legacy("freezer") else {
            return Err(Error::new("freeze: no freezer controller", Errno::NOENT));
        };
        write(&directory.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
    }

    /// Is it frozen?
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        match self.unified() {
            Some(unified) => read(unified.join("cgroup.freeze")).trim() == "1",
            None => self.legacy("freezer").is_some_and(|path| read(path.join("freezer.state")).trim() == "FROZEN"),
        }
    }

    /// Kills every process of the group and waits until none is left.
    ///
    /// # Errors
    /// `ETIMEDOUT` when some process does not die.
    pub fn kill(&self) -> Result<()> {
        if let Some(unified) = self.unified() {
            match write(&unified.join("cgroup.kill"), "1") {
                Ok(()) => return self.wait_event("populated 0", EMPTY_TIMEOUT_MS),
                Err(error) if error.is(Errno::NOENT) && !unified.exists() => {}
                Err(error) if error.is(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        self.kill_each()
    }

    /// The same without `cgroup.kill`: signals all until there is nobody left; frozen ones are let go.
    ///
    /// After `cgroup.kill` a group takes nobody from outside any more: Linux (seen: 6.18) compares the count of kills of
    /// the parent's group with that of the new one in `CLONE_INTO_CGROUP`, and kills the child when they differ. A group
    /// that is to be used again must be emptied this way.
    ///
    /// # Errors
    /// `ETIMEDOUT` when some process does not die.
    pub fn kill_each(&self) -> Result<()> {
        let deadline = crate::time::monotonic_ms() + EMPTY_TIMEOUT_MS;
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                crate::process::kill(pid, libc::SIGKILL).ok();
            }
            self.set_frozen(false).ok();
            if crate::time::monotonic_ms() > deadline {
                return Err(Error::new(format!("kill group {}", self.name), Errno::TIMEDOUT));
            }
            pause(2);
        }
    }

    /// Waits for a line of version 2's `cgroup.events`.
    fn wait_event(&self, wanted: &str, timeout_ms: u64) -> Result<()> {
        let Some(path) = self.unified().map(|path| path.join("cgroup.events")) else { return Ok(()) };
        let deadline = crate::time::monotonic_ms() + timeout_ms;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.call(|| format!("open({path:?})"))?,
        };
        let mut buffer = [0; 256];
        loop {
            let read = match rustix::io::pread(&file, &mut buffer, 0) {
                Err(Errno::NODEV) => return Ok(()),
                other => other.call(|| format!("read({path:?})"))?,
            };
            let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned();
            if text.lines().any(|line| line == wanted) {
                return Ok(());
            }
            let now = crate::time::monotonic_ms();
            if now >= deadline {
                return Err(Error::new(format!("wait for {wanted:?} in {path:?}"), Errno::TIMEDOUT));
            }
            let left = i64::try_from(deadline - now).unwrap_or(i64::MAX);
            let timeout = Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 };
            let mut polled = [PollFd::new(&file, PollFlags::PRI)];
            rustix::event::poll(&mut polled, Some(&timeout)).ok();
        }
    }

    /// Removes the group when it has neither processes nor groups below it; `false` when it is to be emptied first.
    #[must_use]
    pub fn remove_empty(&self) -> bool {
        let gone = |path: PathBuf| matches!(rustix::fs::rmdir(&path), Ok(()) | Err(Errno::NOENT)) || !path.exists();
        let legacy = self.layout.legacy.iter().map(|one| one.path.join(&self.name));
        let left = self.unified().into_iter().chain(legacy).map(gone).filter(|gone| !gone).count();
        left == 0
    }

    /// Removes the group and those that were made below it; none may have a process any more.
    ///
    /// # Errors
    /// rmdir(2)'s, after going on with the others.
    pub fn remove(&self) -> Result<()> {
        let directories = self.unified().into_iter().chain(self.legacy_directories());
        let mut result = Ok(());
        for path in directories {
            result = result.and(remove_tree(&path));
        }
        result
    }

    pub(super) fn unified(&self) -> Option<PathBuf> {
        self.layout.unified.as_ref().map(|root| root.join(&self.name))
    }

    pub(super) fn legacy(&self, controller: &str) -> Option<PathBuf> {
        self.layout.legacy_path(controller).map(|root| root.join(&self.name))
    }

    /// The version 1 directories that exist.
    fn legacy_directories(&self) -> Vec<PathBuf> {
        self.layout.legacy.iter().map(|one| one.path.join(&self.name)).filter(|path| path.exists()).collect()
    }
}

fn make_cpuset(directory: &Path) -> Result<()> {
    let parent = directory.parent().unwrap_or(Path::new("/"));
    if !parent.exists() {
        make_cpuset(parent)?;
    }
    make(directory)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = fs::read_to_string(parent.join(file)).call(|| format!("read({parent:?}/{file})"))?;
        write(&directory.join(file), value.trim())?;
    }
    Ok(())
}

/// Lets the wanted controllers through to the groups below.
fn enable(directory: &Path, wanted: &[&str]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).call(|| format!("read({file:?})"))?;
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|have| have == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    match write(&file, &missing.join(" ")) {
        Ok(()) => return Ok(()),
        // Inside a container its own group is the top of the tree, and has the processes that it was started with.
        Err(error) if error.is(Errno::BUSY) && is_top(directory) => {
            make_room(directory)?;
            if write(&file, &missing.join(" ")).is_ok() {
                return Ok(());
            }
        }
        Err(_) => {}
    }
    // One that this part of the tree may not pass on is missed by the limit that needs it, if there is one.
    for one in &missing {
        write(&file, one).ok();
    }
    Ok(())
}

/// Is it what this process sees as the top of the tree, and not the kernel's own?
fn is_top(directory: &Path) -> bool {
    directory.join("cgroup.type").exists()
        && !directory.parent().is_some_and(|above| above.join("cgroup.procs").exists())
}

/// Puts the processes of a group into one below it: with controllers for those below a group has no processes of its own.
fn make_room(directory: &Path) -> Result<()> {
    let rest = directory.join(REST);
    match make(&rest) {
        Err(error) if error.is(Errno::EXIST) => {}
        other => other?,
    }
    for _ in 0..ATTEMPTS {
        let file = directory.join("cgroup.procs");
        let text = fs::read_to_string(&file).call(|| format!("read({file:?})"))?;
        if text.is_empty() {
            break;
        }
        for pid in text.lines() {
            match write(&rest.join("cgroup.procs"), pid) {
                // It has ended, or is about to.
                Err(error) if error.is(Errno::SRCH) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

fn make(path: &Path) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).call(|| format!("mkdir({path:?})"))
}

fn write(path: &Path, value: &str) -> Result<()> {
    crate::idmap::write_file(path, value.as_bytes())
}

/// The processes of a group and of those below it. Groups are reached through the one above them: whoever makes them may have
/// made a path that is too long for a call.
fn collect(directory: &Path, pids: &mut Vec<i32>) -> Result<()> {
    match open(CWD, directory) {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => collect_from(&other?, pids),
    }
}

fn collect_from(directory: &OwnedFd, pids: &mut Vec<i32>) -> Result<()> {
    const FILE: &str = "cgroup.procs";
    match rustix::fs::openat(directory, FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        other => {
            let mut text = String::new();
            match fs::File::from(other.call(|| format!("open({FILE:?})"))?).read_to_string(&mut text) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
                // A group of threads lists its processes in the group above.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other.call(|| format!("read({FILE:?})")).map(drop)?,
            }
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid != 0));
        }
    }
    for name in children(directory)? {
        match open(directory, &name) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => collect_from(&other?, pids)?,
        }
    }
    Ok(())
}

/// Gives files to an owner; what a group has not (its controller is off, or the kernel does not count it) is passed over.
fn give(files: impl Iterator<Item = PathBuf>, (uid, gid): (u32, u32)) -> Result<()> {
    for file in files {
        match crate::file::set_owner(&file, uid, gid) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

fn open(above: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd> {
    let (name, flags) = (name.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC);
    rustix::fs::openat(above, name, flags, Mode::empty()).call(|| format!("open({name:?})"))
}

/// The names of the groups below an open one.
fn children(directory: &OwnedFd) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).call(|| "getdents64(group)")? {
        let Ok(entry) = entry else { break };
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_dir() && name != "." && name != ".." {
            names.push(name.into());
        }
    }
    Ok(names)
}

/// Removes a group's directory, deepest first.
fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    match open(CWD, parent) {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => remove_from(&other?, Path::new(name)),
    }
}

/// A process that has just ended may still be on its way out of version 1.
fn remove_from(above: &OwnedFd, name: &Path) -> Result<()> {
    for attempt in 0..200 {
        match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // That is asked first: also of what is not there.
            Err(Errno::ROFS) if rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW).is_err() => return Ok(()),
            Err(Errno::BUSY) => {
                if let Ok(directory) = open(above, name) {
                    for child in children(&directory)? {
                        remove_from(&directory, &child)?;
                    }
                }
                pause(if attempt < 20 { 1 } else { 10 });
            }
            Err(errno) => return Err(errno).call(|| format!("rmdir({name:?})")),
        }
    }
    Err(Error::new(format!("rmdir({name:?})"), Errno::BUSY))
}

fn pause(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}
