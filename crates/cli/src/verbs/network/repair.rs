// SPDX-License-Identifier: Apache-2.0
//! `cella network repair`: makes bridges, packet filter and helpers again, as they should be.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Make bridges, packet filter and helpers again, after somebody has flushed or removed them")
        .after_help("Example:\n  cella network repair")
}

pub(super) fn run(context: &Context, _: &ArgMatches) -> Result<i32> {
    for warning in context.engine()?.network_repair()? {
        crate::output::tell(&format!("cella: warning: {warning}"));
    }
    Ok(0)
}
