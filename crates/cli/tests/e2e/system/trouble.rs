// SPDX-License-Identifier: Apache-2.0
//! Inits that do not do what is asked of them, and keepers that die.

use std::time::Instant;

use super::roots::image;
use crate::support::{Store, until};

#[test]
fn an_init_that_exits_at_once_is_told() {
    let test = "an_init_that_exits_at_once_is_told";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    // The words after the image are the init.
    let done = store.cella(&["run", "--system", "--rm", &image, "/bin/sh", "-c", "echo bye; exit 3"]);
    assert_eq!((done.code, done.out.contains("bye")), (3, true));
    let error = store.cella(&["run", "--system", "--rm", &image, "/bin/nothing"]).fails(127);
    assert!(error.contains("/bin/nothing"), "{error}");
    store.finish();
}

#[test]
fn an_init_that_ignores_its_signal_is_killed_in_time() {
    let test = "an_init_that_ignores_its_signal_is_killed_in_time";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    let script = "trap '' TERM INT USR2; while :; do sleep 1; done";
    store.cella(&["run", "-d", "--system", "--name", "m", &image, "/bin/sh", "-c", script]).ok();
    let start = Instant::now();
    store.cella(&["stop", "-t", "1", "m"]).ok();
    assert!((1..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(store.inspect("m", "exit_code"), "137");
    // So is one that is to begin again, and does then.
    store.cella(&["start", "m"]).ok();
    let pid = store.inspect("m", "pid");
    store.cella(&["reboot", "-t", "1", "m"]).ok();
    until("it begins again", || {
        let now = store.inspect("m", "pid");
        now != pid && now != "null"
    });
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn one_that_is_never_up_is_told_and_goes_on() {
    let test = "one_that_is_never_up_is_told_and_goes_on";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    let wait = "printf '[Service]\\nType=oneshot\\nExecStart=sleep 100\\n[Install]\\nWantedBy=multi-user.target\\n' \
                > /etc/systemd/system/slow.service; systemctl enable -q slow; sync";
    store.cella(&["launch", &image, "m"]).ok();
    store.cella(&["exec", "m", "sh", "-c", wait]).ok();
    store.cella(&["stop", "m"]).ok();
    let error = store.cella(&["start", "--wait-ready", "--ready-timeout", "2", "m"]).fails(1);
    assert!(error.contains("m runs, but was not up after 2 s") && error.contains("cella boot-log m"), "{error}");
    assert_eq!(store.inspect("m", "status"), "running");
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn the_death_of_its_keeper_or_init_leaves_nothing() {
    let test = "the_death_of_its_keeper_or_init_leaves_nothing";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    for who in ["keeper", "pid"] {
        store.cella(&["launch", &image, "m"]).ok();
        let victim = store.inspect("m", who);
        std::process::Command::new("kill").args(["-9", &victim]).status().unwrap();
        until("its end", || store.inspect("m", "status") == "exited");
        assert_eq!(store.inspect("m", "exit_code"), "137", "{who}");
        store.cella(&["start", "--wait-ready", "m"]).ok();
        store.cella(&["rm", "-f", "m"]).ok();
    }
    store.finish();
}

#[test]
fn only_the_init_says_that_it_is_up() {
    let test = "only_the_init_says_that_it_is_up";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    // A shell by the name of an init that says when it is up: its child says so in its stead.
    let shell = format!("{}/usr/bin/dash:/opt/systemd:ro,exec", image.strip_prefix("dir:").unwrap());
    let script = "systemd-notify --ready; echo said; while :; do sleep 1; done";
    store.cella(&["run", "-d", "--system", "--name", "m", "-v", &shell, &image, "/opt/systemd", "-c", script]).ok();
    until("its child has said so", || store.cella(&["logs", "m"]).out.contains("said"));
    assert_eq!(store.inspect("m", "ready"), "null");
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}
