// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench procview`: readers of /proc/meminfo and its like in a container, by the kernel alone, by lxcfs and by
//! cella in turn; then many containers at once, and a server that is killed under its readers.

mod cella;
mod crash;
mod lxcfs;
mod many;
mod proc;
mod reader;
mod shell;
mod single;
mod stage;
mod table;

use super::Options;
use crate::Result;
use crate::bench::Format;
use stage::{Kind, Stage};
use std::process::ExitCode;

/// Rounds when nobody says how many.
const ROUNDS: usize = 5;

/// What is asked besides what every measurement is asked with.
pub(crate) struct Asked {
    rounds: usize,
    format: Format,
    only: Vec<Kind>,
    containers: usize,
    /// In each container.
    readers: usize,
    /// How often the server is killed.
    kills: usize,
}

impl Asked {
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut asked = Self {
            rounds: 0,
            format: Format::Markdown,
            only: Kind::ALL.to_vec(),
            containers: 100,
            readers: 50,
            kills: 100,
        };
        let mut common = Vec::new();
        let mut words = words.iter().flat_map(|word| word.splitn(2, '='));
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("bench: {word} needs a value"))?;
            match word {
                "--only" => asked.only = value.split(',').map(Kind::parse).collect::<Result<_>>()?,
                "--containers" => asked.containers = number(word, value)?,
                "--readers" => asked.readers = number(word, value)?,
                "--kills" => asked.kills = number(word, value)?,
                _ => common.extend([word, value]),
            }
        }
        let common = Options::parse_with(ROUNDS, &common)?;
        (asked.rounds, asked.format) = (common.rounds, common.format);
        Ok(asked)
    }
}

/// Nought leaves the measurement out.
fn number(word: &str, value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|number| *number <= 10_000);
    number.ok_or_else(|| format!("bench: {word} {value}: not a number from 0 to 10000"))
}

pub(crate) fn run(asked: &Asked) -> Result<ExitCode> {
    let stage = Stage::new(&asked.only)?;
    let single = single::run(&stage, asked);
    let many = many::run(&stage, asked);
    let crash = crash::run(&stage, asked);
    let peers = stage.versions();
    drop(stage);
    table::print(asked, &peers, &single, &many, &crash)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_or_refused() {
        let asked = Asked::parse(&["--only=native,cella", "--rounds", "2", "--containers", "7"]).unwrap();
        assert!(asked.only == [Kind::Native, Kind::Cella] && asked.rounds == 2 && asked.containers == 7);
        for bad in [&["--only", "runc"][..], &["--only"], &["--readers", "many"], &["--rounds", "0"]] {
            assert!(Asked::parse(bad).is_err(), "{bad:?}");
        }
    }
}
