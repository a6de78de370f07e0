// SPDX-License-Identifier: Apache-2.0
//! How long transactions take: many published ports at once, and one container more among many.

use std::time::{Duration, Instant};

use network::firewall::{Firewall, Protocol, Rules};

use crate::support::{Space, can_run, net, port, publication};

/// The best of some: how much this machine needs when nobody else is at work.
fn best(mut act: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| act()).min().unwrap()
}

fn taken(firewall: &mut Firewall, add: &Rules, remove: &Rules) -> Duration {
    let start = Instant::now();
    firewall.change(add, remove).unwrap();
    start.elapsed()
}

#[test]
fn a_thousand_publications_are_one_short_transaction() {
    if !can_run("a_thousand_publications_are_one_short_transaction") {
        return;
    }
    let space = Space::new();
    let mut firewall = space.firewall();
    let nothing = Rules::default();
    firewall.replace(&nothing).unwrap();
    let publications = (0..1000).map(|n| publication(None, 10_000 + n, Protocol::Tcp, "10.1.0.2", 10_000 + n));
    let thousand = Rules { publications: publications.collect(), ..Rules::default() };
    let add = best(|| {
        let time = taken(&mut firewall, &thousand, &nothing);
        firewall.change(&nothing, &thousand).unwrap();
        time
    });
    println!("1,000 publications in one transaction: {add:?}");
    assert!(add < Duration::from_millis(50), "{add:?}");
}

#[test]
fn one_more_among_many_costs_as_much_as_the_first() {
    if !can_run("one_more_among_many_costs_as_much_as_the_first") {
        return;
    }
    let space = Space::new();
    let mut firewall = space.firewall();
    let nothing = Rules::default();
    let many = |count: u16| Rules {
        nets: vec![net("br0", &["10.0.0.0/8", "fd00::/64"])],
        ports: (0..count)
            .map(|n| port(&format!("veth{n}"), Some("br0"), 1, &[&format!("10.1.{}.{}", n / 256, n % 256)]))
            .collect(),
        publications: (0..count).map(|n| publication(None, n + 1, Protocol::Tcp, "10.1.0.2", 80)).collect(),
    };
    let one = Rules {
        ports: vec![port("new", Some("br0"), 7, &["10.2.0.2", "fd00::9"])],
        publications: vec![publication(None, 9999, Protocol::Tcp, "10.2.0.2", 80)],
        ..Rules::default()
    };
    let mut times = Vec::new();
    for count in [0, 5000] {
        let start = Instant::now();
        firewall.replace(&many(count)).unwrap();
        println!("replace with {count} containers, each with a published port: {:?}", start.elapsed());
        let time = best(|| {
            let time = taken(&mut firewall, &one, &nothing);
            firewall.change(&nothing, &one).unwrap();
            time
        });
        println!("one container more among {count}: {time:?}");
        times.push(time);
    }
    assert!(times[1] < times[0] * 4 + Duration::from_millis(5), "{times:?}");
    let traffic = firewall.traffic().unwrap();
    assert_eq!(traffic.len(), 5000);
}

/// Each routed container has a network's entry of its own in sets of ranges, which the kernel copies for each change.
#[test]
fn many_routed_containers() {
    if !can_run("many_routed_containers") {
        return;
    }
    let space = Space::new();
    let mut firewall = space.firewall();
    let some = |numbers: std::ops::Range<u16>| Rules {
        nets: numbers.clone().map(|n| net(&format!("r{n}"), &["10.3.0.0/16", "fd00:3::/64"])).collect(),
        ports: numbers.map(|n| port(&format!("r{n}"), None, 1, &[&format!("10.3.{}.{}", n / 256, n % 256)])).collect(),
        publications: Vec::new(),
    };
    let start = Instant::now();
    firewall.replace(&some(0..1000)).unwrap();
    println!("replace with 1,000 routed containers: {:?}", start.elapsed());
    let (one, nothing) = (some(1000..1001), Rules::default());
    let time = best(|| {
        let time = taken(&mut firewall, &one, &nothing);
        firewall.change(&nothing, &one).unwrap();
        time
    });
    println!("one routed container more among 1,000: {time:?}");
    assert!(time < Duration::from_millis(50), "{time:?}");
}
