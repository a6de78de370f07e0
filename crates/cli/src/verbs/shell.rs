// SPDX-License-Identifier: Apache-2.0
//! `cella shell`: a login in a container, with a session of its own.

use std::io::IsTerminal;

use clap::{ArgMatches, Command};
use engine::{Outcome, Result};

use crate::app::Context;
use crate::definition::{terminal, text, texts};
use crate::flags::{attaching, container, value, words};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Log in to a container, or run a command as a login")
        .arg(value("user", "USER", "Who logs in (default root)").short('u'))
        .args(attaching())
        .arg(container())
        .arg(words("A program with arguments in place of the shell").num_args(0..).required(false))
        .after_help("Examples:\n  cella shell web\n  cella shell -u www-data web -- id")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let mut command = texts(matches, "command");
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    let (name, user) = (text(matches, "container").unwrap_or_default(), text(matches, "user"));
    let engine = context.engine()?;
    let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let exec = engine.login(&name, user.as_deref().unwrap_or("root"), &command, tty)?;
    match engine.exec(&name, &exec, &terminal(matches)?)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}
