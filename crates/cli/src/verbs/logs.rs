// SPDX-License-Identifier: Apache-2.0
//! `cella logs`: what a container has written.

use std::io::Write;

use clap::{ArgMatches, Command};
use engine::{Engine, Error, Kind, LogLine, LogOptions, Result};

use crate::app::Context;
use crate::definition::{text, time};
use crate::flags::{container, switch, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what a container has written")
        .arg(switch("follow", "Go on until it ends").short('f'))
        .arg(value("since", "TIME", "From then on: 10m, or 2026-11-23T10:00:00Z"))
        .arg(value("until", "TIME", "Up to then"))
        .arg(value("tail", "NUMBER", "Only the last lines").short('n'))
        .arg(switch("timestamps", "With the time of each line").short('t'))
        .arg(container())
        .after_help("Example:\n  cella logs -f --tail 20 web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let tail = match text(matches, "tail").as_deref() {
        None | Some("all") => None,
        Some(number) => {
            Some(number.parse().map_err(|_| Error::new(Kind::Invalid, format!("invalid number of lines {number:?}")))?)
        }
    };
    let at = |name: &str| text(matches, name).map(|text| time(&text)).transpose();
    let options =
        LogOptions { follow: matches.get_flag("follow"), since_ns: at("since")?, until_ns: at("until")?, tail };
    let stamps = matches.get_flag("timestamps");
    let name = text(matches, "container").unwrap_or_default();
    show(&context.engine()?, &name, options, stamps)
}

/// The lines of a log, on the streams that they were written to.
pub(super) fn show(engine: &Engine, name: &str, options: LogOptions, stamps: bool) -> Result<i32> {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    // Asked for line by line: without a reader there is nothing more to do.
    engine.logs(name, options, &mut |line| match line.is_error {
        true => write(&mut err, line, stamps).is_ok(),
        false => write(&mut out, line, stamps).is_ok(),
    })?;
    Ok(0)
}

fn write(to: &mut dyn Write, line: &LogLine, stamps: bool) -> std::io::Result<()> {
    if stamps {
        write!(to, "{} ", spec::timestamp::format(line.time_ns))?;
    }
    to.write_all(&line.bytes)?;
    to.flush()
}
