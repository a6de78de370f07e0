// SPDX-License-Identifier: Apache-2.0
//! `cella resume`: lets the processes of held containers go on.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::texts;
use crate::flags::containers;

pub(super) fn command(command: Command) -> Command {
    command.about("Let held containers go on").arg(containers()).after_help("Example:\n  cella resume web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        engine.resume(name)?;
        crate::output::line(name);
        Ok(())
    })
}
