// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: passes all tests on a machine that has only Rust and root, and says what was skipped and why.

pub(crate) mod packages;
pub(crate) mod summary;

use crate::{Result, cargo, tidy, vm};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use summary::Summary;

/// What each fuzz target gets.
const FUZZ_SECONDS: u32 = 60;

pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let fast = words.contains(&"--fast");
    let filters: Vec<&str> = words.iter().copied().filter(|word| *word != "--fast").collect();
    if let Some(unknown) = filters.iter().find(|word| word.starts_with('-')) {
        return Err(format!("test: unknown option {unknown}; see cargo xtask --help"));
    }
    let mut summary = Summary::default();
    if let Err(reason) = everything(fast, &filters, &mut summary) {
        eprintln!("xtask: {reason}");
        summary.fail(&reason);
    }
    Ok(summary.print())
}

fn everything(fast: bool, filters: &[&str], summary: &mut Summary) -> Result<()> {
    if !fast {
        packages::install("test")?;
        nextest()?;
    }
    let programs = cargo::build_release(&["cella", "cella-oci"])?;
    let program = programs.get("cella").ok_or("cargo build made no program called cella")?;
    if !fast && filters.is_empty() {
        summary.check("tidy: see its faults above", tidy::check()?);
    }
    let workspace = cargo::workspace()?;
    // Nextest's store stays here even where CARGO_TARGET_DIR moves the rest.
    let report = workspace.workspace_root.join("target/nextest/ci/junit.xml");
    let skips = workspace.target_directory.join("skipped-tests.log");
    for old in [&report, &skips] {
        forget(old)?;
    }
    let mut tests = cargo::command();
    tests.args(["nextest", "run", "--workspace", "--profile", "ci"]).args(filters);
    tests.env("CELLA_BIN", program).env("CELLA_SKIP_LOG", &skips).stdin(Stdio::null());
    if let Some(oci) = programs.get("cella-oci") {
        tests.env("CELLA_OCI_BIN", oci);
    }
    let ended = cargo::succeed(&mut tests);
    let Some(xml) = read_if_there(&report)? else {
        // The tests did not even start: a build that failed, or no test of that name.
        return ended.and(Err(format!("{} was not written", report.display())));
    };
    let bad = summary.add_report(&xml)?;
    summary.add_skips(&read_if_there(&skips)?.unwrap_or_default());
    if filters.is_empty() {
        // Nextest does not run them.
        let examples = cargo::succeed(cargo::command().args(["test", "--quiet", "--doc", "--package", "kernel"]));
        summary.check("examples of the documentation: see above", examples.is_ok());
    }
    if !fast && filters.is_empty() {
        for (target, found) in crate::fuzz::all(FUZZ_SECONDS)? {
            match found {
                None => summary.check(&target, true),
                Some(found) => summary.fail(&format!("fuzz: {target}: {found}")),
            }
        }
        in_machine(summary);
    }
    // Tests that failed are counted by the report; whatever else went wrong is told here.
    if bad > 0 { Ok(()) } else { ended }
}

/// A selection of the tests on a stock host, which this one is not.
fn in_machine(summary: &mut Summary) {
    match vm::run_in_machine() {
        Ok(Ok(other)) => summary.add("vm", other),
        Ok(Err(reason)) => summary.skip("the tests in the machine of cargo xtask vm", &reason),
        Err(reason) => summary.fail(&format!("vm: {reason}")),
    }
}

fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

fn read_if_there(path: &PathBuf) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The test runner; built from crates.io on a machine that lacks it.
fn nextest() -> Result<()> {
    let there =
        Command::new("cargo").args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    println!("test: cargo-nextest is missing; building it, this takes some minutes");
    // Without its self-update, which needs a TLS library in C. Outside the workspace: its .cargo/config.toml (static linking) is for our own programs.
    cargo::succeed(
        Command::new("cargo")
            .args(["install", "cargo-nextest", "--locked"])
            .args(["--no-default-features", "--features", "default-no-update"])
            .current_dir("/"),
    )
}
