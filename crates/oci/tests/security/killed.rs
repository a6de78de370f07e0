// SPDX-License-Identifier: Apache-2.0
//! A runtime, or what it has started, that is killed at any of its system calls: `delete --force` clears away what is there.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::breakpoint::{self, Act, Ended, Stop, Which, every};
use crate::oracle;
use crate::support::{Bundle, can_run};

/// The runtime is the first process, the one that becomes the container's program the second.
const LAUNCHER: usize = 0;
const STUB: usize = 1;

/// One call of so many is tried, unless told otherwise.
const STEP: usize = 7;

/// `start` makes some 40 calls.
const START_STEP: usize = 3;

/// Kills this process at each of its calls while the verb is under way.
struct Killer {
    bundle: Bundle,
    arguments: Vec<&'static str>,
    process: usize,
    prepare: fn(&mut Bundle),
}

impl Killer {
    fn new(mut bundle: Bundle, arguments: &[&'static str], process: usize, prepare: fn(&mut Bundle)) -> Self {
        let script = if arguments == ["run"] { "true" } else { "exec sleep 1000" };
        bundle.mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup"]).script(script).write();
        Self { bundle, arguments: arguments.to_vec(), process, prepare }
    }

    fn run(&mut self, act: &mut dyn FnMut(Stop) -> Act) -> Ended {
        (self.prepare)(&mut self.bundle);
        let arguments = [&self.arguments[..], &[&self.bundle.tag]].concat();
        breakpoint::run(&self.bundle, &arguments, Which::All, act)
    }

    /// What a process had begun can be cleared away, and nothing is left then.
    fn cleared(&self, what: &str) {
        let done = self.bundle.call(&["delete", "--force", &self.bundle.tag]);
        assert_eq!(done.code, 0, "{what}: delete: {done:?}");
        let deadline = Instant::now() + Duration::from_secs(8);
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: left: {left:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What can be seen of it quickly.
    fn left(&self) -> Vec<String> {
        let tag = &self.bundle.tag;
        let mut left = oracle::processes(tag);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(tag.as_str())).map(str::to_owned));
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        let places = hierarchies.chain([self.bundle.root()]).map(|place| place.join(tag));
        left.extend(places.filter(|place| place.exists()).map(|place| place.display().to_string()));
        left
    }

    fn everywhere(mut self, step: usize) {
        let (step, offset) = every(step);
        let calls = self.run(&mut |_| Act::Go).calls;
        self.cleared("undisturbed");
        let (mut codes, mut runs) = (BTreeMap::new(), 0);
        for call in (1..=calls[self.process]).filter(|call| call % step == offset) {
            let process = self.process;
            let mut killed = None;
            let ended = self.run(&mut |stop: Stop| {
                if (stop.process, stop.call) != (process, call) {
                    return Act::Go;
                }
                killed = Some(stop);
                Act::Kill
            });
            let what = format!("killed at call {call} of process {process}, {killed:?}: {ended:?}");
            if process == STUB {
                self.told(&what, &ended);
                // The very last call is the one in which it waits for `start`: whoever waits for it is told that it waits.
                let began = killed.is_none() || call + 1 >= calls[STUB];
                assert!(began || ended.code != 0, "{what}: a success");
            }
            self.cleared(&what);
            *codes.entry(ended.code).or_insert(0) += 1;
            runs += 1;
            if runs % 64 == 0 {
                self.bundle.unchanged();
            }
        }
        println!("{calls:?} calls, {runs} runs, exit codes {codes:?}");
        assert!(runs > 5, "only {runs} runs");
        // The id is free.
        self.bundle.sh("true").ok();
        self.bundle.finish();
    }

    /// Whoever sees that its child has died says so, and leaves nothing itself. `run` has the code of a program that ran.
    fn told(&self, what: &str, ended: &Ended) {
        let of_program = self.arguments == ["run"] && ended.code == 137;
        assert!(of_program || (ended.code < 128 && ended.code != 101), "{what}");
        if ended.code != 0 {
            assert!(of_program || ended.err.contains("cella-oci: "), "{what}: no reason");
            assert!(!self.bundle.root().join(&self.bundle.tag).exists(), "{what}: its state is left");
        }
    }
}

fn nothing(_: &mut Bundle) {}

fn created(bundle: &mut Bundle) {
    bundle.create(&[]).ok();
}

fn running(bundle: &mut Bundle) {
    bundle.create(&[]).ok();
    bundle.call(&["start", &bundle.tag]).ok();
}

#[test]
fn check_3_create_is_killed_at_each_call() {
    if !can_run("check_3_create_is_killed_at_each_call") {
        return;
    }
    Killer::new(Bundle::of_release("killcreate"), &["create"], LAUNCHER, nothing).everywhere(STEP);
}

#[test]
fn check_3_what_create_has_started_is_killed_at_each_call() {
    if !can_run("check_3_what_create_has_started_is_killed_at_each_call") {
        return;
    }
    Killer::new(Bundle::of_release("killstub"), &["create"], STUB, nothing).everywhere(STEP);
}

#[test]
fn check_3_what_run_has_started_is_killed_at_each_call() {
    if !can_run("check_3_what_run_has_started_is_killed_at_each_call") {
        return;
    }
    Killer::new(Bundle::of_release("killrun"), &["run"], STUB, nothing).everywhere(STEP);
}

#[test]
fn check_3_start_is_killed_at_each_call() {
    if !can_run("check_3_start_is_killed_at_each_call") {
        return;
    }
    Killer::new(Bundle::of_release("killstart"), &["start"], LAUNCHER, created).everywhere(START_STEP);
}

#[test]
fn check_3_delete_is_killed_at_each_call() {
    if !can_run("check_3_delete_is_killed_at_each_call") {
        return;
    }
    Killer::new(Bundle::of_release("killdelete"), &["delete", "--force"], LAUNCHER, running).everywhere(STEP);
}
