// SPDX-License-Identifier: Apache-2.0
//! `cella top`: the processes of a container, with the ids of both sides.

use clap::{Arg, ArgMatches, Command};
use engine::{ProcessRow, Result};

use crate::app::Context;
use crate::definition::text;
use crate::flags::format;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("List the processes of a container; without one, show what all use, live")
        .arg(format())
        .arg(Arg::new("container").value_name("CONTAINER").help("Name, id, or the beginning of either"))
        .after_help("Examples:\n  cella top web\n  cella top")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let json = text(matches, "format").as_deref() == Some("json");
    let Some(container) = text(matches, "container") else {
        return super::stats::watch(&engine, &[], json, false);
    };
    let rows = tree(engine.top(&container)?);
    if json {
        output::json(&rows);
        return Ok(0);
    }
    let cells: Vec<Vec<Cell>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.inside.to_string().into(),
                row.pid.to_string().into(),
                row.inside_uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()).into(),
                row.uid.to_string().into(),
                row.state.to_string().into(),
                format!("{}.{:02}s", row.cpu_ms / 1000, row.cpu_ms % 1000 / 10).into(),
                spec::size::format_bytes(row.resident).into(),
                row.command.into(),
            ]
        })
        .collect();
    output::table(&["PID", "HOST-PID", "UID", "HOST-UID", "S", "TIME", "MEMORY", "COMMAND"], &cells);
    Ok(0)
}

/// Children below their parents, indented; whose parent is outside comes first.
fn tree(rows: Vec<ProcessRow>) -> Vec<ProcessRow> {
    let is_inside = |pid: i32| rows.iter().any(|row| row.pid == pid);
    let mut left: Vec<(i32, usize)> =
        rows.iter().filter(|row| !is_inside(row.parent)).map(|row| (row.pid, 0)).rev().collect();
    let mut sorted = Vec::with_capacity(rows.len());
    while let Some((pid, depth)) = left.pop() {
        let Some(row) = rows.iter().find(|row| row.pid == pid) else { continue };
        sorted.push(ProcessRow { command: format!("{}{}", "  ".repeat(depth.min(20)), row.command), ..row.clone() });
        left.extend(
            rows.iter().filter(|row| row.parent == pid && row.pid != pid).map(|row| (row.pid, depth + 1)).rev(),
        );
    }
    sorted
}
