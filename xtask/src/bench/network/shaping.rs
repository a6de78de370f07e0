// SPDX-License-Identifier: Apache-2.0
//! How exactly a limit is met, and how long a packet waits meanwhile: ours, a bucket that drops (as Incus limits what comes from a
//! container), and a plain tbf.

use super::place::{Namespace, Place, said, within};
use super::speed::goodput;
use crate::Result;

const SECONDS: u32 = 8;

/// Rates, and their bits per second.
const RATES: [(&str, f64); 4] = [("1mbit", 1e6), ("10mbit", 1e7), ("100mbit", 1e8), ("1gbit", 1e9)];

/// From this rate on measurements do not run side by side.
const FAST: f64 = 5e8;

/// Payload to bytes of the link: Ethernet, IPv4, TCP with time stamps.
const HEADERS: f64 = 1514.0 / 1448.0;

/// One cell: from where to where, at what rate.
struct Case {
    rate: (&'static str, f64),
    streams: u32,
    way: &'static str,
    how: &'static str,
    from: u32,
    to: u32,
    /// Where it is sent from.
    address: String,
    /// From whom the wait is asked, and of whom.
    ping: (u32, String),
    port: u16,
}

/// The rate that was met, and how long packets waited in milliseconds: the median and the worst.
fn measure(case: &Case) -> Result<(f64, f64, f64)> {
    std::thread::scope(|scope| {
        let ping = scope.spawn(|| waits(case.ping.0, &case.ping.1));
        let streams = case.streams.to_string();
        let mut options = vec!["-P", streams.as_str(), "-C", "cubic"];
        if case.rate.1 < 2e7 {
            // What the receiver counts comes in blocks.
            options.extend(["-l", "4K"]);
        }
        let speed = goodput(case.from, case.to, &case.address, case.port, SECONDS, &options)? * HEADERS;
        let (median, most) = ping.join().map_err(|_| "ping: panic".to_owned())??;
        Ok((speed / case.rate.1, median, most))
    })
}

fn waits(from: u32, to: &str) -> Result<(f64, f64)> {
    let script = format!("ping -n -i 0.2 -w {SECONDS} {to} | sed -n 's/.*time=\\([0-9.]*\\).*/\\1/p'");
    let text = said(within(from).args(["sh", "-c", &script]), "ping")?;
    let mut times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let most = times.last().copied().unwrap_or(f64::NAN);
    Ok((super::median(times), most))
}

/// A pair made by hand, with tc's tbf to the container and a dropping limit from it.
fn peers(place: &Place, rate: (&str, f64), number: usize) -> Result<(Namespace, String)> {
    let inside = Namespace::new()?;
    let bytes = rate.1 / 8.0;
    place.host.sh(&format!(
        "ip link add ph{number} type veth peer name eth0 netns {}; ip addr add 10.78.{number}.1/24 dev ph{number}
         ip link set ph{number} up
         tc qdisc add dev ph{number} root tbf rate {} burst {} latency 400ms
         nft add table netdev ph{number}
         nft 'add chain netdev ph{number} in {{ type filter hook ingress device ph{number} priority 0; }}'
         nft add rule netdev ph{number} in limit rate over {} bytes/second burst {} bytes drop",
        inside.pid(),
        rate.0,
        (bytes / 100.0).max(32_768.0),
        bytes,
        (bytes / 5.0).max(32_768.0),
    ))?;
    inside.sh(&format!("ip addr add 10.78.{number}.2/24 dev eth0; ip link set eth0 up"))?;
    Ok((inside, format!("10.78.{number}")))
}

pub(super) fn table(place: &Place) -> Result<()> {
    let mut cases = Vec::new();
    let mut namespaces = Vec::new();
    let host = place.host.pid();
    let mut port = 5300;
    for (number, rate) in RATES.into_iter().enumerate() {
        let peer = peers(place, rate, number)?;
        for streams in [1, 8] {
            let name = format!("s{}-{streams}", rate.0);
            let own = place.waiting(&name, &["--net-egress", rate.0, "--net-ingress", rate.0])?;
            let address = Place::address(own)?;
            let gateway = said(within(own).args(["sh", "-c", "ip route show default | cut -d' ' -f3"]), "ip route")?;
            let (inside, net) = (peer.0.pid(), &peer.1);
            for (way, how, from, to, sender, asked) in [
                ("from", "cella", own, host, address.clone(), address.clone()),
                ("to", "cella", host, own, gateway, address),
                ("from", "drops beyond it", inside, host, format!("{net}.2"), format!("{net}.2")),
                ("to", "tbf, 400 ms", host, inside, format!("{net}.1"), format!("{net}.2")),
            ] {
                port += 1;
                cases.push(Case { rate, streams, way, how, from, to, address: sender, ping: (host, asked), port });
            }
        }
        namespaces.push(peer.0);
    }
    println!("### Limits: what was met, and how long a ping beside it took\n");
    println!(
        "| limit | streams | container | how | met | ping, median ms | worst ms |\n|---:|---:|:---|:---|---:|---:|---:|"
    );
    // One at a time on each device; what is slow side by side.
    let mut done: Vec<Option<Result<(f64, f64, f64)>>> = cases.iter().map(|_| None).collect();
    for turn in [("from", 1), ("from", 8), ("to", 1), ("to", 8)] {
        let own = |case: &Case| (case.way, case.streams) == turn;
        std::thread::scope(|scope| {
            let slow = cases.iter().zip(&mut done).filter(|(case, _)| own(case) && case.rate.1 < FAST);
            for (case, cell) in slow {
                scope.spawn(|| *cell = Some(measure(case)));
            }
        });
        for (case, cell) in cases.iter().zip(&mut done).filter(|(case, _)| own(case) && case.rate.1 >= FAST) {
            *cell = Some(measure(case));
        }
    }
    for (case, cell) in cases.iter().zip(done) {
        let head = format!("| {} | {} | {} it | {} |", case.rate.0, case.streams, case.way, case.how);
        match cell.unwrap_or_else(|| Err("not measured".to_owned())) {
            Ok((met, median, most)) => println!("{head} {:.1} % | {median:.1} | {most:.1} |", met * 100.0),
            Err(reason) => println!("{head} n/a: {} | | |", reason.replace('|', "/")),
        }
    }
    println!();
    for rate in RATES {
        for streams in [1, 8] {
            place.cella(&["rm", "-f", &format!("s{}-{streams}", rate.0)])?;
        }
    }
    drop(namespaces);
    Ok(())
}
