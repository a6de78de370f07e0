// SPDX-License-Identifier: Apache-2.0
//! `cella-oci plan`: what `create` would do, step by step; it changes nothing and needs no root.

use lexopt::Parser;

use super::create;
use crate::arguments::{Global, Word, next, place, text, unknown};
use crate::failure::{Failure, Result};
use crate::{bundle, container};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut options, mut json) = (None, create::begin(), false);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if name == "format" => {
                json = match text(words)?.as_str() {
                    "json" => true,
                    "text" => false,
                    other => return Err(Failure::new(format!("--format: {other:?} is neither text nor json"))),
                }
            }
            Word::Option(name) if create::option(&name, &mut options, words)? => {}
            Word::Option(name) => return unknown(&name),
        }
    }
    let mut bundle = bundle::read(&options.bundle, options.config.as_deref())?;
    let planned = container::plan(global, id.as_deref().unwrap_or("ID"), &mut bundle, &options, true)?;
    if json {
        let text = serde_json::to_string_pretty(&planned.plan).map_err(|error| Failure::new(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", planned.plan);
    }
    Ok(0)
}
