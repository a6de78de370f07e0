// SPDX-License-Identifier: Apache-2.0
//! `cella procview`: the view of /proc and /sys, for containers of others.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use engine::{Error, Kind, Result, Shown};

use crate::app::Context;
use crate::definition::text;
use crate::flags::{switch, value};

/// Where lxcfs is, so that what mounts its files finds ours.
const LXCFS: &str = "/var/lib/lxcfs";

pub(super) fn command(command: Command) -> Command {
    command
        .about("A view of /proc and /sys for containers of others")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Serve the view at a directory until it is unmounted, or a signal comes")
                .arg(switch("compat", "lxcfs's layout: whoever reads sees what the container that it is in has"))
                .arg(value("pid", "PID", "What the container of this process has, for everybody (faster)"))
                .arg(Arg::new("directory").value_name("DIR").help("Where; /var/lib/lxcfs with --compat"))
                .after_help(
                    "Example:\n  cella procview serve --compat /var/lib/lxcfs\n  docker run -v /var/lib/lxcfs/proc/meminfo:/proc/meminfo:ro …",
                ),
        )
        .after_help("Example:\n  cella procview serve --compat /var/lib/lxcfs")
}

pub(super) fn run(_context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (_, sub) = matches.subcommand().unwrap_or(("", matches));
    let directory = text(sub, "directory").map(PathBuf::from);
    let pid = text(sub, "pid").map(|pid| {
        let number = pid.parse::<i32>().ok().filter(|pid| *pid > 0);
        number.ok_or_else(|| Error::new(Kind::Invalid, format!("invalid process id {pid:?}: it is no positive number")))
    });
    let (shown, directory) = match (sub.get_flag("compat"), pid.transpose()?, directory) {
        (true, None, directory) => (Shown::Compat, directory.unwrap_or_else(|| LXCFS.into())),
        (false, Some(pid), Some(directory)) => (Shown::Process(pid), directory),
        (true, Some(_), _) => return Err(Error::new(Kind::Invalid, "--compat and --pid can not be used together")),
        (false, _, _) => {
            let error = Error::new(Kind::Invalid, "it is not said what to serve, or where");
            return Err(error.hint("write --compat [DIR], or --pid PID DIR"));
        }
    };
    engine::serve_view(&directory, shown)?;
    Ok(0)
}
