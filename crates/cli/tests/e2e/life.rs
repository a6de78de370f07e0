// SPDX-License-Identifier: Apache-2.0
//! From create to rm: states, logs, restarts, signals, events.

use crate::support::{Store, is_root, until};

#[test]
fn the_program_has_been_executed_when_run_d_returns() {
    if !is_root("the_program_has_been_executed_when_run_d_returns") {
        return;
    }
    let store = Store::new("detached");
    let id = store.cella(&["run", "-d", "--name", "one", "host", "sleep", "60"]).ok();
    assert_eq!(id.len(), 64);
    let pid = store.inspect("one", "pid");
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    assert_eq!(store.cella(&["ls", "-q", "--no-trunc"]).ok(), id);
    assert_eq!(store.inspect(&id[..6], "status"), "running");
    store.cella(&["stop", "-t", "0", "one"]).ok();
    assert_eq!(store.inspect("one", "status"), "exited");
    assert_eq!(store.inspect("one", "exit_code"), "137");
    store.cella(&["rm", "one"]).ok();
    store.finish();
}

#[test]
fn changes_are_kept_from_stop_to_start() {
    if !is_root("changes_are_kept_from_stop_to_start") {
        return;
    }
    let store = Store::new("kept");
    let script = "test -e /root/mark && echo again || echo first; touch /root/mark";
    store.cella(&["create", "--name", "k", "host", "sh", "-c", script]).ok();
    assert_eq!(store.cella(&["start", "-a", "k"]).ok(), "first");
    assert_eq!(store.cella(&["start", "-a", "k"]).ok(), "again");
    store.cella(&["rm", "k"]).ok();
    store.finish();
}

#[test]
fn exit_codes_are_dockers() {
    if !is_root("exit_codes_are_dockers") {
        return;
    }
    let store = Store::new("codes");
    assert_eq!(store.sh(&[], "exit 42").code, 42);
    assert_eq!(store.sh(&[], "kill -9 $$; sleep 1").code, 0, "a first process can not kill itself");
    let missing = store.cella(&["run", "--rm", "host", "/no/such"]).fails(127);
    assert!(missing.contains("/no/such"), "{missing}");
    store.cella(&["run", "--rm", "host", "/etc/passwd"]).fails(126);
    store.cella(&["run", "--rm", "--memory", "12x", "host", "true"]).fails(125);
    store.finish();
}

#[test]
fn stop_sends_the_signal_and_waits() {
    if !is_root("stop_sends_the_signal_and_waits") {
        return;
    }
    let store = Store::new("stop");
    let script = "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    store.cella(&["run", "-d", "--name", "s", "--stop-signal", "INT", "host", "sh", "-c", script]).ok();
    until("ready", || store.cella(&["logs", "s"]).out.contains("ready"));
    store.cella(&["stop", "s"]).ok();
    assert_eq!(store.cella(&["logs", "s"]).ok(), "ready\ngot it");
    assert_eq!(store.inspect("s", "exit_code"), "3");
    assert_eq!(store.cella(&["wait", "s"]).ok(), "3");
    store.cella(&["rm", "s"]).ok();
    store.finish();
}

#[test]
fn kill_and_wait() {
    if !is_root("kill_and_wait") {
        return;
    }
    let store = Store::new("kill");
    store.cella(&["run", "-d", "--name", "k", "host", "sleep", "60"]).ok();
    let waiting = store.piped(&["wait", "k"]);
    store.cella(&["kill", "k"]).ok();
    let waited = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "137\n");
    store.cella(&["kill", "k"]).fails(1);
    store.cella(&["rm", "k"]).ok();
    store.finish();
}

#[test]
fn pause_holds_all_processes() {
    if !is_root("pause_holds_all_processes") {
        return;
    }
    let store = Store::new("pause");
    store.cella(&["run", "-d", "--name", "p", "host", "sh", "-c", "while :; do echo x; sleep 0.01; done"]).ok();
    store.cella(&["pause", "p"]).ok();
    assert_eq!(store.inspect("p", "status"), "paused");
    std::thread::sleep(std::time::Duration::from_millis(100));
    let before = store.cella(&["logs", "p"]).ok().len();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(store.cella(&["logs", "p"]).ok().len(), before);
    store.cella(&["pause", "p"]).fails(1);
    store.cella(&["unpause", "p"]).ok();
    until("more", || store.cella(&["logs", "p"]).ok().len() > before);
    store.cella(&["pause", "p"]).ok();
    store.cella(&["rm", "-f", "p"]).ok();
    store.finish();
}

#[test]
fn logs_keep_streams_apart_and_know_the_time() {
    if !is_root("logs_keep_streams_apart_and_know_the_time") {
        return;
    }
    let store = Store::new("logs");
    let script = "echo one; echo two >&2; printf half";
    store.cella(&["run", "--name", "l", "host", "sh", "-c", script]).ok();
    let logs = store.cella(&["logs", "l"]);
    assert_eq!((logs.out.as_str(), logs.err.as_str()), ("one\nhalf", "two\n"));
    let stamped = store.cella(&["logs", "-t", "--tail", "1", "l"]).out;
    assert!(stamped.starts_with("20") && stamped.contains('T') && stamped.ends_with("half"), "{stamped}");
    assert_eq!(store.cella(&["logs", "--since", "1h", "--tail", "1", "l"]).out, "half");
    assert_eq!(store.cella(&["logs", "--until", "2001-01-01T00:00:00Z", "l"]).out, "");
    store.cella(&["rm", "l"]).ok();
    store.finish();
}

#[test]
fn logs_are_rotated() {
    if !is_root("logs_are_rotated") {
        return;
    }
    let store = Store::new("rotated");
    let script = "i=0; while [ $i -lt 3000 ]; do echo line number $i is here to fill the log; i=$((i+1)); done";
    store.cella(&["run", "--name", "r", "--log-max-size", "16k", "host", "sh", "-c", script]).ok();
    let directory = store.root.join("containers/r");
    let sizes: Vec<u64> =
        ["log", "log.1", "log.2"].iter().map(|name| std::fs::metadata(directory.join(name)).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 16 * 1024 + 200), "{sizes:?}");
    assert!(!directory.join("log.3").exists());
    assert!(store.cella(&["logs", "--tail", "1", "r"]).ok().contains("number 2999"));
    store.cella(&["rm", "r"]).ok();
    store.finish();
}

#[test]
fn a_log_is_followed_to_the_end() {
    if !is_root("a_log_is_followed_to_the_end") {
        return;
    }
    let store = Store::new("follow");
    store.cella(&["run", "-d", "--name", "f", "host", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"]).ok();
    assert_eq!(store.cella(&["logs", "-f", "f"]).ok(), "1\n2\n3");
    store.cella(&["rm", "-f", "f"]).ok();
    store.finish();
}

#[test]
fn restart_policies() {
    if !is_root("restart_policies") {
        return;
    }
    let store = Store::new("restart");
    store
        .cella(&["run", "-d", "--name", "r", "--restart", "on-failure:2", "host", "sh", "-c", "echo run; exit 5"])
        .ok();
    until("the end", || store.inspect("r", "status") == "exited");
    assert_eq!(store.cella(&["logs", "r"]).ok(), "run\nrun\nrun");
    assert_eq!((store.inspect("r", "restart_count"), store.inspect("r", "exit_code")), ("2".into(), "5".into()));
    store.cella(&["run", "-d", "--name", "a", "--restart", "always", "host", "sleep", "60"]).ok();
    let pid = store.inspect("a", "pid");
    std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
    until("another process", || {
        let now = store.inspect("a", "pid");
        now != pid && now != "null"
    });
    store.cella(&["stop", "-t", "0", "a"]).ok();
    assert_eq!(store.inspect("a", "status"), "exited");
    store.cella(&["rm", "r", "a"]).ok();
    store.finish();
}

#[test]
fn input_reaches_the_program_and_its_end_does() {
    if !is_root("input_reaches_the_program_and_its_end_does") {
        return;
    }
    let store = Store::new("input");
    let text = "line\n".repeat(100_000);
    let done = store.cella_with_input(&["run", "--rm", "-i", "host", "cat"], &text);
    assert_eq!((done.code, done.out.len()), (0, text.len()), "{}", done.err);
    assert_eq!(store.cella_with_input(&["run", "--rm", "host", "wc", "-c"], "unheard").ok(), "0");
    store.finish();
}

#[test]
fn names_are_unique_and_changed() {
    if !is_root("names_are_unique_and_changed") {
        return;
    }
    let store = Store::new("names");
    store.cella(&["create", "--name", "n", "host", "true"]).ok();
    let taken = store.cella(&["create", "--name", "n", "host", "true"]).fails(125);
    assert!(taken.contains("taken"), "{taken}");
    store.cella(&["rename", "n", "m"]).ok();
    store.cella(&["start", "-a", "m"]).ok();
    store.cella(&["start", "n"]).fails(1);
    store.cella(&["rm", "m"]).ok();
    store.finish();
}

#[test]
fn a_rename_while_it_runs_is_heard_at_the_end() {
    if !is_root("a_rename_while_it_runs_is_heard_at_the_end") {
        return;
    }
    let store = Store::new("renamed");
    store.cella(&["run", "-d", "--name", "old", "host", "sleep", "60"]).ok();
    store.cella(&["rename", "old", "new"]).ok();
    assert_eq!(store.inspect("new", "status"), "running");
    store.cella(&["stop", "-t", "0", "new"]).ok();
    assert_eq!(store.inspect("new", "exit_code"), "137");
    store.cella(&["rm", "new"]).ok();
    store.finish();
}

#[test]
fn rm_of_something_running_asks_for_force() {
    if !is_root("rm_of_something_running_asks_for_force") {
        return;
    }
    let store = Store::new("rmrun");
    store.cella(&["run", "-d", "--name", "x", "host", "sleep", "60"]).ok();
    let refused = store.cella(&["rm", "x"]).fails(1);
    assert!(refused.contains("rm -f x"), "{refused}");
    assert!(store.cella(&["rm", "-f", "--dry-run", "x"]).ok().contains("ids "));
    assert_eq!(store.inspect("x", "status"), "running");
    store.cella(&["rm", "-f", "x"]).ok();
    store.finish();
}

#[test]
fn events_are_json_lines() {
    if !is_root("events_are_json_lines") {
        return;
    }
    let store = Store::new("events");
    store.cella(&["run", "--rm", "--name", "e", "host", "true"]).ok();
    let text = store.cella(&["events", "--since", "1h", "--until", "0s", "--format", "json"]).ok();
    let events: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["create", "start", "die", "remove"]);
    store.finish();
}

#[test]
fn output_that_nobody_reads_does_not_hang_the_program() {
    if !is_root("output_that_nobody_reads_does_not_hang_the_program") {
        return;
    }
    let store = Store::new("epipe");
    let script = format!(
        "CELLA_ROOT={} {} run --rm host sh -c 'i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done' | head -1",
        store.root.display(),
        crate::support::program().display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
    until("its end", || store.cella(&["ls", "-aq"]).out.is_empty());
    store.finish();
}

#[test]
fn serial_thirty_in_a_row_and_twenty_at_once_leave_nothing() {
    if !is_root("serial_thirty_in_a_row_and_twenty_at_once_leave_nothing") {
        return;
    }
    let store = Store::new("many");
    for round in 0..30 {
        let name = format!("c{round}");
        store.cella(&["run", "-d", "--name", &name, "host", "sleep", "60"]).ok();
        assert_eq!(store.cella(&["exec", &name, "echo", "hi"]).ok(), "hi");
        store.cella(&["stop", "-t", "0", &name]).ok();
        store.cella(&["rm", &name]).ok();
    }
    let children: Vec<_> = (0..20).map(|_| store.piped(&["run", "--rm", "host", "sh", "-c", "echo $$"])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    store.finish();
}
