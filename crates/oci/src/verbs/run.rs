// SPDX-License-Identifier: Apache-2.0
//! `cella-oci run`: makes a container, runs it, and with it in the foreground waits for its end.

use lexopt::Parser;

use super::{create, start};
use crate::arguments::{Global, Word, next, place, required, switch, unknown};
use crate::console::Watch;
use crate::container;
use crate::failure::Result;

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut options) = (None, create::begin());
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if create::option(&name, &mut options, words)? => {}
            Word::Option(name) => match name.as_str() {
                "detach" | "d" => options.detach = switch(&name, words)?,
                "keep" => options.keep = switch(&name, words)?,
                // What it is without: nobody here takes orphans in, or needs to.
                "no-subreaper" => drop(switch(&name, words)?),
                _ => return unknown(&name),
            },
        }
    }
    let id = required(id)?;
    container::check_descriptors(options.preserve_fds)?;
    // Before there is anything that a signal could leave behind.
    let watch = if options.detach { None } else { Some(Watch::new()?) };
    let created = container::create(global, &id, &options, false)?;
    start::poststart(global, &created.home, &created.state, &created.spec.hooks.poststart)?;
    drop(created.lock);
    let Some(watch) = watch else { return Ok(0) };
    let exit = watch.serve(&created.launched.child.pidfd, created.launched.terminal.as_ref())?;
    let code = u8::try_from(exit.shell()).unwrap_or(255);
    if !options.keep {
        // Somebody may have deleted it, and even have made another of that name.
        let Ok(lock) = created.home.lock() else { return Ok(code) };
        let now = created.home.read()?;
        if now.is_some_and(|now| (now.pid, now.start_time) == (created.state.pid, created.state.start_time)) {
            container::delete_with(global, &created.home, &created.state, &created.spec.hooks.poststop)?;
        }
        drop(lock);
    }
    Ok(code)
}
