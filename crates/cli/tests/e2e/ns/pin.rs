// SPDX-License-Identifier: Apache-2.0
//! `cella ns pin` and `unpin`, beside `ip netns`.

use std::path::Path;

use super::{Sandbox, rows, said};
use crate::support::{Store, is_root};

/// No other test's.
fn name(of: &str) -> String {
    format!("cella-e2e-{}-{of}", std::process::id())
}

#[test]
fn ip_netns_and_we_find_each_others() {
    if !is_root("ip_netns_and_we_find_each_others") {
        return;
    }
    let (store, ours, theirs) = (Store::new("netns"), name("ours"), name("theirs"));
    let link = ["readlink", "/proc/self/ns/net"];
    store.cella(&["ns", "pin", "--net", &ours]).ok();
    assert!(said("ip", &["netns", "list"]).lines().any(|line| line.starts_with(&ours)));
    let seen = said("ip", &["netns", "exec", &ours, link[0], link[1]]);
    let path = format!("/run/netns/{ours}");
    assert_eq!(store.cella(&["ns", "enter", &path, "--", link[0], link[1]]).ok(), seen);
    let inode: u64 = seen.trim_start_matches("net:[").trim_end_matches(']').parse().unwrap();
    let row = &rows(&store)[&inode];
    assert_eq!((row["processes"].as_u64(), row["kept"][0]["path"].as_str()), (Some(0), Some(path.as_str())), "{row}");
    said("ip", &["netns", "add", &theirs]);
    let entered = store.cella(&["ns", "enter", &format!("/run/netns/{theirs}"), "--", link[0], link[1]]).ok();
    assert_eq!(entered, said("ip", &["netns", "exec", &theirs, link[0], link[1]]));
    // Each takes away what the other has made.
    store.cella(&["ns", "unpin", "--net", &theirs]).ok();
    said("ip", &["netns", "delete", &ours]);
    let left = said("ip", &["netns", "list"]);
    assert!(!left.contains(&ours) && !left.contains(&theirs), "{left}");
    assert!(!Path::new(&path).exists());
    store.finish();
}

#[test]
fn every_kind_can_be_kept_and_let_go() {
    if !is_root("every_kind_can_be_kept_and_let_go") {
        return;
    }
    let (store, sandbox) = (Store::new("pinkinds"), Sandbox::new(&["--uts", "--mount"]));
    for kind in ["user", "cgroup", "ipc", "uts", "time", "mnt"] {
        let flag = format!("--{kind}");
        let json = store.cella(&["ns", "pin", &flag, "--json", "kept"]).ok();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let path = store.root.join(format!("run/ns/{kind}/kept"));
        assert_eq!(json["path"], path.to_str().unwrap());
        let entered = store.cella(&[
            "ns",
            "enter",
            "--keep-ids",
            path.to_str().unwrap(),
            "--",
            "readlink",
            &format!("/proc/self/ns/{kind}"),
        ]);
        let entered = if kind == "mnt" || kind == "user" { entered.out.trim().to_owned() } else { entered.ok() };
        assert!(entered.ends_with(&format!("[{}]", json["inode"])), "{kind}: {entered}");
        store.cella(&["ns", "unpin", &flag, "kept"]).ok();
    }
    assert!(!store.root.join("run/ns").exists(), "the directories go with the last");
    // Of a process, by a name and at a path.
    for name in ["its".to_owned(), store.root.join("its").display().to_string()] {
        let pinned = store.cella(&["ns", "pin", "--uts", "--of", &sandbox.text(), &name]).ok();
        assert!(pinned.starts_with(&format!("uts:[{}] ", sandbox.inode("uts"))), "{pinned}");
        store.cella(&["ns", "unpin", "--uts", &name]).ok();
    }
    store.cella(&["ns", "pin", "--mnt", "--of", &sandbox.text(), "m"]).ok();
    store.cella(&["ns", "unpin", "--mnt", "m"]).ok();
    drop(sandbox);
    store.finish();
}

#[test]
fn a_pin_that_fails_leaves_nothing() {
    if !is_root("a_pin_that_fails_leaves_nothing") {
        return;
    }
    let (store, taken) = (Store::new("pinfails"), name("taken"));
    said("ip", &["netns", "add", &taken]);
    let refused = store.cella(&["ns", "pin", "--net", &taken]).fails(1);
    assert!(refused.contains("is there already"), "{refused}");
    said("ip", &["netns", "delete", &taken]);
    let file = store.root.join("plain");
    let path = |name: &str| store.root.join(name).display().to_string();
    // Within itself a mount namespace can not be kept.
    let own = format!("/proc/{}/ns/mnt", std::process::id());
    let refused = store.cella(&["ns", "pin", "--mnt", "--of", &own, &path("loop")]).fails(1);
    assert!((refused.contains("EINVAL") || refused.contains("ELOOP")) && refused.contains("hint: "), "{refused}");
    assert!(!store.root.join("loop").exists());
    store.cella(&["ns", "pin", "--mnt", "--of", &own, "loop"]).fails(1);
    assert!(!store.root.join("run/ns").exists());
    store.cella(&["ns", "pin", "--net", &path("no/such/place")]).fails(1);
    store.cella(&["ns", "pin", "--net", "--of", "/proc/self/ns/uts", &path("x")]).fails(125);
    store.cella(&["ns", "pin", "--net", "--map", "0:0:1", &path("x")]).fails(125);
    store.cella(&["ns", "pin", "--pid", &path("x")]).fails(125);
    assert!(!store.root.join("x").exists());
    // What is no pin is not taken away.
    std::fs::write(&file, "mine").unwrap();
    let refused = store.cella(&["ns", "unpin", "--net", &path("plain")]).fails(125);
    assert!(refused.contains("is no namespace that is pinned"), "{refused}");
    store.cella(&["ns", "unpin", "--net", &path("none")]).fails(1);
    store.cella(&["ns", "unpin", "--net", "/proc/self/ns/net"]).fails(125);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    std::fs::remove_file(file).unwrap();
    store.finish();
}
