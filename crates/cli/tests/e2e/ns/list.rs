// SPDX-License-Identifier: Apache-2.0
//! `cella ns ls` and `tree`: the same namespaces as lsns finds, and those that it does not.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use super::{Sandbox, as_user, inode_of, reachable, rows, said};
use crate::support::{Store, is_root};

const KINDS: [&str; 8] = ["user", "cgroup", "ipc", "uts", "net", "pid", "time", "mnt"];

/// All rows of lsns by kind and inode.
fn lsns() -> Vec<serde_json::Value> {
    let text = said("lsns", &["--json", "-o", "NS,TYPE,NPROCS,PNS,ONS"]);
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["namespaces"].as_array().unwrap().clone()
}

fn inode(row: &serde_json::Value) -> u64 {
    row["ns"].as_u64().unwrap()
}

#[test]
fn what_lsns_lists_is_listed_with_the_same_owner_parent_and_count() {
    if !is_root("what_lsns_lists_is_listed_with_the_same_owner_parent_and_count") {
        return;
    }
    let store = Store::new("lsns");
    let all = ["--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--time"];
    let one = Sandbox::new(&all);
    let two = Sandbox::of_pids(&["--mount"]);
    // Of process numbers the first has none of its own.
    let ours: BTreeSet<u64> = KINDS
        .iter()
        .filter(|kind| **kind != "pid")
        .map(|kind| one.inode(kind))
        .chain([two.inode("mnt"), inode_of(two.pid(), "pid_for_children")])
        .collect();
    // Others come and go on this host, and their inodes are given again: what lsns sees before and after, and we between, more
    // than once.
    let (mut found, mut after) = (rows(&store), lsns());
    for _ in 0..10 {
        let before: BTreeSet<u64> = after.iter().map(inode).collect();
        found = rows(&store);
        after = lsns();
        if after.iter().all(|row| found.contains_key(&inode(row)) || !before.contains(&inode(row))) {
            break;
        }
    }
    let number = |value: &serde_json::Value| value.as_u64().filter(|number| *number != 0);
    for row in after.iter().filter(|row| ours.contains(&inode(row))) {
        let own = &found[&inode(row)];
        assert_eq!((&own["kind"], &own["processes"]), (&row["type"], &row["nprocs"]), "{own} {row}");
        assert_eq!(number(&own["owner"]), number(&row["ons"]).or(number(&row["pns"])), "{own} {row}");
        if ["user", "pid"].contains(&row["type"].as_str().unwrap()) {
            assert_eq!(number(&own["parent"]), number(&row["pns"]), "{own} {row}");
        }
    }
    let missing: Vec<_> = after.iter().filter(|row| !found.contains_key(&inode(row))).collect();
    let later = lsns();
    assert!(!missing.iter().any(|row| later.contains(row) && !rows(&store).contains_key(&inode(row))), "{missing:?}");
    assert!(ours.iter().all(|inode| found.contains_key(inode)), "{ours:?}");
    assert_eq!(found[&one.inode("net")]["creator"], 0);
    assert_eq!(found[&one.inode("net")]["owner"], one.inode("user"));
    drop((one, two));
    store.finish();
}

#[test]
fn what_only_an_open_file_a_mount_or_a_child_keeps_is_listed() {
    if !is_root("what_only_an_open_file_a_mount_or_a_child_keeps_is_listed") {
        return;
    }
    let store = Store::new("kept");
    // An open file.
    let gone = Sandbox::new(&["--uts"]);
    let (file, uts) = (File::open(format!("/proc/{}/ns/uts", gone.pid())).unwrap(), gone.inode("uts"));
    drop(gone);
    // A mount in a mount namespace that is not ours, whose file has no name with us.
    let script = "mount -t tmpfs none /mnt && touch '/mnt/a b' && mount --bind /proc/self/ns/net '/mnt/a b' && exec nsenter --net=/proc/1/ns/net sleep 1000";
    let script = script.replace("/proc/1/ns/net", &format!("/proc/{}/ns/net", std::process::id()));
    let elsewhere = Sandbox::running(&["--mount", "--net", "sh", "-c", &script], &["sleep"]);
    // One user namespace between ours and that of the process.
    let nested = Sandbox::new(&["--user", "--map-root-user", "unshare", "--user", "--map-root-user"]);
    let found = rows(&store);
    let kept = |row: &serde_json::Value| row["kept"][0].clone();
    assert_eq!(found[&uts]["processes"], 0);
    assert_eq!(
        (kept(&found[&uts])["by"].as_str(), kept(&found[&uts])["pid"].as_u64()),
        (Some("descriptor"), Some(u64::from(std::process::id())))
    );
    let mounted =
        found.values().find(|row| kept(row)["path"] == "/mnt/a b" && kept(row)["pid"] == elsewhere.pid()).unwrap();
    assert_eq!((mounted["kind"].as_str(), mounted["processes"].as_u64()), (Some("net"), Some(0)));
    assert!(mounted["owner"].is_u64(), "it was opened to ask: {mounted}");
    let inner = &found[&nested.inode("user")];
    let between = &found[&inner["parent"].as_u64().unwrap()];
    assert_eq!((between["processes"].as_u64(), kept(between)["by"].as_str()), (Some(0), Some("below")));
    let shown = store.cella(&["ns", "ls"]).ok();
    assert!(
        shown.contains(&format!("[open: process {}, descriptor", std::process::id())) && shown.contains("[/mnt/a b]"),
        "{shown}"
    );
    drop((file, elsewhere, nested));
    store.finish();
}

#[test]
fn a_thread_that_left_the_others_is_seen() {
    if !is_root("a_thread_that_left_the_others_is_seen") {
        return;
    }
    let store = Store::new("thread");
    let script = "import ctypes, threading, time\n\
                  def leave():\n    ctypes.CDLL(None).unshare(0x04000000)\n    print(open('/proc/thread-self/comm').name and __import__('os').readlink('/proc/thread-self/ns/uts'), flush=True)\n    time.sleep(1000)\n\
                  threading.Thread(target=leave, daemon=True).start()\ntime.sleep(1000)";
    let mut python =
        Command::new("python3").args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(python.stdout.take().unwrap()), &mut line).unwrap();
    let inode: u64 = line.trim().trim_start_matches("uts:[").trim_end_matches(']').parse().unwrap();
    let row = rows(&store).remove(&inode).unwrap();
    assert_eq!(
        (row["kept"][0]["by"].as_str(), row["kept"][0]["pid"].as_u64()),
        (Some("thread"), Some(u64::from(python.id()))),
        "{row}"
    );
    python.kill().unwrap();
    python.wait().unwrap();
    store.finish();
}

#[test]
fn containers_are_named_and_what_drives_a_terminal_is_not_printed() {
    if !is_root("containers_are_named_and_what_drives_a_terminal_is_not_printed") {
        return;
    }
    let store = Store::new("nsnames");
    store.cella(&["run", "-d", "--name", "web", "host", "sleep", "1000"]).ok();
    let pid: u32 = store.inspect("web", "pid").parse().unwrap();
    let found = rows(&store);
    for kind in ["user", "net", "pid", "mnt", "uts", "ipc"] {
        let row = &found[&inode_of(pid, kind)];
        assert_eq!(
            (row["container"]["engine"].as_str(), row["container"]["name"].as_str()),
            (Some("cella"), Some("web")),
            "{row}"
        );
    }
    let odd = Sandbox::running(&["--uts", "bash", "-c", "exec -a $'x\\e[31m\\ny' sleep 1000"], &["sleep"]);
    for words in [
        &["ns", "ls"][..],
        &["ns", "tree"],
        &["ns", "tree", "--svg"],
        &["ns", "tree", "--dot"],
        &["ns", "show", &odd.text()],
    ] {
        let shown = store.cella(words).ok();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
    let tree = store.cella(&["ns", "tree", "--type", "pid"]).ok();
    assert!(tree.contains("cella:web") && tree.contains("└─ pid:["), "{tree}");
    let users = store.cella(&["ns", "tree"]).ok();
    let base = store.inspect("web", "ids");
    assert!(users.contains(&format!("ids 0:{base}:65536")), "{users}");
    drop(odd);
    store.cella(&["rm", "-f", "web"]).ok();
    store.finish();
}

#[test]
fn containers_of_other_engines_are_known_by_their_groups() {
    if !is_root("containers_of_other_engines_are_known_by_their_groups") {
        return;
    }
    let (store, sandbox) = (Store::new("nsforeign"), Sandbox::new(&["--uts"]));
    // The groups that docker and LXC make, without either.
    let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(std::path::Path::new);
    let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists()).unwrap();
    let id = format!("{:064x}", std::process::id());
    for (group, engine, name) in
        [(format!("docker/{id}"), "docker", id.as_str()), ("lxc.payload.e2e".into(), "lxc", "e2e")]
    {
        let directory = root.join(&group);
        let made = directory.parent().is_some_and(|parent| parent != root && !parent.exists());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("cgroup.procs"), sandbox.text()).unwrap();
        let row = rows(&store).remove(&sandbox.inode("uts")).unwrap();
        let by_name = store.cella(&["ns", "id", &format!("pid:{}@{engine}:{name}", sandbox.pid())]);
        std::fs::write(root.join("cgroup.procs"), sandbox.text()).unwrap();
        std::fs::remove_dir(&directory).unwrap();
        if made {
            std::fs::remove_dir(directory.parent().unwrap()).unwrap();
        }
        assert_eq!(
            (row["container"]["engine"].as_str(), row["container"]["name"].as_str()),
            (Some(engine), Some(name))
        );
        by_name.ok();
    }
    drop(sandbox);
    store.finish();
}

#[test]
fn an_ordinary_user_sees_their_own_and_is_told_what_is_hidden() {
    if !is_root("an_ordinary_user_sees_their_own_and_is_told_what_is_hidden") {
        return;
    }
    let store = Store::new("nsuser");
    let copy = reachable(&store);
    let done = as_user(&copy, &["ns", "ls", "--type", "user"]);
    assert!(done.err.contains("hidden: of others (root sees more)") && done.err.lines().count() == 1, "{}", done.err);
    assert!(done.ok().contains("user"));
    let quiet = as_user(&copy, &["--quiet", "ns", "ls"]);
    assert_eq!(quiet.err, "");
    let json = as_user(&copy, &["ns", "ls", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["hidden"]["processes"].as_u64().unwrap() > 0);
    std::fs::remove_file(copy).unwrap();
    store.finish();
}

#[test]
fn a_proc_with_hidepid_is_told() {
    if !is_root("a_proc_with_hidepid_is_told") {
        return;
    }
    let store = Store::new("hidepid");
    let copy = reachable(&store);
    let script = format!(
        "mount -t proc -o hidepid=invisible proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups {} ns ls",
        copy.display()
    );
    let done = crate::support::Done::from(Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap());
    assert!(done.err.contains("hidepid=invisible"), "{}", done.err);
    done.ok();
    std::fs::remove_file(copy).unwrap();
    store.finish();
}
