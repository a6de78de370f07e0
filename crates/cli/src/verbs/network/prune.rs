// SPDX-License-Identifier: Apache-2.0
//! `cella network prune`: removes every network that no container is on.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::flags::switch;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Remove every network that no container is on")
        .arg(switch("dry-run", "Only say which"))
        .after_help("Example:\n  cella network prune --dry-run")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    for name in context.engine()?.network_prune(matches.get_flag("dry-run"))? {
        crate::output::line(name.as_str());
    }
    Ok(0)
}
