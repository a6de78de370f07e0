// SPDX-License-Identifier: Apache-2.0
//! The rules that hold a container's device to its own addresses, for ports of bridges and for routed devices alike.

use std::net::{Ipv4Addr, Ipv6Addr};

use kernel::nft::select::*;
use kernel::nft::statement::{accept, counter, drop, goto};
use kernel::nft::{Batch, Chain, Family, Statement, Table, Verdict};

/// Where what is refused is counted.
pub(super) const REFUSED: &str = "refused";

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// What only routers say: queries for groups, router advertisements, redirects, renumbering, multicast routers.
const ROUTERS: [u8; 5] = [130, 134, 137, 138, 151];
/// Reports of groups that somebody without an address yet listens to.
const REPORTS: [u8; 3] = [131, 132, 143];

/// Type 1 and 2 of the options of neighbour discovery: the sender's and the target's Ethernet address; both 8 bytes long.
const SENDER: u16 = 0x0101;
const TARGET: u16 = 0x0201;

/// Adds the chain of refused packets.
pub(super) fn add_refused(batch: &mut Batch, table: &Table) {
    batch.add_chain(table, &Chain::new(REFUSED));
    batch.add_rule(table, REFUSED, [counter(), drop()]);
}

/// Rules into a chain that is there.
pub(super) fn fill<const N: usize>(batch: &mut Batch, table: &Table, chain: &str, rules: [Vec<Statement>; N]) {
    for rule in rules {
        batch.add_rule(table, chain, rule);
    }
}

/// Adds the chain `port`, which lets a packet of a container's device pass only if it says the truth about where it is from.
pub(super) fn add_port(batch: &mut Batch, table: &Table) {
    let bridge = table.family == Family::Bridge;
    for chain in ["port", "source4", "source6", "solicitation", "advertisement"] {
        batch.add_chain(table, &Chain::new(chain));
    }
    if bridge {
        add_arp(batch, table);
    }
    let to = |chain: &str| Verdict::Goto(chain.to_owned());
    let protocol = if bridge {
        // All else is refused: tags of VLANs, LLC, what nobody has thought of. That is the type in the frame: in
        // the kernel's own notes (`meta protocol`) a tag is already gone.
        ETHER_TYPE.verdicts([
            (ETHERTYPE_IP, to("source4")),
            (ETHERTYPE_IP6, to("source6")),
            (ETHERTYPE_ARP, to("arp_source")),
        ])
    } else {
        NFPROTO.verdicts([(Family::Ip.number(), to("source4")), (Family::Ip6.number(), to("source6"))])
    };
    fill(batch, table, "port", [vec![IIFNAME.and(ETHER_SADDR).not_in("macs"), goto(REFUSED)]]);
    if bridge {
        add_free(batch, table);
    }
    fill(batch, table, "port", [vec![protocol], vec![goto(REFUSED)]]);
    add_v4(batch, table);
    add_v6(batch, table);
    add_neighbours(batch, table);
}

/// On somebody else's bridge somebody else gives the addresses: any will do there, from the own MAC. It is no router and no
/// DHCP server for others, and tags no frames, all the same.
fn add_free(batch: &mut Batch, table: &Table) {
    const DHCP_CLIENT: u16 = 68;
    const DHCP6_CLIENT: u16 = 546;
    for chain in ["free", "free4", "free6", "free_arp"] {
        batch.add_chain(table, &Chain::new(chain));
    }
    let to = |chain: &str| Verdict::Goto(chain.to_owned());
    let routers = ROUTERS.map(|kind| (kind, to(REFUSED)));
    let kinds = [(ETHERTYPE_IP, to("free4")), (ETHERTYPE_IP6, to("free6")), (ETHERTYPE_ARP, to("free_arp"))];
    fill(batch, table, "port", [vec![IIFNAME.within("free"), goto("free")]]);
    fill(batch, table, "free", [vec![ETHER_TYPE.verdicts(kinds)], vec![goto(REFUSED)]]);
    fill(batch, table, "free4", [vec![UDP_DPORT.is(DHCP_CLIENT), goto(REFUSED)], vec![accept()]]);
    fill(
        batch,
        table,
        "free6",
        [vec![UDP_DPORT.is(DHCP6_CLIENT), goto(REFUSED)], vec![ICMP6_TYPE.verdicts(routers)], vec![parsed(), accept()]],
    );
    fill(batch, table, "free6", [vec![goto(REFUSED)]]);
    let foreign = vec![IIFNAME.and(ARP_SADDR_ETHER).not_in("macs"), goto(REFUSED)];
    fill(batch, table, "free_arp", [foreign, vec![accept()]]);
}

/// `arp_source`: says only that its own addresses are at its own MAC.
pub(super) fn add_arp(batch: &mut Batch, table: &Table) {
    const REQUEST: u16 = 1;
    const REPLY: u16 = 2;
    batch.add_chain(table, &Chain::new("arp_source"));
    fill(
        batch,
        table,
        "arp_source",
        [
            vec![ARP_HTYPE.is_not(1_u16), goto(REFUSED)],
            vec![ARP_PTYPE.is_not(ETHERTYPE_IP), goto(REFUSED)],
            vec![ARP_HLEN.is_not(6_u8), goto(REFUSED)],
            vec![ARP_PLEN.is_not(4_u8), goto(REFUSED)],
            vec![ARP_OPERATION.none_of([REQUEST, REPLY]), goto(REFUSED)],
            vec![IIFNAME.and(ARP_SADDR_ETHER).not_in("macs"), goto(REFUSED)],
            vec![IIFNAME.and(ARP_SADDR_IP).within("v4"), accept()],
            // "Does anybody have this address?" (RFC 5227) tells nobody anything.
            vec![ARP_OPERATION.is(REQUEST), ARP_SADDR_IP.is(Ipv4Addr::UNSPECIFIED), accept()],
            vec![goto(REFUSED)],
        ],
    );
}

fn add_v4(batch: &mut Batch, table: &Table) {
    const DHCP_SERVER: u16 = 67;
    const DHCP_CLIENT: u16 = 68;
    const QUERY: u8 = 0x11;
    fill(
        batch,
        table,
        "source4",
        [
            // From whatever port: clients do not ask.
            vec![UDP_DPORT.is(DHCP_CLIENT), goto(REFUSED)],
            vec![IGMP_TYPE.is(QUERY), goto(REFUSED)],
            vec![IIFNAME.and(IP_SADDR).within("v4"), parsed(), accept()],
            vec![
                IP_SADDR.is(Ipv4Addr::UNSPECIFIED),
                IP_DADDR.is(Ipv4Addr::BROADCAST),
                UDP_SPORT.is(DHCP_CLIENT),
                UDP_DPORT.is(DHCP_SERVER),
                accept(),
            ],
            vec![goto(REFUSED)],
        ],
    );
}

fn add_v6(batch: &mut Batch, table: &Table) {
    const DHCP_CLIENT: u16 = 546;
    let routers = ROUTERS.map(|kind| (kind, Verdict::Goto(REFUSED.to_owned())));
    let neighbours = [
        (SOLICITATION, Verdict::Goto("solicitation".to_owned())),
        (ADVERTISEMENT, Verdict::Goto("advertisement".to_owned())),
    ];
    fill(
        batch,
        table,
        "source6",
        [
            vec![UDP_DPORT.is(DHCP_CLIENT), goto(REFUSED)],
            vec![ICMP6_TYPE.verdicts(routers.into_iter().chain(neighbours))],
            vec![IIFNAME.and(IP6_SADDR).within("v6"), parsed(), accept()],
            vec![IP6_SADDR.is(Ipv6Addr::UNSPECIFIED), ICMP6_TYPE.one_of(REPORTS), accept()],
            vec![goto(REFUSED)],
        ],
    );
}

/// The kernel could follow the headers up to what is carried, so that the rules above have looked at it. 255 is nobody's.
fn parsed() -> Statement {
    L4PROTO.is_not(255_u8)
}

/// Neighbour discovery with at most the one option that Linux sends, which then stands where it can be looked at. With
/// extension headers in front, its length would say nothing.
fn add_neighbours(batch: &mut Batch, table: &Table) {
    const NO_OPTION: u16 = 24;
    const ONE_OPTION: u16 = 32;
    let with_option = |kind: u16| {
        let own = IIFNAME.and(ND_OPTION_ETHER).within("macs");
        vec![IP6_LENGTH.is(ONE_OPTION), ND_OPTION.is(kind), own, accept()]
    };
    fill(
        batch,
        table,
        "solicitation",
        [
            vec![IP6_NEXTHDR.is_not(ICMPV6), goto(REFUSED)],
            // "Does anybody have this address?" is asked about one's own only: the question alone keeps others from it.
            vec![IP6_SADDR.is(Ipv6Addr::UNSPECIFIED), IIFNAME.and(ICMP6_TARGET).within("v6"), accept()],
            vec![IIFNAME.and(IP6_SADDR).not_in("v6"), goto(REFUSED)],
            vec![IP6_LENGTH.is(NO_OPTION), accept()],
            with_option(SENDER),
            vec![goto(REFUSED)],
        ],
    );
    fill(
        batch,
        table,
        "advertisement",
        [
            vec![IP6_NEXTHDR.is_not(ICMPV6), goto(REFUSED)],
            vec![IIFNAME.and(IP6_SADDR).not_in("v6"), goto(REFUSED)],
            vec![IIFNAME.and(ICMP6_TARGET).not_in("v6"), goto(REFUSED)],
            vec![IP6_LENGTH.is(NO_OPTION), accept()],
            with_option(TARGET),
            vec![goto(REFUSED)],
        ],
    );
}
