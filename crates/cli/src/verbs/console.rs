// SPDX-License-Identifier: Apache-2.0
//! `cella console`: the console of a system container, where it asks who logs in.

use clap::{ArgMatches, Command};
use engine::{Attach, Error, Kind, Outcome, Result};

use crate::app::Context;
use crate::definition::{terminal, text};
use crate::flags::{attaching, container};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Connect to the console of a system container")
        .args(attaching())
        .arg(container())
        .after_help("Example:\n  cella console web      # Enter shows the prompt, ctrl-p ctrl-q lets go")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let name = text(matches, "container").unwrap_or_default();
    let engine = context.engine()?;
    if engine.inspect(&name)?.summary.kind != "system" {
        let message = format!("{name} is no system container");
        return Err(Error::new(Kind::Conflict, message).hint(format!("cella attach {name}")));
    }
    let session = engine.attach(&name, Attach::All)?;
    if !context.quiet && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let keys = text(matches, "detach-keys").unwrap_or_else(|| "ctrl-p,ctrl-q".to_owned());
        crate::output::tell(&format!("console of {}: Enter shows the prompt, {keys} lets go", session.name()));
    }
    match session.run(&terminal(matches)?)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}
