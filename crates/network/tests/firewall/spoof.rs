// SPDX-License-Identifier: Apache-2.0
//! Frames that a container with raw sockets makes up: what says the truth arrives, all else does not.

use std::collections::BTreeSet;
use std::io::BufRead;

use network::firewall::Rules;

use crate::support::{Server, Space, can_run, mac, net, port, wait};

const FRAMES: &str = include_str!("frames.py");

/// A program that has the frames.
fn program(rest: &str) -> String {
    format!("{FRAMES}\n{rest}\n")
}

/// A bridge of the host with two containers, of which `a` will lie.
fn bridged() -> (Space, Space, Space) {
    let (host, a, b) = (Space::new(), Space::new(), Space::new());
    host.ip("link add br0 type bridge mcast_snooping 0");
    host.ip("addr add 10.1.0.1/24 dev br0");
    host.ip("addr add fd00:1::1/64 dev br0 nodad");
    host.ip("link set br0 up");
    if std::path::Path::new("/proc/sys/net/bridge").exists() {
        // It would cut off what stands behind a packet, where the names of our frames are.
        host.sysctl("net.bridge.bridge-nf-call-iptables=0");
        host.sysctl("net.bridge.bridge-nf-call-ip6tables=0");
    }
    for (space, name, n, v4, v6) in
        [(&a, "veth-a", 1, "10.1.0.2/24", "fd00:1::2/64"), (&b, "veth-b", 2, "10.1.0.3/24", "fd00:1::3/64")]
    {
        let mac = mac(n);
        host.ip(&format!("link add {name} type veth peer name eth0 address {mac} netns {}", space.path()));
        host.ip(&format!("link set {name} master br0 up"));
        space.ip(&format!("addr add {v4} dev eth0"));
        space.ip(&format!("addr add {v6} dev eth0 nodad"));
        space.ip("link set eth0 up");
    }
    (host, a, b)
}

fn rules() -> Rules {
    Rules {
        nets: vec![net("br0", &["10.1.0.0/24", "fd00:1::/64"])],
        ports: vec![
            port("veth-a", Some("br0"), 1, &["10.1.0.2", "fd00:1::2"]),
            port("veth-b", Some("br0"), 2, &["10.1.0.3", "fd00:1::3"]),
        ],
        publications: Vec::new(),
    }
}

/// The names of the frames that arrive where `ears` are, of all that `a` sends.
fn arrived(a: &Space, mut ears: Server, end: &str) -> BTreeSet<String> {
    let everything = "send('eth0', [make(mark(name)) for name, make in (GOOD | BAD).items()])";
    a.python(&program(everything));
    a.python(&program(end));
    let mut names = BTreeSet::new();
    let mut line = String::new();
    // What is sent by one after the other on one path arrives so: what is not there before the end does not come.
    while {
        line.clear();
        ears.lines.read_line(&mut line).unwrap() > 0
    } && line.trim() != "end"
    {
        names.insert(line.trim().to_owned());
    }
    names
}

const END: &str = "send('eth0', [GOOD['v4'](mark('end'))])";

fn names(of: &str) -> BTreeSet<String> {
    let done = std::process::Command::new("python3").args(["-c", &program(&format!("print(*{of})"))]).output().unwrap();
    String::from_utf8(done.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn lies_do_not_pass_the_bridge() {
    if !can_run("lies_do_not_pass_the_bridge") {
        return;
    }
    let (host, a, b) = bridged();
    let ears = || b.serve(&program("hear('eth0', 'end')"));
    let (good, bad) = (names("GOOD"), names("BAD"));
    assert!(good.len() > 15 && bad.len() > 40);
    let without = arrived(&a, ears(), END);
    assert_eq!(without, good.union(&bad).cloned().collect(), "without us all arrives");
    let mut firewall = host.firewall();
    firewall.replace(&rules()).unwrap();
    assert_eq!(arrived(&a, ears(), END), good);
    // Foreign chains that accept all, before and after, change nothing.
    host.run("nft", &["table bridge theirs { chain first { type filter hook prerouting priority -2000; accept; }; chain last { type filter hook prerouting priority 0; accept; }; }"]);
    assert_eq!(arrived(&a, ears(), END), good);
    // One who comes later, and one who goes.
    let one = Rules { ports: vec![rules().ports[0].clone()], ..Rules::default() };
    firewall.change(&Rules::default(), &one).unwrap();
    assert_eq!(arrived(&a, ears(), END), without, "a device that is not ours");
    firewall.change(&one, &Rules::default()).unwrap();
    assert_eq!(arrived(&a, ears(), END), good);
    let traffic = firewall.traffic().unwrap();
    let sent = u64::try_from(good.len() + bad.len()).unwrap();
    assert!(traffic["veth-a"].sent.packets >= sent, "{traffic:?}");
    assert!(traffic["veth-b"].received.packets >= u64::try_from(good.len()).unwrap(), "{traffic:?}");
}

/// A UDP server of the host's that names what it has got.
const NAMING: &str = r"
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(('::', 9))
s.settimeout(30)
print('ready', flush=True)
while True:
    data, _ = s.recvfrom(4096)
    print(data.split(b'MARK:')[1].split(b';')[0].decode(), flush=True)
";

/// Packets to the host at 10.1.0.1 / fd00:1::1, whose MAC is `to`.
fn to_the_host(names: &str, to: &str) -> String {
    format!(
        "HOST = bytes.fromhex('{}')
FRAMES = {{
    'good4': eth(0x800, ip4('10.1.0.2', '10.1.0.1', udp(9, 9, mark('good4'))), to=HOST),
    'good6': eth(0x86dd, udp6(SELF, 'fd00:1::1', (9, 9), mark('good6')), to=HOST),
    'mac': eth(0x800, ip4('10.1.0.2', '10.1.0.1', udp(9, 9, mark('mac'))), to=HOST, source=WRONG),
    'source4': eth(0x800, ip4('10.1.0.7', '10.1.0.1', udp(9, 9, mark('source4'))), to=HOST),
    'source6': eth(0x86dd, udp6('fd00:1::7', 'fd00:1::1', (9, 9), mark('source6')), to=HOST),
    'loopback4': eth(0x800, ip4('10.1.0.2', '127.0.0.1', udp(9, 9, mark('loopback4'))), to=HOST),
    'loopback6': eth(0x86dd, udp6(SELF, '::1', (9, 9), mark('loopback6')), to=HOST),
    'group-lldp': eth(0x800, ip4('10.1.0.7', '10.1.0.1', udp(9, 9, mark('group-lldp'))), to=GROUP),
    'group-lldp-true': eth(0x800, ip4('10.1.0.2', '10.1.0.1', udp(9, 9, mark('group-lldp-true'))), to=GROUP),
    'group-3': eth(0x800, ip4('10.1.0.7', '10.1.0.1', udp(9, 9, mark('group-3'))), to=GROUP[:5] + b'\\x03'),
    'end': eth(0x800, ip4('10.1.0.2', '10.1.0.1', udp(9, 9, mark('end'))), to=HOST),
}}
send('eth0', [FRAMES[name] for name in '{names}'.split()])",
        to.replace(':', "")
    )
}

fn address_of(space: &Space, device: &str) -> String {
    space.ip(&format!("-br link show dev {device}")).split_whitespace().nth(2).unwrap().to_owned()
}

fn told(a: &Space, host: &Space, names: &str, to: &str) -> BTreeSet<String> {
    let mut ears = host.serve(&program(NAMING));
    a.python(&program(&to_the_host(names, to)));
    a.python(&program(&to_the_host("end", to)));
    let mut heard = BTreeSet::new();
    let mut line = String::new();
    while {
        line.clear();
        ears.lines.read_line(&mut line).unwrap() > 0
    } && line.trim() != "end"
    {
        heard.insert(line.trim().to_owned());
    }
    heard
}

#[test]
fn frames_that_pass_the_bridge_by_are_nobodys() {
    if !can_run("frames_that_pass_the_bridge_by_are_nobodys") {
        return;
    }
    let (host, a, _b) = bridged();
    for device in ["all", "veth-a"] {
        host.sysctl(&format!("net.ipv4.conf.{device}.rp_filter=0"));
    }
    let to = address_of(&host, "br0");
    host.sysctl("net.ipv4.conf.br0.route_localnet=1");
    host.ip("-6 route add local ::1/128 dev br0 table local metric 4096");
    let all = "good4 good6 mac source4 source6 loopback4 loopback6 group-lldp group-lldp-true group-3";
    let without = told(&a, &host, all, &to);
    assert!(
        ["group-lldp", "source4", "loopback4"].into_iter().all(|name| without.contains(name)),
        "without us they arrive: {without:?}"
    );
    assert!(!without.contains("loopback6"), "Linux itself lets nobody speak to ::1 from outside");
    host.firewall().replace(&rules()).unwrap();
    assert_eq!(told(&a, &host, all, &to), ["good4", "good6"].map(str::to_owned).into());
}

/// A frame that the bridge looks at and does not forward can still tell it where an address is. Only its owner can
/// forbid that, by `no_linklocal_learn`: there is no hook on the way of LLDP.
#[test]
fn a_bridge_learns_nothing_from_lies() {
    if !can_run("a_bridge_learns_nothing_from_lies") {
        return;
    }
    let (host, a, b) = bridged();
    host.firewall().replace(&rules()).unwrap();
    b.python(&program("send('eth0', [eth(0x800, ip4('10.1.0.3', '10.1.0.2', udp(9, 9, b'')), source=B, to=A)])"));
    let place = || -> String {
        let all = host.run("bridge", &["fdb", "show", "br", "br0"]);
        all.lines().filter(|line| line.starts_with("02:00:00:00:00:02") && !line.contains("permanent")).collect()
    };
    wait("the bridge knows b", || place().contains("veth-b"));
    let lie = |last: &str| {
        a.python(&program(&format!("send('eth0', [eth(0x88cc, b'x' * 50, source=B, to=GROUP[:5] + b'{last}')])")));
    };
    a.python(&program("send('eth0', [eth(0x800, ip4('10.1.0.3', '10.1.0.2', udp(9, 9, b'')), source=B, to=ALL)])"));
    lie("\\x03");
    assert!(place().contains("veth-b"), "{}", place());
    host.ip("link set br0 type bridge no_linklocal_learn 1");
    lie("\\x0e");
    assert!(place().contains("veth-b"), "{}", place());
    host.ip("link set br0 type bridge no_linklocal_learn 0");
    lie("\\x0e");
    wait("without that option it believes LLDP", || place().contains("veth-a"));
}

#[test]
fn routed_devices_do_not_lie_either() {
    if !can_run("routed_devices_do_not_lie_either") {
        return;
    }
    let (host, a) = (Space::new(), Space::new());
    let mac = mac(1);
    host.ip(&format!("link add veth-r type veth peer name eth0 address {mac} netns {}", a.path()));
    host.ip("addr add 10.1.0.1/32 dev veth-r");
    host.ip("addr add fd00:1::1/128 dev veth-r nodad");
    host.ip("link set veth-r up");
    for setting in ["all.rp_filter=0", "veth-r.rp_filter=0", "veth-r.arp_accept=1"] {
        host.sysctl(&format!("net.ipv4.conf.{setting}"));
    }
    a.ip("addr add 10.1.0.2/24 dev eth0");
    a.ip("addr add fd00:1::2/64 dev eth0 nodad");
    a.ip("link set eth0 up");
    host.ip("route add 10.1.0.0/24 dev veth-r");
    host.ip("route add fd00:1::/64 dev veth-r");
    let to = address_of(&host, "veth-r");
    let all = "good4 good6 mac source4 source6";
    assert_eq!(told(&a, &host, all, &to).len(), 5, "without us all arrives");
    let mut firewall = host.firewall();
    firewall
        .replace(&Rules {
            nets: vec![net("veth-r", &["10.1.0.0/24", "fd00:1::/64"])],
            ports: vec![port("veth-r", None, 1, &["10.1.0.2", "fd00:1::2"])],
            publications: Vec::new(),
        })
        .unwrap();
    assert_eq!(told(&a, &host, all, &to), ["good4", "good6"].map(str::to_owned).into());
    // What ARP says, by what the host remembers.
    host.ip("neigh flush dev veth-r");
    let claim = |ip: &str| {
        a.python(&program(&format!("send('eth0', [eth(0x806, arp(2, A, {ip:?}, {ip:?}), to=ALL)])")));
    };
    claim("10.1.0.55");
    claim("10.1.0.2");
    wait("the host has heard of 10.1.0.2", || host.ip("neigh show dev veth-r").contains("10.1.0.2 "));
    assert!(!host.ip("neigh show dev veth-r").contains("10.1.0.55"));
    firewall.remove().unwrap();
    claim("10.1.0.55");
    wait("without us it believes all", || host.ip("neigh show dev veth-r").contains("10.1.0.55"));
}
