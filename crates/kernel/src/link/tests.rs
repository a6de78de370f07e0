// SPDX-License-Identifier: Apache-2.0
//! Tests of network devices, each in network namespaces of its own.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::*;
use crate::namespace;
use crate::netlink::{Family, within};

/// A network namespace that ends with the test.
pub(crate) struct Scratch {
    pub(crate) namespace: OwnedFd,
    pub(crate) socket: Socket,
}

impl Scratch {
    /// None without root, which is told.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: {test}: it needs root");
            return None;
        }
        let namespace = namespace::new_network().unwrap();
        assert_ne!(namespace::id(&namespace).unwrap(), own(), "a test must not touch devices of the host");
        let socket = Socket::open_in(&namespace, Family::Route).unwrap();
        Some(Self { namespace: namespace.namespace, socket })
    }

    /// One end of a cable, up; the other is `NAMEp`, up as well.
    pub(crate) fn device(&mut self, name: &str) -> u32 {
        let peer = format!("{name}p");
        create(&mut self.socket, &veth(name, &peer)).unwrap();
        let index = find(&mut self.socket, &peer).unwrap().unwrap().index;
        set(&mut self.socket, index, &Change { up: Some(true), ..Default::default() }).unwrap();
        find(&mut self.socket, name).unwrap().unwrap().index
    }

    /// What a program prints in the namespace.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let run = || std::process::Command::new(program).args(arguments).output().unwrap();
        let output = within(&self.namespace, run).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn own() -> (u64, u64) {
    namespace::id(namespace::open(std::path::Path::new("/proc/thread-self/ns/net")).unwrap()).unwrap()
}

fn veth<'a>(name: &'a str, peer: &'a str) -> New<'a> {
    New { up: true, ..New::of(name, Kind::Veth(Peer { name: peer, mac: None, mtu: None, namespace: None })) }
}

#[test]
fn names_are_those_the_kernel_takes() {
    for name in ["a", "eth0", "web-1.2_x", "fifteen-bytes-x"] {
        assert!(is_name(name), "{name}");
    }
    let bad = [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a\tb",
        "a:b",
        "eth%d",
        "sixteen-bytes-xx",
        "caf\u{e9}",
        "a\u{7f}",
        "all",
        "default",
    ];
    for name in bad {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn both_ends_of_a_veth_are_made_where_they_belong() {
    let Some(mut host) = Scratch::new("both_ends_of_a_veth_are_made_where_they_belong") else { return };
    let mut inside = Scratch::new("").unwrap();
    create(&mut host.socket, &New::of("br0", Kind::Bridge(Bridge::default()))).unwrap();
    let bridge = find(&mut host.socket, "br0").unwrap().unwrap();
    let peer = Peer {
        name: "eth0",
        mac: Some([2, 0, 0, 0, 0, 5]),
        mtu: Some(1400),
        namespace: Some(inside.namespace.as_fd()),
    };
    let new = New {
        mac: Some([2, 0, 0, 0, 0, 4]),
        mtu: Some(1400),
        master: Some(bridge.index),
        queue: Some(77),
        up: true,
        ..New::of("web0", Kind::Veth(peer))
    };
    create(&mut host.socket, &new).unwrap();
    let outer = find(&mut host.socket, "web0").unwrap().unwrap();
    let inner = find(&mut inside.socket, "eth0").unwrap().unwrap();
    assert_eq!(find(&mut host.socket, "eth0").unwrap(), None);
    assert_eq!((outer.mac, outer.mtu, outer.master), (new.mac, 1400, Some(bridge.index)));
    assert_eq!((inner.mac, inner.mtu, inner.up), (peer.mac, 1400, false));
    assert_eq!((outer.parent, inner.parent), (Some(inner.index), Some(outer.index)));
    assert!(outer.namespace.is_some() && outer.up && !outer.running && outer.kind.as_deref() == Some("veth"));
    set(&mut inside.socket, inner.index, &Change { up: Some(true), ..Default::default() }).unwrap();
    assert!(by_index(&mut host.socket, outer.index).unwrap().unwrap().running);
    assert!(host.run("ip", &["link", "show", "web0"]).contains("master br0"));
    assert!(host.run("ip", &["link", "show", "web0"]).contains("qlen 77"));
    assert!(create(&mut host.socket, &new).unwrap_err().is(Errno::EXIST));
    delete(&mut inside.socket, inner.index).unwrap();
    assert_eq!(by_index(&mut host.socket, outer.index).unwrap(), None);
    assert!(delete(&mut host.socket, outer.index).unwrap_err().is(Errno::NODEV));
}

#[test]
fn every_kind_is_made_or_not_supported() {
    let Some(mut scratch) = Scratch::new("every_kind_is_made_or_not_supported") else { return };
    let parent = scratch.device("d0");
    let vxlan = Vxlan {
        id: 77,
        remote: Some("fd00::2".parse().unwrap()),
        local: Some("fd00::1".parse().unwrap()),
        device: Some(parent),
        port: 4789,
        learning: false,
    };
    let kinds = [
        Kind::Bridge(Bridge::default()),
        Kind::Ipvlan(IpvlanMode::L2),
        Kind::Vlan { id: 5, protocol: VlanProtocol::Q },
        Kind::Macvlan(MacvlanMode::Bridge),
        Kind::Vxlan(vxlan),
        Kind::Ifb,
        Kind::Dummy,
    ];
    let mut lacking = Vec::new();
    for kind in kinds {
        let on = matches!(kind, Kind::Ipvlan(_) | Kind::Vlan { .. } | Kind::Macvlan(_)).then_some(parent);
        let new = New { parent: on, mtu: Some(1300), ..New::of("new0", kind) };
        match create(&mut scratch.socket, &new) {
            Err(error) => {
                assert!(error.is_unsupported(), "{error}");
                lacking.push(kind.name());
            }
            Ok(()) => {
                let made = find(&mut scratch.socket, "new0").unwrap().unwrap();
                assert_eq!((made.kind.as_deref(), made.mtu), (Some(kind.name()), 1300));
                assert_eq!(made.parent, on);
                delete(&mut scratch.socket, made.index).unwrap();
            }
        }
    }
    println!("this kernel lacks {lacking:?}");
    assert!(!["bridge", "macvlan", "vxlan", "ifb"].iter().any(|kind| lacking.contains(kind)), "{lacking:?}");
}

#[test]
fn ip_shows_the_options_of_each_kind() {
    let Some(mut scratch) = Scratch::new("ip_shows_the_options_of_each_kind") else { return };
    let parent = scratch.device("d0");
    let vxlan = |remote: &str, local: &str| Vxlan {
        id: 77,
        remote: Some(remote.parse().unwrap()),
        local: Some(local.parse().unwrap()),
        device: Some(parent),
        port: 4790,
        learning: false,
    };
    let bridge = Bridge { vlan_filtering: true, multicast_snooping: true, ..Bridge::default() };
    let tree = Bridge { spanning_tree: true, forward_delay: Duration::from_secs(4), ..Bridge::default() };
    let cases = [
        (Kind::Bridge(Bridge::default()), "forward_delay 0 ", "mcast_snooping 0"),
        (Kind::Bridge(bridge), "vlan_filtering 1", "mcast_snooping 1"),
        (Kind::Bridge(tree), "forward_delay 400 ", "stp_state 1"),
        (Kind::Macvlan(MacvlanMode::Private), "macvlan mode private", "new0@d0"),
        (Kind::Macvlan(MacvlanMode::Bridge), "macvlan mode bridge", "new0@d0"),
        (
            Kind::Vxlan(vxlan("10.1.1.1", "10.1.1.2")),
            "vxlan id 77 remote 10.1.1.1 local 10.1.1.2 dev d0",
            "dstport 4790",
        ),
        (
            Kind::Vxlan(vxlan("239.1.1.1", "10.1.1.2")),
            "vxlan id 77 group 239.1.1.1 local 10.1.1.2 dev d0",
            "nolearning",
        ),
        (Kind::Vxlan(vxlan("fd00::2", "fd00::1")), "remote fd00::2 local fd00::1", "nolearning"),
    ];
    for (kind, first, second) in cases {
        let needs = matches!(kind, Kind::Macvlan(_)).then_some(parent);
        match create(&mut scratch.socket, &New { parent: needs, ..New::of("new0", kind) }) {
            // This kernel may be without CONFIG_BRIDGE_VLAN_FILTERING.
            Err(error) if error.is_unsupported() && first == "vlan_filtering 1" => continue,
            other => other.unwrap(),
        }
        let shown = scratch.run("ip", &["-d", "link", "show", "new0"]);
        assert!(shown.contains(first) && shown.contains(second), "{first} {second}: {shown}");
        let index = find(&mut scratch.socket, "new0").unwrap().unwrap().index;
        delete(&mut scratch.socket, index).unwrap();
    }
}

#[test]
fn a_device_changes_and_moves() {
    let Some(mut here) = Scratch::new("a_device_changes_and_moves") else { return };
    let mut there = Scratch::new("").unwrap();
    let index = here.device("d0");
    let mac = Some([2, 0, 0, 0, 0, 8]);
    let change = Change { up: Some(false), mtu: Some(1280), mac, name: Some("d1"), ..Default::default() };
    set(&mut here.socket, index, &change).unwrap();
    let found = find(&mut here.socket, "d1").unwrap().unwrap();
    assert_eq!((found.index, found.up, found.mtu, found.mac), (index, false, 1280, mac));
    create(&mut here.socket, &New::of("br0", Kind::Bridge(Bridge::default()))).unwrap();
    let bridge = find(&mut here.socket, "br0").unwrap().unwrap().index;
    for (master, expected) in [(Master::Of(bridge), Some(bridge)), (Master::Nobody, None)] {
        set(&mut here.socket, index, &Change { master: Some(master), ..Default::default() }).unwrap();
        assert_eq!(by_index(&mut here.socket, index).unwrap().unwrap().master, expected);
    }
    let to =
        Change { namespace: Some(there.namespace.as_fd()), name: Some("eth0"), up: Some(true), ..Default::default() };
    set(&mut here.socket, index, &to).unwrap();
    assert_eq!(find(&mut here.socket, "d1").unwrap(), None);
    let moved = find(&mut there.socket, "eth0").unwrap().unwrap();
    assert!(moved.up && moved.mac == mac);
    assert!(set(&mut here.socket, 4_000_000, &change).unwrap_err().is(Errno::NODEV));
    assert!(set(&mut here.socket, 0, &change).unwrap_err().is(Errno::NODEV));
    assert!(set(&mut there.socket, moved.index, &Change { name: Some("a/b"), ..Default::default() }).is_err());
}

#[test]
fn a_port_has_its_flags_before_it_is_up() {
    let Some(mut scratch) = Scratch::new("a_port_has_its_flags_before_it_is_up") else { return };
    create(&mut scratch.socket, &New { up: true, ..New::of("br0", Kind::Bridge(Bridge::default())) }).unwrap();
    let bridge = find(&mut scratch.socket, "br0").unwrap().unwrap().index;
    let index = scratch.device("d0");
    let on = Change { up: Some(false), master: Some(Master::Of(bridge)), ..Default::default() };
    set(&mut scratch.socket, index, &on).unwrap();
    let flags = Port {
        isolated: Some(true),
        hairpin: Some(true),
        learning: Some(false),
        flood: Some(false),
        multicast_flood: Some(false),
        broadcast_flood: Some(true),
        bpdu_guard: Some(true),
        root_block: Some(true),
        neighbour_suppress: Some(true),
        locked: Some(true),
    };
    set(&mut scratch.socket, index, &Change { port: Some(flags), up: Some(true), ..Default::default() }).unwrap();
    assert_eq!(port(&mut scratch.socket, index).unwrap(), Some(flags));
    assert_eq!(port(&mut scratch.socket, bridge).unwrap(), None);
    let shown = scratch.run("bridge", &["-d", "link", "show", "dev", "d0"]);
    for part in
        ["isolated on", "hairpin on", "learning off", " flood off", "guard on", "root_block on", "neigh_suppress on"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let less = Port { isolated: Some(false), ..Default::default() };
    set(&mut scratch.socket, index, &Change { port: Some(less), ..Default::default() }).unwrap();
    assert_eq!(port(&mut scratch.socket, index).unwrap(), Some(Port { isolated: Some(false), ..flags }));
    let no_port = Change { port: Some(less), ..Default::default() };
    assert!(set(&mut scratch.socket, bridge, &no_port).unwrap_err().is(Errno::OPNOTSUPP));
}

#[test]
fn a_port_without_link_local_address_stays_without() {
    let Some(mut scratch) = Scratch::new("a_port_without_link_local_address_stays_without") else { return };
    let quiet = New { up: false, ..veth("q0", "q0p") };
    create(&mut scratch.socket, &quiet).unwrap();
    for name in ["q0", "q0p"] {
        let index = find(&mut scratch.socket, name).unwrap().unwrap().index;
        set_link_local(&mut scratch.socket, index, name == "q0p").unwrap();
        set(&mut scratch.socket, index, &Change { up: Some(true), ..Default::default() }).unwrap();
    }
    assert_eq!(scratch.run("ip", &["-6", "-o", "address", "show", "q0"]), "");
    assert!(scratch.run("ip", &["-6", "-o", "address", "show", "q0p"]).contains("fe80::"));
}

#[test]
fn the_list_is_complete_and_counts() {
    let Some(mut scratch) = Scratch::new("the_list_is_complete_and_counts") else { return };
    for number in 0..120 {
        scratch.device(&format!("d{number}"));
    }
    let all = list(&mut scratch.socket).unwrap();
    assert_eq!(all.len(), 241, "lo and both ends");
    let sent: u64 = all.iter().map(|link| link.stats.tx_packets).sum();
    assert!(sent > 0, "devices with IPv6 speak as soon as they are up");
    let lo = all.iter().find(|link| link.name == "lo").unwrap();
    assert_eq!((lo.index, lo.kind.clone(), lo.up), (1, None, false));
}
