// SPDX-License-Identifier: Apache-2.0
//! Network namespaces that a test makes for itself, and commands in them.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use network::Mac;
use network::firewall::{Firewall, Net, Port, Protocol, Publication, Rules};

/// Says that a test can not run here, and why; the caller returns.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        // In one call: others write, too.
        file.unwrap().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).unwrap();
    }
}

/// Is this root, with the tools that a test needs?
pub(crate) fn can_run(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap() == 0;
    if !root {
        skip(test, "it needs root");
    }
    for (tool, package) in [("nft", "nftables"), ("ip", "iproute2"), ("nsenter", "util-linux"), ("python3", "python3")]
    {
        let there = |folder: &str| Path::new(folder).join(tool).exists();
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"].into_iter().any(there);
        if !found {
            skip(test, &format!("{package} is not installed"));
            return false;
        }
    }
    root
}

/// A network namespace that nobody but commands of the test is in.
#[derive(Debug)]
pub(crate) struct Space(pub(crate) OwnedFd);

impl Space {
    pub(crate) fn new() -> Self {
        let space = Self(kernel::namespace::new_network().unwrap().namespace);
        space.ip("link set lo up");
        space
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub(crate) fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program).args(words);
        command
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> String {
        let done = self.command(program, words).stdin(Stdio::null()).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {words:?}: {err}");
        String::from_utf8(done.stdout).unwrap()
    }

    pub(crate) fn ip(&self, line: &str) -> String {
        self.run("ip", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn nft(&self, line: &str) -> String {
        self.run("nft", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn sysctl(&self, setting: &str) {
        self.run("sysctl", &["-q", "-w", setting]);
    }

    pub(crate) fn firewall(&self) -> Firewall {
        Firewall::open_in(&self.0, "cella").unwrap()
    }

    /// A python3 program; what it printed.
    pub(crate) fn python(&self, program: &str) -> String {
        self.run("python3", &["-c", program])
    }

    /// The same that goes on; it has printed a line.
    pub(crate) fn serve(&self, program: &str) -> Server {
        use std::io::BufRead;
        let mut child =
            self.command("python3", &["-uc", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert_eq!(first.trim(), "ready");
        Server { child, lines }
    }
}

/// A program that goes on until this is dropped.
pub(crate) struct Server {
    child: std::process::Child,
    pub(crate) lines: std::io::BufReader<std::process::ChildStdout>,
}

impl Server {
    /// Its input is at an end.
    pub(crate) fn hang_up(&mut self) {
        std::mem::drop(self.child.stdin.take());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until `done` says so.
pub(crate) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn net(device: &str, subnets: &[&str]) -> Net {
    Net {
        device: device.to_owned(),
        subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
        nat: true,
        internal: false,
        isolated_ports: false,
        serves: true,
    }
}

pub(crate) fn mac(n: u8) -> Mac {
    Mac::local([2, 0, 0, 0, 0, n])
}

pub(crate) fn port(device: &str, bridge: Option<&str>, n: u8, addresses: &[&str]) -> Port {
    let all: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let v4 = all.iter().filter_map(|address| if let IpAddr::V4(v4) = address { Some(*v4) } else { None });
    let v6 = all.iter().filter_map(|address| if let IpAddr::V6(v6) = address { Some(*v6) } else { None });
    Port {
        device: device.to_owned(),
        bridge: bridge.map(str::to_owned),
        mac: mac(n),
        v4: v4.collect(),
        v6: v6.collect(),
        any_address: false,
        isolated: false,
        class: None,
    }
}

pub(crate) fn publication(
    host: Option<&str>,
    host_port: u16,
    protocol: Protocol,
    to: &str,
    to_port: u16,
) -> Publication {
    let host = host.map(|host| host.parse().unwrap());
    Publication { host, host_port, protocol, to: to.parse().unwrap(), to_port }
}

/// One of each.
pub(crate) fn example() -> Rules {
    let mut db = net("br-db", &["10.2.0.0/24"]);
    (db.internal, db.nat, db.isolated_ports) = (true, false, true);
    let mut routed = net("veth-r", &["10.3.0.0/24", "fd00:3::/64"]);
    (routed.nat, routed.serves) = (false, false);
    let mut hermit = port("veth-c", Some("br-db"), 3, &["10.2.0.2"]);
    hermit.isolated = true;
    Rules {
        nets: vec![net("br-web", &["10.1.0.0/24", "fd00:1::/64"]), db, routed],
        ports: vec![
            port("veth-a", Some("br-web"), 1, &["10.1.0.2", "fd00:1::2"]),
            port("veth-b", Some("br-web"), 2, &["10.1.0.3", "10.1.0.4"]),
            hermit,
            port("veth-r", None, 4, &["10.3.0.2", "fd00:3::2"]),
        ],
        publications: vec![
            publication(None, 8080, Protocol::Tcp, "10.1.0.2", 80),
            publication(Some("127.0.0.1"), 5353, Protocol::Udp, "10.1.0.3", 53),
            publication(None, 8080, Protocol::Tcp, "fd00:1::2", 80),
            publication(Some("2001:db8::1"), 9000, Protocol::Sctp, "fd00:1::2", 9000),
        ],
    }
}

/// The sets that a rule has for itself, in order.
fn sorted(line: &str) -> String {
    let Some((before, rest)) = line.split_once("{ ") else { return line.to_owned() };
    let Some((inside, after)) = rest.split_once(" }") else { return line.to_owned() };
    format!("{before}{{ {} }}{after}", parts_in_order(inside))
}

fn parts_in_order(list: &str) -> String {
    let mut parts: Vec<&str> = list.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts.join(", ")
}

/// What nft(8) has listed, with the elements of each set on one line and in order: the kernel has them in that of their hashes.
pub(crate) fn in_order(listed: &str) -> String {
    let (mut out, mut open) = (String::new(), None::<String>);
    for line in listed.lines().map(sorted) {
        match (&mut open, line.trim_start().starts_with("elements = {")) {
            (None, true) if !line.ends_with('}') => open = Some(line),
            (Some(list), _) => {
                list.push(' ');
                list.push_str(line.trim());
                if line.ends_with('}') {
                    out += &sorted(list);
                    out.push('\n');
                    open = None;
                }
            }
            _ => {
                out += &line;
                out.push('\n');
            }
        }
    }
    out
}
