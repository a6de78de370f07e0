// SPDX-License-Identifier: Apache-2.0
//! `cella ns show`, `diff`, `id` and `stat`: what a container has of its own.

use super::{Sandbox, inode_of};
use crate::support::{Store, is_root};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_container_is_shown_with_all_that_is_its_own() {
    if !is_root("a_container_is_shown_with_all_that_is_its_own") {
        return;
    }
    let store = Store::new("nsshow");
    let flags = [
        "run",
        "-d",
        "--name",
        "s",
        "--network",
        "none",
        "--hostname",
        "inside",
        "--domainname",
        "example",
        "--time-offset",
        "boottime=100",
    ];
    store.cella(&[&flags[..], &["host", "sleep", "1000"]].concat()).ok();
    let (pid, base) = (store.inspect("s", "pid"), store.inspect("s", "ids"));
    store.cella(&["exec", "s", "ipcmk", "-M", "4096", "-S", "3"]).ok();
    let shown = json(&store.cella(&["ns", "show", "--json", "s"]).ok());
    assert_eq!(shown["pid"].to_string(), pid);
    assert_eq!(shown["pids"][1], 1);
    assert_eq!(shown["container"]["name"], "s");
    for one in shown["namespaces"].as_array().unwrap() {
        assert_eq!(one["inode"], inode_of(pid.parse().unwrap(), one["kind"].as_str().unwrap()));
        assert_eq!(one["shared"], false, "{one}");
    }
    assert_eq!(shown["ids"]["users"][0], serde_json::json!([0, base.parse::<u32>().unwrap(), 65_536]));
    assert_eq!(shown["uts"], serde_json::json!({"hostname": "inside", "domainname": "example"}));
    assert_eq!(shown["network"]["devices"][0]["name"], "lo");
    assert_eq!(shown["network"]["devices"].as_array().unwrap().len(), 1);
    assert_eq!(shown["ipc"]["memory"][0][3], 4096);
    assert_eq!(shown["ipc"]["semaphores"][0][3], 3);
    assert_eq!(shown["ipc"]["memory"][0][2].to_string(), base, "the host's root is not its owner");
    assert_eq!(shown["clock"]["boottime_ns"], 100_000_000_000_u64);
    let mounts = shown["mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["target"] == "/proc" && mount["kind"] == "proc"), "{mounts:?}");
    let text = store.cella(&["ns", "show", "s"]).ok();
    for wanted in [
        "hostname inside, domainname example",
        "its own",
        "ids, inside and outside",
        "since boot 100.000 s",
        "shared memory",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let by_pid = json(&store.cella(&["ns", "show", "--json", &pid]).ok());
    assert_eq!(by_pid["namespaces"], shown["namespaces"]);
    store.cella(&["rm", "-f", "s"]).ok();
    store.finish();
}

#[test]
fn two_processes_are_compared_kind_by_kind() {
    if !is_root("two_processes_are_compared_kind_by_kind") {
        return;
    }
    let store = Store::new("nsdiff");
    let (own, other) = (
        Sandbox::new(&["--uts", "--net", "sh", "-c", "hostname other; exec sleep 1000"]),
        std::process::id().to_string(),
    );
    let compared = json(&store.cella(&["ns", "diff", "--json", &other, &own.text()]).ok());
    let mut differ = Vec::new();
    for kind in compared["kinds"].as_array().unwrap() {
        if kind["same"] == false {
            differ.push(kind["kind"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(differ, ["uts", "net"]);
    let text = store.cella(&["ns", "diff", &other, &own.text()]).ok();
    assert!(text.contains(" | other") && text.contains("same"), "{text}");
    drop(own);
    store.finish();
}

#[test]
fn ids_are_translated_both_ways_and_files_have_two_owners() {
    if !is_root("ids_are_translated_both_ways_and_files_have_two_owners") {
        return;
    }
    let store = Store::new("nsid");
    store
        .cella(&["run", "-d", "--name", "i", "host", "sh", "-c", "touch /tmp/x; chown 33:44 /tmp/x; sleep 1000 & wait"])
        .ok();
    let (pid, base) = (store.inspect("i", "pid"), store.inspect("i", "ids").parse::<u32>().unwrap());
    let outside = format!("i@uid:{}", base + 33);
    let answers = json(
        &store.cella(&["ns", "id", "--json", "uid:33@i", &outside, "gid:0@i", "pid:1@i", &format!("i@pid:{pid}")]).ok(),
    );
    let pair = |index: usize| (answers[index]["inside"].as_u64().unwrap(), answers[index]["outside"].as_u64().unwrap());
    assert_eq!(
        [pair(0), pair(1), pair(2)],
        [(33, u64::from(base) + 33), (33, u64::from(base) + 33), (0, u64::from(base))]
    );
    assert_eq!([pair(3), pair(4)], [(1, pid.parse().unwrap()); 2]);
    assert_eq!(answers[3]["levels"], serde_json::json!([pid.parse::<u32>().unwrap(), 1]));
    let refused = store.cella(&["ns", "id", "uid:70000@i"]).fails(1);
    assert!(refused.contains("uid 70000 is nobody outside of i"), "{refused}");
    store.cella(&["ns", "id", "i@uid:0"]).fails(1);
    store.cella(&["ns", "id", "pid:31999@i"]).fails(1);
    store.cella(&["ns", "id", "33@i"]).fails(125);
    crate::support::until("the file", || store.cella(&["ns", "stat", "i", "/tmp/x"]).out.contains("33:44"));
    let files = json(&store.cella(&["ns", "stat", "--json", "i", "/tmp/x"]).ok());
    assert_eq!((files[0]["uid"].as_u64(), files[0]["inside_uid"].as_u64()), (Some(u64::from(base) + 33), Some(33)));
    assert_eq!((files[0]["gid"].as_u64(), files[0]["inside_gid"].as_u64()), (Some(u64::from(base) + 44), Some(44)));
    // A link does not lead out.
    store.cella(&["exec", "i", "ln", "-s", "/../../../../../../../../var/tmp", "/tmp/out"]).ok();
    let inside = json(&store.cella(&["ns", "stat", "--json", "i", "/tmp/out"]).ok());
    assert_eq!(inside[0]["inside_uid"], 0, "{inside}");
    store.cella(&["ns", "stat", "i", "/no/such"]).fails(1);
    store.cella(&["rm", "-f", "i"]).ok();
    store.finish();
}
