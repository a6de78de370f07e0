// SPDX-License-Identifier: Apache-2.0
//! `cella network ls`: the networks of this host.

use clap::{Arg, ArgAction, ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::format;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("List networks")
        .visible_alias("list")
        .arg(Arg::new("names").short('q').long("names").help("Only their names").action(ArgAction::SetTrue))
        .arg(format())
        .after_help("Example:\n  cella network ls")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let list = context.engine()?.networks()?;
    if matches.get_flag("names") {
        list.iter().for_each(|one| output::line(one.network.name.as_str()));
        return Ok(0);
    }
    if text(matches, "format").as_deref() == Some("json") {
        output::json(&list);
        return Ok(0);
    }
    let rows: Vec<Vec<Cell>> = list
        .iter()
        .map(|one| {
            let subnets: Vec<String> = one.network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
            let flags =
                [(one.network.internal, "internal"), (one.network.isolated, "isolated"), (one.network.nat, "nat")];
            let flags: Vec<&str> = flags.into_iter().filter_map(|(on, word)| on.then_some(word)).collect();
            vec![
                one.network.name.as_str().into(),
                one.network.driver.to_string().into(),
                if one.network.device.is_empty() { "-".into() } else { one.network.device.as_str().into() },
                if subnets.is_empty() { "-".into() } else { subnets.join(" ").into() },
                if flags.is_empty() { "-".into() } else { flags.join(" ").into() },
                one.attached.len().to_string().into(),
            ]
        })
        .collect();
    output::table(&["NAME", "KIND", "DEVICE", "SUBNETS", "FLAGS", "RUNNING"], &rows);
    Ok(0)
}
