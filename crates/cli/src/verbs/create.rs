// SPDX-License-Identifier: Apache-2.0
//! `cella create`: makes a container that is started later.

use std::io::Write;

use clap::{ArgMatches, Command};
use engine::{Created, Engine, Error, Kind, Result};
use spec::{Definition, Name};

use crate::app::Context;
use crate::definition::{definition, parsed, text};
use crate::progress::Progress;

pub(super) fn command(command: Command) -> Command {
    crate::flags::creation(command)
        .about("Make a container without starting it")
        .after_help("Example:\n  cella create --name web --memory 512M host sleep 1000")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let created = create(context, &engine, matches)?;
    crate::output::line(&created.id);
    Ok(0)
}

/// Makes it, writes its id where that was asked for, and tells warnings.
pub(super) fn create(context: &Context, engine: &Engine, matches: &ArgMatches) -> Result<Created> {
    let name: Option<Name> = parsed(matches, "name")?;
    // Before anything is made: a file that is there already is somebody else's.
    let cidfile = text(matches, "cidfile").map(|path| new_file(&path).map(|file| (path, file))).transpose()?;
    let created = definition(matches).and_then(|definition| make(context, engine, definition, name));
    let created = created.inspect_err(|_| {
        if let Some((path, _)) = &cidfile {
            std::fs::remove_file(path).ok();
        }
    })?;
    if let Some((path, mut file)) = cidfile {
        file.write_all(created.id.as_bytes()).map_err(|error| {
            // Whoever asked for the file has no other name for it.
            engine.remove(&created.id, engine::Removal { force: true, volumes: true }).ok();
            Error::new(Kind::Own, format!("cannot write {path}: {error}"))
        })?;
    }
    Ok(created)
}

/// Makes it with its progress shown, and tells warnings.
pub(super) fn make(context: &Context, engine: &Engine, definition: Definition, name: Option<Name>) -> Result<Created> {
    let mut progress = Progress::new(context.quiet);
    let created = engine.create(name, definition, &mut progress);
    drop(progress);
    let created = created?;
    if !context.quiet {
        for warning in &created.warnings {
            crate::output::tell(&format!("cella: warning: {warning}"));
        }
    }
    Ok(created)
}

fn new_file(path: &str) -> Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot make the id file {path}: {error}"))
            .hint("name a file that is not there yet")
    })
}
