// SPDX-License-Identifier: Apache-2.0
//! `cella network traffic`: what containers have sent and received, by the month.

use clap::{Arg, ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::format;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what containers have sent and received, by the month")
        .arg(format())
        .arg(Arg::new("container").value_name("CONTAINER").help("Only this one"))
        .after_help("Example:\n  cella network traffic web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let list = context.engine()?.traffic(text(matches, "container").as_deref())?;
    if text(matches, "format").as_deref() == Some("json") {
        output::json(&list);
        return Ok(0);
    }
    let bytes = spec::size::format_bytes;
    let rows: Vec<Vec<Cell>> = list
        .iter()
        .map(|one| {
            let used = match one.quota {
                Some(quota) if one.totals.bytes() >= quota => Cell::red(format!("{} (used up)", bytes(quota))),
                Some(quota) => bytes(quota).into(),
                None => "-".into(),
            };
            vec![
                one.container.as_str().into(),
                one.month.as_str().into(),
                bytes(one.totals.received).into(),
                bytes(one.totals.sent).into(),
                used,
            ]
        })
        .collect();
    output::table(&["NAME", "MONTH", "RECEIVED", "SENT", "QUOTA"], &rows);
    Ok(0)
}
