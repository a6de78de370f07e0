// SPDX-License-Identifier: Apache-2.0
//! What others break, and what is left of a keeper that was killed.

use super::support::{HOST, OUTSIDE, host};
use crate::support::until;

#[test]
fn repair_brings_back_a_flushed_packet_filter() {
    let Some(mut host) = host("flush") else { return };
    host.serve_outside(7);
    host.serving("web", 80, &["-p", "8080:80"]);
    host.outside.ask("tcp", HOST[0], 8080);
    let rules = host.sh("nft -s list ruleset").ok();
    host.sh("nft list table inet foreign > /tmp/$PPID; nft flush ruleset; nft -f /tmp/$PPID; rm /tmp/$PPID").ok();
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    host.cella(&["network", "repair"]).ok();
    for (at, own) in HOST.iter().enumerate() {
        assert_eq!(host.outside.ask("tcp", own, 8080), format!("web {}", OUTSIDE[at]));
        assert_eq!(host.ask_from("web", "tcp", OUTSIDE[at], 7), format!("outside {own}"));
    }
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&host.sh("nft -s list ruleset").ok()), sorted(&rules));
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_flushed_packet_filter_is_whole_again_with_the_next_start() {
    let Some(host) = host("flush-start") else { return };
    host.serving("web", 80, &["-p", "8080:80"]);
    host.sh("nft list table inet foreign > /tmp/$PPID; nft flush ruleset; nft -f /tmp/$PPID; rm /tmp/$PPID").ok();
    host.sleeping("two", &[]);
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    host.remove(&["two", "web"]);
    host.finish();
}

#[test]
fn containers_go_away_after_a_flush() {
    let Some(host) = host("flush-rm") else { return };
    host.serving("web", 80, &["-p", "8080:80"]);
    host.sleeping("two", &[]);
    host.sh("nft list table inet foreign > /tmp/$PPID; nft flush ruleset; nft -f /tmp/$PPID; rm /tmp/$PPID").ok();
    host.remove(&["two", "web"]);
    host.finish();
}

#[test]
fn repair_brings_back_a_bridge_that_was_removed() {
    let Some(mut host) = host("bridge-del") else { return };
    host.serve_outside(7);
    host.serving("web", 80, &["-p", "8080:80"]);
    let bridge = host.network("cella0")["device"].as_str().unwrap().to_owned();
    host.sh(&format!("ip link del {bridge}")).ok();
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    host.cella(&["network", "repair"]).ok();
    for (at, own) in HOST.iter().enumerate() {
        assert_eq!(host.outside.ask("tcp", own, 8080), format!("web {}", OUTSIDE[at]));
        assert_eq!(host.ask_from("web", "tcp", OUTSIDE[at], 7), format!("outside {own}"));
    }
    let address = host.addresses("cella0", "web")[0].clone();
    until("names are answered", || host.inside("web", "dig +short +time=1 +tries=1 web.cella A || true") == address);
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_bridge_that_was_removed_is_back_with_the_next_start() {
    let Some(host) = host("bridge-start") else { return };
    host.serving("web", 80, &[]);
    let bridge = host.network("cella0")["device"].as_str().unwrap().to_owned();
    host.sh(&format!("ip link del {bridge}")).ok();
    host.sleeping("two", &[]);
    let web = host.addresses("cella0", "web")[0].clone();
    assert!(host.ask_from("two", "tcp", &web, 80).starts_with("web "));
    host.remove(&["two", "web"]);
    host.finish();
}

#[test]
fn names_are_answered_again_after_kill_9_of_the_helper() {
    let Some(host) = host("helper-kill") else { return };
    host.sleeping("web", &[]);
    let ask = "dig +short +time=1 +tries=1 web.cella A || true";
    let address = host.addresses("cella0", "web")[0].clone();
    assert_eq!(host.inside("web", ask), address);
    for again in ["start", "repair"] {
        let helper = host.helper().unwrap();
        host.sh(&format!("kill -9 {helper}")).ok();
        until("it is dead", || host.is_dead(&helper));
        match again {
            "start" => host.sleeping("two", &[]),
            _ => drop(host.cella(&["network", "repair"]).ok()),
        }
        assert_eq!(host.inside("web", ask), address, "after {again}");
        assert_ne!(host.helper(), Some(helper));
    }
    host.remove(&["web", "two"]);
    host.finish();
}

#[test]
fn nothing_is_left_after_kill_9_of_the_keeper_and_rm() {
    let Some(host) = host("keeper-kill") else { return };
    host.serving("web", 80, &["-p", "8080:80"]);
    host.sleeping("two", &[]);
    host.kill_keeper("web");
    until("it is over", || host.store.inspect("web", "status") != "running");
    host.remove(&["web"]);
    let rules = host.sh("nft list ruleset").ok();
    assert!(!rules.contains("8080"), "{rules}");
    assert_eq!(host.network("cella0")["attached"].as_array().unwrap().len(), 1);
    host.remove(&["two"]);
    host.finish();
}

#[test]
fn a_container_whose_keeper_was_killed_starts_again() {
    let Some(host) = host("keeper-again") else { return };
    host.serving("web", 80, &["-p", "8080:80"]);
    let lease = host.lease("cella0", "web");
    host.kill_keeper("web");
    until("it is over", || host.store.inspect("web", "status") != "running");
    host.cella(&["start", "web"]).ok();
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    assert_eq!(host.lease("cella0", "web"), lease);
    host.remove(&["web"]);
    host.finish();
}
