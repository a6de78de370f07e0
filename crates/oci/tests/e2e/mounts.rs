// SPDX-License-Identifier: Apache-2.0
//! Mounts, devices, masks: what of the configuration shows inside.

use serde_json::json;

use crate::support::{both, ours};

#[test]
fn binds_are_read_only_when_asked() {
    both("binds_are_read_only_when_asked", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        std::fs::write(case.path.join("data/file"), "hello").unwrap();
        let data = case.path.join("data");
        case.add(
            "/mounts",
            json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ro"]}),
        );
        let file = data.join("file");
        case.add("/mounts", json!({"destination": "/etc/one", "type": "bind", "source": file, "options": ["bind"]}));
        let out = case.prints("cat /data/file /etc/one; touch /data/x 2>&1; echo more > /etc/one; cat /data/file");
        assert_eq!(out, "hellohellotouch: /data/x: Read-only file system\nmore\n");
    });
}

#[test]
fn rro_reaches_what_is_mounted_below() {
    ours("rro_reaches_what_is_mounted_below", |case| {
        let script = format!(
            "mkdir -p data/below && mount -t tmpfs none data/below && exec {} --root state run {}",
            case.runtime.program, case.id
        );
        let data = case.path.join("data");
        case.add("/mounts", json!({"destination": "/ro", "type": "bind", "source": data, "options": ["rbind", "ro"]}));
        case.add(
            "/mounts",
            json!({"destination": "/rro", "type": "bind", "source": data, "options": ["rbind", "rro"]}),
        );
        case.script(
            "touch /ro/x 2>/dev/null || echo 1; touch /ro/below/x && echo 2; touch /rro/below/y 2>/dev/null || echo 3",
        );
        case.write_config();
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).current_dir(&case.path);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n2\n3\n", "{output:?}");
    });
}

#[test]
fn a_source_is_relative_to_the_bundle() {
    both("a_source_is_relative_to_the_bundle", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        std::fs::write(case.path.join("data/file"), "hello").unwrap();
        case.add("/mounts", json!({"destination": "/data", "type": "bind", "source": "data", "options": ["bind"]}));
        assert_eq!(case.prints("cat /data/file"), "hello");
    });
}

#[test]
fn the_order_of_mounts_is_kept() {
    both("the_order_of_mounts_is_kept", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        std::fs::write(case.path.join("data/file"), "hello").unwrap();
        let data = case.path.join("data");
        case.add("/mounts", json!({"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": []}));
        case.add("/mounts", json!({"destination": "/a/b", "type": "bind", "source": data, "options": ["bind"]}));
        case.add("/mounts", json!({"destination": "/a/b", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}));
        assert_eq!(case.prints("ls /a /a/b | tr '\\n' ' '"), "/a: b  /a/b: ");
    });
}

#[test]
fn a_dangling_link_as_target_is_made_below_the_root() {
    both("a_dangling_link_as_target_is_made_below_the_root", |case| {
        std::os::unix::fs::symlink("/nowhere/else", case.rootfs().join("link")).unwrap();
        case.add("/mounts", json!({"destination": "/link", "type": "tmpfs", "source": "tmpfs", "options": []}));
        assert_eq!(case.prints("touch /link/x; ls /nowhere/else"), "x\n");
        assert!(!std::path::Path::new("/nowhere").exists());
    });
}

#[test]
fn tmpfs_has_its_parameters_and_its_flags() {
    both("tmpfs_has_its_parameters_and_its_flags", |case| {
        let options = ["nosuid", "nodev", "noexec", "size=1m", "mode=1770"];
        case.add("/mounts", json!({"destination": "/t", "type": "tmpfs", "source": "mine", "options": options}));
        let out = case.prints("grep ' /t ' /proc/self/mountinfo | cut -d' ' -f6-; stat -c %a /t");
        assert!(out.contains("rw,nosuid,nodev,noexec,relatime - tmpfs mine rw,size=1024k,mode=1770"), "{out}");
        assert!(out.ends_with("1770\n"), "{out}");
    });
}

#[test]
fn an_unknown_option_is_an_error() {
    both("an_unknown_option_is_an_error", |case| {
        case.add("/mounts", json!({"destination": "/t", "type": "tmpfs", "source": "x", "options": ["nonsense"]}));
        let done = case.run();
        assert_ne!(done.code, 0);
        assert!(done.err.contains("nonsense") || !case.is_ours(), "{done:?}");
    });
}

#[test]
fn tmpcopyup_starts_with_what_is_there() {
    both("tmpcopyup_starts_with_what_is_there", |case| {
        let etc = case.rootfs().join("etc");
        std::fs::create_dir_all(etc.join("sub")).unwrap();
        std::fs::write(etc.join("sub/file"), "hello").unwrap();
        std::os::unix::fs::symlink("sub/file", etc.join("link")).unwrap();
        case.add(
            "/mounts",
            json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}),
        );
        assert_eq!(case.prints("cat /etc/link; echo new > /etc/sub/file; cat /etc/sub/file"), "hellonew\n");
        assert_eq!(std::fs::read_to_string(etc.join("sub/file")).unwrap(), "hello");
    });
}

#[test]
fn copy_symlink_makes_the_link_again() {
    ours("copy_symlink_makes_the_link_again", |case| {
        let link = case.path.join("link");
        std::os::unix::fs::symlink("/over/there", &link).unwrap();
        case.add(
            "/mounts",
            json!({"destination": "/l", "type": "bind", "source": link, "options": ["bind", "copy-symlink"]}),
        );
        assert_eq!(case.prints("readlink /l"), "/over/there\n");
    });
}

#[test]
fn ids_of_a_mount_are_shifted() {
    ours("ids_of_a_mount_are_shifted", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        std::fs::write(case.path.join("data/file"), "hello").unwrap();
        let map = json!([{"containerID": 0, "hostID": 4000, "size": 1000}]);
        case.add(
            "/mounts",
            json!({
                "destination": "/own", "type": "bind", "source": "data", "options": ["bind", "idmap"],
                "uidMappings": map, "gidMappings": map,
            }),
        );
        assert_eq!(case.prints("stat -c '%u %g' /own/file"), "4000 4000\n");
        let users = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        case.set("/linux/uidMappings", users.clone()).set("/linux/gidMappings", users);
        case.add("/linux/namespaces", json!({"type": "user"}));
        case.config["mounts"].as_array_mut().unwrap().pop();
        case.add(
            "/mounts",
            json!({"destination": "/own", "type": "bind", "source": "data", "options": ["bind", "idmap"]}),
        );
        assert_eq!(case.prints("stat -c '%u %g' /own/file; touch /own/new"), "0 0\n");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(case.path.join("data/new")).unwrap().uid(), 0, "its owner outside is root");
    });
}

#[test]
fn locked_flags_stay_in_a_user_namespace() {
    ours("locked_flags_stay_in_a_user_namespace", |case| {
        let script = format!(
            "mkdir -p data rootfs/d && mount -t tmpfs -o nosuid,nodev,noexec none data && exec {} --root state run {}",
            case.runtime.program, case.id
        );
        let users = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        case.set("/linux/uidMappings", users.clone()).set("/linux/gidMappings", users);
        case.add("/linux/namespaces", json!({"type": "user"}));
        case.add("/mounts", json!({"destination": "/d", "type": "bind", "source": "data", "options": ["bind", "ro"]}));
        case.script("grep ' /d ' /proc/self/mountinfo | cut -d' ' -f6").write_config();
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).current_dir(&case.path);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ro,nosuid,nodev,noexec,relatime\n", "{output:?}");
    });
}

#[test]
fn propagation_is_as_asked() {
    both("propagation_is_as_asked", |case| {
        std::fs::create_dir_all(case.path.join("data")).unwrap();
        for (name, option) in [("/p", "rprivate"), ("/u", "unbindable")] {
            case.add(
                "/mounts",
                json!({"destination": name, "type": "bind", "source": "data", "options": ["bind", option]}),
            );
        }
        let out = case.prints("for m in /p /u; do grep \" $m \" /proc/self/mountinfo | cut -d' ' -f7; done");
        assert_eq!(out, "-\nunbindable\n");
    });
}

#[test]
fn the_root_propagates_as_asked() {
    // Runc 1.1 leaves the root private here, whatever is asked for.
    ours("the_root_propagates_as_asked", |case| {
        case.set("/linux/rootfsPropagation", json!("shared"));
        let out = case.prints("awk '$5 == \"/\" {print $7}' /proc/self/mountinfo");
        assert!(out.starts_with("shared:"), "{out}");
    });
}

#[test]
fn the_root_is_read_only_when_asked() {
    both("the_root_is_read_only_when_asked", |case| {
        case.set("/root/readonly", json!(true));
        assert_eq!(case.prints("touch /x 2>&1; touch /dev/shm/y && echo ok"), "touch: /x: Read-only file system\nok\n");
    });
}

#[test]
fn default_devices_are_there_and_others_are_refused() {
    both("default_devices_are_there_and_others_are_refused", |case| {
        case.add("/process/capabilities/bounding", json!("CAP_MKNOD"));
        case.add("/process/capabilities/effective", json!("CAP_MKNOD"));
        case.add("/process/capabilities/permitted", json!("CAP_MKNOD"));
        let out = case.prints(
            "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
             readlink /dev/fd; mknod /dev/shm/kmsg c 1 11; cat /dev/shm/kmsg 2>&1 | head -1",
        );
        for line in
            ["/dev/null character special file 1:3 666", "/dev/tty character special file 5:0 666", "/proc/self/fd"]
        {
            assert!(out.contains(line), "{out}");
        }
        // /dev/shm is nodev: the rule of the group is asked below.
        assert!(out.contains("Permission denied"), "{out}");
    });
}

#[test]
fn custom_devices_have_mode_and_owner() {
    both("custom_devices_have_mode_and_owner", |case| {
        case.set(
            "/linux/devices",
            json!([
                {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
                {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
            ]),
        );
        let out = case.prints("stat -c '%F %t:%T %a %u %g' /dev/mine /dev/pipe");
        assert_eq!(out, "character special file 1:5 640 7 8\nfifo 0:0 600 0 0\n");
    });
}

#[test]
fn the_group_refuses_devices_without_a_rule() {
    both("the_group_refuses_devices_without_a_rule", |case| {
        let fuse = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
        case.set("/linux/devices", fuse);
        assert_eq!(case.prints("(: </dev/fuse) 2>/dev/null && echo open || echo refused"), "refused\n");
        case.add(
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"}),
        );
        let script = "(: </dev/fuse) && echo open; (: >/dev/fuse) 2>/dev/null && echo open || echo refused";
        assert_eq!(case.prints(script), "open\nrefused\n");
    });
}

#[test]
fn masked_and_read_only_paths() {
    both("masked_and_read_only_paths", |case| {
        let out = case
            .prints("cat /proc/keys | wc -c; ls /sys/firmware | wc -l; echo x 2>&1 > /proc/sys/kernel/hostname; true");
        assert!(out.starts_with("0\n0\n"), "{out}");
        let out = case.prints("echo x > /proc/sys/kernel/domainname || echo refused");
        assert_eq!(out, "refused\n");
    });
}

/// On hosts with systemd all mounts are shared; here those of a mount namespace of the test's own are.
#[test]
fn what_is_mounted_over_a_mask_or_a_device_stays_inside() {
    ours("what_is_mounted_over_a_mask_or_a_device_stays_inside", |case| {
        let capabilities = json!(["CAP_SYS_ADMIN"]);
        for set in ["bounding", "effective", "permitted"] {
            case.set(&format!("/process/capabilities/{set}"), capabilities.clone());
        }
        // Masked twice, the second mount is over the first.
        case.set("/linux/maskedPaths", json!(["/proc/keys", "/proc/keys", "/proc/timer_list"]));
        case.script(
            "for f in /proc/timer_list /dev/null /dev/zero; do mount -o bind /etc/passwd $f && echo over; done",
        );
        case.write_config();
        let script = format!(
            "mount --make-rshared / && cut -d' ' -f 3- /proc/self/mountinfo >before; {} --root state run {}; \
             cut -d' ' -f 3- /proc/self/mountinfo | diff before - && stat -c %F /dev/null",
            case.runtime.program, case.id
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).current_dir(&case.path);
        let output = command.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(out, "over\nover\nover\ncharacter special file\n", "{output:?}");
    });
}
