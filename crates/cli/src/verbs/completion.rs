// SPDX-License-Identifier: Apache-2.0
//! `cella completion`: what a shell needs to complete our words.

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use engine::Result;

use crate::app::Context;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Print completions for a shell")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(["bash", "zsh", "fish"])
                .help("bash, zsh or fish"),
        )
        .after_help("Example:\n  cella completion bash > /etc/bash_completion.d/cella")
}

pub(super) fn run(_: &Context, matches: &ArgMatches) -> Result<i32> {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::app::whole(), "cella", &mut text);
    crate::output::print(&String::from_utf8_lossy(&text));
    Ok(0)
}
