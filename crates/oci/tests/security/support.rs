// SPDX-License-Identifier: Apache-2.0
//! A bundle made of busybox, a root of its own, a canary that nobody may touch, and the runtimes that it is run with.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::oracle::{Snapshot, snapshot};

pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_cella-oci");
/// What no container may read.
pub(crate) const OF_THE_HOST: &str = "a file of the host\n";
/// What the expectations are held against where it is installed.
const OTHER: &str = "/usr/sbin/runc";

/// Says that a test can not run here, and why; the caller returns.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        // In one call: others write, too.
        file.unwrap().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).unwrap();
    }
}

/// Whether the test can run: root, and a static busybox.
pub(crate) fn can_run(test: &str) -> bool {
    let root = fs::metadata("/proc/self").map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap() == 0;
    if !root {
        skip(test, "it needs root");
        return false;
    }
    if !Path::new("/bin/busybox").exists() {
        skip(test, "it needs /bin/busybox of the package busybox-static");
        return false;
    }
    true
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap();
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Done {
    /// Its output, without the last line break, when it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self.out.trim_end_matches('\n').to_owned()
    }

    /// Its error message, when it failed before anything of the container ran.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_ne!(self.code, 0, "it was not refused: out: {}\nerr: {}", self.out, self.err);
        assert_ne!(self.code, 101, "a panic: {}", self.err);
        assert!(self.code < 128 || self.code == 255, "it died of a signal: {} {}", self.code, self.err);
        assert!(self.err.contains("cella-oci: ") || self.err.contains("level="), "no reason: {}", self.err);
        assert_eq!(self.out, "", "something ran: {}", self.err);
        self.err
    }
}

pub(crate) struct Bundle {
    /// Part of every name that belongs to the test.
    pub(crate) tag: String,
    pub(crate) directory: PathBuf,
    pub(crate) canary: PathBuf,
    pub(crate) config: Value,
    runtime: &'static str,
    before: Snapshot,
    finished: bool,
}

impl Bundle {
    /// A new one for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        Self::with(test, OURS)
    }

    /// The same for the program that users get, where the environment says which that is.
    pub(crate) fn of_release(test: &str) -> Self {
        let program = std::env::var("CELLA_OCI_BIN").map_or(OURS, |program| &*program.leak());
        Self::with(test, program)
    }

    fn with(test: &str, runtime: &'static str) -> Self {
        let tag = format!("cella-sec-{}-{test}", std::process::id());
        let directory = Path::new("/var/tmp").join(&tag);
        fs::remove_dir_all(&directory).ok();
        let canary = Path::new("/tmp").join(format!("canary-{tag}"));
        fs::remove_dir_all(&canary).ok();
        make_canary(&canary);
        let rootfs = directory.join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp", "root", "mnt"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for name in [
            "sh", "ls", "cat", "echo", "head", "wc", "stat", "id", "grep", "mount", "umount", "mkdir", "mknod",
            "chroot", "readlink", "sleep", "true", "touch", "rm", "tr", "awk", "test", "dd", "cut", "sort", "kill",
            "cp", "pwd", "chmod", "env", "hostname", "ln", "ip", "mkfifo",
        ] {
            symlink("busybox", rootfs.join("bin").join(name)).unwrap();
        }
        let spec = Command::new(OURS).args(["spec", "--bundle"]).arg(&directory).output().unwrap();
        assert!(spec.status.success(), "{spec:?}");
        let mut config: Value = serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["root"]["readonly"] = false.into();
        config["linux"]["cgroupsPath"] = format!("/{tag}").into();
        let before = snapshot(&tag, &canary);
        Self { tag, directory, canary, config, runtime, before, finished: false }
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Sets a part of the configuration; the part above it has to be there.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match (self.config.pointer_mut(parent).unwrap(), name.parse::<usize>()) {
            (Value::Array(list), Ok(at)) => list[at] = value,
            (other, _) => other[name] = value,
        }
        self
    }

    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.set("/process/args", json!(["/bin/sh", "-c", script]))
    }

    pub(crate) fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    pub(crate) fn drop_mount(&mut self, destination: &str) -> &mut Self {
        let below = format!("{destination}/");
        self.config["mounts"].as_array_mut().unwrap().retain(|mount| {
            let place = mount["destination"].as_str().unwrap();
            place != destination && !place.starts_with(&below)
        });
        self
    }

    pub(crate) fn write(&self) {
        fs::write(self.directory.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.runtime);
        command.arg("--root").arg(self.root()).args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Done {
        finish_within(self.command(arguments), Duration::from_secs(60))
    }

    /// Runs what the configuration says.
    pub(crate) fn run(&self) -> Done {
        self.write();
        self.call(&["run", &self.tag])
    }

    /// Runs a script with the configuration as it is otherwise.
    pub(crate) fn sh(&mut self, script: &str) -> Done {
        self.script(script).run()
    }

    /// Creates and starts it; the program has to stay.
    pub(crate) fn start(&mut self) {
        self.script("exec sleep 1000").write();
        self.create(&[]).ok();
        self.call(&["start", &self.tag]).ok();
    }

    /// Creates it. A container that keeps an end of a pipe open would hold whoever reads the other: it says it to a file.
    pub(crate) fn create(&self, options: &[&str]) -> Done {
        let file = || fs::File::create(self.directory.join("said")).unwrap();
        let mut command = self.command(&[&["create"], options, &[&self.tag]].concat());
        let status = command.stdout(Stdio::null()).stderr(file()).status().unwrap();
        let err = fs::read_to_string(self.directory.join("said")).unwrap();
        Done { code: status.code().unwrap(), out: String::new(), err }
    }

    pub(crate) fn exec(&self, options: &[&str], script: &str) -> Done {
        self.call(&[&["exec"], options, &[&self.tag, "/bin/sh", "-c", script]].concat())
    }

    pub(crate) fn pid(&self) -> i32 {
        let state: Value = serde_json::from_str(&self.call(&["state", &self.tag]).ok()).unwrap();
        i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
    }

    pub(crate) fn delete(&self) {
        self.call(&["delete", "--force", &self.tag]);
    }

    /// The end of a part of a test: the host is as it was.
    #[track_caller]
    pub(crate) fn unchanged(&self) {
        let deadline = Instant::now() + Duration::from_secs(8);
        loop {
            let now = snapshot(&self.tag, &self.canary);
            if now == self.before {
                return;
            }
            if Instant::now() > deadline {
                let new: Vec<_> = now.difference(&self.before).collect();
                let gone: Vec<_> = self.before.difference(&now).collect();
                panic!("the host has changed: new {new:#?}, gone {gone:#?}");
            }
            // What ended a moment ago may still be on its way out, and other tests come and go.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of every test: the host is as it was, and the root has no container any more.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.finished = true;
        self.delete();
        self.unchanged();
        let left: Vec<_> =
            fs::read_dir(self.root()).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        let left: Vec<_> = left.iter().filter(|name| *name != ".filters").collect();
        assert!(left.is_empty(), "left in the root: {left:?}");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.delete();
        // A rename that was under way may have left anything: what can not be removed is told by the next look at the host.
        fs::remove_dir_all(&self.directory).ok();
        fs::remove_dir_all(&self.canary).ok();
        assert!(self.finished || std::thread::panicking(), "a test ends with finish()");
    }
}

fn make_canary(canary: &Path) {
    fs::create_dir(canary).unwrap();
    fs::write(canary.join("secret"), "a secret of the host\n").unwrap();
    fs::set_permissions(canary.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(canary.join("empty"), "").unwrap();
    fs::create_dir_all(canary.join("directory/below")).unwrap();
    fs::set_permissions(canary.join("directory"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("/etc/passwd", canary.join("link")).unwrap();
    // What it takes to be taken for a root file system, or for a part of one.
    let host = canary.join("host");
    for name in "pts shm mqueue sys bus fs irq bin proc dev mnt/v/copy a/b n dir ro copy".split(' ') {
        fs::create_dir_all(host.join(name)).unwrap();
    }
    for name in "null zero full tty random urandom kcore keys f secret copy/file mnt/v/copy/file".split(' ') {
        fs::write(host.join(name), OF_THE_HOST).unwrap();
    }
    let made = Command::new("mkfifo").arg(canary.join("fifo")).status().unwrap();
    assert!(made.success());
}

/// Runs it to its end; one that hangs is killed and told.
#[track_caller]
pub(crate) fn finish_within(mut command: Command, patience: Duration) -> Done {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let readers = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let status = wait_within(&mut child, patience);
    let Some(status) = status else {
        child.kill().ok();
        child.wait().ok();
        panic!("it hangs: {command:?}");
    };
    Output { status, stdout: readers.0.join().unwrap(), stderr: readers.1.join().unwrap() }.into()
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        bytes
    })
}

fn wait_within(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The same with ours and, where it is installed, with runc, which shows that the expectation is sound.
pub(crate) fn for_each_runtime(test: &str, check: impl Fn(Bundle)) {
    check(Bundle::with(test, OURS));
    if Path::new(OTHER).exists() {
        check(Bundle::with(&format!("{test}-runc"), OTHER));
    } else {
        println!("not compared with {OTHER}: it is not installed");
    }
}
