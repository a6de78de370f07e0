// SPDX-License-Identifier: Apache-2.0
//! Measures the network set-up of a container, step by step: median and worst of 100 times, in microseconds. Needs root; all
//! devices are in network namespaces of its own.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use kernel::address::{self, Address};
use kernel::link::{self, Bridge, Change, Kind, New, Peer, Port};
use kernel::namespace;
use kernel::netlink::{Family, Socket};
use kernel::route::{self, Route};
use kernel::traffic::{self, Action, Class, Direction, Discipline, Filter, Handle, Hook, How, Match, Place, Queue};
use kernel::{Result, net};

const TIMES: u32 = 100;

/// What each step took, in microseconds.
#[derive(Default)]
struct Clock(BTreeMap<&'static str, Vec<u128>>);

impl Clock {
    fn time<T>(&mut self, step: &'static str, act: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = act();
        self.0.entry(step).or_default().push(start.elapsed().as_micros());
        done
    }

    fn print(&mut self) {
        for (step, times) in &mut self.0 {
            times.sort_unstable();
            let at = |index: usize| times.get(index).copied().unwrap_or(0);
            println!("{step:32} median {:6} worst {:6}", at(times.len() / 2), at(times.len() - 1));
        }
    }
}

fn main() -> Result<()> {
    let host = namespace::new_network()?;
    let mut socket = Socket::open_in(&host, Family::Route)?;
    link::create(&mut socket, &New { up: true, ..New::of("br0", Kind::Bridge(Bridge::default())) })?;
    let bridge = index(&mut socket, "br0")?;
    let mut clock = Clock::default();
    for number in 0..TIMES {
        let inside = clock.time("0 new namespace", namespace::new_network)?;
        let start = Instant::now();
        connect(&mut clock, &mut socket, bridge, number, &inside.namespace)?;
        clock.0.entry("9 network (1 to 6)").or_default().push(start.elapsed().as_micros());
        shape(&mut clock, &mut socket, number)?;
        let device = index(&mut socket, &format!("web{number}"))?;
        // Half of them stay, as on a host with many containers.
        if number % 2 == 0 {
            clock.time("8 delete", || link::delete(&mut socket, device))?;
        }
    }
    clock.print();
    Ok(())
}

fn index(socket: &mut Socket, name: &str) -> Result<u32> {
    let missing = || kernel::Error::new(format!("find {name}"), kernel::Errno::NODEV);
    Ok(link::find(socket, name)?.ok_or_else(missing)?.index)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

/// A cable from the bridge into the namespace, with addresses and routes there.
fn connect(
    clock: &mut Clock,
    host: &mut Socket,
    bridge: u32,
    number: u32,
    inside: &std::os::fd::OwnedFd,
) -> Result<()> {
    let name = format!("web{number}");
    let peer = Peer { name: "eth0", mac: Some([2, 0, 0, 0, 1, 5]), mtu: Some(1400), namespace: Some(inside.as_fd()) };
    let new = New { mtu: Some(1400), master: Some(bridge), ..New::of(&name, Kind::Veth(peer)) };
    clock.time("1 veth, its peer, master", || link::create(host, &new))?;
    let device = clock.time("2 find it", || index(host, &name))?;
    let port = Port { isolated: Some(true), bpdu_guard: Some(true), ..Port::default() };
    let change = Change { port: Some(port), up: Some(true), ..Change::default() };
    clock.time("3 port flags, up", || link::set(host, device, &change))?;
    let mut socket = clock.time("4 socket inside", || Socket::open_in(inside, Family::Route))?;
    let eth0 = clock.time("4a find eth0", || index(&mut socket, "eth0"))?;
    let up = Change { up: Some(true), ..Change::default() };
    clock.time("4b lo up", || link::set(&mut socket, 1, &up))?;
    clock.time("4c eth0 up", || link::set(&mut socket, eth0, &up))?;
    clock.time("5 two addresses", || {
        address::add(&mut socket, &Address::new(eth0, ip("10.9.0.2"), 16))?;
        address::add(&mut socket, &Address::new(eth0, ip("fd00:9::2"), 64))
    })?;
    clock.time("6 two routes", || {
        route::add(&mut socket, &Route::default_by(ip("10.9.0.1")))?;
        route::add(&mut socket, &Route::default_by(ip("fd00:9::1")))
    })?;
    let settings: &[(&[&str], &str)] =
        &[(&["ipv4", "ip_unprivileged_port_start"], "0"), (&["ipv6", "conf", "eth0", "accept_ra"], "0")];
    clock.time("6a two settings", || net::set_sysctls_in(inside, settings))
}

/// Limits for both ways.
fn shape(clock: &mut Clock, host: &mut Socket, number: u32) -> Result<()> {
    let (name, place) = (format!("ifb{number}"), format!("web{number}"));
    clock.time("7 limits: ifb", || {
        link::create(host, &New { up: true, queue: Some(1000), ..New::of(&name, Kind::Ifb) })
    })?;
    let (ifb, device) = (index(host, &name)?, index(host, &place)?);
    clock.time("7a limits: queues, classes", || {
        let discipline = Discipline::Htb { default: 1, direct_queue: None };
        let (rate, burst) = (12_500_000, 262_144);
        let class = Class { rate, ceil: rate, burst, ceil_burst: burst, priority: 0, quantum: Some(15_000) };
        for device in [ifb, device] {
            traffic::put_queue(host, How::Add, &Queue { device, place: Place::Root, major: Some(1), discipline })?;
            traffic::put_class(host, How::Add, device, Handle::new(1, 0), Handle::new(1, 1), &class)?;
        }
        Ok::<_, kernel::Error>(())
    })?;
    let actions = [Action::Redirect { device: ifb, to: Direction::Out }];
    let filter =
        Filter { device, hook: Hook::Ingress, priority: 1, matching: Match::All, class: None, actions: &actions };
    clock.time("7b limits: hooks, filter", || {
        traffic::add_hooks(host, device)?;
        traffic::add_filter(host, &filter)
    })
}
