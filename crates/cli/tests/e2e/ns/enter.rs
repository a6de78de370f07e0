// SPDX-License-Identifier: Apache-2.0
//! `cella ns enter`, beside nsenter.

use super::{Sandbox, said};
use crate::support::{Store, is_root};

/// What tells where a program is and who.
const LOOK: &str = "for n in user cgroup ipc uts net pid time mnt; do readlink /proc/self/ns/$n; done; id -u; id -g; \
                    grep -E '^(Groups|Cap|NoNewPrivs|SigBlk|SigIgn):' /proc/self/status; cat /proc/self/uid_map; pwd";

#[test]
fn a_process_is_entered_as_nsenter_does() {
    if !is_root("a_process_is_entered_as_nsenter_does") {
        return;
    }
    let store = Store::new("enter");
    let kinds = ["--mount", "--uts", "--ipc", "--net", "--cgroup", "--time"];
    let plain = Sandbox::new(&kinds);
    let target = plain.text();
    let theirs = said("nsenter", &["-t", &target, "-m", "-u", "-i", "-n", "-C", "-T", "sh", "-c", LOOK]);
    assert_eq!(store.cella(&["ns", "enter", &target, "--", "sh", "-c", LOOK]).ok(), theirs);
    // Nothing that we have open goes with it.
    let open = ["sh", "-c", "ls /proc/$$/fd"];
    let theirs = said("nsenter", &[&["-t", &target, "-u"], &open[..]].concat());
    assert_eq!(store.cella(&[&["ns", "enter", &target, "--"], &open[..]].concat()).ok(), theirs);
    // A part of them.
    let theirs = said("nsenter", &["-t", &target, "-u", "-n", "sh", "-c", LOOK]);
    assert_eq!(store.cella(&["ns", "enter", "--types", "uts,net", &target, "--", "sh", "-c", LOOK]).ok(), theirs);
    let mapped = Sandbox::new(&[&kinds[..], &["--user", "--map-root-user"]].concat());
    let target = mapped.text();
    let theirs = said("nsenter", &["-t", &target, "-U", "-m", "-u", "-i", "-n", "-C", "-T", "sh", "-c", LOOK]);
    assert_eq!(store.cella(&["ns", "enter", &target, "--", "sh", "-c", LOOK]).ok(), theirs);
    let theirs = said("nsenter", &["-t", &target, "-U", "--preserve-credentials", "sh", "-c", LOOK]);
    assert_eq!(
        store.cella(&["ns", "enter", "--types", "user", "--keep-ids", &target, "--", "sh", "-c", LOOK]).ok(),
        theirs
    );
    drop((plain, mapped));
    store.finish();
}

#[test]
fn in_a_pid_namespace_the_program_is_a_child() {
    if !is_root("in_a_pid_namespace_the_program_is_a_child") {
        return;
    }
    let store = Store::new("enterpid");
    store.cella(&["run", "-d", "--name", "p", "host", "sleep", "1000"]).ok();
    let pid = store.inspect("p", "pid");
    let script = "readlink /proc/self/ns/pid; readlink /proc/1/ns/pid; id -u; cat /proc/1/comm";
    let ours = store.cella(&["ns", "enter", "p", "--", "sh", "-c", script]).ok();
    assert_eq!(ours, said("nsenter", &["-t", &pid, "-a", "sh", "-c", script]));
    assert!(ours.ends_with("\n0\nsleep"), "{ours}");
    assert_eq!(store.cella(&["ns", "enter", "p", "--", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(store.cella(&["ns", "enter", "p", "--", "sh", "-c", "kill -TERM $$"]).code, 143);
    store.cella(&["ns", "enter", "p", "--", "no-such-program"]).fails(127);
    store.cella(&["ns", "enter", "p", "--", "/etc"]).fails(126);
    let flags = ["ns", "enter", "--user", "33:44", "--workdir", "/tmp", "p", "--", "sh", "-c", "id -u; id -g; pwd"];
    assert_eq!(store.cella(&flags).ok(), "33\n44\n/tmp");
    store.cella(&["ns", "enter", "--workdir", "/no/such", "p", "--", "true"]).fails(125);
    let refused = store.cella(&["ns", "enter", "--user", "70000", "p", "--", "true"]).fails(125);
    assert!(refused.contains("has no such id"), "{refused}");
    // What ends us ends the program: nothing is left inside.
    let mut running = store.piped(&["ns", "enter", "p", "--", "sh", "-c", "sleep 999 & echo up; wait"]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(running.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "up\n");
    std::process::Command::new("kill").arg(running.id().to_string()).status().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(143));
    store.cella(&["rm", "-f", "p"]).ok();
    store.finish();
}

#[test]
fn root_is_not_run_from_a_file_that_the_inside_could_write_to() {
    if !is_root("root_is_not_run_from_a_file_that_the_inside_could_write_to") {
        return;
    }
    let store = Store::new("enterseal");
    // CVE-2019-5736: the program inside is a script whose interpreter is whoever runs it.
    let script = store.root.join("trap");
    std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
    said("chmod", &["+x", script.to_str().unwrap()]);
    let sandbox = Sandbox::of_pids(&["--mount"]);
    let inner = said("cat", &[&format!("/proc/{0}/task/{0}/children", sandbox.pid())]);
    let exe = |kinds: &str| {
        let flags = ["ns", "enter", "--types", kinds, inner.trim(), "--", "sh", "-c", "echo up; sleep 1000"];
        let mut running = store.piped(&flags);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(running.stdout.take().unwrap()), &mut line).unwrap();
        let exe = std::fs::read_link(format!("/proc/{}/exe", running.id())).unwrap();
        said("kill", &[&running.id().to_string()]);
        running.wait().unwrap();
        exe.display().to_string()
    };
    // The one that waits outside is what the one inside was.
    assert!(exe("mnt,pid").starts_with("/memfd:cella-ns"), "{}", exe("mnt,pid"));
    assert!(!exe("pid").contains("memfd"), "no file of theirs is run");
    let trapped = store.cella(&["ns", "enter", inner.trim(), "--", script.to_str().unwrap()]);
    assert_ne!(trapped.code, 0, "{trapped:?}");
    drop(sandbox);
    std::fs::remove_file(script).unwrap();
    store.finish();
}

#[test]
fn a_root_that_was_changed_is_entered_when_asked_for() {
    if !is_root("a_root_that_was_changed_is_entered_when_asked_for") {
        return;
    }
    let store = Store::new("enterroot");
    let root = store.root.join("new");
    std::fs::create_dir_all(root.join("mark")).unwrap();
    for directory in ["bin", "lib", "lib64", "usr", "etc"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    let script = format!(
        "for d in bin lib lib64 usr; do mount --bind /$d {0}/$d; done; exec chroot {0} sleep 1000",
        root.display()
    );
    let sandbox = Sandbox::running(&["--mount", "sh", "-c", &script], &["sleep"]);
    assert_eq!(
        store.cella(&["ns", "enter", "--chroot", &sandbox.text(), "--", "sh", "-c", "cd /mark && pwd"]).ok(),
        "/mark"
    );
    assert_ne!(store.cella(&["ns", "enter", &sandbox.text(), "--", "sh", "-c", "cd /mark"]).code, 0);
    drop(sandbox);
    std::fs::remove_dir_all(root).unwrap();
    store.finish();
}
