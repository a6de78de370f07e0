// SPDX-License-Identifier: Apache-2.0
//! `cella-oci start`: lets the program of a created container run.

use lexopt::Parser;

use crate::arguments::{Global, id_only};
use crate::container;
use crate::failure::{Failure, Result};
use crate::hooks;
use crate::state::{Home, RESULT, START, State, Status};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let id = id_only(global, words)?;
    let home = Home::of(global, &id)?;
    let _lock = home.lock()?;
    let state = home.existing()?;
    match home.status(&state) {
        Status::Created => {}
        Status::Stopped => return Err(Failure::new("cannot start a container that has stopped")),
        status => return Err(Failure::new(format!("cannot start an already {} container", status.name()))),
    }
    go(&home)?;
    let config = home.config()?;
    poststart(global, &home, &state, &config.hooks.poststart)?;
    Ok(0)
}

/// Wakes the process, and hears whether its program runs.
fn go(home: &Home) -> Result<()> {
    let directory = home.directory()?;
    let result = kernel::file::open_fifo(&directory, RESULT, false)?;
    let fail = |_| Failure::new("cannot start a container that has stopped");
    let start = kernel::file::open_fifo(&directory, START, true).map_err(fail)?;
    // First it counts as started: nobody can start it twice, and no start that is cut short leaves it "created".
    kernel::file::remove(&home.path.join(START))?;
    kernel::event::write_all(&start, b"s")?;
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    loop {
        kernel::event::wait(&[(std::os::fd::AsFd::as_fd(&result), kernel::event::Interest::Read)], None)?;
        match kernel::event::read(&result, &mut buffer)? {
            kernel::event::Read::Bytes(length) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            kernel::event::Read::Nothing => {}
            kernel::event::Read::End => break,
        }
    }
    kernel::file::remove(&home.path.join(RESULT))?;
    if said.is_empty() {
        return Ok(());
    }
    let config = home.config()?;
    Err(container::of_program(&config.process, runtime::failure_of(&said)))
}

/// Hooks after the start; one that fails ends the container, as the specification wants it.
pub(super) fn poststart(global: &Global, home: &Home, state: &State, list: &[spec::oci::Hook]) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let done = hooks::run("poststart", list, &state.told("running", state.pid).to_string());
    if done.is_err() {
        container::delete(global, home, state)?;
    }
    done
}
