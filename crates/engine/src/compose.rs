// SPDX-License-Identifier: Apache-2.0
//! From a container's record to the runtime specification: all defaults of `docs/security.md` are decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plan::Tree;
use spec::definition::{Clock, Definition, Filter, Limits, Network, Share};
use spec::limits::IoKind;
use spec::mount::{Kind as MountKind, Mount};
use spec::oci;

use crate::error::{Error, Kind, Result};
use crate::ids::COUNT;
use crate::record::Record;
use crate::store::{Found, Store};
use crate::users::{Layers, User};
use crate::{proc_view, system};

/// What every container may do, unless it is told otherwise.
pub(crate) const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Hidden: they tell of the host, or of its other users.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kallsyms",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/fs/selinux",
    "/sys/kernel/security",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/config",
];

/// Not writable, even where the kernel would let root inside.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Processes and threads, where no other limit is asked for.
const PIDS: u64 = 2048;

/// Bytes of `/dev/shm`.
const SHM: u64 = 64 << 20;

/// Microseconds of the period that a processor limit is counted in.
const PERIOD: u64 = 100_000;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A specification, and what goes with it to be compiled.
pub(crate) struct Composed {
    pub(crate) spec: oci::Spec,
    pub(crate) trees: Vec<Tree>,
    pub(crate) user: User,
}

/// Composes the specification of a container whose directory is `directory` and whose runtime files are in `run`.
pub(crate) fn compose(store: &Store, found: &Found, directory: &Path, run: &Path) -> Result<Composed> {
    let (record, definition) = (&found.record, &found.record.definition);
    let trees = trees(record, directory);
    let user = user_of(record, &trees)?;
    let namespaces = namespaces(store, record)?;
    let capabilities = capabilities(definition, user.uid)?;
    let spec = oci::Spec {
        oci_version: "1.3.0".to_owned(),
        root: oci::Root { path: "/".to_owned(), readonly: definition.read_only },
        process: process(record, &user, &capabilities, found)?,
        hostname: own(&definition.namespaces.uts).then(|| hostname(found)),
        domainname: definition.domainname.clone(),
        mounts: mounts(store, found, run)?,
        annotations: definition.annotations.clone(),
        hooks: oci::Hooks::default(),
        linux: oci::Linux {
            cgroups_path: crate::driver::group_path(&store.place, found)?,
            ..linux(record, namespaces, &capabilities)?
        },
    };
    Ok(Composed { spec, trees, user })
}

fn own(share: &Share) -> bool {
    *share == Share::Private
}

pub(crate) fn hostname(found: &Found) -> String {
    found.record.definition.hostname.clone().unwrap_or_else(|| {
        let name: String = found.name.as_str().chars().map(|c| if c == '_' || c == '+' { '-' } else { c }).collect();
        name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
    })
}

pub(crate) fn trees(record: &Record, directory: &Path) -> Vec<Tree> {
    let numbered = |kind: &str, index: usize| directory.join(kind).join(index.to_string());
    record
        .trees
        .iter()
        .enumerate()
        .map(|(index, tree)| Tree {
            target: tree.target.clone(),
            lowers: tree.lowers.clone(),
            upper: numbered("upper", index),
            work: numbered("work", index),
            // What is mounted again, as a system that reboots is, has to be whole.
            volatile: record.definition.remove && record.definition.system.is_none(),
        })
        .collect()
}

/// The user whom the definition, or else the image, names.
pub(crate) fn user_of(record: &Record, trees: &[Tree]) -> Result<User> {
    let definition = &record.definition;
    if definition.system.is_some() && definition.user.is_none() {
        // Whatever its accounts say by now.
        return Ok(User { home: "/root".to_owned(), ..User::default() });
    }
    let of_image = record.config.user.clone();
    lookup(&definition.user.clone().or(of_image).unwrap_or_default(), trees)
}

pub(crate) fn lookup(text: &str, trees: &[Tree]) -> Result<User> {
    let layers: Vec<PathBuf> =
        trees.first().map_or_else(Vec::new, |tree| std::iter::once(&tree.upper).chain(&tree.lowers).cloned().collect());
    Layers::new(layers).user(text)
}

/// The capabilities of the container's own programs.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    /// What can ever be had.
    pub(crate) bounding: BTreeSet<String>,
    /// What counts for this user.
    pub(crate) effective: BTreeSet<String>,
}

pub(crate) fn capabilities(definition: &Definition, uid: u32) -> Result<Rights> {
    let all = || kernel::types::CAPABILITIES.iter().map(|name| (*name).to_owned());
    let security = &definition.security;
    let has = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut bounding: BTreeSet<String> = match (security.privileged || has(&security.cap_add), has(&security.cap_drop))
    {
        (true, _) => all().collect(),
        (false, true) => BTreeSet::new(),
        (false, false) if definition.system.is_some() => system::capabilities(),
        (false, false) => CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
    };
    let named = |list: &[String]| list.iter().filter(|name| *name != "ALL").cloned().collect::<Vec<_>>();
    for name in named(&security.cap_add).into_iter().chain(named(&security.cap_drop)) {
        if kernel::types::capability_number(&name).is_none() {
            return Err(Error::new(Kind::Invalid, format!("there is no capability {name}")));
        }
    }
    bounding.extend(named(&security.cap_add));
    for name in named(&security.cap_drop) {
        bounding.remove(&name);
    }
    // Only root gets them; another user can have them from files, unless no_new_privs is on.
    let effective = if uid == 0 { bounding.clone() } else { BTreeSet::new() };
    Ok(Rights { bounding, effective })
}

fn process(record: &Record, user: &User, rights: &Rights, found: &Found) -> Result<oci::Process> {
    let definition = &record.definition;
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    Ok(oci::Process {
        terminal: definition.tty,
        user: oci::User { uid: user.uid, gid: user.gid, umask: None, additional_gids: user.groups.clone() },
        args: arguments(record)?,
        env: environment(record, user, &hostname(found)),
        cwd: workdir(record),
        capabilities: oci::Capabilities {
            bounding: list(&rights.bounding),
            effective: list(&rights.effective),
            permitted: list(&rights.effective),
            inheritable: Vec::new(),
            ambient: Vec::new(),
        },
        rlimits: rlimits(definition),
        no_new_privileges: definition.security.no_new_privileges && !definition.security.privileged,
        apparmor_profile: definition.security.apparmor.clone(),
        selinux_label: definition.security.selinux.clone(),
        oom_score_adj: definition.oom_score_adj,
        ..oci::Process::default()
    })
}

/// Entry point and command, of the definition or else of the image; an entry point of one's own drops the image's command.
pub(crate) fn arguments(record: &Record) -> Result<Vec<String>> {
    let (definition, config) = (&record.definition, &record.config);
    if let Some(init) = &record.init {
        return Ok(vec![init.clone()]);
    }
    if definition.system.is_some() {
        return Ok(definition.command.clone());
    }
    let entrypoint = definition.entrypoint.clone().or_else(|| config.entrypoint.clone()).unwrap_or_default();
    let command = match (definition.command.is_empty(), &definition.entrypoint) {
        (false, _) => definition.command.clone(),
        (true, Some(_)) => Vec::new(),
        (true, None) => config.cmd.clone().unwrap_or_default(),
    };
    let arguments: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(
            Error::new(Kind::Invalid, "there is no command, and the image names none").hint("add one after the image")
        );
    }
    Ok(arguments)
}

pub(crate) fn workdir(record: &Record) -> String {
    if record.definition.system.is_some() {
        return record.definition.workdir.clone().unwrap_or_else(|| "/".to_owned());
    }
    let wanted = record.definition.workdir.clone().or_else(|| record.config.working_dir.clone());
    wanted.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned())
}

/// Defaults, then the image's variables, then the definition's: the last one of a name stays.
pub(crate) fn environment(record: &Record, user: &User, hostname: &str) -> Vec<String> {
    let home = if user.home.is_empty() { "/" } else { &user.home };
    let mut list =
        vec![PATH.to_owned(), format!("HOME={home}"), format!("HOSTNAME={hostname}"), "container=cella".to_owned()];
    if record.definition.tty {
        list.push("TERM=xterm".to_owned());
    }
    let own = record.definition.env.iter().map(|(name, value)| format!("{name}={value}"));
    list.extend(record.config.env.clone().unwrap_or_default().into_iter().chain(own));
    if record.definition.system.is_some() {
        // Last: what an image says of its container is not what it is told.
        list.extend(system::environment(record));
    }
    merge(list)
}

pub(crate) fn merge(list: Vec<String>) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(list.len());
    for variable in list {
        let name = variable.split('=').next().unwrap_or_default();
        match merged.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = variable,
            None => merged.push(variable),
        }
    }
    merged
}

/// Files 1024 soft and 524288 hard, 1048576 for a whole system (as far as this session may give); no core dumps of single
/// programs; then what was asked for.
fn rlimits(definition: &Definition) -> Vec<oci::Rlimit> {
    const NOFILE: u32 = 7;
    const MEMLOCK: u32 = 8;
    let wanted = if definition.system.is_some() { 1_048_576 } else { 524_288 };
    let hard = kernel::process::limit(NOFILE).map_or(wanted, |(_, hard)| hard.min(wanted));
    let mut limits: BTreeMap<&str, (u64, u64)> = BTreeMap::from([("nofile", (hard.min(1024), hard))]);
    if definition.system.is_none() {
        limits.insert("core", (0, 0));
    } else if let Ok((_, hard)) = kernel::process::limit(MEMLOCK) {
        let most = hard.min(64 << 20);
        limits.insert("memlock", (most, most));
    }
    limits.extend(definition.ulimits.iter().map(|one| (one.name.as_str(), (one.soft, one.hard))));
    let kind = |name: &str| format!("RLIMIT_{}", name.to_ascii_uppercase());
    limits.iter().map(|(name, (soft, hard))| oci::Rlimit { kind: kind(name), soft: *soft, hard: *hard }).collect()
}

fn namespaces(store: &Store, record: &Record) -> Result<Vec<oci::Namespace>> {
    let definition = &record.definition;
    let mut list = vec![oci::Namespace { kind: "mount".to_owned(), path: None }];
    let wanted = &definition.namespaces;
    let shares = [("pid", &wanted.pid), ("ipc", &wanted.ipc), ("uts", &wanted.uts), ("cgroup", &wanted.cgroup)];
    let mut owner = None;
    for (kind, share) in shares {
        match share {
            Share::Private => list.push(oci::Namespace { kind: kind.to_owned(), path: None }),
            Share::Host => {}
            Share::Container(name) => {
                let pid = running_pid(store, name)?;
                list.push(oci::Namespace { kind: kind.to_owned(), path: Some(format!("/proc/{pid}/ns/{kind}")) });
                owner = Some(pid);
            }
        }
    }
    match &wanted.network {
        Network::Private | Network::None => list.push(oci::Namespace { kind: "network".to_owned(), path: None }),
        Network::Host => {}
        Network::Container(name) => {
            let pid = running_pid(store, name)?;
            list.push(oci::Namespace { kind: "network".to_owned(), path: Some(format!("/proc/{pid}/ns/net")) });
            owner = Some(pid);
        }
        Network::Path(path) => list.push(oci::Namespace { kind: "network".to_owned(), path: Some(path.clone()) }),
    }
    match (&wanted.user, owner) {
        (Share::Host, _) => {}
        _ if record.ids.is_none() => {}
        // Who shares a namespace shares its owner too: otherwise it would have no rights over it.
        (_, Some(pid)) => {
            list.push(oci::Namespace { kind: "user".to_owned(), path: Some(format!("/proc/{pid}/ns/user")) })
        }
        (Share::Private, None) => list.push(oci::Namespace { kind: "user".to_owned(), path: None }),
        (Share::Container(name), None) => {
            let pid = running_pid(store, name)?;
            list.push(oci::Namespace { kind: "user".to_owned(), path: Some(format!("/proc/{pid}/ns/user")) });
        }
    }
    if !definition.time_offsets.is_empty() || proc_view::clocks(definition).is_some() {
        list.push(oci::Namespace { kind: "time".to_owned(), path: None });
    }
    Ok(list)
}

fn running_pid(store: &Store, name: &str) -> Result<i32> {
    let found = store.find(name)?;
    let state = store.state(&found)?;
    state.and_then(|state| state.pid).ok_or_else(|| {
        let message = format!("container {}, whose namespace is to be shared, is not running", found.name);
        Error::new(Kind::Conflict, message).hint(format!("cella start {}", found.name))
    })
}

pub(crate) fn mount(destination: &str, kind: &str, options: &[&str]) -> oci::Mount {
    oci::Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: kind.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..oci::Mount::default()
    }
}

fn bind(source: &str, destination: &str, options: &[&str]) -> oci::Mount {
    oci::Mount { source: source.to_owned(), ..mount(destination, "bind", options) }
}

fn mounts(store: &Store, found: &Found, run: &Path) -> Result<Vec<oci::Mount>> {
    let record = &found.record;
    let definition = &record.definition;
    let mut list = match definition.system.is_some() {
        true => system::mounts(definition, run),
        false => plain_mounts(record, run),
    };
    // Another one makes it when there is a process to be put into it.
    let later = crate::driver::by_systemd(definition)?;
    let group = if later { None } else { Some(store.group(found)?) };
    list.extend(proc_view::mounts(definition, group.as_ref()));
    with_own(store, definition, list)
}

/// Those of a container that is one program.
fn plain_mounts(record: &Record, run: &Path) -> Vec<oci::Mount> {
    let definition = &record.definition;
    let shares = &definition.namespaces;
    let privileged = definition.security.privileged;
    let plain = ["nosuid", "nodev", "noexec"];
    let mut list = vec![match shares.pid {
        // A proc can only be mounted by the owner of its process namespace.
        Share::Host if record.ids.is_some() => bind("/proc", "/proc", &["rbind", "nosuid", "nodev", "noexec"]),
        _ => mount("/proc", "proc", &plain),
    }];
    list.push(mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64m"]));
    list.push(mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]));
    let shm = format!("size={}", definition.shm_size.unwrap_or(SHM));
    match shares.ipc {
        Share::Host => {
            list.push(bind("/dev/shm", "/dev/shm", &["bind", "nosuid", "nodev", "noexec"]));
            // Not every host has its queues mounted.
            if Path::new("/dev/mqueue").exists() {
                list.push(bind("/dev/mqueue", "/dev/mqueue", &["bind", "nosuid", "nodev", "noexec"]));
            }
        }
        _ => {
            list.push(mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777", &shm]));
            list.push(mount("/dev/mqueue", "mqueue", &plain));
        }
    }
    let read_only = if privileged { "rw" } else { "ro" };
    list.push(match shares.network {
        // So can a sysfs only by the owner of its network namespace.
        Network::Host | Network::Path(_) if record.ids.is_some() => {
            bind("/sys", "/sys", &["rbind", "ro", "nosuid", "nodev", "noexec"])
        }
        _ => mount("/sys", "sysfs", &[read_only, "nosuid", "nodev", "noexec"]),
    });
    list.push(match own(&shares.cgroup) {
        true => mount("/sys/fs/cgroup", "cgroup", &[read_only, "nosuid", "nodev", "noexec"]),
        false => bind("/sys/fs/cgroup", "/sys/fs/cgroup", &["rbind", "ro", "nosuid", "nodev", "noexec"]),
    });
    for file in ["hosts", "hostname", "resolv.conf"] {
        let source = run.join("etc").join(file);
        list.push(bind(&source.to_string_lossy(), &format!("/etc/{file}"), &["bind", "nosuid", "nodev", "noexec"]));
    }
    list
}

/// The default mounts, and those that were asked for: on the same place in their stead.
fn with_own(store: &Store, definition: &Definition, mut list: Vec<oci::Mount>) -> Result<Vec<oci::Mount>> {
    let mut own: Vec<oci::Mount> = definition.mounts.iter().map(|own| asked(store, own)).collect::<Result<_>>()?;
    for default in &mut list {
        let same = |own: &oci::Mount| own.destination.trim_end_matches('/') == default.destination;
        // In the same place of the order: what is below it is mounted after it.
        if let Some(at) = own.iter().position(same) {
            *default = own.remove(at);
        }
    }
    list.extend(own);
    Ok(list)
}

/// A mount that was asked for; its volume is there, made when the container was.
fn asked(store: &Store, wanted: &Mount) -> Result<oci::Mount> {
    let mut options: Vec<String> = Vec::new();
    let mut set = |on: bool, option: &str| options.extend(on.then(|| option.to_owned()));
    set(wanted.read_only, "ro");
    set(!wanted.suid, "nosuid");
    set(!wanted.dev, "nodev");
    set(!wanted.exec, "noexec");
    let (kind, source) = match &wanted.kind {
        MountKind::Bind { source, recursive } => {
            set(*recursive, "rbind");
            set(wanted.idmap, "idmap");
            ("bind", source.clone())
        }
        MountKind::Volume { name } => {
            let name = name.as_ref().ok_or_else(|| Error::new(Kind::Own, "a volume has no name"))?;
            // A volume belongs to root inside, of whichever container uses it.
            set(true, "idmap");
            ("bind", store.volumes().join(name.as_str()).to_string_lossy().into_owned())
        }
        MountKind::Tmpfs { size, mode } => {
            options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            options.extend(size.map(|size| format!("size={size}")));
            ("tmpfs", "tmpfs".to_owned())
        }
    };
    options.extend(wanted.propagation.clone());
    let destination = wanted.target.clone();
    Ok(oci::Mount { destination, kind: kind.to_owned(), source, options, ..oci::Mount::default() })
}

fn linux(record: &Record, namespaces: Vec<oci::Namespace>, rights: &Rights) -> Result<oci::Linux> {
    let definition = &record.definition;
    let security = &definition.security;
    let user = namespaces.iter().find(|one| one.kind == "user");
    let map: Vec<oci::IdMapping> = record
        .ids
        .filter(|_| user.is_some())
        .map(|ids| oci::IdMapping { container_id: 0, host_id: ids.base, size: ids.count })
        .into_iter()
        .collect();
    let hide = !(security.privileged || security.unmask);
    let masked = if hide { masked_paths() } else { Vec::new() };
    // What belongs to the host is read-only for root of a user namespace anyway, and the rest is the system's own.
    let read_only = if hide && definition.system.is_none() {
        READ_ONLY.iter().map(|path| (*path).to_owned()).collect()
    } else {
        Vec::new()
    };
    Ok(oci::Linux {
        uid_mappings: map.clone(),
        gid_mappings: map,
        sysctl: sysctls(definition, record.ids.is_some()),
        resources: oci::Resources { devices: device_rules(definition)?, ..resources(definition)? },
        cgroups_path: String::new(),
        namespaces,
        devices: devices(definition)?,
        seccomp: seccomp(definition, rights)?,
        // What systemd mounts for its services reaches their own namespaces; outside nobody is a peer.
        rootfs_propagation: definition.system.as_ref().map(|_| "rshared".to_owned()),
        masked_paths: masked,
        readonly_paths: read_only,
        time_offsets: time_offsets(definition)?,
        ..oci::Linux::default()
    })
}

/// The fixed paths, and the thermal state of every processor that can ever be there.
fn masked_paths() -> Vec<String> {
    let thermal = possible_processors()
        .into_iter()
        .map(|number| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle"))
        .filter(|path| Path::new(path).exists());
    MASKED.iter().map(|path| (*path).to_owned()).chain(thermal).collect()
}

fn possible_processors() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((from.parse::<u32>().ok()?, to.parse::<u32>().ok()?)),
        None => part.parse::<u32>().ok().map(|number| (number, number)),
    };
    text.trim().split(',').filter_map(range).flat_map(|(from, to)| from..=to).collect()
}

fn seccomp(definition: &Definition, rights: &Rights) -> Result<Option<oci::seccomp::Filter>> {
    let profile = match &definition.security.seccomp {
        _ if definition.security.privileged => None,
        Filter::Unconfined => None,
        Filter::Profile(profile) => Some((**profile).clone()),
        Filter::Default => {
            let arch = plan::seccomp::Arch::native();
            let mut profile = match definition.system.is_some() {
                true => plan::seccomp::profile::system_profile(arch),
                false => plan::seccomp::profile::default_profile(&rights.bounding, arch),
            };
            proc_view::listen(definition, &mut profile);
            Some(profile)
        }
    };
    let filter = profile.as_ref().map(oci::seccomp::Filter::try_from).transpose();
    filter.map_err(|error| Error::new(Kind::Own, format!("seccomp: {error}")))
}

/// Ping without a raw socket and low ports without a capability, in a network namespace of its own; then what was asked.
fn sysctls(definition: &Definition, mapped: bool) -> BTreeMap<String, String> {
    let mut list = BTreeMap::new();
    let own_network = matches!(definition.namespaces.network, Network::Private | Network::None);
    if own_network {
        let last = if mapped { COUNT - 1 } else { i32::MAX.cast_unsigned() };
        list.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
    }
    if own_network && definition.system.is_none() {
        list.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    list.extend(definition.sysctls.clone());
    list
}

/// The limits of the control group: the process limit is there in any case, but inside a container whose own host has left it
/// nothing to limit with; what limits that container limits this one, too.
pub(crate) fn resources(definition: &Definition) -> Result<oci::Resources> {
    let limits = &definition.limits;
    let default = if definition.system.is_some() { system::PIDS } else { PIDS };
    let pids = limits.pids.or_else(|| can_limit_processes().then_some(default));
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    // Without a limit for both there is as much swap as memory, as docker has it.
    let swap = limits.memory_swap.or_else(|| limits.memory.filter(|memory| *memory != u64::MAX)?.checked_mul(2));
    Ok(oci::Resources {
        devices: Vec::new(),
        memory: oci::Memory {
            limit: limits.memory.map(number),
            swap: swap.map(number),
            reservation: limits.memory_reservation.map(number),
            ..oci::Memory::default()
        },
        cpu: oci::Cpu {
            shares: limits.cpu_shares,
            quota: limits.milli_cpus.map(|milli| if milli == u64::MAX { -1 } else { number(milli * PERIOD / 1000) }),
            period: limits.milli_cpus.map(|_| PERIOD),
            cpus: limits.cpuset_cpus.clone(),
            mems: limits.cpuset_mems.clone(),
            ..oci::Cpu::default()
        },
        pids: oci::Pids { limit: pids.map(number) },
        block_io: block_io(limits)?,
        hugepage_limits: limits
            .hugetlb
            .iter()
            .map(|(size, limit)| oci::HugepageLimit { page_size: size.clone(), limit: *limit })
            .collect(),
        unified: limits.files.clone(),
        ..oci::Resources::default()
    })
}

fn block_io(limits: &Limits) -> Result<oci::BlockIo> {
    let mut block = oci::BlockIo { weight: limits.blkio_weight, ..oci::BlockIo::default() };
    for one in &limits.io {
        let (character, major, minor) = number_of(&one.device)?;
        if character {
            return Err(Error::new(Kind::Invalid, format!("{} is no block device", one.device)));
        }
        let rate = oci::ThrottleDevice { major: major.into(), minor: minor.into(), rate: one.rate };
        match one.kind {
            IoKind::ReadBps => block.throttle_read_bps_device.push(rate),
            IoKind::WriteBps => block.throttle_write_bps_device.push(rate),
            IoKind::ReadIops => block.throttle_read_iops_device.push(rate),
            IoKind::WriteIops => block.throttle_write_iops_device.push(rate),
        }
    }
    Ok(block)
}

fn can_limit_processes() -> bool {
    kernel::namespace::is_initial_user() || kernel::cgroup::Layout::detect().is_ok_and(|layout| layout.has("pids"))
}

fn devices(definition: &Definition) -> Result<Vec<oci::Device>> {
    let mut list = Vec::new();
    for wanted in all_devices(definition)? {
        let (character, major, minor) = number_of(&wanted.source)?;
        let kind = if character { "c" } else { "b" }.to_owned();
        let (major, minor) = (major.into(), minor.into());
        list.push(oci::Device { kind, path: wanted.target, major, minor, ..oci::Device::default() });
    }
    Ok(list)
}

pub(crate) fn number_of(path: &str) -> Result<(bool, u32, u32)> {
    kernel::root::device_number(Path::new(path)).map_err(|error| {
        Error::new(Kind::Invalid, format!("device {path}: {error}")).hint("name a device node of this host below /dev")
    })
}

/// Those asked for; for a privileged container every node of the host.
fn all_devices(definition: &Definition) -> Result<Vec<spec::definition::Device>> {
    let mut list = definition.devices.clone();
    if definition.security.privileged {
        let defaults = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];
        for name in kernel::file::names(Path::new("/dev"))? {
            let path = format!("/dev/{name}");
            let known = defaults.contains(&name.as_str()) || list.iter().any(|one| one.target == path);
            let is_link = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            if !known && !is_link && kernel::root::device_number(Path::new(&path)).is_ok() {
                list.push(spec::definition::Device { source: path.clone(), target: path, access: "rwm".to_owned() });
            }
        }
    }
    Ok(list)
}

/// Nothing is allowed but the default nodes, terminals, and what was asked for.
pub(crate) fn device_rules(definition: &Definition) -> Result<Vec<oci::DeviceRule>> {
    let rule = |kind: &str, major: i64, minor: Option<i64>, access: &str| oci::DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major: Some(major),
        minor,
        access: Some(access.to_owned()),
    };
    if definition.security.privileged {
        let all = oci::DeviceRule { allow: true, kind: Some("a".to_owned()), major: None, minor: None, access: None };
        return Ok(vec![all]);
    }
    let mut list: Vec<oci::DeviceRule> =
        [3, 5, 7, 8, 9].into_iter().map(|minor| rule("c", 1, Some(minor), "rwm")).collect();
    list.extend([rule("c", 5, Some(0), "rwm"), rule("c", 5, Some(2), "rwm"), rule("c", 136, None, "rwm")]);
    for wanted in &definition.devices {
        let (character, major, minor) = number_of(&wanted.source)?;
        list.push(rule(if character { "c" } else { "b" }, major.into(), Some(minor.into()), &wanted.access));
    }
    Ok(list)
}

fn time_offsets(definition: &Definition) -> Result<BTreeMap<String, oci::TimeOffset>> {
    let own = definition.time_offsets.iter().map(|(clock, nanoseconds)| (*clock, *nanoseconds));
    let offsets = own.chain(proc_view::clocks(definition));
    Ok(offsets.map(|(clock, nanoseconds)| time_offset(clock, nanoseconds)).collect())
}

fn time_offset(clock: Clock, nanoseconds: i64) -> (String, oci::TimeOffset) {
    const SECOND: i64 = 1_000_000_000;
    let name = match clock {
        Clock::Monotonic => "monotonic",
        Clock::Boottime => "boottime",
    };
    let (secs, rest) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
    (name.to_owned(), oci::TimeOffset { secs, nanosecs: u32::try_from(rest).unwrap_or(0) })
}
