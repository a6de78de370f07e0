// SPDX-License-Identifier: Apache-2.0
//! Class B: root file systems made to lead the runtime's mounts and files to the host.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, can_run, for_each_runtime};

/// Puts a link in the place of what is at `name` in the root file system.
fn replace(bundle: &Bundle, name: &str, target: impl AsRef<Path>) {
    let path = bundle.rootfs().join(name);
    fs::remove_dir_all(&path).ok();
    fs::remove_file(&path).ok();
    symlink(target, path).unwrap();
}

#[test]
fn cve_2019_19921_proc_and_sys_are_ordinary_directories() {
    if !can_run("cve_2019_19921_proc_and_sys_are_ordinary_directories") {
        return;
    }
    for_each_runtime("procsys", |mut bundle| {
        bundle.script("true");
        for name in ["proc", "sys"] {
            fs::create_dir_all(bundle.rootfs().join("bad/self/attr")).unwrap();
            for target in [bundle.canary.join("directory"), "/bad".into(), "bad".into(), "/tmp/nowhere".into()] {
                replace(&bundle, name, target);
                let done = bundle.run();
                assert_ne!(done.code, 0, "{name}: {done:?}");
                bundle.unchanged();
            }
            fs::remove_file(bundle.rootfs().join(name)).unwrap();
            fs::create_dir(bundle.rootfs().join(name)).unwrap();
        }
        bundle.run().ok();
        bundle.finish();
    });
}

#[test]
fn cve_2023_27561_proc_through_a_linked_parent() {
    if !can_run("cve_2023_27561_proc_through_a_linked_parent") {
        return;
    }
    let mut bundle = Bundle::new("parent");
    // A proc that is mounted somewhere else must not get there by a link either.
    fs::create_dir(bundle.rootfs().join("real")).unwrap();
    symlink("real", bundle.rootfs().join("linked")).unwrap();
    bundle.mount("/linked/proc", "proc", "proc", &[]).script("true");
    bundle.run().refused();
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle.mount("/linked/sys", "sysfs", "sysfs", &[]);
    bundle.run().refused();
    bundle.finish();
}

#[test]
fn cve_2019_16884_proc_symlink_in_rootfs() {
    if !can_run("cve_2019_16884_proc_symlink_in_rootfs") {
        return;
    }
    {
        // Runc 1.1.5 lets a tmpfs on /proc/self/attr through.
        let mut bundle = Bundle::new("overproc");
        fs::create_dir_all(bundle.directory.join("fake/self/attr")).unwrap();
        let fake = bundle.directory.join("fake").display().to_string();
        let plain = bundle.config["mounts"].clone();
        bundle.script("true");
        // On /proc there is a proc or nothing; below it only what lxcfs shows.
        let wrong: &[(&str, &str, &str, &[&str])] = &[
            ("/proc", "tmpfs", "tmpfs", &[]),
            ("/proc", "bind", &fake, &["rbind"]),
            ("/proc/self/attr", "tmpfs", "tmpfs", &[]),
            ("/proc/1", "bind", &fake, &["rbind"]),
            ("/proc/sys/kernel", "tmpfs", "tmpfs", &[]),
            ("/proc/thread-self", "bind", &fake, &["rbind"]),
        ];
        for (place, kind, source, options) in wrong {
            bundle.config["mounts"] = plain.clone();
            bundle.mount(place, kind, source, options);
            let done = bundle.run();
            assert_ne!(done.code, 0, "{place} {kind}: {done:?}");
        }
        bundle.config["mounts"] = plain;
        let uptime = bundle.directory.join("uptime");
        fs::write(&uptime, "1 1\n").unwrap();
        bundle.mount("/proc/uptime", "bind", &uptime.display().to_string(), &["bind"]);
        assert_eq!(bundle.sh("cat /proc/uptime").ok(), "1 1");
        bundle.finish();
    }
}

#[test]
fn cve_2019_16884_proc_is_not_reached_by_a_link() {
    if !can_run("cve_2019_16884_proc_is_not_reached_by_a_link") {
        return;
    }
    let mut bundle = Bundle::new("linkproc");
    symlink("/proc/sys/net/ipv4", bundle.rootfs().join("p")).unwrap();
    symlink("/proc", bundle.rootfs().join("q")).unwrap();
    let decoy = bundle.canary.with_extension("decoy");
    fs::write(&decoy, "decoy").unwrap();
    // A parameter is written to the container's own proc, not to what a link has put over it.
    bundle.set("/linux/sysctl", json!({"net.ipv4.ping_group_range": "5 6"}));
    bundle.mount("/p/ping_group_range", "bind", &decoy.display().to_string(), &["bind"]);
    let done = bundle.sh("cat /proc/sys/net/ipv4/ping_group_range");
    assert_eq!(fs::read_to_string(&decoy).unwrap(), "decoy", "{done:?}");
    assert_ne!(done.code, 0, "{done:?}");
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle.mount("/q/self/attr", "tmpfs", "tmpfs", &[]);
    // By a link one gets there, which is no harm: nothing of ours is written to the container's own /proc/self/attr.
    bundle.sh("true");
    fs::remove_file(decoy).unwrap();
    bundle.finish();
}

#[test]
fn cve_2025_52881_procfs_writes_do_not_follow_the_rootfs() {
    if !can_run("cve_2025_52881_procfs_writes_do_not_follow_the_rootfs") {
        return;
    }
    for_each_runtime("sysctl", |mut bundle| {
        // What the image has below /proc and /sys is covered, and what it says there is never read or written.
        for (name, text) in [
            ("proc/sys/net/ipv4/ping_group_range", "decoy"),
            ("proc/self/attr/exec", "decoy"),
            ("proc/self/oom_score_adj", "decoy"),
        ] {
            let path = bundle.rootfs().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        bundle.set("/linux/sysctl", json!({"net.ipv4.ping_group_range": "5 6"}));
        bundle.set("/process/oomScoreAdj", json!(321));
        let seen = bundle.sh("cat /proc/sys/net/ipv4/ping_group_range /proc/self/oom_score_adj").ok();
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["5", "6", "321"]);
        assert_eq!(fs::read_to_string(bundle.rootfs().join("proc/self/oom_score_adj")).unwrap(), "decoy");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("proc/sys/net/ipv4/ping_group_range")).unwrap(), "decoy");
        bundle.finish();
    });
}

#[test]
fn cve_2015_1335_mount_targets_stay_below_the_root() {
    if !can_run("cve_2015_1335_mount_targets_stay_below_the_root") {
        return;
    }
    {
        // Runc 1.1.5 makes directories of a version 1 cgroup mount through links: only ours is held to it.
        let mut bundle = Bundle::new("targets");
        let source = bundle.directory.join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "from outside\n").unwrap();
        let (directory, file) = (source.display().to_string(), source.join("file").display().to_string());
        let plain = bundle.config["mounts"].clone();
        let up = "../".repeat(12);
        let links = [
            bundle.canary.display().to_string(),
            format!("{up}{}", bundle.canary.display()),
            format!("{}/directory", bundle.canary.display()),
            "/mnt/loop".to_owned(),
            "/nowhere/at/all".to_owned(),
        ];
        symlink("loop", bundle.rootfs().join("mnt/loop")).unwrap();
        let kinds: &[(&str, &str, &[&str])] = &[
            ("bind", &directory, &["rbind"]),
            ("bind", &file, &["bind"]),
            ("tmpfs", "tmpfs", &[]),
            ("tmpfs", "tmpfs", &["tmpcopyup"]),
            ("mqueue", "mqueue", &[]),
            ("devpts", "devpts", &["newinstance"]),
            ("cgroup", "cgroup", &["ro"]),
            ("proc", "proc", &[]),
            ("sysfs", "sysfs", &["ro"]),
        ];
        bundle.script("true");
        for link in &links {
            replace(&bundle, "mnt/t", link);
            for (kind, source, options) in kinds {
                for place in ["/mnt/t/x", "/mnt/t", "/mnt/t/secret", "/mnt/t/directory"] {
                    bundle.config["mounts"] = plain.clone();
                    bundle.mount(place, kind, source, options);
                    let done = bundle.run();
                    assert!(done.code < 100, "{link} {kind}: {done:?}");
                    if done.code != 0 {
                        bundle.delete();
                    }
                }
            }
        }
        bundle.finish();
    }
}

#[test]
fn r1_dangling_targets_are_made_below_the_root() {
    if !can_run("r1_dangling_targets_are_made_below_the_root") {
        return;
    }
    let mut bundle = Bundle::new("dangling");
    let place = bundle.canary.join("new/below");
    replace(&bundle, "mnt/t", &place);
    // A link with as many steps up as it likes ends at the container's root.
    replace(&bundle, "mnt/u", format!("../../../../../../..{}", bundle.canary.join("other").display()));
    bundle.mount("/mnt/t/x", "tmpfs", "tmpfs", &[]).mount("/mnt/u", "tmpfs", "tmpfs", &[]);
    let seen = bundle.sh("grep -c ' /tmp/canary' /proc/self/mountinfo").ok();
    assert_eq!(seen, "2");
    let below = |path: &Path| bundle.rootfs().join(path.strip_prefix("/").unwrap());
    assert!(below(&place).join("x").is_dir());
    assert!(below(&bundle.canary.join("other")).is_dir());
    bundle.finish();
}

#[test]
fn cve_2025_24965_files_bound_over_linked_targets() {
    if !can_run("cve_2025_24965_files_bound_over_linked_targets") {
        return;
    }
    for_each_runtime("resolv", |mut bundle| {
        let file = bundle.directory.join("resolv.conf");
        fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
        let file = file.display().to_string();
        for (name, target) in [("resolv.conf", "secret"), ("hosts", "new"), ("hostname", "empty")] {
            replace(&bundle, &format!("etc/{name}"), bundle.canary.join(target));
            bundle.mount(&format!("/etc/{name}"), "bind", &file, &["bind"]);
        }
        let done = bundle.sh("cat /etc/resolv.conf /etc/hosts /etc/hostname");
        assert_eq!(done.ok().matches("192.0.2.1").count(), 3);
        bundle.finish();
    });
}

#[test]
fn check_28_targets_that_are_pipes_or_devices_do_not_hang() {
    if !can_run("check_28_targets_that_are_pipes_or_devices_do_not_hang") {
        return;
    }
    for_each_runtime("fifos", |mut bundle| {
        let file = bundle.directory.join("file");
        fs::write(&file, "from outside\n").unwrap();
        let file = file.display().to_string();
        let etc = bundle.rootfs().join("etc");
        assert!(Command::new("mkfifo").arg(etc.join("fifo")).status().unwrap().success());
        assert!(Command::new("mknod").arg(etc.join("node")).args(["c", "10", "0"]).status().unwrap().success());
        let socket = std::os::unix::net::UnixListener::bind(etc.join("socket")).unwrap();
        for name in ["fifo", "node", "socket"] {
            bundle.mount(&format!("/etc/{name}"), "bind", &file, &["bind"]);
        }
        assert_eq!(bundle.sh("cat /etc/fifo /etc/node /etc/socket").ok().matches("from outside").count(), 3);
        // A directory over one of them, and the other way round: told, and not made fit.
        bundle.mount("/etc/fifo", "tmpfs", "tmpfs", &[]);
        let done = bundle.sh("true");
        assert_ne!(done.code, 0, "{done:?}");
        bundle.config["mounts"].as_array_mut().unwrap().pop();
        bundle.mount("/mnt", "bind", &file, &["bind"]);
        let done = bundle.sh("true");
        assert_ne!(done.code, 0, "{done:?}");
        drop(socket);
        bundle.finish();
    });
}

#[test]
fn cve_2026_41579_dev_is_a_symlink() {
    if !can_run("cve_2026_41579_dev_is_a_symlink") {
        return;
    }
    let mut bundle = Bundle::new("devlink");
    fs::write(bundle.canary.join("ptmx"), "marker").unwrap();
    let mark = || fs::read_to_string(bundle.canary.join("ptmx")).unwrap();
    assert_eq!(mark(), "marker");
    fs::remove_file(bundle.canary.join("ptmx")).unwrap();
    // Times of the canary's directories are no part of what is compared, its entries are.
    bundle.drop_mount("/dev");
    bundle.set("/linux/devices", json!([{"path": "/dev/sub/made", "type": "c", "major": 1, "minor": 3}]));
    for target in [
        bundle.canary.clone(),
        bundle.canary.join("directory"),
        bundle.canary.join("secret"),
        "/nowhere".into(),
        "/dev".into(),
    ] {
        replace(&bundle, "dev", &target);
        let done = bundle.sh("echo x > /dev/null; ls -l /dev/");
        assert!(done.code < 100, "{done:?}");
        bundle.delete();
        bundle.unchanged();
    }
    // There is none at all.
    fs::remove_file(bundle.rootfs().join("dev")).unwrap();
    bundle.sh("echo x > /dev/null").ok();
    bundle.finish();
}

#[test]
fn check_27_what_is_in_dev_is_not_what_it_should_be() {
    if !can_run("check_27_what_is_in_dev_is_not_what_it_should_be") {
        return;
    }
    let mut bundle = Bundle::new("devices");
    bundle.drop_mount("/dev");
    let dev = bundle.rootfs().join("dev");
    let secret = bundle.canary.join("secret");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        for kind in ["link", "directory", "fifo", "file", "other"] {
            fs::remove_dir_all(&dev).unwrap();
            fs::create_dir(&dev).unwrap();
            let path = dev.join(name);
            match kind {
                "link" => symlink(&secret, &path).unwrap(),
                "directory" => fs::create_dir(&path).unwrap(),
                "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "file" => fs::write(&path, "").unwrap(),
                _ => assert!(Command::new("mknod").arg(&path).args(["c", "1", "11"]).status().unwrap().success()),
            }
            let done = bundle.sh("true");
            assert_ne!(done.code, 0, "{name} is a {kind}: {done:?}");
        }
    }
    // Links that are there already stay; they lead to where the container may go anyway.
    fs::remove_dir_all(&dev).unwrap();
    fs::create_dir(&dev).unwrap();
    for name in ["fd", "stdin", "stdout", "stderr", "ptmx", "core"] {
        symlink(&secret, dev.join(name)).unwrap();
    }
    bundle.sh("true").ok();
    // Mounts on links in /dev.
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance"]).mount("/dev/shm", "tmpfs", "shm", &[]);
    for name in ["pts", "shm"] {
        fs::remove_dir_all(dev.join(name)).ok();
        symlink(bundle.canary.join("directory"), dev.join(name)).unwrap();
    }
    bundle.sh("true");
    bundle.finish();
}

#[test]
fn cve_2025_31133_masks_come_from_verified_null() {
    if !can_run("cve_2025_31133_masks_come_from_verified_null") {
        return;
    }
    let mut bundle = Bundle::new("null");
    bundle.drop_mount("/dev");
    let dev = bundle.directory.join("dev");
    bundle.mount("/dev", "bind", &dev.display().to_string(), &["rbind"]);
    bundle.set(
        "/linux/maskedPaths",
        json!(["/proc/keys", "/proc/keys", "/proc/timer_list", "/proc/sys/kernel/core_pattern"]),
    );
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for kind in ["link to core_pattern", "link to sysrq", "file", "other", "missing", "directory"] {
        fs::remove_dir_all(&dev).ok();
        fs::create_dir(&dev).unwrap();
        let null = dev.join("null");
        match kind {
            "link to core_pattern" => symlink("/proc/sys/kernel/core_pattern", null).unwrap(),
            "link to sysrq" => symlink("/proc/sysrq-trigger", null).unwrap(),
            "file" => fs::write(null, "not a device").unwrap(),
            "other" => assert!(Command::new("mknod").arg(null).args(["c", "1", "5"]).status().unwrap().success()),
            "directory" => fs::create_dir(null).unwrap(),
            _ => {}
        }
        // Each is the null device of the host, of which the container can not say what it is.
        let seen = bundle
            .sh("for f in keys timer_list sys/kernel/core_pattern; do stat -c '%F %t:%T' /proc/$f; cat /proc/$f; done")
            .ok();
        assert_eq!(seen, ["character special file 1:3"; 3].join("\n"), "{kind}");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    }
    bundle.finish();
}

#[test]
fn cve_2025_52565_the_console_is_the_terminal_itself() {
    if !can_run("cve_2025_52565_the_console_is_the_terminal_itself") {
        return;
    }
    let mut bundle = Bundle::new("console");
    bundle.set("/process/terminal", json!(true));
    let seen = bundle
        .sh("stat -c %t /dev/console; stat -f -c %t /dev/console; stat -c %t /dev/tty; (: < /dev/tty) && echo own")
        .ok();
    let seen: Vec<&str> = seen.lines().map(str::trim).collect();
    assert_eq!(seen, ["88", "1cd1", "5", "own"], "the console is a terminal of the container's devpts");
    // /dev of the user: with a link in the place of the console, and a pts that is none.
    let dev = bundle.directory.join("dev");
    fs::create_dir(&dev).unwrap();
    fs::create_dir(dev.join("pts")).unwrap();
    symlink(bundle.canary.join("secret"), dev.join("console")).unwrap();
    bundle.drop_mount("/dev");
    bundle.mount("/dev", "bind", &dev.display().to_string(), &["rbind"]).mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "ptmxmode=0666"],
    );
    let done = bundle.sh("cat /dev/console < /dev/null; stat -c %t /dev/console");
    assert!(!done.out.contains("secret"), "{done:?}");
    bundle.delete();
    bundle.unchanged();
    bundle.drop_mount("/dev/pts");
    for target in ["/proc/sys/kernel/core_pattern", "/dev/null", "/dev/ptmx"] {
        fs::remove_file(dev.join("pts/ptmx")).ok();
        symlink(target, dev.join("pts/ptmx")).unwrap();
        bundle.sh("true").refused();
    }
    bundle.mount("/dev/pts", "tmpfs", "tmpfs", &[]);
    bundle.sh("true").refused();
    bundle.finish();
}

#[test]
fn r1_dots_in_paths_of_the_configuration_are_refused() {
    if !can_run("r1_dots_in_paths_of_the_configuration_are_refused") {
        return;
    }
    let mut bundle = Bundle::new("dots");
    bundle.script("true");
    let plain = bundle.config.clone();
    let canary = bundle.canary.display().to_string();
    for place in
        ["/../../../..{}/x", "/mnt/../../..{}", "mnt/../../../../..{}", "/mnt/..{}", "/mnt/nowhere/../../../..{}"]
    {
        let place = place.replace("{}", &canary);
        bundle.config = plain.clone();
        bundle.mount(&place, "tmpfs", "tmpfs", &[]);
        bundle.run().refused();
        bundle.config = plain.clone();
        bundle.set("/linux/devices", json!([{"path": place, "type": "c", "major": 1, "minor": 3}]));
        bundle.run().refused();
    }
    for place in ["", "/mnt/\0x"] {
        bundle.config = plain.clone();
        bundle.mount(place, "tmpfs", "tmpfs", &[]);
        bundle.run().refused();
    }
    bundle.finish();
}

#[test]
fn check_29_the_rootfs_is_a_directory_and_no_link() {
    if !can_run("check_29_the_rootfs_is_a_directory_and_no_link") {
        return;
    }
    for_each_runtime("rootlink", |mut bundle| {
        bundle.script("echo ran");
        fs::write(bundle.directory.join("file"), "").unwrap();
        symlink(&bundle.canary, bundle.directory.join("link")).unwrap();
        symlink("rootfs", bundle.directory.join("good")).unwrap();
        assert!(Command::new("mkfifo").arg(bundle.directory.join("fifo")).status().unwrap().success());
        for name in ["link", "good", "file", "fifo", "missing", "", "rootfs\0"] {
            bundle.set("/root/path", json!(name));
            let done = bundle.run();
            assert!(done.code != 0 && done.out.is_empty(), "{name:?}: {done:?}");
        }
        bundle.finish();
    });
}

#[test]
fn check_30_nothing_is_mounted_over_the_root() {
    if !can_run("check_30_nothing_is_mounted_over_the_root") {
        return;
    }
    let mut bundle = Bundle::new("overroot");
    bundle.script("true");
    let plain = bundle.config.clone();
    for place in ["/", "//", "/.", "/./"] {
        for (kind, source) in [("tmpfs", "tmpfs"), ("bind", "/"), ("proc", "proc")] {
            bundle.config = plain.clone();
            bundle.mount(place, kind, source, if kind == "bind" { &["rbind"] } else { &[] });
            bundle.run().refused();
        }
    }
    bundle.config = plain;
    symlink("/", bundle.rootfs().join("mnt/root")).unwrap();
    bundle.mount("/mnt/root", "tmpfs", "tmpfs", &[]);
    // By a link of its own the image may do that to itself.
    bundle.run();
    bundle.finish();
}

#[test]
fn check_22_unreadable_directories_and_odd_names() {
    if !can_run("check_22_unreadable_directories_and_odd_names") {
        return;
    }
    let mut bundle = Bundle::new("odd");
    let locked = bundle.rootfs().join("mnt/locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    bundle.mount("/mnt/locked/a/b", "tmpfs", "tmpfs", &[]).mount("/mnt//double///slash/.", "tmpfs", "tmpfs", &[]);
    bundle.mount("/mnt/new\nline 'quote' \\040", "tmpfs", "tmpfs", &[]);
    bundle.sh("grep -c ' /mnt/' /proc/self/mountinfo").ok();
    let long = format!("/mnt/{}", "x".repeat(256));
    bundle.mount(&long, "tmpfs", "tmpfs", &[]);
    bundle.sh("true").refused();
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle.mount(&format!("/mnt{}", "/d".repeat(3000)), "tmpfs", "tmpfs", &[]);
    bundle.sh("true").refused();
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    // Forty links and more.
    for number in 0..60 {
        symlink(format!("l{}", number + 1), bundle.rootfs().join(format!("mnt/l{number}"))).unwrap();
    }
    bundle.mount("/mnt/l0/x", "tmpfs", "tmpfs", &[]);
    let done = bundle.sh("true");
    assert!(done.code < 100, "{done:?}");
    bundle.finish();
}

#[test]
fn check_32_delete_leaves_what_is_bound() {
    if !can_run("check_32_delete_leaves_what_is_bound") {
        return;
    }
    let mut bundle = Bundle::new("delete");
    let canary = bundle.canary.display().to_string();
    bundle.mount("/mnt/c", "bind", &canary, &["rbind", "ro"]);
    bundle.start();
    // A link in the place of the container's own directory, and links in it: delete removes links, not what they name.
    symlink(&bundle.canary, bundle.root().join(&bundle.tag).join("extra")).unwrap();
    bundle.delete();
    assert!(!bundle.root().join(&bundle.tag).exists());
    symlink(&bundle.canary, bundle.root().join("planted")).unwrap();
    bundle.call(&["delete", "--force", "planted"]);
    fs::remove_file(bundle.root().join("planted")).ok();
    let kind = fs::metadata(bundle.canary.join("fifo")).unwrap().file_type();
    assert!(kind.is_fifo());
    bundle.finish();
}

#[test]
fn class_t_recursive_read_only_is_recursive() {
    if !can_run("class_t_recursive_read_only_is_recursive") {
        return;
    }
    let mut bundle = Bundle::new("rro");
    let source = bundle.directory.join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(source.join("below")).status().unwrap();
    assert!(mounted.success());
    bundle.mount("/mnt", "bind", &source.display().to_string(), &["rbind", "rro"]);
    let done = bundle.sh("touch /mnt/a; touch /mnt/below/a; ls /mnt/below");
    let unmounted = Command::new("umount").arg(source.join("below")).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(done.out, "", "{done:?}");
    assert_eq!(done.err.matches("Read-only file system").count(), 2, "{done:?}");
    bundle.finish();
}
