// SPDX-License-Identifier: Apache-2.0
//! Devices come and go while a container runs, and are never made inside.

use super::roots::image;
use crate::support::{Store, is_root, until};

fn inside(store: &Store, script: &str) -> String {
    store.cella(&["exec", "m", "sh", "-c", script]).ok()
}

#[test]
fn devices_are_given_and_taken_back_while_it_runs() {
    let test = "devices_are_given_and_taken_back_while_it_runs";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    store.cella(&["launch", &image, "m"]).ok();
    let opens = |device: &str| store.cella(&["exec", "m", "sh", "-c", &format!(": < {device}")]).code == 0;
    assert!(!opens("/dev/net/tun") && !opens("/dev/fuse"));
    store.cella(&["device", "add", "m", "/dev/net/tun", "/dev/fuse:/dev/mine:rw"]).ok();
    assert!(opens("/dev/net/tun") && opens("/dev/mine") && opens("/dev/null"));
    let list = store.cella(&["device", "ls", "m"]).ok();
    assert!(list.contains("/dev/mine     /dev/fuse     rw"), "{list}");
    let taken = store.cella(&["device", "add", "m", "/dev/zero:/dev/mine"]).fails(1);
    assert!(taken.contains("has a device /dev/mine already"), "{taken}");
    store.cella(&["device", "rm", "m", "/dev/mine"]).ok();
    assert!(!opens("/dev/mine") && opens("/dev/net/tun"));
    assert_eq!(inside(&store, "ls /dev/mine 2>/dev/null; true"), "", "nothing is left in its place");
    // What it kept it has after a reboot, and what it made of numbers is none of its own.
    let pid = store.inspect("m", "pid");
    store.cella(&["reboot", "m"]).ok();
    until("it begins again", || !["null", pid.as_str()].contains(&store.inspect("m", "pid").as_str()));
    assert!(opens("/dev/net/tun"));
    store.cella(&["device", "rm", "m", "/dev/net/tun"]).ok();
    assert_eq!(store.cella(&["exec", "m", "/bin/busybox", "mknod", "/dev/t", "c", "10", "200"]).code, 1);
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn devices_that_are_none_are_refused() {
    let test = "devices_that_are_none_are_refused";
    if !is_root(test) {
        return;
    }
    let store = Store::new(test);
    store.cella(&["run", "-d", "--name", "m", "host", "sleep", "100"]).ok();
    for (device, code, word) in [
        ("/dev/nothing", 125, "/dev/nothing"),
        ("/etc/passwd", 125, "below /dev"),
        ("/dev/fuse:/dev/../x", 125, ".."),
        ("/dev/shm", 125, "device"),
    ] {
        let error = store.cella(&["device", "add", "m", device]).fails(code);
        assert!(error.contains(word), "{error}");
    }
    let error = store.cella(&["device", "rm", "m", "/dev/fuse"]).fails(1);
    assert!(error.contains("m has no device /dev/fuse"), "{error}");
    // A container that does not run has them at its next start.
    store.cella(&["stop", "-t", "0", "m"]).ok();
    store.cella(&["device", "add", "m", "/dev/fuse"]).ok();
    store.cella(&["start", "m"]).ok();
    assert_eq!(store.cella(&["exec", "m", "test", "-c", "/dev/fuse"]).code, 0);
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}
