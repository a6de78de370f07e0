// SPDX-License-Identifier: Apache-2.0
//! The last steps: labels, identity, capabilities, filter, execve.

use kernel::landlock::access;
use kernel::types::{CapabilitySet, SockFilter};
use spec::oci;

use crate::Error;
use crate::compile::{Builder, Request, hooks};
use crate::schedule;
use crate::seccomp::{self, Arch};
use crate::step::{Facts, Joining, Limit, Listener, Program, Step};

/// Needed to install a filter, or to restrict itself, without no_new_privs.
const CAP_SYS_ADMIN: u32 = 21;

pub(crate) fn steps(
    builder: &mut Builder<'_>,
    spec: &oci::Spec,
    request: &Request<'_>,
    own_users: bool,
) -> Result<(), Error> {
    let process = &spec.process;
    check_user(&process.user)?;
    let sets = Sets::of(&process.capabilities)?;
    let filter = match &request.filter {
        Some(compiled) => Some(compiled.clone()),
        None => filter(spec)?,
    };
    if let Some((file, value)) = label(builder.facts, process)? {
        builder.push(Step::Label { file, value });
    }
    if !process.cwd.starts_with('/') {
        return Err(Error::invalid("process.cwd", format!("{:?} is not an absolute path", process.cwd)));
    }
    builder.push(Step::WorkingDirectory { path: process.cwd.clone().into() });
    if request.bundle.is_none()
        && let Some((handled, dev)) = landlock(builder.facts, &sets, own_users)
    {
        builder.push(Step::Landlock { handled, dev });
    }
    if request.limits_later && !builder.pauses(request) {
        builder.push(Step::Limited);
    }
    // Before the filter, which may not know the call.
    builder.push(Step::CloseOnExec { first: 3 + request.inherits });
    if let (false, Some(program)) = (process.no_new_privileges, &filter) {
        builder.push(Step::Seccomp { program: program.clone() });
    }
    confine(builder, process, &sets, request);
    if request.park {
        builder.push(Step::Look { candidates: candidates(program(process)?, &process.env) });
    }
    let start_hooks = hooks(&spec.hooks.start_container, "created")?;
    let mut filter = filter.filter(|_| process.no_new_privileges);
    let listens = filter.as_ref().is_some_and(|filter| filter.listener.is_some());
    if (start_hooks.is_empty() || listens)
        && let Some(program) = filter.take()
    {
        builder.push(Step::Seccomp { program });
    }
    if request.park {
        builder.push(Step::Park);
    }
    for hook in start_hooks {
        builder.push(Step::Hook { hook });
    }
    // Hooks do what a filter may refuse.
    if let Some(program) = filter {
        builder.push(Step::Seccomp { program });
    }
    if request.init {
        builder.push(Step::Init);
    }
    execute(builder, process)
}

/// The highest number is none: setresuid(2) takes it for "as it was", which is root.
fn check_user(user: &oci::User) -> Result<(), Error> {
    let refuse = |what: &str, value: u32| {
        Err(Error::invalid(format!("process.user.{what}"), format!("{value} is out of range")))
    };
    for (what, id) in [("uid", user.uid), ("gid", user.gid)] {
        if id == u32::MAX {
            return refuse(what, id);
        }
    }
    if user.additional_gids.contains(&u32::MAX) {
        return refuse("additionalGids", u32::MAX);
    }
    match user.umask {
        Some(umask) if umask > 0o777 => refuse("umask", umask),
        _ => Ok(()),
    }
}

fn confine(builder: &mut Builder<'_>, process: &oci::Process, sets: &Sets, request: &Request<'_>) {
    builder.push(Step::BoundingSet { keep: sets.bounding });
    if request.bundle.is_some() && !process.terminal {
        builder.push(Step::OwnStreams { uid: process.user.uid });
    }
    builder.push(Step::Identity {
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        umask: process.user.umask.unwrap_or(0o022),
        keep_groups: request.rootless && process.user.additional_gids.is_empty(),
    });
    builder.push(Step::Capabilities {
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        ambient: sets.ambient,
    });
    if request.bundle.is_none() {
        builder.push(Step::DieWithParent);
    }
    if process.no_new_privileges {
        builder.push(Step::NoNewPrivileges);
    }
}

/// Scheduling, I/O priority, personality and memory policy: while the process has all rights.
pub(crate) fn scheduling(builder: &mut Builder<'_>, spec: &oci::Spec) -> Result<(), Error> {
    if let Some(scheduler) = &spec.process.scheduler {
        builder.push(Step::Scheduler { scheduler: schedule::scheduler(scheduler)? });
    }
    if let Some(priority) = &spec.process.io_priority {
        builder.push(Step::IoPriority { value: schedule::io_priority(priority)? });
    }
    if let Some(personality) = &spec.linux.personality {
        builder.push(Step::Personality { value: schedule::personality(personality)? });
    }
    if let Some(policy) = &spec.linux.memory_policy {
        let (mode, nodes) = schedule::memory_policy(policy)?;
        builder.push(Step::MemoryPolicy { mode, nodes });
    }
    Ok(())
}

/// Without a user namespace of its own nothing else keeps root inside from making device nodes where it can write.
fn landlock(facts: &Facts, sets: &Sets, own_users: bool) -> Option<(u64, u64)> {
    let wanted = !own_users && !sets.effective.has(CAP_SYS_ADMIN) && facts.landlock >= 5;
    wanted.then_some((access::MAKE_CHAR | access::MAKE_BLOCK | access::IOCTL_DEV, access::IOCTL_DEV))
}

/// What a further program gets in a container that runs, the same way as its first one; `compiled` is the filter, when it
/// has been compiled before.
///
/// # Errors
/// Why it can not be.
pub fn joining(spec: &oci::Spec, compiled: Option<Program>, facts: &Facts) -> Result<Joining, Error> {
    let process = &spec.process;
    check_user(&process.user)?;
    let sets = Sets::of(&process.capabilities)?;
    let own_users = spec.linux.namespaces.iter().any(|one| one.kind == "user");
    if !process.cwd.starts_with('/') {
        return Err(Error::invalid("process.cwd", format!("{:?} is not an absolute path", process.cwd)));
    }
    let program = program(process)?;
    Ok(Joining {
        candidates: candidates(program, &process.env),
        arguments: process.args.clone(),
        environment: process.env.clone(),
        workdir: process.cwd.clone().into(),
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        bounding: sets.bounding,
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        ambient: sets.ambient,
        umask: process.user.umask.unwrap_or(0o022),
        keep_groups: false,
        inherits: 0,
        size: process.console_size.map(crate::compile::console_size).transpose()?,
        oom_score_adj: process.oom_score_adj,
        scheduler: process.scheduler.as_ref().map(schedule::scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(schedule::io_priority).transpose()?,
        personality: spec.linux.personality.as_ref().map(schedule::personality).transpose()?,
        memory_policy: spec.linux.memory_policy.as_ref().map(schedule::memory_policy).transpose()?,
        affinity_before: affinity(process, |affinity| affinity.initial.as_ref())?,
        affinity_after: affinity(process, |affinity| affinity.last.as_ref())?,
        no_new_privileges: process.no_new_privileges,
        filter: match compiled {
            Some(compiled) => Some(compiled),
            None => filter(spec)?,
        },
        label: label(facts, process)?,
        landlock: landlock(facts, &sets, own_users),
        tty: process.terminal,
        limits: limits(&process.rlimits)?,
    })
}

fn affinity<'a>(
    process: &'a oci::Process,
    part: impl Fn(&'a oci::CpuAffinity) -> Option<&'a String>,
) -> Result<Option<Vec<u32>>, Error> {
    let text = process.exec_cpu_affinity.as_ref().and_then(part).filter(|text| !text.is_empty());
    text.map(|text| schedule::list("process.execCPUAffinity", text)).transpose()
}

struct Sets {
    bounding: CapabilitySet,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    ambient: CapabilitySet,
}

impl Sets {
    fn of(names: &oci::Capabilities) -> Result<Self, Error> {
        let sets = Self {
            bounding: capability_set(&names.bounding)?,
            effective: capability_set(&names.effective)?,
            permitted: capability_set(&names.permitted)?,
            inheritable: capability_set(&names.inheritable)?,
            ambient: capability_set(&names.ambient)?,
        };
        let within = |what: &str, set: CapabilitySet, of: CapabilitySet| match set.0 & !of.0 {
            0 => Ok(()),
            rest => {
                let names: Vec<_> = CapabilitySet(rest).names().collect();
                Err(Error::invalid(format!("capabilities.{what}"), format!("{} can not be had", names.join(" "))))
            }
        };
        within("effective", sets.effective, sets.permitted)?;
        within("ambient", sets.ambient, CapabilitySet(sets.permitted.0 & sets.inheritable.0))?;
        Ok(sets)
    }
}

/// The set of these names (`CAP_CHOWN` …).
///
/// # Errors
/// The name that is not a capability.
pub fn capability_set(names: &[String]) -> Result<CapabilitySet, Error> {
    CapabilitySet::from_names(names.iter().map(String::as_str))
        .map_err(|name| Error::invalid("capabilities", format!("there is no {name}")))
}

/// The filter that the specification asks for, compiled.
///
/// # Errors
/// What is wrong with it.
pub fn filter(spec: &oci::Spec) -> Result<Option<Program>, Error> {
    let Some(profile) = &spec.linux.seccomp else { return Ok(None) };
    let profile = profile.parse().map_err(|error| Error::invalid("linux.seccomp", error.to_string()))?;
    let compiled = seccomp::compile(&profile, Arch::native())?;
    let instructions = compiled
        .instructions
        .iter()
        .map(|one| SockFilter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    let notifies = profile.syscalls.iter().any(|rule| rule.action == oci::seccomp::Action::Notify);
    let listener = profile
        .listener_path
        .filter(|_| notifies)
        .map(|path| Listener { path: path.into(), metadata: profile.listener_metadata.unwrap_or_default() });
    Ok(Some(Program { flags: compiled.flags, listener, instructions }))
}

/// The file below `/proc/self/attr` and what is written to it before execve.
fn label(facts: &Facts, process: &oci::Process) -> Result<Option<(&'static str, String)>, Error> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (&given(&process.apparmor_profile), &given(&process.selinux_label)) {
        (Some(profile), _) if !facts.apparmor => {
            Err(Error::missing(format!("AppArmor profile {profile:?}"), "active AppArmor"))
        }
        (_, Some(label)) if !facts.selinux => Err(Error::missing(format!("SELinux label {label:?}"), "active SELinux")),
        (Some(_), Some(_)) => Err(Error::invalid("process", "it has an AppArmor profile and a SELinux label")),
        (Some(profile), None) => Ok(Some(("apparmor/exec", format!("exec {profile}")))),
        (None, Some(label)) => Ok(Some(("exec", label.clone()))),
        (None, None) => Ok(None),
    }
}

/// The program's word, when all that is handed to it can be.
fn program(process: &oci::Process) -> Result<&str, Error> {
    let program = process.args.first().filter(|program| !program.is_empty());
    let program = program.ok_or_else(|| Error::invalid("process.args", "there is no program"))?;
    if process.env.iter().any(|variable| variable.starts_with('=')) {
        return Err(Error::invalid("process.env", "a variable has no name"));
    }
    if process.args.iter().chain(&process.env).any(|text| text.contains('\0')) {
        return Err(Error::invalid("process", "an argument or variable has a zero byte"));
    }
    Ok(program)
}

fn execute(builder: &mut Builder<'_>, process: &oci::Process) -> Result<(), Error> {
    builder.push(Step::Execute {
        candidates: candidates(program(process)?, &process.env),
        arguments: process.args.clone(),
        environment: process.env.clone(),
    });
    Ok(())
}

/// The paths at which execvp(3) would look for the program.
pub(crate) fn candidates(program: &str, environment: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path.split(':')
        .map(|directory| match directory {
            "" => format!("./{program}"),
            directory => format!("{}/{program}", directory.trim_end_matches('/')),
        })
        .collect()
}

pub(crate) fn limits(list: &[oci::Rlimit]) -> Result<Vec<Limit>, Error> {
    list.iter()
        .enumerate()
        .map(|(at, one)| {
            if list.iter().take(at).any(|other| other.kind == one.kind) {
                return Err(Error::invalid("rlimits", format!("{} is there twice", one.kind)));
            }
            if one.soft > one.hard {
                return Err(Error::invalid("rlimits", format!("{}: the soft limit is above the hard one", one.kind)));
            }
            let name = one.kind.strip_prefix("RLIMIT_").unwrap_or(&one.kind).to_ascii_lowercase();
            let resource =
                limit_number(&name).ok_or_else(|| Error::invalid("rlimits", format!("there is no {name:?}")))?;
            Ok(Limit { name, resource, soft: one.soft, hard: one.hard })
        })
        .collect()
}

/// The number of a resource limit (`nofile`).
#[must_use]
pub fn limit_number(name: &str) -> Option<u32> {
    let at = spec::definition::ULIMITS.iter().position(|known| *known == name)?;
    u32::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_along_its_own_path() {
        let path = ["PATH=/a:/b/:".to_owned()];
        assert_eq!(candidates("sh", &path), ["/a/sh", "/b/sh", "./sh"]);
        assert_eq!(candidates("./sh", &path), ["./sh"]);
    }
}
