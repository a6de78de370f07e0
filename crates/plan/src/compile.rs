// SPDX-License-Identifier: Apache-2.0
//! Compiles a runtime specification into a plan.

use std::path::{Path, PathBuf};

use kernel::cgroup::Setting;
use kernel::types::{IdMap, IdRange, NamespaceKind};
use spec::oci;

use crate::Error;
use crate::limits::{device_rules, limits};
use crate::step::{self, Cgroup, Facts, Hook, Idmap, Join, Map, Plan, Program, Source, Step, TimeOffset, Tree};
use crate::{device, mount, process};

/// The version of the plan's format.
const VERSION: u32 = 1;

/// What is wanted of a plan besides what the specification says.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The parts of the root file system of a container of ours; none for a bundle, which has a directory.
    pub trees: Vec<Tree>,
    /// The directory that paths of a bundle are relative to.
    pub bundle: Option<&'a Path>,
    /// A process 1 goes in front.
    pub init: bool,
    /// A whole system: when memory runs out, what has used it is killed, and not everything.
    pub system: bool,
    /// The root is not pivoted to but moved over the old one.
    pub no_pivot: bool,
    /// The session keyring stays.
    pub keep_keyring: bool,
    /// The program waits for `start`.
    pub park: bool,
    /// Somebody else makes the control group when the process is there.
    pub group_later: bool,
    /// Limits are written, and the network namespace is made, while the root is made: what needs them waits for them.
    pub limits_later: bool,
    /// Descriptors from 3 on that the program inherits.
    pub inherits: u32,
    /// The launcher is not root: device nodes are bound, and supplementary groups may be out of reach.
    pub rootless: bool,
    /// The filter, when it has been compiled before.
    pub filter: Option<Program>,
    /// Namespaces that are joined and are the launcher's own, so that what is set in them is the host's.
    pub shared: Vec<NamespaceKind>,
}

/// A plan in the making.
pub(crate) struct Builder<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) settings: Vec<Setting>,
    pub(crate) bundle: Option<&'a Path>,
    pub(crate) root: String,
    pub(crate) group: String,
    pub(crate) own_groups: bool,
    /// The SELinux label of new file systems.
    pub(crate) label: Option<String>,
    /// The network namespace is made by the launcher, and joined before the first thing that shows it.
    pub(crate) network_later: bool,
    steps: Vec<Step>,
    sources: Vec<Source>,
}

impl Builder<'_> {
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Joins the network namespace, unless that has been done.
    pub(crate) fn join_network(&mut self) {
        if std::mem::take(&mut self.network_later) {
            self.push(Step::JoinNetwork);
        }
    }

    /// Is there a moment at which the launcher is waited for, besides that at which it makes the group of a container of ours?
    pub(crate) fn pauses(&self, request: &Request<'_>) -> bool {
        let own = usize::from(request.group_later && request.bundle.is_none());
        self.steps.iter().filter(|step| matches!(step, Step::Pause)).count() > own
    }

    pub(crate) fn source(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }
}

/// The plan for `spec`, on a host with these `facts`.
///
/// # Errors
/// What the specification has wrong, or what the host lacks.
pub fn compile(spec: &oci::Spec, request: Request<'_>, facts: &Facts) -> Result<Plan, Error> {
    let (new, join) = namespaces(&spec.linux)?;
    let mut limits = limits(&spec.linux.resources)?;
    limits.oom_group = request.bundle.is_none() && !request.system && limits.memory.is_some();
    let mut rules = device_rules(&spec.linux.resources.devices)?;
    if request.bundle.is_some() && !rules.is_empty() {
        rules.extend(device::always_allowed());
    }
    let mut settings = kernel::cgroup::settings(&facts.cgroups, &limits, &rules)
        .map_err(|controller| Error::missing("limits", format!("{controller} controller")))?;
    if rules.is_empty() {
        settings.retain(|setting| setting.controller != "devices");
    }
    let group = cgroup_name(&spec.linux.cgroups_path)?;
    let mut builder = Builder {
        facts,
        settings,
        bundle: request.bundle,
        root: spec.root.path.clone(),
        group: group.clone(),
        own_groups: new.contains(&NamespaceKind::Cgroup),
        label: mount_label(spec, facts)?,
        network_later: false,
        steps: Vec::new(),
        sources: Vec::new(),
    };
    environment(&mut builder, spec, &request, &new, &join)?;
    root(&mut builder, spec, &request, &new, &join)?;
    process::steps(&mut builder, spec, &request, new.contains(&NamespaceKind::User) || joins_user(&join))?;
    let uid_map = maps("uidMappings", &spec.linux.uid_mappings)?;
    let gid_map = maps("gidMappings", &spec.linux.gid_mappings)?;
    let user = &spec.process.user;
    let owner = (outside(&uid_map, user.uid), outside(&gid_map, user.gid));
    let Builder { settings, steps, sources, .. } = builder;
    Ok(Plan {
        version: VERSION,
        new_namespaces: new,
        join_namespaces: join,
        uid_map,
        gid_map,
        cgroup: Cgroup {
            name: group,
            later: request.group_later,
            settings: settings.into_iter().map(step::Setting).collect(),
            devices: rules.into_iter().map(step::DeviceRule).collect(),
        },
        limits: process::limits(&spec.process.rlimits)?,
        oom_score_adj: oom_score(spec.process.oom_score_adj)?,
        trees: request.trees,
        sources,
        steps,
        net_devices: net_devices(&spec.linux)?,
        terminal: spec.process.terminal,
        owner,
    })
}

fn mount_label(spec: &oci::Spec, facts: &Facts) -> Result<Option<String>, Error> {
    match spec.linux.mount_label.clone().filter(|label| !label.is_empty()) {
        Some(label) if !facts.selinux => Err(Error::missing(format!("linux.mountLabel {label:?}"), "active SELinux")),
        label => Ok(label),
    }
}

fn oom_score(score: Option<i32>) -> Result<Option<i32>, Error> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::invalid("process.oomScoreAdj", format!("{score} is not from -1000 to 1000")))
        }
        score => Ok(score),
    }
}

/// The lines of a map that the kernel will take; none where there is none.
pub(crate) fn maps(what: &str, list: &[oci::IdMapping]) -> Result<Vec<Map>, Error> {
    let range = |one: &oci::IdMapping| IdRange { inside: one.container_id, outside: one.host_id, count: one.size };
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let map = IdMap::new(list.iter().map(range).collect()).map_err(|bad| Error::invalid(what, bad.to_string()))?;
    let line = |one: &IdRange| Map { inside: one.inside, outside: one.outside, count: one.count };
    Ok(map.ranges().iter().map(line).collect())
}

fn net_devices(linux: &oci::Linux) -> Result<Vec<(String, String)>, Error> {
    let fine = |name: &str| {
        let plain = !name.is_empty() && name.len() < 16 && name != "." && name != "..";
        plain
            && !name.contains(|letter: char| letter == '/' || letter == ':' || letter == '%' || letter.is_whitespace())
    };
    let own = |kind: &str| linux.namespaces.iter().any(|one| one.kind == kind);
    if !linux.net_devices.is_empty() && !own("network") {
        return Err(Error::invalid("netDevices", "they need a network namespace"));
    }
    let mut list: Vec<(String, String)> = Vec::new();
    for (outside, device) in &linux.net_devices {
        let inside = device.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| outside.clone());
        if let Some(wrong) = [outside, &inside].into_iter().find(|name| !fine(name)) {
            return Err(Error::invalid("netDevices", format!("{wrong:?} is not the name of a network device")));
        }
        if list.iter().any(|(_, other)| *other == inside) {
            return Err(Error::invalid("netDevices", format!("{inside:?} is there twice")));
        }
        list.push((outside.clone(), inside));
    }
    Ok(list)
}

/// The bind mounts that are to be added to a container that runs, with their places.
///
/// # Errors
/// What is not valid, or no bind mount.
pub fn mounts(list: &[oci::Mount], spec: &oci::Spec, bundle: &Path) -> Result<Vec<(Source, PathBuf)>, Error> {
    let facts = Facts::default();
    let mut builder = Builder {
        facts: &facts,
        settings: Vec::new(),
        bundle: Some(bundle),
        root: spec.root.path.clone(),
        group: String::new(),
        own_groups: true,
        label: None,
        network_later: false,
        steps: Vec::new(),
        sources: Vec::new(),
    };
    list.iter().try_for_each(|one| mount::steps(&mut builder, one))?;
    let mut sources = builder.sources.into_iter();
    let place = |step: Step| match step {
        Step::Attach { target, .. } => sources.next().map(|source| (source, target)),
        _ => None,
    };
    let found: Option<Vec<_>> = builder.steps.into_iter().map(place).collect();
    found.ok_or_else(|| Error::invalid("mounts", "only bind mounts can be added to a container that runs"))
}

/// The control files of these resources (without devices): what a change of limits writes.
///
/// # Errors
/// What is not valid, or the controller that this host does not have.
pub fn settings(resources: &oci::Resources, facts: &Facts) -> Result<Vec<Setting>, Error> {
    let mut list = kernel::cgroup::settings(&facts.cgroups, &limits(resources)?, &[])
        .map_err(|controller| Error::missing("limits", format!("{controller} controller")))?;
    list.retain(|setting| setting.controller != "devices");
    Ok(list)
}

fn joins_user(join: &[Join]) -> bool {
    join.iter().any(|join| join.kind == NamespaceKind::User)
}

fn outside(map: &[Map], inside: u32) -> u32 {
    let holds = |one: &&Map| inside >= one.inside && inside - one.inside < one.count;
    map.iter().find(holds).map_or(inside, |one| one.outside + (inside - one.inside))
}

fn cgroup_name(path: &str) -> Result<String, Error> {
    let name = path.trim_matches('/');
    let fine = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\n']);
    if !name.split('/').all(fine) {
        return Err(Error::invalid("cgroupsPath", format!("{path:?} is not the path of a group")));
    }
    Ok(name.to_owned())
}

fn namespaces(linux: &oci::Linux) -> Result<(Vec<NamespaceKind>, Vec<Join>), Error> {
    let (mut new, mut join) = (Vec::new(), Vec::new());
    for namespace in &linux.namespaces {
        let kind = match namespace.kind.as_str() {
            "user" => NamespaceKind::User,
            "cgroup" => NamespaceKind::Cgroup,
            "ipc" => NamespaceKind::Ipc,
            "uts" => NamespaceKind::Uts,
            "network" => NamespaceKind::Net,
            "pid" => NamespaceKind::Pid,
            "time" => NamespaceKind::Time,
            "mount" => NamespaceKind::Mount,
            other => return Err(Error::invalid("namespaces", format!("unknown type {other:?}"))),
        };
        if new.contains(&kind) || join.iter().any(|one: &Join| one.kind == kind) {
            return Err(Error::invalid("namespaces", format!("{kind} is there twice")));
        }
        match namespace.path.as_ref().filter(|path| !path.is_empty()) {
            None => new.push(kind),
            Some(path) => join.push(Join { kind, path: path.into() }),
        }
    }
    if !new.contains(&NamespaceKind::Mount) && !join.iter().any(|one: &Join| one.kind == NamespaceKind::Mount) {
        return Err(Error::invalid("namespaces", "a mount namespace is needed"));
    }
    let mapped = !linux.uid_mappings.is_empty() && !linux.gid_mappings.is_empty();
    if new.contains(&NamespaceKind::User) && !mapped {
        return Err(Error::invalid("namespaces", "a new user namespace needs uidMappings and gidMappings"));
    }
    let users = new.contains(&NamespaceKind::User) || joins_user(&join);
    if !users && (!linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty()) {
        return Err(Error::invalid("uidMappings", "they need a user namespace"));
    }
    new.sort();
    join.sort_by_key(|one| one.kind);
    Ok((new, join))
}

/// The steps before any mount: names, clocks, network, groups.
fn environment(
    builder: &mut Builder<'_>,
    spec: &oci::Spec,
    request: &Request<'_>,
    new: &[NamespaceKind],
    join: &[Join],
) -> Result<(), Error> {
    let has = |kind: NamespaceKind| new.contains(&kind) || join.iter().any(|one| one.kind == kind);
    let offsets = time_offsets(&spec.linux)?;
    if !offsets.is_empty() && !new.contains(&NamespaceKind::Time) {
        return Err(Error::invalid("timeOffsets", "they need a new time namespace"));
    }
    if new.contains(&NamespaceKind::Time) {
        // First of all: the file of the offsets belongs to the host's root, as long as this process can not be dumped.
        builder.push(Step::TimeOffsets { offsets });
    }
    if has(NamespaceKind::User) || request.bundle.is_none() {
        builder.push(Step::BecomeRoot);
    }
    if request.group_later {
        builder.push(Step::Pause);
    }
    builder.push(Step::JoinGroups);
    if new.contains(&NamespaceKind::Cgroup) {
        builder.push(Step::UnshareCgroup);
    }
    if !request.keep_keyring {
        builder.push(Step::NewKeyring);
    }
    process::scheduling(builder, spec)?;
    let names = [(&spec.hostname, true), (&spec.domainname, false)];
    for (name, is_host) in names.into_iter().filter_map(|(name, is_host)| name.clone().map(|name| (name, is_host))) {
        if name.is_empty() {
            continue;
        }
        if !has(NamespaceKind::Uts) {
            return Err(Error::invalid("hostname", "it needs a uts namespace"));
        }
        if name.len() > 64 || name.contains('\0') {
            return Err(Error::invalid("hostname", "it has more than 64 bytes, or a zero byte"));
        }
        builder.push(if is_host { Step::Hostname { name } } else { Step::Domainname { name } });
    }
    builder.network_later = network_later(spec, request, new);
    if new.contains(&NamespaceKind::Net) && !builder.network_later {
        builder.push(Step::LoopbackUp);
    }
    Ok(())
}

/// A network namespace takes the kernel as long as all mounts together: a launcher that need not stop for anybody makes it
/// at the same time. (One with a user namespace of its own has to be made by who is in that.)
fn network_later(spec: &oci::Spec, request: &Request<'_>, new: &[NamespaceKind]) -> bool {
    let hooks = &spec.hooks;
    let paused = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container];
    let pauses = paused.iter().any(|list| !list.is_empty()) || !spec.linux.net_devices.is_empty();
    let alone = new.contains(&NamespaceKind::Net) && !new.contains(&NamespaceKind::User);
    let joins = spec.linux.namespaces.iter().any(|one| one.path.as_ref().is_some_and(|path| !path.is_empty()));
    let pauses = pauses || request.group_later;
    request.limits_later && alone && !pauses && !joins && new.contains(&NamespaceKind::Mount)
}

fn time_offsets(linux: &oci::Linux) -> Result<Vec<TimeOffset>, Error> {
    let one = |(clock, offset): (&String, &oci::TimeOffset)| match clock.as_str() {
        "monotonic" | "boottime" => {
            Ok(TimeOffset { clock: clock.clone(), seconds: offset.secs, nanoseconds: offset.nanosecs })
        }
        other => Err(Error::invalid("timeOffsets", format!("unknown clock {other:?}"))),
    };
    linux.time_offsets.iter().map(one).collect()
}

/// The steps that make the root file system, up to the moment it is the root.
fn root(
    builder: &mut Builder<'_>,
    spec: &oci::Spec,
    request: &Request<'_>,
    new: &[NamespaceKind],
    join: &[Join],
) -> Result<(), Error> {
    if !new.contains(&NamespaceKind::Mount) {
        // The mounts of a namespace that is joined are as they are.
        builder.push(Step::AttachRoot);
        return Ok(());
    }
    let propagation = propagation_of(spec.linux.rootfs_propagation.as_deref())?;
    attach_root(builder, request, propagation)?;
    let mut late = Vec::new();
    for mount in &spec.mounts {
        if mount.kind == "sysfs" {
            builder.join_network();
        }
        // What is mounted read-only on /sys/fs/cgroup and the like comes where it stands in the list: order is kept.
        mount::steps(builder, mount)?;
        if mount.destination == "/dev" && request.bundle.is_none() {
            device::bound(builder, spec, &mut late)?;
        }
    }
    for step in late {
        builder.push(step);
    }
    builder.join_network();
    if request.bundle.is_some() {
        device::of_bundle(builder, spec, request, new, joins_user(join))?;
    }
    if spec.process.terminal {
        let size = spec.process.console_size.map(console_size).transpose()?;
        builder.push(Step::Terminal { uid: spec.process.user.uid, size });
    }
    let paused =
        [&spec.hooks.prestart, &spec.hooks.create_runtime, &spec.hooks.create_container, &spec.hooks.start_container];
    if paused.iter().any(|hooks| !hooks.is_empty()) || !spec.linux.net_devices.is_empty() {
        builder.push(Step::Pause);
    }
    for hook in hooks(&spec.hooks.create_container, "creating")? {
        builder.push(Step::Hook { hook });
    }
    sysctls(builder, spec, request, new, join)?;
    hide(builder, spec);
    if spec.root.readonly {
        builder.push(Step::RootReadOnly);
    }
    builder.push(if request.no_pivot { Step::MoveRoot } else { Step::Pivot });
    if let Some((propagation, recursive)) = propagation {
        builder.push(Step::RootPropagation { propagation, recursive });
    }
    Ok(())
}

fn attach_root(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    propagation: Option<(&'static str, bool)>,
) -> Result<(), Error> {
    match (request.bundle, request.trees.is_empty()) {
        (Some(bundle), true) => {
            if builder.root.is_empty() || builder.root.contains('\0') {
                return Err(Error::invalid("root.path", "it is empty"));
            }
            // A shared root would send what is mounted inside to the host: it starts as a slave and is shared later.
            let cut = match propagation {
                Some((to @ ("private" | "unbindable"), _)) => to,
                _ => "slave",
            };
            builder.push(Step::CutMounts { propagation: if cut == "unbindable" { "private" } else { cut } });
            let source = builder.source(Source::Bind {
                path: bundle.join(&builder.root),
                recursive: true,
                set: 0,
                clear: 0,
                set_below: 0,
                clear_below: 0,
                idmap: Idmap::None,
                propagation: if cut == "slave" { "slave" } else { "private" },
                propagate_below: true,
                copy_link: false,
                root: true,
            });
            builder.push(Step::AttachRootSource { source });
        }
        (None, false) => {
            builder.push(Step::CutMounts { propagation: "private" });
            builder.push(Step::AttachRoot);
            for (tree, part) in request.trees.iter().enumerate().skip(1) {
                builder.push(Step::AttachTree { tree, target: part.target.clone() });
            }
        }
        _ => return Err(Error::invalid("root", "there is none")),
    }
    Ok(())
}

fn propagation_of(word: Option<&str>) -> Result<Option<(&'static str, bool)>, Error> {
    let found = match word {
        None | Some("") => return Ok(None),
        Some(word) => mount::propagation(word),
    };
    found.map(Some).ok_or_else(|| Error::invalid("rootfsPropagation", format!("unknown value {word:?}")))
}

pub(crate) fn console_size(size: oci::ConsoleSize) -> Result<(u16, u16), Error> {
    let side = |value: u64| {
        u16::try_from(value).map_err(|_| Error::invalid("process.consoleSize", format!("{value} is too large")))
    };
    Ok((side(size.height)?, side(size.width)?))
}

/// Hooks that the child runs.
pub(crate) fn hooks(list: &[oci::Hook], status: &'static str) -> Result<Vec<Hook>, Error> {
    list.iter()
        .map(|hook| {
            if !hook.path.starts_with('/') || hook.path.contains('\0') {
                return Err(Error::invalid("hooks", format!("{:?} is not an absolute path", hook.path)));
            }
            let timeout = match hook.timeout {
                None => 0,
                Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(u64::MAX).saturating_mul(1000),
                Some(_) => return Err(Error::invalid("hooks", "a timeout is not above 0")),
            };
            let mut arguments = hook.args.clone();
            if arguments.is_empty() {
                arguments.push(hook.path.clone());
            }
            Ok(Hook { path: hook.path.clone(), arguments, environment: hook.env.clone(), timeout_ms: timeout, status })
        })
        .collect()
}

fn sysctls(
    builder: &mut Builder<'_>,
    spec: &oci::Spec,
    request: &Request<'_>,
    new: &[NamespaceKind],
    join: &[Join],
) -> Result<(), Error> {
    if !spec.linux.sysctl.is_empty() && !spec.mounts.iter().any(|mount| mount.destination == "/proc") {
        return Err(Error::invalid("sysctl", "it needs a mount on /proc"));
    }
    for (name, value) in &spec.linux.sysctl {
        let dotted = if name.contains('/') {
            name.replace('.', "\u{0}").replace('/', ".").replace('\u{0}', "/")
        } else {
            name.clone()
        };
        let Some(kind) = sysctl_namespace(&dotted) else {
            return Err(Error::invalid(
                format!("sysctl {name:?}"),
                "it is not of a namespace: it would change the host",
            ));
        };
        if !new.contains(&kind) && !join.iter().any(|one| one.kind == kind) || request.shared.contains(&kind) {
            return Err(Error::invalid(format!("sysctl {name:?}"), format!("it needs a {kind} namespace of its own")));
        }
        // Either `net.ipv4.x` or `net/ipv4/x`, where a dot is part of a name.
        let file = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        if value.contains(['\0', '\n'])
            || file.contains('\0')
            || file.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(Error::invalid(format!("sysctl {name:?}"), "malformed"));
        }
        builder.push(Step::Sysctl { file: file.into(), value: value.clone() });
    }
    Ok(())
}

/// Which namespace a kernel parameter belongs to; `None` for the host's own.
fn sysctl_namespace(name: &str) -> Option<NamespaceKind> {
    const IPC: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match name {
        _ if name.starts_with("net.") => Some(NamespaceKind::Net),
        _ if name.starts_with("fs.mqueue.") || IPC.contains(&name) => Some(NamespaceKind::Ipc),
        "kernel.domainname" | "kernel.hostname" => Some(NamespaceKind::Uts),
        _ => None,
    }
}

fn hide(builder: &mut Builder<'_>, spec: &oci::Spec) {
    let paths = |list: &[String]| list.iter().map(Into::into).collect::<Vec<_>>();
    let masked = paths(&spec.linux.masked_paths);
    if !masked.is_empty() {
        builder.push(Step::Mask { targets: masked });
    }
    let read_only = paths(&spec.linux.readonly_paths);
    if !read_only.is_empty() {
        builder.push(Step::ReadOnly { targets: read_only });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_the_kernel_would_refuse_is_refused() {
        let lines = |list: &[(u32, u32, u32)]| {
            let line = |(container_id, host_id, size): &(u32, u32, u32)| oci::IdMapping {
                container_id: *container_id,
                host_id: *host_id,
                size: *size,
            };
            maps("uidMappings", &list.iter().map(line).collect::<Vec<_>>())
        };
        assert_eq!(lines(&[]).map(|map| map.len()), Ok(0));
        assert_eq!(lines(&[(0, 1000, 1), (1, 100_000, 65_536)]).map(|map| map.len()), Ok(2));
        for (bad, reason) in [
            (&[(u32::MAX, 100_000, 65_536)][..], "4294967295:100000:65536 goes beyond the last id, 4294967294"),
            (&[(0, 1000, 0)], "0:1000:0 maps no id"),
            (&[(0, 1000, 2), (1, 5000, 1)], "0:1000:2 and 1:5000:1 overlap inside"),
        ] {
            assert_eq!(lines(bad), Err(Error::invalid("uidMappings", reason)));
        }
    }
}
