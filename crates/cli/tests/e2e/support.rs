// SPDX-License-Identifier: Apache-2.0
//! A store of its own for each test, and the oracle that looks for what the test has left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long it may take until something is so, on the slowest machine (an emulated one).
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("CELLA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_cella").into(), PathBuf::from)
}

/// Says that a test can not run here, and why; the caller returns.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        // In one call: others write, too.
        file.unwrap().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).unwrap();
    }
}

/// Is this root? A test that needs it is skipped otherwise.
pub(crate) fn is_root(test: &str) -> bool {
    let root = fs::metadata("/proc/self").map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap() == 0;
    if !root {
        skip(test, "it needs root");
    }
    root
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
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        let code = output.status.code().or(signal.map(|signal| 128 + signal)).unwrap();
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

    /// Its error message, when it failed with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        // On a slow machine it tells what it is about.
        let lines: Vec<&str> = self.err.lines().skip_while(|line| line.starts_with("unpack ")).collect();
        assert!(lines.first().is_some_and(|line| line.starts_with("cella: ")), "{}", self.err);
        assert!(lines.len() <= 2 && lines.iter().skip(1).all(|line| line.starts_with("  hint: ")), "{}", self.err);
        self.err
    }
}

/// A store, and all that belongs to it.
pub(crate) struct Store {
    pub(crate) root: PathBuf,
    /// The network namespace that is the host's in this test: `/run/netns/NAME`.
    namespace: Option<String>,
    finished: bool,
}

impl Store {
    /// A new one for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("cella-e2e-{}-{test}", std::process::id());
        let root = Path::new("/var/tmp").join(name.replace("::", "-"));
        fs::remove_dir_all(&root).ok();
        fs::create_dir(&root).unwrap();
        Self { root, namespace: None, finished: false }
    }

    /// A new one whose host has this network namespace.
    pub(crate) fn in_namespace(test: &str, namespace: &str) -> Self {
        let mut store = Self::new(test);
        store.namespace = Some(namespace.to_owned());
        store
    }

    /// A program of the host.
    pub(crate) fn on_host(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => in_namespace(namespace, program),
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.on_host(program());
        command.env("CELLA_ROOT", &self.root).args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn cella(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// With the claims of subnets that this machine has out of sight: on another host there are others.
    pub(crate) fn claiming_alone(&self, arguments: &[&str]) -> Done {
        let hide = "mkdir -p /var/lib/cella/subnets && mount -t tmpfs none /var/lib/cella/subnets && exec \"$@\"";
        let mut command = self.on_host("unshare");
        command.args(["-m", "sh", "-c", hide, "sh"]).arg(program()).env("CELLA_ROOT", &self.root).args(arguments);
        command.output().unwrap().into()
    }

    /// A shell script in a throw-away container of the host's userland.
    pub(crate) fn sh(&self, flags: &[&str], script: &str) -> Done {
        let arguments = [&["run", "--rm"], flags, &["host", "sh", "-c", script]].concat();
        self.cella(&arguments)
    }

    /// With this on its standard input.
    pub(crate) fn cella_with_input(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = self.piped(arguments);
        let (mut sink, input) = (child.stdin.take().unwrap(), input.to_owned());
        // Beside the reading: a program that answers while it is written to must not wait for us.
        let writer = std::thread::spawn(move || sink.write_all(input.as_bytes()).ok());
        let done = child.wait_with_output().unwrap().into();
        writer.join().unwrap();
        done
    }

    pub(crate) fn piped(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The field of a container's inspection, as jq would show it.
    pub(crate) fn inspect(&self, container: &str, field: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.cella(&["inspect", container]).ok()).unwrap();
        let value = json.pointer(&format!("/0/{}", field.replace('.', "/"))).cloned().unwrap_or_default();
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// The ids of all containers that were ever made in this store.
    fn ids(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.root.join("run/events.jsonl")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|event| Some(event.get("id")?.as_str()?.to_owned())).collect()
    }

    /// Everything that this store has left on the host besides its images.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for directory in ["containers", "volumes"] {
            left.extend(names(&self.root.join(directory)).into_iter().map(|name| format!("{directory}/{name}")));
        }
        left.extend(
            names(&self.root.join("run"))
                .into_iter()
                .filter(|name| name != "events.jsonl")
                .map(|name| format!("run/{name}")),
        );
        let root = self.root.to_string_lossy().into_owned();
        for slot in names(Path::new("/var/lib/cella/ids")) {
            let owner = fs::read_link(Path::new("/var/lib/cella/ids").join(&slot)).unwrap_or_default();
            if owner.to_string_lossy().starts_with(&format!("{root}#")) {
                left.push(format!("ids {slot} of {}", owner.display()));
            }
        }
        let ids = self.ids();
        left.extend(control_groups().into_iter().filter(|path| ids.iter().any(|id| path.contains(id.as_str()))));
        left.extend(self.of_networks(&ids));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&root)).map(str::to_owned));
        left.extend(
            processes()
                .into_iter()
                .filter(|(_, holds)| holds.iter().any(|path| path.contains(&root)))
                .map(|(pid, holds)| format!("process {pid} holds {holds:?}")),
        );
        left
    }

    /// Devices, tables of the packet filter, and leases.
    fn of_networks(&self, ids: &BTreeSet<String>) -> Vec<String> {
        let mut left = Vec::new();
        let mut bridges = BTreeSet::new();
        for file in names(&self.root.join("networks")) {
            let text = fs::read_to_string(self.root.join("networks").join(&file)).unwrap_or_default();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            bridges.extend(json["device"].as_str().map(str::to_owned));
            if json["leases"].as_object().is_some_and(|leases| !leases.is_empty()) {
                left.push(format!("leases in {file}: {text}"));
            }
        }
        let ours =
            |name: &String| bridges.contains(name) || ids.iter().any(|id| name.starts_with(&format!("v{}.", &id[..8])));
        left.extend(self.devices().into_iter().filter(ours).map(|name| format!("device {name}")));
        let hash = self.root.as_os_str().as_encoded_bytes().iter();
        let hash = hash.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        let tables = self.on_host("nft").args(["list", "tables"]).output();
        let tables = tables.map(|output| output.stdout).unwrap_or_default();
        let tables = String::from_utf8_lossy(&tables).into_owned();
        let of_store = format!("cella-{hash:08x}");
        left.extend(tables.lines().filter(|line| line.ends_with(&of_store)).map(str::to_owned));
        left
    }

    /// The host's network devices.
    fn devices(&self) -> Vec<String> {
        let Some(namespace) = &self.namespace else { return names(Path::new("/sys/class/net")) };
        let list = Command::new("ip").args(["-n", namespace, "-j", "link"]).output().unwrap().stdout;
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap_or_default();
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|one| one["ifname"].as_str().map(str::to_owned)).collect()
    }

    /// The end of every test: nothing is left.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.finished = true;
        // A process that has been reaped or a file that has been closed may take a moment to be gone; a network namespace
        // waits for all that others are taking down at the same time.
        let deadline = Instant::now() + PATIENCE;
        let mut left = self.leftovers();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = self.leftovers();
        }
        assert!(left.is_empty(), "left over: {left:#?}");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for name in names(&self.root.join("containers")) {
            self.cella(&["rm", "-f", &name]);
        }
        self.cella(&["doctor", "--repair"]);
        fs::remove_dir_all(&self.root).ok();
        assert!(self.finished || std::thread::panicking(), "a test ends with finish()");
    }
}

/// A program in a network namespace that `ip netns` knows; all else is as it is.
pub(crate) fn in_namespace(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program).stdin(Stdio::null());
    command
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// All control groups of ours, in every hierarchy.
pub(crate) fn control_groups() -> Vec<String> {
    let roots = names(Path::new("/sys/fs/cgroup")).into_iter().map(|name| Path::new("/sys/fs/cgroup").join(name));
    let groups = roots.chain([PathBuf::from("/sys/fs/cgroup")]).flat_map(|root| {
        names(&root)
            .into_iter()
            .filter(|name| name.starts_with("cella-"))
            .map(move |name| root.join(name).display().to_string())
    });
    groups.collect()
}

/// Every process with what it has open, and where it stands.
fn processes() -> Vec<(u32, Vec<String>)> {
    let mut list = Vec::new();
    for pid in names(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<u32>().ok()) {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let links = names(&directory.join("fd")).into_iter().map(|fd| directory.join("fd").join(fd));
        let links = links.chain(["cwd", "root"].map(|name| directory.join(name)));
        let holds = links.filter_map(|link| Some(fs::read_link(link).ok()?.to_string_lossy().into_owned())).collect();
        list.push((pid, holds));
    }
    list
}

/// Runs the program on a terminal of its own (script(1) of util-linux); types each text when what comes before it has
/// been shown.
pub(crate) fn on_terminal(store: &Store, arguments: &str, typed: &[(&str, &str)]) -> String {
    let command =
        format!("stty rows 33 cols 77; CELLA_ROOT={} {} {arguments}", store.root.display(), program().display());
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let (mut output, into) = (child.stdout.take().unwrap(), Arc::clone(&shown));
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    let mut input = child.stdin.take().unwrap();
    for (before, keys) in typed {
        until(before, || text().contains(before));
        input.write_all(keys.as_bytes()).unwrap();
    }
    until("the end", || child.try_wait().unwrap().is_some());
    reader.join().unwrap();
    text()
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
