// SPDX-License-Identifier: Apache-2.0
//! Runs a filter as the kernel would, for tests and for showing what a filter does.

use super::Instruction;
use super::assembler::code;
use super::filter::{ARCHITECTURE, ARGUMENTS, NUMBER};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Number of the system call.
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Instruction pointer.
    pub ip: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// Why a program can not be run; the kernel would not take it either, or it is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not one of the operations that [`compile`](super::compile) writes.
    #[error("instruction {at}: operation {code:#x} is not known")]
    Operation {
        /// Instruction.
        at: usize,
        /// Its operation.
        code: u16,
    },
    /// A word that is not there.
    #[error("instruction {at}: there is no word at {offset}")]
    Offset {
        /// Instruction.
        at: usize,
        /// The offset.
        offset: u32,
    },
    /// It goes on beyond its end.
    #[error("the program ends without an outcome")]
    End,
}

/// The outcome ([`outcome`](super::outcome)'s `SECCOMP_RET_*` and its data).
///
/// # Errors
/// The program is not valid.
pub fn run(program: &[Instruction], data: &Data) -> Result<u32, Error> {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let one = program.get(at).ok_or(Error::End)?;
        let skip = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
        let here = at;
        at += 1 + match one.code {
            code::LOAD => {
                accumulator = word(data, one.k).ok_or(Error::Offset { at: here, offset: one.k })?;
                0
            }
            code::AND => {
                accumulator &= one.k;
                0
            }
            code::JUMP => usize::try_from(one.k).unwrap_or(usize::MAX / 2),
            code::EQUAL => skip(accumulator == one.k),
            code::GREATER => skip(accumulator > one.k),
            code::NOT_LESS => skip(accumulator >= one.k),
            code::BITS => skip(accumulator & one.k != 0),
            code::RETURN => return Ok(one.k),
            code => return Err(Error::Operation { at: here, code }),
        };
    }
}

fn word(data: &Data, offset: u32) -> Option<u32> {
    let half =
        |value: u64, high: bool| u32::try_from(if high { value >> 32 } else { value & u64::from(u32::MAX) }).ok();
    match offset {
        NUMBER => Some(data.nr),
        ARCHITECTURE => Some(data.arch),
        8 | 12 => half(data.ip, offset == 12),
        _ if offset.is_multiple_of(4) => {
            let from = usize::try_from(offset.checked_sub(ARGUMENTS)?).ok()?;
            half(*data.args.get(from / 8)?, from % 8 == 4)
        }
        _ => None,
    }
}
