// SPDX-License-Identifier: Apache-2.0
//! Connections between containers, the host and somebody outside: what gets through, and who seems to call.

use network::firewall::{Net, Protocol, Rules};

use crate::support::{Server, Space, can_run, mac, net, port, publication, skip};

/// Answers everybody on some ports, by TCP and UDP, with the caller's address.
const SERVER: &str = r"
import selectors, socket, sys
ports = PORTS
chosen = selectors.DefaultSelector()
for port in ports:
    listener = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    chosen.register(listener, selectors.EVENT_READ, True)
    asked = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    asked.bind(('::', port))
    chosen.register(asked, selectors.EVENT_READ, False)
print('ready')
while True:
    for key, _ in chosen.select():
        if key.data:
            caller, address = key.fileobj.accept()
            caller.sendall(address[0].replace('::ffff:', '').encode())
            caller.close()
        else:
            _, address = key.fileobj.recvfrom(100)
            key.fileobj.sendto(address[0].replace('::ffff:', '').encode(), address)
";

/// Asks such a server; `none` when nothing comes for so long.
const CLIENT: &str = r"
import socket, sys
address, port, udp, patience = ARGUMENTS
family = socket.AF_INET6 if ':' in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
s.settimeout(patience)
try:
    s.connect((address, port))
    if udp: s.send(b'?')
    print(s.recv(100).decode())
except OSError as e:
    print('none')
";

/// The address of the caller as `address` sees it.
fn ask(from: &Space, address: &str, port: u16) -> String {
    asked(from, address, port, false, 20.0)
}

/// Does nobody answer? Under load an answer may need longer than this waits, which lets a fault pass but finds no false one.
fn silent(from: &Space, address: &str, port: u16) -> bool {
    asked(from, address, port, false, 0.7) == "none"
}

fn asked(from: &Space, address: &str, port: u16, udp: bool, patience: f32) -> String {
    let udp = if udp { "True" } else { "False" };
    let arguments = format!("('{address}', {port}, {udp}, {patience})");
    from.python(&CLIENT.replace("ARGUMENTS", &arguments)).trim().to_owned()
}

fn serve(space: &Space, ports: &str) -> Server {
    space.serve(&SERVER.replace("PORTS", ports))
}

/// A host with two bridges and an uplink; `a` and `b` on the first bridge, `c` on the second, `outside` at the uplink.
struct World {
    host: Space,
    a: Space,
    b: Space,
    c: Space,
    outside: Space,
}

impl World {
    fn new() -> Self {
        let world =
            Self { host: Space::new(), a: Space::new(), b: Space::new(), c: Space::new(), outside: Space::new() };
        let host = &world.host;
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            host.sysctl(setting);
        }
        for (bridge, n) in [("br0", 1), ("br1", 2)] {
            host.ip(&format!("link add {bridge} type bridge"));
            host.ip(&format!("addr add 10.{n}.0.1/24 dev {bridge}"));
            host.ip(&format!("addr add fd00:{n}::1/64 dev {bridge} nodad"));
            host.ip(&format!("link set {bridge} up"));
            host.sysctl(&format!("net.ipv4.conf.{bridge}.route_localnet=1"));
        }
        world.attach(&world.a, "veth-a", "br0", 1, "10.1.0.2/24", "fd00:1::2/64");
        world.attach(&world.b, "veth-b", "br0", 2, "10.1.0.3/24", "fd00:1::3/64");
        world.attach(&world.c, "veth-c", "br1", 3, "10.2.0.2/24", "fd00:2::2/64");
        host.ip(&format!("link add uplink type veth peer name eth0 netns {}", world.outside.path()));
        for (space, device, n) in [(host, "uplink", 1), (&world.outside, "eth0", 9)] {
            space.ip(&format!("addr add 192.0.2.{n}/24 dev {device}"));
            space.ip(&format!("addr add 2001:db8::{n}/64 dev {device} nodad"));
            space.ip(&format!("link set {device} up"));
        }
        world
    }

    fn attach(&self, space: &Space, name: &str, bridge: &str, n: u8, v4: &str, v6: &str) {
        let mac = mac(n);
        self.host.ip(&format!("link add {name} type veth peer name eth0 address {mac} netns {}", space.path()));
        self.host.ip(&format!("link set {name} master {bridge} up"));
        // As its owner must: with br_netfilter a container's own published port is behind the same port of the bridge.
        self.host.run("bridge", &["link", "set", "dev", name, "hairpin", "on"]);
        space.ip(&format!("addr add {v4} dev eth0"));
        space.ip(&format!("addr add {v6} dev eth0 nodad"));
        space.ip("link set eth0 up");
        let net = &v4[3..4];
        space.ip(&format!("route add default via 10.{net}.0.1"));
        space.ip(&format!("route add default via fd00:{net}::1"));
    }

    /// Whether frames between ports of a bridge pass the hooks of IP as well; can it be had?
    fn br_netfilter(&self, on: bool) -> bool {
        let there = std::path::Path::new("/proc/sys/net/bridge").exists();
        for kind in ["iptables", "ip6tables", "arptables"].into_iter().filter(|_| there) {
            self.host.sysctl(&format!("net.bridge.bridge-nf-call-{kind}={}", u8::from(on)));
        }
        there || !on
    }

    fn rules() -> Rules {
        Rules {
            nets: vec![net("br0", &["10.1.0.0/24", "fd00:1::/64"]), net("br1", &["10.2.0.0/24", "fd00:2::/64"])],
            ports: vec![
                port("veth-a", Some("br0"), 1, &["10.1.0.2", "fd00:1::2"]),
                port("veth-b", Some("br0"), 2, &["10.1.0.3", "fd00:1::3"]),
                port("veth-c", Some("br1"), 3, &["10.2.0.2", "fd00:2::2"]),
            ],
            publications: vec![
                publication(None, 8080, Protocol::Tcp, "10.1.0.2", 80),
                publication(None, 8080, Protocol::Tcp, "fd00:1::2", 80),
                publication(None, 8053, Protocol::Udp, "10.1.0.2", 80),
                publication(Some("127.0.0.1"), 8081, Protocol::Tcp, "10.1.0.3", 80),
                publication(Some("192.0.2.1"), 8082, Protocol::Tcp, "10.1.0.3", 80),
                publication(Some("2001:db8::1"), 8082, Protocol::Tcp, "fd00:1::3", 80),
            ],
        }
    }
}

#[test]
fn out_with_the_hosts_address_and_no_way_in() {
    if !can_run("out_with_the_hosts_address_and_no_way_in") {
        return;
    }
    let world = World::new();
    let (_outside, _a) = (serve(&world.outside, "[80]"), serve(&world.a, "[80, 81]"));
    // Without us a route is all that it takes.
    world.outside.ip("route add 10.1.0.0/24 via 192.0.2.1");
    assert_eq!(ask(&world.a, "192.0.2.9", 80), "10.1.0.2");
    assert_eq!(ask(&world.outside, "10.1.0.2", 80), "192.0.2.9");
    world.host.firewall().replace(&World::rules()).unwrap();
    assert_eq!(ask(&world.a, "192.0.2.9", 80), "192.0.2.1");
    assert_eq!(ask(&world.a, "2001:db8::9", 80), "2001:db8::1");
    assert!(silent(&world.outside, "10.1.0.2", 81));
    let mut routed = World::rules();
    routed.nets[0].nat = false;
    world.host.firewall().replace(&routed).unwrap();
    assert_eq!(ask(&world.a, "192.0.2.9", 80), "10.1.0.2");
    assert_eq!(ask(&world.outside, "10.1.0.2", 81), "192.0.2.9");
}

#[test]
fn published_to_everybody() {
    if can_run("published_to_everybody") {
        published(false);
    }
}

#[test]
fn published_to_everybody_with_br_netfilter() {
    if can_run("published_to_everybody_with_br_netfilter") {
        published(true);
    }
}

fn published(br_netfilter: bool) {
    let world = World::new();
    if !world.br_netfilter(br_netfilter) {
        return skip("published_to_everybody_with_br_netfilter", "this kernel has no br_netfilter");
    }
    let _servers = (serve(&world.a, "[80]"), serve(&world.b, "[80]"));
    world.host.firewall().replace(&World::rules()).unwrap();
    let World { host, a, b, c, outside } = &world;
    // Who is outside is seen as what it is.
    assert_eq!(ask(outside, "192.0.2.1", 8080), "192.0.2.9");
    assert_eq!(ask(outside, "2001:db8::1", 8080), "2001:db8::9");
    assert_eq!(asked(outside, "192.0.2.1", 8053, true, 20.0), "192.0.2.9");
    assert_eq!(ask(outside, "192.0.2.1", 8082), "192.0.2.9");
    assert_eq!(ask(outside, "2001:db8::1", 8082), "2001:db8::9");
    assert!(silent(outside, "192.0.2.1", 8081), "it is for 127.0.0.1 only");
    // From the host.
    assert_eq!(ask(host, "192.0.2.1", 8080), "192.0.2.1");
    assert_eq!(ask(host, "10.2.0.1", 8080), "10.2.0.1");
    assert_eq!(ask(host, "127.0.0.1", 8080), "10.1.0.1");
    assert_eq!(ask(host, "127.0.0.1", 8081), "10.1.0.1");
    assert_eq!(asked(host, "127.0.0.1", 8053, true, 20.0), "10.1.0.1");
    assert_eq!(ask(host, "2001:db8::1", 8080), "2001:db8::1");
    assert!(silent(host, "127.0.0.1", 8082), "it is for 192.0.2.1 only");
    if !br_netfilter {
        // What `route_localnet` is for IPv4; br_netfilter undoes the change of addresses too early for it.
        host.ip("-6 route add local ::1/128 dev br0 table local metric 4096");
        assert_eq!(ask(host, "::1", 8080), "fd00:1::1");
    }
    // From a container to itself, to its neighbour, from another network.
    assert_eq!(ask(a, "192.0.2.1", 8080), "10.1.0.1");
    assert_eq!(ask(a, "10.1.0.1", 8080), "10.1.0.1");
    assert_eq!(ask(b, "192.0.2.1", 8080), "10.1.0.1");
    assert_eq!(ask(b, "2001:db8::1", 8080), "fd00:1::1");
    assert_eq!(ask(c, "192.0.2.1", 8080), "10.1.0.1");
    assert_eq!(ask(b, "10.1.0.2", 80), "10.1.0.3", "a neighbour is seen as what it is");
}

/// Echoes what one caller says.
const ECHO: &str = r"
import socket
listener = socket.create_server(('0.0.0.0', 80))
print('ready')
caller, _ = listener.accept()
while data := caller.recv(100):
    caller.sendall(data)
";

/// Speaks with it until something comes in, and says how often nobody answered.
const TALK: &str = r"
import select, socket, sys, time
s = socket.create_connection(('192.0.2.1', 8080), 20)
s.settimeout(20)
print('ready')
rounds = 0
while not select.select([sys.stdin], [], [], 0.002)[0] or rounds < 100:
    s.sendall(b'hello')
    assert s.recv(100) == b'hello'
    rounds += 1
print('done')
";

#[test]
fn connections_outlive_a_replacement() {
    if !can_run("connections_outlive_a_replacement") {
        return;
    }
    let world = World::new();
    let mut firewall = world.host.firewall();
    firewall.replace(&World::rules()).unwrap();
    let _echo = world.a.serve(ECHO);
    let mut talk = world.outside.serve(TALK);
    for _ in 0..20 {
        firewall.replace(&World::rules()).unwrap();
    }
    talk.hang_up();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut talk.lines, &mut line).unwrap();
    assert_eq!(line.trim(), "done");
}

/// An INIT of SCTP with its checksum, from a raw socket: this kernel may have no SCTP of its own.
const SCTP: &str = r"
import socket, struct
def crc(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8): value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff
chunk = struct.pack('!BBHIIHHI', 1, 0, 20, 7, 65536, 1, 1, 7)
data = struct.pack('!HHII', 1234, 9000, 0, 0) + chunk
data = data[:8] + struct.pack('<I', crc(data)) + data[12:]
socket.socket(socket.AF_INET, socket.SOCK_RAW, 132).sendto(data, ('192.0.2.1', 0))
";

#[test]
fn sctp_is_published() {
    if !can_run("sctp_is_published") {
        return;
    }
    let world = World::new();
    let mut rules = World::rules();
    rules.publications.push(publication(None, 9000, Protocol::Sctp, "10.1.0.2", 9001));
    world.host.firewall().replace(&rules).unwrap();
    let heard = "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
s.settimeout(30)
print('ready')
data, address = s.recvfrom(200)
print(address[0], *struct.unpack('!HH', data[20:24]))
";
    let mut ears = world.a.serve(heard);
    world.outside.python(SCTP);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut ears.lines, &mut line).unwrap();
    assert_eq!(line.trim(), "192.0.2.9 1234 9001");
}

#[test]
fn networks_do_not_reach_each_other() {
    if !can_run("networks_do_not_reach_each_other") {
        return;
    }
    let world = World::new();
    let World { host, a, b, c, .. } = &world;
    let _servers = (serve(c, "[80]"), serve(b, "[53, 80]"), serve(host, "[53, 8000, 127]"));
    assert_eq!(ask(a, "10.2.0.2", 80), "10.1.0.2", "without us they do");
    let mut firewall = host.firewall();
    let mut rules = World::rules();
    rules.publications.push(publication(None, 53, Protocol::Udp, "10.1.0.3", 53));
    firewall.replace(&rules).unwrap();
    // Seen as itself: the host has answered. As the host's: the name server that somebody has published.
    assert_eq!(asked(a, "10.1.0.1", 53, true, 20.0), "10.1.0.2");
    assert_eq!(asked(a, "192.0.2.1", 53, true, 20.0), "10.1.0.1");
    assert_eq!(ask(a, "10.1.0.3", 80), "10.1.0.2");
    assert!(silent(a, "10.2.0.2", 80));
    assert!(silent(a, "fd00:2::2", 80));
    assert_eq!(ask(a, "10.1.0.1", 8000), "10.1.0.2", "the host's own services, as with Docker");
    assert_eq!(ask(host, "10.2.0.2", 80), "10.2.0.1");
    // Its own services of 127.0.0.1, by a route of the container's own making.
    a.ip("addr del 127.0.0.1/8 dev lo");
    a.sysctl("net.ipv4.conf.eth0.route_localnet=1");
    a.ip("route add 127.0.0.1/32 via 10.1.0.1");
    assert!(silent(a, "127.0.0.1", 127));
    firewall.remove().unwrap();
    assert_eq!(ask(a, "127.0.0.1", 127), "10.1.0.2", "without us it works");
    a.ip("-6 route del local ::1 dev lo table local");
    a.ip("-6 route add ::1/128 via fd00:1::1");
    assert!(silent(a, "::1", 127), "not even without us");
    // Ports that are to be alone.
    let mut alone = World::rules();
    alone.nets[0].isolated_ports = true;
    for port in &mut alone.ports {
        port.isolated = true;
    }
    firewall.replace(&alone).unwrap();
    for br_netfilter in [false, true] {
        world.br_netfilter(br_netfilter);
        assert!(silent(a, "10.1.0.3", 80));
        assert!(silent(a, "fd00:1::3", 80));
    }
    a.ip("route add 10.1.0.3/32 via 10.1.0.1");
    assert!(silent(a, "10.1.0.3", 80), "nor by way of the host");
    assert_eq!(ask(host, "10.1.0.3", 80), "10.1.0.1");
}

#[test]
fn internal_is_internal() {
    if !can_run("internal_is_internal") {
        return;
    }
    let world = World::new();
    let World { host, a, b, c, outside } = &world;
    let _servers = (serve(c, "[80]"), serve(outside, "[80]"), serve(host, "[53, 8000]"), serve(b, "[80]"));
    let mut rules = World::rules();
    rules.nets[1] = Net { internal: true, nat: false, ..rules.nets[1].clone() };
    rules.publications.push(publication(None, 8090, Protocol::Tcp, "10.2.0.2", 80));
    host.firewall().replace(&rules).unwrap();
    for (address, port) in [("192.0.2.9", 80), ("2001:db8::9", 80), ("10.1.0.3", 80), ("192.0.2.1", 8082)] {
        assert!(silent(c, address, port), "{address}");
    }
    // The host: names, ping; nothing else, and not at its other addresses.
    assert_eq!(ask(c, "10.2.0.1", 53), "10.2.0.2");
    assert_eq!(asked(c, "fd00:2::1", 53, true, 20.0), "fd00:2::2");
    assert_eq!(asked(c, "10.2.0.1", 53, true, 20.0), "10.2.0.2");
    assert!(silent(c, "10.2.0.1", 8000));
    assert!(silent(c, "192.0.2.1", 53));
    assert_eq!(ask(host, "10.2.0.2", 80), "10.2.0.1");
    outside.ip("route add 10.2.0.0/24 via 192.0.2.1");
    assert!(silent(outside, "10.2.0.2", 80));
    assert!(silent(outside, "192.0.2.1", 8090), "a published port does not open it");
    assert!(silent(a, "10.2.0.1", 8090));
}

/// Containers without a bridge: each has a device of the host's for itself, and the network is a matter of addresses.
#[test]
fn routed_devices_of_one_network_reach_each_other() {
    if !can_run("routed_devices_of_one_network_reach_each_other") {
        return;
    }
    let world = World::new();
    let host = &world.host;
    let (d, e) = (Space::new(), Space::new());
    for (space, name, n) in [(&d, "veth-d", 4_u8), (&e, "veth-e", 5)] {
        host.ip(&format!("link add {name} type veth peer name eth0 address {} netns {}", mac(n), space.path()));
        host.ip(&format!("link set {name} up"));
        host.ip(&format!("addr add 169.254.1.1/32 dev {name}"));
        host.ip(&format!("route add 10.4.0.{n}/32 dev {name}"));
        space.ip(&format!("addr add 10.4.0.{n}/32 dev eth0"));
        space.ip("link set eth0 up");
        space.ip("route add 169.254.1.1 dev eth0");
        space.ip("route add default via 169.254.1.1");
    }
    let _servers = (serve(&e, "[80]"), serve(&d, "[80]"), serve(&world.b, "[80]"), serve(&world.outside, "[80]"));
    let mut rules = World::rules();
    for (name, n) in [("veth-d", 4), ("veth-e", 5)] {
        rules.nets.push(net(name, &["10.4.0.0/24"]));
        rules.ports.push(port(name, None, n, &[&format!("10.4.0.{n}")]));
    }
    rules.publications.push(publication(None, 8070, Protocol::Tcp, "10.4.0.4", 80));
    let mut firewall = host.firewall();
    firewall.replace(&rules).unwrap();
    assert_eq!(ask(&d, "10.4.0.5", 80), "10.4.0.4", "its neighbour");
    assert!(silent(&d, "10.1.0.3", 80), "another network");
    assert!(silent(&world.b, "10.4.0.4", 80), "from another network");
    assert_eq!(ask(&d, "192.0.2.9", 80), "192.0.2.1", "out");
    assert_eq!(ask(&world.outside, "192.0.2.1", 8070), "192.0.2.9", "published");
    assert_eq!(ask(host, "192.0.2.1", 8070), "192.0.2.1", "published, from the host");
    assert_ne!(ask(&d, "192.0.2.1", 8070), "none", "published, from itself");
    assert_ne!(ask(&e, "192.0.2.1", 8070), "none", "published, from its neighbour");
    for net in &mut rules.nets {
        net.isolated_ports = true;
    }
    firewall.replace(&rules).unwrap();
    assert!(silent(&d, "10.4.0.5", 80), "its neighbour, when they are to be alone");
    assert!(firewall.traffic().unwrap()["veth-d"].sent.bytes > 0);
}
