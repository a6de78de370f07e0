// SPDX-License-Identifier: Apache-2.0
//! `cella-oci mounts add|remove`: changes the mounts of a container that runs.

use std::path::{Path, PathBuf};

use lexopt::{Parser, ValueExt};
use spec::oci;

use crate::arguments::{Global, Word, next, unknown};
use crate::bundle;
use crate::failure::{Failure, Result};
use crate::state::Home;

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let mut plain = Vec::new();
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => plain.push(word.string()?),
            Word::Option(name) => return unknown(&name),
        }
    }
    let [act, id, file] = plain.as_slice() else {
        return Err(Failure::new("usage: cella-oci mounts add|remove ID FILE"));
    };
    let add = match act.as_str() {
        "add" => true,
        "remove" => false,
        other => return Err(Failure::new(format!("mounts {other:?}: it is neither add nor remove"))),
    };
    let home = Home::of(global, id)?;
    let _lock = home.lock()?;
    let state = home.existing()?;
    let file = PathBuf::from(file);
    let mounts: Vec<oci::Mount> = bundle::parse(&file, &bundle::read_limited(&file)?)?;
    let process = state.process()?;
    if add {
        let config = home.config()?;
        let plan = plan::mounts(&mounts, &config, &state.bundle)?;
        runtime::add_mounts(&plan, &process, state.pid)?;
    } else {
        let targets: Vec<&Path> = mounts.iter().map(|mount| Path::new(&mount.destination)).collect();
        if let Some(wrong) = targets.iter().find(|target| !target.is_absolute() || **target == Path::new("/")) {
            return Err(Failure::new(format!("mount {wrong:?}: it can not be removed")));
        }
        runtime::remove_mounts(&targets, &process, state.pid)?;
    }
    Ok(0)
}
