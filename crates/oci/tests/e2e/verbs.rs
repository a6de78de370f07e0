// SPDX-License-Identifier: Apache-2.0
//! The other verbs: exec, list, spec, features, plan, mounts.

use serde_json::{Value, json};

use crate::support::{both, ours, until};

#[test]
fn exec_runs_a_program_as_told() {
    both("exec_runs_a_program_as_told", |case| {
        case.start_sleeping();
        assert_eq!(case.exec(&["sh", "-c", "echo in; exit 7"]).code, 7);
        let id = case.id.clone();
        let script = "pwd; echo $A; id -u; id -g; id -G";
        let words = ["exec", "--cwd", "/tmp", "--env", "A=1", "--user", "5:6", "-g", "9", &id, "sh", "-c", script];
        assert_eq!(case.call(&words).ok(), "/tmp\n1\n5\n6\n6 9\n");
        assert!(case.exec(&["nosuch"]).fails(255).contains("not found"));
        let script = "grep CapEff /proc/self/status | cut -f2";
        let out = case.call(&["exec", "--cap", "CAP_SYS_TIME", &id, "sh", "-c", script]).ok();
        assert!(u64::from_str_radix(out.trim(), 16).unwrap() & 1 << 25 != 0, "{out}");
    });
}

#[test]
fn exec_takes_a_process_file_and_detaches() {
    both("exec_takes_a_process_file_and_detaches", |case| {
        case.start_sleeping();
        let process = json!({"user": {"uid": 3, "gid": 4}, "args": ["sh", "-c", "id -u > /tmp/out; sleep 1000"], "env": ["PATH=/bin"], "cwd": "/tmp"});
        std::fs::write(case.path.join("p.json"), process.to_string()).unwrap();
        std::fs::set_permissions(case.rootfs().join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        let id = case.id.clone();
        case.quietly(&["exec", "--process", "p.json", "--detach", "--pid-file", "pid", &id]);
        let pid: i32 = std::fs::read_to_string(case.path.join("pid")).unwrap().parse().unwrap();
        // The runtime is told of execve by a descriptor that closes, which the kernel does before it names the process.
        until("the process has its program's name", || {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sh\n" || comm == "sleep\n")
        });
        until("the program has written", || {
            std::fs::read_to_string(case.rootfs().join("tmp/out")).is_ok_and(|text| text == "3\n")
        });
    });
}

#[test]
fn exec_has_the_containers_rights_and_filter() {
    both("exec_has_the_containers_rights_and_filter", |case| {
        case.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            }),
        );
        let ambient = json!(["CAP_KILL"]);
        case.set("/process/capabilities", json!({"bounding": ambient, "permitted": ambient, "effective": ambient, "inheritable": ambient, "ambient": ambient}));
        case.start_sleeping();
        let out = case
            .exec(&[
                "sh",
                "-c",
                "mkdir /x 2>&1; grep -E 'NoNewPrivs|Seccomp:|CapAmb|CapBnd' /proc/self/status | cut -f2",
            ])
            .ok();
        assert_eq!(
            out,
            "mkdir: can't create directory '/x': Operation not supported\n0000000000000020\n0000000000000020\n1\n2\n"
        );
    });
}

#[test]
fn list_has_every_container() {
    both("list_has_every_container", |case| {
        assert!(case.call(&["list", "--format", "json"]).ok().trim().starts_with(['[', 'n']));
        case.start_sleeping();
        let list: Value = serde_json::from_str(&case.call(&["list", "-f", "json"]).ok()).unwrap();
        assert_eq!((list[0]["id"].as_str(), list[0]["status"].as_str()), (Some(case.id.as_str()), Some("running")));
        assert_eq!(case.call(&["list", "-q"]).ok(), format!("{}\n", case.id));
        assert!(case.call(&["list"]).ok().starts_with("ID "));
    });
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    both("spec_writes_a_bundle_that_runs", |case| {
        case.call(&["spec"]).ok();
        let text = std::fs::read_to_string(case.path.join("config.json")).unwrap();
        case.config = serde_json::from_str(&text).unwrap();
        case.set("/process/terminal", json!(false));
        let out = case.prints("id -u; hostname; ls /sys/fs/cgroup >/dev/null && echo ok");
        assert!(out.starts_with("0\n") && out.ends_with("ok\n"), "{out}");
        case.call(&["spec"]).fails(1);
    });
}

#[test]
fn features_are_told_as_the_specification_has_them() {
    ours("features_are_told_as_the_specification_has_them", |case| {
        let features: Value = serde_json::from_str(&case.call(&["features"]).ok()).unwrap();
        assert_eq!(features["ociVersionMax"], "1.3.0");
        assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
        assert_eq!(features["linux"]["namespaces"].as_array().unwrap().len(), 8);
        assert_eq!(features["linux"]["capabilities"].as_array().unwrap().len(), 41);
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
        let version = case.call(&["--version"]).ok();
        assert!(version.starts_with("cella-oci version ") && version.contains("\nspec: 1.3.0\n"), "{version}");
    });
}

#[test]
fn plan_needs_no_root_and_changes_nothing() {
    ours("plan_needs_no_root_and_changes_nothing", |case| {
        case.write_config();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&case.path, open).unwrap();
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", case.runtime.program]);
        command.args(["--root", "/tmp/nowhere", "--rootless", "false", "plan", "--bundle"]).arg(&case.path);
        // The binary may be below a directory that only root enters.
        let output = command.output().unwrap();
        if output.status.code() == Some(127) || String::from_utf8_lossy(&output.stderr).contains("failed to execute") {
            let out = case.call(&["plan"]).ok();
            assert!(out.contains("mount proc on /proc"), "{out}");
            return;
        }
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("mount proc on /proc") && out.contains("run \"true\""), "{output:?}");
        let json: Value = serde_json::from_str(&case.call(&["plan", "--format", "json"]).ok()).unwrap();
        assert!(json["steps"].as_array().unwrap().len() > 20);
    });
}

#[test]
fn mounts_are_added_and_removed() {
    ours("mounts_are_added_and_removed", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        std::fs::write(case.path.join("data/file"), "hello").unwrap();
        case.start_sleeping();
        let list = json!([{"destination": "/late/here", "type": "bind", "source": "data", "options": ["bind", "ro"]}]);
        std::fs::write(case.path.join("m.json"), list.to_string()).unwrap();
        let id = case.id.clone();
        case.call(&["mounts", "add", &id, "m.json"]).ok();
        assert_eq!(
            case.exec(&["sh", "-c", "cat /late/here/file; touch /late/here/x 2>&1"]).out,
            "hellotouch: /late/here/x: Read-only file system\n"
        );
        case.call(&["mounts", "remove", &id, "m.json"]).ok();
        assert_eq!(case.exec(&["sh", "-c", "ls /late/here | wc -l"]).ok(), "0\n");
        case.call(&["mounts", "remove", &id, "m.json"]).fails(1);
    });
}
