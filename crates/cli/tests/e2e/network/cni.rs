// SPDX-License-Identifier: Apache-2.0
//! Networks of CNI plugins, those of Debian's containernetworking-plugins.

use std::path::PathBuf;

use super::support::{HOST, Host, OUTSIDE, host};
use crate::support::{names, skip, until};

/// A list of plugins that is there for one test.
struct List {
    name: String,
    file: PathBuf,
    leases: PathBuf,
}

impl List {
    /// A bridge of its own with host-local addresses, and whatever comes after it.
    fn new(host: &Host, more: &str) -> Self {
        let name = format!("cella-{}", host.name());
        let (file, leases) = (format!("/etc/cni/net.d/{name}.conflist").into(), host.store.root.join("cni"));
        let own = Self { file, leases, name };
        let ranges = r#"[[{"subnet": "10.87.0.0/24"}], [{"subnet": "fd00:87::/64"}]]"#;
        let routes = r#"[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]"#;
        let (name, leases) = (&own.name, own.leases.display());
        let ipam =
            format!(r#"{{"type": "host-local", "dataDir": "{leases}", "ranges": {ranges}, "routes": {routes}}}"#);
        let bridge = format!(r#"{{"type": "bridge", "bridge": "cni9", "isGateway": true, "ipam": {ipam}}}"#);
        let text = format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{bridge}{more}]}}"#);
        std::fs::create_dir_all("/etc/cni/net.d").unwrap();
        std::fs::write(&own.file, text).unwrap();
        own
    }

    fn flag(&self) -> String {
        format!("cni:{}", self.name)
    }

    /// The addresses that are given now.
    fn given(&self) -> Vec<String> {
        let mut list = names(&self.leases.join(&self.name));
        list.retain(|name| name.starts_with("10.") || name.starts_with("fd00"));
        list.sort();
        list
    }
}

impl Drop for List {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

fn has_plugins(test: &str) -> bool {
    let there = std::path::Path::new("/usr/lib/cni/host-local").exists();
    if !there {
        skip(test, "containernetworking-plugins is not installed");
    }
    there
}

/// Takes away what the bridge plugin leaves: its bridge, as with every engine.
fn finish(host: Host, list: List) {
    assert_eq!(list.given(), Vec::<String>::new());
    drop(list);
    host.sh("ip link del cni9; true").ok();
    host.finish();
}

#[test]
fn plugins_give_addresses_and_take_them_back() {
    if !has_plugins("plugins_give_addresses_and_take_them_back") {
        return;
    }
    let Some(mut host) = host("cni") else { return };
    let list = List::new(&host, "");
    host.outside.sh("ip route add 10.87.0.0/24 via 192.0.2.1; ip route add fd00:87::/64 via 2001:db8::1").ok();
    host.sh("sysctl -qw net.ipv6.conf.all.forwarding=1").ok();
    host.serve_outside(7);
    host.serving("web", 80, &["--network", &list.flag()]);
    let given = list.given();
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(host.ask_from("web", "tcp", OUTSIDE[0], 7), format!("outside {}", given[0]));
    assert_eq!(host.outside.ask("tcp", &given[0], 80), format!("web {}", OUTSIDE[0]));
    assert!(host.inside("web", "ip -6 -br addr show eth0").contains(&given[1]));
    let told = host.cella(&["run", "--rm", "--network", &list.flag(), "-p", "8080:80", "host", "true"]).fails(125);
    assert!(told.contains("portMappings"), "{told}");
    // From a container that runs, and after the death of a keeper.
    host.sleeping("late", &[]);
    host.cella(&["network", "connect", &list.flag(), "late"]).ok();
    assert_eq!(list.given().len(), 4);
    assert!(host.ask_from("late", "tcp", &given[0], 80).starts_with("web 10.87.0."));
    host.cella(&["network", "disconnect", &list.flag(), "late"]).ok();
    assert_eq!(list.given(), given);
    host.kill_keeper("web");
    until("it is over", || host.store.inspect("web", "status") != "running");
    host.remove(&["web", "late"]);
    finish(host, list);
}

#[test]
fn a_chain_of_plugins_publishes_ports_and_tunes_the_device() {
    let test = "a_chain_of_plugins_publishes_ports_and_tunes_the_device";
    if !has_plugins(test) {
        return;
    }
    if !std::path::Path::new("/usr/sbin/iptables").exists() {
        return skip(test, "the plugin portmap needs iptables");
    }
    let Some(host) = host("cni-chain") else { return };
    let tuning = r#", {"type": "tuning", "mtu": 1400, "capabilities": {"mac": true}}"#;
    let portmap = r#", {"type": "portmap", "capabilities": {"portMappings": true}, "snat": false}"#;
    let list = List::new(&host, &format!("{tuning}{portmap}"));
    let flag = format!("{},mac=02:00:00:00:87:01", list.flag());
    host.serving("web", 80, &["--network", &flag, "-p", "8080:80"]);
    let shown = host.inside("web", "ip link show eth0");
    assert!(shown.contains("mtu 1400") && shown.contains("02:00:00:00:87:01"), "{shown}");
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    host.remove(&["web"]);
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    // The chains that portmap makes once for all stay, as with every engine.
    host.sh("for c in iptables ip6tables; do $c -t nat -F; $c -t nat -X; done; nft delete table ip nat; nft delete table ip6 nat; true").ok();
    finish(host, list);
}

#[test]
fn a_plugin_that_fails_is_told_and_those_before_it_are_undone() {
    if !has_plugins("a_plugin_that_fails_is_told_and_those_before_it_are_undone") {
        return;
    }
    let Some(host) = host("cni-fails") else { return };
    let list = List::new(&host, r#", {"type": "tuning", "sysctl": {"net.ipv4.no_such_thing": "1"}}"#);
    let told = host.cella(&["run", "--rm", "--network", &list.flag(), "host", "true"]).fails(125);
    assert!(told.contains("CNI plugin tuning"), "{told}");
    let told = host.cella(&["run", "--rm", "--network", "cni:nobody", "host", "true"]).fails(125);
    assert!(told.contains("no CNI network \"nobody\""), "{told}");
    let told =
        host.cella(&["run", "--rm", "--network", &format!("{},egress=1mbit", list.flag()), "host", "true"]).fails(125);
    assert!(told.contains("bandwidth"), "{told}");
    assert_eq!(host.cella(&["ls", "-aq"]).ok(), "");
    finish(host, list);
}
