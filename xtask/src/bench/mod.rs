// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench`: measurements against the kernel's floor and against our peers, side by side in one run.

mod agent;
mod boot;
mod contestants;
mod namespaces;
mod network;
mod oci;
mod procview;
mod report;
mod scratch;
mod start;

use crate::Result;
use std::process::ExitCode;

/// How a table is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Json,
}

/// What every measurement is asked with.
pub(crate) struct Options {
    rounds: usize,
    format: Format,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        Self::parse_with(60, words)
    }

    /// `rounds` is what is measured when the words name no number.
    fn parse_with(rounds: usize, words: &[&str]) -> Result<Self> {
        let mut options = Self { rounds, format: Format::Markdown };
        let mut words = words.iter().flat_map(|word| word.splitn(2, '='));
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("bench: {word} needs a value"));
            match (word, value?) {
                ("--rounds", n) => {
                    let rounds = n.parse().ok().filter(|n| (1..=100_000).contains(n));
                    options.rounds =
                        rounds.ok_or_else(|| format!("bench: --rounds {n}: not a number from 1 to 100000"))?;
                }
                ("--format", "markdown") => options.format = Format::Markdown,
                ("--format", "json") => options.format = Format::Json,
                (option, value) => {
                    return Err(format!("bench: {option} {value}: see cargo xtask --help"));
                }
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["start", rest @ ..] => start::run(&Options::parse(rest)?),
        ["run", rest @ ..] => oci::run(&Options::parse(rest)?),
        ["exec", rest @ ..] => oci::exec(&Options::parse(rest)?),
        ["network", rest @ ..] => network::run(&Options::parse(rest)?),
        ["density", rest @ ..] => oci::density(&Options::parse(rest)?),
        ["boot", rest @ ..] => boot::run(&Options::parse_with(boot::ROUNDS, rest)?),
        ["procview", rest @ ..] => procview::run(&procview::Asked::parse(rest)?),
        ["namespaces", rest @ ..] => namespaces::run(&Options::parse_with(namespaces::ROUNDS, rest)?),
        // Not for people: the process in a prepared mount namespace that starts the contestants and holds the clock.
        ["agent"] => agent::serve(),
        [] => Err("bench: what? start, run, exec, density, network, boot, procview or namespaces".to_owned()),
        [what, ..] => Err(format!(
            "bench: {what:?} is not measured; start, run, exec, density, network, boot, procview and namespaces are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let options = Options::parse(&["--rounds", "7", "--format=json"]).unwrap();
        assert!(options.rounds == 7 && options.format == Format::Json);
        for bad in [&["--rounds", "0"][..], &["--rounds"], &["--format", "xml"], &["--fast", "1"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
