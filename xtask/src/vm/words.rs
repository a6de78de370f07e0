// SPDX-License-Identifier: Apache-2.0
//! The words of `cargo xtask vm`.

use crate::Result;
use std::time::Duration;

/// What a machine may take at the most, unless `--limit` says otherwise.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Make,
    Run { options: Options, script: String },
    Test { options: Options, filters: Vec<String> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// As the ordinary user `tester`, in their user manager, instead of root.
    pub(crate) user: bool,
    /// Every test, and not only those of the profile `vm`.
    pub(crate) all: bool,
    /// The kernel of trixie and not that of its backports.
    pub(crate) stock_kernel: bool,
    /// From the start to the end of the machine.
    pub(crate) limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { user: false, all: false, stock_kernel: false, limit: LIMIT }
    }
}

pub(crate) fn parse(words: &[&str]) -> Result<Request> {
    match words {
        ["make"] => Ok(Request::Make),
        ["run", rest @ ..] => {
            let (options, script) = options(rest)?;
            let script = script.strip_prefix(&["--"]).unwrap_or(script);
            if script.is_empty() || options.all {
                return Err("vm run: what? See cargo xtask --help".into());
            }
            Ok(Request::Run { options, script: script.join(" ") })
        }
        ["test", rest @ ..] => {
            let (options, filters) = options(rest)?;
            Ok(Request::Test { options, filters: filters.iter().map(|word| (*word).to_owned()).collect() })
        }
        _ => Err(format!("vm: unknown words {words:?}; see cargo xtask --help")),
    }
}

/// The options at the beginning, and what follows them.
fn options<'a>(mut words: &'a [&'a str]) -> Result<(Options, &'a [&'a str])> {
    let mut options = Options::default();
    loop {
        words = match words {
            ["--user", rest @ ..] => {
                options.user = true;
                rest
            }
            ["--all", rest @ ..] => {
                options.all = true;
                rest
            }
            ["--stock-kernel", rest @ ..] => {
                options.stock_kernel = true;
                rest
            }
            ["--limit", seconds, rest @ ..] => {
                let number = seconds.parse().ok().filter(|number| (1..=1_000_000).contains(number));
                let number = number.ok_or_else(|| format!("vm: --limit {seconds}: not a number from 1 to 1000000"))?;
                options.limit = Duration::from_secs(number);
                rest
            }
            // Nextest's own way to say which tests.
            ["--" | "-E", ..] | [] => return Ok((options, words)),
            [word, ..] if word.starts_with('-') => return Err(format!("vm: unknown option {word}")),
            _ => return Ok((options, words)),
        }
    }
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        assert_eq!(parse(&["make"]), Ok(Request::Make));
        let run = parse(&["run", "--user", "--limit", "9", "--", "id", "-u;", "uname"]);
        let options = Options { user: true, limit: Duration::from_secs(9), ..Options::default() };
        assert_eq!(run, Ok(Request::Run { options, script: "id -u; uname".into() }));
        let test = parse(&["test", "--stock-kernel", "--all", "-E", "test(a)"]);
        let options = Options { all: true, stock_kernel: true, ..Options::default() };
        assert_eq!(test, Ok(Request::Test { options, filters: vec!["-E".into(), "test(a)".into()] }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad =
            [&["run"][..], &["run", "--"], &["run", "--all", "id"], &["test", "--limit", "0"], &["test", "-x"], &[]];
        for words in bad {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
