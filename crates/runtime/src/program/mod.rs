// SPDX-License-Identifier: Apache-2.0
//! From a plan to the program that the stub follows: names become descriptors, steps become operations.

mod hidden;
mod writer;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::types::{NamespaceKind, attr};
use plan::{Plan, Program, Step};
use stub::wire::{NONE, code};

pub(crate) use writer::Writer;

/// The numbers of prctl(2) that are used.
pub(crate) mod option {
    pub(crate) const PARENT_DEATH_SIGNAL: u64 = 1;
    pub(crate) const DUMPABLE: u64 = 4;
    pub(crate) const SECURE_BITS: u64 = 28;
    pub(crate) const NO_NEW_PRIVILEGES: u64 = 38;
}

const SIGKILL: u64 = 9;
/// The group that terminals have.
const TTY_GROUP: u64 = 5;
const STRICT: u16 = 2;
const MAKE: u16 = 1;
const NO_LINK: u16 = 2;
const DIRECTORY: u64 = 1;
const FILE: u64 = 2;
const MS_REC: u64 = 1 << 14;

/// What is to be attached somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    File,
    /// A symbolic link that is made again: its text.
    Link(PathBuf),
}

/// A mount that the stub makes: we have no right to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inside {
    pub(crate) path: PathBuf,
    pub(crate) recursive: bool,
    /// Type and device number that it has to have; zeros for any.
    pub(crate) device: (u64, u64),
    /// Attributes set and cleared on it alone, on all of it, and its propagation, on all of it or not.
    pub(crate) attributes: [u64; 4],
    pub(crate) propagation: u64,
    pub(crate) propagate_below: bool,
    /// It is the root file system: no symbolic link may have its name.
    pub(crate) root: bool,
}

/// A mount that the launcher makes: now, or when the child has its user namespace.
#[derive(Debug)]
pub(crate) struct Made {
    /// `None` until then.
    pub(crate) mount: Option<OwnedFd>,
    pub(crate) shape: Shape,
    /// Made by the stub, right before it is attached.
    pub(crate) inside: Option<Inside>,
}

impl Made {
    /// Does it come with the launcher's word?
    pub(crate) fn is_late(&self) -> bool {
        self.mount.is_none() && self.inside.is_none() && !matches!(self.shape, Shape::Link(_))
    }
}

/// Everything that the program's slots are filled with.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) channel: OwnedFd,
    /// Namespaces to join.
    pub(crate) joins: Vec<(NamespaceKind, OwnedFd)>,
    /// Files of version 1 groups, through which a process puts itself there.
    pub(crate) groups: Vec<OwnedFd>,
    pub(crate) streams: Option<[OwnedFd; 3]>,
    pub(crate) trees: Vec<Made>,
    pub(crate) sources: Vec<Made>,
    /// A null device and an empty directory, for what is masked.
    pub(crate) covers: Option<[OwnedFd; 2]>,
    /// The socket that gets the terminal's master, when it is not ours.
    pub(crate) console: Option<OwnedFd>,
    /// What a created container waits for, and where it then reports.
    pub(crate) park: Option<[OwnedFd; 2]>,
    /// The state as hooks are told it: creating, created.
    pub(crate) states: Option<[OwnedFd; 2]>,
    /// The host's `/proc`, when a label is to be written.
    pub(crate) proc: Option<OwnedFd>,
    /// The launcher is not root.
    pub(crate) mapped_by_user: bool,
    /// Dies with who started it.
    pub(crate) dies_with_parent: bool,
    /// Limits that are set at the end, since they would be in our own way.
    pub(crate) late_limits: Vec<plan::Limit>,
    pub(crate) early_limits: Vec<plan::Limit>,
}

/// Does the child start in its new namespaces? Else it joins some first, or needs its ids before it goes on.
pub(crate) fn is_direct(plan: &Plan) -> bool {
    plan.join_namespaces.is_empty() && !plan.new_namespaces.contains(&NamespaceKind::User)
}

/// The new namespaces that clone3(2) makes. Those of groups come with it when nothing of version 1 has to be joined
/// before, and that of clocks needs its offsets first.
pub(crate) fn clone_flags(plan: &Plan, joins_groups: bool) -> u64 {
    let late = |kind: &&NamespaceKind| match kind {
        NamespaceKind::Time => true,
        NamespaceKind::Net => makes_network(plan),
        NamespaceKind::Cgroup => joins_groups || !is_direct(plan) || plan.cgroup.later,
        _ => false,
    };
    plan.new_namespaces.iter().filter(|kind| !late(kind)).fold(0, |flags, kind| flags | kind.flag())
}

/// Does the launcher make the network namespace, while the stub makes mounts?
pub(crate) fn makes_network(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::JoinNetwork))
}

/// Writes the program of a plan.
pub(crate) fn write<'fd>(plan: &Plan, given: &'fd Given) -> Writer<'fd> {
    let mut lower = Lower {
        to: Writer::new(given.channel.as_fd()),
        plan,
        given,
        trees: Vec::new(),
        sources: Vec::new(),
        proc: None,
        pts: None,
        covers: None,
        mounts: Vec::new(),
    };
    lower.prefix();
    for (index, step) in plan.steps.iter().enumerate() {
        lower.to.at(index);
        lower.step(step);
    }
    lower.to
}

struct Lower<'a, 'fd> {
    to: Writer<'fd>,
    plan: &'a Plan,
    given: &'fd Given,
    trees: Vec<u64>,
    sources: Vec<u64>,
    proc: Option<u64>,
    pts: Option<u64>,
    covers: Option<(u64, u64)>,
    /// Mounts below which something is hidden later, with their descriptors.
    mounts: Vec<(PathBuf, u64)>,
}

impl Lower<'_, '_> {
    /// A user namespace belongs to whoever makes it, and counts on their limits (inotify, keys, namespaces): that of a container
    /// of ours belongs to its own ids, so that a host has room for more than a dozen whole systems.
    fn owner(&mut self) {
        const KEEP_RIGHTS: u64 = 1 << 2;
        let first = |map: &[plan::Map]| map.iter().find(|one| one.inside == 0).map(|one| u64::from(one.outside));
        if let (true, Some(uid), Some(gid)) = (self.owns(), first(&self.plan.uid_map), first(&self.plan.gid_map)) {
            self.to.push(code::PRCTL, &[option::SECURE_BITS, KEEP_RIGHTS]);
            self.to.push_with(code::IDENTITY, 0, &[uid, gid, 0, 0]);
        }
    }

    /// Is it a container of ours with a user namespace of its own?
    fn owns(&self) -> bool {
        !self.plan.trees.is_empty() && self.plan.new_namespaces.contains(&NamespaceKind::User)
    }

    fn prefix(&mut self) {
        let given = self.given;
        self.to.push(code::SIGNALS, &[]);
        // What is made has the mode that the plan says.
        self.to.push(code::UMASK, &[0]);
        if let Some(score) = self.plan.oom_score_adj {
            let text = score.to_string();
            let (path, bytes) = (self.to.text("/proc/self/oom_score_adj"), self.to.bytes(text.as_bytes()));
            self.to.push(code::WRITE_FILE, &[path, bytes, text.len() as u64]);
        }
        // Who writes the maps without being root has to own the process, as /proc tells it, until they are written.
        let dumpable = given.mapped_by_user && self.plan.new_namespaces.contains(&NamespaceKind::User);
        if !dumpable {
            self.to.push(code::PRCTL, &[option::DUMPABLE, 0]);
        }
        for limit in &given.early_limits {
            self.to.push(code::LIMIT, &[limit.resource.into(), limit.soft, limit.hard]);
        }
        if !is_direct(self.plan) {
            let mut joins: Vec<_> = given.joins.iter().collect();
            // The user namespace last: until then we have the rights to join the others.
            joins.sort_by_key(|(kind, _)| *kind == NamespaceKind::User);
            for (kind, file) in joins {
                let slot = self.to.slot(file.as_fd());
                self.to.push(code::JOIN, &[slot, kind.flag()]);
            }
            self.owner();
            self.to.push_with(code::CLONE, 1, &[clone_flags(self.plan, !given.groups.is_empty())]);
        }
        if given.dies_with_parent {
            self.to.push(code::PRCTL, &[option::PARENT_DEATH_SIGNAL, SIGKILL]);
        }
        self.to.push(code::SESSION, &[]);
        self.slots();
        if dumpable {
            self.to.push(code::PRCTL, &[option::DUMPABLE, 0]);
        }
        if let Some(streams) = &given.streams {
            for (stream, number) in streams.iter().zip(0..) {
                let slot = self.to.slot(stream.as_fd());
                self.to.push(code::STREAM, &[slot, number]);
            }
        }
    }

    /// Mounts that are there keep their descriptors; the others come with the launcher's word, in order.
    fn slots(&mut self) {
        let given = self.given;
        let all = given.trees.iter().chain(&given.sources);
        let count = all.filter(|made| made.is_late()).count() as u64;
        let first = if count > 0 { Some(self.to.empty_slot()) } else { None };
        for _ in 1..count {
            self.to.empty_slot();
        }
        let mut next = first.unwrap_or(0);
        for (made, into_trees) in
            given.trees.iter().map(|made| (made, true)).chain(given.sources.iter().map(|made| (made, false)))
        {
            let slot = match &made.mount {
                Some(mount) => self.to.slot(mount.as_fd()),
                None if made.inside.is_some() => self.to.empty_slot(),
                None if matches!(made.shape, Shape::Link(_)) => NONE,
                None => {
                    next += 1;
                    next - 1
                }
            };
            let slots = if into_trees { &mut self.trees } else { &mut self.sources };
            slots.push(slot);
        }
        if first.is_some() || self.plan.new_namespaces.contains(&NamespaceKind::User) {
            self.to.push(code::WAIT, &[first.unwrap_or(0), count]);
        }
    }

    fn find(&mut self, target: &Path, kind: u64, mode: u64, flags: u16) -> u64 {
        let (slot, path) = (self.to.empty_slot(), self.to.path(target));
        self.to.push_with(code::FIND, flags, &[slot, path, kind, mode]);
        slot
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::DieWithParent => self.to.push(code::PRCTL, &[option::PARENT_DEATH_SIGNAL, SIGKILL]),
            Step::BecomeRoot => {
                // A user who maps nobody but himself has given up changing groups for that.
                let alone =
                    self.given.mapped_by_user && matches!(self.plan.gid_map.as_slice(), [one] if one.count == 1);
                self.to.push_with(code::IDENTITY, alone.into(), &[0, 0, 0, 0]);
            }
            Step::JoinGroups => self.join_groups(),
            Step::UnshareCgroup
                if clone_flags(self.plan, !self.given.groups.is_empty()) & NamespaceKind::Cgroup.flag() != 0 => {}
            Step::UnshareCgroup => self.to.push(code::UNSHARE, &[NamespaceKind::Cgroup.flag()]),
            Step::TimeOffsets { offsets } => self.time_offsets(offsets),
            Step::NewKeyring => self.to.push(code::KEYRING, &[]),
            Step::Hostname { name } => self.name(code::HOSTNAME, name),
            Step::Domainname { name } => self.name(code::DOMAINNAME, name),
            Step::LoopbackUp => self.to.push(code::LOOPBACK, &[]),
            Step::CutMounts { propagation } => {
                self.to.push(code::PROPAGATION, &[propagation_bits(propagation) | MS_REC]);
                self.all_inside();
            }
            Step::AttachRoot => self.attach_root(self.trees.first().copied()),
            Step::AttachRootSource { source } => self.attach_root(self.sources.get(*source).copied()),
            Step::AttachTree { tree, target } => {
                let place = self.find(target, DIRECTORY, 0o755, MAKE | STRICT);
                self.to.push(code::ATTACH, &[self.trees.get(*tree).copied().unwrap_or(NONE), place]);
            }
            Step::Mount { target, kind, parameters, attributes, strict, propagation } => {
                self.mount(target, kind, parameters, *attributes, *strict, *propagation);
            }
            Step::Remount { target, set, clear } => {
                let place = self.find(target, DIRECTORY, 0, 0);
                self.to.push(code::ATTRIBUTES, &[place, *set, *clear, 0, NONE]);
                self.to.push(code::CLOSE, &[place]);
            }
            Step::Attach { source, target } => self.attach(*source, target),
            Step::Directory { target, mode } => {
                let place = self.find(target, DIRECTORY, (*mode).into(), MAKE);
                self.to.push(code::CLOSE, &[place]);
            }
            Step::Symlink { target, link } => {
                let (path, link) = (self.to.path(target), self.to.text(link));
                self.to.push(code::LINK, &[path, link]);
            }
            Step::Node { target, mode, major, minor, uid, gid } => {
                let path = self.to.path(target);
                let device = device_number(*major, *minor);
                self.to.push(code::NODE, &[path, (*mode).into(), device, (*uid).into(), (*gid).into()]);
            }
            Step::Terminal { uid, size } => self.terminal(*uid, *size, true),
            Step::Sysctl { file, value } => {
                let path = self.to.path(&Path::new("sys").join(file));
                let bytes = self.to.bytes(value.as_bytes());
                self.to.push(code::WRITE_BELOW, &[self.proc.unwrap_or(NONE), path, bytes, value.len() as u64]);
            }
            Step::Mask { targets } => self.mask(targets),
            Step::ReadOnly { targets } => self.read_only(targets),
            Step::RootReadOnly => self.to.push(code::ROOT_ATTRIBUTES, &[attr::RDONLY, 0]),
            Step::Pivot => self.to.push(code::PIVOT, &[]),
            Step::MoveRoot => self.to.push(code::MOVE_ROOT, &[]),
            Step::RootPropagation { propagation, recursive } => {
                let bits = propagation_bits(propagation) | if *recursive { MS_REC } else { 0 };
                self.to.push(code::ROOT_PROPAGATION, &[bits]);
            }
            Step::Pause => {
                let none = self.to.empty_slot();
                self.to.push(code::PAUSE, &[none, 0]);
            }
            Step::JoinNetwork => {
                let slot = self.to.empty_slot();
                self.to.push(code::WAIT, &[slot, 1]);
                self.to.push(code::JOIN, &[slot, NamespaceKind::Net.flag()]);
                self.to.push(code::CLOSE, &[slot]);
            }
            Step::Limited => {
                let none = self.to.empty_slot();
                self.to.push(code::WAIT, &[none, 0]);
            }
            Step::Hook { hook } => self.hook(hook),
            Step::Park => self.park(),
            Step::Look { candidates } => {
                let list = self.to.list(candidates);
                self.to.push(code::LOOK, &[list]);
            }
            step => self.last_steps(step),
        }
    }

    /// The steps from the working directory on, which `exec` has too.
    fn last_steps(&mut self, step: &Step) {
        match step {
            Step::WorkingDirectory { path } => {
                let path = self.to.path(path);
                self.to.push_with(code::DIRECTORY, 1, &[path]);
            }
            Step::Label { file, value } => {
                let proc = self.given.proc.as_ref().map_or(NONE, |proc| self.to.slot(proc.as_fd()));
                label(&mut self.to, proc, file, value);
            }
            Step::Landlock { handled, dev } => self.to.push(code::LANDLOCK, &[*handled, *dev]),
            Step::CloseOnExec { first } => self.to.push(code::CLOSE_FROM, &[(*first).into()]),
            Step::BoundingSet { keep } => {
                for limit in &self.given.late_limits {
                    self.to.push(code::LIMIT, &[limit.resource.into(), limit.soft, limit.hard]);
                }
                self.to.push(code::BOUNDING, &[keep.0]);
            }
            Step::OwnStreams { uid } => self.to.push(code::OWN_STREAMS, &[(*uid).into()]),
            Step::Identity { uid, gid, groups, umask, keep_groups } => {
                identity(&mut self.to, *uid, *gid, groups, *umask, *keep_groups);
            }
            Step::Capabilities { effective, permitted, inheritable, ambient } => {
                self.to.push(code::CAPABILITIES, &[effective.0, permitted.0, inheritable.0, ambient.0]);
            }
            Step::NoNewPrivileges => self.to.push(code::PRCTL, &[option::NO_NEW_PRIVILEGES, 1]),
            Step::Seccomp { program } => seccomp(&mut self.to, program),
            Step::Init => self.to.push(code::INIT, &[]),
            Step::Execute { candidates, arguments, environment } => {
                let lists = [self.to.list(candidates), self.to.list(arguments), self.to.list(environment)];
                self.to.push(code::EXECUTE, &lists);
            }
            Step::Scheduler { scheduler } => schedule(&mut self.to, scheduler),
            Step::IoPriority { value } => self.to.push(code::IO_PRIORITY, &[(*value).into()]),
            Step::Affinity { processors } => affinity(&mut self.to, processors),
            Step::Personality { value } => self.to.push(code::PERSONALITY, &[(*value).into()]),
            Step::MemoryPolicy { mode, nodes } => memory_policy(&mut self.to, *mode, nodes),
            // All others are in `step`.
            _ => {}
        }
    }

    fn join_groups(&mut self) {
        let zero = self.to.bytes(b"0");
        for group in &self.given.groups {
            let slot = self.to.slot(group.as_fd());
            self.to.push(code::WRITE, &[slot, zero, 1]);
        }
    }

    fn time_offsets(&mut self, offsets: &[plan::TimeOffset]) {
        let kind = NamespaceKind::Time.flag();
        self.to.push(code::UNSHARE, &[kind]);
        let path = self.to.text("/proc/self/timens_offsets");
        // The file is of the process's own user only while that may look at it, whom nobody else is yet.
        if self.owns() {
            self.to.push(code::PRCTL, &[option::DUMPABLE, 1]);
        }
        for offset in offsets {
            let line = format!("{} {} {}", offset.clock, offset.seconds, offset.nanoseconds);
            let bytes = self.to.bytes(line.as_bytes());
            self.to.push(code::WRITE_FILE, &[path, bytes, line.len() as u64]);
        }
        if self.owns() {
            self.to.push(code::PRCTL, &[option::DUMPABLE, 0]);
        }
        let path = self.to.text("/proc/self/ns/time_for_children");
        self.to.push(code::JOIN_PATH, &[path, kind]);
    }

    fn name(&mut self, code: u16, name: &str) {
        let text = self.to.text(name);
        self.to.push(code, &[text, name.len() as u64]);
    }

    /// The root is attached over the host's /dev, which is on every host and whose content comes as descriptors; the
    /// host's /proc and /sys have to stay visible until their successors are mounted, or the kernel refuses these.
    fn attach_root(&mut self, tree: Option<u64>) {
        let anchor = self.to.text("/dev");
        self.to.push(code::ROOT, &[tree.unwrap_or(NONE), anchor]);
    }

    fn mount(
        &mut self,
        target: &Path,
        kind: &str,
        parameters: &[String],
        attributes: u64,
        strict: bool,
        propagation: Option<&str>,
    ) {
        let place = self.find(target, DIRECTORY, 0o755, if strict { MAKE | STRICT } else { MAKE });
        let (slot, text) = (self.to.empty_slot(), self.to.text(kind));
        let parameters = self.to.parameters(parameters);
        self.to.push(code::MOUNT, &[slot, text, parameters, attributes]);
        self.to.push_with(code::ATTACH, 1, &[slot, place]);
        if let Some(propagation) = propagation {
            self.to.push(code::ATTRIBUTES, &[slot, 0, 0, propagation_bits(propagation), NONE]);
        }
        let kept = self.keeps(target, slot);
        match kind {
            "proc" if self.proc.is_none() && target == Path::new("/proc") => self.proc = Some(slot),
            "devpts" if self.pts.is_none() => self.pts = Some(slot),
            _ if kept => {}
            _ => self.to.push(code::CLOSE, &[slot]),
        }
    }

    /// The host's paths are there until the root is attached over some of them: everything is made before.
    fn all_inside(&mut self) {
        for source in 0..self.given.sources.len() {
            self.make_inside(source);
        }
        let masks = self.plan.steps.iter().any(|step| matches!(step, Step::Mask { .. }));
        if masks && self.given.covers.is_none() {
            let (null, empty) = (self.to.empty_slot(), self.to.empty_slot());
            let null_device = Inside {
                path: "/dev/null".into(),
                recursive: false,
                device: (0o020_000, 1 << 32 | 3),
                attributes: [0; 4],
                propagation: 0,
                propagate_below: false,
                root: false,
            };
            self.make_tree(null, &null_device);
            let (kind, parameters) = (self.to.text("tmpfs"), self.to.parameters(&["size=0", "nr_inodes=1"]));
            let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
            self.to.push(code::MOUNT, &[empty, kind, parameters, attributes]);
            self.covers = Some((null, empty));
        }
    }

    /// Operations that make a source, when the launcher could not.
    fn make_inside(&mut self, source: usize) {
        let given = self.given;
        let Some(inside) = given.sources.get(source).and_then(|made| made.inside.as_ref()) else { return };
        let slot = self.sources.get(source).copied().unwrap_or(NONE);
        self.make_tree(slot, inside);
    }

    fn make_tree(&mut self, slot: u64, inside: &Inside) {
        let path = self.to.path(&inside.path);
        let recursive = u16::from(inside.recursive);
        let flags = recursive | if inside.root { NO_LINK } else { 0 };
        self.to.push_with(code::TREE, flags, &[slot, path, inside.device.0, inside.device.1]);
        let below = u16::from(inside.propagate_below && inside.recursive);
        if inside.propagation != 0 {
            self.to.push_with(code::ATTRIBUTES, below, &[slot, 0, 0, inside.propagation, NONE]);
        }
        let [set, clear, set_below, clear_below] = inside.attributes;
        if set | clear != 0 {
            self.to.push(code::ATTRIBUTES, &[slot, set, clear, 0, NONE]);
        }
        if set_below | clear_below != 0 {
            self.to.push_with(code::ATTRIBUTES, recursive, &[slot, set_below, clear_below, 0, NONE]);
        }
    }

    fn attach(&mut self, source: usize, target: &Path) {
        let shape = self.given.sources.get(source).map_or(Shape::Directory, |made| made.shape.clone());
        let slot = self.sources.get(source).copied().unwrap_or(NONE);
        let place = match &shape {
            Shape::Link(text) => {
                let (path, link) = (self.to.path(target), self.to.path(text));
                self.to.push(code::LINK, &[path, link]);
                return;
            }
            Shape::Directory => self.find(target, DIRECTORY, 0o755, MAKE),
            Shape::File => self.find(target, FILE, 0o644, MAKE),
        };
        let kept = self.keeps(target, slot);
        match target.to_str() {
            Some("/proc") if self.proc.is_none() => self.proc = Some(slot),
            Some("/dev/pts") if self.pts.is_none() => self.pts = Some(slot),
            _ if kept => {}
            _ => {
                self.to.push(code::ATTACH, &[slot, place]);
                return;
            }
        }
        self.to.push_with(code::ATTACH, 1, &[slot, place]);
    }

    fn terminal(&mut self, uid: u32, size: Option<(u16, u16)>, shown: bool) {
        let size = size.map_or(0, |(rows, columns)| u64::from(rows) | u64::from(columns) << 16);
        let (socket, named) = match &self.given.console {
            Some(console) => (self.to.slot(console.as_fd()), 2),
            None => (0, 0),
        };
        let flags = named | u16::from(shown);
        self.to.push_with(code::TERMINAL, flags, &[self.pts.unwrap_or(NONE), uid.into(), TTY_GROUP, size, socket]);
    }

    fn hook(&mut self, hook: &plan::Hook) {
        let state = match &self.given.states {
            Some([creating, _]) if hook.status == "creating" => self.to.slot(creating.as_fd()),
            Some([_, created]) => self.to.slot(created.as_fd()),
            None => NONE,
        };
        let path = self.to.text(&hook.path);
        let (arguments, environment) = (self.to.list(&hook.arguments), self.to.list(&hook.environment));
        self.to.push(code::HOOK, &[path, arguments, environment, hook.timeout_ms, state]);
    }

    fn park(&mut self) {
        if let Some([fifo, result]) = &self.given.park {
            let (fifo, result) = (self.to.slot(fifo.as_fd()), self.to.slot(result.as_fd()));
            self.to.push(code::PARK, &[fifo, result]);
        }
    }
}

/// `MS_*` of a word.
pub(crate) fn propagation_bits(word: &str) -> u64 {
    use kernel::types::Propagation;
    match word {
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => Propagation::Private,
    }
    .bits()
}

/// As makedev(3) puts both parts together.
fn device_number(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

pub(crate) fn label(to: &mut Writer<'_>, proc: u64, file: &str, value: &str) {
    let path = to.text(format!("self/attr/{file}"));
    let bytes = to.bytes(value.as_bytes());
    to.push_with(code::WRITE_BELOW, 1, &[proc, path, bytes, value.len() as u64]);
}

pub(crate) fn identity(to: &mut Writer<'_>, uid: u32, gid: u32, groups: &[u32], umask: u32, keep_groups: bool) {
    to.push(code::UMASK, &[umask.into()]);
    let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_le_bytes()).collect();
    let list = to.bytes(&bytes);
    to.push_with(code::IDENTITY, keep_groups.into(), &[uid.into(), gid.into(), list, groups.len() as u64]);
}

pub(crate) fn seccomp(to: &mut Writer<'_>, program: &Program) {
    let mut bytes = Vec::with_capacity(program.instructions.len() * 8);
    for one in &program.instructions {
        bytes.extend(one.code.to_le_bytes());
        bytes.extend([one.jt, one.jf]);
        bytes.extend(one.k.to_le_bytes());
    }
    let at = to.bytes(&bytes);
    let listener = if program.listener.is_some() { 0 } else { NONE };
    to.push(code::SECCOMP, &[program.flags.into(), at, program.instructions.len() as u64, listener]);
}

/// `struct sched_attr` of 48 bytes.
pub(crate) fn schedule(to: &mut Writer<'_>, scheduler: &plan::Scheduler) {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend(48_u32.to_le_bytes());
    bytes.extend(scheduler.policy.to_le_bytes());
    bytes.extend(scheduler.flags.to_le_bytes());
    bytes.extend(scheduler.nice.to_le_bytes());
    bytes.extend(scheduler.priority.to_le_bytes());
    for time in [scheduler.runtime, scheduler.deadline, scheduler.period] {
        bytes.extend(time.to_le_bytes());
    }
    let at = to.bytes(&bytes);
    to.push(code::SCHEDULER, &[at]);
}

fn mask_of(numbers: &[u32]) -> Vec<u8> {
    let longest = numbers.iter().max().map_or(0, |last| *last as usize / 64 + 1).max(1);
    let mut words = vec![0_u64; longest];
    for number in numbers {
        if let Some(word) = words.get_mut(*number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn affinity(to: &mut Writer<'_>, processors: &[u32]) {
    let mask = mask_of(processors);
    let at = to.bytes(&mask);
    to.push(code::AFFINITY, &[at, mask.len() as u64]);
}

pub(crate) fn memory_policy(to: &mut Writer<'_>, mode: u32, nodes: &[u32]) {
    let mask = mask_of(nodes);
    let at = to.bytes(&mask);
    // The kernel counts one bit more than there are.
    let bits = if nodes.is_empty() { 0 } else { mask.len() as u64 * 8 };
    to.push(code::MEMORY_POLICY, &[mode.into(), at, bits]);
}
