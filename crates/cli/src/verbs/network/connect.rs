// SPDX-License-Identifier: Apache-2.0
//! `cella network connect`, `disconnect` and `set`: the devices of a container, also while it runs.

use clap::{ArgMatches, Command};
use engine::{Error, Kind, Result};
use spec::network::{Nic, Share};

use crate::app::Context;
use crate::definition::{bandwidth, nic_options, parsed, text};
use crate::flags::{container, device_options, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Attach a container to a network, at once when it runs")
        .args(device_options())
        .arg(super::network().help("Its name, or bridge:, macvlan:, ipvlan:, vlan:, physical: and what it is on"))
        .arg(container())
        .after_help("Example:\n  cella network connect --alias db back web")
}

fn nic(matches: &ArgMatches) -> Result<Nic> {
    Ok(text(matches, "network").unwrap_or_default().parse()?)
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let mut nic = nic(matches)?;
    nic_options(matches, &mut nic)?;
    context.engine()?.network_connect(&text(matches, "container").unwrap_or_default(), nic)?;
    Ok(0)
}

pub(super) fn disconnect_command(command: Command) -> Command {
    command
        .about("Take a container off a network, at once when it runs")
        .arg(super::network())
        .arg(container())
        .after_help("Example:\n  cella network disconnect back web")
}

pub(super) fn disconnect(context: &Context, matches: &ArgMatches) -> Result<i32> {
    context.engine()?.network_disconnect(&text(matches, "container").unwrap_or_default(), &nic(matches)?)?;
    Ok(0)
}

pub(super) fn set_command(command: Command) -> Command {
    command
        .about("Limit the bandwidth of a container's device, or of a network's border; at once when it runs")
        .arg(value("egress", "RATE", "From the container, or out of the network, e.g. 10mbit (none: no limit)"))
        .arg(value("ingress", "RATE", "To the container, or into the network"))
        .arg(value("egress-packets", "NUMBER", "From the container, or out of the network, in a second, e.g. 5k (none: no limit)"))
        .arg(value("ingress-packets", "NUMBER", "To the container, or into the network"))
        .arg(value("guarantee", "RATE", "What the container has in any case of the network's limit"))
        .arg(value("priority", "NUMBER", "Who has what is left of that: 0 first, 7 last (default 4)"))
        .arg(super::network())
        .arg(container().required(false).help("Name, or the beginning of its id; the network itself without one"))
        .after_help("Example:\n  cella network set --egress 10mbit back web\n  cella network set --egress 1gbit --ingress 1gbit back")
}

pub(super) fn set(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let limits = bandwidth(matches, "")?;
    let priority = text(matches, "priority").map(|text| Share::priority(&text)).transpose()?;
    let share = Share { guarantee: parsed(matches, "guarantee")?, priority };
    if !limits.is_some() && !share.is_some() {
        return Err(Error::new(Kind::Invalid, "nothing to change").hint("cella network set --help"));
    }
    match text(matches, "container") {
        Some(container) => context.engine()?.network_limit(&container, &nic(matches)?, limits, share)?,
        None if share.is_some() => {
            return Err(Error::new(Kind::Invalid, "a guarantee or a priority is that of a container")
                .hint("cella network set --guarantee 10mbit NETWORK CONTAINER"));
        }
        None => {
            context.engine()?.network_limit_all(&text(matches, "network").unwrap_or_default().parse()?, limits)?;
        }
    }
    Ok(0)
}
