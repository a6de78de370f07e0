// SPDX-License-Identifier: Apache-2.0
//! `cella-oci list`: all containers.

use lexopt::Parser;

use super::state;
use crate::arguments::{Global, Word, next, switch, text, unknown};
use crate::failure::{Failure, Result};
use crate::state::{Home, root};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut json, mut quiet) = (false, false);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Option(name) if name == "format" || name == "f" => {
                json = match text(words)?.as_str() {
                    "json" => true,
                    "table" => false,
                    other => return Err(Failure::new(format!("--format: {other:?} is neither table nor json"))),
                }
            }
            Word::Option(name) if name == "quiet" || name == "q" => quiet = switch(&name, words)?,
            Word::Option(name) => return unknown(&name),
            Word::Plain(word) => return Err(Failure::new(format!("one word too many: {word:?}"))),
        }
    }
    let containers = all(global);
    if quiet {
        containers.iter().filter_map(|one| one.get("id")?.as_str()).for_each(|id| println!("{id}"));
        return Ok(0);
    }
    if json {
        println!("{}", serde_json::Value::from(containers));
        return Ok(0);
    }
    let field = |one: &serde_json::Value, name: &str| match one.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let names = ["id", "pid", "status", "bundle", "created", "owner"];
    let rows: Vec<[String; 6]> = containers.iter().map(|one| names.map(|name| field(one, name))).collect();
    table(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], &rows);
    Ok(0)
}

fn all(global: &Global) -> Vec<serde_json::Value> {
    let Ok(entries) = std::fs::read_dir(root(global)) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let one = |name: &String| {
        let home = Home::of(global, name).ok()?;
        // Those that are being made or removed at this moment are not there yet, or not any more.
        let state = home.read().ok().flatten()?;
        Some(state::told(&home, &state))
    };
    names.iter().filter(|name| !name.starts_with('.')).filter_map(one).collect()
}

/// Columns as wide as what is in them.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", padded.join("   ").trim_end());
    };
    line(head.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}
