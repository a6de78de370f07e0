// SPDX-License-Identifier: Apache-2.0
//! create, start, state, kill, delete, run: what they do, and what they refuse.

use serde_json::json;

use crate::support::{both, ours};

#[test]
fn run_gives_the_programs_exit_code() {
    both("run_gives_the_programs_exit_code", |case| {
        assert_eq!(case.script("echo out; echo err >&2; exit 42").run().code, 42);
        let done = case.script("echo out; echo err >&2; exit 0").run();
        assert_eq!((done.out.as_str(), done.err.as_str()), ("out\n", "err\n"));
        assert_eq!(case.script("kill -9 $$; sh -c 'kill -9 $$'; exit $?").run().code, 137);
    });
}

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    both("a_container_is_created_started_killed_and_deleted", |case| {
        case.set("/process/args", json!(["sleep", "1000"])).write_config();
        let id = case.id.clone();
        case.quietly(&["create", "--pid-file", "pid", &id]);
        let state = case.state();
        assert_eq!((state["status"].as_str(), state["id"].as_str()), (Some("created"), Some(id.as_str())));
        let pid = std::fs::read_to_string(case.path.join("pid")).unwrap();
        assert_eq!(state["pid"].to_string(), pid, "the file is relative to the working directory");
        assert_eq!(state["bundle"].as_str(), case.path.to_str());
        case.call(&["create", &id]).fails(1);
        case.call(&["start", &id]).ok();
        assert_eq!(case.status(), "running");
        let again = case.call(&["start", &id]).fails(1);
        assert!(again.contains("cannot start"), "{again}");
        let running = case.call(&["delete", &id]).fails(1);
        assert!(running.contains("not stopped"), "{running}");
        case.call(&["kill", &id, "KILL"]).ok();
        for _ in 0..200 {
            if case.status() == "stopped" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(case.status(), "stopped");
        let dead = case.call(&["kill", &id, "TERM"]).fails(1);
        assert!(dead.contains("not running"), "{dead}");
        case.call(&["delete", &id]).ok();
        case.call(&["state", &id]).fails(1);
        case.call(&["delete", "--force", &id]).ok();
    });
}

#[test]
fn a_created_container_is_deleted_without_having_run() {
    both("a_created_container_is_deleted_without_having_run", |case| {
        case.script("touch /ran").write_config();
        let id = case.id.clone();
        case.quietly(&["create", &id]);
        case.call(&["delete", &id]).ok();
        assert!(!case.rootfs().join("ran").exists());
    });
}

#[test]
fn a_program_that_is_not_there_is_told_at_creation() {
    both("a_program_that_is_not_there_is_told_at_creation", |case| {
        let id = case.id.clone();
        case.set("/process/args", json!(["nosuch"])).write_config();
        let error = case.call(&["create", &id]).err;
        assert!(error.contains("executable file not found in $PATH"), "{error}");
        case.set("/process/args", json!(["/bin"])).write_config();
        let error = case.call(&["create", &id]).err;
        assert!(error.to_lowercase().contains("denied") || error.contains("is a directory"), "{error}");
        case.set("/process/args", json!(["/no/such"])).write_config();
        let error = case.call(&["create", &id]).err;
        assert!(error.contains("no such file or directory"), "{error}");
    });
}

#[test]
fn a_parked_container_holds_next_to_nothing() {
    ours("a_parked_container_holds_next_to_nothing", |case| {
        case.write_config();
        let id = case.id.clone();
        case.quietly(&["create", &id]);
        let pid = case.state()["pid"].to_string();
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        let kib: u32 = pss.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib <= 150, "{kib} KiB");
        assert!(std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().to_string_lossy().contains("memfd:cella-init"));
    });
}

#[test]
fn detached_it_goes_on_without_us() {
    both("detached_it_goes_on_without_us", |case| {
        case.set("/process/args", json!(["sleep", "1000"])).write_config();
        let id = case.id.clone();
        case.quietly(&["run", "--detach", &id]);
        assert_eq!(case.status(), "running");
    });
}

#[test]
fn without_a_pid_namespace_kill_reaches_the_whole_group() {
    both("without_a_pid_namespace_kill_reaches_the_whole_group", |case| {
        let kinds = ["network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
        case.set("/linux/namespaces", json!(kinds)).script("sleep 1000 & sleep 1000 & sleep 1000").write_config();
        let id = case.id.clone();
        case.quietly(&["run", "-d", &id]);
        case.call(&["kill", "--all", &id, "KILL"]).ok();
        case.call(&["delete", "--force", &id]).ok();
    });
}

#[test]
fn a_group_with_processes_is_refused_at_once() {
    ours("a_group_with_processes_is_refused_at_once", |case| {
        case.start_sleeping();
        let id = case.id.clone();
        case.set("/linux/cgroupsPath", json!(format!("/{id}"))).write_config();
        let begun = std::time::Instant::now();
        let error = case.call(&["run", "another"]).fails(1);
        assert!(error.contains("not empty"), "{error}");
        assert!(begun.elapsed().as_secs() < 2);
        case.call(&["pause", &id]).ok();
        let error = case.call(&["run", "another"]).fails(1);
        assert!(error.contains("frozen"), "{error}");
        case.call(&["resume", &id]).ok();
    });
}

#[test]
fn options_are_taken_before_and_after_the_id() {
    ours("options_are_taken_before_and_after_the_id", |case| {
        case.set("/process/args", json!(["sleep", "1000"])).write_config();
        let id = case.id.clone();
        case.quietly(&["create", &id, "--pid-file", "pid", "--bundle", "."]);
        case.call(&["kill", &id, "--all", "KILL"]).ok();
        case.call(&["delete", &id, "--force"]).ok();
        let error = case.call(&["state", &id, "--bogus"]).fails(1);
        assert!(error.contains("unknown option --bogus"), "{error}");
    });
}

#[test]
fn errors_are_logged_as_json() {
    ours("errors_are_logged_as_json", |case| {
        case.call(&["--log", "log.json", "--log-format", "json", "state", "nosuch"]).fails(1);
        let text = std::fs::read_to_string(case.path.join("log.json")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains("does not exist"), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    });
}

#[test]
fn a_full_pipe_on_stderr_holds_nobody_up() {
    ours("a_full_pipe_on_stderr_holds_nobody_up", |case| {
        let (read, write) = kernel::event::pipe().unwrap();
        kernel::event::set_nonblocking(&write).unwrap();
        while kernel::event::write(&write, &[0; 4096]).is_ok_and(|written| written > 0) {}
        let mut command = case.command(&["state", "nosuch"]);
        let mut child = command.stderr(write).spawn().unwrap();
        for _ in 0..500 {
            if let Some(status) = child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(1));
                drop(read);
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.kill().unwrap();
        panic!("it waits for its reader");
    });
}

#[test]
fn no_room_for_the_state_leaves_nothing() {
    ours("no_room_for_the_state_leaves_nothing", |case| {
        case.write_config();
        let script = format!(
            "mkdir -p state && mount -t tmpfs -o size=4k,nr_inodes=3 none state && {} --root state run {}",
            case.runtime.program, case.id
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).current_dir(&case.path);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("ENOSPC"), "{output:?}");
        std::fs::remove_dir(case.path.join("state")).unwrap();
    });
}
