// SPDX-License-Identifier: Apache-2.0
//! What nft(8) lists of our tables, compared with a file; the order of the rules is part of what we promise.

use crate::support::{Space, can_run, example, in_order};

#[test]
fn listed_as_written_down() {
    if !can_run("listed_as_written_down") {
        return;
    }
    let space = Space::new();
    space.firewall().replace(&example()).unwrap();
    let found = in_order(&space.nft("-s list ruleset"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/firewall/golden.nft");
    if std::env::var_os("CELLA_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap();
    for (at, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "line {} of golden.nft", at + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count());
}
