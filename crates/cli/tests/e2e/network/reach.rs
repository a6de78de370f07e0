// SPDX-License-Identifier: Apache-2.0
//! Who reaches whom: the world, the host, other networks, each other.

use super::support::{HOST, OUTSIDE, host};

#[test]
fn the_world_sees_the_hosts_address() {
    let Some(mut host) = host("nat") else { return };
    host.serve_outside(7);
    host.sleeping("web", &[]);
    for (outside, own) in OUTSIDE.iter().zip(HOST) {
        for protocol in ["tcp", "udp"] {
            assert_eq!(host.ask_from("web", protocol, outside, 7), format!("outside {own}"));
        }
    }
    // The way in is closed, also for whoever sets a route.
    let addresses = host.addresses("cella0", "web");
    host.remove(&["web"]);
    host.serving("web", 80, &["--ip", &addresses[0]]);
    let network = host.network("cella0");
    for (at, own) in HOST.iter().enumerate() {
        let net = network["subnets"][at]["net"].as_str().unwrap();
        host.outside.sh(&format!("ip route add {net} via {own}")).ok();
    }
    host.ask("tcp", &addresses[0], 80);
    for address in host.addresses("cella0", "web") {
        host.outside.ask_in_vain("tcp", &address, 80);
    }
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn without_nat_addresses_stay_and_the_way_in_is_open() {
    let Some(mut host) = host("no-nat") else { return };
    let create = ["network", "create", "--no-nat", "--subnet", "10.78.0.0/24", "--subnet", "fd00:78::/64", "plain"];
    host.cella(&create).ok();
    host.outside.sh("ip route add 10.78.0.0/24 via 192.0.2.1; ip route add fd00:78::/64 via 2001:db8::1").ok();
    host.serve_outside(7);
    host.serving("web", 80, &["--network", "plain"]);
    let own = host.addresses("plain", "web");
    for (at, outside) in OUTSIDE.iter().enumerate() {
        assert_eq!(host.ask_from("web", "tcp", outside, 7), format!("outside {}", own[at]));
        assert_eq!(host.outside.ask("tcp", &own[at], 80), format!("web {outside}"));
    }
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn an_internal_network_reaches_nothing_outside() {
    let Some(mut host) = host("internal") else { return };
    host.serve_outside(7);
    host.serve_here(8);
    host.cella(&["network", "create", "--internal", "back"]).ok();
    host.serving("db", 80, &["--network", "back"]);
    host.sleeping("app", &["--network", "back"]);
    assert_eq!(host.ask_from("app", "tcp", "db", 80), format!("db {}", host.addresses("back", "app")[1]));
    assert_eq!(host.inside("app", "ip route show default; ip -6 route show default"), "");
    // Nor does root inside with a route of its own.
    let network = host.network("back");
    let gateways: Vec<&str> = (0..2).map(|at| network["subnets"][at]["gateway"].as_str().unwrap()).collect();
    let privileged = ["exec", "--privileged", "app", "sh", "-c"];
    let routes = format!("ip route add default via {}; ip route add default via {}", gateways[0], gateways[1]);
    host.cella(&[&privileged[..], &[&routes]].concat());
    for outside in OUTSIDE {
        host.ask_from_in_vain("app", "tcp", outside, 7);
        host.ask_from_in_vain("app", "udp", outside, 7);
    }
    for own in HOST.iter().chain(&gateways) {
        host.ask_from_in_vain("app", "tcp", own, 8);
    }
    host.remove(&["db", "app"]);
    host.finish();
}

#[test]
fn containers_of_an_isolated_network_reach_only_the_world() {
    let Some(mut host) = host("isolated") else { return };
    host.serve_outside(7);
    host.cella(&["network", "create", "--isolate", "guests"]).ok();
    host.serving("one", 80, &["--network", "guests"]);
    host.sleeping("two", &["--network", "guests"]);
    assert_eq!(host.ask_from("two", "tcp", OUTSIDE[0], 7), format!("outside {}", HOST[0]));
    for (at, address) in host.addresses("guests", "one").iter().enumerate() {
        host.ask("tcp", address, 80);
        host.ask_from_in_vain("two", "tcp", address, 80);
        host.ask_from_in_vain("two", "udp", address, 80);
        assert_eq!(host.ask_from("two", "tcp", OUTSIDE[at], 7), format!("outside {}", HOST[at]));
    }
    host.remove(&["one", "two"]);
    host.finish();
}

#[test]
fn two_networks_do_not_reach_each_other() {
    let Some(host) = host("two") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.serving("db", 80, &["--network", "back"]);
    host.sleeping("web", &[]);
    for address in host.addresses("back", "db") {
        host.ask("tcp", &address, 80);
        host.ask_from_in_vain("web", "tcp", &address, 80);
        host.ask_from_in_vain("web", "udp", &address, 80);
    }
    assert_eq!(host.inside("web", "dig +short +time=2 db.cella A"), "");
    host.remove(&["db", "web"]);
    host.finish();
}

#[test]
fn a_container_is_on_several_networks() {
    let Some(mut host) = host("several") else { return };
    host.serve_outside(7);
    host.cella(&["network", "create", "--internal", "back"]).ok();
    host.serving("db", 80, &["--network", "back"]);
    host.sleeping("web", &["--network", "cella0", "--network", "back,alias=front"]);
    let shown = host.inside("web", "ip -br addr");
    let [first, second] = ["cella0", "back"].map(|network| host.addresses(network, "web"));
    for (device, addresses) in [("eth0", &first), ("eth1", &second)] {
        let line = shown.lines().find(|line| line.starts_with(device)).unwrap();
        assert!(addresses.iter().all(|address| line.contains(&format!("{address}/"))), "{addresses:?}: {shown}");
    }
    assert_eq!(host.ask_from("web", "tcp", OUTSIDE[0], 7), format!("outside {}", HOST[0]));
    assert_eq!(host.ask_from("web", "tcp", &host.addresses("back", "db")[0], 80), format!("db {}", second[0]));
    assert_eq!(host.ask_from("web", "tcp", "db", 80), format!("db {}", second[1]));
    assert_eq!(host.inside("db", "dig +short +time=2 front.cella A"), second[0]);
    host.remove(&["db", "web"]);
    host.finish();
}

#[test]
fn a_running_container_is_attached_and_taken_off() {
    let Some(host) = host("live") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.serving("db", 80, &["--network", "back"]);
    host.sleeping("web", &[]);
    host.cella(&["network", "connect", "--alias", "front", "back", "web"]).ok();
    let own = host.addresses("back", "web");
    let shown = host.inside("web", "ip -br addr show eth1");
    assert!(own.iter().all(|address| shown.contains(&format!("{address}/"))), "{own:?} {shown}");
    assert_eq!(host.ask_from("web", "tcp", &host.addresses("back", "db")[0], 80), format!("db {}", own[0]));
    assert_eq!(host.inside("db", "dig +short +time=2 front.cella A"), own[0]);
    let again = host.cella(&["network", "connect", "back", "web"]).fails(1);
    assert!(again.contains("already"), "{again}");
    // It is there after a restart, too.
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.addresses("back", "web"), own);
    assert!(host.inside("web", "ip -br addr show eth1").contains(&own[0]));
    host.cella(&["network", "disconnect", "back", "web"]).ok();
    assert!(!host.inside("web", "ip -br link").contains("eth1"));
    assert_eq!(host.inside("db", "dig +short +time=2 front.cella A"), "");
    host.cella(&["network", "disconnect", "cella0", "web"]).ok();
    assert!(!host.inside("web", "ip -br link").contains("eth0"));
    let missing = host.cella(&["network", "disconnect", "back", "web"]).fails(1);
    assert!(missing.contains("web"), "{missing}");
    host.remove(&["db", "web"]);
    host.finish();
}

#[test]
fn a_connect_that_fails_takes_nothing_away() {
    let Some(host) = host("connect-fails") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.serving("web", 80, &[]);
    let before = host.inside("web", "ip -br addr; ip route; ip -6 route");
    for flags in
        [&["--interface", "eth0", "back"][..], &["--ip", "192.0.2.9", "back"], &["physical:nic7"], &["nowhere"]]
    {
        let told = host.cella(&[&["network", "connect"], flags, &["web"]].concat());
        assert!(told.code != 0 && told.err.starts_with("cella: "), "{flags:?}: {}", told.err);
        assert_eq!(host.inside("web", "ip -br addr; ip route; ip -6 route"), before, "{flags:?}");
    }
    assert_eq!(host.network("back")["leases"], serde_json::json!({}));
    assert!(host.ask("tcp", &host.addresses("cella0", "web")[0], 80).starts_with("web "));
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_stopped_container_is_attached_and_taken_off() {
    let Some(host) = host("stopped") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.serving("web", 80, &[]);
    host.cella(&["stop", "-t", "0", "web"]).ok();
    host.cella(&["network", "connect", "back", "web"]).ok();
    host.cella(&["port", "add", "web", "8080:80"]).ok();
    host.cella(&["start", "web"]).ok();
    assert!(host.inside("web", "ip -br addr show eth1").contains(&host.addresses("back", "web")[0]));
    assert!(host.outside.ask("tcp", HOST[0], 8080).starts_with("web "));
    host.cella(&["stop", "-t", "0", "web"]).ok();
    host.cella(&["network", "disconnect", "back", "web"]).ok();
    host.cella(&["port", "rm", "web", "8080:80"]).ok();
    assert_eq!(host.network("back")["leases"], serde_json::json!({}));
    host.cella(&["start", "web"]).ok();
    assert!(!host.inside("web", "ip -br link").contains("eth1"));
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_drop_of_somebody_elses_firewall_holds() {
    let Some(mut host) = host("foreign-drop") else { return };
    host.serve_outside(7);
    host.sleeping("web", &[]);
    host.sh("nft 'table inet wall { chain forward { type filter hook forward priority 0; policy drop; }; }'").ok();
    host.ask_from_in_vain("web", "tcp", OUTSIDE[0], 7);
    host.sh("nft delete table inet wall").ok();
    assert_eq!(host.ask_from("web", "tcp", OUTSIDE[0], 7), format!("outside {}", HOST[0]));
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_container_without_a_network_gets_one_later() {
    let Some(mut host) = host("later") else { return };
    host.serve_outside(7);
    for flags in [&["--network", "none"][..], &[]] {
        host.sleeping("web", flags);
        if flags.is_empty() {
            host.cella(&["network", "disconnect", "cella0", "web"]).ok();
        }
        assert_eq!(host.inside("web", "ip -br link | wc -l"), "1");
        let told = host.cella(&["port", "add", "web", "8080:80"]).fails(1);
        assert!(told.contains("no network"), "{told}");
        host.cella(&["network", "connect", "cella0", "web"]).ok();
        assert_eq!(host.ask_from("web", "tcp", OUTSIDE[0], 7), format!("outside {}", HOST[0]));
        host.cella(&["restart", "-t", "0", "web"]).ok();
        assert_eq!(host.ask_from("web", "tcp", OUTSIDE[0], 7), format!("outside {}", HOST[0]));
        host.remove(&["web"]);
    }
    host.finish();
}

#[test]
fn two_stores_of_one_host_do_not_meet() {
    let Some(host) = host("stores") else { return };
    let other = crate::support::Store::in_namespace("net-stores-other", host.name());
    host.serving("web", 80, &["-p", "8080:80"]);
    other.cella(&["run", "-d", "--name", "web", "host", "sleep", "1000"]).ok();
    let bridges = host.sh("ip -br link show type bridge").ok();
    assert_eq!(bridges.lines().count(), 2, "{bridges}");
    let told = other.cella(&["run", "--rm", "-p", "8080:80", "host", "true"]).fails(125);
    assert!(told.contains("8080"), "{told}");
    for address in host.addresses("cella0", "web") {
        let get = format!("busybox nc -w 1 {address} 80 </dev/null");
        assert!(!other.cella(&["exec", "web", "sh", "-c", &get]).out.contains("web"));
    }
    other.cella(&["rm", "-f", "web"]).ok();
    assert!(host.ask("tcp", HOST[0], 8080).starts_with("web "));
    other.finish();
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn twenty_containers_start_at_once() {
    let Some(host) = host("twenty") else { return };
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let start = |name: &String| {
        let arguments = ["run", "-d", "--name", name, "host", "sleep", "1000"];
        host.store.command(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let started: Vec<_> = names.iter().map(start).collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let network = host.network("cella0");
    let addresses: std::collections::BTreeSet<&str> =
        names.iter().map(|name| network["leases"][name]["v4"].as_str().unwrap()).collect();
    assert_eq!((addresses.len(), network["attached"].as_array().unwrap().len()), (20, 20));
    assert_eq!(host.inside("c0", "dig +short +time=2 c19.cella A"), host.addresses("cella0", "c19")[0]);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    host.cella(&[&["rm", "-f"], &all[..]].concat()).ok();
    host.finish();
}
