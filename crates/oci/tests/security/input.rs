// SPDX-License-Identifier: Apache-2.0
//! Configurations, ids and states that were made to be misread.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, can_run};

#[test]
fn r11_ids_with_slashes() {
    if !can_run("r11_ids_with_slashes") {
        return;
    }
    let mut bundle = Bundle::new("ids");
    bundle.script("echo ran").write();
    let long = "x".repeat(2000);
    let climb = format!("../../../..{}/x", bundle.canary.display());
    let absolute = bundle.canary.join("x").display().to_string();
    let ids = [
        "a/b",
        "..",
        ".",
        "",
        &long,
        &climb,
        &absolute,
        "a\nb",
        "a b",
        "a\0b",
        "\u{1b}[31m",
        "a:b",
        "é",
        "../x",
        "a/../b",
        "x;y",
        "$(x)",
        "*",
    ];
    for id in ids.iter().filter(|id| !id.contains('\0')) {
        for verb in ["run", "create", "start", "state", "delete", "kill", "pause", "resume", "ps", "events", "exec"] {
            let mut words = vec![verb, "--", id];
            if verb == "exec" {
                words.extend(["/bin/sh", "-c", "echo ran"]);
            }
            let done = bundle.call(&words);
            assert!(done.code != 0 && done.out.is_empty(), "{verb} {id:?}: {done:?}");
            assert!(!done.err.contains('\u{1b}') && !done.err.contains("panicked"), "{verb} {id:?}: {done:?}");
        }
        assert_ne!(bundle.call(&["delete", "--force", id]).code, 101);
        assert_ne!(bundle.call(&["update", "--pids-limit", "5", id]).code, 0);
    }
    // The cache's own directory is no container, and not one of the ids that can be made.
    let done = bundle.call(&["run", ".filters"]);
    assert!(done.code != 0 && done.out.is_empty(), "{done:?}");
    bundle.finish();
}

#[test]
fn check_91_configurations_that_are_not_what_they_seem() {
    if !can_run("check_91_configurations_that_are_not_what_they_seem") {
        return;
    }
    let mut bundle = Bundle::new("config");
    bundle.script("echo ran");
    let good = serde_json::to_string(&bundle.config).unwrap();
    let file = bundle.directory.join("config.json");
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let mut broken: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"x\"".to_vec(),
        b"{}".to_vec(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        deep("[", "]").into_bytes(),
        deep("{\"a\":", "}").into_bytes(),
        good.replacen("\"process\":{", &format!("\"process\":{},\"x\":{{", deep("[", "]")), 1).into_bytes(),
        good.replacen("\"seccomp\"", "\"x\"", 1)
            .replacen("\"linux\":{", &format!("\"linux\":{{\"seccomp\":{},", deep("[", "]")), 1)
            .into_bytes(),
        // Twice, with other words each time: which of them counts must not be a matter of taste.
        good.replacen("\"process\":{", "\"root\":{\"path\":\"/\"},\"process\":{", 1).into_bytes(),
        good.replacen("\"process\":{", "\"process\":{\"noNewPrivileges\":false,", 1).into_bytes(),
        good.replacen("\"process\":{", "\"process\":{\"noNewPrivileges\":NaN,", 1).into_bytes(),
    ];
    let mut bytes = good.clone().into_bytes();
    let at = good.find("echo ran").unwrap();
    bytes[at] = 0xff;
    broken.push(bytes);
    broken.push(good.replace("echo ran", "echo \\ud800").into_bytes());
    // 17 MB, and valid but for that.
    broken.push(format!("{good}{}", " ".repeat(17 << 20)).into_bytes());
    for (number, bytes) in broken.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        bundle.call(&["run", &bundle.tag]).refused();
        println!("{number} is refused");
    }
    // What nobody reads may be as deep as it likes, as long as it ends.
    fs::write(&file, good.replacen("\"process\":{", &format!("\"unknown\":{},\"process\":{{", deep("[", "]")), 1))
        .unwrap();
    let done = bundle.call(&["run", &bundle.tag]);
    assert!(done.code < 100, "{done:?}");
    bundle.delete();
    // Not a file.
    fs::remove_file(&file).unwrap();
    bundle.call(&["run", &bundle.tag]).refused();
    fs::create_dir(&file).unwrap();
    bundle.call(&["run", &bundle.tag]).refused();
    fs::remove_dir(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    bundle.call(&["run", &bundle.tag]).refused();
    fs::remove_file(&file).unwrap();
    for target in ["/dev/zero", "/proc/self/mem", "config.json"] {
        symlink(target, &file).unwrap();
        bundle.call(&["run", &bundle.tag]).refused();
        fs::remove_file(&file).unwrap();
    }
    bundle.finish();
}

#[test]
fn check_95_arguments_and_variables() {
    if !can_run("check_95_arguments_and_variables") {
        return;
    }
    let mut bundle = Bundle::new("env");
    bundle.script("echo ran");
    let plain = bundle.config.clone();
    for env in ["A=\0", "\0", "=x", "A\0B=x"] {
        bundle.config = plain.clone();
        bundle.set("/process/env", json!(["PATH=/bin", env]));
        bundle.run().refused();
    }
    for arg in ["\0", "a\0b"] {
        bundle.config = plain.clone();
        bundle.set("/process/args", json!(["/bin/echo", "ran", arg]));
        bundle.run().refused();
    }
    // A name without a value is never looked up outside: it stays what it is or is refused.
    for env in ["MARKER", "HOME", "*", "MARK*", ""] {
        bundle.config = plain.clone();
        bundle.set("/process/env", json!(["PATH=/bin", env]));
        bundle.script("cat /proc/1/environ | tr '\\0' '\\n'").write();
        let mut command = bundle.command(&["run", &bundle.tag]);
        command.env("MARKER", "of the host").env("HOME", "/of/the/host");
        let done = crate::support::finish_within(command, std::time::Duration::from_secs(30));
        assert!(!done.out.contains("of the host") && !done.out.contains("/of/the"), "{env}: {done:?}");
    }
    // Words that are too many for execve(2) are its error, and leave nothing behind.
    bundle.config = plain.clone();
    bundle.set("/process/args", json!(["/bin/echo", "x".repeat(3 << 20)]));
    bundle.run().refused();
    bundle.finish();
}

#[test]
fn cve_2021_43784_long_values_do_not_overflow() {
    if !can_run("cve_2021_43784_long_values_do_not_overflow") {
        return;
    }
    let mut bundle = Bundle::new("overflow");
    // More than 64 KiB of everything that goes to the program inside: it arrives whole.
    let env: Vec<String> = (0..3000).map(|number| format!("VARIABLE_{number}={}", "x".repeat(40))).collect();
    let args: Vec<String> = (0..3000).map(|number| format!("word-{number}-{}", "y".repeat(40))).collect();
    let mut all = vec![
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        "echo $# $VARIABLE_2999; id -u; for a in \"$@\"; do l=$a; done; echo $l".to_owned(),
    ];
    all.extend(args);
    bundle
        .set("/process/args", json!(all))
        .set("/process/env", json!(env))
        .set("/process/user", json!({"uid": 1234, "gid": 1}));
    let masked: Vec<String> = (0..2000).map(|number| format!("/proc/nowhere/{number}/{}", "z".repeat(40))).collect();
    bundle.set("/linux/maskedPaths", json!(masked));
    let seen = bundle.run().ok();
    assert_eq!(seen, format!("2999 {}\n1234\nword-2999-{}", "x".repeat(40), "y".repeat(40)));
    bundle.finish();
}

#[test]
fn check_33_many_mounts_are_made_or_refused() {
    if !can_run("check_33_many_mounts_are_made_or_refused") {
        return;
    }
    let mut bundle = Bundle::new("many");
    let source = bundle.directory.join("source");
    fs::create_dir(&source).unwrap();
    let source = source.display().to_string();
    for number in 0..300 {
        bundle.mount(&format!("/mnt/{number}"), "bind", &source, &["rbind", "ro"]);
    }
    let seen = bundle.sh("grep -c ' /mnt/' /proc/self/mountinfo").ok();
    assert_eq!(seen, "300");
    bundle.finish();
}

#[test]
fn r17_state_directory_modes() {
    if !can_run("r17_state_directory_modes") {
        return;
    }
    let mut bundle = Bundle::new("modes");
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    bundle.script("exec sleep 1000").write();
    bundle.create(&[]).ok();
    let mut todo = vec![bundle.root()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "{path:?}");
        assert_eq!(found.permissions().mode() & 0o077, 0, "{path:?}: {:o}", found.permissions().mode());
        if found.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
    // No socket without a name: whoever shares the network namespace could reach it (CVE-2020-15257).
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!sockets.lines().any(|line| line.contains('@') && line.contains("cella-oci")), "{sockets}");
    bundle.finish();
}

#[test]
fn r17_a_root_that_others_planted() {
    if !can_run("r17_a_root_that_others_planted") {
        return;
    }
    let mut bundle = Bundle::new("planted");
    bundle.script("echo ran").write();
    fs::create_dir(bundle.root()).unwrap();
    // protected_symlinks may be off: a link in the place of the container's directory is not followed.
    symlink(bundle.canary.join("directory"), bundle.root().join(&bundle.tag)).unwrap();
    bundle.call(&["run", &bundle.tag]).refused();
    bundle.call(&["delete", "--force", &bundle.tag]);
    fs::remove_file(bundle.root().join(&bundle.tag)).ok();
    bundle.unchanged();
    // The pid file replaces a link; it does not write through it.
    let pid_file = bundle.directory.join("pid");
    symlink(bundle.canary.join("secret"), &pid_file).unwrap();
    bundle.call(&["run", "--pid-file", &pid_file.display().to_string(), &bundle.tag]).ok();
    assert!(!pid_file.is_symlink());
    bundle.finish();
}

#[test]
fn check_132_a_state_that_was_changed_harms_nobody() {
    if !can_run("check_132_a_state_that_was_changed_harms_nobody") {
        return;
    }
    let mut bundle = Bundle::new("tampered");
    bundle.start();
    let file = bundle.root().join(&bundle.tag).join("state.json");
    let whole = fs::read(&file).unwrap();
    let state: Value = serde_json::from_slice(&whole).unwrap();
    // Starts are told apart by hundredths of a second.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    // The number of the process went to somebody else since: that one is not signalled.
    let mut recycled = state.clone();
    recycled["pid"] = json!(bystander.id());
    fs::write(&file, serde_json::to_vec(&recycled).unwrap()).unwrap();
    assert_ne!(bundle.call(&["kill", &bundle.tag, "KILL"]).code, 0);
    assert!(bystander.try_wait().unwrap().is_none(), "a process that is not of the container was killed");
    assert!(bundle.call(&["state", &bundle.tag]).ok().contains("stopped"));
    for bytes in [&whole[..whole.len() / 2], b"", b"{}", b"null", &[0xff; 100]] {
        fs::write(&file, bytes).unwrap();
        for verb in [&["state"][..], &["kill"], &["start"], &["pause"], &["ps"]] {
            bundle.call(&[verb, &[&bundle.tag]].concat()).refused();
        }
        assert_ne!(bundle.call(&["list"]).code, 101);
    }
    // A group with `..` in it is not one of ours.
    for group in ["..", "../..", "/", "", "a/../../b"] {
        let mut moved = state.clone();
        moved["group"] = json!(group);
        moved["pid"] = json!(0);
        fs::write(&file, serde_json::to_vec(&moved).unwrap()).unwrap();
        assert_ne!(bundle.call(&["state", &bundle.tag]).code, 101);
    }
    fs::write(&file, &whole).unwrap();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    bundle.finish();
}

#[test]
fn check_3_what_fails_leaves_nothing() {
    if !can_run("check_3_what_fails_leaves_nothing") {
        return;
    }
    let mut bundle = Bundle::new("fails");
    bundle.script("echo ran");
    let plain = bundle.config.clone();
    let wrong: &[(&str, Value)] = &[
        ("/process/args", json!(["/no/such/program"])),
        ("/process/args", json!(["/etc"])),
        ("/process/args", json!(["/etc/no-such", "x"])),
        ("/process/cwd", json!("/bin/sh")),
        ("/mounts/6/type", json!("nosuchfs")),
        ("/mounts/0/type", json!("nosuchfs")),
        ("/linux/maskedPaths", json!([format!("/{}", "x".repeat(300))])),
        ("/linux/resources/memory", json!({"limit": 1})),
        ("/linux/sysctl", json!({"net.no.such": "1"})),
        ("/hooks", json!({"createRuntime": [{"path": "/bin/false"}]})),
        ("/hooks", json!({"prestart": [{"path": "/no/such"}]})),
        ("/hooks", json!({"createContainer": [{"path": "/bin/false"}]})),
        ("/hooks", json!({"startContainer": [{"path": "/no/such"}]})),
        ("/hooks", json!({"poststart": [{"path": "/bin/false"}]})),
        ("/linux/netDevices", json!({"nosuchdevice": {}})),
    ];
    for (place, value) in wrong {
        for verb in ["create", "run"] {
            bundle.config = plain.clone();
            bundle.set(place, value.clone()).write();
            let done = if verb == "create" { bundle.create(&[]) } else { bundle.call(&[verb, &bundle.tag]) };
            if done.code == 0 && verb == "create" {
                assert_ne!(bundle.call(&["start", &bundle.tag]).code, 0, "{place} {value}");
                bundle.delete();
            } else {
                assert_ne!(done.code, 0, "{verb} {place} {value}: {done:?}");
                assert!(!bundle.root().join(&bundle.tag).exists(), "{verb} {place} {value}: {done:?}");
            }
            bundle.unchanged();
        }
    }
    bundle.finish();
}
