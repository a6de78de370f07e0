// SPDX-License-Identifier: Apache-2.0
//! `cella boot-log`: what was said on the console since the last start.

use clap::{ArgMatches, Command};
use engine::{LogOptions, Result};

use super::logs::show;
use crate::app::Context;
use crate::definition::{text, time};
use crate::flags::{container, switch};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what a container has said on its console since its last start")
        .arg(switch("follow", "Go on until it ends").short('f'))
        .arg(switch("timestamps", "With the time of each line").short('t'))
        .arg(container())
        .after_help("Example:\n  cella boot-log web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let name = text(matches, "container").unwrap_or_default();
    let engine = context.engine()?;
    let started = engine.inspect(&name)?.summary.started;
    let since_ns = started.map(|started| time(&started)).transpose()?;
    let options = LogOptions { follow: matches.get_flag("follow"), since_ns, ..LogOptions::default() };
    show(&engine, &name, options, matches.get_flag("timestamps"))
}
