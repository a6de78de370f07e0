// SPDX-License-Identifier: Apache-2.0
//! Changes: in small steps they lead to the same as all at once, and what belongs to others is left alone.

use network::firewall::{Error, Protocol, Rules};

use crate::support::{Space, can_run, example, in_order, net, port, publication};

/// The contents of our tables: sets and rules in their order, elements sorted.
fn contents(space: &Space) -> Vec<String> {
    let tables = ["inet", "bridge", "arp"].map(|family| space.nft(&format!("-s list table {family} cella")));
    tables.iter().flat_map(|text| in_order(text).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn small_steps_lead_to_the_same() {
    if !can_run("small_steps_lead_to_the_same") {
        return;
    }
    let (steps, whole) = (Space::new(), Space::new());
    let all = example();
    let mut firewall = steps.firewall();
    firewall.replace(&Rules::default()).unwrap();
    let empty = contents(&steps);
    let nothing = Rules::default();
    let one_by_one: Vec<Rules> = (all.nets.iter().map(|net| Rules { nets: vec![net.clone()], ..Rules::default() }))
        .chain(all.ports.iter().map(|port| Rules { ports: vec![port.clone()], ..Rules::default() }))
        .chain(all.publications.iter().map(|one| Rules { publications: vec![one.clone()], ..Rules::default() }))
        .collect();
    // In an order of its own for each seed: what was there before and is gone leaves nothing behind.
    for seed in 0..8_usize {
        let order = |at: usize| (at * 7 + seed * 5) % one_by_one.len();
        for at in 0..one_by_one.len() {
            firewall.change(&one_by_one[order(at)], &nothing).unwrap();
        }
        for at in 0..seed.min(one_by_one.len()) {
            let one = &one_by_one[order(at)];
            firewall.change(&nothing, one).unwrap();
            firewall.change(one, &nothing).unwrap();
            // Both at once.
            firewall.change(one, one).unwrap();
        }
        whole.firewall().replace(&all).unwrap();
        assert_eq!(contents(&steps), contents(&whole), "seed {seed}");
        for at in (0..one_by_one.len()).rev() {
            firewall.change(&nothing, &one_by_one[order(at)]).unwrap();
        }
        assert_eq!(contents(&steps), empty, "seed {seed}");
    }
}

#[test]
fn what_fails_changes_nothing_and_says_what_it_was() {
    if !can_run("what_fails_changes_nothing_and_says_what_it_was") {
        return;
    }
    let space = Space::new();
    let mut firewall = space.firewall();
    assert!(!firewall.is_there().unwrap());
    let one = |to| Rules { publications: vec![publication(None, 80, Protocol::Tcp, to, 80)], ..Rules::default() };
    let failed = firewall.change(&one("10.1.0.2"), &Rules::default()).unwrap_err().to_string();
    assert_eq!(failed, "nf_tables: add to inet cella any4: one of 1 elements: ENOENT (No such file or directory)");
    firewall.replace(&example()).unwrap();
    assert!(firewall.is_there().unwrap());
    let before = contents(&space);
    let mut add = one("10.1.0.3");
    add.publications.insert(0, publication(None, 81, Protocol::Tcp, "10.1.0.2", 81));
    add.publications.push(publication(None, 8080, Protocol::Tcp, "10.1.0.3", 80));
    add.nets.push(net("br-new", &["10.9.0.0/24"]));
    let failed = firewall.change(&add, &Rules::default()).unwrap_err();
    assert!(matches!(&failed, Error::Kernel(error) if error.is(kernel::Errno::EXIST)));
    assert_eq!(failed.to_string(), "nf_tables: add to inet cella any4: 6 . 8080: EEXIST (File exists)");
    let gone = Rules { ports: vec![port("veth-x", None, 9, &[])], ..Rules::default() };
    let failed = firewall.change(&Rules::default(), &gone).unwrap_err().to_string();
    assert!(failed.contains("\"veth-x\"") && failed.contains("ENOENT"), "{failed}");
    assert_eq!(contents(&space), before);
    // The answers to what failed are not taken for answers to what comes next.
    firewall.change(&one("10.1.0.3"), &Rules::default()).unwrap();
    space.nft("flush ruleset");
    assert!(!firewall.is_there().unwrap());
    firewall.remove().unwrap();
    firewall.replace(&example()).unwrap();
    firewall.remove().unwrap();
    assert_eq!(space.nft("list ruleset"), "");
}

#[test]
fn what_belongs_to_others_stays() {
    if !can_run("what_belongs_to_others_stays") {
        return;
    }
    let space = Space::new();
    let file = "
        table inet theirs {
            set friends { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.7 }; }
            chain first { type filter hook prerouting priority -2000; ip saddr @friends counter accept; }
            chain nat { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :80; }
        }
        table bridge cella2 { chain every { type filter hook prerouting priority -1000; counter accept; }; }
        table ip cella { chain input { type filter hook input priority 0; counter accept; }; }";
    space.run("nft", &[file]);
    let before = space.nft("-a list ruleset");
    let theirs = || -> String {
        ["inet theirs", "bridge cella2", "ip cella"].map(|table| space.nft(&format!("-a list table {table}"))).concat()
    };
    let lists = theirs();
    let mut firewall = space.firewall();
    let more = Rules { ports: vec![port("veth-n", Some("br-web"), 8, &["10.1.0.9"])], ..Rules::default() };
    firewall.replace(&example()).unwrap();
    assert_eq!(theirs(), lists);
    firewall.change(&more, &Rules::default()).unwrap();
    firewall.change(&Rules::default(), &more).unwrap();
    assert_eq!(theirs(), lists);
    firewall.remove().unwrap();
    assert_eq!(space.nft("-a list ruleset"), before);
}
