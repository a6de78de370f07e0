// SPDX-License-Identifier: Apache-2.0
//! Limits of memory, processors, processes, files: asked for, changed, and felt.

use crate::support::{Store, is_root};

/// The value of a control file of the container, whichever hierarchy of this host has it.
fn control(store: &Store, container: &str, files: &[&str]) -> String {
    let group = store.inspect(container, "cgroup");
    for file in files {
        let controller = file.split('.').next().unwrap();
        let places = [
            format!("/sys/fs/cgroup/{controller}/{group}/{file}"),
            format!("/sys/fs/cgroup/{group}/{file}"),
            format!("/sys/fs/cgroup/unified/{group}/{file}"),
        ];
        if let Some(text) = places.iter().find_map(|path| std::fs::read_to_string(path).ok()) {
            return text.trim().to_owned();
        }
    }
    panic!("no {files:?} of {group}");
}

#[test]
fn what_is_asked_for_is_in_the_kernel_and_set_changes_it() {
    if !is_root("what_is_asked_for_is_in_the_kernel_and_set_changes_it") {
        return;
    }
    let store = Store::new("limits");
    let flags = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpu-shares", "512", "--cpuset-cpus", "0"];
    store.cella(&[&["run", "-d", "--name", "l"], &flags[..], &["host", "sleep", "60"]].concat()).ok();
    assert_eq!(control(&store, "l", &["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
    assert_eq!(control(&store, "l", &["pids.max"]), "50");
    assert_eq!(control(&store, "l", &["cpuset.cpus"]), "0");
    assert!(["50000", "50000 100000"].contains(&control(&store, "l", &["cpu.cfs_quota_us", "cpu.max"]).as_str()));
    store.cella(&["set", "l", "--memory", "128m", "--pids-limit", "60", "--cpus", "1"]).ok();
    assert_eq!(control(&store, "l", &["memory.limit_in_bytes", "memory.max"]), (128 << 20).to_string());
    assert_eq!(control(&store, "l", &["pids.max"]), "60");
    store.cella(&["set", "l", "--memory", "32m"]).ok();
    assert_eq!(control(&store, "l", &["memory.limit_in_bytes", "memory.max"]), (32 << 20).to_string());
    let stats: serde_json::Value = serde_json::from_str(
        store.cella(&["stats", "--no-stream", "--format", "json", "l"]).ok().lines().next().unwrap(),
    )
    .unwrap();
    let stats = stats.get(0).unwrap_or(&stats);
    assert_eq!((stats["memory_limit"].as_u64(), stats["pids"].as_u64()), (Some(32 << 20), Some(1)), "{stats}");
    store.cella(&["restart", "-t", "0", "l"]).ok();
    assert_eq!(control(&store, "l", &["pids.max"]), "60", "a change outlives a restart");
    store.cella(&["rm", "-f", "l"]).ok();
    store.finish();
}

#[test]
fn too_much_memory_is_a_kill_that_is_told() {
    if !is_root("too_much_memory_is_a_kill_that_is_told") {
        return;
    }
    let store = Store::new("oom");
    let script = "x=a; while :; do x=$x$x; done";
    let done = store.cella(&["run", "--name", "o", "--memory", "24m", "host", "sh", "-c", script]);
    assert_eq!(done.code, 137, "{}", done.err);
    assert_eq!(store.inspect("o", "oom_killed"), "true");
    store.cella(&["rm", "o"]).ok();
    store.finish();
}

#[test]
fn processes_are_limited_by_default() {
    if !is_root("processes_are_limited_by_default") {
        return;
    }
    let store = Store::new("pids");
    store.cella(&["run", "-d", "--name", "p", "host", "sleep", "60"]).ok();
    assert_eq!(control(&store, "p", &["pids.max"]), "2048");
    store.cella(&["rm", "-f", "p"]).ok();
    let done = store.sh(&["--pids-limit", "3"], "sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait");
    assert!(done.err.contains("fork") || done.err.contains("esource"), "{done:?}");
    store.finish();
}

#[test]
fn ulimits_sysctls_and_the_oom_score() {
    if !is_root("ulimits_sysctls_and_the_oom_score") {
        return;
    }
    let store = Store::new("ulimits");
    let flags = ["--ulimit", "nofile=77:88", "--sysctl", "net.ipv4.ip_forward=1", "--oom-score-adj", "500"];
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj";
    assert_eq!(store.sh(&flags, script).ok(), "77\n88\n0\n1\n500");
    store.sh(&["--sysctl", "kernel.panic=1"], "true").fails(125);
    store.finish();
}

/// A block device of this host.
fn disk() -> Option<String> {
    let name = std::fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.file_name()).find(|name| {
        let name = name.to_string_lossy();
        !name.starts_with("loop") && !name.starts_with("ram") && std::path::Path::new(&format!("/dev/{name}")).exists()
    })?;
    Some(format!("/dev/{}", name.to_string_lossy()))
}

#[test]
fn every_controller_has_its_limit_and_changes_it_while_it_runs() {
    let test = "every_controller_has_its_limit_and_changes_it_while_it_runs";
    if !is_root(test) {
        return;
    }
    let Some(disk) = disk() else { return crate::support::skip(test, "there is no disk") };
    let store = Store::new("controllers");
    let (read, write) = (format!("{disk}:10m"), format!("{disk}:100"));
    let flags = [
        "run",
        "-d",
        "--name",
        "c",
        "--memory",
        "64m",
        "--memory-reservation",
        "32m",
        "--cpuset-mems",
        "0",
        "--device-read-bps",
        &read,
        "--device-write-iops",
        &write,
        "host",
        "sleep",
        "60",
    ];
    store.cella(&flags).ok();
    assert_eq!(control(&store, "c", &["memory.low", "memory.soft_limit_in_bytes"]), (32 << 20).to_string());
    assert_eq!(control(&store, "c", &["cpuset.mems"]), "0");
    let rates = || control(&store, "c", &["io.max", "blkio.throttle.read_bps_device"]);
    assert!(rates().contains("10485760"), "{}", rates());
    let read = format!("{disk}:20m");
    store.cella(&["set", "--device-read-bps", &read, "--memory-reservation", "16m", "c"]).ok();
    assert!(rates().contains("20971520"), "{}", rates());
    assert_eq!(control(&store, "c", &["memory.low", "memory.soft_limit_in_bytes"]), (16 << 20).to_string());
    for (flags, word) in [
        (["--device-read-bps", "/dev/null:1m"], "is no block device"),
        (["--device-read-bps", "/dev/nothing:1m"], "/dev/nothing"),
        (["--hugetlb", "2MB"], "2MB=64m"),
        (["--cgroup-conf", "cgroup.procs=1"], "is not a limit"),
        (["--memory-reservation", "100m"], "above the memory limit"),
    ] {
        let error = store.cella(&[&["set"][..], &flags, &["c"]].concat());
        assert!(error.code != 0 && error.err.contains(word), "{flags:?}: {}", error.err);
    }
    store.cella(&["rm", "-f", "c"]).ok();
    store.finish();
}

#[test]
fn huge_pages_are_limited_by_their_size() {
    let test = "huge_pages_are_limited_by_their_size";
    if !is_root(test) {
        return;
    }
    let controllers = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    if !controllers.iter().any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("hugetlb"))) {
        return crate::support::skip(test, "there is no hugetlb controller of version 2");
    }
    let store = Store::new("hugetlb");
    let flags = ["--hugetlb", "2MB=4m", "--cgroup-conf", "hugetlb.1GB.max=0"];
    store.cella(&[&["run", "-d", "--name", "h"], &flags[..], &["host", "sleep", "60"]].concat()).ok();
    assert_eq!(control(&store, "h", &["hugetlb.2MB.max"]), (4 << 20).to_string());
    assert_eq!(control(&store, "h", &["hugetlb.1GB.max"]), "0");
    store.cella(&["rm", "-f", "h"]).ok();
    store.finish();
}
