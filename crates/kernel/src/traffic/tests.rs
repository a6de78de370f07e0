// SPDX-License-Identifier: Apache-2.0
//! Tests of traffic control, each in a network namespace of its own.

use super::*;
use crate::address::{self, Address};
use crate::link::tests::Scratch;
use crate::link::{self, Kind, New};
use crate::netlink::within;

const MEGABIT: u64 = 125_000;

fn htb(device: u32) -> Queue {
    Queue {
        device,
        place: Place::Root,
        major: Some(1),
        discipline: Discipline::Htb { default: 0x10, direct_queue: None },
    }
}

fn class(rate: u64, ceil: u64) -> Class {
    Class { rate, ceil, burst: 262_144, ceil_burst: 131_072, priority: 3, quantum: Some(15_000) }
}

#[test]
fn a_burst_is_the_time_that_it_takes() {
    assert_eq!(ticks(262_144, 100 * MEGABIT), 327_680);
    assert_eq!(bytes_in(327_680, 100 * MEGABIT), 262_144);
    assert_eq!((ticks(u32::MAX, 1), ticks(1, 0)), (u32::MAX, 15_625_000));
}

#[test]
fn tc_shows_the_rates_of_classes() {
    let Some(mut scratch) = Scratch::new("tc_shows_the_rates_of_classes") else { return };
    let device = scratch.device("d0");
    let socket = &mut scratch.socket;
    put_queue(socket, How::Add, &htb(device)).unwrap();
    assert!(put_queue(socket, How::Add, &htb(device)).unwrap_err().is(Errno::EXIST));
    let [root, parent, child] = [0, 1, 0x10].map(|minor| Handle::new(1, minor));
    let fast = class(80_000 * MEGABIT, 100_000 * MEGABIT);
    put_class(socket, How::Add, device, root, parent, &fast).unwrap();
    put_class(socket, How::Add, device, parent, child, &class(30 * MEGABIT, 100 * MEGABIT)).unwrap();
    let leaf = Discipline::Fifo { packets: 500 };
    put_queue(socket, How::Add, &Queue { device, place: Place::Class(child), major: None, discipline: leaf }).unwrap();
    let shown = scratch.run("tc", &["class", "show", "dev", "d0"]);
    assert!(shown.contains("class htb 1:1 root rate 80Gbit ceil 100Gbit"), "{shown}");
    let expected = "prio 3 rate 30Mbit ceil 100Mbit burst 256Kb cburst 128Kb";
    assert!(shown.contains("class htb 1:10 parent 1:1 leaf") && shown.contains(expected), "{shown}");
    assert!(scratch.run("tc", &["qdisc", "show", "dev", "d0"]).contains("parent 1:10 limit 500p"));
    let socket = &mut scratch.socket;
    put_class(socket, How::Change, device, parent, child, &class(20 * MEGABIT, 50 * MEGABIT)).unwrap();
    let found = classes(socket, device).unwrap();
    let one = found.iter().find(|one| one.handle == child).unwrap();
    assert_eq!((one.place, one.class), (Place::Class(parent), class(20 * MEGABIT, 50 * MEGABIT)));
    let other = found.iter().find(|one| one.handle == parent).unwrap();
    assert_eq!((other.place, other.class.rate, other.class.ceil), (Place::Root, fast.rate, fast.ceil));
    assert!(put_class(socket, How::Change, device, root, Handle::new(1, 9), &fast).is_err());
    assert!(delete_class(socket, device, parent).unwrap_err().is(Errno::BUSY));
    delete_class(socket, device, child).unwrap();
    delete_queue(socket, device, Place::Root).unwrap();
    assert_eq!((queue(socket, device, Place::Root).unwrap(), classes(socket, device).unwrap()), (None, vec![]));
}

#[test]
fn every_discipline_is_there_or_not_supported() {
    let Some(mut scratch) = Scratch::new("every_discipline_is_there_or_not_supported") else { return };
    let device = scratch.device("d0");
    let rate = 10 * MEGABIT;
    let cases = [
        (Discipline::Tbf { rate, burst: 65_536, limit: 300_000 }, "rate 10Mbit burst 64Kb lat 18"),
        (Discipline::Tbf { rate: 80_000 * MEGABIT, burst: 1 << 20, limit: 4 << 20 }, "rate 80Gbit burst 10"),
        (Discipline::Fifo { packets: 77 }, "limit 77p"),
        (Discipline::ByteFifo { bytes: 7_777 }, "limit 7777b"),
        (Discipline::FqCodel { packets: Some(99) }, "limit 99p"),
    ];
    for (discipline, expected) in cases {
        let queue = Queue { device, place: Place::Root, major: Some(7), discipline };
        match put_queue(&mut scratch.socket, How::Replace, &queue) {
            Err(error) if error.is_unsupported() => println!("this kernel lacks {discipline:?}"),
            other => {
                other.unwrap();
                let shown = scratch.run("tc", &["qdisc", "show", "dev", "d0"]);
                assert!(shown.contains(expected), "{expected}: {shown}");
                let found = super::queue(&mut scratch.socket, device, Place::Root).unwrap().unwrap();
                assert_eq!((found.handle, found.place), (Handle::new(7, 0), Some(Place::Root)));
                delete_queue(&mut scratch.socket, device, Place::Root).unwrap();
            }
        }
    }
    assert!(delete_queue(&mut scratch.socket, device, Place::Root).unwrap_err().is(Errno::NOENT));
}

/// What comes in at one device waits in an ifb: the way of all limits of what a container sends.
#[test]
fn what_comes_in_is_shaped_elsewhere() {
    let Some(mut scratch) = Scratch::new("what_comes_in_is_shaped_elsewhere") else { return };
    let mut inside = Scratch::new("").unwrap();
    let peer =
        link::Peer { name: "eth0", mac: None, mtu: None, namespace: Some(std::os::fd::AsFd::as_fd(&inside.namespace)) };
    let socket = &mut scratch.socket;
    link::create(socket, &New { up: true, ..New::of("d0", Kind::Veth(peer)) }).unwrap();
    link::create(socket, &New { up: true, queue: Some(1000), ..New::of("ifb0", Kind::Ifb) }).unwrap();
    let device = link::find(socket, "d0").unwrap().unwrap().index;
    let ifb = link::find(socket, "ifb0").unwrap().unwrap().index;
    let eth0 = link::find(&mut inside.socket, "eth0").unwrap().unwrap().index;
    link::set(&mut inside.socket, eth0, &link::Change { up: Some(true), ..Default::default() }).unwrap();
    put_queue(socket, How::Add, &htb(ifb)).unwrap();
    // 100 kB/s with 4 kB at once: 40 kB take 360 ms.
    let slow = Class { burst: 4_000, ceil_burst: 4_000, ..class(100_000, 100_000) };
    put_class(socket, How::Add, ifb, Handle::new(1, 0), Handle::new(1, 0x10), &slow).unwrap();
    add_hooks(socket, device).unwrap();
    assert!(add_hooks(socket, device).unwrap_err().is(Errno::EXIST));
    let actions = [Action::Redirect { device: ifb, to: Direction::Out }];
    let filter =
        Filter { device, hook: Hook::Ingress, priority: 5, matching: Match::All, class: None, actions: &actions };
    add_filter(socket, &filter).unwrap();
    let found = filters(socket, device, Hook::Ingress).unwrap();
    assert_eq!(found.iter().map(|one| one.priority).collect::<Vec<_>>(), [5], "{found:?}");
    for (socket, device, ip) in [(socket, device, "10.9.0.1"), (&mut inside.socket, eth0, "10.9.0.2")] {
        address::add(socket, &Address::new(device, ip.parse().unwrap(), 24)).unwrap();
    }
    let server = within(&scratch.namespace, || std::net::UdpSocket::bind("10.9.0.1:7000").unwrap()).unwrap();
    let client = within(&inside.namespace, || std::net::UdpSocket::bind("10.9.0.2:0").unwrap()).unwrap();
    let (start, mut buffer) = (std::time::Instant::now(), [0; 1500]);
    for _ in 0..40 {
        client.send_to(&[7; 1000], "10.9.0.1:7000").unwrap();
    }
    server.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    for _ in 0..40 {
        server.recv(&mut buffer).unwrap();
    }
    let took = start.elapsed().as_millis();
    assert!((330..1500).contains(&took), "{took} ms");
    let state = &classes(&mut scratch.socket, ifb).unwrap()[0];
    assert!(state.counters.bytes > 40_000 && state.counters.packets >= 40, "{state:?}");
    assert!(queue(&mut scratch.socket, ifb, Place::Root).unwrap().unwrap().counters.overlimits > 0);
    delete_filters(&mut scratch.socket, device, Hook::Ingress, 5).unwrap();
    assert_eq!(filters(&mut scratch.socket, device, Hook::Ingress).unwrap(), []);
    delete_hooks(&mut scratch.socket, device).unwrap();
    assert_eq!(queues(&mut scratch.socket, device).unwrap().len(), 1);
}

#[test]
fn tc_shows_the_filters() {
    let Some(mut scratch) = Scratch::new("tc_shows_the_filters") else { return };
    let (device, other) = (scratch.device("d0"), scratch.device("d1"));
    let socket = &mut scratch.socket;
    add_hooks(socket, device).unwrap();
    put_queue(socket, How::Add, &htb(device)).unwrap();
    let root = Handle::new(1, 0);
    put_class(socket, How::Add, device, root, Handle::new(1, 0x10), &class(MEGABIT, MEGABIT)).unwrap();
    let plain =
        Filter { device, hook: Hook::Queue(root), priority: 1, matching: Match::All, class: None, actions: &[] };
    let class = Some(Handle::new(1, 0x10));
    let from = Match::From("10.9.0.77".parse().unwrap(), 24);
    add_filter(socket, &Filter { matching: from, class, ..plain }).unwrap();
    let to = Match::To("fd00:9:8:7::77".parse().unwrap(), 56);
    add_filter(socket, &Filter { matching: to, class, priority: 2, ..plain }).unwrap();
    let actions = [Action::Redirect { device: other, to: Direction::In }];
    add_filter(socket, &Filter { hook: Hook::Egress, actions: &actions, ..plain }).unwrap();
    assert_eq!(filters(socket, device, Hook::Queue(root)).unwrap().len(), 2);
    let shown = scratch.run("tc", &["filter", "show", "dev", "d0", "parent", "1:"]);
    assert!(shown.contains("flowid 1:10") && shown.contains("match 0a090000/ffffff00 at 12"), "{shown}");
    assert!(shown.contains("match fd000009/ffffffff at 24 match 00080000/ffffff00 at 28"), "{shown}");
    let shown = scratch.run("tc", &["filter", "show", "dev", "d0", "egress"]);
    assert!(shown.contains("mirred (Ingress Redirect to device d1)"), "{shown}");
    let limit = [Action::Limit { packets: 1000, burst: 100 }, actions[0]];
    let socket = &mut scratch.socket;
    for unsure in [
        Filter { hook: Hook::Ingress, actions: &limit, ..plain },
        Filter { matching: Match::Mark(7), priority: 9, class, ..plain },
    ] {
        match add_filter(socket, &unsure) {
            Err(error) if error.is_unsupported() => println!("this kernel lacks it: {error}"),
            other => other.unwrap(),
        }
    }
    assert!(delete_filters(socket, other, Hook::Ingress, 5).is_err());
}
