// SPDX-License-Identifier: Apache-2.0
//! `cella network create`: makes a network.

use std::net::IpAddr;

use clap::{ArgMatches, Command};
use engine::{Error, Kind, NetworkRequest, Result};
use spec::Name;
use spec::network::{Driver, Subnet, Vxlan};

use crate::app::Context;
use crate::definition::{bandwidth, number, parsed, text, texts};
use crate::flags::{list, switch, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Make a network")
        .arg(value("driver", "KIND", "bridge, vxlan, routed, macvlan, ipvlan (default bridge)").short('d'))
        .arg(list("subnet", "ADDRESS/LENGTH", "Its addresses, one of each family (chosen otherwise)"))
        .arg(list("gateway", "ADDRESS", "The router of the subnet before it, in its family"))
        .arg(list("ip-range", "ADDRESS/LENGTH", "The part that is given to containers by itself"))
        .arg(switch("no-ipv6", "Without an IPv6 subnet of its own"))
        .arg(switch("internal", "Nothing leaves it and nothing comes in"))
        .arg(switch("isolate", "Its containers do not reach each other"))
        .arg(switch("no-nat", "Leave addresses as they are at its border"))
        .arg(switch("no-dns", "Answer no names"))
        .arg(switch("no-dhcp", "Answer no DHCP, announce no router"))
        .arg(value("domain", "NAME", "The domain of the containers' names (default cella)"))
        .arg(list("dns", "ADDRESS", "A name server in place of the network's own"))
        .arg(value("mtu", "BYTES", "Maximum size of a packet"))
        .arg(value("device", "NAME", "The bridge's name"))
        .arg(switch("existing", "Use the bridge --device as it is"))
        .arg(value("parent", "DEVICE", "The host's device of a macvlan or ipvlan network"))
        .arg(value("mode", "MODE", "macvlan: bridge, private, vepa; ipvlan: l2, l3, l3s"))
        .arg(value("vxlan-id", "NUMBER", "The tunnel's number, up to 16777215"))
        .arg(list("vxlan-remote", "ADDRESS", "Another host of the tunnel"))
        .arg(value("vxlan-local", "ADDRESS", "This host in the tunnel"))
        .arg(value("vxlan-port", "PORT", "UDP port (default 4789)"))
        .arg(value("egress", "RATE", "What all its containers may send to outside, e.g. 100mbit"))
        .arg(value("ingress", "RATE", "What they may receive from outside"))
        .arg(value(
            "egress-packets",
            "NUMBER",
            "Packets that all its containers may send to outside in a second, e.g. 50k",
        ))
        .arg(value("ingress-packets", "NUMBER", "Packets that they may receive from outside"))
        .arg(list("label", "KEY=VALUE", "A label").short('l'))
        .arg(super::network())
        .after_help("Example:\n  cella network create --subnet 10.1.0.0/24 --internal back")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let name: Name = text(matches, "network").unwrap_or_default().parse()?;
    let mut request = NetworkRequest::bridge(name);
    request.driver = driver(matches)?;
    request.device = text(matches, "device");
    request.subnets = subnets(matches)?;
    request.no_v6 = matches.get_flag("no-ipv6");
    request.internal = matches.get_flag("internal");
    request.isolated = matches.get_flag("isolate");
    request.no_nat = matches.get_flag("no-nat");
    request.no_dns = matches.get_flag("no-dns");
    request.no_dhcp = matches.get_flag("no-dhcp");
    request.domain = text(matches, "domain");
    request.servers = addresses(matches, "dns")?;
    request.mtu = text(matches, "mtu").map(|text| spec::network::mtu(&text)).transpose()?;
    request.limits = bandwidth(matches, "")?;
    request.labels = crate::definition::pairs(matches, "label")?;
    let network = context.engine()?.network_create(request)?;
    crate::output::line(network.name.as_str());
    Ok(0)
}

fn refuse(message: &str) -> Error {
    Error::new(Kind::Invalid, message.to_owned()).hint("cella network create --help")
}

fn driver(matches: &ArgMatches) -> Result<Driver> {
    let kind = text(matches, "driver").unwrap_or_else(|| "bridge".to_owned());
    let parent = || text(matches, "parent").ok_or_else(|| refuse(&format!("a {kind} network needs --parent DEVICE")));
    let unused = |names: &[&str]| match names.iter().find(|name| text(matches, name).is_some()) {
        Some(name) => Err(refuse(&format!("--{name} is not for a {kind} network"))),
        None => Ok(()),
    };
    let existing = matches.get_flag("existing");
    if existing && (kind != "bridge" || text(matches, "device").is_none()) {
        return Err(refuse("--existing is for a bridge that --device names"));
    }
    let tunnel = ["vxlan-id", "vxlan-local", "vxlan-port"];
    if kind != "vxlan" {
        unused(&tunnel)?;
        if !texts(matches, "vxlan-remote").is_empty() {
            return Err(refuse(&format!("--vxlan-remote is not for a {kind} network")));
        }
    }
    Ok(match kind.as_str() {
        "bridge" => {
            unused(&["parent", "mode"])?;
            Driver::Bridge { existing, vxlan: None }
        }
        "vxlan" => {
            unused(&["parent", "mode"])?;
            Driver::Bridge { existing, vxlan: Some(vxlan(matches)?) }
        }
        "routed" => {
            unused(&["parent", "mode", "device"])?;
            Driver::Routed
        }
        "macvlan" => Driver::Macvlan { parent: parent()?, mode: parsed(matches, "mode")?.unwrap_or_default() },
        "ipvlan" => Driver::Ipvlan { parent: parent()?, mode: parsed(matches, "mode")?.unwrap_or_default() },
        _ => return Err(refuse(&format!("there is no kind {kind:?}: bridge, vxlan, routed, macvlan, ipvlan"))),
    })
}

fn vxlan(matches: &ArgMatches) -> Result<Vxlan> {
    let id = number(matches, "vxlan-id", 0, 0xff_ffff)?.ok_or_else(|| refuse("a vxlan network needs --vxlan-id"))?;
    let port = number(matches, "vxlan-port", 1, 65_535)?.unwrap_or(4789);
    let local = addresses(matches, "vxlan-local")?.first().copied();
    Ok(Vxlan {
        id: u32::try_from(id).unwrap_or(0),
        remotes: addresses(matches, "vxlan-remote")?,
        local,
        port: u16::try_from(port).unwrap_or(4789),
    })
}

fn addresses(matches: &ArgMatches, name: &'static str) -> Result<Vec<IpAddr>> {
    crate::definition::addresses(&texts(matches, name))
}

/// Each with the router and the range that lie in it.
fn subnets(matches: &ArgMatches) -> Result<Vec<Subnet>> {
    let net = |text: &String| {
        text.parse::<spec::network::IpNet>()
            .map_err(|_| refuse(&format!("{text:?} is no subnet: write one as 10.1.0.0/24")))
    };
    let nets = texts(matches, "subnet").iter().map(net).collect::<Result<Vec<_>>>()?;
    let mut gateways = addresses(matches, "gateway")?;
    let mut ranges = texts(matches, "ip-range").iter().map(net).collect::<Result<Vec<_>>>()?;
    let mut subnets = Vec::new();
    for net in nets {
        let gateway = gateways.iter().position(|gateway| net.contains(gateway)).map(|at| gateways.remove(at));
        let range = ranges.iter().position(|range| net.contains(range)).map(|at| ranges.remove(at));
        subnets.push(Subnet { net, gateway, range });
    }
    match (gateways.first(), ranges.first()) {
        (Some(gateway), _) => Err(refuse(&format!("gateway {gateway} is in none of the subnets"))),
        (_, Some(range)) => Err(refuse(&format!("range {range} is in none of the subnets"))),
        (None, None) => Ok(subnets),
    }
}
