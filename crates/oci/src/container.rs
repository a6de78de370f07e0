// SPDX-License-Identifier: Apache-2.0
//! Making a container of a bundle, and letting it go.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::cgroup::{Group, Layout};
use kernel::lock::Lock;
use plan::{Facts, Plan};
use runtime::Launched;
use spec::oci;

use crate::arguments::Global;
use crate::bundle::{self, Bundle};
use crate::failure::{Failure, Result, log};
use crate::group::{self, Place};
use crate::launch::Launch;
use crate::state::{self, Home, RESULT, START, State};
use crate::{filters, hooks, rdt};

/// What `create` and `run` are told besides the id.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) bundle: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) detach: bool,
    pub(crate) keep: bool,
}

/// A container that was made just now.
pub(crate) struct Created {
    pub(crate) home: Home,
    pub(crate) state: State,
    pub(crate) spec: oci::Spec,
    pub(crate) launched: Launched,
    /// Nobody else changes it while this is held.
    pub(crate) lock: Lock,
}

/// A plan with where its control group is to be.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) place: Place,
    pub(crate) layout: Layout,
}

/// Validates and resolves everything, without changing anything.
pub(crate) fn plan(global: &Global, id: &str, bundle: &mut Bundle, options: &Options, park: bool) -> Result<Planned> {
    let layout = Layout::detect()?;
    let rootless = state::is_rootless(global);
    let place = place(global, &mut bundle.spec, id, &layout, rootless)?;
    let process = &bundle.spec.process;
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let facts = Facts {
        cgroups: layout.clone(),
        apparmor: given(&process.apparmor_profile) && kernel::probe::has_apparmor(),
        selinux: (given(&process.selinux_label) || given(&bundle.spec.linux.mount_label))
            && kernel::probe::has_selinux(),
        landlock: 0,
        possible_processors: 0,
    };
    check_root(bundle)?;
    let filter = filters::program(&bundle.spec, &filters::directory(&state::root(global)))?;
    let request = plan::Request {
        bundle: Some(&bundle.path),
        no_pivot: options.no_pivot,
        keep_keyring: options.no_new_keyring,
        park,
        group_later: matches!(place, Place::Systemd(_)),
        limits_later: true,
        inherits: options.preserve_fds,
        rootless,
        filter,
        shared: shared(&bundle.spec),
        ..plan::Request::default()
    };
    let plan = plan::compile(&bundle.spec, request, &facts)?;
    Ok(Planned { plan, place, layout })
}

/// The root file system is a directory itself. A link to one could be made to lead elsewhere at any time.
fn check_root(bundle: &Bundle) -> Result<()> {
    let path = bundle.path.join(&bundle.spec.root.path);
    match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() => {
            Err(Failure::new(format!("root.path {}: it is a symbolic link", path.display())))
        }
        // What is missing is told when it is opened.
        _ => Ok(()),
    }
}

/// The namespaces that are joined and that we are in ourselves: what is set in them is set for the host.
fn shared(spec: &oci::Spec) -> Vec<kernel::types::NamespaceKind> {
    use kernel::types::NamespaceKind;
    use std::os::unix::fs::MetadataExt;
    let id = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let kinds = [NamespaceKind::Net, NamespaceKind::Ipc, NamespaceKind::Uts];
    let paths: Vec<_> = spec.linux.namespaces.iter().filter_map(|one| id(one.path.as_deref()?)).collect();
    kinds
        .into_iter()
        .filter(|kind| id(&format!("/proc/self/ns/{}", kind.file())).is_some_and(|own| paths.contains(&own)))
        .collect()
}

/// Puts the group's path into the specification, as the hierarchies have it.
fn place(global: &Global, spec: &mut oci::Spec, id: &str, layout: &Layout, rootless: bool) -> Result<Place> {
    let mut place = group::place(global, spec, id, layout)?;
    match &place {
        Place::Files(path) => {
            spec.linux.cgroups_path.clone_from(path);
            if rootless && !group::is_ours(layout, path.trim_start_matches('/')) {
                log(global, "warning", "no control group is delegated to this user: limits are not set");
                place = Place::None;
            }
        }
        Place::Systemd(scope) => {
            let slice = runtime::systemd::slice_path(&scope.slice).map_err(Failure::new)?;
            spec.linux.cgroups_path = format!("{slice}/{}", scope.unit);
        }
        Place::None => spec.linux.cgroups_path = format!("/{id}"),
    }
    if matches!(place, Place::None) {
        spec.linux.resources = oci::Resources::default();
    }
    Ok(place)
}

/// Makes the container. With `park`, its program waits for `start`; without, it runs.
pub(crate) fn create(global: &Global, id: &str, options: &Options, park: bool) -> Result<Created> {
    let home = Home::of(global, id)?;
    let mut bundle = bundle::read(&options.bundle, options.config.as_deref())?;
    let planned = plan(global, id, &mut bundle, options, park)?;
    let console = console(&bundle.spec, options.console_socket.as_deref(), options.detach)?;
    check_place(&planned)?;
    let lock = home.make()?;
    let made = home.directory().and_then(|directory| {
        let mut state = new_state(&home, &bundle, &planned);
        home.write(&directory, &state)?;
        home.keep_config(&bundle.text)?;
        let launched = make(global, &home, &directory, &bundle, &planned, &mut state, console, park)?;
        Ok((state, launched))
    });
    let (state, launched) = match made {
        Ok(made) => made,
        Err(failure) => {
            undo(global, &home, &bundle.spec);
            return Err(failure);
        }
    };
    for warning in &launched.warnings {
        log(global, "warning", warning);
    }
    if let Some(path) = &options.pid_file
        && let Err(failure) = write_pid(path, launched.child.pid)
    {
        kernel::process::signal(&launched.child.pidfd, 9).ok();
        undo(global, &home, &bundle.spec);
        return Err(failure);
    }
    Ok(Created { home, state, spec: bundle.spec, launched, lock })
}

/// A group that somebody else uses is never written down as ours: who clears up would end their processes.
fn check_place(planned: &Planned) -> Result<()> {
    let Place::Files(_) = &planned.place else { return Ok(()) };
    let name = &planned.plan.cgroup.name;
    match Group::new(planned.layout.clone(), name).refuses()? {
        Some(reason) => Err(Failure::new(format!("container's cgroup is {reason}: {name}"))),
        None => Ok(()),
    }
}

/// What the caller says it keeps open has to be open: one of ours would take its number and be let through. So this comes
/// before anything of ours is opened.
pub(crate) fn check_descriptors(count: u32) -> Result<()> {
    const MOST: u32 = 4096;
    if count > MOST {
        return Err(Failure::new(format!("--preserve-fds {count}: more than {MOST}")));
    }
    for number in 3..3_i32.saturating_add(count.cast_signed()) {
        if !kernel::file::is_open(number) {
            return Err(Failure::new(format!("--preserve-fds {count}: descriptor {number} is not open")));
        }
        kernel::file::keep_on_exec(number)?;
    }
    Ok(())
}

pub(crate) fn console(spec: &oci::Spec, socket: Option<&Path>, detach: bool) -> Result<Option<OwnedFd>> {
    match (spec.process.terminal, socket) {
        (false, Some(_)) => Err(Failure::new("--console-socket is for a process with a terminal")),
        (true, None) if detach => Err(Failure::new("a terminal of a detached process needs --console-socket")),
        (_, None) => Ok(None),
        (true, Some(path)) => Ok(Some(kernel::socket::connect_stream(path)?)),
    }
}

fn new_state(home: &Home, bundle: &Bundle, planned: &Planned) -> State {
    State {
        version: State::VERSION,
        id: home.id.clone(),
        pid: 0,
        start_time: 0,
        rootfs: bundle.path.join(&bundle.spec.root.path),
        bundle: bundle.path.clone(),
        created: spec::timestamp::format(kernel::time::now_ns()),
        owner: kernel::process::euid(),
        group: match planned.place {
            Place::None => None,
            Place::Files(_) | Place::Systemd(_) => Some(planned.plan.cgroup.name.clone()),
        },
        unit: match &planned.place {
            Place::Systemd(scope) => Some(scope.unit.clone()),
            Place::None | Place::Files(_) => None,
        },
        rdt: None,
        own_pids: planned.plan.new_namespaces.contains(&kernel::types::NamespaceKind::Pid),
        annotations: bundle.spec.annotations.clone(),
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one act, each used once")]
fn make(
    global: &Global,
    home: &Home,
    directory: &OwnedFd,
    bundle: &Bundle,
    planned: &Planned,
    state: &mut State,
    console: Option<OwnedFd>,
    park: bool,
) -> Result<Launched> {
    let group = state.group.as_ref().map(|name| Group::new(planned.layout.clone(), name));
    if let (Some(group), Place::Files(_)) = (&group, &planned.place) {
        if let Err(failure) = group::make(group) {
            if group.refuses()?.is_some() {
                // Somebody else was faster: it is theirs, and clearing up after us must not end what they run in it.
                state.group = None;
                home.write(directory, state)?;
            }
            return Err(failure);
        }
        // Version 1 has limits that are to be there before anybody joins.
        let waits = planned.plan.steps.iter().any(|step| matches!(step, plan::Step::Limited));
        if !waits || !planned.layout.legacy.is_empty() {
            group::limit(group, &planned.plan)?;
        }
    }
    let fifos = match park {
        true => Some([kernel::file::make_fifo(directory, START)?, kernel::file::make_fifo(directory, RESULT)?]),
        false => None,
    };
    let mut launch = Launch { global, home, directory, spec: &bundle.spec, planned, state, failure: None };
    let now = group.as_ref().filter(|_| matches!(planned.place, Place::Files(_)));
    let orders = runtime::Orders {
        console,
        park: fifos,
        mounts_inside: kernel::process::euid() != 0,
        company: Some(&mut launch),
        ..runtime::Orders::default()
    };
    let done = runtime::launch(&planned.plan, now, orders);
    let failed = launch.failure.take();
    done.map_err(|failure| failed.unwrap_or_else(|| of_program(&bundle.spec.process, failure)))
}

/// What callers look for in the message when a program can not be run.
pub(crate) fn of_program(process: &oci::Process, failure: runtime::Failure) -> Failure {
    let program = process.args.first().map_or("", String::as_str);
    match failure.kind {
        runtime::FailureKind::NotFound if program.contains('/') => {
            Failure::new(format!("exec: {program:?}: stat {program}: no such file or directory"))
        }
        runtime::FailureKind::NotFound => {
            Failure::new(format!("exec: {program:?}: executable file not found in $PATH: no such file or directory"))
        }
        runtime::FailureKind::NotExecutable => {
            let reason = failure.message.rsplit_once(": ").map_or("", |(_, reason)| reason);
            // In the words of errno(3) alone, as callers know them: "EACCES (Permission denied)".
            let words =
                reason.split_once('(').and_then(|(_, words)| words.split_once(')')).map_or(reason, |(words, _)| words);
            Failure::new(format!("exec: {program:?}: {}", words.to_ascii_lowercase()))
        }
        runtime::FailureKind::Own => Failure::new(failure.message),
    }
}

/// Clears away what a creation that failed has made. The first reason is the one that counts: what fails here is logged.
fn undo(global: &Global, home: &Home, spec: &oci::Spec) {
    let state = home.read().ok().flatten();
    if let Some(state) = &state {
        clear(global, state).map_err(|failure| log(global, "warning", &failure.message)).ok();
        let told = state.told("stopped", 0).to_string();
        for failure in hooks::run_all("poststop", &spec.hooks.poststop, &told) {
            log(global, "warning", &failure.message);
        }
    }
    home.remove().map_err(|failure| log(global, "warning", &failure.message)).ok();
}

/// Lets go of everything that a container had but its directory.
pub(crate) fn clear(global: &Global, state: &State) -> Result<()> {
    let group = state.group()?;
    let gone = group::remove(global, group.as_ref(), state.unit.as_deref());
    let left = state.rdt.as_deref().map_or(Ok(()), rdt::leave);
    gone.and(left)
}

/// Deletes a container whose process has ended or is to end now; runs its last hooks.
pub(crate) fn delete(global: &Global, home: &Home, state: &State) -> Result<()> {
    let hooks = home.config().map(|config| config.hooks.poststop).unwrap_or_default();
    delete_with(global, home, state, &hooks)
}

/// The same for who knows the hooks.
pub(crate) fn delete_with(global: &Global, home: &Home, state: &State, hooks: &[oci::Hook]) -> Result<()> {
    if state.lives()
        && let Ok(process) = state.process()
    {
        kernel::process::signal(&process, 9).ok();
        kernel::event::wait(&[(process.as_fd(), kernel::event::Interest::Read)], Some(10_000))?;
    }
    // What could not be cleared away stays known, for another try.
    clear(global, state)?;
    home.remove()?;
    let told = state.told("stopped", 0).to_string();
    for failure in hooks::run_all("poststop", hooks, &told) {
        log(global, "warning", &failure.message);
    }
    Ok(())
}

/// Writes the id for callers that wait for the file: it is there as a whole or not at all.
pub(crate) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::new(format!("--pid-file {}: it has no name", path.display())))?;
    let directory = kernel::root::open_directory_path(parent)?;
    Ok(kernel::file::write_atomic(&directory, name, pid.to_string().as_bytes(), false)?)
}
