// SPDX-License-Identifier: Apache-2.0
//! Answers sysinfo(2) with what the container's own files say: programs of busybox and musl ask it for memory, and glibc for the
//! number of pages.

use kernel::seccomp::{Listener, Waiting};
use kernel::{Errno, Result};

use crate::content::{Content, SysInfo};

const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// Answers one call.
pub(crate) fn answer(listener: &Listener, waiting: &Waiting, content: &mut Content) -> Result<()> {
    let info = content.memory_sysinfo();
    let [address, ..] = waiting.arguments;
    let bytes = match waiting.architecture {
        AUDIT_ARCH_I386 | AUDIT_ARCH_ARM => narrow(&info),
        _ => wide(&info),
    };
    match listener.write(waiting, address, &bytes) {
        Ok(()) => listener.answer(waiting.id, Ok(0)),
        Err(error) if error.is(Errno::FAULT) => listener.answer(waiting.id, Err(Errno::FAULT)),
        // Without a descriptor to write through, what the kernel says is better than an error. Nothing was decided on by what
        // stands in the caller's memory.
        Err(_) => listener.let_through(waiting.id),
    }
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
    fn a_32_bit_program_sees_more_than_4_gib_in_a_larger_unit() {
        let bytes = narrow(&info(1 << 35));
        let word = |at: usize| u64::from(u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()));
        assert_eq!(word(16) * word(52), 1 << 35);
    }
}
