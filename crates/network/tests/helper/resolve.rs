// SPDX-License-Identifier: Apache-2.0
//! Names as `dig` finds them: those of the networks that it is on, and others by a server upstream.

use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use kernel::process::{self, Exit};
use network::helper::{Endpoint, remove_endpoint, write_config, write_endpoint};

use crate::link::{Link, run, skipped, until};

/// A server that answers every A query with 192.0.2.7, by UDP and TCP, and says how many it had in a file.
const UPSTREAM: &str = r#"
import socket, struct, sys, threading
count = 0
def answer(q):
    global count
    count += 1
    open(sys.argv[1], "w").write(str(count))
    end = q.index(b"\0", 12) + 5
    name = q[13:13 + q[12]]
    if name == b"quiet": return None
    if name == b"big" and len(q) < 9000 and not getattr(local, "tcp", False):
        return q[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + q[12:end]
    n = 40 if name == b"big" else 1
    return q[:2] + b"\x81\x80\0\1" + struct.pack(">H", n) + b"\0\0\0\0" + q[12:end] + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7" * n)
local = threading.local()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 5300))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(("127.0.0.1", 5300)); t.listen()
def tcp():
    local.tcp = True
    while True:
        c, _ = t.accept()
        n = struct.unpack(">H", c.recv(2))[0]; q = c.recv(n); a = answer(q)
        c.sendall(struct.pack(">H", len(a)) + a); c.close()
threading.Thread(target=tcp, daemon=True).start()
print("ready", flush=True)
while True:
    q, who = u.recvfrom(4096); a = answer(q)
    if a:
        # What somebody who guesses would send first.
        u.sendto(bytes([q[0] ^ 1]) + a[1:], who)
        u.sendto(a, who)
"#;

struct Upstream(Child, std::path::PathBuf);

impl Upstream {
    fn new(link: &Link) -> Self {
        use std::io::{BufRead, BufReader};
        let counter = link.directory.with_extension("count");
        let mut child =
            Command::new("python3").args(["-c", UPSTREAM]).arg(&counter).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Self(child, counter)
    }

    fn count(&self) -> u32 {
        std::fs::read_to_string(&self.1).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn names_of_one_network() {
    if skipped("names_of_one_network") {
        return;
    }
    let mut link = Link::new("one");
    link.serve();
    let upstream = Upstream::new(&link);
    let (web, other) = (link.device(2, true), link.device(3, true));
    link.tell(&web, &["web", "www"]);
    link.tell(&other, &["other", "www"]);
    for name in ["web", "web.cella", "WEB.Cella", "web.cella."] {
        assert_eq!(other.dig(&format!("{name} A")), "10.99.0.2", "{name}");
        assert_eq!(other.dig(&format!("{name} AAAA")), web.v6.to_string(), "{name}");
    }
    assert_eq!(other.dig("@fd99::1 web"), "10.99.0.2");
    assert_eq!(other.dig("+tcp web"), "10.99.0.2");
    let mut both: Vec<String> = other.dig("www").lines().map(str::to_owned).collect();
    both.sort();
    assert_eq!(both, ["10.99.0.2", "10.99.0.3"]);
    assert_eq!(other.dig("-x 10.99.0.2"), "web.cella.");
    assert_eq!(other.dig(&format!("-x {}", web.v6)), "web.cella.");
    assert!(other.dig_all("web MX").contains("status: NOERROR"));
    for name in ["missing", "missing.cella", "a.web.cella", "-x 10.99.0.77"] {
        assert!(other.dig_all(name).contains("status: NXDOMAIN"), "{name}");
    }
    assert_eq!(upstream.count(), 0, "nothing of this is anybody else's");
    link.config.domain = "lan".into();
    write_config(&link.directory, &link.config).unwrap();
    assert_eq!(other.dig("web.lan"), "10.99.0.2", "what may change while it serves");
    remove_endpoint(&link.directory, &web.mac.to_string()).unwrap();
    assert!(other.dig_all("web").contains("status: NXDOMAIN"), "it is gone at once");
}

#[test]
fn other_names_come_from_upstream() {
    if skipped("other_names_come_from_upstream") {
        return;
    }
    let mut link = Link::new("upstream");
    // Nobody is at the first, and the second is the helper itself.
    link.config.upstream.splice(0..0, ["127.0.0.1:5301", "10.99.0.1:53"].map(|server| server.parse().unwrap()));
    link.serve();
    let upstream = Upstream::new(&link);
    let web = link.device(2, true);
    link.tell(&web, &["web"]);
    assert_eq!(web.dig("example.com"), "192.0.2.7");
    assert_eq!(web.dig("+tcp example.com"), "192.0.2.7");
    assert_eq!(web.dig("+bufsize=512 big.example.com").lines().count(), 40, "truncated, and asked again by TCP");
    assert!(upstream.count() >= 4);
    assert!(web.run("dig +time=7 +tries=1 @10.99.0.1 quiet.example.com").contains("status: SERVFAIL"));
    assert!(web.dig_all("+ednsopt=8 +dnssec example.com TYPE65").contains("status: NOERROR"));
}

#[test]
fn an_internal_network_asks_nobody() {
    if skipped("an_internal_network_asks_nobody") {
        return;
    }
    let mut link = Link::new("internal");
    link.config.internal = true;
    link.serve();
    let upstream = Upstream::new(&link);
    let web = link.device(2, true);
    link.tell(&web, &["web"]);
    for name in ["example.com", "+tcp example.com", "-x 192.0.2.1", ". NS"] {
        assert!(web.dig_all(name).contains("status: REFUSED"), "{name}");
    }
    assert_eq!(web.dig("web"), "10.99.0.2");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn names_of_all_networks_that_a_container_is_on() {
    if skipped("names_of_all_networks_that_a_container_is_on") {
        return;
    }
    let mut link = Link::new("shared");
    link.serve();
    let (both, one) = (link.device(2, true), link.device(3, true));
    link.tell(&both, &["both"]);
    link.tell(&one, &["one"]);
    // The second network appears while the helper runs.
    let directory = link.directory.with_file_name("second");
    write_config(&directory, &link.config).unwrap();
    let endpoint = |container: String, name: &str, last: u8| Endpoint {
        container,
        names: vec![name.into()],
        mac: network::Mac([2, 9, 9, 9, 9, last]),
        v4: Some(std::net::Ipv4Addr::new(10, 100, 0, last)),
        v6: None,
    };
    write_endpoint(&directory, "a", &endpoint(format!("id-{}", both.mac), "both", 2)).unwrap();
    write_endpoint(&directory, "b", &endpoint("third".into(), "third", 3)).unwrap();
    assert_eq!(both.dig("third"), "10.100.0.3");
    assert_eq!(both.dig("-x 10.100.0.3"), "third.cella.");
    assert!(both.dig_all("third AAAA").contains("status: NOERROR"), "it has an address of the other family");
    assert!(one.dig_all("third").contains("status: NXDOMAIN"), "it is not on that network");
    assert_eq!(one.dig("both"), "10.99.0.2", "what the other network calls it is not for us");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(both.dig_all("third").contains("status: NXDOMAIN"));
}

#[test]
fn the_helper_has_no_rights_and_ends_when_told() {
    if skipped("the_helper_has_no_rights_and_ends_when_told") {
        return;
    }
    let mut link = Link::new("rights");
    link.serve();
    until("it has given up its rights", || link.status("Uid") == "65534 65534 65534 65534");
    until("no new privileges", || link.status("NoNewPrivs") == "1");
    for (key, value) in [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("Groups", ""),
        ("Threads", "1"),
    ] {
        assert_eq!(link.status(key), value, "{key}");
    }
    let pid = link.helper.as_ref().unwrap().pid;
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/root")).unwrap(), link.directory.parent().unwrap());
    let again = network::helper::Helper::open(&link.directory, link.config.clone()).unwrap_err();
    assert!(again.is(kernel::Errno::ADDRINUSE), "{again}");
    std::fs::remove_file(link.directory.join("helper.json")).unwrap();
    assert_eq!(process::wait(&link.helper.take().unwrap().pidfd).unwrap(), Exit::Code(0));
    link.serve();
    let helper = link.helper.take().unwrap();
    until("it waits for signals", || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", helper.pid)).unwrap();
        text.contains("SigBlk:\t0000000000004000")
    });
    process::signal(&helper.pidfd, 15).unwrap();
    assert_eq!(process::wait(&helper.pidfd).unwrap(), Exit::Code(0));
}

#[test]
fn five_hundred_endpoints() {
    if skipped("five_hundred_endpoints") {
        return;
    }
    let mut link = Link::new("many");
    link.serve();
    let web = link.device(2, true);
    link.tell(&web, &["web"]);
    assert_eq!(web.dig("web"), "10.99.0.2");
    let start = Instant::now();
    for number in 0..500_u16 {
        let [high, low] = number.to_be_bytes();
        let endpoint = Endpoint {
            container: format!("c{number}"),
            names: vec![format!("name{number}"), "all".into()],
            mac: network::Mac([2, 1, 0, 0, high, low]),
            v4: Some(std::net::Ipv4Addr::new(10, 98, high, low)),
            v6: None,
        };
        write_endpoint(&link.directory, &format!("e{number}"), &endpoint).unwrap();
    }
    assert_eq!(web.dig("name499"), "10.98.1.243");
    println!("500 endpoints written and known after {} ms", start.elapsed().as_millis());
    assert!(web.dig("+ignore all").lines().count() >= 25, "what fits is told");
    assert_eq!(web.dig("+tcp all").lines().count(), 500);
    let times = web.run(
        "python3 -c \"\nimport socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.connect((\\\"10.99.0.1\\\",53))\nq=bytes.fromhex(\\\"00010100000100000000000007\\\")+b\\\"name250\\\"+bytes.fromhex(\\\"0000010001\\\")\nt=[]\nfor i in range(3000):\n  a=time.perf_counter();s.send(q);s.recv(512);t.append(time.perf_counter()-a)\nt.sort();print(int(t[1500]*1e6),int(t[2970]*1e6))\n\"",
    );
    println!("an answer takes (microseconds; median, 99 %): {times}; memory {}", link.status("VmRSS"));
    let median: u64 = times.split_whitespace().next().unwrap().parse().unwrap();
    assert!(median < 1000, "{times}");
}

#[test]
fn what_is_taken_is_told_before_it_serves() {
    if skipped("what_is_taken_is_told_before_it_serves") {
        return;
    }
    let link = Link::new("taken");
    write_config(&link.directory, &link.config).unwrap();
    let open = |link: &Link| network::helper::Helper::open(&link.directory, link.config.clone());
    let holders = (UdpSocket::bind("10.99.0.1:53").unwrap(), TcpListener::bind("[fd99::1]:53").unwrap());
    let error = open(&link).unwrap_err();
    assert!(error.is(kernel::Errno::ADDRINUSE) && error.to_string().contains("UDP 10.99.0.1:53"), "{error}");
    drop(holders.0);
    let error = open(&link).unwrap_err();
    assert!(error.to_string().contains("TCP [fd99::1]:53"), "{error}");
    drop(holders.1);
    drop(open(&link).unwrap());
    run("ip link del br0");
    assert!(open(&link).unwrap_err().is(kernel::Errno::NODEV));
}
