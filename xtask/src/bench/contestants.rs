// SPDX-License-Identifier: Apache-2.0
//! Who takes part: the command line of each contestant, and the ways to start it that are tried in order of fairness.

use super::agent::{Run, View};
use super::scratch::{FIRST_ID, Scratch};
use crate::{Result, cargo};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One way to start a contestant, and how it differs from what was asked of all.
pub(crate) struct Attempt {
    pub(crate) view: View,
    pub(crate) run: Run,
    /// What must end with `PROOF` while the proof stands in for the payload; None where there is no container.
    pub(crate) proof: Option<Run>,
    pub(crate) note: &'static str,
}

/// The exit code of `xtask/floor/proof.rs` in a container.
pub(crate) const PROOF: i32 = 42;

pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// The first that works is measured.
    pub(crate) attempts: Vec<Attempt>,
    /// Why it cannot be tried at all.
    pub(crate) absent: Option<String>,
}

const OTHER_RUNTIME: &str = "bind root, no seccomp, no device rules";
const NO_CGROUP: &str = "bind root, no seccomp, no cgroup";

fn attempt(view: View, note: &'static str, words: &str) -> Attempt {
    let argv = words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let run = Run { argv, env: BTreeMap::new() };
    Attempt { view, note, proof: Some(run.clone()), run }
}

/// A contestant of the distribution; absent when its program is not installed.
fn installed(name: &'static str, program: &str, package: &str, attempts: Vec<Attempt>) -> Contestant {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let absent = (!there).then(|| format!("not installed (apt-get install {package})"));
    Contestant { name, attempts, absent }
}

pub(crate) fn all(scratch: &mut Scratch) -> Result<Vec<Contestant>> {
    let mut all = floor(scratch)?;
    all.extend(cella(scratch)?);
    all.extend(oci(scratch)?);
    all.push(podman(scratch)?);
    all.push(lxc(scratch)?);
    all.push(nspawn(scratch)?);
    Ok(all)
}

fn floor(scratch: &mut Scratch) -> Result<Vec<Contestant>> {
    let lower = scratch.rootfs("root-floor", 0)?;
    let upper = scratch.directory("floor-upper", FIRST_ID)?;
    let work = scratch.directory("floor-work", FIRST_ID)?;
    let on = scratch.directory("floor-root", 0)?;
    let (lower, upper, work) = (lower.display(), upper.display(), work.display());
    let argv = [
        scratch.path.join("floor").display().to_string(),
        format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr"),
        on.display().to_string(),
        format!("0 {FIRST_ID} 65536"),
        "/true".to_owned(),
    ];
    let floor = Run { argv: argv.to_vec(), env: BTreeMap::new() };
    let mut payload =
        attempt(View::Machine, "the payload without a container", &scratch.path.join("true").display().to_string());
    let note = "7 namespaces, overlay root, 6 mounts, pivot_root";
    payload.proof = None;
    let floor = Attempt { view: View::Machine, proof: Some(floor.clone()), run: floor, note };
    Ok(vec![
        Contestant { name: "true", attempts: vec![payload], absent: None },
        Contestant { name: "floor", attempts: vec![floor], absent: None },
    ])
}

/// The program under measurement: `CELLA_BIN`, else a release build.
pub(crate) fn cella_program() -> Result<PathBuf> {
    match std::env::var_os("CELLA_BIN") {
        Some(path) => Ok(PathBuf::from(path)),
        None => cargo::build_release(&["cella", "runtime"])
            .and_then(|mut programs| programs.remove("cella").ok_or("cargo build made no cella".to_owned())),
    }
}

fn cella(scratch: &mut Scratch) -> Result<[Contestant; 2]> {
    let program = cella_program();
    let state = scratch.directory("cella", 0)?;
    let root = scratch.rootfs("root-cella", 0)?;
    let run = |program: &Path, words: &[&str]| Run {
        argv: [&program.display().to_string(), "run", "--rm"]
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect(),
        env: BTreeMap::from([("CELLA_ROOT".to_owned(), state.display().to_string())]),
    };
    let contestant = |name, note, words: &[&str], proof: &[&str]| {
        let attempt = |program: &PathBuf| Attempt {
            view: View::Machine,
            note,
            run: run(program, words),
            proof: Some(run(program, proof)),
        };
        let attempts = program.iter().map(attempt).collect();
        Contestant { name, attempts, absent: program.as_ref().err().cloned() }
    };
    let image = format!("dir:{}", root.display());
    let tiny = [image.as_str(), "/true"];
    // The host's root cannot be given the proof: its shell says the same.
    let shell = ["host", "--", "sh", "-c", "exit $((42 + ($$ > 16)))"];
    Ok([
        contestant("cella dir:", "the same tiny root as all", &tiny, &tiny),
        contestant("cella host", "the host's own true, with its libc", &["host", "true"], &shell),
    ])
}

fn oci(scratch: &mut Scratch) -> Result<[Contestant; 2]> {
    let crun = bundle(scratch, "crun")?;
    let runc = bundle(scratch, "runc")?;
    let state = scratch.directory("oci-state", 0)?;
    let state = state.display();
    let crun_with =
        |options: &str| format!("crun {options} --root {state}/crun run -b {} cella-bench-crun", crun.display());
    let runc = format!("runc --root {state}/runc run -b {} cella-bench-runc", runc.display());
    let crun = vec![
        attempt(View::Machine, OTHER_RUNTIME, &crun_with("")),
        attempt(View::Unified, OTHER_RUNTIME, &crun_with("")),
        attempt(View::Unified, NO_CGROUP, &crun_with("--cgroup-manager disabled")),
    ];
    let runc = vec![attempt(View::Machine, OTHER_RUNTIME, &runc), attempt(View::Unified, OTHER_RUNTIME, &runc)];
    Ok([installed("crun run", "crun", "crun", crun), installed("runc run", "runc", "runc", runc)])
}

/// An OCI bundle with the floor's namespaces and mounts around the same tiny root.
fn bundle(scratch: &mut Scratch, name: &str) -> Result<PathBuf> {
    let root = scratch.rootfs(&format!("root-{name}"), FIRST_ID)?;
    let directory = scratch.directory(&format!("bundle-{name}"), 0)?;
    let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let strict = ["nosuid", "noexec", "nodev"];
    let map = json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]);
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"];
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/true"], "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &strict),
            mount("/sys", "sysfs", &strict),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=64k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]),
            mount("/dev/mqueue", "mqueue", &strict),
        ],
        "linux": {
            "cgroupsPath": format!("/cella-bench-{name}"), "uidMappings": map, "gidMappings": map,
            "namespaces": namespaces.map(|kind| json!({"type": kind})),
        },
    });
    scratch.write(&format!("bundle-{name}/config.json"), &config.to_string())?;
    Ok(directory)
}

fn podman(scratch: &mut Scratch) -> Result<Contestant> {
    let mapped = scratch.rootfs("root-podman", FIRST_ID)?;
    let plain = scratch.rootfs("root-podman-plain", 0)?;
    let state = scratch.directory("podman", 0)?;
    let state = state.display();
    // Limits that need no privilege: podman's own default raises them, which a root without CAP_SYS_RESOURCE may not.
    let limits = "--pids-limit 0 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
    let with = |global: &str, options: &str, root: &Path| {
        format!(
            "podman --root {state}/root --runroot {state}/run --tmpdir {state}/tmp --cgroup-manager cgroupfs {global} \
             run --rm --network none {limits} {options} --rootfs {} /true",
            root.display()
        )
    };
    let map = format!("--uidmap 0:{FIRST_ID}:65536 --gidmap 0:{FIRST_ID}:65536");
    let attempts = vec![
        attempt(View::Machine, "crun and conmon inside", &with("", &map, &mapped)),
        attempt(View::Unified, "crun and conmon inside", &with("", &map, &mapped)),
        attempt(View::Unified, "crun and conmon inside, no user namespace", &with("", "", &plain)),
        attempt(View::Unified, "no cgroup, no user namespace", &with("", "--cgroups disabled", &plain)),
        attempt(View::Machine, "runc inside, no user namespace", &with("--runtime runc", "", &plain)),
    ];
    Ok(installed("podman run", "podman", "podman", attempts))
}

fn lxc(scratch: &mut Scratch) -> Result<Contestant> {
    let state = scratch.directory("lxc", 0)?;
    let mapped = scratch.rootfs("root-lxc", FIRST_ID)?;
    let plain = scratch.rootfs("root-lxc-plain", 0)?;
    let config = |name: &str, root: &Path, map: &str| {
        let root = root.display();
        let text = format!(
            "lxc.rootfs.path = dir:{root}\nlxc.uts.name = bench\nlxc.net.0.type = empty\n\
             lxc.mount.auto = proc:mixed sys:mixed\nlxc.autodev = 1\n{map}"
        );
        scratch.write(name, &text)
    };
    let map = format!("lxc.idmap = u 0 {FIRST_ID} 65536\nlxc.idmap = g 0 {FIRST_ID} 65536\n");
    let mapped = config("lxc-mapped", &mapped, &map)?;
    let plain = config("lxc-plain", &plain, "")?;
    let with =
        |config: &Path| format!("lxc-execute -P {} -n cella-bench -f {} -- /true", state.display(), config.display());
    let attempts = vec![
        attempt(View::Machine, "its own static init runs the payload", &with(&mapped)),
        attempt(View::Unified, "its own static init runs the payload", &with(&mapped)),
        attempt(View::Machine, "its own static init, no user namespace", &with(&plain)),
        attempt(View::Unified, "its own static init, no user namespace", &with(&plain)),
    ];
    Ok(installed("lxc-execute", "lxc-execute", "lxc", attempts))
}

fn nspawn(scratch: &mut Scratch) -> Result<Contestant> {
    let mapped = scratch.rootfs("root-nspawn", FIRST_ID)?;
    let plain = scratch.rootfs("root-nspawn-plain", 0)?;
    let with = |options: &str, root: &Path| {
        let root = root.display();
        format!("systemd-nspawn -q -D {root} --register=no --link-journal=no --private-network {options} /true")
    };
    let ids = format!("--private-users={FIRST_ID}:65536");
    let attempts = vec![
        attempt(View::Machine, "not registered with machined", &with(&format!("--keep-unit {ids}"), &mapped)),
        attempt(View::Machine, "its own scope", &with(&ids, &mapped)),
        attempt(View::Machine, "no user namespace", &with("--keep-unit", &plain)),
        attempt(View::Unified, "no user namespace", &with("--keep-unit", &plain)),
    ];
    Ok(installed("systemd-nspawn", "systemd-nspawn", "systemd-container", attempts))
}
