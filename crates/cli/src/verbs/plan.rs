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
        .mut_arg("words", |arg| arg.value_names(["CONTAINER|IMAGE", "COMMAND"]))
        .arg(crate::flags::format())
        .after_help("Examples:\n  cella plan web\n  cella plan --memory 64M host sh")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let words = texts(matches, "words");
    let by_flag = |id: &clap::Id| matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine);
    let has_flags = matches.ids().any(|id| !["words", "format"].contains(&id.as_str()) && by_flag(id));
    let container = match words.as_slice() {
        [word] if !has_flags && word != "host" && !word.contains(':') => Some(word),
        _ => None,
    };
    let plan = match container {
        Some(name) => engine.plan(name)?,
        None => engine.plan_of(definition(matches)?, &mut Progress::new(context.quiet))?,
    };
    match text(matches, "format").as_deref() {
        Some("json") => output::json(&plan),
        _ => output::line(plan.to_string().trim_end()),
    }
    Ok(0)
}
