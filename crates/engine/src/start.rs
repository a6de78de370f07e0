// SPDX-License-Identifier: Apache-2.0
//! Starts a container: composes and compiles its plan, then leaves a keeper with it and hears how that went.

use std::os::fd::OwnedFd;
use std::path::Path;

use kernel::cgroup::{Group, Layout};
use kernel::lock::Lock;
use kernel::process::{self, Forked};
use kernel::types::attr;
use plan::{Facts, Plan};
use runtime::systemd::Property;
use runtime::{Answer, Connection, Exited, Failure, FailureKind, Finish, Keeper, Replan, Request};
use spec::definition::{Definition, Network, Share};
use spec::system::System;

use crate::compose::{self, Composed};
use crate::driver;
use crate::error::{Doing, Error, Kind, Result};
use crate::proc_view::Served;
use crate::processors;
use crate::record;
use crate::request::Attach;
use crate::seed;
use crate::session::{self, Session};
use crate::store::{Found, Store};

/// Bytes of one log file.
const LOG_LIMIT: u64 = 10 << 20;

/// Milliseconds from the stop signal to SIGKILL.
pub(crate) const STOP_TIMEOUT_MS: u64 = 10_000;

const SIGTERM: i32 = 15;

/// Milliseconds until it is killed.
pub(crate) fn stop_timeout(definition: &Definition) -> u64 {
    let default = if definition.system.is_some() { crate::system::STOP_TIMEOUT_MS } else { STOP_TIMEOUT_MS };
    definition.stop_timeout_ms.unwrap_or(default)
}

/// How long a keeper that is at its end may take.
const ENDING_MS: u64 = 30_000;

pub(crate) fn start(store: &Store, container: &str, attach: Attach) -> Result<Session> {
    let name = store.find(container)?.name;
    let lock = store.lock(&name)?;
    let found = store.find(name.as_str())?;
    store.mend(&found, &lock)?;
    // A container that was to be removed at its end is gone after the mending.
    let found = store.find(name.as_str())?;
    let run = store.run_directory(&found.record.id);
    if run.exists() {
        if store.state(&found)?.is_some() {
            return session::attach(store, name.as_str(), attach);
        }
        wait_for_end(&run)?;
    }
    launch(store, &found, attach).doing(|| format!("start {name}"))
}

/// The last keeper has told its end, and is clearing away.
fn wait_for_end(run: &Path) -> Result<()> {
    let deadline = kernel::time::monotonic_ms() + ENDING_MS;
    while runtime::is_kept(run)? {
        if kernel::time::monotonic_ms() > deadline {
            return Err(Error::new(Kind::Own, "its last keeper does not end").hint("cella rm -f removes it"));
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}

/// What the host has.
pub(crate) fn facts() -> Result<Facts> {
    let possible = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Facts {
        cgroups: Layout::detect()?,
        apparmor: kernel::probe::has_apparmor(),
        selinux: kernel::probe::has_selinux(),
        landlock: kernel::landlock::version(),
        possible_processors: u32::try_from(possible).unwrap_or(1),
    })
}

/// The plan of a specification on this host.
pub(crate) fn compile(composed: Composed, definition: &Definition, facts: &Facts) -> Result<Plan> {
    let request = plan::Request {
        trees: composed.trees,
        init: definition.init,
        system: definition.system.is_some(),
        // Its networks are attached while it makes its mounts; without one the keeper still hears where they would be.
        limits_later: crate::network::is_own(definition),
        group_later: driver::by_systemd(definition)?,
        ..plan::Request::default()
    };
    plan::compile(&composed.spec, request, facts).map_err(of_plan)
}

pub(crate) fn of_plan(error: plan::Error) -> Error {
    let hint = match &error {
        plan::Error::Missing { .. } => Some("cella doctor says what this host has".to_owned()),
        plan::Error::Invalid { .. } | plan::Error::Seccomp(_) => None,
    };
    Error { kind: Kind::Invalid, message: error.to_string(), hint }
}

/// A whole system divides a tree of version 2; where the host has mounted none, it gets one, which stays.
fn unify(store: &Store, definition: &Definition) -> Result<()> {
    if definition.system.is_none() || Layout::detect()?.unified.is_some() {
        return Ok(());
    }
    let place = store.place.run.join("cgroup2");
    kernel::file::make_directories(&store.place.run, 0o700)?;
    kernel::file::make_directory(&place, 0o700)?;
    let attributes = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let tree = kernel::mount::new("cgroup2", &[], attributes).doing(|| "mount control groups of version 2")?;
    Ok(kernel::mount::attach(&tree, kernel::root::open_directory_path(&place)?)?)
}

fn launch(store: &Store, found: &Found, attach: Attach) -> Result<Session> {
    let found = &processors::placed(store, found.clone())?;
    let definition = &found.record.definition;
    let (directory, run) = (store.directory(&found.name), store.run_directory(&found.record.id));
    unify(store, definition)?;
    let facts = facts()?;
    let composed = compose::compose(store, found, &directory, &run)?;
    let plan = compile(composed, definition, &facts)?;
    let networks = crate::network::prepare(store, found)?;
    let prepared = Prepared::make(store, found, &run, &networks.attachments);
    let prepared = prepared.inspect_err(|_| drop(kernel::file::remove_any(&run)))?;
    let resources = compose::resources(definition)?;
    let unit = driver::unit(&store.place, found, &resources, &facts.cgroups)?;
    let group = Group::new(facts.cgroups, &plan.cgroup.name);
    let (ours, theirs) = kernel::socket::pair()?;
    let connection = Connection::new(ours);
    if attach != Attach::None {
        connection.ask(&Request::Attach { input: attach == Attach::All && definition.interactive })?;
    }
    let signals = session::signals(attach)?;
    let wire = crate::network::Wiring::of(store, found, networks);
    let keeper = Keeper { wire, unit, ..keeper(store, found, plan, group, prepared, theirs)? };
    let child = match process::clone(0, None)? {
        Forked::Child => {
            drop((connection, signals));
            keeper.serve()
        }
        Forked::Parent(child) => child,
    };
    drop(keeper);
    let (pid, warnings) = hear(&connection, found).inspect_err(|_| {
        // It is at its end: all is cleared away when that is reached.
        process::wait(&child.pidfd).ok();
    })?;
    Ok(Session::new(found, connection, pid, warnings, attach, signals, Some(child)))
}

/// What a run needs before its keeper is there.
struct Prepared {
    run: OwnedFd,
    alive: OwnedFd,
}

impl Prepared {
    fn make(store: &Store, found: &Found, run: &Path, attachments: &[network::Attachment]) -> Result<Self> {
        kernel::file::make_directories(&store.place.run, 0o700)?;
        kernel::file::make_directory(run, 0o700)?;
        let alive = runtime::take_alive(run)?;
        match &found.record.definition.system {
            None => etc(store, found, &run.join("etc"), attachments)?,
            Some(system) => tell(store, found, system, run, attachments)?,
        }
        Ok(Self { run: kernel::root::open_directory_path(run)?, alive })
    }
}

fn keeper(
    store: &Store,
    found: &Found,
    plan: Plan,
    group: Group,
    prepared: Prepared,
    first: OwnedFd,
) -> Result<Keeper> {
    let definition = &found.record.definition;
    let of_image = found.record.config.stop_signal.as_deref().and_then(|signal| signal.parse().ok());
    let stop_signal = definition.stop_signal.or(of_image).map_or(SIGTERM, |signal: spec::signal::Signal| signal.0);
    Ok(Keeper {
        id: found.record.id.clone(),
        boot: kernel::procfs::boot_id()?,
        plan,
        group,
        run: prepared.run,
        alive: prepared.alive,
        directory: kernel::root::open_directory_path(&store.directory(&found.name))?,
        log_limit: definition.log_max_size.unwrap_or(LOG_LIMIT),
        interactive: definition.interactive,
        restart: definition.restart,
        stop_signal,
        stop_timeout_ms: stop_timeout(definition),
        system: found.record.ids.filter(|_| definition.system.is_some()).map(|ids| ids.base),
        by_protocol: definition.system.is_some() && definition.stop_signal.is_none(),
        events: store.events(),
        first,
        wire: None,
        unit: None,
        view: Some(Served::of(found)),
        replan: replan(store.clone(), found.clone()),
        finish: finish(store.clone(), found.clone()),
    })
}

/// Plans a further start of a container, as it is defined then.
fn replan(store: Store, found: Found) -> Replan {
    Box::new(move || {
        let again = || -> Result<(Plan, Vec<Property>)> {
            let found = processors::placed(&store, store.find_again(&found)?)?;
            let (directory, run) = (store.directory(&found.name), store.run_directory(&found.record.id));
            if let Some(system) = &found.record.definition.system {
                let attachments = crate::network::prepare(&store, &found)?.attachments;
                tell(&store, &found, system, &run, &attachments)?;
            }
            let (definition, facts) = (&found.record.definition, facts()?);
            let composed = compose::compose(&store, &found, &directory, &run)?;
            let properties = driver::properties(definition, &compose::resources(definition)?, &facts.cgroups);
            Ok((compile(composed, definition, &facts)?, properties))
        };
        again().map_err(|error| Failure { kind: FailureKind::Own, message: error.message })
    })
}

/// The keeper's last act: how it ended goes to the store, or the container goes from it.
fn finish(store: Store, found: Found) -> Finish {
    Box::new(move |exited: &Exited| {
        // It may have been renamed meanwhile.
        let Ok(found) = store.find_again(&found) else { return };
        let directory = store.directory(&found.name);
        // Nobody is there to be told when this fails; the next command finds the run half ended, and mends it.
        if found.record.definition.remove {
            if store.discard(&found.name, &found.record).is_ok() {
                store.events().append("remove", &found.record.id, found.name.as_str(), &[]).ok();
            }
        } else {
            record::write_last(&directory, exited, true).ok();
        }
    })
}

/// Hears of the start: the first process's id, and warnings.
fn hear(connection: &Connection, found: &Found) -> Result<(i32, Vec<String>)> {
    let mut warnings = Vec::new();
    loop {
        match connection.answer()? {
            Some(Answer::Started { pid }) => return Ok((pid, warnings)),
            Some(Answer::Warning(warning)) => warnings.push(warning),
            Some(Answer::Failed(failure)) => return Err(of_failure(failure)),
            Some(
                Answer::Output(..)
                | Answer::Exited { .. }
                | Answer::Done
                | Answer::Ready
                | Answer::Refused(_)
                | Answer::Network(_),
            ) => {}
            None => {
                let message = format!("the keeper of {} died", found.name);
                return Err(Error::new(Kind::Own, message).hint("cella doctor says what this host lacks"));
            }
        }
    }
}

pub(crate) fn of_failure(failure: Failure) -> Error {
    let (kind, hint) = match failure.kind {
        FailureKind::Own => (Kind::Own, None),
        FailureKind::NotFound => (Kind::NoProgram, Some("the program is looked for in the image's own PATH")),
        FailureKind::NotExecutable if failure.message.contains("EPERM") => (
            Kind::NotExecutable,
            Some("its file has capabilities that the container has not (getcap FILE); ping wants --cap-add NET_RAW"),
        ),
        FailureKind::NotExecutable => (Kind::NotExecutable, None),
    };
    let (message, told) = crate::network::heard(&failure.message);
    Error { kind, message, hint: told.or(hint.map(str::to_owned)) }
}

/// Tells a whole system of its host, and whom to ask for names.
fn tell(store: &Store, found: &Found, system: &System, run: &Path, attachments: &[network::Attachment]) -> Result<()> {
    let owner = found.record.ids.map_or(0, |ids| ids.base);
    let resolv = resolv(found, attachments);
    let servers = resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::to_owned);
    crate::system::write_host(&found.record, system, run, owner, &servers.collect::<Vec<_>>())?;
    let tree = compose::trees(&found.record, &store.directory(&found.name)).into_iter().next();
    let (Some(tree), Some(ids)) = (tree, found.record.ids) else { return Ok(()) };
    match seed::Files::of(&tree, ids)? {
        Some(files) => files.resolve(&resolv),
        None => Ok(()),
    }
}

/// What resolv.conf says for these devices.
fn resolv(found: &Found, attachments: &[network::Attachment]) -> String {
    let of_host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    match &found.record.definition.namespaces.network {
        Network::Host | Network::Path(_) => of_host,
        _ => crate::network::resolv(&found.record.definition, attachments, &of_host),
    }
}

/// Writes the files that name the container and its network, which are mounted over the image's.
fn etc(store: &Store, found: &Found, directory: &Path, attachments: &[network::Attachment]) -> Result<()> {
    let files = files(store, found, attachments)?;
    kernel::file::make_directory(directory, 0o700)?;
    let owner = found.record.ids.map_or(0, |ids| ids.base);
    for (name, text) in files {
        let path = directory.join(name);
        kernel::file::remove(&path)?;
        kernel::file::write_new(&path, &text, 0o644)?;
        kernel::file::set_owner(&path, owner, owner)?;
    }
    Ok(())
}

/// Writes what has changed of them with the networks of a container that runs: into the same files, which are mounted inside.
pub(crate) fn refresh_etc(store: &Store, found: &Found) -> Result<()> {
    if found.record.definition.system.is_some() {
        return refresh_system(store, found);
    }
    let directory = store.run_directory(&found.record.id).join("etc");
    if !directory.exists() {
        return Ok(());
    }
    let attachments = crate::network::prepare(store, found)?.attachments;
    for (name, text) in files(store, found, &attachments)? {
        kernel::file::overwrite(&directory.join(name), &text)?;
    }
    Ok(())
}

fn refresh_system(store: &Store, found: &Found) -> Result<()> {
    let (Some(ids), Some((_, pid))) = (found.record.ids, store.init(found)?) else { return Ok(()) };
    let attachments = crate::network::prepare(store, found)?.attachments;
    let text = resolv(found, &attachments);
    // With no more rights than its own root has: what its paths lead to is its own choice.
    kernel::process::as_owner(ids.base, ids.base, || match seed::Files::of_running(pid, ids)? {
        Some(files) => files.resolve(&text),
        None => Ok(()),
    })
}

fn files(store: &Store, found: &Found, attachments: &[network::Attachment]) -> Result<[(&'static str, Vec<u8>); 3]> {
    let definition = &found.record.definition;
    let hostname = match definition.namespaces.uts {
        Share::Private => compose::hostname(found),
        Share::Host | Share::Container(_) => kernel::probe::hostname(),
    };
    let of_host = |path: &str| std::fs::read(path).unwrap_or_default();
    let own = |addresses: &[std::net::IpAddr]| {
        let domain = definition.domainname.as_ref().map(|domain| format!("{hostname}.{domain} ")).unwrap_or_default();
        let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
        let alone = [std::net::IpAddr::from([127, 0, 1, 1])];
        for address in if addresses.is_empty() { &alone } else { addresses } {
            text.push_str(&format!("{address} {domain}{hostname}\n"));
        }
        for (name, address) in &definition.hosts {
            text.push_str(&format!("{address} {name}\n"));
        }
        text.into_bytes()
    };
    let host_resolv = of_host("/etc/resolv.conf");
    let resolv_of = |attachments: &[network::Attachment]| {
        crate::network::resolv(definition, attachments, &String::from_utf8_lossy(&host_resolv)).into_bytes()
    };
    let (hosts, resolv) = match &definition.namespaces.network {
        Network::Host => (of_host("/etc/hosts"), of_host("/etc/resolv.conf")),
        Network::Path(_) => (own(&[]), host_resolv),
        Network::Private | Network::None => (own(&crate::network::own_addresses(attachments)), resolv_of(attachments)),
        Network::Container(name) => {
            let theirs = store.run_directory(&store.find(name)?.record.id).join("etc");
            let read = |file: &str| std::fs::read(theirs.join(file)).unwrap_or_default();
            (read("hosts"), read("resolv.conf"))
        }
    };
    Ok([("hosts", hosts), ("hostname", format!("{hostname}\n").into_bytes()), ("resolv.conf", resolv)])
}

/// Holds the container's lock and its name while something is done to it.
pub(crate) fn locked(store: &Store, container: &str) -> Result<(Found, Lock)> {
    let name = store.find(container)?.name;
    let lock = store.lock(&name)?;
    let found = store.find(name.as_str())?;
    store.mend(&found, &lock)?;
    Ok((store.find(name.as_str())?, lock))
}
