// SPDX-License-Identifier: Apache-2.0
//! The plan: everything resolved, nothing left to decide.
//!
//! ```text
//! launcher                                child (in its new namespaces)
//! make the control group, its limits
//! clone3 ───────────────────────────────► wait
//! write the id maps
//! make trees and sources (detached)
//! "go" with their descriptors ──────────► steps 0, 1, 2 …
//!        ◄──────── terminal's master ──── Step::Terminal
//!        ◄──────── {step, errno, call} ── a step failed: nothing runs
//!        ◄──────── end of file ────────── Step::Execute happened
//! ```

use std::path::PathBuf;

use kernel::cgroup::Layout;
use kernel::types::{CapabilitySet, NamespaceKind, SockFilter};
use serde::{Serialize, Serializer};

/// What the host has, probed once.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Control groups.
    pub cgroups: Layout,
    /// AppArmor is active.
    pub apparmor: bool,
    /// SELinux is active.
    pub selinux: bool,
    /// Version of Landlock, 0 for none.
    pub landlock: u32,
    /// The processors that can ever be there: their thermal state is hidden.
    pub possible_processors: u32,
}

/// All steps to start a container.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Version of this format.
    pub version: u32,
    /// New namespaces.
    #[serde(serialize_with = "kinds")]
    pub new_namespaces: Vec<NamespaceKind>,
    /// Namespaces that are joined, before the new ones are made.
    pub join_namespaces: Vec<Join>,
    /// User ids of the new user namespace.
    pub uid_map: Vec<Map>,
    /// Group ids.
    pub gid_map: Vec<Map>,
    /// The control group.
    pub cgroup: Cgroup,
    /// Resource limits, set from outside.
    pub limits: Vec<Limit>,
    /// Score adjustment of the out-of-memory killer.
    pub oom_score_adj: Option<i32>,
    /// The parts of the root file system; the first is `/`.
    pub trees: Vec<Tree>,
    /// Mounts made outside and handed in, by their index.
    pub sources: Vec<Source>,
    /// What the child does, in order.
    pub steps: Vec<Step>,
    /// Network devices of the host that move in: name there, name inside.
    pub net_devices: Vec<(String, String)>,
    /// Standard streams are a terminal.
    pub terminal: bool,
    /// Who owns the standard streams, as the host sees it.
    pub owner: (u32, u32),
}

/// A further program for a container that runs, resolved.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The paths to try, in order.
    pub candidates: Vec<String>,
    /// Arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Working directory.
    pub workdir: PathBuf,
    /// User, group, supplementary groups.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// What can ever be had.
    pub bounding: CapabilitySet,
    /// What counts.
    pub effective: CapabilitySet,
    /// What can be made to count.
    pub permitted: CapabilitySet,
    /// What execve may keep.
    pub inheritable: CapabilitySet,
    /// What execve keeps.
    pub ambient: CapabilitySet,
    /// File mode creation mask.
    pub umask: u32,
    /// The supplementary groups stay as they are.
    pub keep_groups: bool,
    /// Descriptors from 3 on that it inherits.
    pub inherits: u32,
    /// Lines and columns of the terminal.
    pub size: Option<(u16, u16)>,
    /// Score adjustment of the out-of-memory killer.
    pub oom_score_adj: Option<i32>,
    /// How it is scheduled.
    pub scheduler: Option<Scheduler>,
    /// Class and priority of its I/O.
    pub io_priority: Option<u32>,
    /// As personality(2) takes it.
    pub personality: Option<u32>,
    /// Mode and nodes, as set_mempolicy(2) takes them.
    pub memory_policy: Option<(u32, Vec<u32>)>,
    /// Its processors before it is in the control group.
    pub affinity_before: Option<Vec<u32>>,
    /// Its processors from then on.
    pub affinity_after: Option<Vec<u32>>,
    /// No execve gains rights.
    pub no_new_privileges: bool,
    /// The system call filter.
    pub filter: Option<Program>,
    /// What Landlock refuses, and what of it is let through below `/dev`.
    pub landlock: Option<(u64, u64)>,
    /// A label: file below `/proc/self/attr`, value.
    pub label: Option<(&'static str, String)>,
    /// A terminal.
    pub tty: bool,
    /// Resource limits.
    pub limits: Vec<Limit>,
}

/// A namespace to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    /// Its kind.
    #[serde(serialize_with = "kind")]
    pub kind: NamespaceKind,
    /// Its file.
    pub path: PathBuf,
}

/// One line of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Map {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The control group and what is written to it.
#[derive(Debug, Clone, Serialize)]
pub struct Cgroup {
    /// Its name in every hierarchy.
    pub name: String,
    /// Somebody else makes it when the process is there: until then that waits.
    pub later: bool,
    /// Control files, in order.
    pub settings: Vec<Setting>,
    /// Device rules, where a program has to enforce them.
    pub devices: Vec<DeviceRule>,
}

/// A control file.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Setting(#[serde(serialize_with = "setting")] pub kernel::cgroup::Setting);

/// A device rule.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct DeviceRule(#[serde(serialize_with = "device_rule")] pub kernel::cgroup::DeviceRule);

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Name, e.g. `nofile`.
    pub name: String,
    /// Number.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// An overlay: read-only layers with a writable one on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Where inside: `/` or a directory below it.
    pub target: PathBuf,
    /// The layers, top first; shown with their ids shifted.
    pub lowers: Vec<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// The work directory that goes with it.
    pub work: PathBuf,
    /// It is thrown away: nothing has to reach the disk.
    pub volatile: bool,
}

/// A mount that is made outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// A file or directory of the host.
    Bind {
        /// Its path.
        path: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// Attributes to set (`kernel::types::attr`).
        set: u64,
        /// Attributes to clear.
        clear: u64,
        /// Attributes to set on it and all below it.
        set_below: u64,
        /// Attributes to clear on it and all below it.
        clear_below: u64,
        /// How ids are shifted.
        idmap: Idmap,
        /// `private`, `slave`, `shared` or `unbindable`.
        propagation: &'static str,
        /// The same for all below it; else for it alone.
        propagate_below: bool,
        /// A symbolic link of the host is made again inside, not followed.
        copy_link: bool,
        /// It is the root file system: a directory by its own name, which no symbolic link may have.
        root: bool,
    },
    /// A new tmpfs with a copy of what the root file system has at that place.
    CopyUp {
        /// The root file system.
        root: PathBuf,
        /// The place, inside.
        path: PathBuf,
        /// Parameters of the tmpfs.
        parameters: Vec<String>,
        /// Its attributes.
        attributes: u64,
    },
    /// A device node made for this: what the host calls it does not matter.
    Node {
        /// Character device, not block.
        character: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// Owner and group, as the host sees them.
        owner: (u32, u32),
    },
    /// A part of the container's own view of /proc and /sys, which the launcher serves.
    View {
        /// Its path in the view.
        path: PathBuf,
        /// A directory, not a file.
        directory: bool,
    },
    /// A device node of the host, verified.
    Device {
        /// Its path.
        path: PathBuf,
        /// Character device, not block.
        character: bool,
        /// Major number; `None` takes what is there.
        number: Option<(u32, u32)>,
    },
}

/// How the ids of a mount are shifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Idmap {
    /// Not at all.
    #[default]
    None,
    /// By the container's map.
    Container {
        /// With all below it.
        recursive: bool,
    },
    /// By its own.
    Own {
        /// User ids.
        uids: Vec<Map>,
        /// Group ids.
        gids: Vec<Map>,
        /// With all below it.
        recursive: bool,
    },
}

/// A program that runs at a certain moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Its path.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Milliseconds that it has; 0 for all the time.
    pub timeout_ms: u64,
    /// Which state it is told: `creating` or `created`.
    pub status: &'static str,
}

/// The parameters of sched_setattr(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19.
    pub nice: i32,
    /// 1 to 99 for the real-time policies.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Offset of a clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

/// A compiled system call filter.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Who decides on what the filter does not, if there is somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// Its instructions.
    #[serde(serialize_with = "instructions")]
    pub instructions: Vec<SockFilter>,
}

/// The path of a listener that is the launcher itself: no socket can have it.
pub const KEEPER: &str = "\0keeper";

/// Who is told of system calls that a filter leaves to a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its socket.
    pub path: PathBuf,
    /// What it is told with the descriptor.
    pub metadata: String,
}

impl Listener {
    /// Is it the launcher itself?
    #[must_use]
    pub fn is_keeper(&self) -> bool {
        self.path.as_os_str() == KEEPER
    }
}

/// One thing that the child does.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Dies with the keeper.
    DieWithParent,
    /// Becomes user and group 0 of its user namespace.
    BecomeRoot,
    /// Puts itself into the version 1 groups.
    JoinGroups,
    /// Makes its place the root of its view of the control groups.
    UnshareCgroup,
    /// Sets the clocks of a new time namespace and enters it.
    TimeOffsets {
        /// The clocks.
        offsets: Vec<TimeOffset>,
    },
    /// Leaves the session keyring.
    NewKeyring,
    /// Sets the host name.
    Hostname {
        /// The name.
        name: String,
    },
    /// Sets the NIS domain name.
    Domainname {
        /// The name.
        name: String,
    },
    /// Brings the loopback device up.
    LoopbackUp,
    /// Cuts its mounts off from the host's: `private` both ways, `slave` still hears of them.
    CutMounts {
        /// `private`, `slave` or `shared`.
        propagation: &'static str,
    },
    /// Attaches the root and stands in it.
    AttachRoot,
    /// Attaches a mount that was made outside as the root, and stands in it.
    AttachRootSource {
        /// The index of the source.
        source: usize,
    },
    /// Attaches a further part of the root file system.
    AttachTree {
        /// Its index.
        tree: usize,
        /// Where.
        target: PathBuf,
    },
    /// Mounts a new file system.
    Mount {
        /// Where.
        target: PathBuf,
        /// Its type.
        kind: String,
        /// Its parameters, `key` or `key=value`.
        parameters: Vec<String>,
        /// Its attributes.
        attributes: u64,
        /// The place must not be reached through a symbolic link.
        strict: bool,
        /// How it propagates, when that was said.
        #[serde(skip_serializing_if = "Option::is_none")]
        propagation: Option<&'static str>,
    },
    /// Changes the attributes of what is mounted there.
    Remount {
        /// Where.
        target: PathBuf,
        /// Attributes to set.
        set: u64,
        /// Attributes to clear.
        clear: u64,
    },
    /// Makes a device node or FIFO.
    Node {
        /// Where.
        target: PathBuf,
        /// Its type and mode.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// Owner inside.
        uid: u32,
        /// Group inside.
        gid: u32,
    },
    /// Attaches a mount that was made outside.
    Attach {
        /// The index of the source.
        source: usize,
        /// Where; made when it is missing, as a file or directory like the source.
        target: PathBuf,
    },
    /// Makes a directory.
    Directory {
        /// Where.
        target: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Makes a symbolic link, unless something is there.
    Symlink {
        /// Where.
        target: PathBuf,
        /// To what.
        link: String,
    },
    /// Opens a terminal, gives its master to the keeper and shows it as the console.
    Terminal {
        /// The user that owns it.
        uid: u32,
        /// Lines and columns.
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<(u16, u16)>,
    },
    /// Waits until the launcher has run hooks of the host, or has moved network devices.
    Pause,
    /// Joins the network namespace that the launcher has made meanwhile, and brings the loopback device up in.
    JoinNetwork,
    /// Waits until the launcher has written the limits.
    Limited,
    /// Runs a hook.
    Hook {
        /// The hook.
        hook: Hook,
    },
    /// Looks for the program, so that one that is not there is told before `start`.
    Look {
        /// The paths to try, in order.
        candidates: Vec<String>,
    },
    /// Everything but the program is done: waits for `start`.
    Park,
    /// Sets how it is scheduled.
    Scheduler {
        /// The parameters.
        scheduler: Scheduler,
    },
    /// Sets how its I/O is scheduled.
    IoPriority {
        /// Class and priority, as ioprio_set(2) takes them.
        value: u32,
    },
    /// Sets which processors it runs on.
    Affinity {
        /// The processors.
        processors: Vec<u32>,
    },
    /// Sets how the kernel behaves towards it.
    Personality {
        /// As personality(2) takes it.
        value: u32,
    },
    /// Sets where its memory comes from.
    MemoryPolicy {
        /// Mode and flags, as set_mempolicy(2) takes them.
        mode: u32,
        /// The memory nodes.
        nodes: Vec<u32>,
    },
    /// Writes a kernel parameter.
    Sysctl {
        /// Its file below `/proc/sys`.
        file: PathBuf,
        /// Its value.
        value: String,
    },
    /// Shows nothing at these paths.
    Mask {
        /// Those that are missing are passed over.
        targets: Vec<PathBuf>,
    },
    /// Makes these paths read-only.
    ReadOnly {
        /// Those that are missing are passed over.
        targets: Vec<PathBuf>,
    },
    /// Makes the root read-only.
    RootReadOnly,
    /// Makes the root the root, and the host's unreachable.
    Pivot,
    /// The same without pivot_root(2), for a host that runs from an initramfs.
    MoveRoot,
    /// How the root propagates from now on.
    RootPropagation {
        /// `private`, `slave`, `shared` or `unbindable`.
        propagation: &'static str,
        /// With all below it.
        recursive: bool,
    },
    /// Stands in this directory, made when it is missing.
    WorkingDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// Takes a label of a security module at the next execve.
    Label {
        /// The file below `/proc/self/attr`.
        file: &'static str,
        /// What is written.
        value: String,
    },
    /// Gives up making device nodes and talking to those outside of `/dev`.
    Landlock {
        /// The rights that are handled.
        handled: u64,
        /// Those that are kept below `/dev`.
        dev: u64,
    },
    /// Closes every descriptor from this one on at the next execve.
    CloseOnExec {
        /// The first.
        first: u32,
    },
    /// Limits what can ever be had.
    BoundingSet {
        /// What is kept.
        #[serde(serialize_with = "capabilities")]
        keep: CapabilitySet,
    },
    /// What the standard streams are of belongs to a user.
    OwnStreams {
        /// The user, inside.
        uid: u32,
    },
    /// Becomes a user.
    Identity {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
        /// File mode creation mask.
        umask: u32,
        /// The supplementary groups stay as they are: this user may not change them.
        keep_groups: bool,
    },
    /// Sets the capabilities.
    Capabilities {
        /// What counts.
        #[serde(serialize_with = "capabilities")]
        effective: CapabilitySet,
        /// What can be made to count.
        #[serde(serialize_with = "capabilities")]
        permitted: CapabilitySet,
        /// What execve may keep.
        #[serde(serialize_with = "capabilities")]
        inheritable: CapabilitySet,
        /// What execve keeps.
        #[serde(serialize_with = "capabilities")]
        ambient: CapabilitySet,
    },
    /// No execve gains rights.
    NoNewPrivileges,
    /// Installs the system call filter.
    Seccomp {
        /// The filter.
        program: Program,
    },
    /// Puts a process 1 in front that reaps and passes on signals.
    Init,
    /// Runs the program.
    Execute {
        /// The paths to try, in order.
        candidates: Vec<String>,
        /// Arguments.
        arguments: Vec<String>,
        /// `NAME=value`.
        environment: Vec<String>,
    },
}

fn kind<S: Serializer>(kind: &NamespaceKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.file())
}

fn kinds<S: Serializer>(kinds: &[NamespaceKind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|kind| kind.file()))
}

fn capabilities<S: Serializer>(set: &CapabilitySet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(set.names())
}

fn setting<S: Serializer>(setting: &kernel::cgroup::Setting, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}={}", setting.controller, setting.file, setting.value))
}

fn device_rule<S: Serializer>(rule: &kernel::cgroup::DeviceRule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{} {}", if rule.allow { "allow" } else { "deny" }, rule.text()))
}

fn instructions<S: Serializer>(program: &[SockFilter], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(program.iter().map(|one| (one.code, one.jt, one.jf, one.k)))
}
