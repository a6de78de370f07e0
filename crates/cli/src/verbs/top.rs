// SPDX-License-Identifier: Apache-2.0
//! `cella top`: the processes of a container, with the ids of both sides.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::{container, format};
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("List the processes of a container")
        .arg(format())
        .arg(container())
        .after_help("Example:\n  cella top web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let rows = context.engine()?.top(&text(matches, "container").unwrap_or_default())?;
    if text(matches, "format").as_deref() == Some("json") {
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
