// SPDX-License-Identifier: Apache-2.0
//! The launcher's side: makes the child in its namespaces, gives it what it needs, and hears how it went.
//!
//! | child says | means |
//! |---|---|
//! | `T` + descriptor | the master of the terminal that it opened |
//! | `P` + pid | (from the one that joined namespaces) the id of the real child |
//! | `E` step, errno, call | this step failed; it has ended |
//! | end of file | execve happened: everything went well |

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kernel::cgroup::Group;
use kernel::process::{self, Forked};
use kernel::types::{IdRange, NamespaceKind, Propagation};
use kernel::{Errno, Error, Result, mount};
use plan::{Plan, Source};

use crate::child::Child;
use crate::overlay;

/// A program that has been started.
#[derive(Debug)]
pub struct Launched {
    /// The first process.
    pub child: process::Child,
    /// The master of its terminal, when it has one.
    pub terminal: Option<OwnedFd>,
    /// What could not be done and does no harm.
    pub warnings: Vec<String>,
}

/// Whose fault a failed launch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Ours or the host's.
    Own,
    /// The program is not there.
    NotFound,
    /// The program is there and can not be run.
    NotExecutable,
}

/// A launch that failed: the step and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault.
    pub kind: FailureKind,
    /// Step and call, as one line.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: FailureKind::Own, message: error.to_string() }
    }
}

/// What execve's errno means for the exit code.
pub(crate) fn exec_kind(errno: Errno) -> FailureKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FailureKind::NotFound,
        _ => FailureKind::NotExecutable,
    }
}

/// What the child tells when a step fails.
pub(crate) struct Report(Vec<u8>);

impl Report {
    const LONGEST_CALL: usize = 400;

    pub(crate) fn failed(step: u32, error: &Error) -> Self {
        let mut message = vec![b'E'];
        message.extend(step.to_le_bytes());
        message.extend(error.errno.raw_os_error().to_le_bytes());
        message.extend(error.call.bytes().take(Self::LONGEST_CALL));
        Self(message)
    }

    pub(crate) fn send(&self, channel: impl AsFd) {
        // When the launcher is gone there is nobody left to tell.
        kernel::socket::send(channel, &[&self.0], &[]).ok();
    }

    fn parse(message: &[u8], plan: &Plan) -> Failure {
        let word = |at: usize| message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
        let (step, errno) = (u32::from_le_bytes(word(1)), i32::from_le_bytes(word(5)));
        let call = String::from_utf8_lossy(message.get(9..).unwrap_or_default()).into_owned();
        let error = Error::new(call, Errno::from_raw_os_error(errno.clamp(1, 4095)));
        match plan.steps.get(step as usize) {
            Some(step @ plan::Step::Execute { .. }) => Failure {
                kind: exec_kind(error.errno),
                message: format!("{step}: {}", kernel::error::describe(error.errno)),
            },
            Some(step) => Failure { kind: FailureKind::Own, message: format!("{step}: {error}") },
            None => Failure { kind: FailureKind::Own, message: error.to_string() },
        }
    }
}

/// Starts what the plan says, with these standard streams (none where the plan has a terminal).
///
/// The group must exist; when the launch fails the child is gone, and the group is left to the caller.
///
/// # Errors
/// The step that failed, and why.
pub fn launch(plan: &Plan, group: &Group, streams: Option<[OwnedFd; 3]>) -> std::result::Result<Launched, Failure> {
    let entry = group.entry()?;
    let groups = group.join_files()?;
    let (ours, theirs) = kernel::socket::pair()?;
    let child = Child { plan, channel: theirs, groups, streams };
    let entry = entry.as_ref().map(AsFd::as_fd);
    let child = if plan.join_namespaces.is_empty() {
        spawn(plan, entry, child)?
    } else {
        spawn_joined(plan, entry, child, &ours)?
    };
    let equipped = equip(plan, &child, &ours).or_else(|error| match error.is(Errno::PIPE) {
        // It is gone already: what it said last is the reason.
        true => listen(plan, &ours).and(Err(error.into())),
        false => Err(Failure::from(error)),
    });
    match equipped.and_then(|warnings| Ok((warnings, listen(plan, &ours)?))) {
        Ok((warnings, terminal)) => Ok(Launched { child, terminal, warnings }),
        Err(failure) => {
            process::signal(&child.pidfd, 9).ok();
            process::wait(&child.pidfd).ok();
            Err(failure)
        }
    }
}

/// The namespaces that clone3 makes; the others need a step of their own inside.
fn clone_flags(plan: &Plan) -> u64 {
    let late = [NamespaceKind::Cgroup, NamespaceKind::Time];
    plan.new_namespaces.iter().filter(|kind| !late.contains(kind)).fold(0, |flags, kind| flags | kind.flag())
}

fn spawn(plan: &Plan, entry: Option<BorrowedFd<'_>>, child: Child<'_>) -> Result<process::Child> {
    match process::clone(clone_flags(plan), entry)? {
        Forked::Parent(process) => Ok(process),
        Forked::Child => run_child(child),
    }
}

fn run_child(child: Child<'_>) -> ! {
    let channel = child.channel.try_clone();
    let report = child.follow();
    if let Ok(channel) = channel {
        report.send(channel);
    }
    process::exit_now(125)
}

/// With namespaces to join, one process joins them and makes the child as its sibling: a child of ours.
fn spawn_joined(
    plan: &Plan,
    entry: Option<BorrowedFd<'_>>,
    child: Child<'_>,
    ours: &OwnedFd,
) -> std::result::Result<process::Child, Failure> {
    let files = plan
        .join_namespaces
        .iter()
        .map(|join| Ok((join.kind, kernel::namespace::open(&join.path)?)))
        .collect::<Result<Vec<_>>>()?;
    let helper = match process::clone(0, entry)? {
        Forked::Parent(helper) => helper,
        Forked::Child => {
            let result = join_and_clone(plan, files, child);
            let code = i32::from(result.is_err());
            process::exit_now(code)
        }
    };
    let mut buffer = [0; 512];
    let (length, mut descriptors) = kernel::socket::receive(ours, &mut buffer)?;
    process::wait(&helper.pidfd)?;
    let message = buffer.get(..length).unwrap_or_default();
    match (message.first(), descriptors.pop()) {
        (Some(b'P'), Some(pidfd)) => {
            let pid = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes);
            Ok(process::Child { pid: pid.unwrap_or(-1), pidfd })
        }
        (Some(b'E'), _) => Err(Report::parse(message, plan)),
        _ => Err(Error::new("join namespaces: the helper said nothing", Errno::PROTO).into()),
    }
}

/// Joins (the user namespace last: until then we have the rights to join the others), then clones.
fn join_and_clone(plan: &Plan, mut files: Vec<(NamespaceKind, OwnedFd)>, child: Child<'_>) -> Result<()> {
    process::set_undumpable()?;
    files.sort_by_key(|(kind, _)| *kind == NamespaceKind::User);
    let joined = files.iter().try_for_each(|(kind, file)| kernel::namespace::join(file, kind.flag()));
    let cloned = joined.and_then(|()| process::clone_sibling(clone_flags(plan)));
    match cloned {
        Ok(Forked::Child) => run_child(child),
        Ok(Forked::Parent(process)) => {
            kernel::socket::send(&child.channel, &[b"P", &process.pid.to_le_bytes()], &[process.pidfd.as_fd()])
        }
        Err(error) => {
            Report::failed(u32::MAX, &error).send(&child.channel);
            Err(error)
        }
    }
}

/// Gives the waiting child its ids, limits and mounts; says what could not be set and does no harm.
fn equip(plan: &Plan, child: &process::Child, channel: &OwnedFd) -> Result<Vec<String>> {
    if plan.new_namespaces.contains(&NamespaceKind::User) {
        let ranges = |list: &[plan::Map]| -> Vec<IdRange> {
            list.iter().map(|one| IdRange { inside: one.inside, outside: one.outside, count: one.count }).collect()
        };
        kernel::idmap::write(child.pid, &ranges(&plan.uid_map), &ranges(&plan.gid_map))?;
    }
    let warnings = set_limits(plan, child.pid);
    if let Some(score) = plan.oom_score_adj {
        let path = format!("/proc/{}/oom_score_adj", child.pid);
        kernel::idmap::write_file(path.as_ref(), score.to_string().as_bytes())?;
    }
    let userns = shifts(plan).then(|| kernel::namespace::open_of(child.pid, NamespaceKind::User)).transpose()?;
    let trees = plan.trees.iter().map(|tree| overlay::mount(tree, userns.as_ref()));
    let sources = plan.sources.iter().map(|source| make_source(source, userns.as_ref()));
    let mounts = trees.chain(sources).collect::<Result<Vec<_>>>()?;
    let borrowed: Vec<BorrowedFd<'_>> = mounts.iter().map(AsFd::as_fd).collect();
    kernel::socket::send(channel, &[b"G"], &borrowed)?;
    Ok(warnings)
}

/// Does the child see ids that are not the host's?
fn shifts(plan: &Plan) -> bool {
    let joined = plan.join_namespaces.iter().any(|join| join.kind == NamespaceKind::User);
    joined || plan.new_namespaces.contains(&NamespaceKind::User)
}

/// A limit above what this session may give is set as high as it goes.
fn set_limits(plan: &Plan, pid: i32) -> Vec<String> {
    let mut warnings = Vec::new();
    for limit in &plan.limits {
        let Err(error) = process::set_limit(pid, limit.resource, limit.soft, limit.hard) else { continue };
        let (_, highest) = process::limit(limit.resource).unwrap_or((limit.soft, limit.hard));
        let (soft, hard) = (limit.soft.min(highest), limit.hard.min(highest));
        warnings.push(match process::set_limit(pid, limit.resource, soft, hard) {
            Ok(()) => format!("limit {} is {soft}:{hard}: this session may not raise it further", limit.name),
            Err(_) => format!("limit {} is not set: {error}", limit.name),
        });
    }
    warnings
}

fn make_source(source: &Source, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    match source {
        Source::Node { character, major, minor, owner } => {
            // In a file system that nobody ever sees, gone with the node's last mount.
            let home = mount::new("tmpfs", &[mount::Parameter::Text("size", "4k")], 0)?;
            kernel::root::make_device(&home, "node", *character, (*major, *minor), *owner)?;
            mount::clone_at(&home, Path::new("node"), false)
        }
        Source::Device { path, character, number } => {
            let node = mount::clone(path, false)?;
            kernel::root::verify_device(&node, *character, *number)?;
            Ok(node)
        }
        Source::Bind { path, recursive, set, clear, idmap, propagation } => {
            let tree = mount::clone(path, *recursive)?;
            let depth = if *recursive { mount::Depth::Recursive } else { mount::Depth::One };
            let to = match *propagation {
                "slave" => Propagation::Slave,
                "shared" => Propagation::Shared,
                _ => Propagation::Private,
            };
            mount::set_propagation(&tree, to, depth)?;
            if *set | *clear != 0 {
                mount::set_attributes(&tree, *set, *clear, depth)?;
            }
            if let (true, Some(userns)) = (*idmap, userns) {
                mount::idmap(&tree, userns, depth)?;
            }
            Ok(tree)
        }
    }
}

/// Hears the child until it runs its program.
fn listen(plan: &Plan, channel: &OwnedFd) -> std::result::Result<Option<OwnedFd>, Failure> {
    let mut terminal = None;
    let mut buffer = [0; 512];
    loop {
        let (length, mut descriptors) = kernel::socket::receive(channel, &mut buffer)?;
        let message = buffer.get(..length).unwrap_or_default();
        match message.first() {
            None => return Ok(terminal),
            Some(b'T') => terminal = descriptors.pop(),
            Some(b'E') => return Err(Report::parse(message, plan)),
            Some(_) => return Err(Error::new("the child said something unknown", Errno::PROTO).into()),
        }
    }
}
