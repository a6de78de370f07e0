// SPDX-License-Identifier: Apache-2.0
//! Hooks of the host: each gets the container's state on its standard input, and has to end well within its time.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use spec::oci;

use crate::failure::{Failure, Result};

/// Runs these hooks in order; the first that fails ends it.
pub(crate) fn run(what: &str, hooks: &[oci::Hook], state: &str) -> Result<()> {
    hooks.iter().try_for_each(|hook| one(what, hook, state))
}

/// Runs all of them, and tells what failed: for moments when nothing can be undone any more.
pub(crate) fn run_all(what: &str, hooks: &[oci::Hook], state: &str) -> Vec<Failure> {
    hooks.iter().filter_map(|hook| one(what, hook, state).err()).collect()
}

fn one(what: &str, hook: &oci::Hook, state: &str) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let fail = |reason: String| Failure::new(format!("{what} hook {:?}: {reason}", hook.path));
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for variable in &hook.env {
        let (name, value) = variable.split_once('=').ok_or_else(|| fail(format!("{variable:?} is no variable")))?;
        command.env(name, value);
    }
    // Files, not pipes: neither a hook that does not read nor one that says much, nor what it leaves behind, holds us up.
    let mut told = File::from(kernel::spawn::memory_file("state", state.as_bytes())?);
    told.rewind()?;
    let mut said = File::from(kernel::spawn::memory_file("said", b"")?);
    command.stdin(told).stdout(Stdio::null()).stderr(said.try_clone()?);
    // In the foreground signals are blocked by now, which a new program would take over.
    let mask = kernel::signal::unblock_all()?;
    let child = command.spawn().map_err(|error| fail(error.to_string()));
    kernel::signal::restore(&mask)?;
    let mut child = child?;
    let pidfd = kernel::process::open(i32::try_from(child.id()).unwrap_or(-1))?;
    let patience = hook.timeout.map(|seconds| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let ready = kernel::event::wait(&[(std::os::fd::AsFd::as_fd(&pidfd), kernel::event::Interest::Read)], patience)?;
    if !ready.first().copied().unwrap_or(false) && patience.is_some() {
        child.kill().ok();
        child.wait().ok();
        return Err(fail(format!("it had not ended after {} s", hook.timeout.unwrap_or(0))));
    }
    let status = child.wait().map_err(|error| fail(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    said.rewind()?;
    said.take(1000).read_to_end(&mut bytes)?;
    Err(fail(format!("{status}: {}", String::from_utf8_lossy(&bytes).trim())))
}
