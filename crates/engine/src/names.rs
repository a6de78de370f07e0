// SPDX-License-Identifier: Apache-2.0
//! Ids, and names for containers that were given none.

use spec::Name;

const FIRST: &[&str] = &[
    "amber", "bold", "brisk", "calm", "clear", "cosy", "deft", "eager", "fair", "fond", "glad", "grand", "keen",
    "kind", "light", "lucid", "merry", "mild", "neat", "noble", "plain", "proud", "quick", "quiet", "rapid", "sharp",
    "silver", "smart", "steady", "sunny", "swift", "warm",
];

const SECOND: &[&str] = &[
    "alder", "badger", "birch", "cedar", "crane", "dove", "egret", "falcon", "fern", "finch", "hazel", "heron", "ibis",
    "iris", "jay", "kestrel", "lark", "linden", "lynx", "maple", "marten", "oak", "osprey", "otter", "pine", "plover",
    "raven", "robin", "rowan", "swan", "willow", "wren",
];

/// A new id: 64 hexadecimal digits of the kernel's randomness.
pub(crate) fn new_id() -> String {
    kernel::time::random::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name made from the id; `attempt` makes it another one.
pub(crate) fn name_for(id: &str, attempt: usize) -> Option<Name> {
    let digits = |at: usize| usize::from_str_radix(id.get(at..at + 4).unwrap_or("0"), 16).unwrap_or(0);
    let (first, second) = (FIRST.get(digits(8) % FIRST.len())?, SECOND.get(digits(12) % SECOND.len())?);
    let text = match attempt {
        0 => format!("{first}-{second}"),
        _ => format!("{first}-{second}-{}", digits(16 + attempt % 8)),
    };
    text.parse().ok()
}
