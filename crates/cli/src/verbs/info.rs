// SPDX-License-Identifier: Apache-2.0
//! `cella info`: the host and the store.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::format;
use crate::output;

pub(super) fn command(command: Command) -> Command {
    command.about("Show the host and the store").arg(format()).after_help("Example:\n  cella info --format json")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let info = context.engine()?.info()?;
    if text(matches, "format").as_deref() == Some("json") {
        output::json(&info);
        return Ok(0);
    }
    let rows = [
        ("version", info.version.to_owned()),
        ("kernel", format!("{} {}", info.kernel, info.architecture)),
        ("host name", info.hostname),
        ("processors", info.processors.to_string()),
        ("memory", spec::size::format_bytes(info.memory)),
        ("cgroups", info.cgroups),
        ("security modules", info.security_modules),
        ("store", info.root),
        ("runtime state", info.run),
        ("containers", format!("{} ({} running, {} paused)", info.containers, info.running, info.paused)),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:<17} {value}"));
    }
    Ok(0)
}
