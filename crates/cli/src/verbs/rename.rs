// SPDX-License-Identifier: Apache-2.0
//! `cella rename`: gives a container another name.

use clap::{Arg, ArgMatches, Command};
use engine::Result;
use spec::Name;

use crate::app::Context;
use crate::definition::text;
use crate::flags::container;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Give a container another name")
        .arg(container())
        .arg(Arg::new("name").value_name("NEW").required(true).help("The new name"))
        .after_help("Example:\n  cella rename web old-web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let new: Name = text(matches, "name").unwrap_or_default().parse()?;
    context.engine()?.rename(&text(matches, "container").unwrap_or_default(), &new)?;
    Ok(0)
}
