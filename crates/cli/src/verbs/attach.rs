// SPDX-License-Identifier: Apache-2.0
//! `cella attach`: connects to a running container.

use clap::{ArgMatches, Command};
use engine::{Attach, Outcome, Result};

use crate::app::Context;
use crate::definition::{terminal, text};
use crate::flags::{attaching, container, switch};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Connect to a running container")
        .arg(switch("no-stdin", "Only its output"))
        .args(attaching())
        .arg(container())
        .after_help("Example:\n  cella attach web      # ctrl-p ctrl-q lets go")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let attach = if matches.get_flag("no-stdin") { Attach::Output } else { Attach::All };
    let session = context.engine()?.attach(&text(matches, "container").unwrap_or_default(), attach)?;
    match session.run(&terminal(matches)?)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}
