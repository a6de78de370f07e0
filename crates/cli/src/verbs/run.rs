// SPDX-License-Identifier: Apache-2.0
//! `cella run`: makes a container and starts it.

use std::io::IsTerminal;

use clap::{ArgMatches, Command};
use engine::{Attach, Engine, Error, Kind, Outcome, Removal, Result, Session};

use super::create::create;
use crate::app::Context;
use crate::definition::{terminal, text};
use crate::flags::{attaching, switch};

pub(super) fn command(command: Command) -> Command {
    crate::flags::creation(command)
        .about("Make a container and start it")
        .arg(switch("detach", "Leave it running, and print its id").short('d'))
        .args(attaching())
        .after_help("Examples:\n  cella run --rm host -- sh -c 'hostname; id -un'\n  cella run -d --name web --memory 512M bootstrap:debian/bookworm sleep 1000")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let detach = matches.get_flag("detach");
    let terminal = terminal(matches)?;
    if !detach && matches.get_flag("tty") && matches.get_flag("interactive") {
        needs_terminal()?;
    }
    let engine = context.engine()?;
    let created = create(context, &engine, matches)?;
    let attach = match (detach, matches.get_flag("interactive") || matches.get_flag("system")) {
        (true, _) => Attach::None,
        (false, true) => Attach::All,
        (false, false) => Attach::Output,
    };
    let session =
        engine.start(created.name.as_str(), attach).inspect_err(|_| discard(&engine, &created.id, matches))?;
    tell_warnings(context, &session);
    if let Some(path) = text(matches, "pidfile") {
        write_pid(&path, &session).inspect_err(|_| discard(&engine, &created.id, matches))?;
    }
    if detach {
        crate::output::line(&created.id);
        return Ok(0);
    }
    match session.run(&terminal)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}

/// What can not be started leaves nothing.
fn discard(engine: &Engine, id: &str, matches: &ArgMatches) {
    // The failed start is what is told; a container with --rm is gone already.
    engine.remove(id, Removal { force: true, volumes: true }).ok();
    if let Some(path) = text(matches, "cidfile") {
        std::fs::remove_file(path).ok();
    }
}

pub(super) fn tell_warnings(context: &Context, session: &Session) {
    for warning in session.warnings().iter().filter(|_| !context.quiet) {
        crate::output::tell(&format!("cella: warning: {warning}"));
    }
}

pub(super) fn write_pid(path: &str, session: &Session) -> Result<()> {
    std::fs::write(path, session.pid().to_string())
        .map_err(|error| Error::new(Kind::Own, format!("cannot write {path}: {error}")))
}

/// A terminal inside is of no use when nobody types at one outside.
pub(super) fn needs_terminal() -> Result<()> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "standard input is not a terminal").hint("leave -t away, or -i"))
}
