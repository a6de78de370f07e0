// SPDX-License-Identifier: Apache-2.0
//! The host of the measurement: a network namespace with one device, `out0`, and another one at the other end of its link.

use crate::Result;
use crate::bench::contestants;
use crate::bench::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What is at the other end of the link.
pub(super) const FAR: &str = "192.0.2.2";

/// A network namespace that lives as long as its process.
pub(super) struct Namespace(Child);

impl Namespace {
    pub(super) fn new() -> Result<Self> {
        let fail = |error| format!("unshare: {error}");
        let child = Command::new("unshare").args(["--net", "sleep", "100000"]).stdout(Stdio::null()).spawn();
        let child = child.map_err(fail)?;
        let own = std::fs::read_link("/proc/self/ns/net").map_err(fail)?;
        let there = format!("/proc/{}/ns/net", child.id());
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(&there).is_ok_and(|one| one == own) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let namespace = Self(child);
        namespace.sh("ip link set lo up")?;
        Ok(namespace)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn sh(&self, script: &str) -> Result<String> {
        said(within(self.pid()).args(["sh", "-ec", script]), script)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A command in the network namespace of a process.
pub(super) fn within(pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).stdin(Stdio::null());
    command
}

/// What a command that went well has said.
pub(in crate::bench) fn said(command: &mut Command, what: &str) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| format!("{what}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
    }
    let first = String::from_utf8_lossy(&stderr).lines().next().unwrap_or("says nothing").to_owned();
    Err(format!("{what}: {status}: {first}"))
}

/// All that a measurement needs.
pub(in crate::bench) struct Place {
    pub(super) host: Namespace,
    pub(super) far: Namespace,
    scratch: Scratch,
    program: PathBuf,
    /// A root filesystem with /true and /wait.
    pub(super) root: PathBuf,
    state: PathBuf,
}

impl Place {
    pub(in crate::bench) fn new() -> Result<Self> {
        let mut scratch = Scratch::new()?;
        let root = scratch.rootfs("root-network", 0)?;
        scratch.payload("true")?;
        std::fs::copy(scratch.path.join("wait"), root.join("wait")).map_err(|error| format!("wait: {error}"))?;
        let state = scratch.directory("cella", 0)?;
        let (host, far) = (Namespace::new()?, Namespace::new()?);
        host.sh(&format!("ip link add out0 type veth peer name peer netns {}", far.pid()))?;
        host.sh("ip addr add 192.0.2.1/24 dev out0; ip link set out0 up; ip route add default via 192.0.2.2")?;
        far.sh(&format!("ip addr add {FAR}/24 dev peer; ip link set peer up"))?;
        Ok(Self { host, far, program: contestants::cella_program()?, root, state, scratch })
    }

    pub(in crate::bench) fn scratch(&self) -> &Path {
        &self.scratch.path
    }

    pub(super) fn image(&self) -> String {
        format!("dir:{}", self.root.display())
    }

    /// `cella` on that host.
    pub(in crate::bench) fn command(&self, words: &[&str]) -> Command {
        let mut command = within(self.host.pid());
        command.env("CELLA_ROOT", &self.state).arg(&self.program).args(words);
        command
    }

    pub(in crate::bench) fn cella(&self, words: &[&str]) -> Result<String> {
        said(&mut self.command(words), &format!("cella {}", words.join(" ")))
    }

    /// A container that waits, and the process in its namespaces.
    pub(super) fn waiting(&self, name: &str, flags: &[&str]) -> Result<u32> {
        let image = self.image();
        self.cella(&[&["run", "-d", "--name", name], flags, &[&image, "/wait"]].concat())?;
        let json: serde_json::Value =
            serde_json::from_str(&self.cella(&["inspect", name])?).map_err(|error| format!("inspect: {error}"))?;
        let pid = json.pointer("/0/pid").and_then(serde_json::Value::as_u64);
        pid.and_then(|pid| u32::try_from(pid).ok()).ok_or_else(|| format!("{name} does not run"))
    }

    /// The IPv4 address of the first device in a namespace.
    pub(super) fn address(pid: u32) -> Result<String> {
        let script = "ip -4 -o addr show scope global | awk '{ split($4, a, \"/\"); print a[1]; exit }'";
        said(within(pid).args(["sh", "-ec", script]), "ip addr")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let names = self.cella(&["ls", "-aq"]).unwrap_or_default();
        let names: Vec<&str> = names.lines().collect();
        if !names.is_empty() {
            drop(self.cella(&[&["rm", "-f"], names.as_slice()].concat()));
        }
        for network in self.cella(&["network", "ls", "-q"]).unwrap_or_default().lines() {
            drop(self.cella(&["network", "rm", network]));
        }
        // Podman leaves its store mounted on itself.
        let mounted = self.scratch.path.join("podman/root/overlay");
        drop(Command::new("umount").arg(mounted).stderr(Stdio::null()).status());
    }
}
