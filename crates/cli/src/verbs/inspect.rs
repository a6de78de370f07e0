// SPDX-License-Identifier: Apache-2.0
//! `cella inspect`: everything about containers, as JSON.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;
use crate::flags::{containers, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show everything about containers, as JSON")
        .arg(value("format", "FORMAT", "json").value_parser(["json"]).default_value("json"))
        .arg(containers())
        .after_help("Example:\n  cella inspect web | jq '.[0].pid'")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let list = texts(matches, "container").iter().map(|name| engine.inspect(name)).collect::<Result<Vec<_>>>()?;
    crate::output::json(&list);
    Ok(0)
}
