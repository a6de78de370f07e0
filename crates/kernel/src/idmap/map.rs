// SPDX-License-Identifier: Apache-2.0
//! An id map that the kernel will take, and the translation that it is (user_namespaces(7)). Pure: nothing is read or written.

use std::fmt;

use crate::types::IdRange;

/// Lines that the kernel takes in one map (five before Linux 4.15).
pub const MOST_LINES: usize = 340;

/// Bytes that it takes in the one write that sets it: less than a page.
pub const MOST_BYTES: usize = 4095;

/// Ranges of ids inside, and what they are outside. No two overlap on either side.
///
/// ```
/// use kernel::idmap::Map;
/// use kernel::types::IdRange;
///
/// // Root inside is 1000 outside, and 10 to 14 inside are 2000 to 2004.
/// let map = Map::new(vec![
///     IdRange { inside: 0, outside: 1000, count: 1 },
///     IdRange { inside: 10, outside: 2000, count: 5 },
/// ])?;
/// assert_eq!((map.outside(0), map.outside(12), map.outside(15)), (Some(1000), Some(2002), None));
/// assert_eq!((map.inside(1000), map.inside(2004), map.inside(0)), (Some(0), Some(14), None));
/// # Ok::<(), kernel::idmap::BadMap>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    ranges: Vec<IdRange>,
}

/// Why the kernel would not take a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadMap {
    /// It has no line.
    Empty,
    /// It has so many lines.
    TooMany(usize),
    /// It is so many bytes long.
    TooLong(usize),
    /// A line with no id.
    NoIds(IdRange),
    /// A line that goes beyond the last id, 4294967294, on one of its sides.
    PastEnd(IdRange),
    /// Two lines with an id inside in common.
    Inside(IdRange, IdRange),
    /// Two lines with an id outside in common.
    Outside(IdRange, IdRange),
    /// A line of a file that is not three numbers.
    Malformed,
}

impl fmt::Display for BadMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |range: &IdRange| format!("{}:{}:{}", range.inside, range.outside, range.count);
        match self {
            Self::Empty => f.write_str("an id map without a line"),
            Self::TooMany(count) => write!(f, "an id map of {count} lines: the kernel takes {MOST_LINES}"),
            Self::TooLong(bytes) => write!(f, "an id map of {bytes} bytes: the kernel takes {MOST_BYTES}"),
            Self::NoIds(range) => write!(f, "{} maps no id", line(range)),
            Self::PastEnd(range) => write!(f, "{} goes beyond the last id, {}", line(range), u32::MAX - 1),
            Self::Inside(one, other) => write!(f, "{} and {} overlap inside", line(one), line(other)),
            Self::Outside(one, other) => write!(f, "{} and {} overlap outside", line(one), line(other)),
            Self::Malformed => f.write_str("a line that is not three numbers"),
        }
    }
}

impl std::error::Error for BadMap {}

impl Map {
    /// A map of these ranges, which the kernel will take.
    ///
    /// # Errors
    /// Why it would not.
    pub fn new(ranges: Vec<IdRange>) -> Result<Self, BadMap> {
        if ranges.is_empty() {
            return Err(BadMap::Empty);
        }
        if ranges.len() > MOST_LINES {
            return Err(BadMap::TooMany(ranges.len()));
        }
        let ends = |first: u32, count: u32| first.checked_add(count).is_some();
        for range in &ranges {
            if range.count == 0 {
                return Err(BadMap::NoIds(*range));
            }
            if !ends(range.inside, range.count) || !ends(range.outside, range.count) {
                return Err(BadMap::PastEnd(*range));
            }
        }
        if let Some((one, other)) = overlap(&ranges, |range| range.inside) {
            return Err(BadMap::Inside(one, other));
        }
        if let Some((one, other)) = overlap(&ranges, |range| range.outside) {
            return Err(BadMap::Outside(one, other));
        }
        let map = Self { ranges };
        match map.text().len() {
            bytes if bytes > MOST_BYTES => Err(BadMap::TooLong(bytes)),
            _ => Ok(map),
        }
    }

    /// One id inside that is another outside.
    #[must_use]
    pub fn one(inside: u32, outside: u32) -> Self {
        Self { ranges: vec![IdRange { inside, outside, count: 1 }] }
    }

    /// What the kernel shows in `/proc/PID/uid_map` or `gid_map`; nothing is a map that was not set yet.
    ///
    /// # Errors
    /// [`BadMap::Malformed`].
    pub fn parse(text: &str) -> Result<Self, BadMap> {
        let range = |line: &str| {
            let mut words = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
            match (words.next()??, words.next()??, words.next()??, words.next()) {
                (inside, outside, count, None) => Some(IdRange { inside, outside, count }),
                _ => None,
            }
        };
        let ranges = text.lines().map(range).collect::<Option<Vec<_>>>();
        ranges.map(|ranges| Self { ranges }).ok_or(BadMap::Malformed)
    }

    /// Its ranges.
    #[must_use]
    pub fn ranges(&self) -> &[IdRange] {
        &self.ranges
    }

    /// As it is written to the kernel.
    #[must_use]
    pub fn text(&self) -> String {
        self.ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
    }

    /// What an id inside is outside.
    #[must_use]
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| shift(id, range.inside, range.outside, range.count))
    }

    /// What an id outside is inside.
    #[must_use]
    pub fn inside(&self, id: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| shift(id, range.outside, range.inside, range.count))
    }

    /// Is every id that it has what it was?
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.ranges.iter().all(|range| range.inside == range.outside)
    }
}

fn shift(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    id.checked_sub(from)
        .filter(|offset| *offset < count)
        .and_then(|offset| to.checked_add(offset))
        .filter(|id| *id < u32::MAX)
}

/// Two neighbours that have an id in common on the side that `first` tells.
fn overlap(ranges: &[IdRange], first: impl Fn(&IdRange) -> u32) -> Option<(IdRange, IdRange)> {
    let mut sorted: Vec<IdRange> = ranges.to_vec();
    sorted.sort_by_key(&first);
    sorted.windows(2).find_map(|pair| match pair {
        [one, other] if first(other) - first(one) < one.count => Some((*one, *other)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_the_reason() {
        let bad = |ranges: Vec<IdRange>| Map::new(ranges).unwrap_err();
        assert_eq!(bad(vec![]), BadMap::Empty);
        assert_eq!(bad(vec![range(0, 5, 0)]).to_string(), "0:5:0 maps no id");
        assert_eq!(bad(vec![range(0, 0, 10), range(9, 100, 1)]).to_string(), "0:0:10 and 9:100:1 overlap inside");
        assert_eq!(bad(vec![range(5, 10, 1), range(0, 10, 1)]), BadMap::Outside(range(5, 10, 1), range(0, 10, 1)));
        assert_eq!(bad(vec![range(1, 1, u32::MAX)]), BadMap::PastEnd(range(1, 1, u32::MAX)));
        let many = |count: u32| (0..count).map(|n| range(2 * n, 2 * n, 1)).collect::<Vec<_>>();
        assert_eq!(bad(many(341)), BadMap::TooMany(341));
        Map::new(many(340)).unwrap();
        let long = (0..340).map(|n| range(1_000_000_000 + 2 * n, 2_000_000_000 + 2 * n, 1)).collect();
        assert!(matches!(bad(long), BadMap::TooLong(8160)));
        Map::new(vec![range(0, 0, u32::MAX)]).unwrap();
    }

    #[test]
    fn files_of_the_kernel_are_read() {
        let map = Map::parse("         0     100000      65536\n     65536          7          1\n").unwrap();
        assert_eq!((map.outside(65536), map.inside(100_001), map.inside(0)), (Some(7), Some(1), None));
        assert!(Map::parse("").unwrap().ranges().is_empty());
        for bad in ["1 2", "1 2 3 4", "a 1 1", "-1 0 1", "0 0 4294967296"] {
            assert_eq!(Map::parse(bad), Err(BadMap::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(lines in proptest::collection::vec((0..500_u32, 0..500_u32, 0..40_u32), 1..8), id in 0..600_u32) {
            let ranges: Vec<IdRange> = lines.iter().map(|(inside, outside, count)| range(*inside, *outside, *count)).collect();
            let holders = |side: fn(&IdRange) -> u32| ranges.iter().filter(|one| (side(one)..side(one) + one.count).contains(&id)).count();
            match Map::new(ranges.clone()) {
                Ok(map) => {
                    prop_assert!(holders(|one| one.inside) <= 1 && holders(|one| one.outside) <= 1);
                    prop_assert_eq!(Map::parse(&map.text()).unwrap(), map.clone());
                    if let Some(outside) = map.outside(id) {
                        prop_assert_eq!(map.inside(outside), Some(id));
                    }
                    if let Some(inside) = map.inside(id) {
                        prop_assert_eq!(map.outside(inside), Some(id));
                    }
                }
                Err(BadMap::NoIds(one)) => prop_assert_eq!(one.count, 0),
                Err(BadMap::Inside(one, other)) => prop_assert!(one.inside.abs_diff(other.inside) < one.count.max(other.count)),
                Err(BadMap::Outside(one, other)) => prop_assert!(one.outside.abs_diff(other.outside) < one.count.max(other.count)),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn whatever_is_read_does_no_harm(text in "\\PC{0,60}", id in any::<u32>()) {
            if let Ok(map) = Map::parse(&text) {
                prop_assert!(map.outside(id).is_none_or(|outside| outside < u32::MAX));
                prop_assert!(map.inside(id).is_none_or(|inside| inside < u32::MAX));
            }
        }
    }
}
