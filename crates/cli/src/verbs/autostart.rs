// SPDX-License-Identifier: Apache-2.0
//! `cella autostart`: what is started with the host; started and stopped by the host's own units.

use std::path::Path;

use clap::{ArgMatches, Command};
use engine::{Error, Kind, Result};

use crate::app::Context;
use crate::definition::text;
use crate::flags::{format, switch, value};
use crate::output;

/// The units of the host; `CELLA` in them is this program.
const UNITS: [(&str, &str); 2] = [
    ("cella.service", include_str!("../../units/cella.service")),
    ("cella@.service", include_str!("../../units/cella@.service")),
];

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what is started with the host; start or stop all of it")
        .arg(switch("start", "Start them, in their order").conflicts_with("stop"))
        .arg(switch("stop", "Stop everything that runs, in the opposite order"))
        .arg(
            value("install", "DIR", "Write cella.service and cella@.service there (/etc/systemd/system)")
                .conflicts_with_all(["start", "stop"]),
        )
        .arg(format())
        .after_help("Examples:\n  cella set --autostart --order 10 web && cella autostart\n  cella autostart --install /etc/systemd/system && systemctl enable --now cella")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    if let Some(directory) = text(matches, "install") {
        return install(Path::new(&directory), context.root().as_deref());
    }
    let engine = context.engine()?;
    let mut failures = 0;
    let mut told = |name: &spec::Name, went: Result<()>| match went {
        Ok(()) => output::line(name.as_str()),
        Err(error) => {
            failures += 1;
            output::tell(&format!("cella: {}", error.message.replace('\n', " ")));
        }
    };
    if matches.get_flag("start") {
        engine.start_with_host(&mut told)?;
    } else if matches.get_flag("stop") {
        engine.stop_with_host(&mut told)?;
    } else {
        let rows = engine.autostart()?;
        if text(matches, "format").as_deref() == Some("json") {
            output::json(&rows);
            return Ok(0);
        }
        let cells = |row: &engine::AutostartRow| {
            let delay = if row.delay_ms == 0 { "-".to_owned() } else { output::span(row.delay_ms / 1000) };
            let state = if row.running { "running" } else { "-" };
            vec![
                row.name.as_str().into(),
                row.order.to_string().into(),
                delay.into(),
                row.reason.as_str().into(),
                state.into(),
            ]
        };
        output::table(&["NAME", "ORDER", "DELAY", "BECAUSE", "STATUS"], &rows.iter().map(cells).collect::<Vec<_>>());
    }
    Ok(i32::from(failures > 0))
}

/// A path as systemd reads a word.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

fn install(directory: &Path, root: Option<&Path>) -> Result<i32> {
    let failed = |error: std::io::Error| Error::new(Kind::Own, format!("cannot write units: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let root = root.map(|root| format!(" --root {}", word(root))).unwrap_or_default();
    let command = format!("{}{root}", word(&program));
    for (name, text) in UNITS {
        let path = directory.join(name);
        std::fs::write(&path, text.replace("CELLA", &command)).map_err(failed)?;
        output::line(&path.to_string_lossy());
    }
    output::tell("systemctl daemon-reload && systemctl enable --now cella");
    Ok(0)
}
