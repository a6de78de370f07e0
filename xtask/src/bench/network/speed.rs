// SPDX-License-Identifier: Apache-2.0
//! TCP from a container through its bridge and the host's address translation to the link, beside the same made by hand.

use super::median;
use super::place::{FAR, Namespace, Place, said, within};
use crate::Result;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Rounds of this measurement, and seconds of each.
const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

/// Bits per second of payload from the one to the other namespace, as the receiver sees it, without the first second.
pub(super) fn goodput(from: u32, to: u32, address: &str, port: u16, seconds: u32, options: &[&str]) -> Result<f64> {
    let (port, seconds) = (port.to_string(), seconds + 1);
    let mut server = within(from);
    server.args(["iperf3", "-s", "-1", "-p", &port]).stdout(Stdio::null());
    let mut server = server.spawn().map_err(|error| format!("iperf3: {error}"))?;
    std::thread::sleep(Duration::from_millis(300));
    let mut client = within(to);
    client.args(["timeout", &(seconds + 10).to_string(), "iperf3", "-c", address, "-p", &port, "-R", "-J", "-t"]);
    let text = said(client.arg(seconds.to_string()).args(options), "iperf3");
    drop(server.kill());
    drop(server.wait());
    let report: Value = serde_json::from_str(&text?).map_err(|error| format!("iperf3: {error}"))?;
    let sums = report["intervals"].as_array().into_iter().flatten().map(|one| &one["sum"]);
    let whole = sums.filter(|sum| sum["seconds"].as_f64().is_some_and(|seconds| seconds > 0.5)).skip(1);
    let (mut bytes, mut time) = (0.0, 0.0);
    for sum in whole {
        bytes += sum["bytes"].as_f64().unwrap_or(0.0);
        time += sum["seconds"].as_f64().unwrap_or(0.0);
    }
    Ok(bytes * 8.0 / time)
}

/// From a container to the link: the server is at the far end, so that connections begin inside.
fn out(from: u32, far: u32) -> Result<f64> {
    let mut server = within(far);
    server.args(["timeout", "15", "iperf3", "-s", "-1", "-J", "-p", "5210"]).stdout(Stdio::null());
    let mut server = server.spawn().map_err(|error| format!("iperf3: {error}"))?;
    std::thread::sleep(Duration::from_millis(300));
    let mut client = within(from);
    client.args(["timeout", "10", "iperf3", "-c", FAR, "-p", "5210", "-J", "-t", &SECONDS.to_string()]);
    let text = said(&mut client, "iperf3");
    drop(server.kill());
    drop(server.wait());
    let report: Value = serde_json::from_str(&text?).map_err(|error| format!("iperf3: {error}"))?;
    report["end"]["sum_received"]["bits_per_second"].as_f64().ok_or_else(|| "iperf3: no figure".to_owned())
}

/// A pair, a bridge and a masquerade, as a person would type them.
fn by_hand(place: &Place) -> Result<Namespace> {
    let inside = Namespace::new()?;
    place.host.sh(&format!(
        "ip link add hand type bridge; ip addr add 10.77.0.1/24 dev hand; ip link set hand up
         ip link add hv0 type veth peer name eth0 netns {}; ip link set hv0 master hand up
         sysctl -qw net.ipv4.ip_forward=1
         nft add table ip hand; nft 'add chain ip hand post {{ type nat hook postrouting priority 100; }}'
         nft add rule ip hand post ip saddr 10.77.0.0/24 oifname out0 masquerade",
        inside.pid()
    ))?;
    inside.sh("ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.77.0.1")?;
    Ok(inside)
}

/// Podman's words before the verb: a store of its own.
pub(super) fn podman(place: &Place, words: &[&str]) -> Command {
    let mut command = within(place.host.pid());
    let directory = place.scratch().join("podman");
    command.args(["timeout", "60", "podman", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
    for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        command.arg(option).arg(directory.join(name));
    }
    command.args(words);
    command
}

fn by_podman(place: &Place) -> Result<u32> {
    let root = place.root.display().to_string();
    let run = [
        "run",
        "-d",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=4096:4096",
        "--name",
        "speed",
        "--network",
        "bridge",
        "--rootfs",
        &root,
        "/wait",
    ];
    said(&mut podman(place, &run), "podman run")?;
    let pid = said(&mut podman(place, &["inspect", "-f", "{{.State.Pid}}", "speed"]), "podman inspect")?;
    pid.parse().map_err(|_| format!("podman: {pid:?} is no process"))
}

pub(super) fn throughput(place: &Place) -> Result<()> {
    let hand = by_hand(place)?;
    let own = place.waiting("speed", &[])?;
    let podman_pid = by_podman(place);
    let mut field = vec![("made by hand", Ok(hand.pid()), Vec::new()), ("cella", Ok(own), Vec::new())];
    field.push(("podman", podman_pid, Vec::new()));
    for _ in 0..ROUNDS {
        for (_, pid, speeds) in &mut field {
            let Ok(from) = pid else { continue };
            match out(*from, place.far.pid()) {
                Ok(speed) => speeds.push(speed / 1e9),
                Err(reason) => *pid = Err(reason),
            }
        }
    }
    println!("### TCP through pair, bridge and address translation\n");
    println!("| | Gbit/s, median of {ROUNDS} | ÷ made by hand |\n|:---|---:|---:|");
    let base = field.first().map_or(f64::NAN, |(_, _, speeds)| median(speeds.clone()));
    for (name, pid, speeds) in field {
        match pid {
            Ok(_) => {
                let own = median(speeds);
                println!("| {name} | {own:.2} | {:.2} |", own / base);
            }
            Err(reason) => println!("| {name} | | n/a: {} |", reason.replace('|', "/")),
        }
    }
    println!();
    drop(said(&mut podman(place, &["rm", "-f", "-t", "0", "speed"]), "podman rm"));
    place.cella(&["rm", "-f", "speed"])?;
    place.host.sh("ip link del hv0; ip link del hand; nft delete table ip hand")?;
    Ok(())
}
