// SPDX-License-Identifier: Apache-2.0
//! The container's own /proc and /sys. The keeper holds what must not close: the connection, what the workers share, listeners.
//! A worker, which is a process forked from it, serves; when it dies the next one goes on where it was. One that nobody has asked
//! for a while ends, and there is none until somebody asks.
//!
//! ```text
//! keeper                                     worker
//! opens the connection, makes the mount
//! forks ───────────────────────────────────► serves
//! lets the connection go
//! takes the parts of the mount  ◄──lookups── (if it died now the connection ended, and the start with it: nobody hangs)
//! launches
//! takes the connection back
//! passes listeners on ─────────────────────► answers sysinfo(2), sched_getaffinity(2)
//! hears of its death: forks the next
//! hears that it had nothing to do: forks the next when there is a message
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::cgroup::Group;
use kernel::event::Interest;
use kernel::process::{self, Child, Exit, Forked};
use kernel::types::{CapabilitySet, attr};
use kernel::{Errno, Error, Result, capability, mount};
use plan::{Plan, Source};

use crate::launch::Failure;

/// How long the end of a worker is waited for, milliseconds.
const END_MS: u64 = 2000;

/// All that a worker may do beyond what its files let anybody do: answer in the memory of who asks by a system call.
/// CAP_SYS_PTRACE.
const ANSWER: CapabilitySet = CapabilitySet(1 << 19);

/// Signal 9.
const SIGKILL: i32 = 9;

/// One that lived shorter, milliseconds, has not served much.
const SHORT_MS: u64 = 20;

/// So many short lives in a row, and the next one has to wait.
const MOST_SHORT: u32 = 8;

/// How long.
const WAIT_MS: u64 = 40;

/// The most listeners that are kept: one for the container, and one for each program that was executed in it since.
const LISTENERS: usize = 700;

/// Who knows what is shown, and how.
pub trait View {
    /// Begins anew, for a start of this plan: opens the connection and makes the file system.
    ///
    /// # Errors
    /// What the host has not.
    fn open(&mut self, plan: &Plan, group: &Group) -> Result<()>;

    /// The file system, which is given away.
    fn take_mount(&mut self) -> Option<OwnedFd>;

    /// The connection, which is given away.
    fn take_device(&mut self) -> Option<OwnedFd>;

    /// It comes back.
    fn put_device(&mut self, device: OwnedFd);

    /// The connection; none where it is files that are shown.
    fn device(&self) -> Option<&OwnedFd>;

    /// The file system of these files.
    fn files(&self) -> Option<&OwnedFd>;

    /// Serves, in a process of its own, until the file system is gone, or the other end of `control` is, or nobody has asked for
    /// a while; what ends it otherwise is an error.
    ///
    /// # Errors
    /// Another worker is to go on.
    fn serve(&mut self, place: Place) -> Result<Ended>;
}

/// Why a worker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing to serve any more.
    Gone,
    /// Nobody asked for a while.
    Idle,
}

/// What a worker says by its exit code.
const FAILED: i32 = 1;
const IDLE: i32 = 2;

/// What a worker is told.
pub struct Place {
    /// The container's group, which may not be there yet.
    pub group: Group,
    /// Its first process, when it runs.
    pub init: Option<i32>,
    /// News come here: a listener, or the first process as `P` and its number (i32).
    pub control: OwnedFd,
    /// The listeners that there are.
    pub listeners: Vec<OwnedFd>,
}

struct Worker {
    child: Child,
    control: OwnedFd,
    since_ms: u64,
}

impl Worker {
    /// How it has ended; waits a while for that.
    fn ended(&self) -> Result<Option<Exit>> {
        let gone = [(self.child.pidfd.as_fd(), Interest::Read)];
        match kernel::event::wait(&gone, Some(END_MS))?.contains(&true) {
            true => process::try_wait(&self.child.pidfd),
            false => Ok(None),
        }
    }
}

/// The holder's half.
pub(super) struct Holder {
    view: Option<Box<dyn View>>,
    worker: Option<Worker>,
    listeners: Vec<OwnedFd>,
    init: Option<i32>,
    /// The plan has a view.
    shown: bool,
    /// Resources whose pressure it tells.
    pressures: Vec<String>,
    /// The number of the connection in the worker, which alone has it.
    lent: Option<i32>,
    /// Short lives in a row.
    short: u32,
    /// There is none since nobody asks.
    idle: bool,
    /// When the next one is forked.
    again_ms: Option<u64>,
}

impl Holder {
    pub(super) fn new(view: Option<Box<dyn View>>) -> Self {
        Self {
            view,
            worker: None,
            listeners: Vec::new(),
            init: None,
            shown: false,
            pressures: Vec::new(),
            lent: None,
            short: 0,
            idle: false,
            again_ms: None,
        }
    }

    /// The parts of a new view that the plan names, served from now on.
    pub(super) fn begin(&mut self, plan: &Plan, group: &Group) -> Result<Vec<(PathBuf, OwnedFd)>> {
        self.end();
        let wanted: Vec<PathBuf> = plan
            .sources
            .iter()
            .filter_map(|source| match source {
                Source::View { path, .. } => Some(path.clone()),
                _ => None,
            })
            .collect();
        self.shown = !wanted.is_empty();
        let resource = |path: &PathBuf| Some(path.strip_prefix("proc/pressure").ok()?.to_str()?.to_owned());
        self.pressures = wanted.iter().filter_map(resource).collect();
        let Some(view) = self.view.as_mut().filter(|_| !wanted.is_empty()) else { return Ok(Vec::new()) };
        view.open(plan, group)?;
        let root = view.take_mount().ok_or_else(|| Error::new("view: it has no file system", Errno::NODEV))?;
        self.fork(group)?;
        let device = self.view.as_mut().and_then(|view| view.take_device());
        let number = device.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        drop(device);
        self.lent = Some(number).filter(|number| *number >= 0);
        parts(&root, &wanted)
    }

    /// The container's first process runs: from now on there is time to look after the worker.
    ///
    /// # Errors
    /// The worker has died meanwhile, and the view with it.
    pub(super) fn born(&mut self, pid: i32, listener: Option<OwnedFd>) -> Result<()> {
        self.init = Some(pid);
        if let (Some(view), Some(worker), Some(number)) = (&mut self.view, &self.worker, self.lent.take()) {
            match kernel::spawn::take_descriptor(&worker.child.pidfd, number) {
                Ok(device) => view.put_device(device),
                // A program that has ended already took the file system with it, and so the worker has ended too.
                Err(_) if worker.ended()? == Some(Exit::Code(0)) => self.gone(),
                Err(error) => return Err(error),
            }
        }
        if let Some(worker) = &self.worker {
            kernel::socket::send(&worker.control, &[b"P", &pid.to_le_bytes()], &[]).ok();
        }
        self.listen(listener);
        Ok(())
    }

    /// The group is there by now: its own files, by which the kernel can wake who watches them, take the place of the view's.
    pub(super) fn show_pressure(&self, group: &Group, child: &Child) -> std::result::Result<(), Failure> {
        let attributes = attr::NOSUID | attr::NODEV | attr::NOEXEC;
        let mount = |resource: &String| {
            let path = group.pressure_file(resource).filter(|path| path.exists())?;
            let source = Source::Bind {
                path,
                recursive: false,
                set: attributes,
                clear: 0,
                set_below: 0,
                clear_below: 0,
                idmap: plan::Idmap::None,
                propagation: "private",
                propagate_below: false,
                copy_link: false,
                root: false,
            };
            Some((source, Path::new("/proc/pressure").join(resource)))
        };
        let mounts: Vec<_> = self.pressures.iter().filter_map(mount).collect();
        if mounts.is_empty() { Ok(()) } else { crate::mounts::add_mounts(&mounts, &child.pidfd, child.pid) }
    }

    /// Further calls come from here.
    pub(super) fn listen(&mut self, listener: Option<OwnedFd>) {
        let Some(listener) = listener else { return };
        if let Some(worker) = &self.worker {
            // If it can not hear now it dies, and the next one has it.
            if kernel::socket::send(&worker.control, &[b"L"], &[listener.as_fd()]).is_err() {
                process::signal(&worker.child.pidfd, SIGKILL).ok();
            }
        }
        self.listeners.push(listener);
        self.listeners.retain(|one| kernel::seccomp::is_heard(one));
        self.listeners.truncate(LISTENERS);
    }

    /// Does the container have one?
    pub(super) const fn is_shown(&self) -> bool {
        self.init.is_some() && self.shown
    }

    /// What tells of the worker's death; without one, of somebody who asks.
    pub(super) fn news(&self) -> Vec<BorrowedFd<'_>> {
        let device = self.view.as_ref().and_then(|view| view.device());
        match &self.worker {
            Some(worker) => vec![worker.child.pidfd.as_fd()],
            None if self.idle => device.into_iter().chain(&self.listeners).map(AsFd::as_fd).collect(),
            None => Vec::new(),
        }
    }

    /// Does somebody ask?
    fn is_asked(&mut self) -> Result<bool> {
        self.listeners.retain(|one| kernel::seccomp::is_heard(one));
        let watched: Vec<_> = self.news().into_iter().map(|one| (one, Interest::Read)).collect();
        Ok(kernel::event::wait(&watched, Some(0))?.contains(&true))
    }

    /// When there is something to do.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.again_ms
    }

    /// Its file system is gone.
    fn gone(&mut self) {
        (self.worker, self.idle, self.short) = (None, true, 0);
        drop(self.view.as_mut().and_then(|view| view.take_device()));
    }

    /// Looks after the worker.
    pub(super) fn look(&mut self, group: &Group) -> Result<()> {
        let now = kernel::time::monotonic_ms();
        if let Some(worker) = &self.worker {
            match process::try_wait(&worker.child.pidfd) {
                Ok(None) => return Ok(()),
                // Its file system is gone: nobody has it any more. Calls may come all the same.
                Ok(Some(Exit::Code(0))) => {
                    self.gone();
                    return Ok(());
                }
                Ok(Some(Exit::Code(IDLE))) => {
                    (self.worker, self.idle, self.short) = (None, true, 0);
                    return Ok(());
                }
                // Somebody else may have reaped it.
                Ok(Some(_)) | Err(_) => {}
            }
            self.short = if now - worker.since_ms < SHORT_MS { self.short.saturating_add(1) } else { 0 };
            self.worker = None;
            self.again_ms = Some(if self.short > MOST_SHORT { now + WAIT_MS } else { now });
        }
        if self.idle && self.is_asked()? {
            (self.idle, self.again_ms) = (false, Some(now));
        }
        if self.again_ms.is_some_and(|again| again <= now) {
            self.again_ms = None;
            if let Err(error) = self.fork(group) {
                self.again_ms = Some(now + WAIT_MS);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Nothing is shown any more.
    pub(super) fn end(&mut self) {
        if let Some(worker) = self.worker.take() {
            process::signal(&worker.child.pidfd, SIGKILL).ok();
            // It may be in a file system that never answers; the container's end must not wait for that.
            worker.ended().ok();
        }
        if let Some(view) = &mut self.view {
            drop(view.take_device());
        }
        self.listeners.clear();
        (self.init, self.again_ms, self.short, self.idle, self.lent) = (None, None, 0, false, None);
    }

    fn fork(&mut self, group: &Group) -> Result<()> {
        let Some(view) = &mut self.view else { return Ok(()) };
        let (ours, theirs) = kernel::socket::pair()?;
        // A worker that does not listen holds nobody up.
        kernel::event::set_nonblocking(&ours)?;
        let copy = |one: &OwnedFd| kernel::file::duplicate(one);
        let listeners = self.listeners.iter().map(copy).collect::<Result<Vec<_>>>()?;
        match process::clone(0, None)? {
            Forked::Child => {
                let mut keep: Vec<&OwnedFd> = listeners.iter().collect();
                keep.push(&theirs);
                keep.extend(view.device());
                keep.extend(view.files());
                let ready = process::die_with_parent()
                    .and_then(|()| process::set_name(c"cella-view"))
                    .and_then(|()| process::close_from(3, &keep))
                    .and_then(|()| capability::set(ANSWER, ANSWER, CapabilitySet::EMPTY));
                let place = Place { group: group.clone(), init: self.init, control: theirs, listeners };
                let served = ready.and_then(|()| view.serve(place));
                process::exit_now(match served {
                    Ok(Ended::Gone) => 0,
                    Ok(Ended::Idle) => IDLE,
                    Err(_) => FAILED,
                })
            }
            Forked::Parent(child) => {
                self.worker = Some(Worker { child, control: ours, since_ms: kernel::time::monotonic_ms() });
                Ok(())
            }
        }
    }
}

/// The wanted parts of a file system that is served, as mounts of their own.
fn parts(root: &OwnedFd, wanted: &[PathBuf]) -> Result<Vec<(PathBuf, OwnedFd)>> {
    let shut = |part: OwnedFd| {
        // Of a snapshot only ours may be written to.
        mount::set_attributes(&part, attr::RDONLY, 0, mount::Depth::One).map(|()| part)
    };
    let part = |path: &PathBuf| mount::clone_at(root, path, false).and_then(shut);
    let parts = match wanted.iter().map(part).collect::<Result<Vec<_>>>() {
        // Before Linux 6.15 only of what is attached a part is copied.
        Err(error) if error.is(Errno::INVAL) => crate::overlay::all_in_own_namespace(|| {
            let place = std::path::Path::new(crate::overlay::PLACE);
            mount::attach(root, kernel::root::open_directory_path(place)?)?;
            let top = kernel::root::open_directory_path(place)?;
            wanted.iter().map(|path| mount::clone_at(&top, path, false).and_then(shut)).collect()
        })?,
        other => other?,
    };
    Ok(wanted.iter().cloned().zip(parts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl View for Nothing {
        fn open(&mut self, _: &Plan, _: &Group) -> Result<()> {
            Ok(())
        }

        fn take_mount(&mut self) -> Option<OwnedFd> {
            None
        }

        fn take_device(&mut self) -> Option<OwnedFd> {
            None
        }

        fn put_device(&mut self, _: OwnedFd) {}

        fn device(&self) -> Option<&OwnedFd> {
            None
        }

        fn files(&self) -> Option<&OwnedFd> {
            None
        }

        fn serve(&mut self, _: Place) -> Result<Ended> {
            Ok(Ended::Gone)
        }
    }

    /// One whose worker has ended with this code before its program was known to run.
    fn after(code: i32) -> Holder {
        let child = match process::clone(0, None).unwrap() {
            Forked::Child => process::exit_now(code),
            Forked::Parent(child) => child,
        };
        kernel::event::wait(&[(child.pidfd.as_fd(), Interest::Read)], None).unwrap();
        let (control, _) = kernel::socket::pair().unwrap();
        let mut holder = Holder::new(Some(Box::new(Nothing)));
        holder.worker = Some(Worker { child, control, since_ms: 0 });
        holder.lent = Some(0);
        holder
    }

    #[test]
    fn a_program_that_has_ended_before_its_view_was_taken_back_was_started() {
        let mut holder = after(0);
        holder.born(1, None).unwrap();
        assert!(holder.worker.is_none() && holder.is_shown() == holder.shown);
        // One that died is another matter: what it served is lost.
        assert!(after(FAILED).born(1, None).is_err());
    }
}
