// SPDX-License-Identifier: Apache-2.0
//! `cella device`: devices of the host in a container, also while it runs.

use clap::{Arg, ArgMatches, Command};
use engine::Result;
use spec::definition::Device;

use crate::app::Context;
use crate::definition::{parsed_list, text, texts};
use crate::flags::{container, format};
use crate::output;

pub(super) fn command(command: Command) -> Command {
    let words = |name: &'static str, help: &'static str| {
        Arg::new("device").value_name(name).required(true).num_args(1..).help(help)
    };
    command
        .about("Devices of the host in a container")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("ls")
                .about("List the devices that a container was given")
                .arg(format())
                .arg(container())
                .after_help("Example:\n  cella device ls web"),
        )
        .subcommand(
            Command::new("add")
                .about("Give it devices, at once when it runs")
                .arg(container())
                .arg(words("PATH[:PATH][:rwm]", "A device of the host, its path inside, what may be done with it"))
                .after_help("Example:\n  cella device add web /dev/fuse /dev/net/tun"),
        )
        .subcommand(
            Command::new("rm")
                .about("Take devices back")
                .arg(container())
                .arg(words("PATH", "The path inside"))
                .after_help("Example:\n  cella device rm web /dev/fuse"),
        )
        .after_help("Example:\n  cella device add web /dev/fuse")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (word, sub) = matches.subcommand().unwrap_or(("", matches));
    let engine = context.engine()?;
    let name = text(sub, "container").unwrap_or_default();
    match word {
        "ls" => {
            let list = engine.devices(&name)?;
            if text(sub, "format").as_deref() == Some("json") {
                output::json(&list);
                return Ok(0);
            }
            let row =
                |one: &Device| vec![one.target.as_str().into(), one.source.as_str().into(), one.access.as_str().into()];
            output::table(&["DEVICE", "SOURCE", "ACCESS"], &list.iter().map(row).collect::<Vec<_>>());
        }
        "add" => engine.add_devices(&name, &parsed_list(sub, "device")?)?,
        _ => engine.remove_devices(&name, &texts(sub, "device"))?,
    }
    Ok(0)
}
