// SPDX-License-Identifier: Apache-2.0
//! What our batches make, as nft(8) lists it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use kernel::netlink::{self, Socket};
use kernel::nft::select::*;
use kernel::nft::statement::*;
use kernel::nft::{self, Batch, Chain, Counter, Element, Family, Hook, Kind, Set, Table, Type, Value, Verdict};

/// Says that a test can not run here, and why; the caller returns.
fn skip(test: &str, reason: &str) {
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        // In one call: others write, too.
        file.unwrap().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).unwrap();
    }
}

fn can_run(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip(test, "it needs root");
        return false;
    }
    let there = std::path::Path::new("/usr/sbin/nft").exists();
    if !there {
        skip(test, "nftables is not installed");
    }
    there
}

/// Commits a batch in a network namespace of its own; what is listed then.
fn listed(batch: Batch) -> (String, Socket) {
    let space = kernel::namespace::new_network().unwrap().namespace;
    let mut socket = Socket::open_in(&space, netlink::Family::Netfilter).unwrap();
    batch.commit(&mut socket).unwrap();
    let path = format!("--net=/proc/{}/fd/{}", std::process::id(), space.as_raw_fd());
    let done = std::process::Command::new("nsenter").args([&path, "nft", "list", "ruleset"]).output().unwrap();
    (String::from_utf8(done.stdout).unwrap(), socket)
}

fn assert_lines(listed: &str, wanted: &str) {
    let listed: Vec<&str> = listed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let wanted: Vec<&str> = wanted.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(listed, wanted);
}

#[test]
fn statements_are_what_they_are_called() {
    if !can_run("statements_are_what_they_are_called") {
        return;
    }
    let table = Table::new(Family::Inet, "mine");
    let mut batch = Batch::new();
    batch.renew_table(&table);
    batch.add_chain(&table, &Chain::new("other"));
    batch.add_chain(&table, &Chain::base("raw", Kind::Filter, Hook::Prerouting, -300));
    batch.add_chain(&table, &Chain::base("in", Kind::Filter, Hook::Input, 0).policy(Verdict::Drop));
    batch.add_rule(&table, "raw", [UDP_DPORT.is(53_u16), notrack()]);
    for rule in [
        vec![IIFNAME.is("lo"), counter(), accept()],
        vec![TCP_DPORT.is_not(80_u16), reject_reset()],
        vec![TCP_DPORT.one_of([22_u16, 443]), limit_packets(10, 1, 7, true), drop()],
        vec![limit_bytes(1000, 60, 4096, false), accept()],
        vec![quota(1_000_000, true), jump("other")],
        vec![IP_SADDR.masked(Ipv4Addr::new(255, 240, 0, 0), Ipv4Addr::new(172, 16, 0, 0)), goto("other")],
        vec![IP6_SADDR.is(Ipv6Addr::LOCALHOST), back()],
        vec![CT_STATE.verdicts([(2_u32, Verdict::Accept)])],
        vec![reject()],
    ] {
        batch.add_rule(&table, "in", rule);
    }
    let (listed, mut socket) = listed(batch);
    assert_lines(
        &listed,
        r#"table inet mine {
            chain other {
            }
            chain raw {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack
            }
            chain in {
                type filter hook input priority filter; policy drop;
                iifname "lo" counter packets 0 bytes 0 accept
                tcp dport != 80 reject with tcp reset
                tcp dport { 22, 443 } limit rate over 10/second burst 7 packets drop
                limit rate 1000 bytes/minute burst 4 kbytes accept
                quota over 1000000 bytes jump other
                ip saddr 172.16.0.0/12 goto other
                ip6 saddr ::1 return
                ct state vmap { established : accept }
                reject with icmpx admin-prohibited
            }
        }"#,
    );
    assert_eq!(nft::tables(&mut socket).unwrap(), std::slice::from_ref(&table));
    let mut batch = Batch::new();
    batch.delete_rule(&table, "in", None);
    batch.delete_chain(&table, "in");
    batch.delete_table(&table);
    batch.commit(&mut socket).unwrap();
    assert!(nft::tables(&mut socket).unwrap().is_empty());
}

#[test]
fn sets_and_maps_have_types_ranges_and_counters() {
    if !can_run("sets_and_maps_have_types_ranges_and_counters") {
        return;
    }
    let table = Table::new(Family::Netdev, "mine");
    let mut batch = Batch::new();
    batch.add_table(&table);
    let plain = Set::new("plain", [Type::V4]).interval();
    let wide = Set::new("wide", [Type::Device, Type::V6]).interval();
    let ways = Set::verdicts("ways", [Type::Device]);
    let counting = Set::new("counting", [Type::Ether]).counting();
    for set in [&plain, &wide, &ways, &counting] {
        batch.add_set(&table, set);
    }
    let v4 = |last| Value::from(Ipv4Addr::new(10, 0, 0, last));
    batch.add_elements(&table, &plain, [Element::range([v4(4)], [v4(7)]), Element::new([v4(9)])]);
    let v6 = |last| Value::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    batch.add_elements(&table, &wide, [Element::range(["a".into(), v6(0)], ["a".into(), v6(0xffff)])]);
    batch.add_elements(&table, &wide, [Element::new(["b".into(), v6(1)])]);
    batch.add_chain(&table, &Chain::new("one"));
    batch.add_chain(&table, &Chain::base("first", Kind::Filter, Hook::Ingress, -5).devices(["lo"]));
    batch.add_elements(&table, &ways, [Element::new(["c".into()]).verdict(Verdict::Jump("one".into()))]);
    batch.add_elements(&table, &counting, [Element::new([[2_u8, 0, 0, 0, 0, 1].into()])]);
    batch.add_rule(&table, "first", [Key::from(IIFNAME).verdict_in("ways")]);
    batch.add_rule(&table, "first", [ETHER_SADDR.within("counting")]);
    let (listed, mut socket) = listed(batch);
    assert_lines(
        &listed,
        r#"table netdev mine {
            set plain {
                type ipv4_addr
                flags interval
                elements = { 10.0.0.4/30, 10.0.0.9 }
            }
            set wide {
                type ifname . ipv6_addr
                flags interval
                elements = { "a" . fd00::/112,
                "b" . fd00::1 }
            }
            map ways {
                type ifname : verdict
                elements = { "c" : jump one }
            }
            set counting {
                type ether_addr
                counter
                elements = { 02:00:00:00:00:01 counter packets 0 bytes 0 }
            }
            chain one {
            }
            chain first {
                type filter hook ingress device "lo" priority filter - 5; policy accept;
                iifname vmap @ways
                ether saddr @counting
            }
        }"#,
    );
    let found = nft::counters(&mut socket, &table, "counting").unwrap();
    assert_eq!(found, [(vec![2, 0, 0, 0, 0, 1], Counter::default())]);
    let mut batch = Batch::new();
    batch.delete_elements(&table, &plain, [Element::range([v4(4)], [v4(7)])]);
    batch.delete_elements(&table, &wide, [Element::new(["b".into(), v6(1)])]);
    batch.commit(&mut socket).unwrap();
    let error = nft::counters(&mut socket, &table, "missing").unwrap_err();
    assert_eq!(error.to_string(), "nf_tables: list set netdev mine missing: ENOENT (No such file or directory)");
}
