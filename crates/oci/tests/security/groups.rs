// SPDX-License-Identifier: Apache-2.0
//! Class F: control groups, kernel parameters, devices.

use std::path::Path;

use serde_json::json;

use crate::support::{Bundle, can_run, skip};

#[test]
fn ghsa_5g49_group_paths_do_not_climb() {
    if !can_run("ghsa_5g49_group_paths_do_not_climb") {
        return;
    }
    let mut bundle = Bundle::new("climb");
    bundle.script("echo ran");
    let tag = bundle.tag.clone();
    for path in [
        "/..",
        "..",
        "../../x",
        "/{}/../{}-x",
        "/{}/../../..",
        "/{}/./x",
        "/{}//x",
        "/",
        "//",
        "/{}\n/x",
        "/{}\0",
        "a:b:c",
        ".",
    ] {
        bundle.set("/linux/cgroupsPath", json!(path.replace("{}", &tag)));
        bundle.run().refused();
    }
    bundle.unchanged();
    bundle.set("/linux/cgroupsPath", json!(format!("/{tag}")));
    bundle.start();
    for path in ["..", "../..", "../../x", "x/../..", "/..", ".", "nowhere", "./..", "a//b", "x\ny"] {
        bundle.exec(&["--cgroup", path], "echo ran").refused();
    }
    bundle.delete();
    bundle.script("echo ran");
    // Names of control files are names, not paths.
    for key in ["../../memory.max", "memory.max/../../x", "/etc/x", "..", "", "a/b", "memory.max\n"] {
        bundle.set("/linux/resources", json!({"unified": {key: "1"}}));
        bundle.run().refused();
    }
    for value in [
        json!({"hugepageLimits": [{"pageSize": "../../x", "limit": 1}]}),
        json!({"rdma": {"a b": {"hcaHandles": 1}}}),
        json!({"devices": [{"allow": true, "type": "x", "access": "r"}]}),
        json!({"devices": [{"allow": true, "access": "rq"}]}),
        json!({"cpu": {"cpus": "../x"}}),
        json!({"network": {"priorities": [{"name": "lo\neth0", "priority": 1}]}}),
    ] {
        bundle.set("/linux/resources", value.clone());
        let done = bundle.run();
        assert!(done.code != 0 && done.out.is_empty(), "{value}: {done:?}");
    }
    bundle.finish();
}

#[test]
fn r1_a_group_of_somebody_else_is_not_taken() {
    if !can_run("r1_a_group_of_somebody_else_is_not_taken") {
        return;
    }
    let mut bundle = Bundle::new("taken");
    bundle.start();
    // The group has processes: a second container would get its limits written over, and be killed with it.
    let done = bundle.call(&["run", &format!("{}-2", bundle.tag)]);
    done.refused();
    assert_eq!(bundle.exec(&[], "echo alive").ok(), "alive");
    bundle.finish();
}

#[test]
fn cve_2022_0492_release_agents_are_out_of_reach() {
    if !can_run("cve_2022_0492_release_agents_are_out_of_reach") {
        return;
    }
    {
        // The tmpfs on /sys/fs/cgroup of runc 1.1.5 is writable.
        let mut bundle = Bundle::new("agents");
        for set in ["bounding", "effective", "permitted"] {
            bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT"]));
        }
        let namespaces = bundle.config["linux"]["namespaces"].clone();
        let without: Vec<_> =
            namespaces.as_array().unwrap().iter().filter(|one| one["type"] != "cgroup").cloned().collect();
        for namespaces in [namespaces.clone(), json!(without)] {
            bundle.set("/linux/namespaces", namespaces);
            let look = "awk '$5 ~ \"^/sys/fs/cgroup\" {print $6}' /proc/self/mountinfo | tr ',' '\\n' | grep -c '^rw$'; \
                        for f in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release \
                        /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/tasks; do test -e $f && (: >> $f) 2>/dev/null && echo opened $f; done; \
                        mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x 2>/dev/null && echo made; mount -t cgroup -o memory x /mnt 2>/dev/null && echo mounted; true";
            // CVE-2023-25809: all of them are read-only.
            assert_eq!(bundle.sh(look).ok(), "0");
        }
        bundle.finish();
    }
}

#[test]
fn r21_host_state_is_unchanged() {
    if !can_run("r21_host_state_is_unchanged") {
        return;
    }
    let mut bundle = Bundle::new("hoststate");
    // A mount of version 2 that asks for other options must not change those of the host (lxcfs 681).
    bundle.drop_mount("/sys/fs/cgroup");
    if Path::new("/sys/fs/cgroup/unified").exists() || Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        bundle.mount("/sys/fs/cgroup", "cgroup2", "cgroup", &["ro", "nsdelegate", "memory_recursiveprot"]);
    }
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "123456", "fs.mqueue.msg_max": "11", "kernel.domainname": "inside"}));
    bundle.set("/hostname", json!("inside"));
    assert_eq!(bundle.sh("hostname; cat /proc/sys/kernel/shmmax; ip link set lo down; true").ok(), "inside\n123456");
    for _ in 0..5 {
        bundle.start();
        bundle.exec(&[], "hostname").ok();
        bundle.call(&["kill", &bundle.tag, "KILL"]).ok();
        bundle.delete();
        bundle.unchanged();
    }
    bundle.finish();
}

#[test]
fn cve_2022_0811_parameters_have_no_separators() {
    if !can_run("cve_2022_0811_parameters_have_no_separators") {
        return;
    }
    let mut bundle = Bundle::new("values");
    bundle.script("echo ran");
    for value in ["1\n2", "1\0", "1+kernel.core_pattern=|/x", "1\nkernel.core_pattern=x"] {
        bundle.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": value}));
        bundle.run().refused();
    }
    bundle.finish();
}

#[test]
fn cve_2022_0532_parameters_of_the_host_are_refused() {
    if !can_run("cve_2022_0532_parameters_of_the_host_are_refused") {
        return;
    }
    let mut bundle = Bundle::new("hostwide");
    bundle.script("echo ran");
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4.conf.all/../../x",
        "net/./ipv4/ip_forward",
        "kernel/shm_rmid_forced/../core_pattern",
        "net.../kernel.core_pattern",
        "vm.swappiness",
        "fs.file-max",
        "net",
        "net.",
        "net/",
        "",
        ".",
        "/net/ipv4/ip_forward",
        "net//ipv4/ip_forward",
        "fs.mqueue.../../kernel/core_pattern",
        "fs/mqueue/../../kernel/core_pattern",
        "kernel.sysrq",
        "kernel.modprobe",
        "dev.cdrom.info",
        "user.max_user_namespaces",
        "net.ipv4.ip_forward\0",
        "net.nowhere",
        "net.ipv4/../../kernel/core_pattern",
        "net/ipv4.././../kernel/core_pattern",
    ] {
        bundle.set("/linux/sysctl", json!({key: "1"}));
        bundle.run().refused();
    }
    // Those of a namespace that is the host's.
    let namespaces = bundle.config["linux"]["namespaces"].clone();
    for (kind, key) in [
        ("network", "net.ipv4.ip_forward"),
        ("ipc", "kernel.shmmax"),
        ("ipc", "fs.mqueue.msg_max"),
        ("uts", "kernel.domainname"),
    ] {
        let without: Vec<_> =
            namespaces.as_array().unwrap().iter().filter(|one| one["type"] != kind).cloned().collect();
        bundle.set("/linux/namespaces", json!(without)).set("/linux/sysctl", json!({key: "1"}));
        if kind == "uts" {
            bundle.config.as_object_mut().unwrap().remove("hostname");
        }
        bundle.run().refused();
    }
    bundle.finish();
}

#[test]
fn cve_2022_0532_a_joined_namespace_of_the_caller_is_not_private() {
    if !can_run("cve_2022_0532_a_joined_namespace_of_the_caller_is_not_private") {
        return;
    }
    {
        // Runc 1.1.5 looks at the network namespace only.
        let mut bundle = Bundle::new("joined");
        bundle.script("echo ran");
        let namespaces = bundle.config["linux"]["namespaces"].clone();
        for (kind, name, key) in [
            ("network", "net", "net.ipv4.ip_forward"),
            ("ipc", "ipc", "kernel.shmmax"),
            ("ipc", "ipc", "fs.mqueue.msg_max"),
        ] {
            let mut list = namespaces.clone();
            for one in list.as_array_mut().unwrap() {
                if one["type"] == kind {
                    one["path"] = json!(format!("/proc/self/ns/{name}"));
                }
            }
            bundle.set("/linux/namespaces", list).set("/linux/sysctl", json!({key: "1"}));
            bundle.write();
            // What stands for the host are namespaces that were made for this: should it be let through, nothing happens.
            let inner = bundle.command(&["run", &bundle.tag]);
            let mut command = std::process::Command::new("unshare");
            command
                .args(["--net", "--ipc", "--uts"])
                .arg(inner.get_program())
                .args(inner.get_args())
                .current_dir(&bundle.directory);
            let done = crate::support::finish_within(command, std::time::Duration::from_secs(30));
            assert!(done.code != 0 && done.out.is_empty(), "{key}: {done:?}");
        }
        bundle.finish();
    }
}

#[test]
fn check_68_devices_that_are_not_allowed_do_not_open() {
    if !can_run("check_68_devices_that_are_not_allowed_do_not_open") {
        return;
    }
    {
        // With runc 1.1.5 every container may open /dev/net/tun.
        let mut bundle = Bundle::new("devgroup");
        for set in ["bounding", "effective", "permitted"] {
            bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]));
        }
        let look = "cd /tmp; rm -f d*; mknod d1 c 1 11; mknod d2 c 10 200; mknod d3 c 10 229; mknod d4 b 7 0; mknod d5 c 1 1; mknod d6 b 254 0; mknod d7 c 5 1; \
                    for f in d1 d2 d3 d4 d5 d6 d7; do (: < $f) 2>&1 | grep -v 'not permitted'; (: < $f) 2>/dev/null && echo opened $f; done; : < /dev/null && echo null";
        assert_eq!(bundle.sh(look).ok(), "null");
        bundle.start();
        assert_eq!(bundle.exec(&[], look).ok(), "null");
        bundle.call(&["update", "--pids-limit", "100", &bundle.tag]).ok();
        assert_eq!(bundle.exec(&[], look).ok(), "null", "after update");
        bundle.call(&["pause", &bundle.tag]).ok();
        bundle.call(&["resume", &bundle.tag]).ok();
        assert_eq!(bundle.exec(&[], look).ok(), "null", "after pause");
        bundle.finish();
    }
}

#[test]
fn check_68_nodes_that_are_in_the_image_do_not_open() {
    if !can_run("check_68_nodes_that_are_in_the_image_do_not_open") {
        return;
    }
    let mut bundle = Bundle::new("imagenodes");
    let made = std::process::Command::new("mknod")
        .arg(bundle.rootfs().join("tmp/kmsg"))
        .args(["c", "1", "11"])
        .status()
        .unwrap();
    assert!(made.success());
    let seen = bundle.sh("(: < /tmp/kmsg) 2>&1; true").ok();
    assert!(seen.contains("not permitted"), "{seen}");
    bundle.finish();
}

#[test]
fn cve_2023_6476_annotations_are_no_control_input() {
    if !can_run("cve_2023_6476_annotations_are_no_control_input") {
        return;
    }
    let mut bundle = Bundle::new("annotations");
    let marker = bundle.directory.join("ran");
    bundle.set("/annotations", json!({
        "org.systemd.property.ExecStartPre": format!("['/bin/touch', '{}']", marker.display()),
        "run.oci.seccomp_fail_unknown_syscall": "0", "run.oci.delegate-cgroup": "../../x", "run.oci.handler": "krun",
        "run.oci.hooks.stdout": marker.display().to_string(), "run.oci.hooks.stderr": marker.display().to_string(),
        "run.oci.seccomp_bpf_data": "AAAA", "run.oci.mount_context_type": "x", "run.oci.keep_original_groups": "1",
    }));
    let seen = bundle.sh("cat /proc/self/cgroup | head -1; grep Groups /proc/self/status").ok();
    assert!(!seen.contains("../x"), "{seen}");
    assert!(!marker.exists());
    bundle.finish();
}

#[test]
fn check_70_a_fork_bomb_meets_its_limit() {
    if !can_run("check_70_a_fork_bomb_meets_its_limit") {
        return;
    }
    if !Path::new("/sys/fs/cgroup/pids").exists() && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return skip("check_70_a_fork_bomb_meets_its_limit", "this host has no pids controller");
    }
    let mut bundle = Bundle::new("bomb");
    bundle.set("/linux/resources/pids", json!({"limit": 24}));
    let done = bundle.sh("i=0; while test $i -lt 60; do sleep 20 & i=$((i+1)); done; echo never");
    assert!(done.err.contains("can't fork") || done.err.contains("Resource temporarily"), "{done:?}");
    bundle.finish();
}
