// SPDX-License-Identifier: Apache-2.0
//! Control groups: limits as the kernel has them, in version 1, version 2 and through systemd's words.

use serde_json::json;

use crate::support::{Case, both, ours};

fn read(case: &Case, controller: &str, file: &str) -> String {
    let path = std::path::Path::new("/sys/fs/cgroup").join(controller).join(&case.id).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
}

fn is_version1(test: &str) -> bool {
    let there = std::path::Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    if !there {
        crate::support::skip(test, "this host has no version 1 memory controller");
    }
    there
}

#[test]
fn limits_are_the_kernels_and_update_changes_them() {
    if !is_version1("limits_are_the_kernels_and_update_changes_them") {
        return;
    }
    both("limits_are_the_kernels_and_update_changes_them", |case| {
        let path = format!("/{}", case.id);
        case.set("/linux/cgroupsPath", json!(path));
        case.set(
            "/linux/resources",
            json!({
                "memory": {"limit": 67_108_864, "reservation": 33_554_432},
                "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 77},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
            }),
        );
        // The huge pages of this host are in version 2, beside the others in version 1: runc does not look there.
        if !case.is_ours() {
            case.config["linux"]["resources"].as_object_mut().unwrap().remove("hugepageLimits");
        }
        case.start_sleeping();
        assert_eq!(read(case, "memory", "memory.limit_in_bytes"), "67108864");
        assert_eq!(read(case, "memory", "memory.soft_limit_in_bytes"), "33554432");
        assert_eq!(read(case, "cpu", "cpu.shares"), "512");
        assert_eq!(read(case, "cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(read(case, "cpuset", "cpuset.cpus"), "0");
        assert_eq!(read(case, "pids", "pids.max"), "77");
        if case.is_ours() {
            assert_eq!(read(case, "unified", "hugetlb.2MB.max"), "4194304");
        }
        assert_eq!(case.exec(&["sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2"]).ok(), "0\n");
        let id = case.id.clone();
        case.call(&["update", "--memory", "33554432", "--cpu-quota", "20000", "--pids-limit", "55", &id]).ok();
        assert_eq!(read(case, "memory", "memory.limit_in_bytes"), "33554432");
        assert_eq!(read(case, "cpu", "cpu.cfs_quota_us"), "20000");
        assert_eq!(read(case, "pids", "pids.max"), "55");
        if case.is_ours() {
            case.call(&["update", "--cpu-period", "50000", &id]).ok();
            assert_eq!(read(case, "cpu", "cpu.cfs_quota_us"), "20000", "the other half stays");
        }
        std::fs::write(case.path.join("r.json"), json!({"pids": {"limit": 44}, "cpu": {"shares": 300}}).to_string())
            .unwrap();
        case.call(&["update", "-r", "r.json", &id]).ok();
        assert_eq!((read(case, "pids", "pids.max"), read(case, "cpu", "cpu.shares")), ("44".into(), "300".into()));
    });
}

fn is_version2(test: &str) -> bool {
    let there = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !there {
        crate::support::skip(test, "this host has control groups of version 1");
    }
    there
}

#[test]
fn on_version_2_limits_are_the_kernels_and_update_changes_them() {
    let test = "on_version_2_limits_are_the_kernels_and_update_changes_them";
    if !is_version2(test) {
        return;
    }
    both(test, |case| {
        case.set("/linux/cgroupsPath", json!(format!("/{}", case.id)));
        case.set(
            "/linux/resources",
            json!({
                "memory": {"limit": 67_108_864, "swap": 67_108_864, "reservation": 33_554_432},
                "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 77},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
            }),
        );
        case.start_sleeping();
        assert_eq!(read(case, "", "memory.max"), "67108864");
        assert_eq!(read(case, "", "memory.swap.max"), "0");
        assert_eq!(read(case, "", "memory.low"), "33554432");
        assert_eq!(read(case, "", "cpu.max"), "50000 100000");
        assert_eq!(read(case, "", "cpuset.cpus"), "0");
        assert_eq!(read(case, "", "pids.max"), "77");
        assert_eq!(read(case, "", "hugetlb.2MB.max"), "4194304");
        let weight: u64 = read(case, "", "cpu.weight").parse().unwrap();
        assert!((1..100).contains(&weight), "{weight}: half the shares are less than the usual weight");
        assert_eq!(case.exec(&["sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2"]).ok(), "0\n");
        let id = case.id.clone();
        case.call(&["update", "--memory", "33554432", "--cpu-quota", "20000", "--pids-limit", "55", &id]).ok();
        assert_eq!(read(case, "", "memory.max"), "33554432");
        assert_eq!(read(case, "", "pids.max"), "55");
        assert_eq!(read(case, "", "cpu.max"), "20000 100000");
        if case.is_ours() {
            case.call(&["update", "--cpu-period", "50000", &id]).ok();
            assert_eq!(read(case, "", "cpu.max"), "20000 50000", "the other half stays");
            let resources = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
            std::fs::write(case.path.join("r.json"), resources.to_string()).unwrap();
            let error = case.call(&["update", "--resources", "r.json", &id]).fails(1);
            assert!(error.contains("below what is used"), "{error}");
        }
        std::fs::write(case.path.join("r.json"), json!({"pids": {"limit": 44}}).to_string()).unwrap();
        case.call(&["update", "-r", "r.json", &id]).ok();
        assert_eq!(read(case, "", "pids.max"), "44");
    });
}

#[test]
fn nested_paths_are_made_and_the_leaf_removed() {
    both("nested_paths_are_made_and_the_leaf_removed", |case| {
        let path = format!("/{}/a/b", case.id);
        case.set("/linux/cgroupsPath", json!(path));
        case.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "cgroup");
        let out = case.prints("cat /proc/self/cgroup");
        assert!(out.contains(&format!(":{path}\n")), "{out}");
        for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let top = entry.path().join(&case.id);
            assert!(!top.join("a/b").exists(), "{top:?}");
            for directory in [top.join("a"), top] {
                std::fs::remove_dir(directory).ok();
            }
        }
    });
}

#[test]
fn a_path_with_dots_is_refused() {
    ours("a_path_with_dots_is_refused", |case| {
        case.set("/linux/cgroupsPath", json!("/a/../../etc"));
        let error = case.run().fails(1);
        assert!(error.contains("cgroupsPath"), "{error}");
    });
}

#[test]
fn processes_pause_and_go_on() {
    both("processes_pause_and_go_on", |case| {
        case.start_sleeping();
        let id = case.id.clone();
        case.call(&["pause", &id]).ok();
        assert_eq!(case.status(), "paused");
        let error = case.exec(&["true"]).fails(255);
        assert!(error.contains("paused"), "{error}");
        case.call(&["resume", &id]).ok();
        assert_eq!(case.status(), "running");
        case.exec(&["true"]).ok();
    });
}

#[test]
fn ps_and_events_tell_what_is_there() {
    both("ps_and_events_tell_what_is_there", |case| {
        case.start_sleeping();
        let id = case.id.clone();
        let pids: Vec<i32> = serde_json::from_str(&case.call(&["ps", "--format", "json", &id]).ok()).unwrap();
        assert_eq!(pids, [i32::try_from(case.state()["pid"].as_i64().unwrap()).unwrap()]);
        let table = case.call(&["ps", &id]).ok();
        assert!(table.starts_with("UID") && table.contains("sleep"), "{table}");
        let stats: serde_json::Value = serde_json::from_str(&case.call(&["events", "--stats", &id]).ok()).unwrap();
        assert_eq!((stats["type"].as_str(), stats["id"].as_str()), (Some("stats"), Some(id.as_str())));
        assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{stats}");
        assert_eq!(stats["data"]["pids"]["current"], 1);
    });
}

/// The whole of version 2 that this host has: a view of cgroup2 alone, as on a host of today.
#[test]
fn on_version_2_devices_are_guarded_by_a_program() {
    ours("on_version_2_devices_are_guarded_by_a_program", |case| {
        case.set("/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
        case.set("/linux/resources/unified", json!({"hugetlb.2MB.max": "2097152"}));
        case.add(
            "/mounts",
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
        );
        case.script("cat /proc/self/cgroup | grep 0::; head -c 1 /dev/kmsg 2>&1 >/dev/null; head -c 1 /dev/zero | wc -c; cat /sys/fs/cgroup/hugetlb.2MB.max");
        case.write_config();
        let script = format!(
            "mount -t cgroup2 none /sys/fs/cgroup && exec {} --root state run {}",
            case.runtime.program, case.id
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).current_dir(&case.path);
        let output = command.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("0::/\n") && out.contains("Operation not permitted"), "{output:?}");
        assert!(out.ends_with("1\n2097152\n"), "{output:?}");
    });
}

#[test]
fn without_a_manager_there_is_no_group() {
    ours("without_a_manager_there_is_no_group", |case| {
        case.script("cat /proc/self/cgroup").write_config();
        let id = case.id.clone();
        let out = case.call(&["--cgroup-manager", "disabled", "run", &id]).ok();
        assert!(!out.contains(&id), "{out}");
        let error = case.call(&["--cgroup-manager", "magic", "run", &id]).fails(1);
        assert!(error.contains("unknown manager"), "{error}");
    });
}

#[test]
fn a_limit_below_what_is_used_is_refused_when_asked() {
    if !is_version1("a_limit_below_what_is_used_is_refused_when_asked") {
        return;
    }
    ours("a_limit_below_what_is_used_is_refused_when_asked", |case| {
        case.set("/linux/cgroupsPath", json!(format!("/{}", case.id)));
        case.start_sleeping();
        let resources = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
        std::fs::write(case.path.join("r.json"), resources.to_string()).unwrap();
        let id = case.id.clone();
        let error = case.call(&["update", "--resources", "r.json", &id]).fails(1);
        assert!(error.contains("below what is used"), "{error}");
    });
}
