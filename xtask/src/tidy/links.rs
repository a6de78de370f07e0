// SPDX-License-Identifier: Apache-2.0
//! Relative links in Markdown must lead to a file of this repository.

use super::Fault;
use std::path::{Component, Path, PathBuf};

pub(crate) fn check(root: &Path, path: &Path, text: &str, faults: &mut Vec<Fault>) {
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for link in targets(line) {
            if let Some(what) = broken(root, path, link) {
                faults.push(Fault::new(path, number + 1, what));
            }
        }
    }
}

/// The targets of `[text](target)` in a line, outside `code`.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    let ends = prose.flat_map(|part| part.match_indices("](").map(move |(at, _)| &part[at + 2..]));
    ends.filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

/// Why a link leads nowhere; None for one that does, and for what is no relative link.
fn broken(root: &Path, page: &Path, link: &str) -> Option<String> {
    let target = link.split('#').next().filter(|t| !t.is_empty())?;
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let base = if target.starts_with('/') { Path::new("") } else { page.parent()? };
    let mut inside = PathBuf::new();
    for part in base.join(target.trim_start_matches('/')).components() {
        match part {
            Component::ParentDir if !inside.pop() => {
                return Some(format!("link {link} leaves the repository"));
            }
            Component::Normal(name) => inside.push(name),
            Component::ParentDir | Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!root.join(inside).exists()).then(|| format!("link {link} leads nowhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_that_lead_nowhere_are_faults() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = "[a](src/main.rs#L1) [b](https://x.y/z) `[c](nowhere)` [d](#here)\n```\n[e](nowhere)\n```\n\
                    [f](nowhere.md \"title\") and ![g](../../outside)\n";
        let mut faults = Vec::new();
        check(root, Path::new("page.md"), page, &mut faults);
        let what: Vec<&str> = faults.iter().map(|fault| fault.what.as_str()).collect();
        assert_eq!(what, ["link nowhere.md leads nowhere", "link ../../outside leaves the repository"]);
        assert!(faults.iter().all(|fault| fault.line == 5));
    }
}
