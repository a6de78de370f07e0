// SPDX-License-Identifier: Apache-2.0
//! The callers: Podman with conmon, containerd with ctr, Docker with compose, each running containers with us below.

use std::process::Command;

use crate::support::{OURS, can_run, skip};

/// Runs one of the scripts beside this file and compares what it prints.
fn script(test: &str, name: &str, needs: &[&str], expected: &str) {
    if !can_run(test) {
        return;
    }
    let there = |program: &&&str| {
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin"]
            .iter()
            .any(|path| std::path::Path::new(path).join(**program).exists())
    };
    if let Some(missing) = needs.iter().find(|program| !there(program)) {
        skip(test, &format!("{missing} is not installed"));
        return;
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/engines").join(name);
    let directory = std::env::temp_dir().join(format!("cella-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let output = Command::new("sh").arg(&path).arg(OURS).current_dir(&directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{said}\n--- stderr ---\n{errors}");
    std::fs::remove_dir_all(&directory).ok();
    assert_eq!(said, expected, "stderr: {errors}");
}

#[test]
fn serial_podman_runs_with_us() {
    script(
        "serial_podman_runs_with_us",
        "podman.sh",
        &["podman", "conmon", "jq"],
        include_str!("engines/podman.expected"),
    );
}

#[test]
fn serial_containerd_runs_with_us() {
    script(
        "serial_containerd_runs_with_us",
        "containerd.sh",
        &["containerd", "ctr"],
        include_str!("engines/containerd.expected"),
    );
}

#[test]
fn serial_docker_runs_with_us() {
    script(
        "serial_docker_runs_with_us",
        "docker.sh",
        &["dockerd", "docker", "docker-compose"],
        include_str!("engines/docker.expected"),
    );
}

#[test]
fn serial_systemd_makes_the_group() {
    let needs = ["systemctl", "jq", "unshare"];
    if !std::path::Path::new("/lib/systemd/systemd").exists() {
        skip("serial_systemd_makes_the_group", "systemd is not installed");
        return;
    }
    script("serial_systemd_makes_the_group", "systemd.sh", &needs, include_str!("engines/systemd.expected"));
}
