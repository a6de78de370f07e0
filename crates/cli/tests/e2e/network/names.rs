// SPDX-License-Identifier: Apache-2.0
//! Names of containers, as the helper answers them, and of the world.

use super::support::{Host, host};
use crate::support::until;

/// The addresses that the name servers of a container say for a name, in order.
fn resolve(host: &Host, container: &str, name: &str) -> Vec<String> {
    let script = format!("dig +search +short +time=2 +tries=2 {name} A {name} AAAA | sort");
    host.inside(container, &script).lines().map(str::to_owned).collect()
}

#[test]
fn names_and_aliases_are_answered_both_ways() {
    let Some(host) = host("names") else { return };
    host.serving("web", 80, &["--network-alias", "shop", "--hostname", "frontend"]);
    host.sleeping("db", &["--network", "cella0,alias=store"]);
    let mut web = host.addresses("cella0", "web");
    web.sort();
    for name in ["web", "shop", "frontend", "web.cella", "SHOP.cella."] {
        assert_eq!(resolve(&host, "db", name), web, "{name}");
    }
    let mut db = host.addresses("cella0", "db");
    db.sort();
    assert_eq!(resolve(&host, "web", "store"), db);
    // By the C library, as programs do.
    let found = host.inside("db", "getent ahosts shop");
    assert!(web.iter().all(|address| found.contains(address.as_str())), "{found}");
    assert_eq!(host.ask_from("db", "tcp", "shop", 80), format!("web {}", host.addresses("cella0", "db")[1]));
    for address in &web {
        let names = host.inside("db", &format!("dig +short -x {address}"));
        assert!(names.lines().any(|name| name == "web.cella."), "{names}");
    }
    let missing = host.inside("db", "dig +search nobody A | grep status");
    assert!(missing.contains("NXDOMAIN") || missing.contains("SERVFAIL"), "{missing}");
    host.remove(&["db"]);
    until("db is gone", || resolve(&host, "web", "db.cella").is_empty());
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_network_has_a_domain_of_its_own() {
    let Some(host) = host("domain") else { return };
    host.cella(&["network", "create", "--domain", "lab.test", "lab"]).ok();
    host.sleeping("one", &["--network", "lab"]);
    assert!(host.inside("one", "cat /etc/resolv.conf").contains("search lab.test"));
    assert_eq!(resolve(&host, "one", "one.lab.test").len(), 2);
    host.remove(&["one"]);
    host.finish();
}

#[test]
fn names_of_the_world_are_asked_of_the_hosts_servers() {
    let Some(mut host) = host("upstream") else { return };
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let Some(server) = text.lines().find_map(|line| line.strip_prefix("nameserver ")) else { return };
    // The host's own server is played by its neighbour, which answers every question with one address.
    host.outside.sh(&format!("ip addr add {server} dev up0")).ok();
    host.answer_names_outside(server);
    host.sleeping("web", &[]);
    assert_eq!(host.inside("web", "dig +short +time=2 +tries=3 www.example.org A"), "203.0.113.5");
    assert_eq!(host.inside("web", "dig +tcp +short +time=2 +tries=3 web.cella A"), host.addresses("cella0", "web")[0]);
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn an_internal_network_sends_no_question_out() {
    let Some(host) = host("quiet") else { return };
    host.cella(&["network", "create", "--internal", "back"]).ok();
    host.sleeping("db", &["--network", "back"]);
    let count = "counter seen {}; chain in { type filter hook input priority 0; meta nfproto ipv4 counter name seen; }";
    host.outside.sh(&format!("nft 'table inet count {{ {count}; }}'")).ok();
    let answer = host.inside("db", "dig +time=1 +tries=1 www.example.org A | grep status");
    assert!(answer.contains("REFUSED") || answer.contains("NXDOMAIN") || answer.contains("SERVFAIL"), "{answer}");
    assert_eq!(resolve(&host, "db", "db.cella").len(), 2);
    let counted = host.outside.sh("nft list counter inet count seen").ok();
    assert!(counted.contains("packets 0 "), "{counted}");
    host.remove(&["db"]);
    host.finish();
}

#[test]
fn a_network_tells_other_servers_or_none() {
    let Some(host) = host("servers") else { return };
    host.cella(&["network", "create", "--dns", "192.0.2.53", "told"]).ok();
    let resolv = host.store.sh(&["--network", "told"], "cat /etc/resolv.conf").ok();
    assert_eq!(resolv.lines().next(), Some("nameserver 192.0.2.53"));
    host.cella(&["network", "create", "--no-dns", "mute"]).ok();
    let resolv = host.store.sh(&["--network", "mute"], "cat /etc/resolv.conf").ok();
    assert!(!resolv.contains("search cella"), "{resolv}");
    host.finish();
}
