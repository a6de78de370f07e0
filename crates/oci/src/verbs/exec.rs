// SPDX-License-Identifier: Apache-2.0
//! `cella-oci exec`: runs a further program in a container that runs.

use std::path::PathBuf;

use kernel::cgroup::Group;
use lexopt::{Parser, ValueExt};
use plan::Facts;
use spec::oci;

use crate::arguments::{self, Global, number, switch, text, unknown};
use crate::console::Watch;
use crate::failure::{Failure, Result, log};
use crate::state::{Home, State, Status, root};
use crate::{bundle, container, filters};

/// What `exec` is told besides id and program.
#[derive(Debug, Default)]
struct Options {
    process: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    cwd: Option<String>,
    env: Vec<String>,
    tty: bool,
    user: Option<String>,
    additional_gids: Vec<u32>,
    detach: bool,
    process_label: Option<String>,
    apparmor: Option<String>,
    no_new_privs: bool,
    caps: Vec<String>,
    preserve_fds: u32,
    ignore_paused: bool,
    group: Option<String>,
}

/// A failure of `exec` itself has a code that a program's is not mistaken for, as runc has it.
pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    exec(global, words).map_err(|failure| Failure { code: 255, ..failure })
}

fn exec(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (id, arguments, options) = parse(global, words)?;
    container::check_descriptors(options.preserve_fds)?;
    let home = Home::of(global, &id)?;
    let state = home.existing()?;
    match home.status(&state) {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            return Err(Failure::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        Status::Stopped | Status::Creating => return Err(Failure::new("cannot exec in a stopped container")),
    }
    let mut spec = home.config()?;
    spec.process = process(&spec, arguments, &options)?;
    let joining = joining(global, &spec, &options)?;
    let group = group(&state, options.group.as_deref())?;
    let console = container::console(&spec, options.console_socket.as_deref(), options.detach)?;
    let watch = if options.detach { None } else { Some(Watch::new()?) };
    let listener = joining.filter.as_ref().and_then(|filter| filter.listener.as_ref()).map(|listener| {
        let state = state.told("running", state.pid);
        let told = serde_json::json!({
            "ociVersion": bundle::VERSION, "fds": ["seccompFd"], "pid": 0, "metadata": listener.metadata, "state": state,
        });
        (listener.path.clone(), told.to_string())
    });
    let ends = runtime::Ends { console, listener, ..runtime::Ends::default() };
    let joined = runtime::join(&joining, &state.process()?, state.pid, group.as_ref(), ends)
        .map_err(|failure| container::of_program(&spec.process, failure))?;
    if let Some(path) = &options.pid_file
        && let Err(failure) = container::write_pid(path, joined.pid())
    {
        kernel::process::signal(joined.pidfd(), 9).ok();
        return Err(failure);
    }
    let Some(watch) = watch else { return Ok(0) };
    let exit = watch.serve(joined.pidfd(), joined.terminal.as_ref())?;
    Ok(u8::try_from(exit.shell()).unwrap_or(255))
}

fn parse(global: &mut Global, words: &mut Parser) -> Result<(String, Vec<String>, Options)> {
    let mut options = Options::default();
    let mut id: Option<String> = None;
    loop {
        let name = match words.next()? {
            None => break,
            Some(lexopt::Arg::Value(word)) if id.is_none() => {
                id = Some(word.string()?);
                continue;
            }
            // The program: what follows are its words, whatever they look like.
            Some(lexopt::Arg::Value(word)) => {
                let mut arguments = vec![word.string()?];
                for word in words.raw_args()? {
                    arguments.push(word.string()?);
                }
                return Ok((id.unwrap_or_default(), arguments, options));
            }
            Some(lexopt::Arg::Long(name)) => name.to_owned(),
            Some(lexopt::Arg::Short(letter)) => letter.to_string(),
        };
        if !global.take(&name, words)? {
            option(&name, &mut options, words)?;
        }
    }
    let id = id.ok_or_else(|| Failure::new("the id of the container is missing"))?;
    if options.process.is_none() {
        return Err(Failure::new("the program is missing: name it, or give --process"));
    }
    Ok((id, Vec::new(), options))
}

fn option(name: &str, options: &mut Options, words: &mut Parser) -> Result<()> {
    match name {
        "process" | "p" => options.process = Some(words.value()?.into()),
        "console-socket" => options.console_socket = Some(words.value()?.into()),
        "pid-file" => options.pid_file = Some(words.value()?.into()),
        "cwd" => options.cwd = Some(text(words)?),
        "env" | "e" => options.env.push(text(words)?),
        "tty" | "t" => options.tty = switch(name, words)?,
        "user" | "u" => options.user = Some(text(words)?),
        "additional-gids" | "g" => options.additional_gids.push(number(name, words)?),
        "detach" | "d" => options.detach = switch(name, words)?,
        "process-label" => options.process_label = Some(text(words)?),
        "apparmor" => options.apparmor = Some(text(words)?),
        "no-new-privs" => options.no_new_privs = switch(name, words)?,
        "cap" | "c" => options.caps.push(text(words)?),
        "preserve-fds" => options.preserve_fds = number(name, words)?,
        "ignore-paused" => options.ignore_paused = switch(name, words)?,
        "cgroup" => options.group = Some(text(words)?),
        "no-subreaper" => drop(switch(name, words)?),
        _ => return unknown(name),
    }
    Ok(())
}

/// The process as the file says it, or the container's own with other words.
fn process(spec: &oci::Spec, arguments: Vec<String>, options: &Options) -> Result<oci::Process> {
    let mut process = match &options.process {
        Some(file) => {
            let mut process: oci::Process = bundle::parse(file, &bundle::read_limited(file)?)?;
            // What the specification leaves to the runtime is as at the container's start.
            process.scheduler = process.scheduler.or_else(|| spec.process.scheduler.clone());
            process.io_priority = process.io_priority.or_else(|| spec.process.io_priority.clone());
            process.exec_cpu_affinity = process.exec_cpu_affinity.or_else(|| spec.process.exec_cpu_affinity.clone());
            process.oom_score_adj = process.oom_score_adj.or(spec.process.oom_score_adj);
            process.apparmor_profile = process.apparmor_profile.or_else(|| spec.process.apparmor_profile.clone());
            process.selinux_label = process.selinux_label.or_else(|| spec.process.selinux_label.clone());
            if process.rlimits.is_empty() {
                process.rlimits.clone_from(&spec.process.rlimits);
            }
            process
        }
        None => oci::Process { args: arguments, terminal: false, console_size: None, ..spec.process.clone() },
    };
    if let Some(cwd) = &options.cwd {
        process.cwd.clone_from(cwd);
    }
    if process.cwd.is_empty() {
        "/".clone_into(&mut process.cwd);
    }
    process.env.extend(options.env.iter().cloned());
    process.terminal |= options.tty;
    if let Some(user) = &options.user {
        process.user = oci::User { umask: process.user.umask, ..user_of(user)? };
    }
    process.user.additional_gids.extend(&options.additional_gids);
    process.no_new_privileges |= options.no_new_privs;
    process.apparmor_profile = options.apparmor.clone().or(process.apparmor_profile);
    process.selinux_label = options.process_label.clone().or(process.selinux_label);
    let sets = &mut process.capabilities;
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        let missing: Vec<String> = options.caps.iter().filter(|cap| !set.contains(cap)).cloned().collect();
        set.extend(missing);
    }
    Ok(process)
}

fn user_of(text: &str) -> Result<oci::User> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let refuse = |text: &str| Failure::new(format!("--user: {text:?} is not a number that fits"));
    let id = |text: &str| arguments::decimal(text).ok_or_else(|| refuse(text));
    Ok(oci::User { uid: id(uid)?, gid: id(gid)?, ..oci::User::default() })
}

fn joining(global: &Global, spec: &oci::Spec, options: &Options) -> Result<plan::Joining> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let facts = Facts {
        apparmor: given(&spec.process.apparmor_profile) && kernel::probe::has_apparmor(),
        selinux: given(&spec.process.selinux_label) && kernel::probe::has_selinux(),
        ..Facts::default()
    };
    let filter = filters::program(spec, &filters::directory(&root(global)))?;
    let mut joining = plan::joining(spec, filter, &facts)?;
    joining.landlock = None;
    joining.inherits = options.preserve_fds;
    joining.keep_groups = crate::state::is_rootless(global) && spec.process.user.additional_gids.is_empty();
    if global.debug {
        log(global, "debug", &format!("exec {:?}", joining.arguments));
    }
    Ok(joining)
}

/// The container's group, or one below it.
fn group(state: &State, below: Option<&str>) -> Result<Option<Group>> {
    let Some(below) = below else { return state.group() };
    let below = below.trim_matches('/');
    if below.split('/').any(|part| matches!(part, "." | ".." | "")) && !below.is_empty() {
        return Err(Failure::new(format!("--cgroup {below:?}: it is not the path of a group")));
    }
    let name = state.group.as_ref().ok_or_else(|| Failure::new("--cgroup: the container has no control group"))?;
    let name = if below.is_empty() { name.clone() } else { format!("{name}/{below}") };
    let group = Group::new(kernel::cgroup::Layout::detect()?, &name);
    if group.exists() { Ok(Some(group)) } else { Err(Failure::new(format!("--cgroup: there is no group {name}"))) }
}
