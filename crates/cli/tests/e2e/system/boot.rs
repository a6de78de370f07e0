// SPDX-License-Identifier: Apache-2.0
//! They come up with nothing failed, and go down when they are asked to.

use super::roots::image;
use crate::support::{Store, until};

/// Boots it, looks at it, has it reboot from inside, and powers it off.
fn boots(test: &str, distribution: &str, init: &str) {
    let Some(image) = image(test, distribution) else { return };
    let store = Store::new(test);
    let line = store.cella(&["launch", &image, "m"]).ok();
    let words: Vec<&str> = line.split("  ").collect();
    assert_eq!(words.first(), Some(&"m"), "{line}");
    let log = || store.cella(&["boot-log", "m"]).ok();
    assert!(words.contains(&"running") && line.contains(init), "{line}\n{}", log());
    if init.starts_with("systemd") {
        assert!(words.contains(&"0 failed units"), "{line}\n{}", log());
        let state = store.cella(&["exec", "m", "systemctl", "is-system-running", "--wait"]).ok();
        assert_eq!(state, "running");
        assert_eq!(store.cella(&["exec", "m", "systemctl", "--failed", "--no-legend"]).ok(), "");
        assert_eq!(store.cella(&["exec", "m", "stat", "-fc", "%T", "/sys/fs/cgroup"]).ok(), "cgroup2fs");
    }
    assert_eq!(store.cella(&["exec", "m", "hostname"]).ok(), "m");
    assert_eq!(store.cella(&["exec", "m", "cat", "/etc/hostname"]).ok(), "m");
    let first = store.inspect("m", "pid");
    store.cella(&["exec", "m", "reboot"]);
    until("its reboot", || store.inspect("m", "pid") != first && store.inspect("m", "ready") != "null");
    assert_eq!(store.inspect("m", "restart_count"), "0", "a reboot is no restart of the policy");
    store.cella(&["poweroff", "m"]).ok();
    assert_eq!((store.inspect("m", "status"), store.inspect("m", "exit_code")), ("exited".into(), "0".into()));
    store.cella(&["rm", "m"]).ok();
    store.finish();
}

#[test]
fn debian_bookworm_boots() {
    boots("debian_bookworm_boots", "bookworm", "systemd 252");
}

#[test]
fn debian_trixie_boots() {
    boots("debian_trixie_boots", "trixie", "systemd 257");
}

#[test]
fn debian_sid_boots() {
    boots("debian_sid_boots", "sid", "systemd 26");
}

#[test]
fn ubuntu_noble_boots() {
    boots("ubuntu_noble_boots", "noble", "systemd 255");
}

#[test]
fn debian_with_sysvinit_boots() {
    boots("debian_with_sysvinit_boots", "sysvinit", "sysvinit");
}

#[test]
fn a_busybox_init_boots() {
    boots("a_busybox_init_boots", "busybox", "busybox");
}

#[test]
fn power_off_from_inside_stops_it_whatever_the_policy() {
    let test = "power_off_from_inside_stops_it_whatever_the_policy";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    store.cella(&["launch", "--restart", "always", &image, "m"]).ok();
    store.cella(&["exec", "m", "systemctl", "poweroff"]).ok();
    until("its end", || store.inspect("m", "status") == "exited");
    assert_eq!(store.inspect("m", "exit_code"), "0");
    // An init that exits by itself says how.
    store.cella(&["set", "--restart", "no", "m"]).ok();
    store.cella(&["start", "--wait-ready", "m"]).ok();
    store.cella(&["exec", "m", "systemctl", "exit", "7"]);
    until("its end", || store.inspect("m", "status") == "exited");
    assert_eq!(store.inspect("m", "exit_code"), "7");
    store.cella(&["rm", "m"]).ok();
    store.finish();
}

#[test]
fn an_attached_system_ends_with_its_exit_code() {
    let test = "an_attached_system_ends_with_its_exit_code";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    let child = store.piped(&["run", "--system", "--rm", "--name", "m", &image]);
    until("it is up", || store.cella(&["inspect", "m"]).out.contains("\"ready\": \"2"));
    // SIGTERM to the command powers the system off, which would take it for a wish to be executed again.
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("Reached target"), "{shown}");
    store.finish();
}
