// SPDX-License-Identifier: Apache-2.0
//! Root inside tries to lift its limit, on each kind of device. A host of its own, and a link behind it where what gets through
//! is counted by the kernel. Rates may be lower than the limit on a busy machine, never higher; how exactly they are met is
//! `cargo xtask bench network`'s to show.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Done, Store, is_root, skip};

/// The limit, in bytes per second: 8mbit.
const LIMIT: f64 = 1_000_000.0;

/// What may pass at once besides, in bytes.
const BURST: f64 = 16_000.0;

/// A limit of packets in a second: 2k.
const PACKETS: f64 = 2000.0;

/// Floods an address with datagrams of 100 bytes, in large packets that are cut on their way or not.
const SMALL: &str = "
import socket, sys, time
one, end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.time() + float(sys.argv[2])
large = len(sys.argv) > 3
if large: one.setsockopt(17, 103, 100)  # UDP_SEGMENT
one.connect((sys.argv[1], 9))
while time.time() < end:
    try: one.send(b'x' * (6000 if large else 100))
    except OSError: time.sleep(0.001)
";

/// Floods the link: by UDP, and by a packet socket that goes past the queues of its own device.
const FLOOD: &str = r#"
import os, socket, struct, sys, time
device, end = sys.argv[1], time.time() + float(sys.argv[2])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    udp.connect(("192.0.2.2", 9))
    udp.send(b"find the neighbour")
    time.sleep(0.1)
    source = udp.getsockname()[0]
except OSError:
    source = "192.0.2.10"
child = os.fork()
if child == 0:
    while time.time() < end:
        try: udp.send(b"x" * 1400)
        except OSError: time.sleep(0.01)
    os._exit(0)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((device, 0))
raw.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
known = [line.split() for line in open("/proc/net/arp")][1:]
known = [bytes.fromhex(line[3].replace(":", "")) for line in known if line[5] == device and line[2] != "0x0"]
to = known[0] if known else b"\xff" * 6
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1428, 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton("192.0.2.2"))
total = sum(struct.unpack("!10H", head))
total = (total & 0xffff) + (total >> 16)
head = head[:10] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + head[12:]
frame = to + raw.getsockname()[4] + b"\x08\x00" + head + struct.pack("!HHHH", 9, 9, 1408, 0) + b"y" * 1400
while time.time() < end:
    try: raw.send(frame)
    except OSError: time.sleep(0.01)
os.waitpid(child, 0)
"#;

/// What root tries, one after the other; each time it floods from DEVICE.
const TRICKS: [&str; 8] = [
    "true",
    "tc qdisc del dev eth0 root; tc qdisc replace dev eth0 root pfifo limit 10000; tc qdisc add dev eth0 clsact",
    "tc qdisc del dev eth0 clsact; nft flush ruleset; nft add table netdev t; \
     nft 'add chain netdev t c { type filter hook egress device eth0 priority -500; policy accept; }'",
    "ip link set eth0 txqueuelen 100000; ip link set eth0 mtu 9000; ip link set eth0 mtu 1400",
    "ip link set eth0 down; ip link set eth0 up; ip route replace default dev eth0 onlink via $GATEWAY",
    "ip link add over link eth0 type macvlan mode bridge && ip link set over up; DEVICE=over",
    "ip link add pair0 type veth peer name pair1; ip link add br type bridge; ip link set pair0 master br up",
    "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77; ip link set eth0 up",
];

/// A network namespace that lives as long as its process.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "1000"]).stdout(Stdio::null()).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let there = format!("/proc/{}/ns/net", child.id());
        crate::support::until("a namespace", || std::fs::read_link(&there).is_ok_and(|one| one != own));
        let namespace = Self(child);
        namespace.ip("link set lo up");
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn within(&self, mut command: Command) -> Command {
        let mut all = Command::new("nsenter");
        all.arg(format!("--net={}", self.path())).arg(command.get_program()).args(command.get_args());
        all.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?)))).stdin(Stdio::null());
        command.stdin(Stdio::null());
        all
    }

    #[track_caller]
    fn ip(&self, words: &str) -> String {
        let mut ip = Command::new("ip");
        ip.args(words.split(' '));
        Done::from(self.within(ip).output().unwrap()).ok()
    }

    /// Bytes and packets that its device has received.
    fn received(&self, device: &str) -> [f64; 2] {
        received(&std::fs::read_to_string(format!("/proc/{}/net/dev", self.0.id())).unwrap(), device)
    }
}

fn received(table: &str, device: &str) -> [f64; 2] {
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:"))).unwrap();
    let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A host with one device, `out0`, and what is at the other end of its link.
struct Host {
    store: Store,
    own: Namespace,
    link: Namespace,
}

impl Host {
    /// `None` where this can not be tried.
    fn new(test: &str) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        for program in ["ip", "tc", "nft", "/usr/bin/python3"] {
            if Command::new(program).arg("--version").output().is_err() {
                skip(test, &format!("it needs {program}"));
                return None;
            }
        }
        let (store, own, link) = (Store::new(test), Namespace::new(), Namespace::new());
        own.ip(&format!("link add out0 type veth peer name peer netns {}", link.0.id()));
        own.ip("addr add 192.0.2.1/24 dev out0");
        own.ip("link set out0 up");
        link.ip("addr add 192.0.2.2/24 dev peer");
        link.ip("link set peer up");
        std::fs::write(store.root.join("flood.py"), FLOOD).unwrap();
        Some(Self { store, own, link })
    }

    fn cella(&self, arguments: &[&str]) -> Done {
        self.own.within(self.store.command(arguments)).output().unwrap().into()
    }

    /// A container whose root may do all there is to do with devices.
    fn attacker(&self, flags: &[&str]) {
        let volume = format!("{}:/flood.py:ro", self.store.root.join("flood.py").display());
        let caps = ["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "SYS_ADMIN", "-v", &volume];
        let arguments = [&["run", "-d", "--name", "c"], flags, &caps, &["host", "sleep", "1000"]].concat();
        self.cella(&arguments).ok();
    }

    /// The most that has come to the link in any half a second while this went on, in bytes per second.
    fn most_while(&self, act: impl FnOnce() + Send) -> f64 {
        self.most_of(0, BURST, act)
    }

    /// The same for packets.
    fn most_packets_while(&self, act: impl FnOnce() + Send) -> f64 {
        self.most_of(1, PACKETS / 10.0, act)
    }

    fn most_of(&self, part: usize, burst: f64, act: impl FnOnce() + Send) -> f64 {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                act();
                over.store(true, Ordering::Relaxed);
            });
            let (mut samples, mut most) = (Vec::new(), 0.0_f64);
            while !over.load(Ordering::Relaxed) {
                let before = Instant::now();
                let count = self.link.received("peer")[part];
                samples.push((before, count, Instant::now()));
                // The oldest that is half a second old; the longest that there may be between both looks.
                let old = samples.iter().rev().find(|one| before - one.2 >= Duration::from_millis(500));
                if let Some((then, had, _)) = old {
                    let time = (Instant::now() - *then).as_secs_f64();
                    most = most.max((count - had - burst) / time);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        })
    }

    /// All tricks, one after the other; none of them gets more through.
    fn attack(&self, address: Option<&str>) {
        let script = |trick: &str, prepare: &str| {
            format!(
                "DEVICE=eth0; GATEWAY=$(ip route show default | cut -d' ' -f3); {prepare}\n({trick}) 2>/dev/null\n\
                 {trick_device} timeout 5 /usr/bin/python3 /flood.py $DEVICE 0.8",
                trick_device = if trick.ends_with("DEVICE=over") { "DEVICE=over;" } else { "" }
            )
        };
        let prepare = address.map_or_else(String::new, |ip| format!("ip addr replace {ip}/24 dev eth0 2>/dev/null;"));
        for (number, trick) in TRICKS.into_iter().enumerate() {
            let most = self.most_while(|| {
                let done = self.cella(&["exec", "c", "sh", "-c", &script(trick, &prepare)]);
                assert!(done.code < 125, "{trick}: {done:?}");
            });
            println!("{most:>9.0} bytes/s: {trick}");
            assert!(most <= LIMIT * 1.05, "{most} bytes/s came through after: {trick}");
            // There is no proof in a flood that did not come.
            assert!(number > 0 || most > LIMIT / 10.0, "only {most} bytes/s came at all");
        }
        // The device itself goes elsewhere.
        let moved = "unshare --net sleep 20 & P=$!; sleep 0.3; ip link set eth0 netns $P; \
                     IN=\"nsenter --net=/proc/$P/ns/net\"; $IN ip link set eth0 up; $IN ip addr add 192.0.2.10/24 dev eth0; \
                     $IN timeout 5 /usr/bin/python3 /flood.py eth0 0.8; kill $P";
        let most = self.most_while(|| drop(self.cella(&["exec", "c", "sh", "-c", moved])));
        println!("{most:>9.0} bytes/s: {moved}");
        assert!(most <= LIMIT * 1.05, "{most} bytes/s came through after: {moved}");
    }

    /// Nothing is left on the host but its own device, as it was.
    fn finish(self) {
        self.cella(&["rm", "-f", "c"]).ok();
        let left = || -> Vec<String> {
            let links = self.own.ip("-br link");
            links.lines().filter_map(|line| line.split([' ', '@']).next()).map(str::to_owned).collect()
        };
        // The kernel takes a pair away with the namespace that had its other end: soon, not at once.
        crate::support::until("the devices are gone", || left() == ["lo", "out0"]);
        assert!(self.own.ip("addr show dev out0").contains("192.0.2.1/24"));
        for network in self.cella(&["network", "ls", "-q"]).ok().lines() {
            self.cella(&["network", "rm", network]).ok();
        }
        self.store.finish();
    }
}

#[test]
fn root_on_a_bridge_can_not_lift_its_limit() {
    let Some(host) = Host::new("network_limits::bridge") else { return };
    host.attacker(&["--net-egress", "8mbit"]);
    host.attack(None);
    host.finish();
}

#[test]
fn root_on_a_routed_network_can_not_lift_its_limit() {
    let Some(host) = Host::new("network_limits::routed") else { return };
    host.cella(&["network", "create", "-d", "routed", "r"]).ok();
    host.attacker(&["--network", "r", "--net-egress", "8mbit"]);
    host.attack(None);
    host.finish();
}

#[test]
fn root_on_a_macvlan_can_not_lift_its_limit() {
    let Some(host) = Host::new("network_limits::macvlan") else { return };
    host.attacker(&["--network", "macvlan:out0,egress=8mbit"]);
    host.attack(Some("192.0.2.10"));
    host.finish();
}

#[test]
fn root_on_a_device_of_the_host_can_not_lift_its_limit() {
    let Some(host) = Host::new("network_limits::physical") else { return };
    host.attacker(&["--network", "physical:out0,interface=eth0,egress=8mbit"]);
    host.attack(Some("192.0.2.1"));
    host.finish();
}

#[test]
fn two_devices_do_not_get_more_than_both_may() {
    let Some(host) = Host::new("network_limits::both") else { return };
    host.cella(&["network", "create", "second"]).ok();
    let both = ["--network", "cella0", "--network", "macvlan:out0", "--net-egress", "8mbit"];
    host.attacker(&both);
    let flood = "ip addr add 192.0.2.10/24 dev eth1; timeout 5 /usr/bin/python3 /flood.py eth1 2 & \
                 timeout 5 /usr/bin/python3 /flood.py eth0 2; wait";
    let most = host.most_while(|| drop(host.cella(&["exec", "c", "sh", "-c", flood])));
    assert!(most <= LIMIT * 1.05 && most > LIMIT / 10.0, "{most} bytes/s by both");
    host.cella(&["network", "connect", "second", "c"]).ok();
    host.cella(&["set", "c", "--net-egress", "2mbit"]).ok();
    let most = host.most_while(|| drop(host.cella(&["exec", "c", "sh", "-c", flood])));
    assert!(most <= LIMIT / 4.0 * 1.05 + BURST && most > LIMIT / 40.0, "{most} bytes/s by both after the change");
    host.finish();
}

#[test]
fn all_of_a_network_do_not_get_more_than_it_has() {
    let Some(host) = Host::new("network_limits::network") else { return };
    host.cella(&["network", "create", "--egress", "8mbit", "--ingress", "8mbit", "n"]).ok();
    host.attacker(&["--network", "n,guarantee=6mbit,priority=1"]);
    host.cella(&["run", "-d", "--name", "d", "--network", "n", "host", "sleep", "1000"]).ok();
    let refused = host.cella(&["network", "set", "--guarantee", "3mbit", "n", "d"]).fails(1);
    assert!(refused.contains("3mbit can not be guaranteed") && refused.contains("2mbit is left"), "{refused}");
    host.cella(&["network", "set", "--egress", "4mbit", "n"]).fails(1);
    host.attack(None);
    host.cella(&["rm", "-f", "d"]).ok();
    host.finish();
}

impl Host {
    /// What the container sends is so many packets in a second, whatever its root does.
    fn count_out(&self) {
        for trick in ["true", "tc qdisc del dev eth0 root; tc qdisc add dev eth0 clsact; nft flush ruleset"] {
            let script = format!("({trick}) 2>/dev/null; python3 -c \"$0\" 192.0.2.2 1.2");
            let most = self.most_packets_while(|| drop(self.cella(&["exec", "c", "sh", "-c", &script, SMALL])));
            println!("{most:>9.0} packets/s: {trick}");
            assert!(most <= PACKETS * 1.05 && most > PACKETS / 10.0, "{most} packets/s after: {trick}");
        }
        // Sixty in one are sixty; the link's counter takes them for one.
        let most =
            self.most_while(|| drop(self.cella(&["exec", "c", "python3", "-c", SMALL, "192.0.2.2", "1.2", "large"])));
        println!("{most:>9.0} bytes/s of large packets");
        assert!(most <= PACKETS * 150.0 && most > 0.0, "{most} bytes/s of packets of 142 bytes");
    }
}

#[test]
fn packets_that_a_container_sends_are_counted_on_each_kind() {
    let Some(host) = Host::new("network_limits::packets") else { return };
    host.cella(&["network", "create", "-d", "routed", "r"]).ok();
    host.cella(&["network", "create", "--egress-packets", "2k", "n"]).ok();
    for flags in [
        &["--net-egress-packets", "2k"][..],
        &["--network", "r,egress-packets=2k"],
        &["--network", "n"],
        &["--network", "cella0", "--network", "n", "--net-egress-packets", "2000"],
        &["--network", "physical:out0,interface=eth0,egress-packets=2k", "--net-egress", "1gbit"],
        &["--network", "macvlan:out0", "--net-egress-packets", "2k"],
    ] {
        println!("{flags:?}");
        host.attacker(flags);
        if flags[1].contains("out0") {
            let ip = if flags[1].contains("physical") { "192.0.2.1" } else { "192.0.2.10" };
            host.cella(&["exec", "c", "ip", "addr", "replace", &format!("{ip}/24"), "dev", "eth0"]).ok();
        }
        host.count_out();
        host.cella(&["rm", "-f", "c"]).ok();
    }
    host.cella(&["network", "rm", "r", "n"]).ok();
    host.finish();
}

#[test]
fn packets_to_a_container_are_counted_and_the_limit_is_changed_live() {
    let Some(host) = Host::new("network_limits::packets_in") else { return };
    host.attacker(&["--network", "macvlan:out0,ingress-packets=2k"]);
    host.cella(&["exec", "c", "ip", "addr", "replace", "192.0.2.10/24", "dev", "eth0"]).ok();
    let rate = || {
        let count = || received(&host.cella(&["exec", "c", "cat", "/proc/net/dev"]).ok(), "eth0")[1];
        let (since, before) = (Instant::now(), count());
        let mut flood = Command::new("/usr/bin/python3");
        flood.args(["-c", SMALL, "192.0.2.10", "1"]);
        assert!(host.link.within(flood).status().unwrap().success());
        (count() - before - PACKETS / 10.0) / since.elapsed().as_secs_f64()
    };
    let limited = rate();
    assert!(limited <= PACKETS * 1.05 && limited > PACKETS / 10.0, "{limited} packets/s");
    let stats = host.cella(&["stats", "--no-stream", "c"]).ok();
    assert!(stats.contains("of 2000pps") && stats.contains(" dropped)"), "{stats}");
    host.cella(&["network", "set", "--ingress-packets", "500", "macvlan:out0", "c"]).ok();
    let lowered = rate();
    assert!(lowered <= 500.0 * 1.05, "{lowered} packets/s");
    host.cella(&["network", "set", "--ingress-packets", "none", "macvlan:out0", "c"]).ok();
    let free = rate();
    assert!(free > PACKETS * 1.5, "{free} packets/s without a limit");
    // What goes through the room of all devices comes by twice, and is counted once.
    host.cella(&["network", "create", "second"]).ok();
    host.cella(&["network", "connect", "second", "c"]).ok();
    host.cella(&["set", "c", "--net-ingress", "1gbit"]).ok();
    host.cella(&["network", "set", "--ingress-packets", "2k", "macvlan:out0", "c"]).ok();
    let once = rate();
    assert!(once <= PACKETS * 1.05 && once > PACKETS * 0.6, "{once} packets/s with two devices");
    host.finish();
}
