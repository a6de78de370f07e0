// SPDX-License-Identifier: Apache-2.0
//! The process that starts contestants and holds the clock, one per view of the cgroups, each in its own mount namespace.
//!
//! Every contestant is started by the same code in the same kind of process, whichever view it needs. /run and /dev/shm are
//! private in there, so that nothing a contestant leaves there outlives the bench or meets the machine's own containers.
//!
//! ```text
//! bench                                agent
//!   {"argv":[…],"env":{…}}   ───────►   spawn, wait
//!                            ◄───────   {"nanos":…,"code":0,"stderr":""}
//! ```

use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

/// Which cgroups a contestant sees on /sys/fs/cgroup.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum View {
    /// The machine's own layout.
    Machine,
    /// cgroup2 alone: for programs that refuse a hybrid layout.
    Unified,
}

/// One start to be measured.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Run {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// How it went.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) nanos: u64,
    pub(crate) code: i32,
    /// What it said, when it failed.
    pub(crate) stderr: String,
    /// What it printed.
    #[serde(default)]
    pub(crate) stdout: String,
}

/// The bench's end of an agent.
pub(crate) struct Agent {
    child: Child,
    /// None when the agent has been told to end.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Agent {
    /// `ids` is a file that lends the contestants' ids to root: newuidmap, which lxc calls, asks /etc/subuid.
    pub(crate) fn start(view: View, ids: &Path) -> Result<Self> {
        let me = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
        let unified = match view {
            View::Machine => "",
            View::Unified => "mount -t cgroup2 none /sys/fs/cgroup && ",
        };
        let script = format!(
            "{unified}mount -t tmpfs -o mode=755 none /run && mount -t tmpfs -o mode=1777 none /dev/shm && \
             for f in /etc/subuid /etc/subgid; do [ ! -e $f ] || mount --bind \"$1\" $f; done && exec \"$0\" bench agent"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &script]).arg(me).arg(ids);
        let fail = |error| format!("unshare: {error}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(fail)?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("unshare: no pipes".to_owned());
        };
        Ok(Self { child, requests: Some(requests), replies: BufReader::new(replies) })
    }

    pub(crate) fn run(&mut self, run: &Run) -> Result<Ran> {
        let mut line = serde_json::to_string(run).map_err(|error| format!("agent: {error}"))?;
        line.push('\n');
        let requests = self.requests.as_mut().ok_or("agent: has ended")?;
        requests.write_all(line.as_bytes()).map_err(|error| format!("agent: {error}"))?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply).map_err(|error| format!("agent: {error}"))?;
        serde_json::from_str(&reply).map_err(|error| format!("agent: {error} (root is needed)"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The end of its input is the end of the agent.
        self.requests = None;
        if let Err(error) = self.child.wait() {
            eprintln!("bench: agent: {error}");
        }
    }
}

/// The agent itself: one line in, one start, one line out.
pub(crate) fn serve() -> Result<ExitCode> {
    let fail = |error| format!("agent: {error}");
    let mut said =
        File::options().read(true).write(true).create(true).truncate(true).open("/run/said").map_err(fail)?;
    for line in std::io::stdin().lines() {
        let run: Run = serde_json::from_str(&line.map_err(fail)?).map_err(|error| format!("agent: {error}"))?;
        let ran = start(&run, &mut said).unwrap_or_else(|error| Ran {
            nanos: 0,
            code: -1,
            stderr: error.to_string(),
            stdout: String::new(),
        });
        println!("{}", serde_json::to_string(&ran).map_err(|error| format!("agent: {error}"))?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts and waits. What the contestant says goes to a file: nobody reads a pipe while the clock runs.
fn start(run: &Run, said: &mut File) -> std::io::Result<Ran> {
    said.set_len(0)?;
    said.rewind()?;
    let (program, words) = run.argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    let mut printed = File::options().read(true).write(true).create(true).truncate(true).open("/run/printed")?;
    command.args(words).envs(&run.env).stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(said.try_clone()?);
    let began = Instant::now();
    let status = command.spawn()?.wait()?;
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut stderr = String::new();
    if !status.success() {
        said.rewind()?;
        said.read_to_string(&mut stderr)?;
    }
    let mut stdout = String::new();
    printed.rewind()?;
    printed.read_to_string(&mut stdout)?;
    Ok(Ran { nanos, code: status.code().unwrap_or(-1), stderr, stdout })
}
