// SPDX-License-Identifier: Apache-2.0
//! `cella exec`: runs a further program in a running container.

use clap::{ArgMatches, Command};
use engine::{Exec, Outcome, Result};

use super::run::needs_terminal;
use crate::app::Context;
use crate::definition::{environment, terminal, text, texts};
use crate::flags::{attaching, container, list, switch, value, words};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Run a program in a running container")
        .arg(switch("detach", "Leave it running").short('d'))
        .arg(switch("interactive", "Pass standard input on").short('i'))
        .arg(switch("tty", "Give it a terminal").short('t'))
        .arg(list("env", "NAME[=VALUE]", "A variable").short('e'))
        .arg(list("env-file", "FILE", "Variables, one a line"))
        .arg(value("workdir", "DIR", "Where the program starts").short('w'))
        .arg(value("user", "USER[:GROUP]", "Who runs it").short('u'))
        .arg(switch("privileged", "With all capabilities"))
        .args(attaching())
        .arg(container())
        .arg(words("Program and arguments"))
        .after_help("Example:\n  cella exec -it web sh")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let mut command = texts(matches, "command");
    if command.len() > 1 && command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    let exec = Exec {
        command,
        env: environment(matches)?,
        user: text(matches, "user"),
        workdir: text(matches, "workdir"),
        tty: matches.get_flag("tty"),
        interactive: matches.get_flag("interactive"),
        detach: matches.get_flag("detach"),
        privileged: matches.get_flag("privileged"),
    };
    if exec.tty && exec.interactive && !exec.detach {
        needs_terminal()?;
    }
    let name = text(matches, "container").unwrap_or_default();
    match context.engine()?.exec(&name, &exec, &terminal(matches)?)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}
