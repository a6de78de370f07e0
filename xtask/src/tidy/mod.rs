// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask tidy`: the rules of the house that a machine can hold, one line per fault.

mod code;
mod files;
mod floors;
mod links;
mod sizes;

use crate::{Result, cargo};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One broken rule; printed as `path:line: what`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Fault {
    fn new(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let fast = match words {
        [] => false,
        ["--fast"] => true,
        _ => {
            return Err(format!("tidy: unknown words {words:?}; only --fast is known"));
        }
    };
    let mut good = check()?;
    if !fast {
        for words in
            [&["fmt", "--all", "--check"][..], &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]]
        {
            if let Err(reason) = cargo::succeed(cargo::command().args(words)) {
                println!("{reason}");
                good = false;
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the table of sizes and every fault; true when there is none.
pub(crate) fn check() -> Result<bool> {
    let workspace = cargo::workspace()?;
    let root = &workspace.workspace_root;
    let mut faults = floors::check(&workspace)?;
    let mut table = sizes::Table::default();
    for path in files::all(root)? {
        let shown = path.strip_prefix(root).unwrap_or(&path);
        match path.extension().and_then(|e| e.to_str()) {
            Some("rs") => {
                let text = files::read(&path)?;
                let owner = code::Owner::of(shown, &workspace);
                let functions = code::check(shown, &text, &owner, &mut faults);
                table.add(&owner.name, text.lines().count(), &functions);
            }
            Some("md") => links::check(root, shown, &files::read(&path)?, &mut faults),
            Some("toml") => files::spdx(shown, &files::read(&path)?, "#", &mut faults),
            _ => {}
        }
    }
    table.print();
    faults.sort();
    for fault in &faults {
        println!("{}:{}: {}", fault.path.display(), fault.line, fault.what);
    }
    println!("tidy: {} faults", faults.len());
    Ok(faults.is_empty())
}
