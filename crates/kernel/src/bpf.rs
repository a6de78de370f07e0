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
const LOAD_LONG: u8 = 0x79; // BPF_LDX | BPF_DW | BPF_MEM
const LOAD_WIDE: u8 = 0x18; // BPF_LD | BPF_DW | BPF_IMM, two instructions long
const MAP_VALUE: u8 = 2; // BPF_PSEUDO_MAP_VALUE
const ADD: u8 = 0x07; // BPF_ALU64 | BPF_ADD | BPF_K
const ADD_REGISTER: u8 = 0x0f; // BPF_ALU64 | BPF_ADD | BPF_X
const SUBTRACT_REGISTER: u8 = 0x1f; // BPF_ALU64 | BPF_SUB | BPF_X
const MULTIPLY: u8 = 0x27; // BPF_ALU64 | BPF_MUL | BPF_K
const DIVIDE_REGISTER: u8 = 0x3f; // BPF_ALU64 | BPF_DIV | BPF_X
const JUMP_EQUAL_REGISTER: u8 = 0x1d; // BPF_JMP | BPF_JEQ | BPF_X
const JUMP_GREATER_REGISTER: u8 = 0x2d; // BPF_JMP | BPF_JGT | BPF_X
const JUMP_NOT_LESS_REGISTER: u8 = 0x3d; // BPF_JMP | BPF_JGE | BPF_X
const ATOMIC_LONG: u8 = 0xdb; // BPF_STX | BPF_DW | BPF_ATOMIC
const COMPARE_AND_EXCHANGE: i32 = 0xf1; // BPF_CMPXCHG, with register 0
const CALL: u8 = 0x85; // BPF_JMP | BPF_CALL
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

/// The part of `union bpf_attr` for a new map.
#[repr(C)]
struct MapAttributes {
    kind: u32,
    key: u32,
    value: u32,
    count: u32,
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

const MAP_CREATE: libc::c_long = 0;
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
    // The program and the license outlive the call.
    made(PROG_LOAD, &attributes, || format!("bpf(BPF_PROG_LOAD, type {kind}, {} instructions)", program.len()))
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
    const REDIRECT: i32 = 23; // bpf_redirect
    let program = [
        instruction(MOVE, 1, 0, 0, device.cast_signed()),
        instruction(MOVE, 2, 0, 0, 0),
        instruction(CALL, 0, 0, 0, REDIRECT),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    load(TYPE_SCHED_CLS, &program)
}

/// A program for a filter of traffic that throws away what is more than `rate` packets in a second and not among the first
/// `burst`; the others go on to the filters behind it. A large packet of TCP or UDP counts as those that it is cut into. What
/// comes back from the device `counted` has been here before.
///
/// # Errors
/// bpf(2)'s.
pub fn packets_program(rate: u64, burst: u64, counted: Option<u32>) -> Result<OwnedFd> {
    let map = word_map()?;
    let interval_ns = 1_000_000_000_u64.div_ceil(rate.max(1));
    let most_ns = interval_ns.saturating_mul(burst);
    load(TYPE_SCHED_CLS, &count_packets(map.as_raw_fd(), interval_ns, most_ns, counted))
}

/// The one word of the map is the time at which all that has passed would have, one packet after each interval. It may be ahead
/// of the clock by `most_ns`.
///
/// Registers: 6 context, 7 how long these packets take, 8 the word, 9 now, 4 the most; 1 what the word was, 2 what it becomes.
fn count_packets(map: i32, interval_ns: u64, most_ns: u64, counted: Option<u32>) -> Vec<Instruction> {
    // Of `struct __sk_buff`.
    const LENGTH: i16 = 0;
    const CAME_BY: i16 = 36;
    const SEGMENTS: i16 = 164;
    const SEGMENT: i16 = 176;
    const NOW: i32 = 5; // bpf_ktime_get_ns
    const DROP: i32 = 2; // TC_ACT_SHOT
    const GO_ON: i32 = -1; // TC_ACT_UNSPEC
    /// Others count at the same time: so often it is tried, and then counted without a look.
    const TRIES: i16 = 4;
    const TRY: i16 = 11;
    let low = |number: u64| (number & 0xffff_ffff) as u32;
    let wide = |register: u8, from: u8, number: u64| {
        [
            instruction(LOAD_WIDE, register, from, 0, low(number).cast_signed()),
            instruction(0, 0, 0, 0, low(number >> 32).cast_signed()),
        ]
    };
    let interval = i32::try_from(interval_ns).unwrap_or(i32::MAX);
    let mut program = vec![instruction(MOVE_REGISTER, 6, 1, 0, 0)];
    if let Some(counted) = counted {
        program.extend([
            instruction(LOAD_WORD, 2, 6, CAME_BY, 0),
            instruction(JUMP_NOT_EQUAL, 2, 0, 2, counted.cast_signed()),
            instruction(MOVE, 0, 0, 0, GO_ON),
            instruction(EXIT, 0, 0, 0, 0),
        ]);
    }
    program.extend([
        // How many it is; a sender of raw frames may leave that open, and says how long each is.
        instruction(LOAD_WORD, 7, 6, SEGMENTS, 0),
        instruction(JUMP_NOT_EQUAL, 7, 0, 6, 0),
        instruction(MOVE, 7, 0, 0, 1),
        instruction(LOAD_WORD, 2, 6, SEGMENT, 0),
        instruction(JUMP_EQUAL, 2, 0, 3, 0),
        instruction(LOAD_WORD, 7, 6, LENGTH, 0),
        instruction(DIVIDE_REGISTER, 7, 2, 0, 0),
        instruction(ADD, 7, 0, 0, 1),
        instruction(MULTIPLY, 7, 0, 0, interval),
    ]);
    program.extend(wide(8, MAP_VALUE, u64::from(map.cast_unsigned())));
    program.extend([instruction(CALL, 0, 0, 0, NOW), instruction(MOVE_REGISTER, 9, 0, 0, 0)]);
    program.extend(wide(4, 0, most_ns));
    for left in (0..TRIES).rev() {
        // Over this try's rest and the others, past the outcome that lets through; to that.
        let (to_drop, to_go_on) = (left * TRY + 3 + 3, left * TRY + 1);
        program.extend([
            instruction(LOAD_LONG, 1, 8, 0, 0),
            instruction(MOVE_REGISTER, 2, 1, 0, 0),
            instruction(JUMP_NOT_LESS_REGISTER, 2, 9, 1, 0),
            instruction(MOVE_REGISTER, 2, 9, 0, 0),
            instruction(ADD_REGISTER, 2, 7, 0, 0),
            instruction(MOVE_REGISTER, 3, 2, 0, 0),
            instruction(SUBTRACT_REGISTER, 3, 9, 0, 0),
            instruction(JUMP_GREATER_REGISTER, 3, 4, to_drop, 0),
            instruction(MOVE_REGISTER, 0, 1, 0, 0),
            instruction(ATOMIC_LONG, 8, 2, 0, COMPARE_AND_EXCHANGE),
            instruction(JUMP_EQUAL_REGISTER, 0, 1, to_go_on, 0),
        ]);
    }
    program.push(instruction(ATOMIC_LONG, 8, 7, 0, 0)); // BPF_ADD
    program.extend([instruction(MOVE, 0, 0, 0, GO_ON), instruction(EXIT, 0, 0, 0, 0)]);
    program.extend([instruction(MOVE, 0, 0, 0, DROP), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// A map with one word of 64 bits, which is 0.
fn word_map() -> Result<OwnedFd> {
    const ARRAY: u32 = 2;
    made(
        MAP_CREATE,
        &MapAttributes { kind: ARRAY, key: 4, value: 8, count: 1, flags: 0 },
        || "bpf(BPF_MAP_CREATE, array)",
    )
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
        let program = made(PROG_GET_FD_BY_ID, &ById { id, ..ById::default() }, || "bpf(BPF_PROG_GET_FD_BY_ID)")?;
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

/// A call that gives a descriptor.
fn made<T, S: Into<String>>(command: libc::c_long, attributes: &T, what: impl FnOnce() -> S) -> Result<OwnedFd> {
    let descriptor = call(command, attributes, what)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor).unwrap_or(-1)) })
}

/// A call whose structure holds numbers and descriptors, or addresses of what outlives it.
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

    /// Runs a program as the kernel would at this time, with nobody beside it; what it gives. `context` has its words by their offset.
    fn run(program: &[Instruction], context: &[(i16, u32)], word: &mut u64, now_ns: u64) -> u64 {
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let one = program[at];
            let (to, from) = ((one.registers & 15) as usize, (one.registers >> 4) as usize);
            let value = i64::from(one.immediate).cast_unsigned();
            at += 1;
            let jumps = match one.code {
                JUMP => true,
                JUMP_NOT_EQUAL => registers[to] != value,
                JUMP_EQUAL => registers[to] == value,
                JUMP_EQUAL_32 => registers[to] as u32 == one.immediate as u32,
                JUMP_NOT_LESS_REGISTER => registers[to] >= registers[from],
                JUMP_GREATER_REGISTER => registers[to] > registers[from],
                JUMP_EQUAL_REGISTER => registers[to] == registers[from],
                _ => false,
            };
            at += if jumps { one.offset as usize } else { 0 };
            match one.code {
                LOAD_WORD => {
                    registers[to] = context.iter().find(|part| part.0 == one.offset).map(|part| part.1.into()).unwrap();
                }
                LOAD_LONG => registers[to] = *word,
                LOAD_WIDE => {
                    registers[to] = u64::from(one.immediate as u32) | u64::from(program[at].immediate as u32) << 32;
                    at += 1;
                }
                ATOMIC_LONG => *word = registers[from],
                CALL => registers[0] = now_ns,
                MOVE => registers[to] = value,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= value,
                OR_REGISTER => registers[to] |= registers[from],
                SHIFT_LEFT => registers[to] <<= value,
                SHIFT_RIGHT => registers[to] >>= value,
                ADD => registers[to] += value,
                ADD_REGISTER => registers[to] += registers[from],
                SUBTRACT_REGISTER => registers[to] -= registers[from],
                MULTIPLY => registers[to] *= value,
                DIVIDE_REGISTER => registers[to] /= registers[from],
                EXIT => return registers[0],
                JUMP | JUMP_NOT_EQUAL | JUMP_EQUAL | JUMP_EQUAL_32 => {}
                JUMP_NOT_LESS_REGISTER | JUMP_GREATER_REGISTER | JUMP_EQUAL_REGISTER => {}
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn allowed(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        run(&assemble(rules), &[(0, access << 16 | kind), (4, major), (8, minor)], &mut 0, 0) == 1
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

    /// Is the packet let through?
    fn passes(word: &mut u64, program: &[Instruction], now_ns: u64, [segments, size, length]: [u32; 3]) -> bool {
        run(program, &[(164, segments), (176, size), (0, length), (36, length)], word, now_ns) == u64::MAX
    }

    #[test]
    fn packets_are_counted_in_time_and_large_ones_as_many() {
        let program = count_packets(3, 1000, 5000, Some(7));
        let again = |came_by: u32| passes(&mut 0, &count_packets(3, 1000, 0, Some(7)), 5, [1, 0, came_by]);
        assert_eq!((again(7), again(8)), (true, false));
        let mut word = 0;
        let mut at = |now: u64, packet: [u32; 3]| passes(&mut word, &program, now, packet);
        let one = [0, 0, 100];
        assert_eq!([0; 6].map(|_| at(1_000_000, one)), [true, true, true, true, true, false]);
        assert_eq!([at(1_001_000, one), at(1_001_999, one), at(1_002_000, one)], [true, false, true]);
        // After a rest no more than before.
        assert_eq!([0; 6].map(|_| at(9_000_000, one)), [true, true, true, true, true, false]);
        // Four in one; one that does not say how many, 1000 bytes each.
        assert_eq!([at(9_500_000, [4, 1000, 4054]), at(9_500_000, [4, 1000, 4054])], [true, false]);
        assert_eq!(
            [at(9_900_000, [0, 1000, 4054]), at(9_900_000, one), at(9_900_000, [6, 0, 0])],
            [true, false, false]
        );
    }
}
