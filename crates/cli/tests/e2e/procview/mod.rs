// SPDX-License-Identifier: Apache-2.0
//! The container's own /proc and /sys, against its group's own files.

mod files;
mod hostile;
mod others;
mod programs;
mod systems;
mod worker;

use std::fs;

use crate::support::{Store, is_root, skip};

/// A container that sleeps, with these flags; where the host can show a view.
fn started(test: &str, flags: &[&str]) -> Option<Store> {
    if !is_there(test) {
        return None;
    }
    let store = Store::new(test);
    run(&store, "v", flags);
    Some(store)
}

fn is_there(test: &str) -> bool {
    if !is_root(test) {
        return false;
    }
    let there = fs::metadata("/dev/fuse").is_ok();
    if !there {
        skip(test, "this host has no /dev/fuse");
    }
    there
}

fn run(store: &Store, name: &str, flags: &[&str]) {
    store.cella(&[&["run", "-d", "--name", name], flags, &["host", "sleep", "1000"]].concat()).ok();
}

/// What a shell script in the container says.
#[track_caller]
fn inside(store: &Store, script: &str) -> String {
    store.cella(&["exec", "v", "sh", "-c", script]).ok()
}

#[track_caller]
fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

/// The number behind a key at the start of a line.
#[track_caller]
fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
    number(line.trim_start_matches(':').split_whitespace().next().unwrap_or_default())
}

/// A file of the container's group: of version 1 or of version 2, whichever this host has.
fn group_text(store: &Store, files: [&str; 2]) -> String {
    let group = store.inspect("v", "cgroup");
    let places = files.iter().flat_map(|file| {
        let controller = file.split('.').next().unwrap();
        let controllers = if controller == "cpuacct" { vec!["cpu,cpuacct", "cpuacct"] } else { vec![controller] };
        let mut list: Vec<String> =
            controllers.iter().map(|one| format!("/sys/fs/cgroup/{one}/{group}/{file}")).collect();
        list.extend([format!("/sys/fs/cgroup/{group}/{file}"), format!("/sys/fs/cgroup/unified/{group}/{file}")]);
        list
    });
    let text = places.filter_map(|path| fs::read_to_string(path).ok()).next();
    text.unwrap_or_else(|| panic!("no {files:?} of {group}"))
}

/// The view as the host reads it, through the root of the container's first process.
fn seen(store: &Store, path: &str) -> String {
    fs::read_to_string(format!("/proc/{}/root{path}", store.inspect("v", "pid"))).unwrap()
}

/// The process that serves the container's view.
fn worker(store: &Store) -> Option<i32> {
    worker_of(&store.inspect("v", "keeper"))
}

fn worker_of(keeper: &str) -> Option<i32> {
    let list = std::process::Command::new("pgrep").args(["-P", keeper, "-x", "cella-view"]).output().unwrap().stdout;
    String::from_utf8(list).unwrap().lines().next().map(|pid| pid.parse().unwrap())
}

fn gone(store: Store) {
    store.cella(&["rm", "-f", "v"]).ok();
    store.finish();
}
