// SPDX-License-Identifier: Apache-2.0
//! `cella version`: which program this is.

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;
use crate::definition::text;
use crate::flags::format;
use crate::output;

pub(super) fn command(command: Command) -> Command {
    command.about("Show the version").arg(format()).after_help("Example:\n  cella version --format json")
}

pub(super) fn run(_: &Context, matches: &ArgMatches) -> Result<i32> {
    let version = env!("CARGO_PKG_VERSION");
    match text(matches, "format").as_deref() {
        Some("json") => output::json(&serde_json::json!({ "version": version, "oci_runtime_spec": "1.3.0" })),
        _ => output::line(&format!("cella {version}")),
    }
    Ok(0)
}
