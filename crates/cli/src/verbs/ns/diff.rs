// SPDX-License-Identifier: Apache-2.0
//! `cella ns diff`: what two processes share, and how the rest differs.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Say which namespaces two processes share, and how the others differ")
        .arg(super::json())
        .arg(super::target("one"))
        .arg(super::target("other"))
        .after_help("Example:\n  cella ns diff web 1234")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let name = |which: &str| text(matches, which).unwrap_or_default();
    let differences = context.namespaces().diff(&name("one"), &name("other"))?;
    if matches.get_flag("json") {
        output::json(&differences);
        return Ok(0);
    }
    let [one, other] = &differences.pids;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for kind in &differences.kinds {
        let [first, second] = kind.inodes;
        let how = match kind.how.first() {
            Some(line) => super::short_ids(line),
            None if kind.same => String::new(),
            None => "two of them, alike as far as is seen".to_owned(),
        };
        let word = if kind.same { Cell::green("same") } else { Cell::yellow("differs") };
        rows.push(vec![kind.kind.into(), word, first.to_string().into(), second.to_string().into(), how.into()]);
        for line in kind.how.iter().skip(1) {
            rows.push(vec!["".into(), "".into(), "".into(), "".into(), super::short_ids(line).into()]);
        }
    }
    output::table(&["TYPE", "", &one.to_string(), &other.to_string(), "HOW"], &rows);
    Ok(0)
}
