// SPDX-License-Identifier: Apache-2.0
//! The numbers of the system calls, by architecture and name.

mod aarch64;
mod arm;
mod x32;
mod x86;
mod x86_64;

use std::ops::RangeInclusive;

use spec::oci::seccomp::Arg;

use super::Arch;

/// Set in the number of an x32 system call.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The number of a system call; `None` where the architecture has none of this name.
pub(super) fn number(arch: Arch, name: &str) -> Option<u32> {
    find(table(arch).0, name)
}

/// The number of an x32 system call, with its bit.
pub(super) fn number_x32(name: &str) -> Option<u32> {
    let shared = || if x32::LACKS.contains(&name) { None } else { find(x86_64::TABLE, name) };
    find(x32::TABLE, name).or_else(shared).map(|number| number | X32_BIT)
}

/// Through which other system call of 32-bit x86 this one can be made too, and with what argument.
pub(super) fn multiplexed(name: &str) -> Option<(&'static str, &'static Arg)> {
    let at = x86::MULTIPLEXED.binary_search_by(|(known, ..)| (*known).cmp(name)).ok()?;
    x86::MULTIPLEXED.get(at).map(|(_, through, arg)| (*through, arg))
}

/// The highest number of the ordinary range.
pub(super) fn highest(arch: Arch) -> u32 {
    table(arch).1
}

/// The x32 numbers, with their bit.
pub(super) const NUMBERS_X32: RangeInclusive<u32> = X32_BIT..=(X32_BIT | x32::HIGHEST);

/// The numbers that 32-bit Arm has for itself (`__ARM_NR_*`).
pub(super) const NUMBERS_ARM: RangeInclusive<u32> = 0x000f_0001..=0x000f_0006;

fn table(arch: Arch) -> (&'static [(&'static str, u32)], u32) {
    match arch {
        Arch::X86_64 => (x86_64::TABLE, x86_64::HIGHEST),
        Arch::X86 => (x86::TABLE, x86::HIGHEST),
        Arch::Aarch64 => (aarch64::TABLE, aarch64::HIGHEST),
        Arch::Arm => (arm::TABLE, arm::HIGHEST),
    }
}

fn find(table: &[(&str, u32)], name: &str) -> Option<u32> {
    let at = table.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    table.get(at).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];

    #[test]
    fn seccomp_tables_are_sorted() {
        for table in ALL.map(|arch| table(arch).0).into_iter().chain([x32::TABLE]) {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
        }
        assert!(x86::MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn seccomp_tables_agree_with_the_manual() {
        let numbers = |name| ALL.map(|arch| number(arch, name));
        assert_eq!(numbers("read"), [Some(0), Some(3), Some(63), Some(3)]);
        assert_eq!(numbers("clone3"), [Some(435); 4]);
        assert_eq!(numbers("file_setattr"), [Some(469); 4]);
        assert_eq!(numbers("newfstatat"), [Some(262), None, Some(79), None]);
        assert_eq!(numbers("socketcall"), [None, Some(102), None, None]);
        assert_eq!(numbers("cacheflush"), [None, None, None, Some(0x000f_0002)]);
        assert_eq!(numbers("no_such_call"), [None; 4]);
        assert_eq!(ALL.map(highest), [469; 4]);
        assert_eq!((number_x32("read"), number_x32("ioctl")), (Some(X32_BIT), Some(X32_BIT + 514)));
        assert!(x32::LACKS.iter().all(|name| number_x32(name).is_none() && number(Arch::X86_64, name).is_some()));
    }
}
