// SPDX-License-Identifier: Apache-2.0
//! Bad input and a host that changes while it is looked at: exact messages, and nothing left.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Sandbox, as_user, reachable, rows, said};
use crate::support::{Done, Store, is_root};

#[test]
fn processes_that_die_while_they_are_read_are_left_out() {
    if !is_root("processes_that_die_while_they_are_read_are_left_out") {
        return;
    }
    let store = Store::new("dying");
    let mut busy = Command::new("sh")
        .args(["-c", "while :; do unshare -u true & unshare -n true; done"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let listed = store.cella(&["ns", "ls"]);
        assert!(listed.code == 0 && !listed.err.contains("ENOENT") && !listed.err.contains("ESRCH"), "{listed:?}");
        store.cella(&["ns", "tree", "--type", "pid"]).ok();
    }
    busy.kill().unwrap();
    busy.wait().unwrap();
    store.finish();
}

#[test]
fn a_process_that_is_gone_or_a_thread_is_no_target() {
    if !is_root("a_process_that_is_gone_or_a_thread_is_no_target") {
        return;
    }
    let store = Store::new("notarget");
    for words in
        [&["show", "999999"][..], &["enter", "999999", "--", "true"], &["id", "uid:0@999999"], &["stat", "999999", "/"]]
    {
        let code = if words[0] == "enter" { 125 } else { 1 };
        let refused = store.cella(&[&["ns"], words].concat()).fails(code);
        assert_eq!(refused, "cella: there is no process 999999\n");
    }
    for bad in ["0", "99999999999999999999"] {
        store.cella(&["ns", "show", bad]).fails(1);
    }
    assert!(
        store
            .cella(&["ns", "show", "no-such-container"])
            .fails(1)
            .contains("there is no container \"no-such-container\"")
    );
    store.cella(&["create", "--name", "still", "host", "true"]).ok();
    assert!(store.cella(&["ns", "enter", "still", "--", "true"]).fails(125).contains("not running"));
    store.cella(&["rm", "still"]).ok();
    store.finish();
}

#[test]
fn a_process_that_nobody_has_waited_for_is_no_target() {
    if !is_root("a_process_that_nobody_has_waited_for_is_no_target") {
        return;
    }
    let store = Store::new("zombie");
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id().to_string();
    let status = format!("/proc/{pid}/status");
    crate::support::until("its end", || std::fs::read_to_string(&status).unwrap().contains("State:\tZ"));
    let refused = store.cella(&["ns", "show", &pid]).fails(1);
    assert!(
        refused.starts_with(&format!("cella: process {pid} has ended, and is in no namespace any more\n")),
        "{refused}"
    );
    store.cella(&["ns", "enter", &pid, "--", "true"]).fails(125);
    store.cella(&["ns", "ls"]).ok();
    ended.wait().unwrap();
    store.finish();
}

#[test]
fn a_file_that_is_no_namespace_is_refused_and_not_waited_for() {
    if !is_root("a_file_that_is_no_namespace_is_refused_and_not_waited_for") {
        return;
    }
    let store = Store::new("notns");
    let fifo = store.root.join("fifo");
    said("mkfifo", &[fifo.to_str().unwrap()]);
    for path in [fifo.to_str().unwrap(), "/dev/null", "/etc/passwd", "/"] {
        let refused = store.cella(&["ns", "enter", path, "--", "true"]).fails(125);
        assert_eq!(refused.lines().next().unwrap(), format!("cella: {path} is no namespace"));
    }
    let refused = store.cella(&["ns", "enter", "--types", "uts", "/proc/self/ns/net", "--", "true"]).fails(125);
    assert_eq!(refused, "cella: /proc/self/ns/net is a net namespace, and no other\n  hint: leave --types out\n");
    let refused = store.cella(&["ns", "show", "/proc/self/ns/net"]).fails(125);
    assert!(refused.contains("and no process"), "{refused}");
    std::fs::remove_file(fifo).unwrap();
    store.finish();
}

#[test]
fn a_namespace_whose_pin_was_unlinked_is_still_listed() {
    if !is_root("a_namespace_whose_pin_was_unlinked_is_still_listed") {
        return;
    }
    let (store, name) = (Store::new("unlinked"), format!("cella-e2e-{}-unlinked", std::process::id()));
    store.cella(&["ns", "pin", "--net", &name]).ok();
    let path = format!("/run/netns/{name}");
    let file = File::open(&path).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
    store.cella(&["ns", "unpin", &name]).ok();
    let row = &rows(&store)[&inode];
    assert_eq!((row["kept"][0]["by"].as_str(), row["processes"].as_u64()), (Some("descriptor"), Some(0)), "{row}");
    drop(file);
    assert!(!rows(&store).contains_key(&inode));
    store.finish();
}

#[test]
fn maps_that_the_kernel_would_refuse_are_refused_before_anything_is_made() {
    if !is_root("maps_that_the_kernel_would_refuse_are_refused_before_anything_is_made") {
        return;
    }
    let store = Store::new("badmaps");
    let run = |maps: &[String]| {
        let flags: Vec<&str> = maps.iter().flat_map(|map| ["--map", map]).collect();
        store.cella(&[&["ns", "unshare"], &flags[..], &["--", "touch", "/should/not/run"]].concat()).fails(125)
    };
    let lines = |count: u32| (0..count).map(|n| format!("{}:{}:1", 2 * n, 2 * n)).collect::<Vec<_>>();
    let first = |text: String| text.lines().next().unwrap().to_owned();
    assert_eq!(first(run(&["0:0:5".into(), "4:10:1".into()])), "cella: map of users: 0:0:5 and 4:10:1 overlap inside");
    assert_eq!(first(run(&["0:0:5".into(), "9:4:1".into()])), "cella: map of users: 0:0:5 and 9:4:1 overlap outside");
    assert_eq!(first(run(&lines(341))), "cella: map of users: an id map of 341 lines: the kernel takes 340");
    assert_eq!(
        first(run(&["1:1:4294967295".into()])),
        "cella: map of users: 1:1:4294967295 goes beyond the last id, 4294967294"
    );
    assert_eq!(first(run(&["0:0:0".into()])), "cella: map of users: 0:0:0 maps no id");
    assert_eq!(first(run(&["root".into()])), "cella: map of users: invalid id map \"root\": it is not three numbers");
    // As many as the kernel takes it takes from us, too.
    let maps = lines(340);
    let flags: Vec<&str> = maps.iter().flat_map(|map| ["--map", map]).collect();
    let count =
        store.cella(&[&["ns", "unshare"], &flags[..], &["--", "grep", "-c", "", "/proc/self/uid_map"]].concat()).ok();
    assert_eq!(count, "340");
    store.finish();
}

#[test]
fn an_id_map_without_the_right_leaves_no_process() {
    if !is_root("an_id_map_without_the_right_leaves_no_process") {
        return;
    }
    let store = Store::new("noright");
    let copy = reachable(&store);
    let refused = as_user(&copy, &["ns", "unshare", "--map", "0:100000:65536", "--", "sleep", "999"]).fails(125);
    assert!(refused.starts_with("cella: cannot make namespaces user: ") && refused.contains("newgidmap"), "{refused}");
    assert!(refused.contains("hint: an ordinary user has their own id (--map-root)"), "{refused}");
    let refused = as_user(&copy, &["ns", "enter", "--types", "mnt", "1", "--", "true"]).fails(125);
    assert!(refused.contains("EACCES") || refused.contains("EPERM"), "{refused}");
    let refused = as_user(&copy, &["ns", "pin", "--net", "mine"]).fails(1);
    assert!(refused.contains("hint: run it as root (sudo)"), "{refused}");
    std::fs::remove_file(copy).unwrap();
    store.finish();
}

#[test]
fn without_a_proc_the_failure_is_told() {
    if !is_root("without_a_proc_the_failure_is_told") {
        return;
    }
    let store = Store::new("noproc");
    let script = format!("mount -t tmpfs none /proc && exec {} ns ls", crate::support::program().display());
    let done = Done::from(
        Command::new("unshare").args(["-m", "sh", "-c", &script]).env("CELLA_ROOT", &store.root).output().unwrap(),
    );
    let refused = done.fails(1);
    assert!(refused.contains("cannot list namespaces: ") && refused.contains("ENOENT"), "{refused}");
    store.finish();
}

#[test]
fn flags_and_kinds_that_are_none() {
    if !is_root("flags_and_kinds_that_are_none") {
        return;
    }
    let store = Store::new("nsflags");
    let sandbox = Sandbox::new(&["--uts"]);
    let refused = store.cella(&["ns", "enter", "--types", "nett", &sandbox.text(), "--", "true"]).fails(125);
    assert!(refused.contains("there is no kind of namespace \"nett\""), "{refused}");
    for words in [
        &["unshare", "--", "true"][..],
        &["unshare", "--types", "pid", "--mount-proc", "--", "true"],
        &["unshare", "--map-root", "--map", "0:0:1", "--", "true"],
        &["unshare", "--monotonic", "soon", "--fork", "--", "true"],
        &["unshare", "--types", "uts", "--user", "root", "--", "true"],
        &["unshare", "--hostname", "", "--", "true"],
        &["unshare", "--propagation", "loud", "--", "true"],
        &["unshare", "--types", "uts"],
        &["tree", "--type", "net"],
        &["ls", "--type", "nett"],
        &["pin", "--net", "--uts", "x"],
        &["pin", "--net", ".x"],
        &["watch", "--interval", "soon"],
        &["frob"],
    ] {
        store.cella(&[&["ns"], words].concat()).fails(125);
    }
    drop(sandbox);
    store.finish();
}
