// SPDX-License-Identifier: Apache-2.0
//! A runtime that is killed between two steps: what it has begun can be cleared away.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Bundle, can_run, finish_within};

#[test]
fn check_3_a_create_that_was_killed_is_cleared_away() {
    if !can_run("check_3_a_create_that_was_killed_is_cleared_away") {
        return;
    }
    let mut bundle = Bundle::new("killed");
    bundle.mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup"]).script("exec sleep 1000").write();
    let (mut early, mut late) = (0, 0);
    for half in 0..60 {
        let mut child =
            bundle.command(&["create", &bundle.tag]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(half * 500));
        match child.try_wait().unwrap() {
            None => early += 1,
            Some(_) => late += 1,
        }
        child.kill().ok();
        child.wait().unwrap();
        let done = bundle.call(&["delete", "--force", &bundle.tag]);
        assert_eq!(done.code, 0, "after {half} half milliseconds: {done:?}");
        bundle.unchanged();
        assert!(!bundle.root().join(&bundle.tag).exists(), "after {half} half milliseconds");
    }
    println!("{early} were killed, {late} had ended");
    // The id is free again.
    bundle.sh("true").ok();
    bundle.finish();
}

#[test]
fn check_3_a_run_and_an_exec_that_were_killed() {
    if !can_run("check_3_a_run_and_an_exec_that_were_killed") {
        return;
    }
    let mut bundle = Bundle::new("killedrun");
    bundle.script("exec sleep 1000").write();
    for milliseconds in 0..15 {
        let mut child =
            bundle.command(&["run", &bundle.tag]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds * 2));
        child.kill().unwrap();
        child.wait().unwrap();
        bundle.call(&["delete", "--force", &bundle.tag]).ok();
        bundle.unchanged();
    }
    bundle.start();
    for milliseconds in 0..15 {
        let mut command = bundle.command(&["exec", &bundle.tag, "/bin/sleep", "1000"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    bundle.finish();
}

#[test]
fn check_4_nothing_is_gathered_over_many_containers() {
    if !can_run("check_4_nothing_is_gathered_over_many_containers") {
        return;
    }
    let mut bundle = Bundle::new("many");
    for _ in 0..25 {
        bundle.start();
        bundle.exec(&[], "true").ok();
        bundle.delete();
    }
    bundle.finish();
}

#[test]
fn check_131_a_caller_that_does_not_read_holds_nothing() {
    if !can_run("check_131_a_caller_that_does_not_read_holds_nothing") {
        return;
    }
    let mut bundle = Bundle::new("slow");
    // The pipe's reader is gone at once: the writers end, and delete does not wait for anybody.
    bundle.script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done").write();
    let mut child = bundle.command(&["run", &bundle.tag]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let done = finish_within(bundle.command(&["delete", "--force", &bundle.tag]), Duration::from_secs(20));
    assert_eq!(done.code, 0, "{done:?}");
    drop(child.stdout.take());
    child.wait().unwrap();
    bundle.finish();
}
