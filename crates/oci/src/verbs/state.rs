// SPDX-License-Identifier: Apache-2.0
//! `cella-oci state`: what a container is doing, as the specification has it.

use lexopt::Parser;

use super::print_json;
use crate::arguments::{Global, id_only};
use crate::failure::Result;
use crate::state::{Home, State, Status};

/// The state with what runc adds to it.
pub(super) fn told(home: &Home, state: &State) -> serde_json::Value {
    let status = home.status(state);
    let mut told = state.told(status.name(), 0);
    if let Some(map) = told.as_object_mut() {
        map.insert("pid".to_owned(), if status == Status::Stopped { 0 } else { state.pid }.into());
        map.insert("rootfs".to_owned(), state.rootfs.display().to_string().into());
        map.insert("created".to_owned(), state.created.clone().into());
        map.insert("owner".to_owned(), owner(state.owner).into());
    }
    told
}

/// The name of a user, as /etc/passwd of the host has it.
pub(super) fn owner(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.get(2).is_some_and(|field| *field == uid.to_string()));
    found.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| format!("#{uid}"))
}

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let id = id_only(global, words)?;
    let home = Home::of(global, &id)?;
    let state = home.existing()?;
    print_json(&told(&home, &state))
}
