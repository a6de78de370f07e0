// SPDX-License-Identifier: Apache-2.0
//! `cella wait`: waits for the end of containers.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;
use crate::flags::containers;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Wait for containers to end, and print their exit codes")
        .arg(containers())
        .after_help("Example:\n  cella wait web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        crate::output::line(&engine.wait(name)?.to_string());
        Ok(())
    })
}
