// SPDX-License-Identifier: Apache-2.0
//! `cella top`: the processes of a container, with the ids of both sides.

use clap::{Arg, ArgMatches, Command};
use engine::Result;

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
    let rows = engine.top(&container)?;
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
