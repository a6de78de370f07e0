// SPDX-License-Identifier: Apache-2.0
//! The launcher's side: writes the program, starts the stub in its namespaces, gives it what it needs, and hears how it
//! went.
//!
//! | stub says | means | launcher answers |
//! |---|---|---|
//! | `P` + pid | (from the one that joined namespaces, or has made a user namespace) the id of the real child | ids, mounts |
//! | `S` | it waits before it changes its root | hooks run, network devices move, then `G` |
//! | `T` + descriptor | the master of the terminal that it opened | |
//! | `L` + number | its descriptor of a filter's listener | takes a copy, then `A` |
//! | `W` + resource | a limit that this session may not raise is as high as it goes | |
//! | `E` step, errno, call | this step failed; it has ended | |
//! | end of file | execve happened, or it is parked: everything went well | |

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kernel::cgroup::Group;
use kernel::process;
use kernel::types::{IdRange, NamespaceKind};
use kernel::{Errno, Error, Result};
use plan::{Plan, Step};

use crate::program::{self, Given, Made};
use crate::source;

/// A program that has been started.
#[derive(Debug)]
pub struct Launched {
    /// The first process.
    pub child: process::Child,
    /// The master of its terminal, when it has one.
    pub terminal: Option<OwnedFd>,
    /// What could not be done and does no harm.
    pub warnings: Vec<String>,
    /// Where system calls come that its filter leaves to us.
    pub listener: Option<OwnedFd>,
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
    /// Step and call, as one line; a second one when there is something that would help.
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

/// What the stub tells when a step fails.
pub(crate) fn parse_report(message: &[u8], steps: &[Step]) -> Failure {
    let word = |at: usize| message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
    let (step, errno) = (u32::from_le_bytes(word(1)), i32::from_le_bytes(word(5)));
    let call = String::from_utf8_lossy(message.get(9..).unwrap_or_default()).into_owned();
    let error = Error::new(call, Errno::from_raw_os_error(errno.clamp(1, 4095)));
    match steps.get(step as usize) {
        Some(step @ (Step::Execute { .. } | Step::Look { .. })) => Failure {
            kind: exec_kind(error.errno),
            message: format!("{step}: {}", kernel::error::describe(error.errno)),
        },
        Some(step) => Failure { kind: FailureKind::Own, message: format!("{step}: {error}") },
        None => Failure { kind: FailureKind::Own, message: error.to_string() },
    }
}

/// What a parked container said when its program could not be run.
#[must_use]
pub fn failure_of(message: &[u8]) -> Failure {
    let mut failure = parse_report(message, &[]);
    if message.get(9..).is_some_and(|call| call.starts_with(b"execve")) {
        let errno = message.get(5..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_le_bytes);
        failure.kind = exec_kind(Errno::from_raw_os_error(errno.clamp(1, 4095)));
    }
    failure
}

/// What the launcher is told besides the plan.
#[derive(Default)]
pub struct Orders<'a> {
    /// Standard streams; none where the plan has a terminal, or when they are ours.
    pub streams: Option<[OwnedFd; 3]>,
    /// The socket that gets the terminal's master, when it is not us.
    pub console: Option<OwnedFd>,
    /// What a created container waits for, and where it then reports.
    pub park: Option<[OwnedFd; 2]>,
    /// The stub makes the mounts of the host's files: we may not.
    pub mounts_inside: bool,
    /// The child dies with us.
    pub dies_with_us: bool,
    /// The parts of the container's own view of /proc and /sys that the plan names, detached.
    pub views: Vec<(std::path::PathBuf, OwnedFd)>,
    /// Takes part in the launch, when it is somebody else's container too.
    pub company: Option<&'a mut (dyn Company + 'a)>,
}

/// Who takes part in a launch.
pub trait Company {
    /// The process exists, and has not run anything of the container yet.
    ///
    /// # Errors
    /// What ends the launch.
    fn created(&mut self, pid: i32) -> std::result::Result<(), Failure>;

    /// The mounts are made, the root is not yet changed: the moment of hooks of the host.
    ///
    /// # Errors
    /// What ends the launch.
    fn paused(&mut self, pid: i32) -> std::result::Result<(), Failure>;

    /// Its own network namespace is there, and the process waits until this is done before it runs anything.
    ///
    /// # Errors
    /// What ends the launch.
    fn network(&mut self, _namespace: OwnedFd) -> std::result::Result<(), Failure> {
        Ok(())
    }

    /// The state, as hooks of the container are told it.
    fn state(&self, status: &str, pid: i32) -> String;

    /// Writes the maps of a user namespace, when we may not.
    ///
    /// # Errors
    /// What ends the launch.
    fn map_ids(&mut self, pid: i32, plan: &Plan) -> std::result::Result<(), Failure> {
        Ok(write_maps(pid, plan)?)
    }

    /// Whether a group of version 2 may be entered by clone3(2).
    fn enters_group(&self) -> bool {
        true
    }

    /// Limits are to be written now: the process is in its group, and waits for them before it runs anything.
    ///
    /// # Errors
    /// What ends the launch.
    fn limit(&mut self) -> std::result::Result<(), Failure>;

    /// Somebody else is to make the control group now, around the process.
    ///
    /// # Errors
    /// What ends the launch.
    fn make_group(&mut self, pid: i32) -> std::result::Result<(), Failure>;
}

/// The stub, which is built with us.
const STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cella-init"));

/// Starts the stub with this program; `fds` are what it inherits.
pub(crate) fn spawn_stub(
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<process::Child> {
    use std::os::fd::AsRawFd;
    let stub = kernel::spawn::sealed_program("cella-init", STUB)?;
    let program = kernel::spawn::memory_file("cella-plan", bytes)?;
    let number = std::ffi::CString::new(program.as_raw_fd().to_string()).unwrap_or_default();
    let mut fds = fds.to_vec();
    fds.push(program.as_fd());
    kernel::spawn::spawn(&stub, &number, &fds, flags, cgroup)
}

/// Starts what the plan says.
///
/// The group must exist; when the launch fails the child is gone, and the group is left to the caller.
///
/// # Errors
/// The step that failed, and why.
pub fn launch<'a>(
    plan: &'a Plan,
    group: Option<&Group>,
    mut orders: Orders<'a>,
) -> std::result::Result<Launched, Failure> {
    let entry = match (group, orders.company.as_ref().is_none_or(|company| company.enters_group())) {
        (Some(group), true) => group.entry()?,
        _ => None,
    };
    let groups = group.map(Group::join_files).transpose()?.unwrap_or_default();
    let (ours, theirs) = kernel::socket::pair()?;
    let (given, states) = give(plan, theirs, groups, &mut orders)?;
    let writer = program::write(plan, &given);
    let flags = if program::is_direct(plan) { program::clone_flags(plan, !given.groups.is_empty()) } else { 0 };
    let (bytes, fds) = writer.finish()?;
    let first = spawn_stub(&bytes, &fds, flags, entry.as_ref().map(AsFd::as_fd))?;
    drop(fds);
    let late = late_mounts(plan, &given);
    drop(given);
    let mut watch = Watch {
        plan,
        channel: ours,
        company: orders.company,
        states,
        late,
        grouped: false,
        terminal: None,
        warnings: Vec::new(),
        listener: None,
    };
    let (child, outcome) = if program::is_direct(plan) { (first, Ok(())) } else { watch.second(first)? };
    match outcome.and_then(|()| watch.listen(&child)) {
        Ok(()) => Ok(Launched { child, terminal: watch.terminal, warnings: watch.warnings, listener: watch.listener }),
        Err(failure) => {
            process::signal(&child.pidfd, 9).ok();
            process::wait(&child.pidfd).ok();
            Err(failure)
        }
    }
}

type States = Option<[OwnedFd; 2]>;

/// Opens and makes everything that the program will name. The copies of the states are ours to fill.
fn give(
    plan: &Plan,
    channel: OwnedFd,
    groups: Vec<OwnedFd>,
    orders: &mut Orders<'_>,
) -> std::result::Result<(Given, States), Failure> {
    let joins = plan
        .join_namespaces
        .iter()
        .map(|join| Ok((join.kind, kernel::namespace::open_kind(&join.path, join.kind)?)))
        .collect::<Result<Vec<_>>>()?;
    let users = joins.iter().find(|(kind, _)| *kind == NamespaceKind::User).map(|(_, file)| file);
    let waits = plan.new_namespaces.contains(&NamespaceKind::User);
    let trees = plan.trees.iter().map(|tree| source::tree(tree, users, waits)).collect::<Result<Vec<_>>>()?;
    let (mounts_inside, mut views) = (orders.mounts_inside, std::mem::take(&mut orders.views));
    let source = |one: &plan::Source| match (source::view(one, &mut views), mounts_inside) {
        (Some(view), _) => Ok(view),
        (None, true) => source::source_inside(one),
        (None, false) => source::source(one, users, waits),
    };
    let sources = plan.sources.iter().map(source).collect::<Result<Vec<_>>>()?;
    let masks = plan.steps.iter().any(|step| matches!(step, Step::Mask { .. }));
    let hooks = plan.steps.iter().any(|step| matches!(step, Step::Hook { .. }));
    let labels = plan.steps.iter().any(|step| matches!(step, Step::Label { .. }));
    let state = || kernel::spawn::memory_file("state", b"");
    let states = if hooks { Some([state()?, state()?]) } else { None };
    let ours = match &states {
        Some([one, other]) => Some([kernel::file::duplicate(one)?, kernel::file::duplicate(other)?]),
        None => None,
    };
    let (early_limits, late_limits) = split_limits(&plan.limits);
    let given = Given {
        channel,
        joins,
        groups,
        streams: orders.streams.take(),
        trees,
        sources,
        covers: if masks && !orders.mounts_inside { Some(source::covers()?) } else { None },
        console: orders.console.take(),
        park: orders.park.take(),
        states,
        proc: if labels { Some(kernel::root::open_directory_path(Path::new("/proc"))?) } else { None },
        mapped_by_user: orders.mounts_inside,
        dies_with_parent: orders.dies_with_us,
        early_limits,
        late_limits,
    };
    Ok((given, ours))
}

/// Limits that are raised need our rights, so they come first; others might be in the way of the steps.
fn split_limits(limits: &[plan::Limit]) -> (Vec<plan::Limit>, Vec<plan::Limit>) {
    let raises = |limit: &&plan::Limit| process::limit(limit.resource).is_ok_and(|(_, hard)| limit.hard > hard);
    let (early, late): (Vec<_>, Vec<_>) = limits.iter().partition(raises);
    let own = |list: Vec<&plan::Limit>| list.into_iter().cloned().collect();
    (own(early), own(late))
}

/// What is made when the child has its user namespace: indices into trees, then sources.
fn late_mounts(plan: &Plan, given: &Given) -> Vec<Late> {
    let pick = |list: &[Made]| -> Vec<usize> {
        list.iter().enumerate().filter(|(_, made)| made.is_late()).map(|(index, _)| index).collect()
    };
    let _ = plan;
    pick(&given.trees).into_iter().map(Late::Tree).chain(pick(&given.sources).into_iter().map(Late::Source)).collect()
}

#[derive(Clone, Copy)]
enum Late {
    Tree(usize),
    Source(usize),
}

struct Watch<'a> {
    plan: &'a Plan,
    channel: OwnedFd,
    company: Option<&'a mut (dyn Company + 'a)>,
    states: States,
    late: Vec<Late>,
    grouped: bool,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
    listener: Option<OwnedFd>,
}

impl Watch<'_> {
    /// The real child of one that joined or had to make its namespaces, with its ids and mounts. The second part says
    /// whether equipping it went well.
    fn second(
        &mut self,
        first: process::Child,
    ) -> std::result::Result<(process::Child, std::result::Result<(), Failure>), Failure> {
        let mut buffer = [0; 512];
        let child = loop {
            let (length, _) = kernel::socket::receive(&self.channel, &mut buffer)?;
            let message = buffer.get(..length).unwrap_or_default();
            match message.first() {
                Some(b'P') => {
                    let pid = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_le_bytes);
                    // It is our child, so its number means nobody else before we wait for it.
                    break process::Child { pid, pidfd: process::open(pid)? };
                }
                Some(b'W') => self.warn(message),
                Some(b'E') => {
                    process::wait(&first.pidfd)?;
                    return Err(parse_report(message, &self.plan.steps));
                }
                _ => {
                    process::wait(&first.pidfd)?;
                    return Err(Error::new("join namespaces: the stub said nothing", Errno::PROTO).into());
                }
            }
        };
        process::wait(&first.pidfd)?;
        let outcome = match self.equip(&child) {
            // It is gone already: what it said last is the reason.
            Err(failure) => match self.last_words() {
                Some(reason) => Err(reason),
                None => Err(failure),
            },
            Ok(()) => Ok(()),
        };
        Ok((child, outcome))
    }

    fn last_words(&mut self) -> Option<Failure> {
        let mut buffer = [0; 512];
        kernel::event::set_nonblocking(&self.channel).ok()?;
        while let Ok((length, _)) = kernel::socket::receive(&self.channel, &mut buffer) {
            let message = buffer.get(..length).unwrap_or_default();
            match message.first() {
                Some(b'E') => return Some(parse_report(message, &self.plan.steps)),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }

    /// Gives the waiting child its ids and mounts.
    fn equip(&mut self, child: &process::Child) -> std::result::Result<(), Failure> {
        let plan = self.plan;
        let new_users = plan.new_namespaces.contains(&NamespaceKind::User);
        if new_users {
            match &mut self.company {
                Some(company) => company.map_ids(child.pid, plan)?,
                None => write_maps(child.pid, plan)?,
            }
        }
        if !new_users && self.late.is_empty() {
            return Ok(());
        }
        let userns = kernel::namespace::open_of(child.pid, NamespaceKind::User)?;
        let make = |late: &Late| match late {
            Late::Tree(index) => plan.trees.get(*index).map(|tree| crate::overlay::mount(tree, Some(&userns))),
            Late::Source(index) => plan.sources.get(*index).map(|one| source::make(one, Some(&userns))),
        };
        let mounts = self.late.iter().filter_map(make).collect::<Result<Vec<_>>>()?;
        let borrowed: Vec<BorrowedFd<'_>> = mounts.iter().map(AsFd::as_fd).collect();
        Ok(kernel::socket::send(&self.channel, &[b"G"], &borrowed)?)
    }

    /// Hears the child until it runs its program or is parked.
    fn listen(&mut self, child: &process::Child) -> std::result::Result<(), Failure> {
        let limited = self.plan.steps.iter().any(|step| matches!(step, Step::Limited));
        if limited && self.plan.cgroup.later {
            self.hear_pause(child)?;
        }
        let made = match program::makes_network(self.plan) {
            true => Some(self.give_network(limited && self.company.is_some())?),
            false => None,
        };
        let own_network = self.plan.new_namespaces.contains(&NamespaceKind::Net);
        if let Some(company) = &mut self.company {
            if limited {
                company.limit()?;
                if own_network {
                    company.network(made.map_or_else(|| network_of(child), Ok)?)?;
                }
            }
            company.created(child.pid)?;
            if limited {
                // It runs nothing before it is written down. One that has ended already tells why itself.
                kernel::socket::send(&self.channel, &[b"G"], &[]).ok();
            }
        }
        let mut buffer = [0; 512];
        loop {
            let (length, mut descriptors) = kernel::socket::receive(&self.channel, &mut buffer)?;
            let message = buffer.get(..length).unwrap_or_default();
            match message.first() {
                None => return self.check_parked(child),
                Some(b'T') => self.terminal = descriptors.pop(),
                Some(b'W') => self.warn(message),
                Some(b'S') => self.pause(child.pid)?,
                Some(b'L') => self.pass_listener(child, message)?,
                Some(b'E') => return Err(parse_report(message, &self.plan.steps)),
                Some(_) => return Err(Error::new("the child said something unknown", Errno::PROTO).into()),
            }
        }
    }

    /// Hears the child until it waits for its group, and makes that.
    fn hear_pause(&mut self, child: &process::Child) -> std::result::Result<(), Failure> {
        let mut buffer = [0; 512];
        loop {
            let (length, _) = kernel::socket::receive(&self.channel, &mut buffer)?;
            let message = buffer.get(..length).unwrap_or_default();
            match message.first() {
                Some(b'S') => return self.pause(child.pid),
                Some(b'W') => self.warn(message),
                Some(b'E') => return Err(parse_report(message, &self.plan.steps)),
                _ => return Err(Error::new("the child ended before it had a group", Errno::PROTO).into()),
            }
        }
    }

    /// Makes the network namespace, with its loopback device up. One that waits for us again before it runs anything need not
    /// wait for the device now.
    fn give_network(&self, waits_again: bool) -> Result<OwnedFd> {
        let new = kernel::namespace::new_network()?;
        if !waits_again {
            new.loopback_up()?;
        }
        kernel::socket::send(&self.channel, &[b"N"], &[new.namespace.as_fd()]).ok();
        if waits_again {
            new.loopback_up()?;
        }
        Ok(new.namespace)
    }

    /// The end of what it says is that of one that is parked, too, or of one that was killed: by the kernel for want of
    /// memory, by its filter.
    fn check_parked(&self, child: &process::Child) -> std::result::Result<(), Failure> {
        let parks = self.plan.steps.iter().any(|step| matches!(step, Step::Park));
        // One that is on its way out has no descriptor any more, and can not be waited for yet. Without /proc's word it is
        // asked for anyway.
        let ended = match parks {
            true if kernel::procfs::is_ending(child.pid).unwrap_or(false) => Some(process::wait(&child.pidfd)?),
            true => process::try_wait(&child.pidfd)?,
            false => None,
        };
        match ended {
            None => Ok(()),
            Some(exit) => {
                let message = format!("the container's first process ended before its start: {exit:?}");
                Err(Failure { kind: FailureKind::Own, message })
            }
        }
    }

    fn warn(&mut self, message: &[u8]) {
        let resource = message.get(1).map_or(u32::MAX, |number| (*number).into());
        let name = self.plan.limits.iter().find(|limit| limit.resource == resource);
        let name = name.map_or("?", |limit| limit.name.as_str());
        let (_, highest) = process::limit(resource).unwrap_or((0, 0));
        self.warnings.push(format!("limit {name} is {highest}: this session may not raise it further"));
    }

    /// The network devices move, hooks of the host run; those of the container find their state.
    fn pause(&mut self, pid: i32) -> std::result::Result<(), Failure> {
        if self.plan.cgroup.later && !self.grouped {
            self.grouped = true;
            if let Some(company) = &mut self.company {
                company.make_group(pid)?;
            }
            return Ok(kernel::socket::send(&self.channel, &[b"G"], &[])?);
        }
        if !self.plan.net_devices.is_empty() {
            let namespace = kernel::namespace::open_of(pid, NamespaceKind::Net)?;
            for (outside, inside) in &self.plan.net_devices {
                kernel::net::move_device(outside, &namespace, inside)?;
            }
        }
        if let Some(company) = &mut self.company {
            company.paused(pid)?;
            if let Some(states) = &self.states {
                for (file, status) in states.iter().zip(["creating", "created"]) {
                    kernel::event::write_all(file, company.state(status, pid).as_bytes())?;
                }
            }
        }
        Ok(kernel::socket::send(&self.channel, &[b"G"], &[])?)
    }

    /// Hands the listener of the filter to who was named for it.
    fn pass_listener(&mut self, child: &process::Child, message: &[u8]) -> std::result::Result<(), Failure> {
        let number = message.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_le_bytes);
        let listener = kernel::spawn::take_descriptor(&child.pidfd, number)?;
        let wanted = self.plan.steps.iter().find_map(|step| match step {
            Step::Seccomp { program } => program.listener.as_ref(),
            _ => None,
        });
        if wanted.is_some_and(plan::Listener::is_keeper) {
            self.listener = Some(listener);
            return Ok(kernel::socket::send(&self.channel, &[b"A"], &[])?);
        }
        if let (Some(wanted), Some(company)) = (wanted, &self.company) {
            let state = company.state("creating", child.pid);
            let state = serde_json::value::RawValue::from_string(state).ok();
            let told = serde_json::json!({
                "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": child.pid, "metadata": wanted.metadata, "state": state,
            });
            kernel::socket::send_to_stream(&wanted.path, told.to_string().as_bytes(), &[listener.as_fd()])?;
        }
        Ok(kernel::socket::send(&self.channel, &[b"A"], &[])?)
    }
}

/// The network namespace that a child was made with: not ours, which a child that is not there yet would be taken for.
fn network_of(child: &process::Child) -> Result<OwnedFd> {
    let namespace = kernel::namespace::open_of(child.pid, NamespaceKind::Net)?;
    let own = kernel::namespace::open(Path::new("/proc/thread-self/ns/net"))?;
    if kernel::namespace::id(&namespace)? == kernel::namespace::id(&own)? {
        return Err(Error::new("network namespace of the child: it is the host's", Errno::XDEV));
    }
    Ok(namespace)
}

/// Writes the maps that the plan has.
///
/// # Errors
/// The kernel's.
pub fn write_maps(pid: i32, plan: &Plan) -> Result<()> {
    let ranges = |list: &[plan::Map]| -> Vec<IdRange> {
        list.iter().map(|one| IdRange { inside: one.inside, outside: one.outside, count: one.count }).collect()
    };
    kernel::idmap::write(pid, &ranges(&plan.uid_map), &ranges(&plan.gid_map))
}
