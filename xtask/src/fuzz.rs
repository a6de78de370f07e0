// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask fuzz`: builds the targets of `fuzz/` as libFuzzer needs them, runs each for a while, and tells of crashes.

use crate::{Result, cargo};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Counters and comparisons that lead libFuzzer to new paths, as cargo-fuzz asks for them.
const COVERAGE: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// Ends the program at an access to memory that is not its own.
const SANITIZER: &str = "-Zsanitizer=address";

/// Lets a stable compiler take the one above.
const UNSTABLE: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// Seconds after which an input is taken for an endless loop.
const ENDLESS: u32 = 10;

/// How the first line of a panic is known.
const PANIC: &str = " panicked at ";

/// How the lines of a log are known that say what went wrong.
const TELLING: [&str; 5] = [PANIC, "ERROR: ", "SUMMARY: ", "Test unit written to ", "Base64: "];

pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let all_well = all(seconds(words)?)?.iter().all(|(_, found)| found.is_none());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every target so long, and gives what was found in each.
pub(crate) fn all(seconds: u32) -> Result<Vec<(String, Option<String>)>> {
    let workspace = cargo::workspace()?;
    let place = workspace.target_directory.join("fuzz");
    let seeds = workspace.workspace_root.join("fuzz/corpus");
    let mut results = Vec::new();
    for (name, program) in &build(&place)? {
        let target = Target { name, program, seeds: &seeds.join(name), place: &place };
        results.push((name.clone(), target.run(seconds)?));
    }
    Ok(results)
}

fn seconds(words: &[&str]) -> Result<u32> {
    let words: Vec<&str> = words.iter().flat_map(|word| word.splitn(2, '=')).collect();
    match words.as_slice() {
        [] => Ok(60),
        ["--seconds", text] => {
            let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
            number.ok_or_else(|| format!("fuzz: --seconds {text}: not a number from 1 to 1000000"))
        }
        _ => Err(format!("fuzz: unknown words {words:?}; see cargo xtask --help")),
    }
}

/// Builds all targets; name and path of each.
fn build(place: &Path) -> Result<BTreeMap<String, PathBuf>> {
    create(place)?;
    let mut flags = COVERAGE.to_vec();
    if sanitizes(place) {
        flags.push(SANITIZER);
    } else {
        println!("fuzz: this rustc has no address sanitizer; without it");
    }
    let mut build = cargo::command();
    build.args(["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    build.arg(place).envs([UNSTABLE]).env("RUSTFLAGS", flags.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo::programs(&mut build)
}

/// Does a program with the address sanitizer link and start?
fn sanitizes(place: &Path) -> bool {
    let (source, program) = (place.join("probe.rs"), place.join("probe"));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg(SANITIZER).arg("-o").arg(&program).arg(&source).envs([UNSTABLE]).stderr(Stdio::null());
    std::fs::write(&source, "fn main() {}\n").is_ok()
        && rustc.status().is_ok_and(|status| status.success())
        && Command::new(&program).status().is_ok_and(|status| status.success())
}

/// A program of `fuzz/`, and where it finds and leaves its things.
struct Target<'a> {
    name: &'a str,
    program: &'a Path,
    seeds: &'a Path,
    place: &'a Path,
}

impl Target<'_> {
    /// Runs it, and prints its line; gives what it crashed of, whose input is kept.
    fn run(&self, seconds: u32) -> Result<Option<String>> {
        let corpus = self.corpus()?;
        let log = self.place.join(format!("{}.log", self.name));
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut program = Command::new(self.program);
        program.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={ENDLESS}"));
        program.arg(format!("-artifact_prefix={}/{}-", self.place.display(), self.name));
        // What is left at the end is no fault, and looking for it takes ptrace(2), which a container may lack.
        program.args(["-print_final_stats=1", "-detect_leaks=0"]).arg(&corpus).current_dir(self.place);
        program.env("ASAN_OPTIONS", "detect_leaks=0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let status = program.status().map_err(|error| format!("{}: {error}", self.program.display()))?;
        std::fs::remove_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        let text = std::fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        let count = |name| statistic(&text, name).unwrap_or_default();
        let (runs, rate) = (count("number_of_executed_units"), count("average_exec_per_sec"));
        println!("fuzz: {:<8} {runs:>10} executions, {rate:>6} each second", self.name);
        if status.success() {
            return Ok(None);
        }
        let found: Vec<String> = std::iter::once(format!("{status}; see {}", log.display()))
            .chain(told(&text).map(|line| format!("  {line}")))
            .collect();
        let found = found.join("\n");
        println!("fuzz: {}: {found}", self.name);
        Ok(Some(found))
    }

    /// A directory for this run, with the seeds in it: libFuzzer adds what it finds.
    fn corpus(&self) -> Result<PathBuf> {
        let corpus = std::env::temp_dir().join(format!("cella-fuzz-{}-{}", self.name, std::process::id()));
        create(&corpus)?;
        let fail = |error| format!("{}: {error}", self.seeds.display());
        for seed in std::fs::read_dir(self.seeds).map_err(fail)? {
            let seed = seed.map_err(fail)?;
            std::fs::copy(seed.path(), corpus.join(seed.file_name())).map_err(fail)?;
        }
        Ok(corpus)
    }
}

fn create(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

/// The lines of a log that say what went wrong; a panic's reason is the line below its place.
fn told(log: &str) -> impl Iterator<Item = &str> {
    let above = std::iter::once("").chain(log.lines());
    let telling = |line: &str| TELLING.iter().any(|words| line.contains(words));
    log.lines().zip(above).filter(move |(line, above)| telling(line) || above.contains(PANIC)).map(|(line, _)| line)
}

/// One of the numbers that libFuzzer ends with: `stat::NAME: VALUE`.
fn statistic(log: &str, name: &str) -> Option<u64> {
    let mut values = log.lines().filter_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
    values.next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        assert_eq!(seconds(&[]), Ok(60));
        assert_eq!(seconds(&["--seconds=7"]), seconds(&["--seconds", "7"]));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["7"], &["--fast", "1"]] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_crash_is_told_with_its_reason() {
        let log =
            "#2 NEW\nthread 'x' (1) panicked at a.rs:1:2:\ntoo much\nstack:\n==1== ERROR: libFuzzer: deadly signal\n";
        let told: Vec<&str> = told(log).collect();
        assert_eq!(told, ["thread 'x' (1) panicked at a.rs:1:2:", "too much", "==1== ERROR: libFuzzer: deadly signal"]);
    }

    #[test]
    fn statistics_are_found_in_a_log() {
        let log = "Done 9 runs in 2 second(s)\nstat::number_of_executed_units: 9\nstat::average_exec_per_sec:     4\n";
        assert_eq!(statistic(log, "number_of_executed_units"), Some(9));
        assert_eq!(statistic(log, "average_exec_per_sec"), Some(4));
        assert_eq!(statistic(log, "peak_rss_mb"), None);
    }
}
