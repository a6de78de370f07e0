// SPDX-License-Identifier: Apache-2.0
//! `cella network rm`: removes networks that no container is on.

use clap::{Arg, ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Remove networks that no container is on")
        .visible_alias("remove")
        .arg(Arg::new("network").value_name("NETWORK").required(true).num_args(1..).help("Names"))
        .after_help("Example:\n  cella network rm back")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    Context::each(&texts(matches, "network"), |name| {
        engine.network_remove(&name.parse()?)?;
        crate::output::line(name);
        Ok(())
    })
}
