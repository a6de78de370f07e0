// SPDX-License-Identifier: Apache-2.0
//! Programs that join a running container, and terminals.

use crate::support::{Store, is_root, on_terminal};

#[test]
fn exec_joins_exactly_what_the_container_has() {
    if !is_root("exec_joins_exactly_what_the_container_has") {
        return;
    }
    let store = Store::new("joins");
    store.cella(&["run", "-d", "--name", "j", "--memory", "64m", "-e", "A=1", "host", "sleep", "60"]).ok();
    let script = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; \
                  grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/cgroup /proc/self/uid_map; echo $A";
    let inside = store.cella(&["exec", "j", "sh", "-c", script]).ok();
    let first = store.cella(&["exec", "j", "sh", "-c", &script.replace("/proc/self/", "/proc/1/")]).ok();
    assert_eq!(inside, first);
    assert!(inside.contains("Seccomp:\t2") && inside.ends_with("\n1"), "{inside}");
    store.cella(&["rm", "-f", "j"]).ok();
    store.finish();
}

#[test]
fn exec_has_codes_input_user_and_directory() {
    if !is_root("exec_has_codes_input_user_and_directory") {
        return;
    }
    let store = Store::new("execflags");
    store.cella(&["run", "-d", "--name", "e", "host", "sleep", "60"]).ok();
    assert_eq!(store.cella(&["exec", "e", "sh", "-c", "exit 9"]).code, 9);
    store.cella(&["exec", "e", "/no/such"]).fails(127);
    store.cella(&["exec", "e", "/etc"]).fails(126);
    assert_eq!(store.cella_with_input(&["exec", "-i", "e", "cat"], "abc").ok(), "abc");
    let flags = ["exec", "-u", "1234:5", "-w", "/tmp", "-e", "B=2", "e", "sh", "-c", "id -u; id -g; pwd; echo $B"];
    assert_eq!(store.cella(&flags).ok(), "1234\n5\n/tmp\n2");
    assert_eq!(store.cella(&["exec", "e", "sh", "-c", "echo out; echo err >&2"]).err, "err\n");
    store.cella(&["exec", "-d", "e", "sh", "-c", "sleep 0.1; touch /tmp/done"]).ok();
    crate::support::until("the mark", || store.cella(&["exec", "e", "test", "-e", "/tmp/done"]).code == 0);
    store.cella(&["rm", "-f", "e"]).ok();
    store.cella(&["exec", "e", "true"]).fails(125);
    store.finish();
}

#[test]
fn exec_in_a_container_that_does_not_run() {
    if !is_root("exec_in_a_container_that_does_not_run") {
        return;
    }
    let store = Store::new("execno");
    store.cella(&["create", "--name", "n", "host", "true"]).ok();
    let refused = store.cella(&["exec", "n", "true"]).fails(125);
    assert!(refused.contains("not running"), "{refused}");
    store.cella(&["rm", "n"]).ok();
    store.finish();
}

#[test]
fn a_terminal_has_our_size_and_is_the_containers_own() {
    if !is_root("a_terminal_has_our_size_and_is_the_containers_own") {
        return;
    }
    let store = Store::new("tty");
    let shown = on_terminal(&store, "run --rm -it host sh -c 'sleep 0.3; stty size; tty; test -t 0 && echo yes'", &[]);
    for wanted in ["33 77", "/dev/pts/0", "yes"] {
        assert!(shown.contains(wanted), "{shown:?}");
    }
    store.finish();
}

#[test]
fn detach_keys_let_go_and_attach_comes_back() {
    if !is_root("detach_keys_let_go_and_attach_comes_back") {
        return;
    }
    let store = Store::new("detachkeys");
    on_terminal(&store, "run -it --name t host sh", &[("# ", "echo fir''st\n"), ("first", "\u{10}\u{11}")]);
    assert_eq!(store.inspect("t", "status"), "running");
    let shown = on_terminal(&store, "attach t", &[("", "echo sec''ond; exit 4\n")]);
    assert!(shown.contains("second"), "{shown:?}");
    assert_eq!(store.cella(&["wait", "t"]).ok(), "4");
    assert!(store.cella(&["logs", "t"]).ok().contains("first"));
    store.cella(&["rm", "t"]).ok();
    store.finish();
}

#[test]
fn exec_with_a_terminal() {
    if !is_root("exec_with_a_terminal") {
        return;
    }
    let store = Store::new("exectty");
    store.cella(&["run", "-d", "--name", "x", "host", "sleep", "60"]).ok();
    let shown = on_terminal(&store, "exec -it x sh", &[("# ", "stty size; tty; exit\n")]);
    assert!(shown.contains("33 77") && shown.contains("/dev/pts/0"), "{shown:?}");
    store.cella(&["rm", "-f", "x"]).ok();
    store.finish();
}

#[test]
fn it_without_a_terminal_is_refused() {
    if !is_root("it_without_a_terminal_is_refused") {
        return;
    }
    let store = Store::new("notty");
    let refused = store.cella(&["run", "--rm", "-it", "host", "sh"]);
    assert!(refused.code == 125 || refused.code == 1, "{refused:?}");
    assert!(refused.err.contains("terminal"), "{}", refused.err);
    store.finish();
}

#[test]
fn top_shows_the_pids_of_both_sides() {
    if !is_root("top_shows_the_pids_of_both_sides") {
        return;
    }
    let store = Store::new("top");
    store.cella(&["run", "-d", "--name", "t", "host", "sh", "-c", "sleep 60; true"]).ok();
    crate::support::until("two", || store.cella(&["top", "t"]).ok().lines().count() == 3);
    let table = store.cella(&["top", "t"]).ok();
    let pid = store.inspect("t", "pid");
    assert!(table.contains(&pid) && table.contains("sleep 60"), "{table}");
    store.cella(&["rm", "-f", "t"]).ok();
    store.finish();
}

/// login(1) does so: between the two nobody has the terminal.
#[test]
fn a_terminal_that_is_hung_up_and_opened_again_is_shown_on() {
    if !is_root("a_terminal_that_is_hung_up_and_opened_again_is_shown_on") {
        return;
    }
    let store = Store::new("exec-hangup");
    store.cella(&["run", "-d", "--name", "c", "--cap-add", "SYS_TTY_CONFIG", "host", "sleep", "1000"]).ok();
    let script = "import os, signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nname = os.ttyname(0)\n\
        for number in (0, 1, 2): os.close(number)\ntime.sleep(0.3)\nos.open(name, os.O_RDWR | os.O_NOCTTY)\n\
        os.dup(0)\nos.dup(0)\nprint('shown', 'again', flush=True)";
    let path = store.root.join("hangup.py");
    std::fs::write(&path, script).unwrap();
    let shown = on_terminal(&store, &format!("exec -it c python3 -c \"$(cat {})\"", path.display()), &[]);
    assert!(shown.contains("shown again"), "{shown}");
    store.cella(&["rm", "-f", "c"]).ok();
    store.finish();
}
