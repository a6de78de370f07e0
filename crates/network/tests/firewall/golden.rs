// SPDX-License-Identifier: Apache-2.0
//! What nft(8) lists of our tables, compared with a file; the order of the rules is part of what we promise.

use crate::support::{Space, can_run, example};

#[test]
fn listed_as_written_down() {
    if !can_run("listed_as_written_down") {
        return;
    }
    let space = Space::new();
    space.firewall().replace(&example()).unwrap();
    // Without the counters' values; elements as the kernel keeps them are in the order of their hashes.
    let listed = space.nft("-s list ruleset");
    let lines: Vec<String> = listed.lines().map(sorted).collect();
    let found = gathered(&lines);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/firewall/golden.nft");
    if std::env::var_os("CELLA_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap();
    for (at, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "line {} of golden.nft", at + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count());
}

/// The sets that a rule has for itself, in order.
fn sorted(line: &str) -> String {
    let Some((before, rest)) = line.split_once("{ ") else { return line.to_owned() };
    let Some((inside, after)) = rest.split_once(" }") else { return line.to_owned() };
    format!("{before}{{ {} }}{after}", in_order(inside))
}

fn in_order(list: &str) -> String {
    let mut parts: Vec<&str> = list.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts.join(", ")
}

/// Elements over several lines as one line.
fn gathered(lines: &[String]) -> String {
    let (mut out, mut open) = (String::new(), None::<String>);
    for line in lines {
        match (&mut open, line.trim_start().starts_with("elements = {")) {
            (None, true) if !line.ends_with('}') => open = Some(line.clone()),
            (Some(list), _) => {
                list.push(' ');
                list.push_str(line.trim());
                if line.ends_with('}') {
                    out += &sorted(list);
                    out.push('\n');
                    open = None;
                }
            }
            _ => {
                out += line;
                out.push('\n');
            }
        }
    }
    out
}
