// SPDX-License-Identifier: Apache-2.0
//! From a profile to a program: which outcome each number has, and how the arguments are compared.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use spec::oci::seccomp::{Action, Arg, Flag, Operator, Seccomp, Syscall};

use super::assembler::{Assembler, Target, code};
use super::{Arch, Error, Instruction, LONGEST, Program, flag, outcome, tables};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Where `struct seccomp_data` has the number, the architecture and the first argument.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// Compiles a profile for this architecture, and for those listed that its kernel runs too.
///
/// # Errors
/// What the profile says that no program can do, or none that the kernel would take.
pub fn compile(profile: &Seccomp, native: Arch) -> Result<Program, Error> {
    let flags = flags(profile, notifies(profile)?)?;
    let default = outcome_of(profile.default_action, profile.default_errno_ret)?;
    let rules = profile.syscalls.iter().map(Rule::of).collect::<Result<Vec<_>, _>>()?;
    let compat = native.compat().filter(|compat| profile.architectures.contains(&compat.named()));
    let x32 = native == Arch::X86_64 && profile.architectures.contains(&spec::oci::seccomp::Arch::X32);

    let mut assembler = Assembler::default();
    let mut dispatch = Target::Return(outcome::KILL_PROCESS);
    for arch in compat.into_iter().chain([native]) {
        let more = if arch == Arch::X86 { multiplexed(&rules) } else { Vec::new() };
        let rules = if arch == Arch::X86 { &more } else { &rules };
        let ranges = Numbers { arch, x32: x32 && arch == native, default }.ranges(rules);
        let mut section =
            Section { assembler: &mut assembler, rules, default, narrow: arch.narrow(), chains: Vec::new() };
        let search = section.search(&ranges);
        let start = assembler.load(NUMBER, search);
        dispatch = assembler.test(code::EQUAL, arch.audit(), start, dispatch);
    }
    let start = assembler.load(ARCHITECTURE, dispatch);
    fit(assembler.finish(start)).map(|instructions| Program { instructions, flags })
}

fn fit(instructions: Vec<Instruction>) -> Result<Vec<Instruction>, Error> {
    match instructions.len() {
        length if length > LONGEST => Err(Error::TooLong { length }),
        _ => Ok(instructions),
    }
}

/// Whether a listener decides on some system call.
fn notifies(profile: &Seccomp) -> Result<bool, Error> {
    let asks = |rule: &&Syscall| rule.action == Action::Notify;
    let default = profile.default_action == Action::Notify;
    let rule = profile.syscalls.iter().any(|rule| asks(&rule));
    if (default || rule) && profile.listener_path.as_deref().is_none_or(str::is_empty) {
        return Err(Error::Notify);
    }
    if default {
        return Err(Error::NotifyDefault);
    }
    if profile.syscalls.iter().filter(asks).any(|rule| rule.names.iter().any(|name| name == "write")) {
        return Err(Error::NotifyWrite);
    }
    Ok(rule)
}

fn flags(profile: &Seccomp, notifies: bool) -> Result<u32, Error> {
    let start = if notifies { flag::NEW_LISTENER } else { 0 };
    profile.flags.iter().try_fold(start, |all, one| match one {
        // It is installed by the only thread there is.
        Flag::ThreadSync => Ok(all),
        Flag::Log => Ok(all | flag::LOG),
        Flag::SpecAllow => Ok(all | flag::SPEC_ALLOW),
        Flag::WaitKillable if notifies => Ok(all | flag::WAIT_KILLABLE_RECV),
        Flag::WaitKillable => Err(Error::WaitKillable),
    })
}

fn outcome_of(action: Action, errno: Option<u32>) -> Result<u32, Error> {
    let number = |most: u32| match errno.unwrap_or(EPERM) {
        errno if errno > most => Err(Error::Errno { errno }),
        errno => Ok(errno),
    };
    let plain = |outcome| errno.map_or(Ok(outcome), |errno| Err(Error::ErrnoUnused { errno }));
    match action {
        Action::Kill | Action::KillThread => plain(outcome::KILL_THREAD),
        Action::KillProcess => plain(outcome::KILL_PROCESS),
        Action::Trap => plain(outcome::TRAP),
        Action::Errno => Ok(outcome::ERRNO | number(4095)?),
        Action::Trace => Ok(outcome::TRACE | number(4095)?),
        Action::Allow => plain(outcome::ALLOW),
        Action::Log => plain(outcome::LOG),
        Action::Notify => plain(outcome::USER_NOTIF),
    }
}

/// The rules of 32-bit x86, with what they say of calls that are made through socketcall(2) and ipc(2).
///
/// These hide the arguments: of a call for which a rule has conditions, the rules from there on say nothing.
fn multiplexed<'a>(rules: &[Rule<'a>]) -> Vec<Rule<'a>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(rules.len());
    for rule in rules {
        all.push(rule.clone());
        for name in &rule.names {
            let Some((through, arg)) = tables::multiplexed(name) else { continue };
            if seen.insert(*name) && rule.args.is_empty() {
                let args = std::slice::from_ref(arg);
                all.push(Rule { names: vec![through], outcome: rule.outcome, args, together: 1 });
            }
        }
    }
    all
}

/// A rule that has been checked.
#[derive(Clone)]
struct Rule<'a> {
    names: Vec<&'a str>,
    outcome: u32,
    args: &'a [Arg],
    /// How many of the conditions, in order, must hold together; one such group is enough.
    together: usize,
}

impl<'a> Rule<'a> {
    fn of(rule: &'a Syscall) -> Result<Self, Error> {
        let args = &rule.args;
        if let Some(arg) = args.iter().find(|arg| arg.index > 5) {
            let name = rule.names.first().cloned().unwrap_or_default();
            return Err(Error::Argument { name, index: arg.index });
        }
        let repeated =
            args.iter().enumerate().any(|(at, arg)| args.iter().skip(at + 1).any(|other| other.index == arg.index));
        Ok(Self {
            names: rule.names.iter().map(String::as_str).collect(),
            outcome: outcome_of(rule.action, rule.errno_ret)?,
            args,
            together: if repeated { 1 } else { args.len().max(1) },
        })
    }
}

/// What becomes of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leaf {
    /// This, whatever the arguments.
    Outcome(u32),
    /// The first of these rules that matches, or the default.
    Chain(Vec<usize>),
}

/// The numbers of one architecture.
struct Numbers {
    arch: Arch,
    x32: bool,
    default: u32,
}

impl Numbers {
    /// The ranges of numbers, each by its first, in order and from 0 on; neighbours differ.
    fn ranges(&self, rules: &[Rule<'_>]) -> Vec<(u32, Leaf)> {
        let uses = self.uses(rules);
        let ruled = uses
            .chunk_by(|one, other| one.0 == other.0)
            .filter_map(|group| Some((group.first()?.0, leaf(group, rules))));
        let mut ranges: Vec<(u32, Leaf)> = ruled.collect();
        let mut starts: Vec<u32> = ranges.iter().map(|(number, _)| number + 1).collect();
        starts.extend([0, tables::highest(self.arch) + 1]);
        starts.extend(self.further().into_iter().flat_map(|further| [*further.start(), further.end() + 1]));
        ranges.extend(starts.into_iter().map(|number| (number, Leaf::Outcome(self.unruled(number)))));
        // Of the same number the one with rules came first, and stays.
        ranges.sort_by_key(|(number, _)| *number);
        ranges.dedup_by_key(|(number, _)| *number);
        ranges.dedup_by(|next, kept| next.1 == kept.1);
        ranges
    }

    /// Which number each rule is for, by number and then in the rules' order.
    fn uses(&self, rules: &[Rule<'_>]) -> Vec<(u32, usize)> {
        let mut uses = Vec::with_capacity(512);
        for (at, rule) in rules.iter().enumerate() {
            for name in &rule.names {
                uses.extend(tables::number(self.arch, name).map(|number| (number, at)));
                if self.x32 {
                    uses.extend(tables::number_x32(name).map(|number| (number, at)));
                }
            }
        }
        uses.sort_unstable();
        uses.dedup();
        uses
    }

    fn unruled(&self, number: u32) -> u32 {
        let known =
            number <= tables::highest(self.arch) || self.further().is_some_and(|further| further.contains(&number));
        if known { self.default } else { outcome::ERRNO | ENOSYS }
    }

    /// The numbers beyond the ordinary range.
    fn further(&self) -> Option<RangeInclusive<u32>> {
        match self.arch {
            Arch::X86_64 => self.x32.then_some(tables::NUMBERS_X32),
            Arch::Arm => Some(tables::NUMBERS_ARM),
            Arch::X86 | Arch::Aarch64 => None,
        }
    }
}

fn leaf(group: &[(u32, usize)], rules: &[Rule<'_>]) -> Leaf {
    let mut chain = Vec::new();
    for (_, at) in group {
        match rules.get(*at) {
            Some(rule) if rule.args.is_empty() && chain.is_empty() => return Leaf::Outcome(rule.outcome),
            Some(rule) => {
                chain.push(*at);
                if rule.args.is_empty() {
                    break;
                }
            }
            None => {}
        }
    }
    Leaf::Chain(chain)
}

/// The part of the program that is for one architecture.
struct Section<'a> {
    assembler: &'a mut Assembler,
    rules: &'a [Rule<'a>],
    default: u32,
    /// Only the low half of an argument counts.
    narrow: bool,
    /// Where the chains are that have been written.
    chains: Vec<(Vec<usize>, Target)>,
}

impl Section<'_> {
    fn search(&mut self, ranges: &[(u32, Leaf)]) -> Target {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        match (low, high) {
            ([], [(_, leaf), ..]) => self.leaf(leaf),
            (_, [(first, _), ..]) => {
                let above = self.search(high);
                let below = self.search(low);
                self.assembler.test(code::NOT_LESS, *first, above, below)
            }
            (_, []) => Target::Return(self.default),
        }
    }

    fn leaf(&mut self, leaf: &Leaf) -> Target {
        let chain = match leaf {
            Leaf::Outcome(outcome) => return Target::Return(*outcome),
            Leaf::Chain(chain) => chain,
        };
        if let Some((_, target)) = self.chains.iter().find(|(known, _)| known == chain) {
            return *target;
        }
        let rules = self.rules;
        let target =
            chain.iter().rev().filter_map(|at| rules.get(*at)).fold(Target::Return(self.default), |next, rule| {
                let yes = Target::Return(rule.outcome);
                if rule.args.is_empty() {
                    return yes;
                }
                let groups = rule.args.chunks(rule.together).rev();
                groups.fold(next, |next, group| group.iter().rev().fold(yes, |yes, arg| self.compare(arg, yes, next)))
            });
        self.chains.push((chain.clone(), target));
        target
    }

    fn compare(&mut self, arg: &Arg, yes: Target, no: Target) -> Target {
        let offset = ARGUMENTS + 8 * arg.index;
        match arg.op {
            Operator::Equal => self.equal(offset, u64::MAX, arg.value, (yes, no)),
            Operator::NotEqual => self.equal(offset, u64::MAX, arg.value, (no, yes)),
            Operator::MaskedEqual => self.equal(offset, arg.value, arg.value_two & arg.value, (yes, no)),
            Operator::Greater => self.order(offset, code::GREATER, arg.value, (yes, no)),
            Operator::LessOrEqual => self.order(offset, code::GREATER, arg.value, (no, yes)),
            Operator::GreaterOrEqual => self.order(offset, code::NOT_LESS, arg.value, (yes, no)),
            Operator::Less => self.order(offset, code::NOT_LESS, arg.value, (no, yes)),
        }
    }

    fn equal(&mut self, offset: u32, mask: u64, value: u64, (yes, no): (Target, Target)) -> Target {
        let low = self.equal_half(offset, low(mask), low(value), (yes, no));
        if self.narrow { low } else { self.equal_half(offset + 4, high(mask), high(value), (low, no)) }
    }

    fn equal_half(&mut self, offset: u32, mask: u32, value: u32, (yes, no): (Target, Target)) -> Target {
        if mask == 0 || yes == no {
            return yes;
        }
        let mut at = self.assembler.test(code::EQUAL, value, yes, no);
        if mask != u32::MAX {
            at = self.assembler.mask(mask, at);
        }
        self.assembler.load(offset, at)
    }

    /// `test` is "greater" or "not less".
    fn order(&mut self, offset: u32, test: u16, value: u64, (yes, no): (Target, Target)) -> Target {
        if yes == no {
            return yes;
        }
        let at = self.assembler.test(test, low(value), yes, no);
        let at = self.assembler.load(offset, at);
        if self.narrow {
            return at;
        }
        let at = self.assembler.test(code::EQUAL, high(value), at, no);
        let at = self.assembler.test(code::GREATER, high(value), yes, at);
        self.assembler.load(offset + 4, at)
    }
}

/// The low half; little-endian machines, the only ones here, have it first.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(u32::MAX)
}
