// SPDX-License-Identifier: Apache-2.0
//! Hooks: when, where, with what on their standard input, and what happens when one fails or hangs.

use serde_json::{Value, json};

use crate::support::{Case, both, ours};

/// A hook that appends its name and the state's status and pid to a file.
fn noting(case: &Case, name: &str) -> Value {
    let log = case.path.join("hooks.log");
    let script = format!(
        "state=$(cat); printf '%s %s %s\\n' {name} \"$(echo \"$state\" | jq -r .status)\" \"$(echo \"$state\" | jq -r '.pid // 0')\" >> {}",
        log.display()
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

#[test]
fn all_six_run_in_order_with_the_state() {
    both("all_six_run_in_order_with_the_state", |case| {
        let inside = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state; echo $0 > /tmp/name", "x"], "env": ["PATH=/bin"]});
        let hooks = json!({
            "prestart": [noting(case, "prestart")], "createRuntime": [noting(case, "createRuntime")],
            "createContainer": [noting(case, "createContainer")], "startContainer": [inside],
            "poststart": [noting(case, "poststart")], "poststop": [noting(case, "poststop")],
        });
        case.set("/hooks", hooks).script("cat /tmp/state; sleep 0.3");
        let done = case.run();
        assert_eq!(done.code, 0, "{done:?}");
        let log = std::fs::read_to_string(case.path.join("hooks.log")).unwrap();
        let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
        let names: Vec<&str> = lines.iter().map(|line| line[0]).collect();
        assert_eq!(names, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
        if case.is_ours() {
            let statuses: Vec<&str> = lines.iter().map(|line| line[1]).collect();
            assert_eq!(statuses, ["creating", "creating", "creating", "running", "stopped"]);
            let state: Value = serde_json::from_str(&done.out).unwrap();
            assert_eq!((state["status"].as_str(), state["id"].as_str()), (Some("created"), Some(case.id.as_str())));
        }
        assert!(lines[0][2].parse::<i32>().unwrap() > 0, "{log}");
    });
}

#[test]
fn a_hook_that_fails_ends_the_creation_and_leaves_nothing() {
    both("a_hook_that_fails_ends_the_creation_and_leaves_nothing", |case| {
        for name in ["createRuntime", "createContainer", "startContainer"] {
            let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
            let mut hooks = json!({name: failing});
            hooks["poststop"] = json!([noting(case, "poststop")]);
            case.set("/hooks", hooks).script("touch /ran");
            let done = case.run();
            assert_ne!(done.code, 0, "{name}: {done:?}");
            assert!(!case.rootfs().join("ran").exists(), "{name}");
        }
        if case.is_ours() {
            let log = std::fs::read_to_string(case.path.join("hooks.log")).unwrap();
            assert_eq!(log.lines().count(), 3, "poststop runs after each failure: {log}");
        }
    });
}

#[test]
fn a_hook_that_hangs_is_killed_in_time() {
    both("a_hook_that_hangs_is_killed_in_time", |case| {
        for name in ["createRuntime", "createContainer"] {
            let hanging = json!({name: [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]});
            case.set("/hooks", hanging);
            let begun = std::time::Instant::now();
            assert_ne!(case.run().code, 0, "{name}");
            assert!(begun.elapsed().as_secs() < 10, "{name}");
        }
    });
}

#[test]
fn the_container_hook_sees_the_hosts_files_in_the_containers_namespaces() {
    ours("the_container_hook_sees_the_hosts_files_in_the_containers_namespaces", |case| {
        let log = case.path.join("where");
        let script = format!("hostname > {0}; ls {1} >> {0}", log.display(), case.path.join("config.json").display());
        case.set("/hooks", json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}));
        assert_eq!(case.run().code, 0);
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.starts_with("guest\n") && text.contains("config.json"), "{text}");
    });
}
