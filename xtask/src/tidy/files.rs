// SPDX-License-Identifier: Apache-2.0
//! Which files belong to the project, and the line that each of them starts with.

use super::Fault;
use crate::Result;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours, or nothing that people wrote.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Every file below `root`, sorted; symlinks are not followed.
pub(crate) fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        let fail = |error| format!("{}: {error}", directory.display());
        for entry in std::fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The first line must be the licence's, behind the comment mark of the language.
pub(crate) fn spdx(path: &Path, text: &str, mark: &str, faults: &mut Vec<Fault>) {
    let wanted = format!("{mark} SPDX-License-Identifier: Apache-2.0");
    if text.lines().next() != Some(wanted.as_str()) {
        faults.push(Fault::new(path, 1, format!("the first line is not {wanted:?}")));
    }
}

/// The `//!` lines at the top, joined.
pub(crate) fn header(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("//!")).take_while(|line| line.starts_with("//!"));
    lines.map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ")
}
