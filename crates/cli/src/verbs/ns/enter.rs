// SPDX-License-Identifier: Apache-2.0
//! `cella ns enter`: runs a program in namespaces that are there.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use engine::Result;
use engine::namespaces::Entering;

use crate::app::Context;
use crate::definition::text;
use crate::flags::{list, switch, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Run a program in the namespaces of a process or container, or in that of a file")
        .arg(list("types", "TYPE,…", "Only these kinds (all that differ from ours otherwise)"))
        .arg(value("user", "UID[:GID]", "Who it runs as (root, where a user namespace is entered)").short('u'))
        .arg(switch("keep-ids", "User and groups stay what they are").conflicts_with("user"))
        .arg(switch("chroot", "The process's root directory, too"))
        .arg(value("workdir", "DIR", "Where the program starts").short('w').value_parser(clap::value_parser!(PathBuf)))
        .arg(Arg::new("target").value_name("PID|CONTAINER|FILE").required(true).help(
            "A process's number, a container's name or id, or a file such as /run/netns/NAME",
        ))
        .arg(super::words())
        .after_help("Examples:\n  cella ns enter --types net web -- ip address\n  cella ns enter /run/netns/lab -- ping 10.0.0.1")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let entering = Entering {
        target: text(matches, "target").unwrap_or_default(),
        kinds: super::types(matches),
        user: super::user(matches)?,
        keep_ids: matches.get_flag("keep-ids"),
        chroot: matches.get_flag("chroot"),
        workdir: matches.get_one::<PathBuf>("workdir").cloned(),
    };
    context.namespaces().enter(&entering, &super::program(matches)?)
}
