// SPDX-License-Identifier: Apache-2.0
//! `cella ns ls`: every namespace of this host.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::{switch, value};
use crate::output::{self, Cell};

/// Characters of a command that are shown.
const COMMAND: usize = 40;

pub(super) fn command(command: Command) -> Command {
    command
        .about("List namespaces, also those that only an open file or a mount keeps alive")
        .visible_alias("list")
        .arg(value("type", "TYPE", "Only of this kind").short('t').value_parser(super::KINDS))
        .arg(switch("no-trunc", "Commands in full"))
        .arg(super::json())
        .after_help("Example:\n  cella ns ls --type net")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let listing = context.namespaces().list(text(matches, "type").as_deref())?;
    if matches.get_flag("json") {
        output::json(&listing);
        return Ok(0);
    }
    let most = if matches.get_flag("no-trunc") { usize::MAX } else { COMMAND };
    let rows: Vec<Vec<Cell>> = listing
        .namespaces
        .iter()
        .map(|row| {
            vec![
                row.kind.into(),
                row.inode.to_string().into(),
                super::or_dash(row.owner).into(),
                super::or_dash(row.creator).into(),
                super::or_dash(row.parent).into(),
                row.processes.to_string().into(),
                super::or_dash(row.oldest.as_ref().map(|oldest| oldest.pid)).into(),
                row.container.as_ref().map_or_else(|| "-".to_owned(), engine::namespaces::ContainerOwner::text).into(),
                super::holder(row, most).into(),
            ]
        })
        .collect();
    output::table(&["TYPE", "INODE", "OWNER", "UID", "PARENT", "PROCS", "PID", "CONTAINER", "COMMAND"], &rows);
    super::tell_hidden(context, &listing.hidden);
    Ok(0)
}
