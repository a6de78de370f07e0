// SPDX-License-Identifier: Apache-2.0
//! `cella ns id`: ids of users, groups and processes on both sides of a namespace.

use clap::{Arg, ArgMatches, Command};
use engine::Result;
use engine::namespaces::{Question, Translation};

use crate::app::Context;
use crate::definition::texts;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Translate ids: uid:33@web is inside web, web@uid:100033 is outside")
        .arg(super::json())
        .arg(
            Arg::new("id")
                .value_name("ID@TARGET|TARGET@ID")
                .required(true)
                .num_args(1..)
                .help("uid:, gid: or pid: and a number; the target is a process or a container"),
        )
        .after_help("Examples:\n  cella ns id uid:33@web pid:1@web\n  cella ns id web@uid:100033")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let questions = texts(matches, "id").iter().map(|text| text.parse()).collect::<Result<Vec<Question>>>()?;
    let namespaces = context.namespaces();
    let answers =
        questions.iter().map(|question| namespaces.translate(question)).collect::<Result<Vec<Translation>>>()?;
    if matches.get_flag("json") {
        output::json(&answers);
        return Ok(0);
    }
    let rows: Vec<Vec<Cell>> = answers
        .iter()
        .zip(&questions)
        .map(|(answer, question)| {
            let levels: Vec<String> = answer.levels.iter().map(ToString::to_string).collect();
            vec![
                question.target.as_str().into(),
                answer.what.word().into(),
                answer.inside.to_string().into(),
                answer.outside.to_string().into(),
                if levels.is_empty() { "-".into() } else { levels.join(" → ").into() },
            ]
        })
        .collect();
    output::table(&["TARGET", "ID", "INSIDE", "OUTSIDE", "LEVELS"], &rows);
    Ok(0)
}
