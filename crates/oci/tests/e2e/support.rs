// SPDX-License-Identifier: Apache-2.0
//! Bundles, runtimes, and the oracle that says whether anything was left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_cella-oci");
const RUNC: &str = "/usr/sbin/runc";
const BUSYBOX: &str = "/bin/busybox";

/// Says why a test can not run here, and counts it.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(log);
        if let Ok(mut file) = file {
            // In one call: others write, too.
            file.write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).ok();
        }
    }
}

pub(crate) fn can_run(test: &str) -> bool {
    if kernel::process::euid() != 0 {
        skip(test, "root is needed");
        return false;
    }
    if !Path::new(BUSYBOX).exists() {
        skip(test, "busybox-static is not installed");
        return false;
    }
    true
}

/// Waits for what another process is about to do: ten seconds at most, since the machine may be busy.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < end, "not after ten seconds: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// A runtime under test.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(crate) program: &'static str,
    pub(crate) root: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// A directory of a test's own with a bundle and the state of its runtime; checked and removed at the end.
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    pub(crate) runtime: Runtime,
    pub(crate) config: Value,
    before: Oracle,
    pub(crate) id: String,
}

/// Runs a case against our runtime, then against runc when it is there.
pub(crate) fn both(test: &str, case: impl Fn(&mut Case)) {
    each(test, &[OURS, RUNC], case);
}

/// Runs a case against our runtime alone: for what runc 1.1 does not know.
pub(crate) fn ours(test: &str, case: impl Fn(&mut Case)) {
    each(test, &[OURS], case);
}

fn each(test: &str, programs: &[&'static str], case: impl Fn(&mut Case)) {
    if !can_run(test) {
        return;
    }
    for program in programs {
        if !Path::new(program).exists() {
            skip(test, "runc is not installed: not compared with it");
            continue;
        }
        let mut one = Case::new(program);
        case(&mut one);
        one.finish();
    }
}

impl Case {
    fn new(program: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("cella-test-{}-{number}", std::process::id());
        let before = Oracle::look(&id);
        let path = std::env::temp_dir().join(&id);
        let rootfs = path.join("rootfs");
        for directory in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
            std::fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        std::fs::copy(BUSYBOX, rootfs.join("bin/busybox")).unwrap();
        let list = Command::new(BUSYBOX).arg("--list").output().unwrap();
        for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        let runtime = Runtime { program, root: path.join("state") };
        let config = config();
        Self { path, runtime, config, before, id }
    }

    /// Sets a part of the configuration.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { &mut self.config } else { self.config.pointer_mut(parent).unwrap() };
        parent.as_object_mut().unwrap().insert(name.to_owned(), value);
        self
    }

    /// Adds to a list of the configuration.
    pub(crate) fn add(&mut self, pointer: &str, value: Value) -> &mut Self {
        self.config.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(value);
        self
    }

    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.set("/process/args", json!(["sh", "-c", script]))
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub(crate) fn write_config(&self) {
        std::fs::write(self.path.join("config.json"), self.config.to_string()).unwrap();
    }

    /// A command of the runtime, in the bundle.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.runtime.program);
        command.arg("--root").arg(&self.runtime.root).args(words).current_dir(&self.path).stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, words: &[&str]) -> Done {
        Done::of(self.command(words).output().unwrap())
    }

    /// Runs the bundle in the foreground.
    pub(crate) fn run(&self) -> Done {
        self.write_config();
        self.call(&["run", &self.id])
    }

    /// Runs a script in it; what it prints.
    #[track_caller]
    pub(crate) fn prints(&mut self, script: &str) -> String {
        self.script(script);
        self.run().ok()
    }

    /// Creates and starts one that sleeps. What it would print has nowhere to go: nobody waits for it.
    pub(crate) fn start_sleeping(&mut self) {
        self.set("/process/args", json!(["sleep", "1000"]));
        self.write_config();
        self.quietly(&["create", &self.id]);
        self.call(&["start", &self.id]).ok();
    }

    /// A call whose process may leave others behind that hold its output.
    #[track_caller]
    pub(crate) fn quietly(&self, words: &[&str]) {
        let log = self.path.join("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(words);
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        assert!(status.success(), "{words:?}: {status}: {}", std::fs::read_to_string(&log).unwrap());
    }

    pub(crate) fn exec(&self, words: &[&str]) -> Done {
        let mut all = vec!["exec", self.id.as_str()];
        all.extend(words);
        self.call(&all)
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.call(&["state", &self.id]).ok()).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.runtime.program == OURS
    }

    /// Deletes what may be left, and checks that the host is as it was.
    fn finish(self) {
        self.call(&["delete", "--force", &self.id]);
        let left = std::fs::read_dir(&self.runtime.root).map(|entries| {
            entries.flatten().map(|entry| entry.file_name()).filter(|name| name != ".filters").collect::<Vec<_>>()
        });
        assert!(left.as_ref().map_or(true, Vec::is_empty), "state is left: {left:?}");
        std::fs::remove_dir_all(&self.path).unwrap();
        let after = Oracle::look(&self.id);
        assert_eq!(self.before, after, "the host has changed ({})", self.runtime.program);
    }
}

/// What of the host must be as before. Other tests run at the same time: only what bears this test's name counts.
#[derive(Debug, PartialEq, Eq)]
struct Oracle {
    mounts: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    processes: BTreeSet<String>,
}

impl Oracle {
    fn look(id: &str) -> Self {
        // The end of a namespace is the kernel's work, after that of its last process.
        for _ in 0..100 {
            if processes(id).is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = table.lines().filter(|line| line.contains(id)).map(str::to_owned).collect();
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        let groups = hierarchies.map(|path| path.join(id)).filter(|path| path.exists()).collect();
        Self { mounts, groups, processes: processes(id) }
    }
}

fn processes(id: &str) -> BTreeSet<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |entry: std::fs::DirEntry| {
        let own = entry.file_name().to_str()?.parse::<u32>().ok()?;
        // One that nobody has reaped yet has ended.
        if kernel::procfs::life(i32::try_from(own).ok()?).is_ok_and(|(_, state)| matches!(state, 'Z' | 'X')) {
            return None;
        }
        let text = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        text.contains(id).then(|| format!("{own}"))
    };
    all.filter_map(line).collect()
}

/// The configuration to begin with: what engines write, made small.
fn config() -> Value {
    let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "guest",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
