// SPDX-License-Identifier: Apache-2.0
//! `cella start`: starts containers that are there.

use clap::{ArgMatches, Command};
use engine::{Attach, Error, Kind, Outcome, Result};

use super::launch::{PATIENCE_MS, ready_timeout};
use super::run::tell_warnings;
use crate::app::Context;
use crate::definition::{seconds, terminal, texts};
use crate::flags::{attaching, containers, switch};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Start containers")
        .arg(switch("attach", "Show its output, and end with its exit code").short('a'))
        .arg(switch("interactive", "Pass standard input on, too").short('i'))
        .arg(switch("wait-ready", "Return when its init says that everything is up (system containers)"))
        .arg(ready_timeout())
        .args(attaching())
        .arg(containers())
        .after_help("Example:\n  cella start -a web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let names = texts(matches, "container");
    let engine = context.engine()?;
    let patience = seconds(matches, "ready-timeout")?.unwrap_or(PATIENCE_MS);
    let attach = match (matches.get_flag("attach"), matches.get_flag("interactive")) {
        (_, true) => Attach::All,
        (true, false) => Attach::Output,
        (false, false) => {
            return Context::each(&names, |name| {
                tell_warnings(context, &engine.start(name, Attach::None)?);
                if matches.get_flag("wait-ready") {
                    engine.wait_ready(name, patience)?;
                }
                crate::output::line(name);
                Ok(())
            });
        }
    };
    let [name] = names.as_slice() else {
        return Err(Error::new(Kind::Invalid, "only one container can be attached to")
            .hint("start the others without -a and -i"));
    };
    let session = engine.start(name, attach)?;
    tell_warnings(context, &session);
    match session.run(&terminal(matches)?)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => Ok(0),
    }
}
