// SPDX-License-Identifier: Apache-2.0
//! `cella launch`: makes a system container, starts it, and waits until everything is up.

use std::time::Instant;

use clap::{Arg, ArgMatches, Command};
use engine::{Attach, Engine, Result};

use super::create::make;
use super::run::{tell_warnings, write_pid};
use crate::app::Context;
use crate::definition::{definition, seconds, text};
use crate::flags::{switch, value};
use crate::output;

/// Milliseconds until a system should be up.
pub(super) const PATIENCE_MS: u64 = 120_000;

pub(super) fn command(command: Command) -> Command {
    crate::flags::launch(command)
        .about("Make a system container, start it, and wait until it is up")
        .arg(switch("no-wait", "Return as soon as its init runs"))
        .arg(ready_timeout())
        .arg(Arg::new("image").value_name("IMAGE").required(true).help("bootstrap:debian/SUITE, tar:/PATH, dir:/PATH or oci:/LAYOUT[:TAG]"))
        .arg(Arg::new("container").value_name("NAME").help("Its name (one is made up otherwise)"))
        .after_help("Examples:\n  cella launch bootstrap:debian/trixie web\n  cella launch -m 1G --autostart tar:/srv/noble.tar.xz build && cella shell build")
}

/// `--ready-timeout`.
pub(super) fn ready_timeout() -> Arg {
    value("ready-timeout", "SECONDS", "How long it may take until it is up (default 120)")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let begin = Instant::now();
    let engine = context.engine()?;
    let name = text(matches, "container").map(|name| name.parse()).transpose()?;
    let created = make(context, &engine, definition(matches)?, name)?;
    let name = created.name.as_str();
    let started = engine.start(name, Attach::None);
    let session = started.inspect_err(|_| {
        // What can not be started leaves nothing; why it can not is what is told.
        engine.remove(name, engine::Removal { force: true, volumes: true }).ok();
    })?;
    tell_warnings(context, &session);
    if let Some(path) = text(matches, "pidfile") {
        write_pid(&path, &session)?;
    }
    if matches.get_flag("no-wait") {
        output::line(name);
        return Ok(0);
    }
    engine.wait_ready(name, seconds(matches, "ready-timeout")?.unwrap_or(PATIENCE_MS))?;
    output::line(&line(&engine, name, begin.elapsed().as_secs_f64())?);
    Ok(0)
}

/// `web  running  10.88.0.2  systemd 257  0 failed units  3.1 s`.
pub(super) fn line(engine: &Engine, name: &str, seconds: f64) -> Result<String> {
    let view = engine.system(name)?;
    let address = engine.inspect(name)?.summary.addresses.first().map(ToString::to_string);
    let failed = view.failed_units.map(|count| format!("{count} failed {}", if count == 1 { "unit" } else { "units" }));
    let parts =
        [Some(name.to_owned()), Some(view.state), address, Some(view.init), failed, Some(format!("{seconds:.1} s"))];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join("  "))
}
