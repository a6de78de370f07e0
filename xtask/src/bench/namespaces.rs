// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench namespaces`: a host with many namespaces and processes, looked at by `lsns` and by `cella ns ls` in turn,
//! and whether both found the same.

use super::scratch::Scratch;
use super::{Format, Options};
use crate::{Result, cargo};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Rounds when nobody says how many.
pub(super) const ROUNDS: usize = 15;

/// Sandboxes of eight namespaces each.
const SANDBOXES: usize = 125;

/// Processes in each: with its first one and `unshare` itself there are forty.
const PROCESSES: usize = 38;

/// How long the sandboxes may take until all are there.
const PATIENCE: Duration = Duration::from_secs(120);

/// What each has of its own: all eight kinds.
const KINDS: [&str; 9] =
    ["--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--time", "--pid"];

/// The processes that were started, and that end with us.
struct Sandboxes(Vec<Child>);

impl Sandboxes {
    fn start(scratch: &Scratch) -> Result<Self> {
        let mut all = Self(Vec::new());
        let wait = scratch.path.join("wait");
        let script = format!("i=0; while [ $i -lt {PROCESSES} ]; do {0} & i=$((i+1)); done; exec {0}", wait.display());
        for _ in 0..SANDBOXES {
            // Killed with its parent, process 1 takes all others of its pid namespace with it.
            let child = Command::new("unshare")
                .args(KINDS)
                .args(["--fork", "--kill-child", "sh", "-c", &script])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| format!("unshare: {error}"))?;
            all.0.push(child);
        }
        let began = Instant::now();
        while waiting() < SANDBOXES * (PROCESSES + 1) {
            if began.elapsed() > PATIENCE {
                return Err(format!("bench: {} of the processes came, not all", waiting()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(all)
    }
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
        }
        for child in &mut self.0 {
            child.wait().ok();
        }
        let began = Instant::now();
        while waiting() > 0 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        if waiting() > 0 {
            eprintln!("bench: left over: {} processes called wait", waiting());
        }
    }
}

/// Processes that run the program which waits.
fn waiting() -> usize {
    let of = |name: std::ffi::OsString| {
        let name = name.to_str()?.parse::<u32>().ok()?;
        let comm = std::fs::read_to_string(format!("/proc/{name}/comm")).ok()?;
        (comm == "wait\n").then_some(())
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| of(entry.file_name())).count()
}

/// Nanoseconds and KiB of each round.
#[derive(Default)]
struct Figures(Vec<(u64, u64)>);

impl Figures {
    fn median(&self) -> (u64, u64) {
        let middle = |mut list: Vec<u64>| {
            list.sort_unstable();
            list.get(list.len() / 2).copied().unwrap_or(0)
        };
        (middle(self.0.iter().map(|one| one.0).collect()), middle(self.0.iter().map(|one| one.1).collect()))
    }

    fn span(&self) -> (u64, u64) {
        let times = || self.0.iter().map(|one| one.0);
        (times().min().unwrap_or(0), times().max().unwrap_or(0))
    }
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let cella = match std::env::var_os("CELLA_BIN") {
        Some(path) => PathBuf::from(path),
        None => cargo::build_release(&["cella"])?.remove("cella").ok_or("cargo made no cella")?,
    };
    let scratch = Scratch::new()?;
    let sandboxes = Sandboxes::start(&scratch)?;
    let clock = scratch.path.join("clock");
    let contestants: [(&str, Vec<String>); 3] = [
        ("lsns", vec![lsns()?.display().to_string()]),
        ("cella ns ls", vec![cella.display().to_string(), "ns".to_owned(), "ls".to_owned()]),
        (
            "cella ns ls --json",
            ["ns", "ls", "--json"].iter().fold(vec![cella.display().to_string()], |mut all, word| {
                all.push((*word).to_owned());
                all
            }),
        ),
    ];
    let mut figures: Vec<Figures> = contestants.iter().map(|_| Figures::default()).collect();
    for round in 0..=options.rounds {
        for ((_, words), figures) in contestants.iter().zip(&mut figures) {
            let one = clocked(&clock, words)?;
            // The first round warms the caches of all.
            if round > 0 {
                figures.0.push(one);
            }
        }
    }
    let compared = compare(&cella)?;
    let names: Vec<&str> = contestants.iter().map(|(name, _)| *name).collect();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    drop(sandboxes);
    print(options, &names, &figures, &compared, processes)?;
    Ok(if compared.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Along PATH: what holds the clock does not look there.
fn lsns() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("lsns")).find(|path| path.is_file());
    found.ok_or_else(|| "bench: lsns is not installed (util-linux)".to_owned())
}

/// By a program that is nearly nothing: what it starts has none of our memory.
fn clocked(clock: &std::path::Path, words: &[String]) -> Result<(u64, u64)> {
    let output = Command::new(clock).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", words.join(" ")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.lines().last().unwrap_or_default().split_whitespace().map(str::parse);
    match (output.status.success(), numbers.next(), numbers.next()) {
        (true, Some(Ok(nanos)), Some(Ok(peak))) => Ok((nanos, peak)),
        _ => Err(format!("{}: {}: {}", words.join(" "), output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// What both found.
struct Compared {
    lsns: usize,
    cella: usize,
    /// What lsns has and we have not.
    missing: Vec<String>,
}

fn compare(cella: &std::path::Path) -> Result<Compared> {
    let read =
        |program: &std::path::Path, words: &[&str], list: &str, kind: &str, inode: &str| -> Result<BTreeSet<String>> {
            let output = Command::new(program)
                .args(words)
                .output()
                .map_err(|error| format!("{}: {error}", program.display()))?;
            let json: Value =
                serde_json::from_slice(&output.stdout).map_err(|error| format!("{}: {error}", program.display()))?;
            let rows = json.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
            let name = |row: &Value| Some(format!("{}:[{}]", row.get(kind)?.as_str()?, row.get(inode)?));
            Ok(rows.iter().filter_map(name).collect())
        };
    let theirs = read("lsns".as_ref(), &["--json", "-o", "NS,TYPE"], "namespaces", "type", "ns")?;
    let ours = read(cella, &["ns", "ls", "--json"], "namespaces", "kind", "inode")?;
    Ok(Compared { lsns: theirs.len(), cella: ours.len(), missing: theirs.difference(&ours).cloned().collect() })
}

fn print(options: &Options, names: &[&str], figures: &[Figures], compared: &Compared, processes: usize) -> Result<()> {
    let first = figures.first().map(Figures::median).unwrap_or_default();
    if options.format == Format::Json {
        let lines: Vec<Value> = names
            .iter()
            .zip(figures)
            .map(|(name, one)| {
                let ((time, memory), (least, most)) = (one.median(), one.span());
                json!({ "name": name, "rounds": one.0.len(), "median_ns": time, "min_ns": least, "max_ns": most, "peak_kib": memory })
            })
            .collect();
        let all = json!({ "version": 1, "machine": super::report::machine(), "processes": processes, "lsns": compared.lsns,
            "cella": compared.cella, "missing": compared.missing, "lines": lines });
        println!("{}", serde_json::to_string_pretty(&all).map_err(|error| format!("report: {error}"))?);
        return Ok(());
    }
    println!("bench namespaces, {} rounds in turn; {}", options.rounds, super::report::machine());
    println!(
        "{processes} processes; lsns finds {} namespaces, cella {}, of lsns's it misses {}\n",
        compared.lsns,
        compared.cella,
        compared.missing.len()
    );
    println!(
        "| {:<18} | {:>9} | {:>9} | {:>9} | {:>6} | {:>8} | {:>6} |",
        "", "min ms", "median ms", "max ms", "÷ lsns", "peak KiB", "÷ lsns"
    );
    println!("|:-------------------|----------:|----------:|----------:|-------:|---------:|-------:|");
    for (name, one) in names.iter().zip(figures) {
        let ((time, memory), (least, most)) = (one.median(), one.span());
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let ratio = |own: u64, to: u64| own as f64 / to.max(1) as f64;
        println!(
            "| {name:<18} | {:>9.1} | {:>9.1} | {:>9.1} | {:>6.2} | {memory:>8} | {:>6.2} |",
            ms(least),
            ms(time),
            ms(most),
            ratio(time, first.0),
            ratio(memory, first.1)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_both_ends() {
        let figures = Figures(vec![(3, 10), (1, 30), (2, 20)]);
        assert_eq!((figures.median(), figures.span()), ((2, 20), (1, 3)));
        assert_eq!(Figures::default().median(), (0, 0));
    }
}
