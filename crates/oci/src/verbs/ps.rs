// SPDX-License-Identifier: Apache-2.0
//! `cella-oci ps`: the processes of a container, by their numbers on the host.

use lexopt::Parser;

use super::list::table;
use super::state::owner;
use crate::arguments::{Global, Word, next, place, required, text, unknown};
use crate::failure::{Failure, Result};
use crate::state::Home;

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut json) = (None, false);
    loop {
        match next(global, words)? {
            Word::End => break,
            // What follows the id are words for ps(1), whose columns are fixed here.
            Word::Plain(word) if id.is_some() => {
                return Err(Failure::new(format!("one word too many: {word:?} (the columns are fixed)")));
            }
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if name == "format" || name == "f" => {
                json = match text(words)?.as_str() {
                    "json" => true,
                    "table" => false,
                    other => return Err(Failure::new(format!("--format: {other:?} is neither table nor json"))),
                }
            }
            Word::Option(name) => return unknown(&name),
        }
    }
    let state = Home::of(global, &required(id)?)?.existing()?;
    let pids = match state.group()? {
        Some(group) => group.processes()?,
        None => return Err(Failure::new("ps needs a control group, and there is none")),
    };
    if json {
        println!("{}", serde_json::json!(pids));
        return Ok(0);
    }
    let row = |pid: &i32| {
        let one = kernel::procfs::process(*pid).ok()?;
        Some([owner(one.uid), one.pid.to_string(), one.parent.to_string(), one.command])
    };
    let rows: Vec<[String; 4]> = pids.iter().filter_map(row).collect();
    table(["UID", "PID", "PPID", "CMD"], &rows);
    Ok(0)
}
