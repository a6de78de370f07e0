// SPDX-License-Identifier: Apache-2.0
//! `cella-oci events`: what a container uses, again and again, and when it runs out of memory.

use std::io::Write;
use std::os::fd::AsFd;

use lexopt::Parser;

use crate::arguments::{Global, Word, next, place, required, switch, text, unknown};
use crate::failure::{Failure, Result};
use crate::state::{Home, Status};
use crate::stats;

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut once, mut interval) = (None, false, 5000);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) if name == "stats" => once = switch(&name, words)?,
            Word::Option(name) if name == "interval" => interval = duration(&text(words)?)?,
            Word::Option(name) => return unknown(&name),
        }
    }
    let home = Home::of(global, &required(id)?)?;
    let state = home.existing()?;
    let group = state.group()?.ok_or_else(|| Failure::new("events needs a control group, and there is none"))?;
    if home.status(&state) == Status::Stopped {
        return Err(Failure::new(format!("container with id {} is not running", home.id)));
    }
    if once {
        println!("{}", stats::told(&home.id, &group));
        return Ok(0);
    }
    let process = state.process()?;
    let mut kills = group.stats().oom_kills.unwrap_or(0);
    loop {
        let ended = kernel::event::wait(&[(process.as_fd(), kernel::event::Interest::Read)], Some(interval))?;
        if ended.first().copied().unwrap_or(true) {
            return Ok(0);
        }
        let now = group.stats().oom_kills.unwrap_or(0);
        let mut out = std::io::stdout().lock();
        if now > kills {
            kills = now;
            writeln!(out, "{}", serde_json::json!({"type": "oom", "id": home.id}))?;
        }
        writeln!(out, "{}", stats::told(&home.id, &group))?;
        out.flush()?;
    }
}

/// Milliseconds of a text like `5s`, `500ms` or `1m`.
fn duration(text: &str) -> Result<u64> {
    let refuse = || Failure::new(format!("--interval: {text:?} is not a time like 500ms or 5s"));
    let split = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1.0,
        "s" | "" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(refuse()),
    };
    let milliseconds = number.parse::<f64>().map_err(|_| refuse())? * factor;
    if !(1.0..=1e9).contains(&milliseconds) {
        return Err(refuse());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 1e9")]
    Ok(milliseconds as u64)
}
