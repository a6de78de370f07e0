// SPDX-License-Identifier: Apache-2.0
//! `cella-oci create`: makes a container, whose program waits for `start`.

use std::path::PathBuf;

use lexopt::Parser;

use crate::arguments::{Global, Word, next, number, place, required, switch, unknown};
use crate::container::{self, Options};
use crate::failure::Result;

/// Options that `create` and `run` share; `false` when it is none of them.
pub(super) fn option(name: &str, options: &mut Options, words: &mut Parser) -> Result<bool> {
    match name {
        "bundle" | "b" => options.bundle = words.value()?.into(),
        "config" | "f" => options.config = Some(words.value()?.into()),
        "console-socket" => options.console_socket = Some(words.value()?.into()),
        "pid-file" => options.pid_file = Some(words.value()?.into()),
        "no-pivot" => options.no_pivot = switch(name, words)?,
        "no-new-keyring" => options.no_new_keyring = switch(name, words)?,
        "preserve-fds" => options.preserve_fds = number(name, words)?,
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn begin() -> Options {
    Options { bundle: PathBuf::from("."), ..Options::default() }
}

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut options) = (None, begin());
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if option(&name, &mut options, words)? => {}
            Word::Option(name) => return unknown(&name),
        }
    }
    options.detach = true;
    container::check_descriptors(options.preserve_fds)?;
    container::create(global, &required(id)?, &options, true)?;
    Ok(0)
}
