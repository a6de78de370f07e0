// SPDX-License-Identifier: Apache-2.0
//! What a network adds to a start, what the five hundredth container costs beside the first, and a thousand ports.

use super::median;
use super::place::{Place, said, within};
use super::speed::podman;
use crate::Result;
use std::process::Command;
use std::time::Instant;

/// Containers on one bridge.
const MANY: usize = 500;
/// How many are looked at, at the beginning and at the end.
const SOME: usize = 20;

/// Milliseconds that a command takes.
fn timed(command: &mut Command, what: &str) -> Result<f64> {
    let start = Instant::now();
    said(command, what)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// The default network beside none.
pub(super) fn added(place: &Place, rounds: usize) -> Result<()> {
    place.waiting("keep", &[])?;
    let (image, root) = (place.image(), place.root.display().to_string());
    let mut own = [Vec::new(), Vec::new()];
    let mut theirs = [Vec::new(), Vec::new()];
    let mut absent = None;
    for round in 0..rounds {
        for (network, times) in ["none", "cella0"].into_iter().zip(&mut own) {
            let mut run = place.command(&["run", "--rm", "--network", network, &image, "/true"]);
            times.push(timed(&mut run, "cella run")?);
        }
        for (network, times) in ["none", "bridge"].into_iter().zip(&mut theirs) {
            if absent.is_some() || !round.is_multiple_of(4) {
                continue;
            }
            let mut run = podman(
                place,
                &[
                    "run",
                    "--rm",
                    "--ulimit=nofile=1024:1024",
                    "--ulimit=nproc=4096:4096",
                    "--network",
                    network,
                    "--rootfs",
                    &root,
                    "/true",
                ],
            );
            match timed(&mut run, "podman run") {
                Ok(time) => times.push(time),
                Err(reason) => absent = Some(reason),
            }
        }
    }
    println!("### Added to `run` by the default network, whose bridge is there\n");
    println!("| | without, median ms | with | added |\n|:---|---:|---:|---:|");
    let line = |name: &str, [without, with]: [Vec<f64>; 2]| {
        let (without, with) = (median(without), median(with));
        println!("| {name} | {without:.2} | {with:.2} | {:.2} |", with - without);
    };
    line("cella", own);
    match absent {
        None => line("podman", theirs),
        Some(reason) => println!("| podman | | | n/a: {} |", reason.replace('|', "/")),
    }
    println!();
    place.cella(&["rm", "-f", "keep"]).map(drop)
}

/// Milliseconds to ask for a name, as seen inside.
const ASK: &str = r#"
import socket, struct, sys, time
name = b"".join(bytes([len(part)]) + part for part in sys.argv[2].encode().split(b".")) + b"\0"
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(2)
udp.connect((sys.argv[1], 53))
times = []
for number in range(200):
    start = time.perf_counter()
    udp.send(struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1))
    answer = udp.recv(512)
    times.append(time.perf_counter() - start)
    assert struct.unpack("!6H", answer[:12])[3] == 1, answer
print(sorted(times)[100] * 1000)
"#;

pub(super) fn many(place: &Place) -> Result<()> {
    let image = place.image();
    let mut times = Vec::new();
    let mut first = 0;
    for number in 0..MANY {
        let name = format!("m{number}");
        if number == 0 {
            first = place.waiting(&name, &[])?;
            continue;
        }
        times.push(timed(&mut place.command(&["run", "-d", "--name", &name, &image, "/wait"]), "cella run")?);
    }
    let (early, late) = (times.iter().take(SOME).copied().collect(), times.iter().rev().take(SOME).copied().collect());
    let (early, late) = (median(early), median(late));
    let gateway = said(within(first).args(["sh", "-c", "ip route show default | cut -d' ' -f3"]), "ip route")?;
    let answer = said(within(first).args(["/usr/bin/python3", "-c", ASK, &gateway, "m400.cella"]), "a name")?;
    println!("### {MANY} containers on one bridge\n\n| | ms |\n|:---|---:|");
    println!("| `run -d`, the first {SOME}, median | {early:.2} |\n| the last {SOME}, median | {late:.2} |");
    println!("| ratio | {:.2} |", late / early);
    println!("| a name is answered, median | {:.3} |\n", answer.parse().unwrap_or(f64::NAN));
    let names: Vec<String> = (0..MANY).map(|number| format!("m{number}")).collect();
    for some in names.chunks(50) {
        let words: Vec<&str> = ["rm", "-f"].into_iter().chain(some.iter().map(String::as_str)).collect();
        place.cella(&words)?;
    }
    Ok(())
}

pub(super) fn ports(place: &Place) -> Result<()> {
    place.waiting("ports", &[])?;
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let words = ["port", "add", "ports", "20000-20999:20000-20999"];
        add.push(timed(&mut place.command(&words), "cella port add")?);
        let words = ["port", "rm", "ports", "20000-20999:20000-20999"];
        remove.push(timed(&mut place.command(&words), "cella port rm")?);
    }
    println!("### 1,000 ports in one go\n\n| | median ms |\n|:---|---:|");
    println!("| `cella port add` | {:.1} |\n| `cella port rm` | {:.1} |\n", median(add), median(remove));
    place.cella(&["rm", "-f", "ports"]).map(drop)
}
