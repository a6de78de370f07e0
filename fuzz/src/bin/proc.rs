// SPDX-License-Identifier: Apache-2.0
//! Files of /proc as bytes, to the readers of `cella ns`: which of them is the first byte.
#![no_main]

use kernel::idmap::{MOST_BYTES, MOST_LINES, Map};
use kernel::namespace::{NamespaceSet, parse_link};
use kernel::survey::Brief;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, file)) = bytes.split_first() else { return };
    match how & 3 {
        0 => stat(file),
        1 => {
            let Some((kind, inode)) = parse_link(file) else { return };
            assert!(parse_link(format!("{kind}:[{inode}]").as_bytes()) == Some((kind, inode)));
        }
        2 => {
            let Ok(set) = String::from_utf8_lossy(file).parse::<NamespaceSet>() else { return };
            assert!(!set.is_empty() && set.to_string().parse() == Ok(set));
        }
        _ => map(&String::from_utf8_lossy(file)),
    }
});

/// Whatever stands before the last bracket is a name.
fn stat(file: &[u8]) {
    let Some(brief) = Brief::parse(file) else { return };
    let end = file.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    assert!(Brief::parse(&[b"1 (x) S 9 9 (", &file[end..]].concat()) == Some(brief));
}

fn map(text: &str) {
    let Ok(read) = Map::parse(text) else { return };
    assert!(Map::parse(&read.text()) == Ok(read.clone()));
    let Ok(map) = Map::new(read.ranges().to_vec()) else { return };
    assert!(map.ranges().len() <= MOST_LINES && map.text().len() <= MOST_BYTES);
    for range in map.ranges() {
        for id in [range.inside, range.inside + (range.count - 1)] {
            let outside = map.outside(id);
            assert!(outside.and_then(|outside| map.inside(outside)) == Some(id), "{id} is {outside:?}");
        }
    }
}
