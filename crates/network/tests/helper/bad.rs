// SPDX-License-Identifier: Apache-2.0
//! Clients that mean ill (CVE-2024-8418 and its like): whatever one of them does, another is answered within 100 ms.

use std::time::Duration;

use kernel::event;

use crate::link::{Device, Link, skipped};

/// What every attack begins with.
const PRELUDE: &str = r#"
import os, socket, struct, sys, time
server = ("10.99.0.1", 53)
def tcp():
    s = socket.socket(); s.settimeout(5); s.connect(server); return s
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(server); return s
def head(n=1, flags=0x0100, rest=(0, 0, 0)): return struct.pack(">HHHHHH", 7, flags, n, *rest)
query = head() + b"\3web\0\0\1\0\1"
"#;

/// What is done, and in what words of Python; each ends with "done", and what it opened stays open until its input ends.
const ATTACKS: [(&str, &str); 12] = [
    ("a hundred silent connections", "all = [tcp() for _ in range(100)]"),
    (
        "a hundred connections that promise more than they send",
        "all = [tcp() for _ in range(100)]\nfor s in all:\n  try: s.sendall(b'\\0\\x64abc')\n  except OSError: pass",
    ),
    (
        "truncated messages and an end",
        "for n in range(1, 40):\n  s = tcp(); s.sendall((struct.pack('>H', len(query)) + query)[:n % 23]); s.close()",
    ),
    (
        "resets",
        "for n in range(100):\n  s = tcp(); s.sendall((struct.pack('>H', len(query)) + query)[:n % 24])\n  \
         s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()",
    ),
    ("lengths of nothing", "for n in range(50):\n  s = tcp(); s.sendall(b'\\0\\0' * 100); s.close()"),
    (
        "giants",
        "for n in range(20):\n  s = tcp()\n  try: s.sendall(b'\\xff\\xff' + b'a' * 65535)\n  except OSError: pass",
    ),
    (
        "many queries at once that nobody reads the answers of",
        "all = [tcp() for _ in range(8)]\nfor s in all:\n  s.setblocking(False)\n  try:\n    while True: s.send((struct.pack('>H', len(query)) + query) * 500)\n  except OSError: pass",
    ),
    (
        "compression loops and broken names",
        "s = udp()\nfor q in (b'\\xc0\\x0c\\0\\1\\0\\1', b'\\1a\\xc0\\x0c\\0\\1\\0\\1', b'\\x3fa', b'\\x40' * 80, b'\\1a' * 200 + b'\\0\\0\\1\\0\\1', b'', b'\\0'):\n  \
         s.send(head() + q); s.send(head(65535, rest=(65535,) * 3) + q); s.send(head(flags=0x8180) + q)",
    ),
    ("noise", "s = udp()\nfor n in range(2000): s.send(os.urandom(n % 600))"),
    (
        "names of odd bytes",
        "s = udp()\nfor n in range(256): s.send(head() + bytes([3, n, 0, 255 - n, 5]) + b'cella\\0\\0\\1\\0\\1')",
    ),
    ("ten thousand queries", "s = udp()\nfor n in range(10000): s.send(query)"),
    (
        "a thousand queries that nobody upstream answers",
        "s = udp()\nfor n in range(1000): s.send(head() + b'\\5quiet\\7example\\0\\0\\1\\0\\1')",
    ),
];

/// The slowest of ten answers to the good device, in milliseconds.
fn slowest(good: &Device) -> f64 {
    let script = format!(
        "{PRELUDE}\nt = []\nfor n in range(10):\n  s = udp() if n % 2 else tcp(); s.settimeout(3); a = time.perf_counter()\n  \
         s.sendall(query if n % 2 else struct.pack('>H', len(query)) + query)\n  r = s.recv(4096)\n  \
         assert r.endswith(b'\\x0a\\x63\\0\\2'), r\n  t.append(time.perf_counter() - a)\nprint(max(t) * 1000)\n"
    );
    let output = good.start(&["python3", "-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Clock ticks (10 ms) that the helper has worked.
fn ticks(link: &Link) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", link.helper.as_ref().unwrap().pid)).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn one_client_cannot_starve_another() {
    if skipped("one_client_cannot_starve_another") {
        return;
    }
    let mut link = Link::new("bad");
    // Nobody is there.
    link.config.upstream = vec!["127.0.0.1:5300".parse().unwrap()];
    let quiet = std::net::UdpSocket::bind("127.0.0.1:5300").unwrap();
    link.serve();
    let (good, bad) = (link.device(2, true), link.device(3, true));
    link.tell(&good, &["web"]);
    link.tell(&bad, &["bad"]);
    println!("before: {:.2} ms", slowest(&good));
    for (name, attack) in ATTACKS {
        let script = format!("{PRELUDE}\n{attack}\nprint('done', flush=True)\nsys.stdin.read()\n");
        let mut python = bad.start(&["python3", "-c", &script]);
        let mut python =
            python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let out = python.stdout.take().unwrap();
        let ready = event::wait(&[(std::os::fd::AsFd::as_fd(&out), event::Interest::Read)], Some(20_000)).unwrap();
        assert_eq!(ready, [true], "{name}: it waits for us");
        let took = slowest(&good);
        println!("{name}: then {took:.2} ms; memory {}", link.status("VmRSS"));
        assert!(took < 100.0, "{name}: {took} ms");
        let before = ticks(&link);
        std::thread::sleep(Duration::from_millis(300));
        let worked = ticks(&link) - before;
        assert!(worked <= 5, "{name}: it worked {worked}0 ms of 300 for nothing");
        drop(python.stdin.take());
        assert!(python.wait().unwrap().success(), "{name}");
    }
    drop(quiet);
    crate::link::run("ip link del br0");
    let before = ticks(&link);
    std::thread::sleep(Duration::from_millis(300));
    assert!(ticks(&link) - before <= 5, "it works for nothing when the bridge is gone");
}

#[test]
fn a_flood_does_not_drown_the_others() {
    if skipped("a_flood_does_not_drown_the_others") {
        return;
    }
    let mut link = Link::new("flood");
    link.serve();
    let (good, bad) = (link.device(2, true), link.device(3, true));
    link.tell(&good, &["web"]);
    link.tell(&bad, &["bad"]);
    let script = format!("{PRELUDE}\ns = udp()\nprint('go', flush=True)\nwhile True: s.send(query)\n");
    let mut flood = bad.start(&["python3", "-c", &script]);
    let mut flood = flood.stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let took = slowest(&good);
    println!("during a flood: {took:.2} ms; the helper worked {}0 ms in all", ticks(&link));
    flood.kill().unwrap();
    flood.wait().unwrap();
    assert!(took < 1000.0, "{took} ms");
}

#[test]
fn an_address_that_is_not_of_the_network_hears_nothing() {
    if skipped("an_address_that_is_not_of_the_network_hears_nothing") {
        return;
    }
    let mut link = Link::new("foreign");
    link.serve();
    let web = link.device(2, true);
    link.tell(&web, &["web"]);
    web.run("ip addr add 192.0.2.2/32 dev eth0");
    crate::link::run("ip route add 192.0.2.2 dev br0");
    assert_eq!(web.dig("web"), "10.99.0.2");
    for by in ["+notcp", "+tcp"] {
        let mut dig = web.start(&["dig", "-b", "192.0.2.2", "+time=1", "+tries=1", by, "@10.99.0.1", "web"]);
        let output = dig.output().unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    // A guest of the network knows the names of this one.
    web.run("ip addr add 10.99.0.200/24 dev eth0");
    assert_eq!(web.dig("-b 10.99.0.200 web"), "10.99.0.2");
}
