// SPDX-License-Identifier: Apache-2.0
//! `cella pause`: holds all processes of containers.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;
use crate::flags::containers;

pub(super) fn command(command: Command) -> Command {
    command.about("Hold all processes of containers").arg(containers()).after_help("Example:\n  cella pause web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        engine.pause(name)?;
        crate::output::line(name);
        Ok(())
    })
}
