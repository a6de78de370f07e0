// SPDX-License-Identifier: Apache-2.0
//! Writes a classic BPF program from its last instruction to its first, so that every jump's target is there already.

use super::Instruction;

pub(super) mod code {
    /// A = the word at k.
    pub(in super::super) const LOAD: u16 = 0x20;
    /// A &= k
    pub(in super::super) const AND: u16 = 0x54;
    /// Skip k.
    pub(in super::super) const JUMP: u16 = 0x05;
    /// A == k
    pub(in super::super) const EQUAL: u16 = 0x15;
    /// A > k
    pub(in super::super) const GREATER: u16 = 0x25;
    /// A >= k
    pub(in super::super) const NOT_LESS: u16 = 0x35;
    /// A & k
    pub(in super::super) const BITS: u16 = 0x45;
    /// Done.
    pub(in super::super) const RETURN: u16 = 0x06;
}

/// Where a program goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It ends with this.
    Return(u32),
    /// An instruction, counted from the end.
    At(usize),
}

/// A program without its beginning.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<Instruction>,
    /// Where each outcome was written last.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// The instruction `A = word`, going on at `then`.
    pub(super) fn load(&mut self, offset: u32, then: Target) -> Target {
        self.straight(code::LOAD, offset, then)
    }

    /// The instruction `A &= mask`, going on at `then`.
    pub(super) fn mask(&mut self, mask: u32, then: Target) -> Target {
        self.straight(code::AND, mask, then)
    }

    /// A test; neither way need be near.
    pub(super) fn test(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // What reaching the second adds may put the first out of reach again; it is a step away then.
        let yes = self.near(yes);
        let no = self.near(no);
        let yes = self.near(Target::At(yes));
        let jump = |target: usize| u8::try_from(self.reversed.len() - 1 - target).unwrap_or(u8::MAX);
        let (jt, jf) = (jump(yes), jump(no));
        self.push(Instruction { code, jt, jf, k })
    }

    /// The program that begins at `start`.
    pub(super) fn finish(mut self, start: Target) -> Vec<Instruction> {
        self.next(start);
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        self.reversed.push(instruction);
        Target::At(self.reversed.len() - 1)
    }

    fn straight(&mut self, code: u16, k: u32, then: Target) -> Target {
        self.next(then);
        self.push(Instruction { code, jt: 0, jf: 0, k })
    }

    /// What is written next goes on at `target` without a jump.
    fn next(&mut self, target: Target) {
        match target {
            Target::Return(value) => {
                self.write_return(value);
            }
            Target::At(at) if at + 1 == self.reversed.len() => {}
            Target::At(at) => {
                self.write_jump(at);
            }
        }
    }

    /// A place of the target that a test written next can reach.
    fn near(&mut self, target: Target) -> usize {
        let reach = |at: usize, length: usize| length - 1 - at <= usize::from(u8::MAX);
        let length = self.reversed.len();
        match target {
            Target::Return(value) => {
                match self.returns.iter().find(|(known, at)| *known == value && reach(*at, length)) {
                    Some((_, at)) => *at,
                    None => self.write_return(value),
                }
            }
            Target::At(at) if reach(at, length) => at,
            Target::At(at) => self.write_jump(at),
        }
    }

    fn write_return(&mut self, value: u32) -> usize {
        let at = self.reversed.len();
        self.returns.retain(|(known, _)| *known != value);
        self.returns.push((value, at));
        self.push(Instruction { code: code::RETURN, jt: 0, jf: 0, k: value });
        at
    }

    fn write_jump(&mut self, target: usize) -> usize {
        let at = self.reversed.len();
        let k = u32::try_from(at - 1 - target).unwrap_or(u32::MAX);
        self.push(Instruction { code: code::JUMP, jt: 0, jf: 0, k });
        at
    }
}
