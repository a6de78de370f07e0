// SPDX-License-Identifier: Apache-2.0
//! What root inside may try against its keeper, its host and who administers it.

use std::time::Instant;

use super::roots::image;
use crate::support::{Store, until};

fn inside(store: &Store, script: &str) -> String {
    store.cella(&["exec", "m", "sh", "-c", script]).ok()
}

fn gone(store: Store) {
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn a_full_initctl_does_not_hold_up_whoever_stops_it() {
    let test = "a_full_initctl_does_not_hold_up_whoever_stops_it";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    // A shell by the name of System V's init, which keeps its FIFO open, full and unread.
    let shell = format!("{}/usr/bin/dash:/opt/init:ro,exec", image.strip_prefix("dir:").unwrap());
    let script = "mkfifo /run/initctl; exec 3<>/run/initctl; head -c 65536 /dev/zero >&3; trap '' TERM; echo full; \
        while :; do sleep 1; done";
    store.cella(&["run", "-d", "--system", "--name", "m", "-v", &shell, &image, "/opt/init", "-c", script]).ok();
    until("it is full", || store.cella(&["logs", "m"]).out.contains("full"));
    let start = Instant::now();
    store.cella(&["stop", "-t", "1", "m"]).ok();
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    assert_eq!(store.inspect("m", "exit_code"), "137");
    gone(store);
}

#[test]
fn what_it_is_told_by_its_host_is_no_way_to_the_hosts_files() {
    let test = "what_it_is_told_by_its_host_is_no_way_to_the_hosts_files";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    store.cella(&["launch", "--set-credential", "a:b", &image, "m"]).ok();
    let write = "mount -o remount,bind,rw /run/host && touch /run/host/credentials/x && ls /run/host/credentials";
    assert_eq!(inside(&store, write), "a\nnetwork.dns\nx");
    let id = store.inspect("m", "id");
    assert!(!store.root.join("run").join(id).join("host/credentials/x").exists());
    // Nor can it be filled without end.
    assert!(
        inside(
            &store,
            "head -c 100M /dev/zero 2>/dev/null > /run/host/credentials/big; stat -c %s /run/host/credentials/big"
        )
        .parse::<u64>()
        .unwrap()
            <= 4 << 20
    );
    gone(store);
}

#[test]
fn groups_in_groups_come_to_an_end_and_go_with_it() {
    let test = "groups_in_groups_come_to_an_end_and_go_with_it";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    store.cella(&["launch", &image, "m"]).ok();
    let name = "n".repeat(200);
    let script = format!(
        "cd /sys/fs/cgroup; n=0; while /bin/busybox mkdir {name} 2>/dev/null; do cd {name}; n=$((n+1)); done; echo $n"
    );
    let depth: u32 = inside(&store, &script).parse().unwrap();
    assert!((20..=48).contains(&depth), "{depth}");
    store.cella(&["ls"]).ok();
    let pid = store.inspect("m", "pid");
    store.cella(&["reboot", "m"]).ok();
    assert_ne!(store.inspect("m", "pid"), pid);
    gone(store);
}

#[test]
fn one_that_does_nothing_but_reboot_has_to_wait() {
    let test = "one_that_does_nothing_but_reboot_has_to_wait";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    let script = "/bin/busybox reboot -f";
    store.cella(&["run", "-d", "--system", "--name", "m", &image, "/bin/sh", "-c", script]).ok();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let events = store.cella(&["events", "--since", "1h", "--until", "0s"]).ok();
    let reboots = events.lines().filter(|line| line.contains("  reboot  m")).count();
    assert!((1..=8).contains(&reboots), "{reboots}");
    gone(store);
}

#[test]
fn a_device_that_it_has_hidden_away_is_of_no_use_when_it_is_taken_back() {
    let test = "a_device_that_it_has_hidden_away_is_of_no_use_when_it_is_taken_back";
    let Some(image) = image(test, "trixie") else { return };
    let store = Store::new(test);
    store.cella(&["launch", &image, "m"]).ok();
    store.cella(&["device", "add", "m", "/dev/net/tun"]).ok();
    inside(&store, "touch /mnt/kept && mount --bind /dev/net/tun /mnt/kept && umount /dev/net/tun && : < /mnt/kept");
    store.cella(&["device", "rm", "m", "/dev/net/tun"]).ok();
    assert_ne!(store.cella(&["exec", "m", "sh", "-c", ": < /mnt/kept"]).code, 0);
    assert_eq!(inside(&store, ": < /dev/null && echo fine"), "fine");
    gone(store);
}

#[test]
fn rights_are_taken_from_a_system_too() {
    let test = "rights_are_taken_from_a_system_too";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    let status = |flags: &[&str]| {
        let words = [&["run", "--system", "--rm"], flags, &[image.as_str(), "/bin/sh", "-c"]].concat();
        store.cella(&[&words[..], &["/bin/busybox grep -E 'CapBnd|NoNewPrivs' /proc/1/status"]].concat()).ok()
    };
    let seen = status(&["--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "no-new-privileges"]);
    assert!(seen.contains("0000000000000020") && seen.contains("NoNewPrivs:\t1"), "{seen}");
    assert!(status(&[]).contains("NoNewPrivs:\t0"));
    store.finish();
}
