// SPDX-License-Identifier: Apache-2.0
//! Hooks of the host: each gets the container's state on its standard input, and has to end well within its time.

use std::io::Write;
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
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| fail(error.to_string()))?;
    let pidfd = kernel::process::open(i32::try_from(child.id()).unwrap_or(-1))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read its state may have closed the pipe.
        stdin.write_all(state.as_bytes()).ok();
    }
    let patience = hook.timeout.map(|seconds| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let ready = kernel::event::wait(&[(std::os::fd::AsFd::as_fd(&pidfd), kernel::event::Interest::Read)], patience)?;
    if !ready.first().copied().unwrap_or(false) && patience.is_some() {
        child.kill().ok();
        child.wait().ok();
        return Err(fail(format!("it had not ended after {} s", hook.timeout.unwrap_or(0))));
    }
    let output = child.wait_with_output().map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).chars().take(1000).collect();
    Err(fail(format!("{}: {}", output.status, said.trim())))
}
