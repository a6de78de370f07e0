// SPDX-License-Identifier: Apache-2.0
//! `cella network inspect`: everything about networks, as JSON.

use clap::{Arg, ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show everything about networks, as JSON")
        .arg(Arg::new("network").value_name("NETWORK").required(true).num_args(1..).help("Names"))
        .after_help("Example:\n  cella network inspect cella0 | jq '.[0].attached'")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let one = |name: &String| engine.network(&name.parse()?);
    let list = texts(matches, "network").iter().map(one).collect::<Result<Vec<_>>>()?;
    crate::output::json(&list);
    Ok(0)
}
