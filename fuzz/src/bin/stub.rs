// SPDX-License-Identifier: Apache-2.0
//! Bytes to `stub::wire::Program`, of which everything is then read, at places that exist and at places that do not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stub::wire::{Operation, Program};

/// Bytes at the end of the input that are taken for one more offset.
const LAST: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let Some(program) = Program::new(bytes) else { return };
    assert!(program.arena_start() <= bytes.len());
    assert_eq!(program.is_empty(), program.operation(0).is_none());
    for number in around(program.slots()) {
        assert_eq!(program.slot(number).is_some(), number < program.slots());
    }
    for number in around(program.len()) {
        let operation = program.operation(number);
        assert_eq!(operation.is_some(), number < program.len());
        let Some(Operation { operands, .. }) = operation else { continue };
        for (at, length) in operands.into_iter().zip(operands.into_iter().cycle().skip(1)) {
            read(&program, at, length);
        }
    }
    let arena = (bytes.len() - program.arena_start()) as u64;
    let last = bytes.last_chunk::<LAST>().map_or(0, |word| u64::from_le_bytes(*word));
    for at in [0, 1, 8, arena.wrapping_sub(8), arena.wrapping_sub(1), arena, u64::MAX - 7, u64::MAX, last] {
        for length in [0, 1, 8, arena, u64::MAX - at, u64::MAX, last] {
            read(&program, at, length);
        }
    }
});

/// The first ones, those about the end, and some that cannot be.
fn around(count: usize) -> impl Iterator<Item = usize> {
    let end = count.saturating_sub(2)..count + 3;
    (0..count.min(64)).chain(end).chain([usize::MAX / 56, usize::MAX / 4, usize::MAX / 4 + 1, usize::MAX])
}

/// Reads a place as each of the things that can be there.
fn read(program: &Program<'_>, at: u64, length: u64) {
    if let Some(bytes) = program.bytes(at, length) {
        assert_eq!(bytes.len() as u64, length);
    }
    if let Some((end, inside)) = program.text(at).and_then(<[u8]>::split_last) {
        assert!(*end == 0 && !inside.contains(&0));
    }
    let texts =
        program.list(at).map(|one| program.text(one).is_some()).fold((0, true), |(n, all), one| (n + 1, all && one));
    if program.is_list(at) {
        assert!(texts.1, "an element that is no text");
        assert_eq!(program.bytes(at + texts.0 * 8, 8), Some(&[0; 8][..]));
    }
}
