// SPDX-License-Identifier: Apache-2.0
//! `cella kill`: sends the first process of containers a signal.

use clap::{ArgMatches, Command};
use engine::Result;
use spec::signal::Signal;

use crate::app::Context;
use crate::definition::{parsed, texts};
use crate::flags::{containers, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Send containers a signal")
        .arg(value("signal", "SIGNAL", "Name or number (default KILL)").short('s'))
        .arg(containers())
        .after_help("Example:\n  cella kill -s HUP web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let signal = parsed(matches, "signal")?.unwrap_or(Signal(9));
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        engine.kill(name, signal)?;
        crate::output::line(name);
        Ok(())
    })
}
