// SPDX-License-Identifier: Apache-2.0
//! kill -9 at any moment: the next command mends what was left.

use std::process::{Command, Stdio};

use crate::support::{PATIENCE, Store, is_root, program, until};

#[test]
fn a_dead_keeper_takes_its_container_along_and_start_works_again() {
    if !is_root("a_dead_keeper_takes_its_container_along_and_start_works_again") {
        return;
    }
    let store = Store::new("keeper");
    store.cella(&["run", "-d", "--name", "k", "host", "sh", "-c", "sleep 60 & sleep 60"]).ok();
    let (pid, keeper) = (store.inspect("k", "pid"), store.inspect("k", "keeper"));
    Command::new("kill").args(["-9", &keeper]).status().unwrap();
    until("the end of the program", || !std::path::Path::new("/proc").join(&pid).join("root/etc").exists());
    assert_eq!((store.inspect("k", "status"), store.inspect("k", "exit_code")), ("exited".into(), "137".into()));
    assert!(store.inspect("k", "error").contains("keeper"));
    store.cella(&["start", "k"]).ok();
    assert_eq!(store.inspect("k", "status"), "running");
    store.cella(&["rm", "-f", "k"]).ok();
    store.finish();
}

#[test]
fn a_throw_away_container_whose_keeper_dies_is_thrown_away() {
    if !is_root("a_throw_away_container_whose_keeper_dies_is_thrown_away") {
        return;
    }
    let store = Store::new("rmkeeper");
    store.cella(&["run", "-d", "--rm", "--name", "k", "host", "sleep", "60"]).ok();
    let keeper = store.inspect("k", "keeper");
    Command::new("kill").args(["-9", &keeper]).status().unwrap();
    until("its removal", || store.cella(&["ls", "-aq"]).ok().is_empty());
    store.finish();
}

/// The command, killed at its n-th system call; with its children, so that each of our processes is hit. Says whether
/// it got to its end before that.
fn killed_at(store: &Store, number: usize, arguments: &[&str]) -> bool {
    // A keeper that lives on would be waited for: without its tracer it goes on alone.
    let mut command = Command::new("timeout");
    command.args([
        "-s",
        "KILL",
        "1",
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("inject=all:signal=SIGKILL:when={number}"),
    ]);
    command.arg(program()).args(arguments).env("CELLA_ROOT", &store.root);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.success()
}

/// After a crash every command works, and in the end nothing is left.
fn mended(store: &Store, number: usize, verb: &str) {
    let listed = store.cella(&["ls", "-a"]);
    assert_eq!(listed.code, 0, "{verb} killed at {number}: {}", listed.err);
    if store.cella(&["ls", "-aq"]).ok().is_empty() {
        store.cella(&["create", "--name", "c", "host", "sleep", "60"]).ok();
    }
    let started = store.cella(&["start", "c"]);
    assert_eq!(started.code, 0, "{verb} killed at {number}: start: {}", started.err);
    assert_eq!(store.cella(&["exec", "c", "echo", "hi"]).ok(), "hi", "{verb} killed at {number}");
    let removed = store.cella(&["rm", "-f", "c"]);
    assert_eq!(removed.code, 0, "{verb} killed at {number}: rm: {}", removed.err);
    store.cella(&["create", "--name", "d", "host", "true"]).ok();
    store.cella(&["rm", "d"]).ok();
    store.cella(&["doctor", "--repair"]);
    let mut left = store.leftovers();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !left.is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
        left = store.leftovers();
    }
    assert!(left.is_empty(), "{verb} killed at {number}: {left:#?}");
}

/// Each system call of the verb in turn; the step keeps the time in bounds, and every run takes another offset.
fn kill_at_each(test: &str, verb: &str, prepare: &[&[&str]], arguments: &[&str]) {
    if !is_root(test) {
        return;
    }
    let every = std::env::var("CELLA_KILL_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(23);
    let store = Store::new(test);
    store.cella(&["run", "--rm", "host", "true"]).ok();
    let offset = std::process::id() as usize % every;
    let mut number = 1 + offset;
    loop {
        for command in prepare {
            store.cella(command).ok();
        }
        let ended = killed_at(&store, number, arguments);
        mended(&store, number, verb);
        // Past the last system call of every one of our processes.
        if ended && number > 2000 || number > 4000 {
            break;
        }
        number += if number < 1200 { every } else { 400 };
    }
    store.finish();
}

const CREATE: &[&str] = &["create", "--name", "c", "host", "sleep", "60"];

#[test]
fn serial_create_killed_at_each_system_call() {
    kill_at_each("serial_create_killed_at_each_system_call", "create", &[], CREATE);
}

#[test]
fn serial_start_killed_at_each_system_call() {
    kill_at_each("serial_start_killed_at_each_system_call", "start", &[CREATE], &["start", "c"]);
}

#[test]
fn serial_stop_killed_at_each_system_call() {
    kill_at_each(
        "serial_stop_killed_at_each_system_call",
        "stop",
        &[CREATE, &["start", "c"]],
        &["stop", "-t", "0", "c"],
    );
}

#[test]
fn serial_rm_killed_at_each_system_call() {
    kill_at_each("serial_rm_killed_at_each_system_call", "rm", &[CREATE, &["start", "c"]], &["rm", "-f", "c"]);
}
