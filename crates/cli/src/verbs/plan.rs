// SPDX-License-Identifier: Apache-2.0
//! `cella plan`: the steps that start a container, shown and not done.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::{definition, text, texts};
use crate::output;
use crate::progress::Progress;

pub(super) fn command(command: Command) -> Command {
    crate::flags::creation(command)
        .about("Show the steps that start a container, or such a container as the flags of run describe")
        .mut_arg("image", |arg| arg.value_name("CONTAINER|IMAGE").help("A container that is there, or an image"))
        .arg(crate::flags::format())
        .after_help("Examples:\n  cella plan web\n  cella plan --memory 64M host sh")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let word = text(matches, "image").unwrap_or_default();
    let is_container = texts(matches, "command").is_empty() && word != "host" && !word.contains(':');
    let plan = match is_container {
        true => engine.plan(&word)?,
        false => engine.plan_of(definition(matches)?, &mut Progress::new(context.quiet))?,
    };
    match text(matches, "format").as_deref() {
        Some("json") => output::json(&plan),
        _ => output::line(plan.to_string().trim_end()),
    }
    Ok(0)
}
