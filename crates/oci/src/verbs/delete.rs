// SPDX-License-Identifier: Apache-2.0
//! `cella-oci delete`: removes what is left of a container.

use lexopt::Parser;

use crate::arguments::{Global, Word, next, place, required, switch, unknown};
use crate::container;
use crate::failure::{Failure, Result};
use crate::state::{Home, Status};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut force) = (None, false);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if name == "force" || name == "f" => force = switch(&name, words)?,
            Word::Option(name) => return unknown(&name),
        }
    }
    let home = Home::of(global, &required(id)?)?;
    if force && !home.path.exists() {
        return Ok(0);
    }
    let _lock = match home.lock() {
        // Somebody else was faster.
        Err(_) if force && !home.path.exists() => return Ok(0),
        other => other?,
    };
    let Some(state) = home.read()? else {
        // Its creation was cut short before it had made anything else.
        home.remove()?;
        return Ok(0);
    };
    match home.status(&state) {
        Status::Stopped | Status::Creating | Status::Created => {}
        Status::Running | Status::Paused if force => {}
        status => {
            let message = format!("cannot delete container {} that is not stopped: {}", home.id, status.name());
            return Err(Failure::new(message));
        }
    }
    container::delete(global, &home, &state)?;
    Ok(0)
}
