// SPDX-License-Identifier: Apache-2.0
//! `cella reboot`: has the init of system containers end everything and begin again.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::{seconds, texts};
use crate::flags::{containers, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Reboot system containers, in the way of their own init")
        .arg(value("time", "SECONDS", "Until it is killed, and begins again (default 60)").short('t').alias("timeout"))
        .arg(containers())
        .after_help("Example:\n  cella reboot web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let timeout_ms = seconds(matches, "time")?;
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        engine.reboot(name, timeout_ms)?;
        crate::output::line(name);
        Ok(())
    })
}
