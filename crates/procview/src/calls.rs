// SPDX-License-Identifier: Apache-2.0
//! Answers system calls with what the container's own files say: sysinfo(2), which programs of busybox and musl ask for memory
//! and glibc for the number of pages, and sched_getaffinity(2), by which nproc, Go, Rust, Java and musl count processors.

use std::sync::Arc;

use kernel::seccomp::{Listener, Waiting};
use kernel::{Errno, Result};

use crate::content::{Content, SysInfo};

/// The calls that a filter is to leave to the view.
pub const CALLS: [&str; 2] = ["sysinfo", "sched_getaffinity"];

const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;

/// The bit of x32's numbers.
const X32: i32 = 0x4000_0000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Wide,
    Narrow,
    Affinity,
    /// Something that nobody here knows, or that is well answered by the kernel.
    Other,
}

const fn asked(architecture: u32, number: i32) -> Asked {
    match (architecture, number) {
        (AUDIT_ARCH_X86_64, number) if number & !X32 == 99 => Asked::Wide,
        (AUDIT_ARCH_X86_64, number) if number & !X32 == 204 => Asked::Affinity,
        (AUDIT_ARCH_AARCH64, 179) => Asked::Wide,
        (AUDIT_ARCH_AARCH64, 123) => Asked::Affinity,
        (AUDIT_ARCH_I386 | AUDIT_ARCH_ARM, 116) => Asked::Narrow,
        _ => Asked::Other,
    }
}

/// What is written to whom.
pub(crate) struct Answer {
    pub(crate) listener: Arc<Listener>,
    pub(crate) waiting: Waiting,
    address: u64,
    bytes: Vec<u8>,
    value: i64,
}

/// Makes the answer to a call; `None` when the kernel's own was asked for.
pub(crate) fn answer(listener: &Arc<Listener>, waiting: &Waiting, content: &mut Content) -> Result<Option<Answer>> {
    let [address, ..] = waiting.arguments;
    let answer = match asked(waiting.architecture, waiting.number) {
        Asked::Wide => Some((address, wide(&content.memory_sysinfo()), 0)),
        Asked::Narrow => Some((address, narrow(&content.memory_sysinfo()), 0)),
        Asked::Affinity => affinity(waiting, content),
        Asked::Other => None,
    };
    let Some((address, bytes, value)) = answer else {
        listener.let_through(waiting.id)?;
        return Ok(None);
    };
    Ok(Some(Answer { listener: Arc::clone(listener), waiting: *waiting, address, bytes, value }))
}

impl Answer {
    /// Writes it and lets the caller go on. Where the caller's memory is a mapping of a file, this waits for who serves that:
    /// the worker itself, if it is of the view. So it is not the worker's own thread that does this.
    pub(crate) fn give(&self) {
        let id = self.waiting.id;
        let given = match self.listener.write(&self.waiting, self.address, &self.bytes) {
            Ok(()) => self.listener.answer(id, Ok(self.value)),
            Err(error) if error.is(Errno::FAULT) => self.listener.answer(id, Err(Errno::FAULT)),
            // What the kernel says is better than an error. Nothing was decided on by what stands in the caller's memory.
            Err(_) => self.listener.let_through(id),
        };
        // Who does not wait any more needs no answer.
        given.ok();
    }
}

/// The mask of the thread that asks about itself: of those that it may run on as many as it sees. `None` when the kernel's own
/// answer is the same, or an error, or somebody asks about others.
fn affinity(waiting: &Waiting, content: &mut Content) -> Option<(u64, Vec<u8>, i64)> {
    let [of, length, address, ..] = waiting.arguments;
    let thread = i32::try_from(waiting.pid).ok()?;
    // The kernel looks at 32 bits of either.
    let (of, length) = (of as u32, length as u32);
    let is_own =
        || kernel::procfs::process(thread).is_ok_and(|own| own.pids.last().map(|pid| pid.cast_unsigned()) == Some(of));
    if of != 0 && !is_own() {
        return None;
    }
    let seen = content.processors().len();
    let mask = kernel::process::affinity(thread, usize::try_from(length).ok()?).ok()?;
    let shown = first(&mask, seen)?;
    let value = i64::try_from(shown.len()).ok()?;
    Some((address, shown, value))
}

/// The first `count` bits of a mask that are set, at least one; `None` when there are no more.
fn first(mask: &[u8], count: usize) -> Option<Vec<u8>> {
    let set: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let mut left = count.max(1);
    if usize::try_from(set).is_ok_and(|set| set <= left) {
        return None;
    }
    let keep = |byte: &u8| {
        let bits = (0..8).map(|bit| 1_u8 << bit).filter(|bit| byte & bit != 0);
        let kept: Vec<u8> = bits.take(left).collect();
        left -= kept.len();
        kept.into_iter().sum()
    };
    Some(mask.iter().map(keep).collect())
}

/// `struct sysinfo` of a 64-bit program.
fn wide(info: &SysInfo) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(112);
    let [one, five, fifteen] = info.loads;
    let words = [
        info.uptime_s,
        one,
        five,
        fifteen,
        info.total_ram,
        info.free_ram,
        info.shared_ram,
        info.buffer_ram,
        info.total_swap,
        info.free_swap,
    ];
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    bytes.extend_from_slice(&u16::try_from(info.procs).unwrap_or(u16::MAX).to_ne_bytes());
    // Padding, then the two figures of high memory, the unit, and padding again.
    bytes.extend_from_slice(&[0; 6 + 16]);
    bytes.extend_from_slice(&1_u32.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// That of a 32-bit one: in a larger unit when bytes do not fit.
fn narrow(info: &SysInfo) -> Vec<u8> {
    let largest = info.total_ram.max(info.total_swap);
    let mut unit = 1_u64;
    while largest / unit > u64::from(u32::MAX) {
        unit *= 2;
    }
    let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes();
    let [one, five, fifteen] = info.loads;
    let mut bytes = Vec::with_capacity(64);
    for word in [info.uptime_s, one, five, fifteen] {
        bytes.extend_from_slice(&short(word));
    }
    for word in [info.total_ram, info.free_ram, info.shared_ram, info.buffer_ram, info.total_swap, info.free_swap] {
        bytes.extend_from_slice(&short(word / unit));
    }
    bytes.extend_from_slice(&u16::try_from(info.procs).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend_from_slice(&[0; 2 + 8]);
    bytes.extend_from_slice(&short(unit));
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(total_ram: u64) -> SysInfo {
        SysInfo { total_ram, free_ram: 4096, procs: 3, uptime_s: 9, ..SysInfo::default() }
    }

    #[test]
    fn both_shapes_have_the_kernels_sizes() {
        assert_eq!(wide(&info(1 << 29)).len(), 112);
        assert_eq!(narrow(&info(1 << 29)).len(), 64);
        assert_eq!(wide(&info(1 << 29))[32..40], (1_u64 << 29).to_ne_bytes());
        assert_eq!(wide(&info(0))[104..108], 1_u32.to_ne_bytes());
        assert_eq!(narrow(&info(1 << 29))[16..20], (1_u32 << 29).to_ne_bytes());
        assert_eq!(narrow(&info(0))[52..56], 1_u32.to_ne_bytes());
    }

    #[test]
    fn as_many_of_a_mask_as_are_seen() {
        assert_eq!(first(&[0b1111_1111, 0b11, 0], 2), Some(vec![0b11, 0, 0]));
        assert_eq!(first(&[0b1010_0000, 0b110, 0], 3), Some(vec![0b1010_0000, 0b10, 0]));
        assert_eq!(first(&[0b110], 2), None);
        assert_eq!(first(&[0b110], 0), Some(vec![0b10]));
        assert_eq!(first(&[], 1), None);
    }

    #[test]
    fn calls_are_known_by_their_numbers_on_each_architecture() {
        assert_eq!(asked(AUDIT_ARCH_X86_64, 99), Asked::Wide);
        assert_eq!(asked(AUDIT_ARCH_X86_64, 204 | X32), Asked::Affinity);
        assert_eq!(asked(AUDIT_ARCH_I386, 116), Asked::Narrow);
        assert_eq!(asked(AUDIT_ARCH_AARCH64, 123), Asked::Affinity);
        assert_eq!(asked(AUDIT_ARCH_I386, 99), Asked::Other);
    }

    #[test]
    fn a_32_bit_program_sees_more_than_4_gib_in_a_larger_unit() {
        let bytes = narrow(&info(1 << 35));
        let word = |at: usize| u64::from(u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()));
        assert_eq!(word(16) * word(52), 1 << 35);
    }
}
