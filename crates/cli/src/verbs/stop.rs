// SPDX-License-Identifier: Apache-2.0
//! `cella stop`: asks containers to end, and ends them after a time.

use clap::{ArgMatches, Command};
use engine::{Result, Stop};

use crate::app::Context;
use crate::definition::{parsed, seconds, texts};
use crate::flags::{containers, stopping};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Ask containers to end, and end them after a time")
        .args(stopping())
        .arg(containers())
        .after_help("Example:\n  cella stop -t 3 web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let stop = Stop { signal: parsed(matches, "signal")?, timeout_ms: seconds(matches, "time")? };
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        engine.stop(name, stop)?;
        crate::output::line(name);
        Ok(())
    })
}
