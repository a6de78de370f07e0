// SPDX-License-Identifier: Apache-2.0
//! The OCI runtimes side by side: the same bundle (all namespaces, a network namespace, a filter of some 400 rules, device
//! rules), the same view of the cgroups (version 2 alone), the same payload.

use super::Options;
use super::agent::{Agent, Run, View};
use super::report::{self, Line};
use super::scratch::Scratch;
use crate::{Result, cargo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// After each start the kernel takes namespaces down behind our back.
const SETTLE: Duration = Duration::from_millis(4);
/// Nanoseconds from which on a runtime is slow, and the pause behind it.
const SLOW: u64 = 15_000_000;
const SLOW_SETTLE: Duration = Duration::from_millis(60);
/// What ends a runtime that hangs.
const PATIENCE: [&str; 3] = ["timeout", "--signal=KILL", "10"];
/// Containers of the measurement of throughput, two at a time.
const MANY: u64 = 100;

/// A runtime that works.
struct Racer {
    name: &'static str,
    program: String,
    bundle: String,
    state: String,
    version: String,
    /// What starts it and holds the clock.
    clock: String,
    nanos: Vec<u64>,
    /// Why it is out of the race.
    failed: Option<String>,
}

/// Nanoseconds and peak of resident memory in KiB, from the start of a program by one that is nearly nothing. One that hangs
/// is killed (youki 0.7 waits for ever for a program that ended before it looked).
fn clocked(agent: &mut Agent, clock: &str, mut run: Run) -> Result<(u64, u64)> {
    run.argv.splice(0..0, PATIENCE.iter().copied().chain([clock]).map(str::to_owned));
    let ran = agent.run(&run)?;
    let mut numbers = ran.stdout.lines().last().unwrap_or_default().split_whitespace().map(str::parse);
    match (ran.code, numbers.next(), numbers.next()) {
        (0, Some(Ok(nanos)), Some(Ok(peak))) => Ok((nanos, peak)),
        _ => Err(format!("{}: exit {}: {}", run.argv.join(" "), ran.code, ran.stderr)),
    }
}

impl Racer {
    fn words(&self, verb: &str) -> Run {
        let words = format!("{} --root {} {verb}", self.program, self.state);
        Run { argv: words.split(' ').map(str::to_owned).collect(), env: BTreeMap::new() }
    }
}

/// The programs: ours as `CELLA_OCI_BIN` or a release build, the others along PATH or as told by the environment.
fn programs() -> Vec<(&'static str, std::result::Result<String, String>)> {
    let variable = |name: &str| std::env::var(name).ok();
    let ours = variable("CELLA_OCI_BIN").map_or_else(
        || {
            let built = cargo::build_release(&["cella-oci"]);
            built
                .and_then(|mut programs| programs.remove("cella-oci").ok_or("cargo made no cella-oci".to_owned()))
                .map(|path| path.display().to_string())
        },
        Ok,
    );
    let peer = |name: &str, variable_name: &str| match variable(variable_name) {
        Some(path) => Ok(path),
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
            found.map(|path| path.display().to_string()).ok_or_else(|| "not installed".to_owned())
        }
    };
    vec![
        ("cella-oci", ours),
        ("crun", peer("crun", "BENCH_CRUN")),
        ("youki", peer("youki", "BENCH_YOUKI")),
        ("runc", peer("runc", "BENCH_RUNC")),
    ]
}

/// Every system call that the headers name, one rule each; none where there are no headers.
fn filter() -> Value {
    let text = std::fs::read_to_string("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split(' ').next());
    let rules: Vec<Value> = names.map(|name| json!({"names": [name], "action": "SCMP_ACT_ALLOW"})).collect();
    if rules.is_empty() { Value::Null } else { json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}) }
}

fn config(root: &Path, program: &str) -> Value {
    let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let strict = ["nosuid", "noexec", "nodev"];
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": [program], "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root, "readonly": true},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &strict),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "seccomp": filter(),
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Those that can run the bundle, and a line for each that can not.
fn field(scratch: &mut Scratch, agent: &mut Agent) -> Result<(Vec<Racer>, Vec<Line>)> {
    let (mut racers, mut lines) = (Vec::new(), Vec::new());
    for (name, program) in programs() {
        let program = match program {
            Ok(program) => program,
            Err(reason) => {
                lines.push(Line::absent(name, reason));
                continue;
            }
        };
        let root = scratch.rootfs(&format!("oci-root-{name}"), 0)?;
        for program in ["true", "wait"] {
            let to = root.join(program);
            std::fs::copy(scratch.path.join(program), &to).map_err(|error| format!("{}: {error}", to.display()))?;
        }
        for (kind, program) in [("run", "/true"), ("wait", "/wait")] {
            scratch.directory(&format!("{kind}-{name}"), 0)?;
            scratch.write(&format!("{kind}-{name}/config.json"), &config(&root, program).to_string())?;
        }
        let said = Command::new(&program).arg("--version").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let racer = Racer {
            name,
            program,
            bundle: scratch.path.display().to_string(),
            // On a tmpfs (the agent's own), as everybody has it.
            state: format!("/run/oci-{name}"),
            clock: scratch.path.join("clock").display().to_string(),
            version: said.lines().next().unwrap_or_default().to_owned(),
            nanos: Vec::new(),
            failed: None,
        };
        let words = racer.words(&format!("run -b {}/run-{name} cella-bench-{name}", racer.bundle));
        match clocked(agent, &racer.clock, words) {
            Ok(_) => racers.push(racer),
            Err(reason) => {
                let last = reason.rsplit(": exit").next().unwrap_or_default();
                lines.push(Line::absent(name, format!("{} fails or hangs: exit{last}", racer.version)));
            }
        }
    }
    Ok((racers, lines))
}

/// The kernel's own price: clone3 with the same namespaces, the mounts, execve; no filter, no groups, no masks.
fn floor(scratch: &mut Scratch) -> Result<Run> {
    let path = |path: std::path::PathBuf| path.display().to_string();
    let root = scratch.rootfs("oci-root-floor", 0)?;
    std::fs::copy(scratch.path.join("true"), root.join("true")).map_err(|error| format!("true: {error}"))?;
    let lower = path(root);
    let (upper, work) = (path(scratch.directory("floor-upper", 0)?), path(scratch.directory("floor-work", 0)?));
    let on = path(scratch.directory("floor-root", 0)?);
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let argv = vec![path(scratch.path.join("floor")), options, on, "-".to_owned(), "/true".to_owned()];
    Ok(Run { argv, env: BTreeMap::new() })
}

/// Interleaved rounds of what `verb` makes of each.
fn race(racers: &mut [Racer], agent: &mut Agent, rounds: usize, verb: impl Fn(&Racer) -> String) -> Result<()> {
    for _ in 0..rounds {
        for racer in racers.iter_mut().filter(|racer| racer.failed.is_none()) {
            let nanos = match clocked(agent, &racer.clock, racer.words(&verb(racer))) {
                Ok((nanos, _)) => nanos,
                Err(_) if racer.name != "cella-oci" => {
                    racer.failed = Some(format!("it failed or hung in round {}", racer.nanos.len() + 1));
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            racer.nanos.push(nanos);
            // Who comes next must not meet what a slow one has left to the kernel.
            std::thread::sleep(if nanos > SLOW { SLOW_SETTLE } else { SETTLE });
        }
    }
    Ok(())
}

fn begin() -> Result<(Scratch, Agent)> {
    let scratch = Scratch::new()?;
    let ids = scratch.write("subid", "")?;
    let agent = Agent::start(View::Unified, &ids)?;
    Ok((scratch, agent))
}

fn lines_of(racers: Vec<Racer>, mut others: Vec<Line>) -> Vec<Line> {
    let mut lines: Vec<Line> = racers
        .into_iter()
        .map(|one| {
            let note = [Some(one.version), one.failed].into_iter().flatten().collect::<Vec<_>>().join("; ");
            if one.nanos.is_empty() { Line::absent(one.name, note) } else { Line::measured(one.name, &note, one.nanos) }
        })
        .collect();
    lines.append(&mut others);
    lines
}

/// `cargo xtask bench run`: from the spawn of the runtime to its end.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let (mut scratch, mut agent) = begin()?;
    let (mut racers, others) = field(&mut scratch, &mut agent)?;
    let (floor, mut nanos) = (floor(&mut scratch)?, Vec::new());
    for _ in 0..options.rounds {
        race(&mut racers, &mut agent, 1, |one| {
            format!("run -b {}/run-{} cella-bench-{}", one.bundle, one.name, one.name)
        })?;
        nanos.push(clocked(&mut agent, &scratch.path.join("clock").display().to_string(), floor.clone())?.0);
        std::thread::sleep(SETTLE);
    }
    let mut lines = vec![Line::measured("floor", "clone3, overlay root, 6 mounts, pivot_root, execve", nanos)];
    lines.extend(lines_of(racers, others));
    report::print("run", options.format, lines)?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask bench exec`: a further program in a container that runs.
pub(crate) fn exec(options: &Options) -> Result<ExitCode> {
    let (mut scratch, mut agent) = begin()?;
    let (mut racers, others) = field(&mut scratch, &mut agent)?;
    for one in &racers {
        agent.run(&one.words(&format!("run -d -b {}/wait-{} cella-bench-{}", one.bundle, one.name, one.name)))?;
    }
    let raced = race(&mut racers, &mut agent, options.rounds, |one| format!("exec cella-bench-{} /true", one.name));
    for one in &racers {
        agent.run(&one.words(&format!("delete -f cella-bench-{}", one.name)))?;
    }
    raced?;
    report::print("exec", options.format, lines_of(racers, others))?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask bench density`: memory of `run` and of a created container, and a hundred containers two at a time.
pub(crate) fn density(options: &Options) -> Result<ExitCode> {
    let (mut scratch, mut agent) = begin()?;
    let (mut racers, others) = field(&mut scratch, &mut agent)?;
    println!("| runtime | peak RSS of run, KiB | PSS of a created container, KiB |\n|:---|---:|---:|");
    for one in &racers {
        let words = one.words(&format!("run -b {}/run-{} cella-bench-{}", one.bundle, one.name, one.name));
        let mut peaks = Vec::new();
        for _ in 0..5 {
            peaks.push(clocked(&mut agent, &one.clock, words.clone())?.1);
        }
        agent.run(
            &one.words(&format!("create --pid-file {0}/pid -b {0}/run-{1} cella-bench-{1}", one.bundle, one.name)),
        )?;
        let pid = std::fs::read_to_string(scratch.path.join("pid")).unwrap_or_default();
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim())).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("?").trim().to_owned();
        agent.run(&one.words(&format!("delete -f cella-bench-{}", one.name)))?;
        println!("| {} | {} | {} |", one.name, peaks.iter().min().copied().unwrap_or(0), pss.trim_end_matches(" kB"));
    }
    println!();
    for _ in 0..options.rounds.min(5) {
        for one in &mut racers {
            let script = format!(
                "seq {MANY} | xargs -P 2 -I @ {} --root {} run -b {}/run-{} cella-bench-{}-@",
                one.program, one.state, one.bundle, one.name, one.name
            );
            let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
            let ran = agent.run(&Run { argv, env: BTreeMap::new() })?;
            one.nanos.push(ran.nanos);
        }
    }
    report::print("density: 100 containers, two at a time", options.format, lines_of(racers, others))?;
    Ok(ExitCode::SUCCESS)
}
