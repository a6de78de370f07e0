// SPDX-License-Identifier: Apache-2.0
//! `cella-oci kill`: sends a signal to the first process, or to all.

use lexopt::{Parser, ValueExt};
use spec::signal::Signal;

use crate::arguments::{Global, Word, next, switch, unknown};
use crate::failure::{Failure, Result};
use crate::state::{Home, State, Status};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut plain, mut all) = (Vec::new(), false);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => plain.push(word.string()?),
            Word::Option(name) if name == "all" || name == "a" => all = switch(&name, words)?,
            Word::Option(name) => return unknown(&name),
        }
    }
    let (id, signal) = match plain.as_slice() {
        [id] => (id, Signal::TERM),
        [id, signal] => (id, signal.parse::<Signal>().map_err(|error| Failure::new(error.to_string()))?),
        [] => return Err(Failure::new("the id of the container is missing")),
        [_, _, word, ..] => return Err(Failure::new(format!("one word too many: {word:?}"))),
    };
    let home = Home::of(global, id)?;
    let state = home.existing()?;
    // Without a process namespace the first process's end is not that of the others.
    if all || signal == Signal::KILL && !state.own_pids && state.group.is_some() {
        return kill_all(&state, signal);
    }
    if home.status(&state) == Status::Stopped {
        return Err(Failure::new("container not running"));
    }
    kernel::process::signal(state.process()?, signal.0)?;
    // One that is frozen dies when it is let go.
    if signal == Signal::KILL
        && let Some(group) = state.group()?.filter(|group| group.is_frozen())
    {
        group.set_frozen(false)?;
    }
    Ok(0)
}

fn kill_all(state: &State, signal: Signal) -> Result<u8> {
    let Some(group) = state.group()? else {
        return Err(Failure::new("--all needs a control group, and there is none"));
    };
    if signal == Signal::KILL {
        if group.exists() {
            group.kill()?;
        }
        return Ok(0);
    }
    for pid in group.processes()? {
        match kernel::process::kill(pid, signal.0) {
            Err(error) if error.is(kernel::Errno::SRCH) => {}
            other => other?,
        }
    }
    Ok(0)
}
