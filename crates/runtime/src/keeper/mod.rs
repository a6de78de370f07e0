// SPDX-License-Identifier: Apache-2.0
//! The keeper: one small process for each container that runs, from its start to its end.
//!
//! ```text
//!            launch                    program ends            policy says no, or stopped
//! Starting ──────────► Running ────────────────────► (drain) ───────────────────────────► Ending ──► gone
//!     │                   ▲                             │ policy says again
//!     │ failed            └──────── launch ──────── Restarting (waits)
//!     └──────────────────────────────────────────────────────────────────────────────────► Ending
//! ```
//!
//! A whole system that begins again goes from Running to Starting at once, whatever the policy says.
//!
//! One loop, one owner of this state. Everybody else reads `state.json` or asks through the socket.

mod clients;
mod memory;
mod streams;
mod system;
mod unit;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::cgroup::Group;
use kernel::event::Interest;
use kernel::process::{self, Exit};
use kernel::{Errno, Result};
use plan::Plan;
use spec::definition::Restart;
use spec::timestamp;

use crate::event::EventLog;
use crate::init::Order;
use crate::launch::{self, Failure, FailureKind};
use crate::log::LogWriter;
use crate::protocol::{Answer, Request};
use crate::state::{self, Exited, Phase, State};
use crate::systemd::Property;

pub use unit::Unit;
pub use view::{Ended, Place, View};

use clients::{Client, Clients};
use streams::Streams;

/// The restart policy, as the definition has it.
pub type RestartPolicy = Restart;

/// What is done, in the end, with how it ended: the durable part, that the keeper knows nothing of.
pub type Finish = Box<dyn FnMut(&Exited)>;

/// Plans a further start, since what was asked for may have changed meanwhile: the plan, and what systemd is to know of the group.
pub type Replan = Box<dyn FnMut() -> std::result::Result<(Plan, Vec<Property>), Failure>>;

/// Who attaches a container to its networks, and takes it off again: at each start and each end of its program.
pub trait Wire {
    /// Attaches it; gives warnings.
    ///
    /// # Errors
    /// What ends the start.
    fn wire(&mut self, namespace: OwnedFd) -> std::result::Result<Vec<String>, Failure>;

    /// Takes it off; tells what could not be done.
    fn unwire(&mut self) -> Vec<String>;

    /// Looks after it from time to time; in how many milliseconds again, if so.
    fn tick(&mut self) -> Option<u64>;

    /// Does what somebody has asked for, e.g. publishes a port; what is answered.
    ///
    /// # Errors
    /// Why it is refused.
    fn ask(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, String>;
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGPIPE: i32 = 13;

/// The first wait before a restart; it doubles up to the last.
const FIRST_BACKOFF_MS: u64 = 100;
const LAST_BACKOFF_MS: u64 = 60_000;

/// A program that ran so long starts with the first wait again.
const GOOD_RUN_MS: u64 = 10_000;

/// How deep, and how many, the groups of a whole system may be: systems in it, and systems in these, have enough.
const DEEPEST: u32 = 48;
const MOST_GROUPS: u32 = 8192;

/// After so long without anything to do, milliseconds, its program's pages are let go.
const QUIET_MS: u64 = 1000;

/// How long, at the end, those who listen may take to hear the rest.
const FLUSH_MS: u64 = 30_000;

/// Everything that a keeper needs to know.
pub struct Keeper {
    /// Full id.
    pub id: String,
    /// This boot's id.
    pub boot: String,
    /// What is started.
    pub plan: Plan,
    /// Its control group, which does not exist yet.
    pub group: Group,
    /// The runtime directory.
    pub run: OwnedFd,
    /// The lock that says the keeper lives.
    pub alive: OwnedFd,
    /// The container's directory in the store, where the log is.
    pub directory: OwnedFd,
    /// Bytes of one log file.
    pub log_limit: u64,
    /// Standard input is a pipe, not the null device.
    pub interactive: bool,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// Milliseconds until it is killed then.
    pub stop_timeout_ms: u64,
    /// The unit of the host's systemd that the group is, unless we make it ourselves.
    pub unit: Option<Unit>,
    /// For a whole system the id that its root has outside: its control group is its own to divide.
    pub system: Option<u32>,
    /// Its init is asked to end everything in its own way, not by the signal.
    pub by_protocol: bool,
    /// Where events go.
    pub events: EventLog,
    /// The connection of who started it.
    pub first: OwnedFd,
    /// Who attaches it to its networks, when it has some.
    pub wire: Option<Box<dyn Wire>>,
    /// Who shows it its own /proc and /sys, when it has a view.
    pub view: Option<Box<dyn View>>,
    /// Before each further start.
    pub replan: Replan,
    /// The last act.
    pub finish: Finish,
}

/// Takes part in the launch: for the networks' sake, and where systemd makes the group.
struct Company<'a> {
    wire: Option<&'a mut dyn Wire>,
    unit: Option<&'a unit::Unit>,
    /// The group, to be filled when it is there.
    group: &'a Group,
    plan: &'a Plan,
    system: Option<u32>,
    warnings: Vec<String>,
}

impl launch::Company for Company<'_> {
    fn created(&mut self, _pid: i32) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn paused(&mut self, _pid: i32) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn network(&mut self, namespace: OwnedFd) -> std::result::Result<(), Failure> {
        if let Some(wire) = &mut self.wire {
            self.warnings.extend(wire.wire(namespace)?);
        }
        Ok(())
    }

    fn state(&self, _status: &str, _pid: i32) -> String {
        String::new()
    }

    /// They are there before the process is.
    fn limit(&mut self) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn make_group(&mut self, pid: i32) -> std::result::Result<(), Failure> {
        if let Some(unit) = self.unit {
            unit.start(pid)?;
        }
        self.group.adopt(pid)?;
        Ok(fill_group(self.group, self.plan, self.system)?)
    }
}

/// A program that runs.
struct Running {
    child: process::Child,
    since_ms: u64,
    started: String,
}

/// What the loop owns.
struct Loop {
    keeper: Keeper,
    state: State,
    signals: OwnedFd,
    listener: OwnedFd,
    clients: Clients,
    streams: Streams,
    log: LogWriter,
    running: Option<Running>,
    /// How the last run ended, while its output is still being read.
    ended: Option<Exited>,
    /// Somebody asked for its end.
    stopping: bool,
    /// Its init wants to begin again, or was told to.
    rebooting: bool,
    /// Where its init says how far it is.
    mailbox: Option<OwnedFd>,
    /// How often the kernel has killed for lack of memory.
    oom: memory::Watch,
    /// Its own /proc and /sys.
    view: view::Holder,
    /// When it is killed.
    deadline_ms: Option<u64>,
    /// When it is started again.
    again_ms: Option<u64>,
    /// When its networks are looked after.
    tick_ms: Option<u64>,
    backoff_ms: u64,
    /// When it has been quiet for a while.
    quiet_ms: Option<u64>,
    /// The last run was short.
    short: bool,
    /// Somebody asked for its end, and not the host's own.
    by_hand: bool,
    /// The group was made by this keeper.
    made: bool,
}

impl Keeper {
    /// Becomes the keeper: does not come back. The calling process must have been forked for it.
    pub fn serve(self) -> ! {
        let first = self.first.try_clone();
        let code = match Loop::begin(self) {
            Ok(keeper) => keeper.run(),
            Err(error) => {
                // Without its log or socket a keeper can not be: say so to who started it.
                if let Ok(first) = first {
                    kernel::socket::send(first, &[&Answer::Failed(Failure::from(error)).encode()], &[]).ok();
                }
                125
            }
        };
        process::exit_now(code)
    }
}

impl Loop {
    fn begin(mut keeper: Keeper) -> Result<Self> {
        process::new_session()?;
        process::become_subreaper()?;
        process::set_undumpable()?;
        process::set_name(c"cella-keeper")?;
        kernel::signal::ignore(SIGPIPE);
        let signals = kernel::signal::descriptor(&[SIGHUP, SIGINT, SIGTERM, SIGCHLD])?;
        let keep = [&keeper.run, &keeper.alive, &keeper.directory, &keeper.first, &signals];
        process::close_from(3, &keep)?;
        let null = kernel::file::open_null()?;
        (0..3).try_for_each(|number| process::place(&null, number))?;
        let listener = kernel::socket::listen_at(&keeper.run, state::SOCKET)?;
        let log = LogWriter::open(keeper.directory.try_clone_fd()?, keeper.log_limit)?;
        let state = State {
            version: State::VERSION,
            id: keeper.id.clone(),
            boot: keeper.boot.clone(),
            phase: Phase::Starting,
            cgroup: keeper.plan.cgroup.name.clone(),
            unit: keeper.unit.as_ref().map(|unit| unit.scope.unit.clone()),
            keeper: process::id(),
            pid: None,
            start_time: None,
            started: None,
            ready: None,
            view: false,
            oom_kills: 0,
            restarts: 0,
            last: None,
        };
        kernel::event::set_nonblocking(&keeper.first)?;
        let clients = Clients::new(Client::first(keeper.first.try_clone_fd()?));
        let (streams, backoff_ms) = (Streams::default(), FIRST_BACKOFF_MS);
        let view = view::Holder::new(keeper.view.take());
        Ok(Self {
            keeper,
            state,
            signals,
            listener,
            clients,
            streams,
            log,
            running: None,
            ended: None,
            stopping: false,
            rebooting: false,
            mailbox: None,
            oom: memory::Watch::default(),
            view,
            deadline_ms: None,
            again_ms: None,
            tick_ms: None,
            backoff_ms,
            quiet_ms: Some(kernel::time::monotonic_ms() + QUIET_MS),
            short: false,
            by_hand: false,
            made: false,
        })
    }

    fn run(mut self) -> i32 {
        let moved = self.keeper.unit.as_ref().map_or(Ok(()), Unit::move_keeper);
        let prepared = moved.and_then(|()| self.state.write(&self.keeper.run)).and_then(|()| self.make_group());
        match prepared.map_err(Failure::from).and_then(|()| self.start()) {
            Ok(()) => self.serve(),
            Err(failure) => {
                let exited = self.exited_without_start(&failure);
                self.end(exited, Some(failure))
            }
        }
    }

    fn make_group(&mut self) -> Result<()> {
        if self.keeper.unit.is_some() {
            // Who makes it wants a process to put into it.
            return Ok(());
        }
        match self.keeper.group.create() {
            Err(error) if error.is(Errno::EXIST) => return Err(error),
            // What was made in part is ours to remove.
            other => {
                self.made = true;
                other?;
            }
        }
        fill_group(&self.keeper.group, &self.keeper.plan, self.keeper.system)
    }

    /// Launches the program and says so.
    fn start(&mut self) -> std::result::Result<(), Failure> {
        self.rebooting = false;
        self.open_mailbox()?;
        let plan = &self.keeper.plan;
        let views = self.view.begin(plan, &self.keeper.group)?;
        let (streams, theirs) = Streams::make(plan, self.keeper.interactive)?;
        let (group, unit, system) = (&self.keeper.group, self.keeper.unit.as_ref(), self.keeper.system);
        let wire = self.keeper.wire.as_deref_mut().map(|wire| wire as &mut dyn Wire);
        let mut company = Company { wire, unit, group, plan, system, warnings: Vec::new() };
        let mut launched = {
            let alone = company.wire.is_none() && company.unit.is_none();
            let entered = company.unit.is_none().then_some(group);
            let company = if alone { None } else { Some(&mut company as &mut dyn launch::Company) };
            let orders =
                launch::Orders { streams: theirs, dies_with_us: true, views, company, ..launch::Orders::default() };
            launch::launch(plan, entered, orders)?
        };
        launched.warnings.extend(company.warnings);
        self.streams = streams;
        if let Some(master) = launched.terminal {
            self.streams.take_terminal(master, self.keeper.system.is_some())?;
        }
        let pid = launched.child.pid;
        if let Err(error) = self.view.born(pid, launched.listener.take()) {
            process::signal(&launched.child.pidfd, 9).ok();
            process::wait(&launched.child.pidfd).ok();
            return Err(error.into());
        }
        // Without them the view's files tell the same, but wake nobody; it may have ended already.
        self.view.show_pressure(&self.keeper.group, &launched.child).ok();
        let started = timestamp::format(kernel::time::now_ns());
        self.state.phase = Phase::Running;
        self.state.view = self.view.is_shown();
        self.state.pid = Some(pid);
        self.state.start_time = kernel::procfs::start_time(pid).ok();
        self.state.started = Some(started.clone());
        self.state.ready = None;
        self.running = Some(Running { child: launched.child, since_ms: kernel::time::monotonic_ms(), started });
        self.tick();
        self.oom.begin(&self.keeper.group);
        self.state.write(&self.keeper.run)?;
        self.tell_event("start", &[("pid", pid.to_string())]);
        for warning in launched.warnings {
            self.clients.tell_first(&Answer::Warning(warning));
        }
        self.clients.tell_first(&Answer::Started { pid });
        self.clients.tell_started();
        self.look_ready(pid);
        Ok(())
    }

    /// The loop: ends when the program has ended for good.
    fn serve(mut self) -> i32 {
        loop {
            if let Err(error) = self.turn() {
                // Nothing in a turn fails but for lack of memory or descriptors: go on, after a breath.
                self.clients.tell_first(&Answer::Warning(error.to_string()));
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            if let Some(exited) = self.ended.take_if(|_| self.streams.is_drained()) {
                match self.next(&exited) {
                    Next::End => return self.end(exited, None),
                    Next::Again => self.wait_to_restart(exited),
                    Next::Reboot { short } => {
                        self.state.last = Some(exited);
                        self.reboot(short);
                    }
                }
            }
            if self.again_ms.is_some() && self.stopping {
                let exited = self.state.last.clone().unwrap_or_else(|| self.exited(137, true));
                let by_hand = self.by_hand;
                return self.end(Exited { by_hand, ..exited }, None);
            }
        }
    }

    /// Waits for something, and does what it is about.
    fn turn(&mut self) -> Result<()> {
        let mut watched: Vec<(BorrowedFd<'_>, Interest)> =
            vec![(self.signals.as_fd(), Interest::Read), (self.listener.as_fd(), Interest::Read)];
        if let Some(running) = &self.running {
            watched.push((running.child.pidfd.as_fd(), Interest::Read));
        }
        watched.extend(self.view.news().into_iter().map(|news| (news, Interest::Read)));
        watched.extend(self.oom.news().map(|news| (news, Interest::Change)));
        watched.extend(self.mailbox.iter().map(|mailbox| (mailbox.as_fd(), Interest::Read)));
        // Whoever listens and does not keep up holds the program back, as a pipe does.
        self.streams.watch(&mut watched, self.clients.keep_up());
        self.clients.watch(&mut watched, self.streams.input_is_free());
        let ready = kernel::event::wait(&watched, self.timeout())?;
        drop(watched);
        if ready.contains(&true) {
            self.quiet_ms = Some(kernel::time::monotonic_ms() + QUIET_MS);
        }
        while let Some(number) = kernel::signal::next(&self.signals) {
            self.heard_signal(number);
        }
        self.read_mail();
        self.look_for_kills();
        self.view.look(&self.keeper.group)?;
        self.reap()?;
        while let Some(socket) = kernel::socket::accept(&self.listener)? {
            self.clients.admit(socket);
        }
        for (index, request, descriptors) in self.clients.requests(self.streams.input_is_free()) {
            if request == Request::Listener {
                self.view.listen(descriptors.into_iter().next());
            }
            self.heard(index, request);
        }
        self.streams.write_input();
        if self.clients.keep_up() {
            for (stream, bytes) in self.streams.read() {
                // A full disk must not stop the program: what can not be logged is still shown.
                self.log.write(stream, &bytes).ok();
                self.clients.output(stream, &bytes);
            }
        }
        self.clients.flush();
        self.check_time()
    }

    fn timeout(&self) -> Option<u64> {
        let look_ms = self.running.as_ref().and_then(|_| self.oom.next_ms());
        let next = [self.deadline_ms, self.again_ms, self.tick_ms, look_ms, self.quiet_ms, self.view.next_ms()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_sub(kernel::time::monotonic_ms()))
    }

    fn check_time(&mut self) -> Result<()> {
        let now = kernel::time::monotonic_ms();
        if self.tick_ms.is_some_and(|tick| tick <= now) {
            self.tick();
        }
        if self.quiet_ms.is_some_and(|quiet| quiet <= now) {
            // Most of a program is what it took to come so far.
            self.quiet_ms = None;
            kernel::program::release();
        }
        if self.deadline_ms.is_some_and(|deadline| deadline <= now) {
            self.deadline_ms = None;
            self.kill_all()?;
        }
        if self.again_ms.is_some_and(|again| again <= now) && !self.stopping {
            self.again_ms = None;
            if !self.rebooting {
                self.state.restarts += 1;
            }
            self.start_again();
        }
        Ok(())
    }

    fn tick(&mut self) {
        let next = self.keeper.wire.as_mut().filter(|_| self.running.is_some()).and_then(|wire| wire.tick());
        self.tick_ms = next.map(|ms| kernel::time::monotonic_ms() + ms);
    }

    fn kill_all(&self) -> Result<()> {
        if let Some(running) = &self.running {
            process::signal(&running.child.pidfd, SIGKILL).ok();
        }
        self.keeper.group.kill()
    }

    /// Reaps the program, and orphans that were given to us.
    fn reap(&mut self) -> Result<()> {
        if let Some(running) = &self.running
            && let Some(exit) = process::try_wait(&running.child.pidfd)?
        {
            self.program_ended(exit);
        }
        if self.running.is_none() {
            while process::reap_any(false)?.is_some() {}
        }
        Ok(())
    }

    fn program_ended(&mut self, exit: Exit) {
        let Some(running) = self.running.take() else { return };
        // With the host's process ids nothing dies of itself with the first process. The group may be used again.
        self.keeper.group.kill_each().ok();
        self.short = kernel::time::monotonic_ms() - running.since_ms <= GOOD_RUN_MS;
        if !self.short {
            self.backoff_ms = FIRST_BACKOFF_MS;
        }
        self.view.end();
        let code = self.code_of(exit);
        self.look_for_kills();
        let oom_killed = self.oom.end() > 0;
        self.tell_event("die", &[("exit_code", code.to_string())]);
        let exited = self.exited(code, self.by_hand);
        self.ended = Some(Exited { started: Some(running.started), oom_killed, ..exited });
        self.deadline_ms = None;
        self.streams.ended();
    }

    fn exited(&self, code: i32, by_hand: bool) -> Exited {
        Exited {
            code,
            started: self.state.started.clone(),
            finished: timestamp::format(kernel::time::now_ns()),
            oom_killed: false,
            restarts: self.state.restarts,
            error: None,
            by_hand,
        }
    }

    fn exited_without_start(&self, failure: &Failure) -> Exited {
        let code = match failure.kind {
            FailureKind::Own => 125,
            FailureKind::NotExecutable => 126,
            FailureKind::NotFound => 127,
        };
        Exited { error: Some(failure.message.clone()), ..self.exited(code, false) }
    }

    fn wait_to_restart(&mut self, exited: Exited) {
        self.log.finish().ok();
        if let Some(wire) = &mut self.keeper.wire {
            // What is left of it is in the way of the next start, which tells.
            wire.unwire();
        }
        self.state.last = Some(exited);
        self.wait_ms(Phase::Restarting);
    }

    /// Waits for the next start.
    fn wait_ms(&mut self, phase: Phase) {
        self.again_ms = Some(kernel::time::monotonic_ms() + self.backoff_ms);
        self.backoff_ms = (self.backoff_ms * 2).min(LAST_BACKOFF_MS);
        self.state.phase = phase;
        self.state.pid = None;
        self.state.start_time = None;
        self.state.ready = None;
        self.state.write(&self.keeper.run).ok();
    }

    fn heard_signal(&mut self, number: i32) {
        if number != SIGCHLD {
            let (signal, timeout_ms) = (self.keeper.stop_signal, self.keeper.stop_timeout_ms);
            match self.keeper.by_protocol {
                true => self.order(Order::PowerOff, timeout_ms),
                false => self.stop(signal, timeout_ms),
            }
        }
    }

    fn heard(&mut self, index: usize, request: Request) {
        match request {
            Request::Attach { input } => {
                self.clients.attach(index, input);
                let pid = self.state.pid.unwrap_or(0);
                self.clients.tell(index, &Answer::Started { pid });
            }
            Request::Input(bytes) => self.streams.input(&bytes),
            Request::CloseInput => self.streams.end_input(),
            Request::Resize { rows, columns } => self.streams.resize(rows, columns),
            Request::Stop { signal, timeout_ms } => {
                self.by_hand = true;
                self.clients.wait(index);
                self.stop(signal, timeout_ms);
            }
            Request::Order { order, timeout_ms } => {
                match order {
                    Order::PowerOff => {
                        self.by_hand = true;
                        self.clients.wait(index);
                    }
                    Order::Reboot => self.clients.wait_start(index),
                }
                self.order(order, timeout_ms);
            }
            Request::WaitReady => {
                self.clients.wait_ready(index);
                if self.state.ready.is_some() {
                    self.clients.tell_ready();
                }
            }
            Request::Kill { signal } => {
                let answer = self.kill(signal);
                self.clients.tell(index, &answer);
            }
            Request::Wait => self.clients.wait(index),
            // What came with it was taken.
            Request::Listener => {}
            Request::Network(request) => {
                let answer = match (&mut self.keeper.wire, &self.running) {
                    (Some(wire), Some(_)) => {
                        let answer = wire.ask(&request).map_or_else(Answer::Refused, Answer::Network);
                        // What was asked for may be a quota.
                        self.tick_ms = Some(0);
                        answer
                    }
                    _ => Answer::Refused("it has no network of its own".to_owned()),
                };
                self.clients.tell(index, &answer);
            }
            Request::Policy(policy) => {
                let answer = match policy.parse() {
                    Ok(policy) => {
                        self.keeper.restart = policy;
                        Answer::Done
                    }
                    Err(error) => Answer::Refused(spec::Invalid::to_string(&error)),
                };
                self.clients.tell(index, &answer);
            }
        }
    }

    fn stop(&mut self, signal: i32, timeout_ms: u64) {
        self.stopping = true;
        if self.running.is_some() {
            self.thaw();
            self.kill(signal);
            self.kill_after(timeout_ms);
        }
    }

    fn thaw(&self) {
        if self.keeper.group.is_frozen() {
            self.keeper.group.set_frozen(false).ok();
        }
    }

    fn kill_after(&mut self, timeout_ms: u64) {
        let deadline = kernel::time::monotonic_ms().saturating_add(timeout_ms);
        self.deadline_ms = Some(self.deadline_ms.map_or(deadline, |before| before.min(deadline)));
    }

    fn kill(&mut self, signal: i32) -> Answer {
        let Some(running) = &self.running else { return Answer::Refused("it is not running".to_owned()) };
        if signal == SIGKILL {
            self.thaw();
        }
        self.tell_event("kill", &[("signal", spec::signal::Signal(signal).to_string())]);
        match process::signal(&running.child.pidfd, signal) {
            Ok(()) => Answer::Done,
            Err(error) if error.is(Errno::SRCH) => Answer::Done,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    /// Clears everything away, then tells all who wait.
    fn end(mut self, exited: Exited, failure: Option<Failure>) -> i32 {
        self.log.finish().ok();
        self.state.phase = Phase::Ending;
        self.state.pid = None;
        self.state.last = Some(exited.clone());
        self.state.write(&self.keeper.run).ok();
        self.view.end();
        let removed = self.end_group();
        if let Some(wire) = &mut self.keeper.wire {
            for reason in wire.unwire() {
                self.clients.tell_first(&Answer::Warning(reason));
            }
        }
        (self.keeper.finish)(&exited);
        if removed.is_ok() {
            self.clear_run_directory().ok();
        }
        match failure {
            Some(failure) => self.clients.tell_first(&Answer::Failed(failure)),
            None => self.clients.tell_end(exited.code),
        }
        self.clients.flush_within(FLUSH_MS);
        0
    }

    /// What this keeper has not made is somebody else's.
    fn end_group(&self) -> Result<()> {
        match &self.keeper.unit {
            None if !self.made => Ok(()),
            Some(unit) if !unit.is_made() => Ok(()),
            unit => {
                self.keeper.group.kill().ok();
                let removed = self.keeper.group.remove();
                // It goes with its last process; this forgets how it ended.
                unit.as_ref().map_or(Ok(()), Unit::stop).ok();
                removed
            }
        }
    }

    /// The lock's file goes last: as long as it is there and held, nobody else touches the directory.
    fn clear_run_directory(&self) -> Result<()> {
        let path = kernel::root::path_of(&self.keeper.run)?;
        for entry in kernel::file::names(&path)? {
            if entry != state::ALIVE {
                kernel::file::remove_any(&path.join(entry))?;
            }
        }
        kernel::file::remove(&path.join(state::ALIVE))?;
        kernel::file::remove_directory(&path)
    }

    fn tell_event(&self, event: &str, attributes: &[(&str, String)]) {
        // The directory has the container's name, also after it was renamed.
        let path = kernel::root::path_of(&self.keeper.directory).unwrap_or_default();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.keeper.events.append(event, &self.keeper.id, &name, attributes).ok();
    }
}

/// Limits a group, guards its devices, and gives the one of a whole system to its root.
fn fill_group(group: &Group, plan: &Plan, system: Option<u32>) -> Result<()> {
    let settings: Vec<_> = plan.cgroup.settings.iter().map(|one| one.0.clone()).collect();
    group.apply(&settings)?;
    let rules: Vec<_> = plan.cgroup.devices.iter().map(|rule| rule.0).collect();
    group.guard_devices(&rules)?;
    if plan.sources.iter().any(|source| matches!(source, plan::Source::View { .. })) {
        let root = plan.uid_map.iter().find(|map| map.inside == 0).map_or(0, |map| map.outside);
        group.give_pressure(root)?;
    }
    if let Some(root) = system {
        group.bound(DEEPEST, MOST_GROUPS)?;
        group.delegate(root, root)?;
    }
    Ok(())
}

/// What comes after an end.
enum Next {
    /// Nothing.
    End,
    /// The policy wants it started again.
    Again,
    /// It begins again by itself; after a short time when it does so often.
    Reboot {
        /// It did not run for long.
        short: bool,
    },
}

/// Does the policy want it started again?
fn again(policy: RestartPolicy, exited: &Exited, restarts: u32) -> bool {
    match policy {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure(limit) => exited.code != 0 && (limit == 0 || restarts < limit),
    }
}

/// `OwnedFd::try_clone` with this crate's errors.
trait TryCloneFd {
    fn try_clone_fd(&self) -> Result<OwnedFd>;
}

impl TryCloneFd for OwnedFd {
    fn try_clone_fd(&self) -> Result<OwnedFd> {
        kernel::Call::call(self.try_clone(), || "fcntl(F_DUPFD_CLOEXEC)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let exited = |code| Exited {
            code,
            started: None,
            finished: String::new(),
            oom_killed: false,
            restarts: 0,
            error: None,
            by_hand: false,
        };
        assert!(!again(Restart::No, &exited(1), 0));
        assert!(again(Restart::Always, &exited(0), 99));
        assert!(!again(Restart::OnFailure(3), &exited(0), 0));
        assert!(again(Restart::OnFailure(3), &exited(1), 2));
        assert!(!again(Restart::OnFailure(3), &exited(1), 3));
        assert!(again(Restart::OnFailure(0), &exited(1), 1000));
    }
}
