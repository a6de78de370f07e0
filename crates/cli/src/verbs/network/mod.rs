// SPDX-License-Identifier: Apache-2.0
//! `cella network`: networks, and who is on them; one file per word.

mod connect;
mod create;
mod inspect;
mod ls;
mod prune;
mod repair;
mod rm;
mod traffic;

use clap::{Arg, ArgMatches, Command};
use engine::Result;

use crate::app::Context;

type Build = fn(Command) -> Command;
type Run = fn(&Context, &ArgMatches) -> Result<i32>;

/// The words below `cella network`.
const WORDS: &[(&str, Build, Run)] = &[
    ("create", create::command, create::run),
    ("ls", ls::command, ls::run),
    ("inspect", inspect::command, inspect::run),
    ("rm", rm::command, rm::run),
    ("prune", prune::command, prune::run),
    ("connect", connect::command, connect::run),
    ("disconnect", connect::disconnect_command, connect::disconnect),
    ("set", connect::set_command, connect::set),
    ("traffic", traffic::command, traffic::run),
    ("repair", repair::command, repair::run),
];

pub(super) fn command(command: Command) -> Command {
    command
        .about("Networks, and who is on them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(WORDS.iter().map(|(name, build, _)| build(Command::new(*name))))
        .after_help("Example:\n  cella network create back && cella run -d --network back --name db host sleep 1000")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (name, sub) = matches.subcommand().unwrap_or(("", matches));
    match WORDS.iter().find(|(word, ..)| *word == name) {
        Some((_, _, run)) => run(context, sub),
        None => Ok(125),
    }
}

/// One network.
fn network() -> Arg {
    Arg::new("network").value_name("NETWORK").required(true).help("Its name")
}
