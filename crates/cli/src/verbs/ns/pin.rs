// SPDX-License-Identifier: Apache-2.0
//! `cella ns pin`, `cella ns unpin`: namespaces that stay without a process.

use clap::{Arg, ArgGroup, ArgMatches, Command};
use engine::Result;
use engine::namespaces::Pin;

use crate::app::Context;
use crate::definition::{text, texts};
use crate::flags::{list, switch, value};
use crate::output;

/// One flag for each kind, of which one is given.
fn kinds(command: Command) -> Command {
    let help = [
        "A user namespace",
        "A cgroup namespace",
        "An IPC namespace",
        "A UTS namespace",
        "A network namespace (the default)",
        "A pid namespace",
        "A time namespace",
        "A mount namespace",
    ];
    let flags = super::KINDS.into_iter().zip(help).map(|(kind, help)| switch(kind, help));
    command.args(flags).group(ArgGroup::new("kind").args(super::KINDS))
}

fn kind(matches: &ArgMatches) -> String {
    super::KINDS.into_iter().find(|kind| matches.get_flag(kind)).unwrap_or("net").to_owned()
}

fn name() -> Arg {
    Arg::new("name")
        .value_name("NAME|PATH")
        .required(true)
        .help("A name (of networks in /run/netns, as ip netns has them), or the path of a file")
}

pub(super) fn command(command: Command) -> Command {
    kinds(command)
        .about("Keep a namespace without a process, by a mount of its file; ip netns finds those of networks")
        .arg(value("of", "PID|CONTAINER|FILE", "Whose namespace it is (a new one otherwise)"))
        .arg(list("map", "INSIDE:OUTSIDE:COUNT", "Users and groups of a new user namespace"))
        .arg(super::json())
        .arg(name())
        .after_help(
            "Examples:\n  cella ns pin --net lab && ip netns exec lab ip link\n  cella ns pin --uts --of web web-names",
        )
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let name = text(matches, "name").unwrap_or_default();
    let pin = Pin { kind: kind(matches), name, of: text(matches, "of"), maps: texts(matches, "map") };
    let pinned = context.namespaces().pin(&pin)?;
    match matches.get_flag("json") {
        true => output::json(&pinned),
        false => output::line(&output::plain(&format!("{}:[{}] {}", pinned.kind, pinned.inode, pinned.path.display()))),
    }
    Ok(0)
}

pub(super) fn unpin_command(command: Command) -> Command {
    kinds(command)
        .about("Let a namespace go that was kept by a mount; also one of ip netns")
        .arg(name())
        .after_help("Example:\n  cella ns unpin --net lab")
}

pub(super) fn unpin(context: &Context, matches: &ArgMatches) -> Result<i32> {
    context.namespaces().unpin(&kind(matches), &text(matches, "name").unwrap_or_default())?;
    Ok(0)
}
