// SPDX-License-Identifier: Apache-2.0
//! Compiles a runtime specification into a plan.

use kernel::cgroup::{DeviceKind, DeviceRule, Limits, Setting, UNLIMITED};
use kernel::types::NamespaceKind;
use spec::oci;

use crate::Error;
use crate::mount;
use crate::process;
use crate::step::{self, Cgroup, Facts, Join, Map, Plan, Source, Step, TimeOffset, Tree};

/// The version of the plan's format.
const VERSION: u32 = 1;

/// The device nodes that every container has: path, major, minor.
const DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links in `/dev` that programs expect.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// A plan in the making.
pub(crate) struct Builder<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) settings: Vec<Setting>,
    steps: Vec<Step>,
    sources: Vec<Source>,
}

impl Builder<'_> {
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn source(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }
}

/// The plan for `spec` with the root file system made of `trees`, on a host with these `facts`.
///
/// # Errors
/// What the specification has wrong, or what the host lacks.
pub fn compile(spec: &oci::Spec, trees: Vec<Tree>, init: bool, facts: &Facts) -> Result<Plan, Error> {
    let (new, join) = namespaces(&spec.linux)?;
    let limits = limits(&spec.linux.resources)?;
    let rules = device_rules(&spec.linux.resources.devices)?;
    let settings = kernel::cgroup::settings(&facts.cgroups, &limits, &rules)
        .map_err(|controller| Error::missing("limits", format!("{controller} controller")))?;
    let mut builder = Builder { facts, settings, steps: Vec::new(), sources: Vec::new() };
    environment(&mut builder, spec, &new)?;
    root(&mut builder, spec, &trees, &new)?;
    process::steps(&mut builder, spec, init, new.contains(&NamespaceKind::User) || joins_user(&join))?;
    let map = |list: &[oci::IdMapping]| -> Vec<Map> {
        list.iter().map(|one| Map { inside: one.container_id, outside: one.host_id, count: one.size }).collect()
    };
    let (uid_map, gid_map) = (map(&spec.linux.uid_mappings), map(&spec.linux.gid_mappings));
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
            name: cgroup_name(&spec.linux.cgroups_path)?,
            settings: settings.into_iter().map(step::Setting).collect(),
            devices: rules.into_iter().map(step::DeviceRule).collect(),
        },
        limits: process::limits(&spec.process.rlimits)?,
        oom_score_adj: spec.process.oom_score_adj,
        trees,
        sources,
        steps,
        terminal: spec.process.terminal,
        owner,
    })
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
    let name = path.trim_start_matches('/');
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Error::invalid("cgroupsPath", format!("{path:?} is not the name of a group")));
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
        match &namespace.path {
            None => new.push(kind),
            Some(path) => join.push(Join { kind, path: path.into() }),
        }
    }
    if !new.contains(&NamespaceKind::Mount) {
        return Err(Error::invalid("namespaces", "a new mount namespace is needed"));
    }
    if new.contains(&NamespaceKind::User) && linux.uid_mappings.is_empty() {
        return Err(Error::invalid("namespaces", "a new user namespace needs an id map"));
    }
    new.sort();
    join.sort_by_key(|one| one.kind);
    Ok((new, join))
}

fn limits(resources: &oci::Resources) -> Result<Limits, Error> {
    let bytes = |what: &str, value: Option<i64>| match value {
        None => Ok(None),
        Some(-1) => Ok(Some(UNLIMITED)),
        Some(value) => u64::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid(format!("resources.{what}"), format!("{value} is negative"))),
    };
    let cpu = &resources.cpu;
    let period = cpu.period.unwrap_or(100_000);
    Ok(Limits {
        memory: bytes("memory.limit", resources.memory.limit)?,
        memory_swap: bytes("memory.swap", resources.memory.swap)?,
        memory_reservation: bytes("memory.reservation", resources.memory.reservation)?,
        cpu_quota: bytes("cpu.quota", cpu.quota)?.map(|quota| (quota, period)),
        cpu_shares: cpu.shares,
        cpuset_cpus: cpu.cpus.clone(),
        cpuset_mems: cpu.mems.clone(),
        pids: bytes("pids.limit", resources.pids.limit)?,
        blkio_weight: resources.block_io.weight,
        oom_group: resources.memory.limit.is_some(),
    })
}

fn device_rules(rules: &[oci::DeviceRule]) -> Result<Vec<DeviceRule>, Error> {
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid("resources.devices", format!("{value} is not a device number"))),
    };
    let kind = |kind: Option<&str>| match kind {
        None | Some("a" | "") => Ok(DeviceKind::Any),
        Some("c" | "u") => Ok(DeviceKind::Character),
        Some("b") => Ok(DeviceKind::Block),
        Some(other) => Err(Error::invalid("resources.devices", format!("unknown type {other:?}"))),
    };
    let access = |text: &str| {
        text.chars().try_fold(0, |bits, letter| match letter {
            'r' => Ok(bits | 1),
            'w' => Ok(bits | 2),
            'm' => Ok(bits | 4),
            other => Err(Error::invalid("resources.devices", format!("unknown access {other:?}"))),
        })
    };
    rules
        .iter()
        .map(|rule| {
            Ok(DeviceRule {
                allow: rule.allow,
                kind: kind(rule.kind.as_deref())?,
                major: number(rule.major)?,
                minor: number(rule.minor)?,
                access: access(rule.access.as_deref().unwrap_or("rwm"))?,
            })
        })
        .collect()
}

/// The steps before any mount: names, clocks, network, groups.
fn environment(builder: &mut Builder<'_>, spec: &oci::Spec, new: &[NamespaceKind]) -> Result<(), Error> {
    let offsets = time_offsets(&spec.linux)?;
    if !offsets.is_empty() && !new.contains(&NamespaceKind::Time) {
        return Err(Error::invalid("timeOffsets", "they need a new time namespace"));
    }
    if new.contains(&NamespaceKind::Time) {
        // First of all: the file of the offsets belongs to the host's root, as long as this process can not be dumped.
        builder.push(Step::TimeOffsets { offsets });
    }
    builder.push(Step::BecomeRoot);
    builder.push(Step::JoinGroups);
    if new.contains(&NamespaceKind::Cgroup) {
        builder.push(Step::UnshareCgroup);
    }
    builder.push(Step::NewKeyring);
    let names = [(&spec.hostname, true), (&spec.domainname, false)];
    for (name, is_host) in names.into_iter().filter_map(|(name, is_host)| name.clone().map(|name| (name, is_host))) {
        if !new.contains(&NamespaceKind::Uts) {
            return Err(Error::invalid("hostname", "it needs a new uts namespace"));
        }
        builder.push(if is_host { Step::Hostname { name } } else { Step::Domainname { name } });
    }
    if new.contains(&NamespaceKind::Net) {
        builder.push(Step::LoopbackUp);
    }
    Ok(())
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
fn root(builder: &mut Builder<'_>, spec: &oci::Spec, trees: &[Tree], new: &[NamespaceKind]) -> Result<(), Error> {
    if trees.is_empty() {
        return Err(Error::invalid("root", "there is none"));
    }
    builder.push(Step::PrivateMounts);
    builder.push(Step::AttachRoot);
    for (tree, part) in trees.iter().enumerate().skip(1) {
        builder.push(Step::AttachTree { tree, target: part.target.clone() });
    }
    let mut late = Vec::new();
    for mount in &spec.mounts {
        // What is mounted read-only on /sys/fs/cgroup and the like comes where it stands in the list: order is kept.
        mount::steps(builder, mount)?;
        if mount.destination == "/dev" {
            devices(builder, spec, &mut late)?;
        }
    }
    for step in late {
        builder.push(step);
    }
    if spec.process.terminal {
        builder.push(Step::Terminal { uid: spec.process.user.uid });
    }
    sysctls(builder, spec, new)?;
    hide(builder, spec);
    if spec.root.readonly {
        builder.push(Step::RootReadOnly);
    }
    builder.push(Step::Pivot);
    Ok(())
}

/// Nodes are bound from the host, never made; links are made.
fn devices(builder: &mut Builder<'_>, spec: &oci::Spec, late: &mut Vec<Step>) -> Result<(), Error> {
    for (path, major, minor) in DEVICES {
        let number = Some((*major, *minor));
        let source = builder.source(Source::Device { path: path.into(), character: true, number });
        builder.push(Step::Attach { source, target: path.into() });
    }
    for (path, link) in LINKS {
        builder.push(Step::Symlink { target: path.into(), link: (*link).to_owned() });
    }
    for device in &spec.linux.devices {
        let character = match device.kind.as_str() {
            "c" | "u" => true,
            "b" => false,
            other => return Err(Error::invalid("devices", format!("unknown type {other:?}"))),
        };
        let root = |map: &[oci::IdMapping]| map.iter().find(|one| one.container_id == 0).map_or(0, |one| one.host_id);
        let owner = (root(&spec.linux.uid_mappings), root(&spec.linux.gid_mappings));
        let source = builder.source(Source::Node { character, major: device.major, minor: device.minor, owner });
        late.push(Step::Attach { source, target: device.path.clone().into() });
    }
    Ok(())
}

fn sysctls(builder: &mut Builder<'_>, spec: &oci::Spec, new: &[NamespaceKind]) -> Result<(), Error> {
    for (name, value) in &spec.linux.sysctl {
        let Some(kind) = sysctl_namespace(name) else {
            return Err(Error::invalid(
                format!("sysctl {name:?}"),
                "it is not of a namespace: it would change the host",
            ));
        };
        if !new.contains(&kind) {
            return Err(Error::invalid(format!("sysctl {name:?}"), format!("it needs a {kind} namespace of its own")));
        }
        if value.contains(['\0', '\n']) || name.split('.').any(|part| part.is_empty() || part.contains('/')) {
            return Err(Error::invalid(format!("sysctl {name:?}"), "malformed"));
        }
        builder.push(Step::Sysctl { file: name.replace('.', "/").into(), value: value.clone() });
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
