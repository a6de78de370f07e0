// SPDX-License-Identifier: Apache-2.0
//! `cella ns stat`: both owners of a file.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show who owns a file of a container, inside and outside")
        .arg(super::json())
        .arg(super::target("target"))
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .num_args(1..)
                .value_parser(clap::value_parser!(PathBuf))
                .help("As the process or container has it"),
        )
        .after_help("Example:\n  cella ns stat web /etc/shadow")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (namespaces, target) = (context.namespaces(), text(matches, "target").unwrap_or_default());
    let paths = matches.get_many::<PathBuf>("path").into_iter().flatten();
    let files = paths.map(|path| namespaces.stat(&target, path)).collect::<Result<Vec<_>>>()?;
    if matches.get_flag("json") {
        output::json(&files);
        return Ok(0);
    }
    let inside = |id: Option<u32>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
    let rows: Vec<Vec<Cell>> = files
        .iter()
        .map(|file| {
            vec![
                file.path.display().to_string().into(),
                format!("{}:{}", inside(file.inside_uid), inside(file.inside_gid)).into(),
                format!("{}:{}", file.uid, file.gid).into(),
                format!("{:04o}", file.mode).into(),
            ]
        })
        .collect();
    output::table(&["PATH", "INSIDE", "OUTSIDE", "MODE"], &rows);
    Ok(0)
}
