// SPDX-License-Identifier: Apache-2.0
//! `cella rm`: removes containers with all that belongs to them.

use clap::{ArgMatches, Command};
use engine::{Kind, Removal, Result};

use crate::app::Context;
use crate::definition::texts;
use crate::flags::{containers, switch};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Remove containers")
        .arg(switch("force", "Also one that runs, and say nothing of one that is not there").short('f'))
        .arg(switch("volumes", "Also the unnamed volumes that came with it").short('v'))
        .arg(switch("dry-run", "Only say what would be removed"))
        .arg(containers())
        .after_help("Example:\n  cella rm -f web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let removal = Removal { force: matches.get_flag("force"), volumes: matches.get_flag("volumes") };
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        if matches.get_flag("dry-run") {
            for thing in engine.removal_preview(name, removal)? {
                crate::output::line(&thing);
            }
            return Ok(());
        }
        match engine.remove(name, removal) {
            Err(error) if error.kind == Kind::NotFound && removal.force => return Ok(()),
            other => other?,
        }
        crate::output::line(name);
        Ok(())
    })
}
