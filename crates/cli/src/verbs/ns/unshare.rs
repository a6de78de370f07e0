// SPDX-License-Identifier: Apache-2.0
//! `cella ns unshare`: runs a program in new namespaces.

use std::path::PathBuf;

use clap::{ArgMatches, Command};
use engine::namespaces::{Namespaces, Unsharing};
use engine::{Error, Kind, Result};

use crate::app::Context;
use crate::definition::{text, texts};
use crate::flags::{list, switch, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Run a program in new namespaces")
        .arg(list("types", "TYPE,…", "Which kinds are new: user, cgroup, ipc, uts, net, pid, time, mnt"))
        .arg(switch("map-root", "A user namespace in which we are root, and nobody else is anybody"))
        .arg(list("map", "INSIDE:OUTSIDE:COUNT", "A user namespace with these users and groups"))
        .arg(list("map-users", "INSIDE:OUTSIDE:COUNT", "The same of users only"))
        .arg(list("map-groups", "INSIDE:OUTSIDE:COUNT", "The same of groups only"))
        .arg(value("user", "UID[:GID]", "Who it runs as (root, where that is mapped)").short('u'))
        .arg(switch("fork", "As a child: in a new pid namespace its process 1").short('f'))
        .arg(switch("mount-proc", "With a /proc of the new pid namespace"))
        .arg(value("propagation", "HOW", "Of mounts: private (default), slave, shared or unchanged"))
        .arg(value("hostname", "NAME", "The host name there"))
        .arg(value("domainname", "NAME", "The NIS domain name there"))
        .arg(value("monotonic", "SECONDS", "How far the monotonic clock is ahead there"))
        .arg(value("boottime", "SECONDS", "How far the clock since boot is ahead there"))
        .arg(value("workdir", "DIR", "Where the program starts").short('w').value_parser(clap::value_parser!(PathBuf)))
        .arg(super::words())
        .after_help("Example:\n  cella ns unshare --types pid,net --map-root --fork --mount-proc -- sh -c 'id; ps'")
}

pub(super) fn run(_context: &Context, matches: &ArgMatches) -> Result<i32> {
    let unsharing = Unsharing {
        kinds: super::types(matches),
        map_root: matches.get_flag("map-root"),
        maps: texts(matches, "map"),
        user_maps: texts(matches, "map-users"),
        group_maps: texts(matches, "map-groups"),
        fork: matches.get_flag("fork"),
        mount_proc: matches.get_flag("mount-proc"),
        hostname: text(matches, "hostname"),
        domainname: text(matches, "domainname"),
        monotonic: seconds(matches, "monotonic")?,
        boottime: seconds(matches, "boottime")?,
        propagation: text(matches, "propagation"),
        user: super::user(matches)?,
        workdir: matches.get_one::<PathBuf>("workdir").cloned(),
    };
    Namespaces::unshare(&unsharing, &super::program(matches)?)
}

fn seconds(matches: &ArgMatches, name: &str) -> Result<Option<i64>> {
    text(matches, name)
        .map(|text| {
            text.parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("invalid --{name} {text:?}: it is no whole number of seconds"))
                    .hint("write e.g. 86400 or -3600")
            })
        })
        .transpose()
}
