// SPDX-License-Identifier: Apache-2.0
//! What this host can and can not do for networks, and what of ours is not as it should be: for `doctor`.

use std::os::fd::AsFd;

use kernel::link::{self, Kind as LinkKind, New, Peer};
use kernel::netlink::{Family, Socket};
use kernel::{namespace, nft};

use crate::error::Result;
use crate::firewall::{Firewall, Rules};
use crate::place::Networks;
use crate::shape;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short name.
    pub name: &'static str,
    /// What was found; the error is what is missing.
    pub found: std::result::Result<String, String>,
    /// What depends on it.
    pub effect: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Where packets are forwarded (`NF_INET_FORWARD`).
const FORWARD: u32 = 2;

impl Networks {
    /// Tries everything in a network namespace of its own, and looks at what is up.
    #[must_use]
    pub fn check(&self) -> Vec<Check> {
        vec![
            Check {
                name: "network devices",
                found: devices(),
                effect: "bridge networks; those named as missing are kinds that can not be used",
                remedy: "load the modules bridge, veth, macvlan, ipvlan, 8021q, vxlan",
            },
            Check {
                name: "packet filter",
                found: filter(),
                effect: "NAT, published ports, isolation of networks, false addresses from inside",
                remedy: "enable nf_tables with its bridge family (CONFIG_NF_TABLES_BRIDGE), nft_nat, nft_fib",
            },
            Check {
                name: "bandwidth",
                found: bandwidth(),
                effect: "--net-egress and --net-ingress, also of packets",
                remedy: "load the modules sch_htb, sch_tbf, ifb, cls_matchall or cls_u32, act_mirred, cls_bpf",
            },
            Check {
                name: "foreign packet filters",
                found: self.foreign(),
                effect: "containers reach other hosts, and published ports are reached, only as they allow",
                remedy: "let the bridges of ours through there, e.g. firewall-cmd --zone=trusted --add-interface=cella0",
            },
            Check {
                name: "networks",
                found: self.health(),
                effect: "running containers have no way out, no names, or no ports",
                remedy: "cella network repair",
            },
        ]
    }

    /// Chains of others that drop forwarded packets which they do not know.
    fn foreign(&self) -> std::result::Result<String, String> {
        let look = || -> kernel::Result<Vec<String>> {
            let mut socket = Socket::open(Family::Netfilter)?;
            let all = nft::dropping(&mut socket)?;
            let own = self.table();
            let foreign = all.into_iter().filter(|one| one.hook == FORWARD && one.table.name != own);
            Ok(foreign.map(|one| format!("{} {}", one.table.name, one.chain)).collect())
        };
        match look() {
            Ok(list) if list.is_empty() => Ok("none that drops what it does not know".to_owned()),
            Ok(list) => Err(format!("they drop forwarded packets that they do not know: {}", list.join(", "))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Is all of ours there that should be?
    fn health(&self) -> std::result::Result<String, String> {
        let look = || -> Result<(usize, Vec<String>)> {
            let (mut up, mut missing) = (0, Vec::new());
            let mut host = Socket::open(Family::Route)?;
            for network in self.list()? {
                if self.endpoints(network.name.as_str())?.is_empty() || !network.is_managed() {
                    continue;
                }
                up += 1;
                if link::find(&mut host, &network.device)?.is_none() {
                    missing.push(format!("bridge {}", network.device));
                }
                if (network.dns || network.dhcp) && !self.has_helper(&network) {
                    missing.push(format!("helper of {}", network.name));
                }
            }
            if self.rules()? != Rules::default() && !self.firewall()?.is_there()? {
                missing.push("packet filter".to_owned());
            }
            Ok((up, missing))
        };
        match look() {
            Ok((up, missing)) if missing.is_empty() => Ok(format!("{up} up")),
            Ok((_, missing)) => Err(format!("missing: {}", missing.join(", "))),
            Err(error) => Err(error.message),
        }
    }
}

/// A socket of a network namespace that is there for a moment.
fn scratch() -> kernel::Result<(namespace::NewNetwork, Socket)> {
    let space = namespace::new_network()?;
    let socket = Socket::open_in(&space, Family::Route)?;
    Ok((space, socket))
}

fn devices() -> std::result::Result<String, String> {
    let text = |error: kernel::Error| error.to_string();
    let (_space, mut socket) = scratch().map_err(text)?;
    let peer = || LinkKind::Veth(Peer { name: "p1", mac: None, mtu: None, namespace: None });
    link::create(&mut socket, &New::of("b0", LinkKind::Bridge(link::Bridge::default()))).map_err(text)?;
    link::create(&mut socket, &New::of("p0", peer())).map_err(text)?;
    let parent = link::find(&mut socket, "p0").map_err(text)?.map(|found| found.index);
    let vxlan = link::Vxlan { id: 1, remote: None, local: None, device: None, port: 4789, learning: true };
    let kinds = [
        ("macvlan", LinkKind::Macvlan(link::MacvlanMode::Bridge)),
        ("ipvlan", LinkKind::Ipvlan(link::IpvlanMode::L2)),
        ("vlan", LinkKind::Vlan { id: 5, protocol: link::VlanProtocol::Q }),
        ("vxlan", LinkKind::Vxlan(vxlan)),
    ];
    let mut lacks = |(name, kind): (&'static str, LinkKind<'_>)| {
        let parent = parent.filter(|_| name != "vxlan");
        link::create(&mut socket, &New { parent, ..New::of("k0", kind) }).err().map(|_| name).or_else(|| {
            let found = link::find(&mut socket, "k0").ok().flatten()?;
            link::delete(&mut socket, found.index).ok()?;
            None
        })
    };
    let missing: Vec<&str> = kinds.into_iter().filter_map(&mut lacks).collect();
    match missing.is_empty() {
        true => Ok("bridge, veth, macvlan, ipvlan, vlan, vxlan".to_owned()),
        false => Ok(format!("bridge, veth; not: {}", missing.join(", "))),
    }
}

fn filter() -> std::result::Result<String, String> {
    let space = namespace::new_network().map_err(|error| error.to_string())?;
    let tried = Firewall::open_in(space.as_fd(), "cella").and_then(|mut firewall| firewall.replace(&Rules::default()));
    tried.map(|()| "nf_tables, with bridges and NAT".to_owned()).map_err(|error| error.to_string())
}

fn bandwidth() -> std::result::Result<String, String> {
    let (_space, mut socket) = scratch().map_err(|error| error.to_string())?;
    let peer = LinkKind::Veth(Peer { name: "p1", mac: None, mtu: None, namespace: None });
    link::create(&mut socket, &New::of("p0", peer)).map_err(|error| error.to_string())?;
    let rate = Some(spec::network::Rate(1_000_000));
    let index = crate::device::index_of(&mut socket, "p0").map_err(|error| error.message)?;
    let both = shape::limit_to(&mut socket, index, rate).and_then(|()| shape::limit_from(&mut socket, "p0", rate));
    both.map_err(|error| error.message)?;
    let packets = Some(spec::network::Packets(1));
    Ok(match shape::count(&mut socket, index, kernel::traffic::Hook::Ingress, packets, None) {
        Ok(()) => "both ways, packets in a second".to_owned(),
        Err(error) => format!("both ways; packets in a second can not be counted: {}", error.message),
    })
}
