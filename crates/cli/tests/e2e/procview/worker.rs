// SPDX-License-Identifier: Apache-2.0
//! The process that serves dies, stands still, or is starved: readers do not notice, or can be ended.

use std::process::Command;
use std::time::Duration;

use super::{gone, inside, number, started, worker, worker_of};
use crate::support::{Store, until};

fn kill(signal: &str, pid: i32) {
    Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
}

/// The worker of a container in which somebody asks all the time.
fn awake(store: &Store) -> i32 {
    let ask = "while :; do read a < /proc/uptime; sleep 0.1; done";
    store.cella(&["exec", "-d", "v", "sh", "-c", ask]).ok();
    until("a worker", || worker(store).is_some());
    worker(store).unwrap()
}

/// Reads all the time, and says how often, and what went wrong.
const READER: &str = "
import os
count, wrong = 0, []
while not os.path.exists('/tmp/enough'):
    for path, start in (('/proc/meminfo', b'MemTotal:'), ('/proc/stat', b'cpu '), ('/proc/uptime', b''), ('/proc/cpuinfo', b'processor')):
        try:
            text = open(path, 'rb').read()
            if not text.startswith(start) or not text.endswith(b'\\n'):
                wrong.append((path, len(text), text[-60:]))
        except OSError as error:
            wrong.append((path, str(error)))
        count += 1
print(count, len(wrong), wrong[:3])";

#[test]
fn killed_a_hundred_times_under_four_readers() {
    let Some(store) = started("killed_a_hundred_times_under_four_readers", &["--memory", "256m"]) else { return };
    let readers: Vec<_> = (0..4).map(|_| store.piped(&["exec", "v", "python3", "-c", READER])).collect();
    let keeper = store.inspect("v", "keeper");
    for _ in 0..100 {
        let mut found = None;
        until("a worker", || {
            found = worker_of(&keeper);
            found.is_some()
        });
        kill("-9", found.unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
    inside(&store, "touch /tmp/enough");
    for reader in readers {
        let done: crate::support::Done = reader.wait_with_output().unwrap().into();
        let text = done.ok();
        let (count, rest) = text.split_once(' ').unwrap();
        assert!(number(count) > 100 && rest.starts_with("0 "), "{text}");
    }
    gone(store);
}

#[test]
fn who_asks_by_sysinfo_is_answered_by_the_next_worker() {
    let test = "who_asks_by_sysinfo_is_answered_by_the_next_worker";
    let Some(store) = started(test, &["--memory", "64m"]) else { return };
    let script = "i=0; while [ $i -lt 60 ]; do busybox free | sed -n 's/^Mem: *\\([0-9]*\\).*/\\1/p'; i=$((i+1)); done | sort -u";
    let reader = store.piped(&["exec", "v", "sh", "-c", script]);
    let mut reader = reader;
    while reader.try_wait().unwrap().is_none() {
        // It may die by itself first.
        worker(&store).into_iter().for_each(|pid| kill("-9", pid));
        std::thread::sleep(Duration::from_millis(10));
    }
    let done: crate::support::Done = reader.wait_with_output().unwrap().into();
    assert_eq!(done.ok(), "65536");
    gone(store);
}

#[test]
fn one_that_stands_still_keeps_nobody_from_being_killed() {
    let test = "one_that_stands_still_keeps_nobody_from_being_killed";
    let Some(store) = started(test, &["--memory", "64m"]) else { return };
    let stopped = awake(&store);
    kill("-STOP", stopped);
    // Two that wait for it: for a file, and for a system call.
    for (name, waiting) in [("file", "cat /proc/vmstat"), ("call", "busybox free")] {
        store.cella(&["exec", "-d", "v", "sh", "-c", &format!("echo $$ > /tmp/{name}; exec {waiting}")]).ok();
        until("it began", || !inside(&store, &format!("cat /tmp/{name} 2>/dev/null; :")).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        inside(&store, &format!("kill -9 $(cat /tmp/{name})"));
        let gone = format!("[ -e /proc/$(cat /tmp/{name})/exe ] && echo yes; :");
        until("it is gone", || inside(&store, &gone).is_empty());
    }
    // A container with a worker that hangs can be ended.
    store.cella(&["stop", "-t", "0", "v"]).ok();
    gone(store);
}

#[test]
fn one_without_descriptors_serves_on() {
    let Some(store) = started("one_without_descriptors_serves_on", &["--memory", "64m"]) else { return };
    inside(&store, "cat /proc/meminfo /proc/stat /proc/cpuinfo > /dev/null");
    let pid = awake(&store).to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--nofile=1:"]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(100));
    let seen = inside(&store, "grep MemTotal /proc/meminfo; grep -c ^cpu0 /proc/stat; head -1 /proc/cpuinfo");
    assert!(seen.starts_with("MemTotal:          65536 kB\n1\nprocessor"), "{seen}");
    gone(store);
}

#[test]
fn the_keeper_dies_and_nobody_hangs() {
    let Some(store) = started("the_keeper_dies_and_nobody_hangs", &["--memory", "64m"]) else { return };
    let keeper: i32 = store.inspect("v", "keeper").parse().unwrap();
    kill("-9", keeper);
    until("all of it ends", || store.cella(&["ls", "-q"]).ok().is_empty());
    assert_eq!(store.inspect("v", "status"), "exited");
    gone(store);
}

#[test]
fn one_that_nobody_asks_ends_until_somebody_does() {
    let test = "one_that_nobody_asks_ends_until_somebody_does";
    let Some(store) = started(test, &["--memory", "64m", "--cpus", "2"]) else { return };
    let idle = |text: &str| number(text.split_whitespace().nth(4).unwrap());
    let before = inside(&store, "sleep 1; head -n 1 /proc/stat");
    store.cella(&["set", "v", "--cpus", "1"]).ok();
    until("it has ended", || worker(&store).is_none());
    // What was shown does not go back, although there are fewer processors now.
    assert!(idle(&inside(&store, "head -n 1 /proc/stat")) >= idle(&before));
    until("it has ended", || worker(&store).is_none());
    assert!(inside(&store, "busybox free").contains(" 65536 "), "sysinfo finds one too");
    store.cella(&["stop", "-t", "0", "v"]).ok();
    store.cella(&["start", "v"]).ok();
    assert!(inside(&store, "cat /proc/meminfo").contains(" 65536 kB"));
    gone(store);
}

#[test]
fn times_do_not_go_back_with_a_new_worker() {
    let Some(store) = started("times_do_not_go_back_with_a_new_worker", &["--cpus", "2"]) else { return };
    let stat = || {
        let text = inside(&store, "head -n 1 /proc/stat");
        text.split_whitespace().skip(1).map(number).collect::<Vec<u64>>()
    };
    inside(&store, "timeout 0.5 sh -c 'while :; do :; done'; :");
    let mut last = stat();
    for cpus in ["1", "2", "1"] {
        store.cella(&["set", "v", "--cpus", cpus]).ok();
        std::thread::sleep(Duration::from_millis(60));
        inside(&store, "cat /proc/stat");
        worker(&store).into_iter().for_each(|pid| kill("-9", pid));
        let now = stat();
        assert!(last.iter().zip(&now).all(|(before, after)| before <= after), "{last:?} {now:?}");
        last = now;
    }
    gone(store);
}
