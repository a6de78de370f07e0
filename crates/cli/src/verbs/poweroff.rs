// SPDX-License-Identifier: Apache-2.0
//! `cella poweroff`: has the init of system containers end everything.

use clap::{ArgMatches, Command};
use engine::{Error, Kind, Result, Stop};

use crate::app::Context;
use crate::definition::{seconds, texts};
use crate::flags::{containers, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Power off system containers, in the way of their own init")
        .arg(value("time", "SECONDS", "Until it is killed (default 60)").short('t').alias("timeout"))
        .arg(containers())
        .after_help("Example:\n  cella poweroff web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let stop = Stop { signal: None, timeout_ms: seconds(matches, "time")? };
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        if engine.inspect(name)?.summary.kind != "system" {
            let message = format!("{name} is no system container");
            return Err(Error::new(Kind::Conflict, message).hint(format!("cella stop {name}")));
        }
        engine.stop(name, stop)?;
        crate::output::line(name);
        Ok(())
    })
}
