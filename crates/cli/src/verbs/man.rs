// SPDX-License-Identifier: Apache-2.0
//! `cella man`: writes the manual pages, for whoever packages this.

use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use engine::{Error, Kind, Result};

use crate::app::Context;
use crate::definition::text;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Write the manual pages to a directory")
        .hide(true)
        .arg(Arg::new("directory").value_name("DIR").required(true).help("A directory that is there"))
        .after_help("Example:\n  cella man /usr/share/man/man1")
}

pub(super) fn run(_: &Context, matches: &ArgMatches) -> Result<i32> {
    let directory = text(matches, "directory").unwrap_or_default();
    let whole = crate::app::whole();
    let pages = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| {
        let name = format!("cella-{}", verb.get_name());
        (name.clone(), verb.clone().name(name))
    });
    for (name, command) in pages.chain([("cella".to_owned(), whole.clone())]) {
        let path = Path::new(&directory).join(format!("{name}.1"));
        let mut page = Vec::new();
        let written = clap_mangen::Man::new(command).render(&mut page).and_then(|()| std::fs::write(&path, page));
        written.map_err(|error| Error::new(Kind::Own, format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(0)
}
