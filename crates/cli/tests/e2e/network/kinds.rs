// SPDX-License-Identifier: Apache-2.0
//! Every kind of network but the default: what it gives, who is reached, and that the host gets all of it back.

use super::support::{HOST, Host, Namespace, OUTSIDE, host};
use crate::support::until;

/// A bridge of somebody else, which the neighbour is a port of: 198.51.100.0/24, .1 the host, .2 the neighbour.
fn foreign_bridge(host: &Host) {
    foreign_bridge_without_link(host);
    host.sh("ip addr add 198.51.100.1/24 dev br0").ok();
    let neighbour = &host.outside.0;
    host.sh(&format!("ip link add p0 type veth peer name lan0 netns {neighbour}; ip link set p0 master br0 up")).ok();
    host.outside.sh("ip link set lan0 up; ip addr add 198.51.100.2/24 dev lan0").ok();
}

fn foreign_bridge_without_link(host: &Host) {
    host.sh("ip link add br0 type bridge && ip link set br0 up").ok();
}

fn remove_foreign_bridge(host: &Host) {
    host.sh("ip link del p0; ip link del br0").ok();
}

#[test]
fn a_bridge_of_the_host_is_used_as_it_is() {
    let Some(mut host) = host("bridge") else { return };
    foreign_bridge(&host);
    host.serve_outside(7);
    host.serving("web", 80, &["--network", "bridge:br0"]);
    // It gives no addresses: somebody else does, or root inside.
    assert!(!host.inside("web", "ip -4 -br addr show eth0").contains('.'));
    let address = ["exec", "--privileged", "web", "ip", "addr", "add", "198.51.100.9/24", "dev", "eth0"];
    host.cella(&address).ok();
    assert_eq!(host.ask_from("web", "tcp", "198.51.100.2", 7), "outside 198.51.100.9");
    assert_eq!(host.outside.ask("tcp", "198.51.100.9", 80), "web 198.51.100.2");
    host.remove(&["web"]);
    remove_foreign_bridge(&host);
    host.finish();
}

#[test]
fn a_network_on_a_bridge_of_the_host_gives_addresses() {
    let Some(mut host) = host("existing") else { return };
    foreign_bridge(&host);
    host.serve_outside(7);
    let create = ["network", "create", "--device", "br0", "--existing", "--subnet", "198.51.100.0/24"];
    host.cella(&[&create[..], &["--gateway", "198.51.100.1", "--ip-range", "198.51.100.128/25", "lan"]].concat()).ok();
    host.serving("web", 80, &["--network", "lan"]);
    let [own, _] = host.addresses("lan", "web");
    assert!(own.rsplit_once('.').unwrap().1.parse::<u8>().unwrap() >= 128, "{own}");
    assert_eq!(host.ask_from("web", "tcp", "198.51.100.2", 7), format!("outside {own}"));
    assert_eq!(host.outside.ask("tcp", &own, 80), "web 198.51.100.2");
    assert!(host.inside("web", "ip route show default").starts_with("default via 198.51.100.1 "));
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.addresses("lan", "web")[0], own);
    host.remove(&["web"]);
    host.cella(&["network", "rm", "lan"]).ok();
    assert!(host.sh("ip -br link").ok().contains("br0"));
    remove_foreign_bridge(&host);
    host.finish();
}

/// A link of the host to its neighbour, 198.51.100.0/24 like the bridge's: `eth9` here.
fn second_link(host: &Host) {
    let neighbour = &host.outside.0;
    host.sh(&format!("ip link add eth9 type veth peer name lan0 netns {neighbour}")).ok();
    host.outside.sh("ip link set lan0 up; ip addr add 198.51.100.2/24 dev lan0").ok();
}

#[test]
fn macvlan_is_on_the_hosts_link() {
    let Some(mut host) = host("macvlan") else { return };
    second_link(&host);
    host.serve_outside(7);
    let create = ["network", "create", "-d", "macvlan", "--parent", "eth9", "--subnet", "198.51.100.0/24"];
    host.cella(&[&create[..], &["--gateway", "198.51.100.2", "lan"]].concat()).ok();
    host.serving("web", 80, &["--network", "lan"]);
    host.serving("two", 80, &["--network", "lan"]);
    let [web, two] = ["web", "two"].map(|name| host.addresses("lan", name)[0].clone());
    assert_eq!(host.ask_from("web", "tcp", "198.51.100.2", 7), format!("outside {web}"));
    assert_eq!(host.outside.ask("udp", &web, 80), "web 198.51.100.2");
    assert_eq!(host.ask_from("web", "tcp", &two, 80), format!("two {web}"));
    assert!(host.inside("web", "ip route show default").starts_with("default via 198.51.100.2 "));
    let mac = host.lease("lan", "web")["mac"].as_str().unwrap().to_owned();
    assert_eq!(host.inside("web", "cat /sys/class/net/eth0/address"), mac);
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.outside.ask("tcp", &web, 80), "web 198.51.100.2");
    // To a container that runs, and away again.
    host.sleeping("late", &[]);
    host.cella(&["network", "connect", "lan", "late"]).ok();
    let late = host.addresses("lan", "late")[0].clone();
    assert_eq!(host.ask_from("late", "tcp", "198.51.100.2", 7), format!("outside {late}"));
    host.cella(&["network", "disconnect", "lan", "late"]).ok();
    assert!(!host.inside("late", "ip -br link").contains("eth1"));
    host.remove(&["web", "two", "late"]);
    host.sh("ip link del eth9").ok();
    host.finish();
}

#[test]
fn macvlan_without_a_network_is_a_bare_device() {
    let Some(host) = host("bare-macvlan") else { return };
    second_link(&host);
    host.sleeping("web", &["--network", "macvlan:eth9,mode=private,mac=02:00:00:00:00:99"]);
    let shown = host.inside("web", "ip -d link show eth0");
    assert!(shown.contains("macvlan mode private") && shown.contains("02:00:00:00:00:99"), "{shown}");
    host.remove(&["web"]);
    host.sh("ip link del eth9").ok();
    host.finish();
}

#[test]
fn a_parent_that_disappears_is_no_trouble() {
    let Some(host) = host("vanish") else { return };
    second_link(&host);
    foreign_bridge_without_link(&host);
    host.sleeping("one", &["--network", "macvlan:eth9"]);
    host.sleeping("two", &["--network", "bridge:br0"]);
    host.sh("ip link del eth9; ip link del br0").ok();
    for name in ["one", "two"] {
        host.cella(&["stop", "-t", "0", name]).ok();
        let told = host.cella(&["start", name]).fails(1);
        assert!(told.contains("no device"), "{told}");
    }
    host.remove(&["one", "two"]);
    host.finish();
}

#[test]
fn a_kind_that_the_kernel_lacks_is_told() {
    let Some(host) = host("lacks") else { return };
    for (kind, word) in [("vlan", "vlan:out0.5"), ("ipvlan", "ipvlan:out0")] {
        if host.sh(&format!("ip link add try0 link out0 type {kind} $(test {kind} = ipvlan || echo id 9)")).code == 0 {
            host.sh("ip link del try0").ok();
            host.sleeping("web", &["--network", word]);
            assert!(host.inside("web", "ip -d link show eth0").contains(kind));
            host.remove(&["web"]);
            continue;
        }
        let told = host.cella(&["run", "--rm", "--network", word, "host", "true"]).fails(125);
        assert!(told.contains("hint: this kernel does not have it"), "{told}");
    }
    host.finish();
}

#[test]
fn routed_containers_have_a_route_each_and_no_bridge() {
    let Some(mut host) = host("routed") else { return };
    host.serve_outside(7);
    host.cella(&["network", "create", "-d", "routed", "--subnet", "10.79.0.0/24", "far"]).ok();
    host.serving("web", 80, &["--network", "far", "-p", "8080:80", "--mac-address", "02:00:00:00:79:01"]);
    host.serving("two", 80, &["--network", "far"]);
    let own = host.addresses("far", "web");
    let shown = host.inside("web", "ip -br addr show eth0");
    assert!(shown.contains(&format!("{}/32", own[0])) && shown.contains(&format!("{}/128", own[1])), "{shown}");
    let routes = host.sh("ip route; ip -6 route").ok();
    assert!(own.iter().all(|one| routes.lines().any(|line| line.starts_with(&format!("{one} dev v")))), "{routes}");
    for at in 0..2 {
        assert_eq!(host.ask_from("web", "tcp", OUTSIDE[at], 7), format!("outside {}", HOST[at]));
        assert_eq!(host.outside.ask("tcp", HOST[at], 8080), format!("web {}", OUTSIDE[at]));
        assert!(host.ask("tcp", &own[at], 80).starts_with("web "));
        let two = &host.addresses("far", "two")[at];
        assert_eq!(host.ask_from("web", "tcp", two, 80), format!("two {}", own[at]));
        host.outside.ask_in_vain("tcp", &own[at], 80);
    }
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    host.sleeping("late", &[]);
    host.cella(&["network", "connect", "far", "late"]).ok();
    let late = host.addresses("far", "late");
    assert_eq!(host.ask_from("late", "tcp", &own[0], 80), format!("web {}", late[0]));
    host.cella(&["network", "disconnect", "far", "late"]).ok();
    host.remove(&["web", "two", "late"]);
    host.finish();
}

/// A device of the host with everything that is given back: `eth9`.
fn device(host: &Host) -> String {
    second_link(host);
    let set = "ip link set eth9 address 02:00:00:00:00:aa mtu 1450 up; ip addr add 198.51.100.1/24 dev eth9;
        ip addr add 2001:db8:1::1/64 dev eth9; ip route add 203.0.113.0/24 via 198.51.100.2 metric 77;
        ip route add 2001:db8:2::/48 via 2001:db8:1::2";
    host.sh(set).ok();
    state(host)
}

/// The device with addresses and routes, but for its number and what IPv6 does by itself for a while.
fn state(host: &Host) -> String {
    let shown = host.sh("ip addr show eth9 | grep -v valid_lft; ip route show dev eth9; ip -6 route show dev eth9").out;
    let plain = |line: &str| {
        let line = line.replace(" tentative", "").replace(" nodad", "").replace(" proto static", "");
        line.split_once(": eth9").map_or(line.as_str(), |(_, rest)| rest).trim_end().to_owned()
    };
    let mut lines: Vec<String> = shown.lines().filter(|line| !line.contains("fe80:")).map(plain).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_device_of_the_host_is_moved_in_and_given_back() {
    let Some(mut host) = host("physical") else { return };
    let before = device(&host);
    host.serve_outside(7);
    host.sleeping("web", &["--network", "physical:eth9"]);
    assert_eq!(host.sh("ip link show eth9").code, 1);
    let shown = host.inside("web", "ip link show eth9");
    assert!(shown.contains("02:00:00:00:00:aa") && shown.contains("mtu 1450"), "{shown}");
    let address = ["exec", "--privileged", "web", "ip", "addr", "add", "198.51.100.9/24", "dev", "eth9"];
    host.cella(&address).ok();
    assert_eq!(host.ask_from("web", "tcp", "198.51.100.2", 7), "outside 198.51.100.9");
    // Root inside calls it as it likes.
    host.cella(&["exec", "--privileged", "web", "sh", "-c", "ip link set eth9 down; ip link set eth9 name mine"]).ok();
    host.cella(&["stop", "-t", "0", "web"]).ok();
    assert_eq!(state(&host), before);
    host.cella(&["start", "web"]).ok();
    host.remove(&["web"]);
    assert_eq!(state(&host), before);
    host.sh("ip link del eth9").ok();
    host.finish();
}

#[test]
fn a_device_of_the_host_comes_and_goes_live() {
    let Some(host) = host("physical-live") else { return };
    let before = device(&host);
    host.sleeping("web", &[]);
    host.cella(&["network", "connect", "--interface", "lan", "physical:eth9", "web"]).ok();
    assert!(host.inside("web", "ip link show lan").contains("02:00:00:00:00:aa"));
    host.cella(&["network", "disconnect", "physical:eth9", "web"]).ok();
    assert_eq!(state(&host), before);
    host.remove(&["web"]);
    host.sh("ip link del eth9").ok();
    host.finish();
}

#[test]
fn a_device_of_the_host_is_given_back_after_kill_9_of_the_keeper() {
    let Some(host) = host("physical-kill") else { return };
    let before = device(&host);
    host.sleeping("web", &["--network", "physical:eth9,interface=lan,mac=02:00:00:00:00:bb"]);
    // Hardware falls back to the host when its namespace ends. An end of a veth pair, which stands for it here, would end
    // too: so the namespace is held, and the device moved by hand as the kernel moves it.
    let (pid, hold) = (host.store.inspect("web", "pid"), format!("{}-hold", host.outside.0));
    host.sh(&format!("ip netns attach {hold} {pid}")).ok();
    host.kill_keeper("web");
    until("it is over", || host.is_dead(&pid));
    host.outside.sh(&format!("ip -n {hold} link set lan netns {}; ip netns del {hold}", host.name())).ok();
    assert!(host.sh("ip link show lan").ok().contains("state DOWN"));
    host.remove(&["web"]);
    assert_eq!(state(&host), before);
    host.sh("ip link del eth9").ok();
    host.finish();
}

#[test]
fn a_vxlan_joins_the_networks_of_two_hosts() {
    let Some(host) = host("vxlan") else { return };
    // The neighbour is a host too, with a store of its own.
    let other = crate::support::Store::in_namespace("net-vxlan-other", &host.outside.0);
    let create = |own: &str, remote: &str, gateway: &str, range: &str| {
        let words = ["network", "create", "-d", "vxlan", "--vxlan-id", "42", "--vxlan-local", own, "--vxlan-remote"];
        let subnet = ["--subnet", "10.80.0.0/24", "--gateway", gateway, "--ip-range", range, "--no-ipv6", "wide"];
        [&words[..], &[remote], &subnet].concat().iter().map(|&word| word.to_owned()).collect::<Vec<_>>()
    };
    let words = create(HOST[0], OUTSIDE[0], "10.80.0.1", "10.80.0.64/26");
    host.cella(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let words = create(OUTSIDE[0], HOST[0], "10.80.0.2", "10.80.0.128/26");
    other.claiming_alone(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    host.serving("near", 80, &["--network", "wide"]);
    other.cella(&["run", "-d", "--name", "far", "--network", "wide", "host", "sleep", "1000"]).ok();
    let near = host.addresses("wide", "near")[0].clone();
    let get =
        format!("for i in 1 2 3 4 5 6 7 8; do busybox nc -w 2 {near} 80 </dev/null && exit; sleep 0.2; done; exit 1");
    let answer = other.cella(&["exec", "far", "sh", "-c", &get]).ok();
    assert!(answer.starts_with("near 10.80.0.1"), "{answer}");
    assert_eq!(host.inside("near", "cat /sys/class/net/eth0/mtu"), "1450");
    other.cella(&["rm", "-f", "far"]).ok();
    host.remove(&["near"]);
    other.finish();
    host.finish();
}

#[test]
fn a_container_shares_anothers_network() {
    let Some(host) = host("shared") else { return };
    host.serving("web", 80, &[]);
    host.sleeping("side", &["--network", "container:web"]);
    assert_eq!(host.inside("side", "ip -br addr"), host.inside("web", "ip -br addr"));
    assert!(host.ask_from("side", "tcp", "127.0.0.1", 80).starts_with("web "));
    let told = host.cella(&["run", "--rm", "--network", "container:web", "-p", "80:80", "host", "true"]).fails(125);
    assert!(told.contains("container:web"), "{told}");
    let told = host.cella(&["network", "connect", "cella0", "side"]).fails(1);
    assert!(told.contains("no network of its own"), "{told}");
    host.remove(&["side", "web"]);
    host.finish();
}

#[test]
fn none_host_and_a_namespace_by_path() {
    let Some(host) = host("plain") else { return };
    assert_eq!(host.store.sh(&["--network", "none"], "ip -br link | wc -l").ok(), "1");
    assert!(host.store.sh(&["--network", "host"], "ip -br link").ok().contains("out0"));
    let third = Namespace::new("ct");
    third.sh("ip link add there type bridge").ok();
    let flag = format!("ns:/run/netns/{}", third.0);
    assert!(host.store.sh(&["--network", &flag], "ip -br link").ok().contains("there"));
    let missing = host.cella(&["run", "--rm", "--network", "ns:/run/netns/none", "host", "true"]).fails(125);
    assert!(missing.contains("/run/netns/none"), "{missing}");
    host.finish();
}
