// SPDX-License-Identifier: Apache-2.0
//! `cella network connect`, `disconnect` and `set`: the devices of a container, also while it runs.

use clap::{ArgMatches, Command};
use engine::{Error, Kind, Result};
use spec::network::{Limits, Nic};

use crate::app::Context;
use crate::definition::{nic_options, parsed, text};
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
        .about("Limit the bandwidth of a container's device, at once when it runs")
        .arg(value("egress", "RATE", "From the container, e.g. 10mbit (none: no limit)"))
        .arg(value("ingress", "RATE", "To the container"))
        .arg(super::network())
        .arg(container())
        .after_help("Example:\n  cella network set --egress 10mbit back web")
}

pub(super) fn set(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let limits = Limits { egress: parsed(matches, "egress")?, ingress: parsed(matches, "ingress")? };
    if !limits.is_some() {
        return Err(Error::new(Kind::Invalid, "nothing to change").hint("cella network set --help"));
    }
    let container = text(matches, "container").unwrap_or_default();
    context.engine()?.network_limit(&container, &nic(matches)?, limits)?;
    Ok(0)
}
