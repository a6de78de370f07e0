// SPDX-License-Identifier: Apache-2.0
//! Trees that are no systems, and what can not go together with one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::roots::image;
use crate::support::{Done, Store, is_root};

/// A copy of the busybox tree, to be spoilt.
fn copy(store: &Store, test: &str) -> Option<String> {
    let image = image(test, "busybox")?;
    let to = store.root.join("tree");
    let from = image.strip_prefix("dir:").unwrap();
    let status = std::process::Command::new("cp").args(["-a", from, to.to_str().unwrap()]).status().unwrap();
    assert!(status.success());
    Some(format!("dir:{}", to.display()))
}

#[test]
fn a_tree_without_an_init_is_told() {
    let test = "a_tree_without_an_init_is_told";
    let store = Store::new(test);
    let Some(image) = copy(&store, test) else { return store.finish() };
    let tree = Path::new(image.strip_prefix("dir:").unwrap()).to_owned();
    fs::remove_file(tree.join("sbin/init")).unwrap();
    let error = store.cella(&["launch", &image, "m"]).fails(125);
    assert!(error.contains("it has no init; looked for /sbin/init"), "{error}");
    // A link that leads nowhere is none.
    symlink("/lib/systemd/nothing", tree.join("sbin/init")).unwrap();
    let error = store.cella(&["launch", &image, "m"]).fails(125);
    assert!(error.contains("it has no init"), "{error}");
    // A link that leads out leads into the tree.
    fs::remove_file(tree.join("sbin/init")).unwrap();
    symlink("../../../../../../bin/busybox", tree.join("sbin/init")).unwrap();
    store.cella(&["launch", &image, "m"]).ok();
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn a_tree_for_another_machine_is_told() {
    let test = "a_tree_for_another_machine_is_told";
    let store = Store::new(test);
    let Some(image) = copy(&store, test) else { return store.finish() };
    let init = Path::new(image.strip_prefix("dir:").unwrap()).join("bin/busybox");
    let mut bytes = fs::read(&init).unwrap();
    bytes[18] = if bytes[18] == 62 { 183 } else { 62 };
    fs::write(&init, bytes).unwrap();
    let error = store.cella(&["launch", &image, "m"]).fails(125);
    assert!(error.contains("is a program for aarch64") || error.contains("is a program for x86_64"), "{error}");
    store.finish();
}

#[test]
fn odd_files_of_a_tree_do_no_harm() {
    let test = "odd_files_of_a_tree_do_no_harm";
    let store = Store::new(test);
    let Some(image) = copy(&store, test) else { return store.finish() };
    let etc = Path::new(image.strip_prefix("dir:").unwrap()).join("etc");
    // 64 MiB of accounts, links out of the tree, and files that are directories.
    let account = "x:x:1:1:x:/:/bin/sh\n".repeat(64 << 20 >> 4);
    fs::write(etc.join("passwd"), format!("root:x:0:0:root:/root:/bin/sh\n{account}")).unwrap();
    let victim = store.root.join("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, etc.join("hostname")).unwrap();
    symlink(&victim, etc.join("hosts")).unwrap();
    fs::create_dir(etc.join("resolv.conf")).unwrap();
    let started = store.cella(&["launch", &image, "m"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let error = started.fails(1);
    assert!(error.contains("resolv.conf"), "{error}");
    fs::remove_dir(etc.join("resolv.conf")).unwrap();
    store.cella(&["launch", &image, "m"]).ok();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(store.cella(&["exec", "m", "cat", "/etc/hostname"]).ok(), "m");
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn a_root_that_can_not_be_written_boots() {
    let test = "a_root_that_can_not_be_written_boots";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    store.cella(&["launch", "--read-only", &image, "m"]).ok();
    assert_eq!(store.cella(&["exec", "m", "sh", "-c", "echo x > /etc/x"]).code, 1);
    assert_eq!(store.cella(&["exec", "m", "cat", "/etc/hostname"]).ok(), "m");
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn what_can_not_go_together_is_refused() {
    if !is_root("what_can_not_go_together_is_refused") {
        return;
    }
    let store = Store::new("system-together");
    for (flag, word) in [
        ("--userns=host", "--userns"),
        ("--pid=host", "a namespace of somebody else"),
        ("--privileged", "--privileged"),
        ("--init", "--init"),
        ("--user=1", "--user"),
        ("--workdir=/", "--workdir"),
        ("--entrypoint=/bin/sh", "--entrypoint"),
    ] {
        let error = store.cella(&["create", "--system", flag, "host"]).fails(125);
        assert!(error.contains(word) && error.contains("can not be used with a system container"), "{error}");
    }
    let error = store.cella(&["create", "--nesting", "host", "true"]).fails(125);
    assert!(error.contains("--nesting is for a system container"), "{error}");
    let error = store.cella(&["launch", "host", "../x"]).fails(125);
    assert!(error.contains("invalid name"), "{error}");
    for verb in ["reboot", "poweroff"] {
        store.cella(&["create", "--name", "app", "host", "true"]).ok();
        let error = store.cella(&[verb, "app"]).fails(1);
        assert!(error.contains("app is no system container"), "{error}");
        store.cella(&["rm", "app"]).ok();
    }
    store.finish();
}

/// A shell script on a host whose control groups are changed by the first lines, which is over with the script.
fn on_changed_host(store: &Store, change: &str, script: &str) -> Done {
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &format!("{change}\n{script}")]);
    command.env("CELLA_ROOT", &store.root).env("C", crate::support::program()).stdin(std::process::Stdio::null());
    command.output().unwrap().into()
}

#[test]
fn control_groups_that_can_not_be_written_are_told() {
    let test = "control_groups_that_can_not_be_written_are_told";
    let Some(image) = image(test, "busybox") else { return };
    let store = Store::new(test);
    let change = "for m in $(awk '$5 ~ \"^/sys/fs/cgroup\" {print $5}' /proc/self/mountinfo); do mount -o remount,bind,ro $m; done";
    let told = on_changed_host(&store, change, &format!("\"$C\" launch {image} m"));
    assert_eq!(told.code, 1, "{} {}", told.out, told.err);
    assert!(told.err.contains("/sys/fs/cgroup") && told.err.contains("EROFS"), "{}", told.err);
    assert_eq!(store.cella(&["ls", "-aq"]).ok(), "");
    store.finish();
}

#[test]
fn a_host_with_version_1_alone_gets_a_tree_of_version_2() {
    let test = "a_host_with_version_1_alone_gets_a_tree_of_version_2";
    let Some(image) = image(test, "trixie") else { return };
    if !Path::new("/sys/fs/cgroup/unified").exists() {
        return crate::support::skip(test, "this host has version 2 alone");
    }
    let store = Store::new(test);
    let script = format!(
        "\"$C\" launch {image} m && \"$C\" exec m stat -fc %T /sys/fs/cgroup && \"$C\" set --pids-limit 500 m && \
         \"$C\" stats --no-stream --format json m | grep -o '\"pids_limit\":[^,]*' && \"$C\" rm -f m && \
         umount \"$CELLA_ROOT/run/cgroup2\" && rmdir \"$CELLA_ROOT/run/cgroup2\""
    );
    let seen = on_changed_host(&store, "umount /sys/fs/cgroup/unified || exit 9", &script).ok();
    assert!(
        seen.contains("systemd 257  0 failed units") && seen.contains("cgroup2fs") && seen.contains("500"),
        "{seen}"
    );
    store.finish();
}
