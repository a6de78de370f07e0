// SPDX-License-Identifier: Apache-2.0
//! Stops the runtime and all its children at their system calls: one of them, the n-th of one process, is where a test acts.
//!
//! By ptrace(2), from one thread, which the kernel asks for. A command starts as a shell that waits for a line: it is seized
//! then, since what runs between fork and execve could only be code of ours that is unsafe.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{is_path_call, name_of};
use crate::support::Bundle;

/// What hangs is killed after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which system calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that look something up in a file system, or change one.
    Paths,
    All,
}

/// A system call that is about to be done: the `call`-th that counts, from 1, of the `process`-th process, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) process: usize,
    pub(crate) call: usize,
    /// What is called.
    pub(crate) name: &'static str,
}

/// What is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Go,
    /// Nobody is stopped any more.
    Free,
    /// The process dies, and the call is not done.
    Kill,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Ended {
    /// 128 + the signal for one that was killed.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// How many calls of each process were counted.
    pub(crate) calls: Vec<usize>,
}

/// Runs `cella-oci` with these arguments to its end, stopped at each call that counts. Processes that live longer than
/// it go on alone.
#[expect(clippy::zombie_processes, reason = "it is the tracer that waits for it")]
pub(crate) fn run(bundle: &Bundle, arguments: &[&str], which: Which, act: &mut dyn FnMut(Stop) -> Act) -> Ended {
    let command = bundle.command(arguments);
    let mut shell = Command::new("/bin/busybox");
    shell.args(["sh", "-c", r#"read line; exec "$@" < /dev/null"#, "sh"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(&bundle.directory).stdin(Stdio::piped());
    let said = |name: &str| bundle.directory.join(name);
    shell.stdout(File::create(said("out")).unwrap()).stderr(File::create(said("err")).unwrap());
    let mut child = shell.spawn().unwrap();
    let first = Pid::from_raw(child.id().try_into().unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, options).unwrap();
    let watch = Watchdog::start(first);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut tracer = Tracer { first, which, act, calls: Vec::new(), seen: BTreeMap::new(), free: false };
    let code = tracer.trace();
    let calls = tracer.calls;
    assert!(!watch.stop(), "it hangs: {arguments:?} {calls:?}");
    let read = |name: &str| String::from_utf8_lossy(&std::fs::read(said(name)).unwrap()).into_owned();
    Ended { code, out: read("out"), err: read("err"), calls }
}

/// Kills what takes too long; a thread that is stopped in ptrace(2) could not.
struct Watchdog {
    end: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(pid: Pid) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let late = ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            late && signal::kill(pid, Signal::SIGKILL).is_ok()
        });
        Self { end, thread }
    }

    /// Says whether it had to.
    fn stop(self) -> bool {
        self.end.send(()).ok();
        self.thread.join().unwrap()
    }
}

struct Tracer<'a> {
    first: Pid,
    which: Which,
    act: &'a mut dyn FnMut(Stop) -> Act,
    /// How many calls of each were counted, in the order of their appearance.
    calls: Vec<usize>,
    seen: BTreeMap<Pid, usize>,
    free: bool,
}

impl Tracer<'_> {
    /// Goes on until the first process has ended; its code.
    fn trace(&mut self) -> i32 {
        loop {
            let status = next();
            let ended = match status {
                WaitStatus::Exited(pid, code) => self.ended(pid, code),
                WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32),
                other => {
                    self.stopped(other);
                    None
                }
            };
            if let Some(code) = ended {
                self.let_go();
                return code;
            }
        }
    }

    fn ended(&mut self, pid: Pid, code: i32) -> Option<i32> {
        self.seen.remove(&pid);
        (pid == self.first).then_some(code)
    }

    fn index(&mut self, pid: Pid) -> usize {
        let calls = &mut self.calls;
        *self.seen.entry(pid).or_insert_with(|| {
            calls.push(0);
            calls.len() - 1
        })
    }

    fn stopped(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, ..) => {
                self.index(pid);
                self.go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            other => panic!("an unknown stop: {other:?}"),
        }
    }

    fn call(&mut self, pid: Pid) {
        let index = self.index(pid);
        let counts = |number: &i64| self.which == Which::All || is_path_call(*number);
        let Some(number) = entered(pid).filter(counts).filter(|_| !self.free) else {
            return self.go_on(pid, None);
        };
        self.calls[index] += 1;
        let stop = Stop { process: index, call: self.calls[index], name: name_of(number) };
        match (self.act)(stop) {
            Act::Go => {}
            Act::Free => self.free = true,
            Act::Kill => {
                self.free = true;
                signal::kill(pid, Signal::SIGKILL).unwrap();
            }
        }
        self.go_on(pid, None);
    }

    /// To the next stop. One that was killed meanwhile is not there to go on.
    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        let done = if self.free { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) };
        assert!(matches!(done, Ok(()) | Err(Errno::ESRCH)), "{done:?}");
    }

    /// Whoever is left goes on without us.
    fn let_go(&mut self) {
        let left: Vec<Pid> = self.seen.keys().copied().collect();
        for pid in left {
            // It may be stopped already, and have been told so or not.
            ptrace::interrupt(pid).ok();
            while self.seen.contains_key(&pid) {
                match waitpid(pid, Some(WaitPidFlag::__WALL)) {
                    Ok(WaitStatus::Stopped(_, signal)) => self.leave(pid, Some(signal)),
                    Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => {
                        self.seen.remove(&pid);
                    }
                    Ok(_) => self.leave(pid, None),
                }
            }
        }
    }

    fn leave(&mut self, pid: Pid, signal: Option<Signal>) {
        ptrace::detach(pid, signal).ok();
        self.seen.remove(&pid);
    }
}

/// What happened next, to a process of this thread alone: a test beside us waits for its own.
fn next() -> WaitStatus {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => {}
            other => return other.unwrap(),
        }
    }
}

/// The number of the call that is about to be done; none after one, or when the process has been killed.
fn entered(pid: Pid) -> Option<i64> {
    let stop = ptrace::syscall_info(pid).ok()?;
    if stop.op == libc::PTRACE_SYSCALL_INFO_ENTRY { number_of(pid) } else { None }
}

#[cfg(target_arch = "x86_64")]
fn number_of(pid: Pid) -> Option<i64> {
    ptrace::getregs(pid).ok().map(|registers| registers.orig_rax.cast_signed())
}

#[cfg(target_arch = "aarch64")]
fn number_of(pid: Pid) -> Option<i64> {
    ptrace::getregs(pid).ok().map(|registers| registers.regs[8].cast_signed())
}

/// The step between the calls that are tried, and where it begins: `CELLA_BREAK_EVERY=1` is for all of them. Who runs the
/// tests again and again meets all, too: the beginning is that of the test's process.
pub(crate) fn every(default: usize) -> (usize, usize) {
    let step = std::env::var("CELLA_BREAK_EVERY").map_or(default, |text| text.parse().unwrap());
    (step, std::process::id() as usize % step)
}
