// SPDX-License-Identifier: Apache-2.0
//! Classes D and E: capabilities, numbers of users and groups, no_new_privs, the keyring.

use serde_json::{Value, json};

use crate::support::{Bundle, can_run, for_each_runtime, skip};

const STATUS: &str = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | awk '{print $2}' | tr '\\n' ' '";
/// KILL, NET_BIND_SERVICE and AUDIT_WRITE, as `spec` has them.
const THREE: &str = "0000000020000420";
const NONE: &str = "0000000000000000";

#[test]
fn cve_2022_29162_inheritable_is_empty() {
    if !can_run("cve_2022_29162_inheritable_is_empty") {
        return;
    }
    for_each_runtime("inheritable", |mut bundle| {
        // inheritable, permitted, effective, bounding, ambient, no_new_privs
        assert_eq!(bundle.sh(STATUS).ok(), format!("{NONE} {THREE} {THREE} {THREE} {NONE} 1 "));
        bundle.start();
        assert_eq!(bundle.exec(&[], STATUS).ok(), format!("{NONE} {THREE} {THREE} {THREE} {NONE} 1 "));
        let four = "0000000020002420";
        assert_eq!(
            bundle.exec(&["--cap", "CAP_NET_RAW"], STATUS).ok(),
            format!("{NONE} {four} {four} {four} {NONE} 1 ")
        );
        let seen = bundle.exec(&["--user", "1000:1000", "--cap", "CAP_NET_RAW"], STATUS).ok();
        assert!(seen.starts_with(&format!("{NONE} ")), "{seen}");
        bundle.finish();
    });
}

#[test]
fn cve_2018_10856_other_users_have_no_capabilities() {
    if !can_run("cve_2018_10856_other_users_have_no_capabilities") {
        return;
    }
    for_each_runtime("nonroot", |mut bundle| {
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(bundle.sh(STATUS).ok(), format!("{NONE} {NONE} {NONE} {THREE} {NONE} 1 "));
        bundle.set("/process/user", json!({"uid": 0, "gid": 0}));
        bundle.start();
        let seen = bundle.exec(&["--user", "1000:1000"], STATUS).ok();
        assert_eq!(seen, format!("{NONE} {NONE} {NONE} {THREE} {NONE} 1 "));
        bundle.finish();
    });
}

#[test]
fn r9_missing_capabilities_are_empty() {
    if !can_run("r9_missing_capabilities_are_empty") {
        return;
    }
    let mut bundle = Bundle::new("nocaps");
    let all = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
    let nothing = format!("{NONE} {NONE} {NONE} {NONE} {NONE} 1 ");
    for capabilities in [
        None,
        Some(Value::Null),
        Some(json!({})),
        Some(json!({"bounding": []})),
        Some(json!({"permitted": all, "effective": all})),
    ] {
        let process = bundle.config["process"].as_object_mut().unwrap();
        process.remove("capabilities");
        if let Some(capabilities) = &capabilities {
            process.insert("capabilities".to_owned(), capabilities.clone());
        }
        assert_eq!(bundle.sh(STATUS).ok(), nothing, "{capabilities:?}");
        bundle.start();
        assert_eq!(bundle.exec(&[], STATUS).ok(), nothing, "exec, {capabilities:?}");
        bundle.delete();
    }
    // With bounding alone root gets them by execve(2), as the kernel has it, but none is inheritable.
    bundle.set("/process/capabilities", json!({"bounding": all}));
    let seen = bundle.sh(STATUS).ok();
    assert!(seen.starts_with(NONE) && seen.ends_with(&format!("{NONE} 1 ")), "{seen}");
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        for name in ["CAP_NO_SUCH", "", "cap kill", "CAP_KILL\0", "64", "ALL"] {
            bundle.set("/process/capabilities", json!({"bounding": all, "permitted": all}));
            bundle.set(&format!("/process/capabilities/{set}"), json!([name]));
            bundle.sh("echo ran").refused();
        }
    }
    bundle.finish();
}

#[test]
fn check_53_groups_are_those_that_were_asked_for() {
    if !can_run("check_53_groups_are_those_that_were_asked_for") {
        return;
    }
    for_each_runtime("groups", |mut bundle| {
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1001}));
        let look = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr '\\t' ' '";
        let plain = bundle.sh(look).ok();
        assert_eq!(
            plain.lines().map(str::trim).collect::<Vec<_>>(),
            ["Uid: 1000 1000 1000 1000", "Gid: 1001 1001 1001 1001", "Groups:"]
        );
        bundle.set("/process/user/additionalGids", json!([7, 9]));
        assert!(bundle.sh(look).ok().contains("Groups: 7 9"));
        bundle.start();
        // A group that may not what others may.
        let seen = bundle.exec(&["--user", "5:6"], look).ok();
        assert!(seen.contains("Uid: 5 5 5 5") && seen.contains("Gid: 6 6 6 6"), "{seen}");
        bundle.finish();
    });
}

#[test]
fn r10_numbers_of_users_in_exec() {
    if !can_run("r10_numbers_of_users_in_exec") {
        return;
    }
    let mut bundle = Bundle::new("users");
    // A name that is a number in the image, and that of root (CVE-2016-3697).
    std::fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n").unwrap();
    bundle.start();
    let look = "id -u; id -g";
    for (user, wanted) in
        [("1", "1\n0"), ("1:2", "1\n2"), ("1000", "1000\n0"), ("4294967294:4294967294", "4294967294\n4294967294")]
    {
        assert_eq!(bundle.exec(&["--user", user], look).ok(), wanted, "{user}");
    }
    for user in [
        "1:",
        ":2",
        "",
        "+1",
        "-1",
        "0x1",
        " 1",
        "1 ",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "root",
        "name:group",
        "1:name",
        "1:2:3",
        "1:4294967295",
        "1:-1",
        "1.0",
        "1:+2",
        "\u{661}",
    ] {
        bundle.exec(&[&format!("--user={user}")], look).refused();
    }
    for group in ["-1", "4294967295", "4294967296", "x", "+1"] {
        bundle.exec(&[&format!("--additional-gids={group}")], look).refused();
    }
    bundle.finish();
}

#[test]
fn r10_numbers_in_the_configuration() {
    if !can_run("r10_numbers_in_the_configuration") {
        return;
    }
    let mut bundle = Bundle::new("numbers");
    bundle.script("echo ran; id -u");
    bundle.config["linux"]["devices"] = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]);
    let plain = bundle.config.clone();
    let places = [
        "/process/user/uid",
        "/process/user/gid",
        "/process/user/umask",
        "/process/oomScoreAdj",
        "/linux/devices/0/major",
        "/linux/devices/0/minor",
        "/linux/devices/0/uid",
        "/linux/devices/0/gid",
        "/process/rlimits/0/soft",
    ];
    for place in places {
        for number in [
            "-1",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "1e3",
            "1.5",
            "\"1\"",
            "[1]",
            "1e400",
            "-18446744073709551616",
        ] {
            // A soft limit may be as large as it likes below the hard one; devices may have any number of 32 bits.
            if number == "4294967295" && (place.contains("rlimits") || place.contains("jor") || place.contains("nor"))
                || number == "-1" && place.contains("oom")
            {
                continue;
            }
            bundle.config = plain.clone();
            let text = serde_json::to_string(&bundle.set(place, json!("@@")).config).unwrap().replace("\"@@\"", number);
            std::fs::write(bundle.directory.join("config.json"), text).unwrap();
            let done = bundle.call(&["run", &bundle.tag]);
            assert!(done.code != 0 && done.out.is_empty(), "{place} {number}: {done:?}");
        }
    }
    bundle.config = plain;
    bundle.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [4_294_967_295_u32]}));
    bundle.run().refused();
    bundle.finish();
}

#[test]
fn check_61_no_new_privileges_holds() {
    if !can_run("check_61_no_new_privileges_holds") {
        return;
    }
    for_each_runtime("nnp", |mut bundle| {
        use std::os::unix::fs::PermissionsExt;
        let program = bundle.rootfs().join("bin/busybox-setuid");
        std::fs::copy("/bin/busybox", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let look = "/bin/busybox-setuid grep -E '^(Uid|NoNewPrivs)' /proc/self/status | tr '\\t' ' '";
        let held = "Uid: 1000 1000 1000 1000\nNoNewPrivs: 1";
        assert_eq!(bundle.sh(look).ok(), held);
        bundle.start();
        assert_eq!(bundle.exec(&[], look).ok(), held);
        bundle.finish();
    });
}

#[test]
fn check_58_maps_of_many_lines_are_exact_or_refused() {
    if !can_run("check_58_maps_of_many_lines_are_exact_or_refused") {
        return;
    }
    let mut bundle = Bundle::new("maps");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    bundle.set("/linux/resources", json!({}));
    let root = bundle.directory.clone();
    assert!(
        std::process::Command::new("chown")
            .args(["-R", "300000:300000"])
            .arg(root.join("rootfs"))
            .status()
            .unwrap()
            .success()
    );
    // The kernel takes 340 lines, and no more than a page of text.
    for count in [1_u64, 5, 6, 200] {
        let lines: Vec<Value> =
            (0..count).map(|one| json!({"containerID": one * 10, "hostID": 300_000 + one * 10, "size": 10})).collect();
        bundle.set("/linux/uidMappings", json!(lines)).set("/linux/gidMappings", json!(lines));
        let seen = bundle.sh("wc -l < /proc/self/uid_map; wc -l < /proc/self/gid_map; cat /proc/self/uid_map").ok();
        let mut seen = seen.lines();
        assert_eq!((seen.next(), seen.next()), (Some(count.to_string().as_str()), Some(count.to_string().as_str())));
        for (line, one) in seen.zip(0..) {
            let found: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            assert_eq!(found, [one * 10, 300_000 + one * 10, 10]);
        }
    }
    for wrong in [
        json!([{"containerID": 0, "hostID": 300_000, "size": 0}]),
        json!([{"containerID": 0, "hostID": 4_294_967_290_u32, "size": 100}]),
        json!([{"containerID": 0, "hostID": 300_000, "size": 10}, {"containerID": 5, "hostID": 400_000, "size": 10}]),
        json!((0..341).map(|one| json!({"containerID": one, "hostID": 300_000 + one, "size": 1})).collect::<Vec<_>>()),
        json!([]),
    ] {
        bundle.set("/linux/uidMappings", wrong.clone()).set("/linux/gidMappings", wrong);
        bundle.sh("echo ran").refused();
    }
    bundle.finish();
}

/// The libraries and the interpreter of the host, for tests that need system calls.
fn with_python(bundle: &mut Bundle) -> bool {
    crate::filter::with_python(bundle)
}

#[test]
fn check_78_the_session_keyring_is_new() {
    if !can_run("check_78_the_session_keyring_is_new") {
        return;
    }
    let mut bundle = Bundle::new("keyring");
    if !with_python(&mut bundle) {
        bundle.finish();
        return skip("check_78_the_session_keyring_is_new", "it needs /usr/bin/python3 on x86_64");
    }
    let look = "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, ctypes.c_int(-3), 1))";
    let host = std::process::Command::new("/usr/bin/python3").args(["-c", look]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap().trim().to_owned();
    bundle.set("/process/args", json!(["/usr/bin/python3", "-c", look]));
    let one = bundle.run().ok();
    let other = bundle.run().ok();
    assert!(one.parse::<i64>().unwrap() > 0, "{one}");
    assert_ne!(one, host);
    assert_ne!(one, other);
    bundle.finish();
}

#[test]
fn check_112_no_core_file_and_no_helper_where_limits_say_so() {
    if !can_run("check_112_no_core_file_and_no_helper_where_limits_say_so") {
        return;
    }
    let mut bundle = Bundle::new("core");
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]));
    bundle.set("/process/cwd", json!("/tmp"));
    let seen = bundle.sh("sh -c 'kill -SEGV $$'; ls /tmp; grep core /proc/self/limits | awk '{print $5, $6}'").ok();
    assert_eq!(seen.lines().last(), Some("0 0"), "{seen}");
    bundle.finish();
}
