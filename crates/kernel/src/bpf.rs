// SPDX-License-Identifier: Apache-2.0
//! Programs for the kernel: one that guards devices of a version 2 group, which has no device controller of its own, and one
//! that sorts packets.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::cgroup::{DeviceKind, DeviceRule};
use crate::error::Result;
use crate::syscall::raw;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const STORE_WORD: u8 = 0x63; // BPF_STX | BPF_W | BPF_MEM
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_W | BPF_MEM
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_EQUAL_32: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const SHIFT_LEFT: u8 = 0x67; // BPF_ALU64 | BPF_LSH | BPF_K
const OR_REGISTER: u8 = 0x4f; // BPF_ALU64 | BPF_OR | BPF_X
const EXIT: u8 = 0x95;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

/// Registers: 1 context, 2 type, 3 access (r=2, w=4, m=1 in the kernel's bits), 4 major, 5 minor, 6 both in one word, 0
/// result and scratch.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
        instruction(MOVE_REGISTER, 6, 4, 0, 0),
        instruction(SHIFT_LEFT, 6, 0, 0, 20),
        instruction(OR_REGISTER, 6, 5, 0, 0),
    ];
    // The last rule that matches wins, so they are asked from the last to the first.
    let mut left: Vec<&DeviceRule> = rules.iter().rev().collect();
    while let Some(first) = left.first().copied() {
        let alike =
            left.iter().take_while(|rule| is_plain(rule) && (rule.kind, rule.allow) == (first.kind, first.allow));
        let count = alike.count();
        if count > 1 {
            append_group(&mut program, left.get(..count).unwrap_or_default());
            left.drain(..count);
            continue;
        }
        append(&mut program, first);
        // What comes after a rule for everything is never reached, which the kernel refuses.
        if is_for_all(first) {
            return program;
        }
        left.remove(0);
    }
    program.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// One kind, every access, a major number, and numbers that fit into one word.
fn is_plain(rule: &DeviceRule) -> bool {
    let fits = rule.major.is_some_and(|major| major < 1 << 12) && rule.minor.unwrap_or(0) < 1 << 20;
    rule.kind != DeviceKind::Any && rule.access == DeviceRule::ALL && fits
}

/// Rules that differ in their numbers alone: the kernel's check of a program takes as long as there are instructions.
fn append_group(program: &mut Vec<Instruction>, rules: &[&DeviceRule]) {
    let Some(first) = rules.first() else { return };
    let length = i16::try_from(rules.len()).unwrap_or(i16::MAX);
    let kind = if first.kind == DeviceKind::Block { 1 } else { 2 };
    // Past the comparisons, the jump over the outcome, and the outcome.
    program.push(instruction(JUMP_NOT_EQUAL, 2, 0, length + 3, kind));
    for (rule, at) in rules.iter().zip(0..) {
        let to_outcome = length - at;
        let (major, minor) = (rule.major.unwrap_or(0), rule.minor);
        program.push(match minor {
            Some(minor) => instruction(JUMP_EQUAL_32, 6, 0, to_outcome, (major << 20 | minor).cast_signed()),
            None => instruction(JUMP_EQUAL, 4, 0, to_outcome, major.cast_signed()),
        });
    }
    program.push(instruction(JUMP, 0, 0, 2, 0));
    program.extend([instruction(MOVE, 0, 0, 0, first.allow.into()), instruction(EXIT, 0, 0, 0, 0)]);
}

fn is_for_all(rule: &DeviceRule) -> bool {
    let any_number = rule.major.is_none() && rule.minor.is_none();
    rule.kind == DeviceKind::Any && rule.access == DeviceRule::ALL && any_number
}

fn append(program: &mut Vec<Instruction>, rule: &DeviceRule) {
    let kernel_bits = |access: u8| i32::from(access >> 2 & 1) | i32::from(access & 1) << 1 | i32::from(access & 2) << 1;
    let mut tests: Vec<Vec<Instruction>> = Vec::new();
    let differs = |register: u8, value: u32| vec![instruction(JUMP_NOT_EQUAL, register, 0, 0, value.cast_signed())];
    match rule.kind {
        DeviceKind::Any => {}
        DeviceKind::Block => tests.push(differs(2, 1)),
        DeviceKind::Character => tests.push(differs(2, 2)),
    }
    if rule.access != DeviceRule::ALL {
        // Allowed when it asks for nothing beyond; denied when it asks for any of them.
        let (mask, jump) = match rule.allow {
            true => (7 & !kernel_bits(rule.access), JUMP_NOT_EQUAL),
            false => (kernel_bits(rule.access), JUMP_EQUAL),
        };
        tests.push(vec![
            instruction(MOVE_REGISTER, 0, 3, 0, 0),
            instruction(AND, 0, 0, 0, mask),
            instruction(jump, 0, 0, 0, 0),
        ]);
    }
    tests.extend(rule.major.map(|major| differs(4, major)));
    tests.extend(rule.minor.map(|minor| differs(5, minor)));
    let mut left = tests.iter().map(Vec::len).sum::<usize>() + 2;
    for test in tests {
        for mut one in test {
            left -= 1;
            if one.code == JUMP_NOT_EQUAL || one.code == JUMP_EQUAL {
                one.offset = i16::try_from(left).unwrap_or(i16::MAX);
            }
            program.push(one);
        }
    }
    program.extend([instruction(MOVE, 0, 0, 0, rule.allow.into()), instruction(EXIT, 0, 0, 0, 0)]);
}

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// The part of `union bpf_attr` for a question about what is attached.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    rest: u32,
}

/// The part of `union bpf_attr` that names a program.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const TYPE_SCHED_CLS: u32 = 3;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

fn load(kind: u32, program: &[Instruction]) -> Result<OwnedFd> {
    let attributes = LoadAttributes {
        kind,
        count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: the program and the license outlive the call; the size passed is the structure's.
    let fd = unsafe {
        raw(
            libc::SYS_bpf,
            [
                PROG_LOAD,
                std::ptr::from_ref(&attributes) as libc::c_long,
                size_of::<LoadAttributes>() as libc::c_long,
                0,
                0,
                0,
            ],
            || format!("bpf(BPF_PROG_LOAD, type {kind}, {} instructions)", program.len()),
        )?
    };
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// A program for a filter of traffic (`Match::Program`) that gives every packet a class, and leaves the rest to the filters
/// behind it.
///
/// # Errors
/// bpf(2)'s.
pub fn class_program(class: crate::traffic::Handle) -> Result<OwnedFd> {
    /// `priority` in `struct __sk_buff`: the class, where it is one of the queue that the packet comes to.
    const PRIORITY: i16 = 32;
    const GO_ON: i32 = -1; // TC_ACT_UNSPEC
    let program = [
        instruction(MOVE, 2, 0, 0, class.number().cast_signed()),
        instruction(STORE_WORD, 1, 2, PRIORITY, 0),
        instruction(MOVE, 0, 0, 0, GO_ON),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    load(TYPE_SCHED_CLS, &program)
}

/// A program for a filter of traffic that sends every packet out by a device. Unlike `Action::Redirect` it leaves the packet's
/// connection as it is known by then.
///
/// # Errors
/// bpf(2)'s.
pub fn redirect_program(device: u32) -> Result<OwnedFd> {
    const CALL: u8 = 0x85; // BPF_JMP | BPF_CALL
    const REDIRECT: i32 = 23; // bpf_redirect
    let program = [
        instruction(MOVE, 1, 0, 0, device.cast_signed()),
        instruction(MOVE, 2, 0, 0, 0),
        instruction(CALL, 0, 0, 0, REDIRECT),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    load(TYPE_SCHED_CLS, &program)
}

/// Loads the program for `rules` and attaches it to the group that the directory `group` is.
///
/// # Errors
/// bpf(2)'s.
pub(crate) fn guard_devices(group: impl AsFd, rules: &[DeviceRule]) -> Result<()> {
    let loaded = load(TYPE_CGROUP_DEVICE, &assemble(rules))?;
    let attributes = AttachAttributes {
        target: group.as_fd().as_raw_fd().cast_unsigned(),
        program: loaded.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    call(PROG_ATTACH, &attributes, || "bpf(BPF_PROG_ATTACH, cgroup_device)").map(drop)
}

/// Puts the program for `rules` in the place of those that guard the group now; at no moment is it without one.
///
/// # Errors
/// bpf(2)'s.
pub(crate) fn replace_devices(group: impl AsFd, rules: &[DeviceRule]) -> Result<()> {
    let old = attached(&group)?;
    guard_devices(&group, rules)?;
    for id in old {
        let program = call(PROG_GET_FD_BY_ID, &ById { id, ..ById::default() }, || "bpf(BPF_PROG_GET_FD_BY_ID)")?;
        // SAFETY: the kernel has just made it for us.
        let program = unsafe { OwnedFd::from_raw_fd(i32::try_from(program).unwrap_or(-1)) };
        let attributes = AttachAttributes {
            target: group.as_fd().as_raw_fd().cast_unsigned(),
            program: program.as_raw_fd().cast_unsigned(),
            kind: ATTACH_CGROUP_DEVICE,
            flags: 0,
        };
        call(PROG_DETACH, &attributes, || "bpf(BPF_PROG_DETACH, cgroup_device)")?;
    }
    Ok(())
}

/// The programs that guard this very group.
fn attached(group: impl AsFd) -> Result<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut query = QueryAttributes {
        target: group.as_fd().as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: 64,
        ..QueryAttributes::default()
    };
    // SAFETY: the structure and the list, whose length it tells, live through the call.
    unsafe {
        raw(
            libc::SYS_bpf,
            [
                PROG_QUERY,
                std::ptr::from_mut(&mut query) as libc::c_long,
                size_of::<QueryAttributes>() as libc::c_long,
                0,
                0,
                0,
            ],
            || "bpf(BPF_PROG_QUERY, cgroup_device)",
        )?;
    }
    Ok(ids.iter().copied().take(query.count as usize).collect())
}

/// A call whose structure holds numbers and descriptors only.
fn call<T, S: Into<String>>(command: libc::c_long, attributes: &T, what: impl FnOnce() -> S) -> Result<libc::c_long> {
    // SAFETY: the structure lives through the call; its size is passed.
    unsafe {
        raw(
            libc::SYS_bpf,
            [command, std::ptr::from_ref(attributes) as libc::c_long, size_of::<T>() as libc::c_long, 0, 0, 0],
            what,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn allowed(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let program = assemble(rules);
        let mut registers = [0_u64; 11];
        let context = [access << 16 | kind, major, minor];
        let mut at = 0;
        loop {
            let one = program[at];
            let (to, from) = ((one.registers & 15) as usize, (one.registers >> 4) as usize);
            let value = one.immediate as u32 as u64;
            at += 1;
            match one.code {
                LOAD_WORD => registers[to] = context[one.offset as usize / 4].into(),
                MOVE => registers[to] = value,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                JUMP_NOT_EQUAL if registers[to] != value => at += one.offset as usize,
                JUMP_EQUAL if registers[to] == value => at += one.offset as usize,
                JUMP_EQUAL_32 if registers[to] as u32 == one.immediate as u32 => at += one.offset as usize,
                JUMP => at += one.offset as usize,
                SHIFT_LEFT => registers[to] <<= value,
                OR_REGISTER => registers[to] |= registers[from],
                JUMP_NOT_EQUAL | JUMP_EQUAL | JUMP_EQUAL_32 => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert!(!allowed(&[], 2, 2, 1, 3));
    }

    #[test]
    fn nothing_follows_a_rule_for_everything() {
        let all = rule(false, DeviceKind::Any, None, None, 7);
        let null = rule(true, DeviceKind::Character, Some(1), Some(3), 7);
        assert_eq!(assemble(&[null, all, null]), assemble(&[all, null]));
        assert!(allowed(&[all, null], 2, 2, 1, 3) && !allowed(&[all, null], 2, 2, 1, 5));
    }

    #[test]
    fn rules_alike_are_one_group() {
        let character = DeviceKind::Character;
        let rules = [
            rule(false, DeviceKind::Any, None, None, 7),
            rule(true, character, Some(1), Some(3), 7),
            rule(true, character, Some(5), Some(2), 7),
            rule(true, character, Some(136), None, 7),
        ];
        for (major, minor, wanted) in [(1, 3, true), (5, 2, true), (136, 77, true), (1, 4, false), (5, 1, false)] {
            assert_eq!(allowed(&rules, 2, 6, major, minor), wanted, "{major}:{minor}");
            assert!(!allowed(&rules, 1, 6, major, minor), "block {major}:{minor}");
        }
        assert!(assemble(&rules).len() < 20);
    }

    #[test]
    fn the_last_matching_rule_wins() {
        let rules = [
            rule(true, DeviceKind::Character, Some(1), None, 7),
            rule(false, DeviceKind::Character, Some(1), Some(3), 2),
            rule(true, DeviceKind::Block, None, None, 4),
        ];
        assert!(allowed(&rules, 2, 2, 1, 3), "reading 1:3");
        assert!(!allowed(&rules, 2, 4, 1, 3), "writing 1:3 is denied again");
        assert!(allowed(&rules, 2, 7, 1, 5), "all of 1:5");
        assert!(!allowed(&rules, 2, 2, 2, 5), "another major");
        assert!(allowed(&rules, 1, 1, 8, 0), "mknod of a block device");
        assert!(!allowed(&rules, 1, 2, 8, 0), "but not reading it");
    }
}
