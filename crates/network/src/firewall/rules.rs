// SPDX-License-Identifier: Apache-2.0
//! The rules of our tables: the same whatever networks and containers there are.

use std::net::{Ipv4Addr, Ipv6Addr};

use kernel::nft::select::*;
use kernel::nft::statement::{accept, goto, jump, masquerade};
use kernel::nft::{Batch, Chain, Family, Hook, Key, Kind, Statement, Table, Verdict};

use super::elements;
use super::source::{REFUSED, add_arp, add_port, add_refused, fill};

/// Before whatever others have at these hooks, and before fragments are put together (-400).
const FIRST: i32 = -1000;
/// Just before the usual places of others: whose catch-all rules would hide ours.
const FILTER: i32 = -1;
const DSTNAT: i32 = -101;
const SRCNAT: i32 = 99;
/// Behind all who could change where a packet goes, or its class.
const SHARE: i32 = 1000;

const TCP: u8 = 6;
const UDP: u8 = 17;
const IGMP: u8 = 2;

/// `IPS_DST_NAT`
const DNAT: u32 = 1 << 5;

/// Adds our tables with all sets and rules, and nothing in the sets. What was in our tables before is gone.
pub(super) fn renew(batch: &mut Batch, name: &str, v6_loopback: bool) {
    for family in elements::FAMILIES {
        let table = Table::new(family, name);
        batch.renew_table(&table);
        for set in elements::sets(family) {
            batch.add_set(&table, &set);
        }
        add_refused(batch, &table);
        match family {
            Family::Bridge => bridge(batch, &table),
            Family::Arp => arp(batch, &table),
            _ => inet(batch, &table, v6_loopback),
        }
    }
}

/// Frames of bridges.
fn bridge(batch: &mut Batch, table: &Table) {
    add_port(batch, table);
    batch.add_chain(table, &Chain::base("prerouting", Kind::Filter, Hook::Prerouting, FIRST));
    batch.add_chain(table, &Chain::base("input", Kind::Filter, Hook::Input, FIRST));
    batch.add_chain(table, &Chain::base("forward", Kind::Filter, Hook::Forward, FIRST));
    batch.add_chain(table, &Chain::base("postrouting", Kind::Filter, Hook::Postrouting, FIRST));
    fill(batch, table, "prerouting", [vec![IIFNAME.within("ports"), goto("port")]]);
    // Frames to 01:80:c2:00:00:0X (spanning tree, LLDP) pass prerouting by. Whatever they carry, the host would take it
    // as come from the port itself.
    let (mask, group) = ([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0], [0x01, 0x80, 0xc2, 0, 0, 0]);
    fill(batch, table, "input", [vec![IIFNAME.within("ports"), ETHER_DADDR.masked(mask, group), goto(REFUSED)]]);
    fill(batch, table, "forward", [vec![IIFNAME.within("isolated"), OIFNAME.within("isolated"), goto(REFUSED)]]);
    fill(batch, table, "postrouting", [vec![OIFNAME.within("received"), accept()]]);
    batch.add_chain(table, &Chain::base("share", Kind::Filter, Hook::Prerouting, FIRST + 1));
    fill(batch, table, "share", [vec![Key::from(IIFNAME).class("shares")]]);
}

/// ARP for the host itself: routed devices.
fn arp(batch: &mut Batch, table: &Table) {
    add_arp(batch, table);
    batch.add_chain(table, &Chain::base("input", Kind::Filter, Hook::Input, FIRST));
    fill(
        batch,
        table,
        "input",
        [vec![IIFNAME.within("bridged"), goto(REFUSED)], vec![IIFNAME.within("ports"), goto("arp_source")]],
    );
}

/// What is routed, or for the host.
fn inet(batch: &mut Batch, table: &Table, v6_loopback: bool) {
    add_port(batch, table);
    let base = |name, kind, hook, priority| Chain::base(name, kind, hook, priority);
    for chain in ["from_net", "to_net", "same_net", "host", "host_internal", "publish"] {
        batch.add_chain(table, &Chain::new(chain));
    }
    for chain in [
        base("prerouting", Kind::Filter, Hook::Prerouting, FIRST),
        base("input", Kind::Filter, Hook::Input, FILTER),
        base("forward", Kind::Filter, Hook::Forward, FILTER),
        base("received_by", Kind::Filter, Hook::Postrouting, FILTER),
        base("dstnat", Kind::Nat, Hook::Prerouting, DSTNAT),
        base("dstnat_own", Kind::Nat, Hook::Output, DSTNAT),
        base("srcnat", Kind::Nat, Hook::Postrouting, SRCNAT),
        base("share", Kind::Filter, Hook::Postrouting, SHARE),
    ] {
        batch.add_chain(table, &chain);
    }
    guard(batch, table);
    host(batch, table);
    forward(batch, table);
    if !v6_loopback {
        fill(batch, table, "publish", [vec![IP6_DADDR.is(Ipv6Addr::LOCALHOST), accept()]]);
    }
    nat(batch, table);
    // The queues of a bridge whose containers share a limit.
    let shares = [vec![Key::from(IP_DADDR).class("shares4")], vec![Key::from(IP6_DADDR).class("shares6")]];
    fill(batch, table, "share", shares);
}

fn loopback(selector: Selector) -> Statement {
    selector.masked(Ipv4Addr::new(255, 0, 0, 0), Ipv4Addr::new(127, 0, 0, 0))
}

fn guard(batch: &mut Batch, table: &Table) {
    fill(
        batch,
        table,
        "prerouting",
        [
            // What a bridge's port brings is the bridge's; only frames that pass the bridge by look like the port's own.
            vec![IIFNAME.within("bridged"), goto(REFUSED)],
            // `route_localnet`, which publishing on 127.0.0.1 needs, would open all of the host's own services.
            vec![IIFNAME.within("nets"), loopback(IP_DADDR), goto(REFUSED)],
            vec![IIFNAME.within("nets"), IP6_DADDR.is(Ipv6Addr::LOCALHOST), goto(REFUSED)],
            vec![IIFNAME.within("ports"), goto("port")],
        ],
    );
    fill(batch, table, "received_by", [vec![OIFNAME.within("received"), accept()]]);
}

/// Goes on with what begins a connection, or belongs to none.
fn known_connections() -> Statement {
    const INVALID: u32 = 1;
    const ESTABLISHED: u32 = 2;
    const RELATED: u32 = 4;
    CT_STATE.verdicts([
        (INVALID, Verdict::Goto(REFUSED.to_owned())),
        (ESTABLISHED, Verdict::Accept),
        (RELATED, Verdict::Accept),
    ])
}

/// What the host answers on a network that it serves: names and addresses.
fn served() -> Statement {
    let ports = [(UDP, 53_u16), (TCP, 53), (UDP, 67), (UDP, 547)];
    L4PROTO.and(TH_DPORT).one_of(ports.map(|(protocol, port)| [protocol.into(), port.into()]))
}

/// From a container to the host.
fn host(batch: &mut Batch, table: &Table) {
    const LOCAL: u32 = 2;
    const BROADCAST: u32 = 3;
    const MULTICAST: u32 = 5;
    const PING: u8 = 8;
    /// Ping, groups, the search for routers and neighbours.
    const LINK: [u8; 7] = [128, 131, 132, 133, 135, 136, 143];
    fill(batch, table, "input", [vec![IIFNAME.within("nets"), goto("host")]]);
    fill(batch, table, "host", [vec![known_connections()], vec![IIFNAME.within("internal"), goto("host_internal")]]);
    fill(
        batch,
        table,
        "host_internal",
        [
            // The host's other addresses are outside.
            vec![FIB_DADDR_IIF_TYPE.none_of([LOCAL, BROADCAST, MULTICAST]), goto(REFUSED)],
            vec![ICMP_TYPE.is(PING), accept()],
            vec![ICMP6_TYPE.one_of(LINK), accept()],
            vec![IP_PROTOCOL.is(IGMP), accept()],
            vec![IIFNAME.within("serving"), served(), accept()],
            vec![goto(REFUSED)],
        ],
    );
}

/// From or to a container, through the host.
fn forward(batch: &mut Batch, table: &Table) {
    let published = || CT_STATUS.has(DNAT);
    fill(
        batch,
        table,
        "forward",
        [vec![IIFNAME.within("nets"), goto("from_net")], vec![OIFNAME.within("nets"), goto("to_net")]],
    );
    fill(
        batch,
        table,
        "from_net",
        [
            vec![known_connections()],
            // With br_netfilter, frames between two ports of a bridge come here too.
            vec![IIFNAME.and(OIFNAME).within("same"), goto("same_net")],
            vec![IIFNAME.and(IP_DADDR).within("own4"), goto("same_net")],
            vec![IIFNAME.and(IP6_DADDR).within("own6"), goto("same_net")],
            vec![IIFNAME.within("internal"), goto(REFUSED)],
            vec![OIFNAME.within("nets"), goto("to_net")],
        ],
    );
    fill(
        batch,
        table,
        "same_net",
        [vec![published(), accept()], vec![IIFNAME.within("isolated"), goto(REFUSED)], vec![accept()]],
    );
    fill(
        batch,
        table,
        "to_net",
        [
            vec![known_connections()],
            vec![OIFNAME.within("internal"), goto(REFUSED)],
            vec![published(), accept()],
            vec![IIFNAME.within("nets"), goto(REFUSED)],
            // Somebody on the host's link may have set a route to us.
            vec![OIFNAME.within("hidden"), goto(REFUSED)],
        ],
    );
}

fn nat(batch: &mut Batch, table: &Table) {
    let any = || Key::from(L4PROTO).and(TH_DPORT);
    let exact = |address: Selector| address.and(L4PROTO).and(TH_DPORT);
    let local = || FIB_DADDR_TYPE.is(2_u32);
    fill(
        batch,
        table,
        "publish",
        [
            vec![exact(IP_DADDR).dnat(Family::Ip, "exact4")],
            vec![exact(IP6_DADDR).dnat(Family::Ip6, "exact6")],
            vec![local(), any().dnat(Family::Ip, "any4")],
            vec![local(), any().dnat(Family::Ip6, "any6")],
        ],
    );
    fill(
        batch,
        table,
        "dstnat",
        [
            // Who publishes a name server at all addresses does not get the questions to the networks' own.
            vec![IIFNAME.within("serving"), IIFNAME.and(IP_DADDR).within("own4"), served(), accept()],
            vec![IIFNAME.within("serving"), IIFNAME.and(IP6_DADDR).within("own6"), served(), accept()],
            vec![jump("publish")],
        ],
    );
    fill(batch, table, "dstnat_own", [vec![jump("publish")]]);
    fill(
        batch,
        table,
        "srcnat",
        [
            vec![IIFNAME.within("hidden"), IIFNAME.and(IP_DADDR).not_in("own4"), masquerade()],
            vec![IIFNAME.within("hidden"), IIFNAME.and(IP6_DADDR).not_in("own6"), masquerade()],
            // From a container to a published port of its own network: the answer must come back this way. By its
            // source and not by `iifname`: br_netfilter gives no such device here.
            vec![published_in(IP_SADDR, "own4"), CT_STATUS.has(DNAT), masquerade()],
            vec![published_in(IP6_SADDR, "own6"), CT_STATUS.has(DNAT), masquerade()],
            // From the host by 127.0.0.1 or ::1, where a container would answer itself.
            vec![OIFNAME.within("nets"), loopback(IP_SADDR), masquerade()],
            vec![OIFNAME.within("nets"), IP6_SADDR.is(Ipv6Addr::LOCALHOST), masquerade()],
        ],
    );
}

fn published_in(source: Selector, subnets: &str) -> Statement {
    OIFNAME.and(source).within(subnets)
}
