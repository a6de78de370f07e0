// SPDX-License-Identifier: Apache-2.0
//! `cella doctor`: what this host can and can not do, and what is left over.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::{format, switch};
use crate::output::{self, Cell};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Say what this host can and can not do, and what is left over")
        .arg(switch("repair", "Clear away what is left over"))
        .arg(format())
        .after_help("Example:\n  cella doctor --repair")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let findings = context.engine()?.doctor(matches.get_flag("repair"));
    let bad = findings.iter().any(|finding| finding.level == "error");
    if text(matches, "format").as_deref() == Some("json") {
        output::json(&findings);
        return Ok(i32::from(bad));
    }
    let rows: Vec<Vec<Cell>> = findings
        .iter()
        .map(|finding| {
            let level = match finding.level {
                "ok" => Cell::green("ok"),
                "warning" => Cell::yellow("warning"),
                other => Cell::red(other),
            };
            let mut detail = finding.detail.clone();
            if let Some(remedy) = &finding.remedy {
                detail = format!("{detail}; needed for {}; {remedy}", finding.effect);
            }
            vec![finding.name.as_str().into(), level, detail.into()]
        })
        .collect();
    output::table(&["CHECK", "LEVEL", "DETAIL"], &rows);
    Ok(i32::from(bad))
}
