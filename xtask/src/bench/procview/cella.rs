// SPDX-License-Identifier: Apache-2.0
//! Containers of cella whose /proc is their own, and readers in them.

use super::reader::Reading;
use super::stage::{MEMORY, PROCESSORS};
use crate::Result;
use crate::bench::contestants;
use crate::bench::network::place::said;
use crate::bench::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

/// The name of the process that answers the reads: a child of the container's keeper.
pub(super) const WORKER: &str = "cella-view";

/// The program, its state, and a root filesystem with the reader.
pub(super) struct Cella {
    program: PathBuf,
    state: PathBuf,
    image: String,
}

impl Cella {
    pub(super) fn new(scratch: &mut Scratch, reader: &Path) -> Result<Self> {
        let program = contestants::cella_program()?;
        let state = scratch.directory("cella", 0)?;
        let root = scratch.rootfs("root-procview", 0)?;
        for (from, to) in [(scratch.path.join("wait"), "wait"), (reader.to_owned(), "reader")] {
            std::fs::copy(from, root.join(to)).map_err(|error| format!("{to}: {error}"))?;
        }
        Ok(Self { program, state, image: format!("dir:{}", root.display()) })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CELLA_ROOT", &self.state).args(words).stdin(Stdio::null());
        command
    }

    fn said(&self, words: &[&str]) -> Result<String> {
        said(&mut self.command(words), &format!("cella {}", words.join(" ")))
    }

    pub(super) fn container(self: &Rc<Self>, name: &str) -> Result<Container> {
        let (memory, processors) = (MEMORY.to_string(), PROCESSORS.to_string());
        let mut words = vec!["run", "-d", "--name", name, "--network", "none", "--proc-view", "on"];
        words.extend(["--memory", &memory, "--cpus", &processors, &self.image, "/wait"]);
        self.said(&words)?;
        let mut container =
            Container { cella: Rc::clone(self), name: name.to_owned(), keeper: 0, init: 0, reader: None };
        let json = self.said(&["inspect", name])?;
        let json: serde_json::Value = serde_json::from_str(&json).map_err(|error| format!("inspect: {error}"))?;
        let process = |what: &str| {
            let pid = json.pointer(&format!("/0/{what}")).and_then(serde_json::Value::as_u64);
            pid.and_then(|pid| u32::try_from(pid).ok()).ok_or_else(|| format!("inspect names no {what}"))
        };
        (container.keeper, container.init) = (process("keeper")?, process("pid")?);
        Ok(container)
    }
}

pub(super) struct Container {
    cella: Rc<Cella>,
    name: String,
    pub(super) keeper: u32,
    init: u32,
    reader: Option<Child>,
}

impl Container {
    /// A worker that nobody asks has ended.
    pub(super) fn wake(&self) {
        std::fs::read(format!("/proc/{}/root/proc/meminfo", self.init)).ok();
    }

    pub(super) fn start(&mut self, words: &[String]) -> Result<()> {
        let mut command = self.cella.command(&["exec", &self.name, "/reader"]);
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.reader = Some(command.spawn().map_err(|error| format!("cella exec: {error}"))?);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Reading> {
        let reader = self.reader.take().ok_or("cella exec: no reader was started")?;
        let output = reader.wait_with_output().map_err(|error| format!("cella exec: {error}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let first = errors.lines().next().unwrap_or("says nothing");
            return Err(format!("cella exec: {}: {first}", output.status));
        }
        Reading::parse(String::from_utf8_lossy(&output.stdout).trim())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(reason) = self.cella.said(&["rm", "-f", &self.name]) {
            eprintln!("bench: left over: {reason}");
        }
        if let Some(mut reader) = self.reader.take() {
            drop(reader.kill());
            drop(reader.wait());
        }
    }
}
