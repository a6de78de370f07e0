// SPDX-License-Identifier: Apache-2.0
//! `cella-oci pause`: stops every process of a container where it is.

use lexopt::Parser;

use crate::arguments::{Global, id_only};
use crate::failure::{Failure, Result};
use crate::state::{Home, Status};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let id = id_only(global, words)?;
    let home = Home::of(global, &id)?;
    let _lock = home.lock()?;
    let state = home.existing()?;
    match home.status(&state) {
        Status::Running | Status::Created => {}
        status => return Err(Failure::new(format!("container not running: it is {}", status.name()))),
    }
    let group = state.group()?.ok_or_else(|| Failure::new("pause needs a control group, and there is none"))?;
    group.set_frozen(true)?;
    Ok(0)
}
