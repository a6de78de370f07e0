// SPDX-License-Identifier: Apache-2.0
//! What a container on the default network has: addresses, routes, a lease, and the files that tell it of them.

use super::support::host;

#[test]
fn the_default_network_gives_addresses_and_routes_of_both_families() {
    let Some(host) = host("default") else { return };
    host.sleeping("web", &[]);
    let [v4, v6] = host.addresses("cella0", "web");
    let shown = host.inside("web", "ip -br addr show eth0");
    assert!(shown.contains(&format!("{v4}/")) && shown.contains(&format!("{v6}/64")), "{v4} {v6}: {shown}");
    let network = host.network("cella0");
    let gateways: Vec<&str> = (0..2).map(|at| network["subnets"][at]["gateway"].as_str().unwrap()).collect();
    let routes = host.inside("web", "ip route show default; ip -6 route show default");
    let wanted = format!("default via {} dev eth0", gateways[0]);
    assert!(routes.starts_with(&wanted), "{routes}");
    assert!(routes.contains(&format!("default via {} dev eth0", gateways[1])), "{routes}");
    assert!(!host.inside("web", "ip -6 addr show scope global").contains("tentative"));
    for gateway in gateways {
        assert_eq!(host.inside("web", &format!("dig +short @{gateway} web.cella A")), v4);
    }
    let listed = host.cella(&["network", "ls"]).ok();
    assert!(listed.lines().any(|line| line.starts_with("cella0") && line.contains("nat")), "{listed}");
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn addresses_and_mac_survive_stop_and_start() {
    let Some(host) = host("survive") else { return };
    host.sleeping("first", &[]);
    host.sleeping("web", &[]);
    let lease = host.lease("cella0", "web");
    let mac = lease["mac"].as_str().unwrap();
    assert_eq!(host.inside("web", "cat /sys/class/net/eth0/address"), mac);
    for name in ["web", "first"] {
        host.cella(&["stop", "-t", "0", name]).ok();
    }
    // Somebody else comes in between, and does not get what is only asleep.
    host.sleeping("other", &[]);
    host.cella(&["start", "web"]).ok();
    assert_eq!(host.lease("cella0", "web"), lease);
    assert_eq!(host.inside("web", "cat /sys/class/net/eth0/address"), mac);
    let shown = host.inside("web", "ip -br addr show eth0");
    assert!(shown.contains(lease["v4"].as_str().unwrap()), "{shown}");
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.lease("cella0", "web"), lease);
    host.remove(&["web", "first", "other"]);
    host.finish();
}

#[test]
fn addresses_that_are_asked_for_are_given() {
    let Some(host) = host("asked") else { return };
    let create = ["network", "create", "--subnet", "10.77.0.0/24", "--subnet", "fd00:77::/64", "net"];
    host.cella(&create).ok();
    let flags = ["--network", "net", "--ip", "10.77.0.9", "--ip6", "fd00:77::9", "--mac-address", "02:00:00:00:77:09"];
    let shown = host.store.sh(&[&flags[..], &["--mtu", "1400"]].concat(), "ip addr show eth0").ok();
    for part in ["10.77.0.9/24", "fd00:77::9/64", "02:00:00:00:77:09", "mtu 1400"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let flags = ["--network", "net,ip=10.77.0.8,interface=lan0,mtu=1300"];
    let shown = host.store.sh(&flags, "ip addr show lan0").ok();
    assert!(shown.contains("10.77.0.8/24") && shown.contains("mtu 1300"), "{shown}");
    host.finish();
}

#[test]
fn a_network_has_an_mtu_of_its_own() {
    let Some(host) = host("mtu") else { return };
    host.cella(&["network", "create", "--mtu", "1380", "small"]).ok();
    assert_eq!(host.store.sh(&["--network", "small"], "cat /sys/class/net/eth0/mtu").ok(), "1380");
    host.finish();
}

#[test]
fn the_files_tell_of_names_and_servers() {
    let Some(host) = host("files") else { return };
    host.sleeping("web", &["--add-host", "printer:192.0.2.77"]);
    let [v4, v6] = host.addresses("cella0", "web");
    let hosts = host.inside("web", "cat /etc/hosts");
    for (address, name) in [("127.0.0.1", "localhost"), (&v4, "web"), (&v6, "web"), ("192.0.2.77", "printer")] {
        let line = |line: &str| line.starts_with(address) && line.split_whitespace().any(|word| word == name);
        assert!(hosts.lines().any(line), "{address} {name}: {hosts}");
    }
    let network = host.network("cella0");
    let resolv = host.inside("web", "cat /etc/resolv.conf");
    for at in 0..2 {
        let gateway = network["subnets"][at]["gateway"].as_str().unwrap();
        assert!(resolv.contains(&format!("nameserver {gateway}\n")), "{resolv}");
    }
    assert!(resolv.contains("search cella"), "{resolv}");
    let flags = ["--dns", "192.0.2.2", "--dns-search", "example.org", "--dns-option", "ndots:2"];
    let resolv = host.store.sh(&flags, "cat /etc/resolv.conf").ok();
    assert_eq!(resolv, "nameserver 192.0.2.2\nsearch example.org\noptions ndots:2");
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_host_that_has_switched_v6_off_has_networks() {
    let Some(host) = host("no-v6") else { return };
    host.cella(&["network", "create", "before"]).ok();
    host.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1").ok();
    let shown = host.store.sh(&[], "ip -br addr show eth0").ok();
    assert!(shown.contains("10.") && !shown.contains(" fd"), "{shown}");
    // One that has addresses of both goes on to have them.
    let shown = host.store.sh(&["--network", "before"], "ip -br addr show eth0").ok();
    assert!(shown.contains(" fd"), "{shown}");
    host.finish();
}
