// SPDX-License-Identifier: Apache-2.0
//! A host of its own for each test: a network namespace, a neighbour that is wired to it, and programs that say who asks them.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Done, PATIENCE, Store, in_namespace, is_root, skip, until};

/// The host's addresses on the link to its neighbour.
pub(super) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// The neighbour's.
pub(super) const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// Rules of somebody else, which must be the same in the end.
const FOREIGN: &str = "table inet foreign {
    set seen { type ipv4_addr; elements = { 198.51.100.1, 198.51.100.7 }; }
    chain forward { type filter hook forward priority filter; policy accept; ip saddr @seen drop; }
    chain prerouting { type nat hook prerouting priority dstnat; tcp dport 9 redirect to :9; }
}";

/// Says who asks, and asks.
const PEER: &str = include_str!("peer.py");

/// A name server that knows one address.
const NAMES: &str = "
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[1], 53))
print(flush=True)
while True:
    asked, peer = one.recvfrom(512)
    end = asked.index(0, 12) + 5
    record = bytes.fromhex('c00c00010001000000050004cb007105')
    one.sendto(asked[:2] + bytes.fromhex('81800001000100000000') + asked[12:end] + record, peer)
";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A host with its store.
pub(super) struct Host {
    pub(super) store: Store,
    pub(super) outside: Namespace,
    own: Namespace,
    before: [String; 2],
    servers: Vec<Server>,
}

/// A program that ends with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A network namespace, removed with all that is in it.
pub(super) struct Namespace(pub(super) String);

impl Namespace {
    pub(super) fn new(kind: &str) -> Self {
        let name = format!("{kind}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name])).ok();
        let made = Self(name);
        made.sh("ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0").ok();
        made
    }

    /// A shell script in it.
    pub(super) fn sh(&self, script: &str) -> Done {
        run(in_namespace(&self.0, "sh").args(["-c", script]))
    }

    /// A program that answers on TCP and UDP with its name and the address that asks.
    fn serve(&self, name: &str, port: u16) -> Server {
        let mut command = in_namespace(&self.0, "/usr/bin/python3");
        command.args(["-ISc", PEER, "serve", name, &port.to_string()]).stdout(Stdio::null());
        Server(command.spawn().unwrap())
    }

    /// What is answered at this address; tried again for a while when nothing is.
    #[track_caller]
    pub(super) fn ask(&self, protocol: &str, address: &str, port: u16) -> String {
        self.asked(protocol, address, port, "8").ok()
    }

    /// Nothing is answered there.
    #[track_caller]
    pub(super) fn ask_in_vain(&self, protocol: &str, address: &str, port: u16) {
        let done = self.asked(protocol, address, port, "0");
        assert_eq!(done.code, 1, "{protocol} {address} {port} answers: {}", done.out);
    }

    fn asked(&self, protocol: &str, address: &str, port: u16, seconds: &str) -> Done {
        let mut command = in_namespace(&self.0, "/usr/bin/python3");
        run(command.args(["-ISc", PEER, "ask", protocol, address, &port.to_string(), seconds]))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(Command::new("ip").args(["netns", "del", &self.0]));
    }
}

fn run(command: &mut Command) -> Done {
    command.output().unwrap().into()
}

/// A host for the test of this name, unless it is to be skipped.
pub(super) fn host(test: &str) -> Option<Host> {
    let tools = ["/usr/sbin/nft", "/usr/sbin/ip", "/usr/bin/nsenter", "/usr/bin/python3"];
    if let Some(missing) = tools.iter().find(|tool| !std::path::Path::new(tool).exists()) {
        skip(test, &format!("there is no {missing}"));
        return None;
    }
    is_root(test).then(|| Host::new(test))
}

impl Host {
    fn new(test: &str) -> Self {
        let (own, outside) = (Namespace::new("ch"), Namespace::new("co"));
        let store = Store::in_namespace(&format!("net-{test}"), &own.0);
        let script = format!("ip link add out0 type veth peer name up0 netns {}; ip link set out0 up", outside.0);
        own.sh(&script).ok();
        let [host4, host6] = HOST;
        let [out4, out6] = OUTSIDE;
        outside.sh(&format!("ip link set up0 up; ip addr add {out4}/24 dev up0; ip addr add {out6}/64 dev up0")).ok();
        own.sh(&format!("ip addr add {host4}/24 dev out0; ip addr add {host6}/64 dev out0")).ok();
        own.sh(&format!("ip route add default via {out4}; ip route add default via {out6}")).ok();
        own.sh(&format!("nft '{FOREIGN}'")).ok();
        let mut host = Self { store, outside, own, before: Default::default(), servers: Vec::new() };
        // Addresses of IPv6 serve a moment after they are there.
        let served = || host.sh("ip -6 route show table local dev out0").out;
        until("its addresses serve", || ["local fe80:", "local 2001:"].iter().all(|one| served().contains(one)));
        host.before = host.now();
        host
    }

    /// The packet filter and the devices with their addresses and routes, without what counts or passes.
    fn now(&self) -> [String; 2] {
        let rules = self.sh("nft list ruleset").ok();
        let devices =
            "ip -br link; ip -br addr; ip route show table all; ip -6 route show table all; ip neigh show proxy";
        let devices = self.sh(devices).ok();
        let devices = devices.lines().filter(|line| !line.contains("anycast") && !line.contains("multicast"));
        [rules, devices.collect::<Vec<_>>().join("\n")]
    }

    /// Its namespace's name.
    pub(super) fn name(&self) -> &str {
        &self.own.0
    }

    /// A shell script on the host.
    pub(super) fn sh(&self, script: &str) -> Done {
        self.own.sh(script)
    }

    pub(super) fn cella(&self, arguments: &[&str]) -> Done {
        // What other hosts, which are on this machine too, have of subnets is not this one's to know.
        if arguments.starts_with(&["network", "create"]) {
            return self.store.claiming_alone(arguments);
        }
        self.store.cella(arguments)
    }

    /// A container that runs and answers on this port with its name.
    #[track_caller]
    pub(super) fn serving(&self, name: &str, port: u16, flags: &[&str]) {
        let port = port.to_string();
        let program = ["host", "python3", "-ISc", PEER, "serve", name, &port];
        self.cella(&[&["run", "-d", "--name", name], flags, &program].concat()).ok();
    }

    /// A container that sleeps.
    #[track_caller]
    pub(super) fn sleeping(&self, name: &str, flags: &[&str]) {
        self.cella(&[&["run", "-d", "--name", name], flags, &["host", "sleep", "1000"]].concat()).ok();
    }

    /// What a script in a container that runs says.
    #[track_caller]
    pub(super) fn inside(&self, container: &str, script: &str) -> String {
        self.cella(&["exec", container, "sh", "-c", script]).ok()
    }

    /// What a container gets for an answer.
    #[track_caller]
    pub(super) fn ask_from(&self, container: &str, protocol: &str, address: &str, port: u16) -> String {
        self.asked(container, protocol, address, port, "8").ok()
    }

    /// A container gets no answer there.
    #[track_caller]
    pub(super) fn ask_from_in_vain(&self, container: &str, protocol: &str, address: &str, port: u16) {
        let done = self.asked(container, protocol, address, port, "0");
        assert_eq!(done.code, 1, "{protocol} {address} {port} answers: {} {}", done.out, done.err);
    }

    fn asked(&self, container: &str, protocol: &str, address: &str, port: u16, seconds: &str) -> Done {
        let port = port.to_string();
        self.cella(&["exec", container, "python3", "-ISc", PEER, "ask", protocol, address, &port, seconds])
    }

    /// What the host itself gets for an answer.
    #[track_caller]
    pub(super) fn ask(&self, protocol: &str, address: &str, port: u16) -> String {
        self.own.ask(protocol, address, port)
    }

    #[track_caller]
    pub(super) fn ask_in_vain(&self, protocol: &str, address: &str, port: u16) {
        self.own.ask_in_vain(protocol, address, port);
    }

    /// The host is refused there, and need not wait for that; a machine that is busy is asked again.
    #[track_caller]
    pub(super) fn refused(&self, protocol: &str, address: &str, port: u16) {
        let asked = || self.own.asked(protocol, address, port, "0").out;
        let last = (0..5).map(|_| asked()).find(|out| !out.contains("timed out")).unwrap_or_else(asked);
        assert!(last.contains("refused"), "{protocol} {address} {port} answers: {last}");
    }

    /// The neighbour answers on this port.
    pub(super) fn serve_outside(&mut self, port: u16) {
        self.servers.push(self.outside.serve("outside", port));
    }

    /// The neighbour answers every question for a name with 203.0.113.5.
    pub(super) fn answer_names_outside(&mut self, address: &str) {
        let mut command = in_namespace(&self.outside.0, "/usr/bin/python3");
        command.args(["-ISc", NAMES, address]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It says when it listens.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        self.servers.push(Server(child));
    }

    /// A program of the host answers on this port.
    pub(super) fn serve_here(&mut self, port: u16) {
        self.servers.push(self.own.serve("host", port));
        self.ask("tcp", "127.0.0.1", port);
    }

    /// The addresses of a container on a network, IPv4 and IPv6.
    #[track_caller]
    pub(super) fn addresses(&self, network: &str, container: &str) -> [String; 2] {
        let json = self.lease(network, container);
        ["v4", "v6"].map(|family| json[family].as_str().unwrap_or_default().to_owned())
    }

    /// What a container has on a network: `mac`, `v4`, `v6`.
    #[track_caller]
    pub(super) fn lease(&self, network: &str, container: &str) -> serde_json::Value {
        let view = self.network(network);
        view["leases"][container].clone()
    }

    /// A network as `inspect` has it.
    #[track_caller]
    pub(super) fn network(&self, network: &str) -> serde_json::Value {
        let json: serde_json::Value = serde_json::from_str(&self.cella(&["network", "inspect", network]).ok()).unwrap();
        json[0].clone()
    }

    /// The process id of the default network's helper.
    pub(super) fn helper(&self) -> Option<String> {
        let pids = run(Command::new("ip").args(["netns", "pids", &self.own.0])).ok();
        let is_helper = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "cella-network")
        };
        pids.lines().find(is_helper).map(str::to_owned)
    }

    /// Is nothing left of a process but what its parent has not read?
    pub(super) fn is_dead(&self, pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    }

    /// Kills a container's keeper.
    #[track_caller]
    pub(super) fn kill_keeper(&self, container: &str) {
        let pid = self.store.inspect(container, "pid");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let keeper = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        self.sh(&format!("kill -9 {keeper}")).ok();
    }

    /// Removes these containers.
    #[track_caller]
    pub(super) fn remove(&self, containers: &[&str]) {
        for container in containers {
            self.cella(&["rm", "-f", container]).ok();
        }
    }

    /// The end of every test: no container's device, rule, lease, process or file is left, and what others have is as it was.
    #[track_caller]
    pub(super) fn finish(mut self) {
        self.servers.clear();
        let deadline = Instant::now() + PATIENCE;
        while self.now() != self.before && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let [rules, devices] = self.now();
        assert_eq!(rules, self.before[0]);
        assert_eq!(devices, self.before[1]);
        self.store.finish();
        let pids = run(Command::new("ip").args(["netns", "pids", &self.own.0])).ok();
        assert_eq!(pids, "", "processes are left in the host's namespace");
    }
}
