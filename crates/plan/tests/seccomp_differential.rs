// SPDX-License-Identifier: Apache-2.0
//! Our filters against libseccomp's: both are made of one profile and run for the same system calls.
//
// The profile is put to libseccomp as runc does it: rules that do what the default does are left out, names that
// libseccomp does not know are too (and are then taken from our profile), several conditions on one argument are a rule
// each, and foreign architectures kill the process. Besides the whole profile, libseccomp compiles every rule alone; the
// first rule that matches by that, or else the default, is what ours must do, always. Profiles that it refuses as a
// whole (two actions for equal conditions, the error number 4095) are compared by their rules only, and counted.
//
// Where ours and the whole profile's program may differ, counted by kind:
//
// - Beyond: a number above the tables is ENOSYS in ours, so that a C library of tomorrow tries the older call; it is the
//   default in libseccomp's. An x32 number is as much beyond the tables where x32 is not listed; libseccomp takes it for
//   a foreign architecture. Foreign architectures themselves are killed by both.
// - Order: several rules match and say different things. The first decides in ours; libseccomp does not keep the order:
//   a rule without conditions always wins, others by how its tree happens to grow.
// - Wide: x32 has 64-bit arguments, as the kernel tells them to the filter, and ours compares all of them; libseccomp
//   compares the low half.
// - Own: libseccomp 2.5.4 does not do for the whole profile what it does for the rule alone, and only one rule or several
//   that agree match. It forgets to load what it compares: where a test on the low half fails, the next one expects the
//   high half and finds the low one still (`< 0xffffffff` or `> 0x100000000` matches 0xffffffff), and where the first
//   call of an architecture has no number there (semop on i386, fcntl64 on x86_64), the number is not loaded and the
//   architecture is compared instead. There are few of these.
// - Multiplexed: socketcall(2) and ipc(2) of i386. A rule with conditions is not carried over to them in ours, since they
//   hide the arguments; libseccomp drops the condition on the first argument and compares the others with something
//   else. ipc(2) ignores the upper half of its first argument; so does ours, but not libseccomp's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says that it failed, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use plan::seccomp::profile::default_profile;
use plan::seccomp::simulate::{self, Data};
use plan::seccomp::{Arch, Instruction, compile, outcome};
use serde::Deserialize;
use spec::oci::seccomp::{Action, Arch as Named, Arg, Operator, Seccomp, Syscall};

/// Reads a profile a line, writes a first line with the numbers that libseccomp knows and then an answer a line.
const SCRIPT: &str = r#"
import json, sys, tempfile
try:
    import seccomp
except ImportError:
    sys.exit(77)
from seccomp import Arch, Arg, Attr, SyscallFilter

ACTIONS = {"KILL": seccomp.KILL, "KILL_THREAD": seccomp.KILL, "KILL_PROCESS": seccomp.KILL_PROCESS,
    "TRAP": seccomp.TRAP, "ALLOW": seccomp.ALLOW, "LOG": seccomp.LOG, "NOTIFY": seccomp.NOTIFY}
OPERATORS = {"NE": seccomp.NE, "LT": seccomp.LT, "LE": seccomp.LE, "EQ": seccomp.EQ, "GE": seccomp.GE,
    "GT": seccomp.GT, "MASKED_EQ": seccomp.MASKED_EQ}

def action(name, errno):
    name = name.removeprefix("SCMP_ACT_")
    errno = 1 if errno is None else errno
    return {"ERRNO": seccomp.ERRNO, "TRACE": seccomp.TRACE}[name](errno) if name in ("ERRNO", "TRACE") else ACTIONS[name]

def condition(arg):
    operator = arg["op"].removeprefix("SCMP_CMP_")
    if operator == "MASKED_EQ":
        return Arg(arg["index"], seccomp.MASKED_EQ, arg["value"], arg["valueTwo"])
    return Arg(arg["index"], OPERATORS[operator], arg["value"])

def known(name):
    return seccomp.resolve_syscall(Arch.NATIVE, name) != -1

def groups(rule):
    args = rule.get("args", [])
    repeated = len({arg["index"] for arg in args}) < len(args)
    return [[arg] for arg in args] if repeated else [args]

def build(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    built = SyscallFilter(default)
    built.set_attr(Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    for name in profile.get("architectures", []):
        arch = Arch(getattr(Arch, name.removeprefix("SCMP_ARCH_")))
        if not built.exist_arch(arch):
            built.add_arch(arch)
    for rule in profile.get("syscalls", []):
        does = action(rule["action"], rule.get("errnoRet"))
        if does == default:
            continue
        for number in [seccomp.resolve_syscall(Arch.NATIVE, name) for name in rule["names"] if known(name)]:
            for group in groups(rule):
                built.add_rule(does, number, *[condition(arg) for arg in group])
    return exported(built)

def exported(built):
    with tempfile.TemporaryFile() as file:
        built.export_bpf(file)
        file.seek(0)
        return file.read().hex()

def alone(profile, rule, name):
    """Programs that log what the rule matches of this name, one for each group of its conditions."""
    rule = dict(rule, names=[name], action="SCMP_ACT_LOG", errnoRet=None)
    one = dict(profile, defaultAction="SCMP_ACT_ALLOW", defaultErrnoRet=None)
    return [build(dict(one, syscalls=[dict(rule, args=group)])) for group in groups(rule)]

def answer(line):
    profile = json.loads(line)
    rules = profile.get("syscalls", [])
    said = {"unknown": [name for rule in rules for name in rule["names"] if not known(name)]}
    said["rules"] = [[alone(profile, rule, name) for name in rule["names"] if known(name)] for rule in rules]
    try:
        return dict(said, program=build(profile))
    except RuntimeError as error:
        return dict(said, refused=str(error))

def named(arch, number):
    try:
        return seccomp.resolve_syscall(arch, number).decode()
    except ValueError:
        return None

def numbers(arch, first):
    names = ((named(arch, number), number) for number in range(first, first + 601))
    return {name: number for name, number in names if name}

try:
    seccomp.set_api(6)
except RuntimeError:
    pass
print(json.dumps({"x86_64": numbers(Arch.X86_64, 0), "x32": numbers(Arch.X32, 1 << 30), "x86": numbers(Arch.X86, 0)}))
for line in sys.stdin.read().splitlines():
    print(json.dumps(answer(line)))
"#;

const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = outcome::ERRNO | 38;
/// The highest numbers of our tables, which say why beyond them there is a difference.
const HIGHEST: u32 = 469;
const HIGHEST_X32: u32 = X32_BIT + 547;
/// At most so many arguments are tried for a system call.
const MOST: usize = 2000;

/// The numbers that libseccomp knows.
#[derive(Deserialize)]
struct Numbers {
    x86_64: BTreeMap<String, u32>,
    x32: BTreeMap<String, u32>,
    x86: BTreeMap<String, u32>,
}

/// What libseccomp makes of a profile.
#[derive(Deserialize)]
struct Answer {
    program: Option<String>,
    refused: Option<String>,
    unknown: BTreeSet<String>,
    /// Programs for each name of each rule alone.
    rules: Vec<Vec<Vec<String>>>,
}

/// libseccomp's answers; none when it can not be asked.
fn ask(profiles: &[(String, Seccomp)]) -> Option<(Numbers, Vec<Answer>)> {
    // Debian's own Python has Debian's modules.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let lines: Vec<String> = profiles.iter().map(|(_, profile)| serde_json::to_string(profile).unwrap()).collect();
    // It may be gone already, for want of the module.
    let written = child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(77) {
        return None;
    }
    written.unwrap();
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let (numbers, answers) = text.split_once('\n').unwrap();
    let answers: Vec<Answer> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), profiles.len());
    Some((serde_json::from_str(numbers).unwrap(), answers))
}

/// `struct sock_filter`s, in hexadecimal.
fn instructions(hex: &str) -> Vec<Instruction> {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let one = |raw: &[u8]| Instruction {
        code: u16::from_le_bytes([raw[0], raw[1]]),
        jt: raw[2],
        jf: raw[3],
        k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
    };
    bytes.chunks_exact(8).map(one).collect()
}

/// xorshift64*, from a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const OPERATORS: [Operator; 7] = [
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Equal,
    Operator::GreaterOrEqual,
    Operator::Greater,
    Operator::MaskedEqual,
];

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x5_0000_0007,
    0x8000_0000_0000_0000,
    u64::MAX,
];

const DEFAULTS: [(Action, Option<u32>); 9] = [
    (Action::Kill, None),
    (Action::KillProcess, None),
    (Action::Trap, None),
    (Action::Errno, None),
    (Action::Errno, Some(38)),
    (Action::Errno, Some(4094)),
    (Action::Trace, Some(7)),
    (Action::Allow, None),
    (Action::Log, None),
];

const NAMES: [&str; 28] = [
    "read",
    "open",
    "close",
    "stat",
    "mmap",
    "ioctl",
    "clone",
    "execve",
    "socket",
    "connect",
    "accept",
    "sendmsg",
    "personality",
    "rt_sigaction",
    "readv",
    "semop",
    "shmat",
    "msgget",
    "socketcall",
    "ipc",
    "stat64",
    "fcntl64",
    "clone3",
    "openat2",
    "futex",
    "arch_prctl",
    "time",
    "no_such_call",
];

fn arg(index: u32, op: Operator, value: u64) -> Arg {
    Arg { index, value, value_two: 0, op }
}

fn masked(index: u32, mask: u64, value_two: u64) -> Arg {
    Arg { index, value: mask, value_two, op: Operator::MaskedEqual }
}

fn rule(names: &[&str], (action, errno_ret): (Action, Option<u32>), args: &[Arg]) -> Syscall {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Syscall { names, action, errno_ret, args: args.to_vec() }
}

fn profile((default_action, default_errno_ret): (Action, Option<u32>), syscalls: Vec<Syscall>) -> Seccomp {
    Seccomp {
        default_action,
        default_errno_ret,
        architectures: vec![Named::X86_64, Named::X86, Named::X32],
        flags: Vec::new(),
        listener_path: Some("/run/listener".to_owned()),
        listener_metadata: None,
        syscalls,
    }
}

/// Each operator with each value, alone and with a second condition on the same or another argument.
fn operators() -> Vec<(String, Seccomp)> {
    let mut all = Vec::new();
    for op in OPERATORS {
        let calls =
            ["read", "open", "close", "stat", "mmap", "ioctl", "clone", "execve", "readv", "lseek", "poll", "dup"];
        let one = |(at, (name, value)): (u32, (&str, u64))| {
            rule(&[name], (Action::Errno, Some(at)), &[Arg { value_two: value & !2, ..arg(at % 6, op, value) }])
        };
        let rules = (1..).zip(calls.into_iter().zip(VALUES)).map(one).collect();
        all.push((format!("{op:?}"), profile((Action::Allow, None), rules)));
        let two = |index| {
            move |(at, (name, value)): (u32, (&str, u64))| {
                let other = arg(index, Operator::Greater, VALUES[usize::try_from(at).unwrap() % VALUES.len()]);
                rule(&[name], (Action::Allow, None), &[Arg { value_two: value, ..arg(2, op, value) }, other])
            }
        };
        for index in [2, 3] {
            let rules = (1..).zip(calls.into_iter().zip(VALUES)).map(two(index)).collect();
            all.push((format!("{op:?} and one on argument {index}"), profile((Action::Errno, None), rules)));
        }
    }
    all
}

/// What people write.
fn written() -> Vec<(String, Seccomp)> {
    let allow = (Action::Allow, None);
    let eperm = (Action::Errno, Some(1));
    let families = [1, 2, 10, 16].map(|family| rule(&["socket"], allow, &[arg(0, Operator::Equal, family)]));
    let namespaces = vec![
        rule(&["clone"], allow, &[masked(0, 0x7e02_0000, 0)]),
        rule(&["clone3"], (Action::Errno, Some(38)), &[]),
        rule(&["personality"], allow, &[arg(0, Operator::Equal, 0), arg(0, Operator::Equal, 0xffff_ffff)]),
        rule(&["read", "write", "open", "close", "mmap"], allow, &[]),
    ];
    let same =
        [(0, 5), (1, 6), (2, 7)].map(|(index, value)| rule(&["ioctl"], eperm, &[arg(index, Operator::Equal, value)]));
    let apart: Vec<Syscall> = (0..8)
        .map(|value| {
            let errno = u32::try_from(value).unwrap() + 1;
            rule(&["ioctl"], (Action::Errno, Some(errno)), &[arg(1, Operator::Equal, value << 28)])
        })
        .collect();
    let actions = [Action::Kill, Action::KillThread, Action::KillProcess, Action::Trap, Action::Log, Action::Notify];
    let calls = ["read", "open", "close", "stat", "mmap", "ioctl"];
    let mut each: Vec<Syscall> =
        actions.into_iter().zip(calls).map(|(action, name)| rule(&[name], (action, None), &[])).collect();
    each.push(rule(&["mount"], (Action::Trace, Some(4095)), &[]));
    each.push(rule(&["umount2"], (Action::Trace, None), &[]));
    each.push(rule(&["reboot"], (Action::Errno, Some(0)), &[]));
    each.push(rule(&["swapon"], (Action::Errno, Some(4094)), &[]));
    let most = vec![rule(&["swapon"], (Action::Errno, Some(4095)), &[])];
    [
        ("families", profile(eperm, families.to_vec())),
        ("namespaces", profile(eperm, namespaces)),
        ("one call by three arguments", profile(allow, same.to_vec())),
        ("one argument, many values", profile(allow, apart)),
        ("actions", profile(allow, each)),
        ("the highest error number, which libseccomp refuses", profile(allow, most)),
        ("nothing", profile((Action::Errno, Some(38)), Vec::new())),
    ]
    .map(|(name, profile)| (name.to_owned(), profile))
    .to_vec()
}

/// What i386 has in socketcall(2) and ipc(2) too.
fn multiplexed() -> Vec<(String, Seccomp)> {
    let allow = (Action::Allow, None);
    let eperm = (Action::Errno, Some(1));
    let deny = rule(&["socket", "accept", "send", "shmat", "semtimedop", "msgrcv"], eperm, &[]);
    let sockets = rule(&["socket", "bind", "accept4", "accept", "recv", "recvmmsg", "semop", "shmctl"], allow, &[]);
    let mixed = vec![rule(&["socketcall"], allow, &[]), rule(&["socket"], (Action::Trap, None), &[])];
    [
        ("sockets denied", profile(allow, vec![deny])),
        ("sockets allowed", profile(eperm, vec![sockets])),
        ("socketcall first", profile(eperm, mixed)),
    ]
    .map(|(name, profile)| (name.to_owned(), profile))
    .to_vec()
}

/// The default profile without, with some and with all capabilities that change it.
fn defaults() -> Vec<(String, Seccomp)> {
    let some = "CAP_SYS_ADMIN CAP_NET_RAW CAP_SYS_PTRACE";
    let more = "CAP_BPF CAP_PERFMON CAP_SYS_BOOT CAP_SYS_CHROOT CAP_SYS_MODULE CAP_SYS_TIME CAP_SYSLOG CAP_NET_RAW";
    let of = |caps: &str| {
        let caps = caps.split_whitespace().map(str::to_owned).collect();
        (format!("default with {caps:?}"), default_profile(&caps, Arch::X86_64))
    };
    let mut all: Vec<(String, Seccomp)> = ["", some, more].map(of).to_vec();
    let (name, mut wide) = of("");
    wide.architectures = vec![Named::X86_64, Named::X86, Named::X32];
    all.push((format!("{name} on all architectures"), wide));
    all
}

fn random(seed: u64) -> (String, Seccomp) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let count = 1 + random.below(14);
    let syscalls = (0..count).map(|_| random_rule(&mut random)).collect();
    let mut one = profile(random.pick(&DEFAULTS), syscalls);
    one.architectures = [Named::X86_64, Named::X86, Named::X32].into_iter().filter(|_| random.below(2) > 0).collect();
    (format!("random {seed}"), one)
}

fn random_rule(random: &mut Random) -> Syscall {
    let names: Vec<&str> = (0..1 + random.below(3)).map(|_| random.pick(&NAMES)).collect();
    let action = if random.below(10) == 0 { (Action::Notify, None) } else { random.pick(&DEFAULTS) };
    let args: Vec<Arg> = (0..random.below(4))
        .map(|_| Arg {
            index: u32::try_from(random.below(6)).unwrap(),
            value: random.pick(&VALUES),
            value_two: random.pick(&VALUES),
            op: random.pick(&OPERATORS),
        })
        .collect();
    rule(&names, action, &args)
}

/// A name of a rule, with its numbers.
struct Placed<'a> {
    rule: &'a Syscall,
    outcome: u32,
    /// libseccomp's programs for it alone: they log what it matches.
    alone: Vec<Vec<Instruction>>,
    x86_64: Option<u32>,
    x32: Option<u32>,
    x86: Option<u32>,
    /// The number of socketcall(2) or ipc(2) and the first argument.
    through: Option<(u32, u64)>,
}

fn placed<'a>(rule: &'a Syscall, alone: &[Vec<String>], numbers: &Numbers) -> Vec<Placed<'a>> {
    rule.names.iter().zip(alone).map(|(name, alone)| Placed::new(rule, name, alone, numbers)).collect()
}

/// The calls that i386 has in socketcall(2) and ipc(2) (`linux/net.h`, `linux/ipc.h`), by their first argument there.
const SOCKETCALL: &str = "- socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
    shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
const IPC: &str = "- semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget \
    shmctl";

impl<'a> Placed<'a> {
    fn new(rule: &'a Syscall, name: &str, alone: &[String], numbers: &Numbers) -> Self {
        let listed = |number: u32, list: &str| {
            (0..).zip(list.split_whitespace()).find(|(_, listed)| *listed == name).map(|(at, _)| (number, at))
        };
        Self {
            rule,
            outcome: returned(rule.action, rule.errno_ret),
            alone: alone.iter().map(|hex| instructions(hex)).collect(),
            x86_64: numbers.x86_64.get(name).copied(),
            x32: numbers.x32.get(name).copied(),
            x86: numbers.x86.get(name).copied(),
            through: listed(102, SOCKETCALL).or(listed(117, IPC)),
        }
    }

    fn is_for(&self, arch: Arch, nr: u32) -> bool {
        match arch {
            Arch::X86 => self.x86 == Some(nr) || self.through.is_some_and(|(number, _)| number == nr),
            _ => self.x86_64 == Some(nr) || self.x32 == Some(nr),
        }
    }

    /// It is the call that is made through socketcall(2) or ipc(2).
    fn is_through(&self, arch: Arch, data: &Data) -> bool {
        let first = if data.nr == 117 { data.args[0] & 0xffff } else { data.args[0] };
        arch == Arch::X86 && self.through == Some((data.nr, first))
    }

    /// Its conditions are lost in socketcall(2) and ipc(2).
    fn is_lost(&self, arch: Arch, data: &Data) -> bool {
        self.is_through(arch, data) && !self.rule.args.is_empty()
    }

    fn matches(&self, arch: Arch, data: &Data) -> bool {
        if self.is_through(arch, data) && self.rule.args.is_empty() {
            return true;
        }
        self.alone.iter().any(|program| simulate::run(program, data) == Ok(outcome::LOG))
    }
}

fn returned(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::Kill | Action::KillThread => outcome::KILL_THREAD,
        Action::KillProcess => outcome::KILL_PROCESS,
        Action::Trap => outcome::TRAP,
        Action::Errno => outcome::ERRNO | errno.unwrap_or(1),
        Action::Trace => outcome::TRACE | errno.unwrap_or(1),
        Action::Allow => outcome::ALLOW,
        Action::Log => outcome::LOG,
        Action::Notify => outcome::USER_NOTIF,
    }
}

/// Arguments at the boundaries of the conditions of these rules.
fn arguments(rules: &[&Placed<'_>], narrow: bool, random: &mut Random) -> Vec<[u64; 6]> {
    let mut all: Vec<[u64; 6]> = [0, 1, 0xffff_ffff, 1 << 32, u64::MAX].map(|value| [value; 6]).to_vec();
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    for one in rules {
        for arg in &one.rule.args {
            values[arg.index as usize].extend(boundaries(arg));
        }
        values[0].extend(one.through.into_iter().flat_map(|(_, first)| [first, first | 0x1_0000]));
    }
    let values = values.map(|set| if set.is_empty() { vec![0] } else { set.into_iter().collect::<Vec<u64>>() });
    let product: usize = values.iter().map(Vec::len).product();
    if product <= MOST {
        all.extend((0..product).map(|mut at| {
            std::array::from_fn(|index| {
                let value = values[index][at % values[index].len()];
                at /= values[index].len();
                value
            })
        }));
    } else {
        all.extend((0..MOST).map(|_| std::array::from_fn(|index| random.pick(&values[index]))));
    }
    if narrow {
        all.iter_mut().flatten().for_each(|value| *value &= 0xffff_ffff);
        all.sort_unstable();
        all.dedup();
    }
    all
}

fn boundaries(arg: &Arg) -> Vec<u64> {
    let near = |value: u64| {
        let high = 1 << 32;
        [value.wrapping_sub(1), value, value.wrapping_add(1), value.wrapping_sub(high), value.wrapping_add(high)]
    };
    let mut all = vec![0, 1, u64::MAX];
    all.extend(near(arg.value));
    if arg.op == Operator::MaskedEqual {
        let wanted = arg.value_two & arg.value;
        let lowest = arg.value & arg.value.wrapping_neg();
        let highest = 1u64 << (63 - (arg.value | 1).leading_zeros());
        all.extend([wanted, wanted | !arg.value, !arg.value, wanted ^ lowest, wanted ^ highest, arg.value_two]);
    }
    all
}

/// How many comparisons there were of each kind.
#[derive(Debug, Default)]
struct Tally {
    /// With what libseccomp makes of the rules one by one.
    by_rule: usize,
    /// With what it makes of the whole profile.
    same: usize,
    beyond: usize,
    order: usize,
    wide: usize,
    own: usize,
    multiplexed: usize,
}

/// Both programs for one profile.
struct Pair<'a> {
    profile: &'a Seccomp,
    rules: Vec<Placed<'a>>,
    ours: Vec<Instruction>,
    /// Unless libseccomp refused.
    theirs: Option<Vec<Instruction>>,
    /// x32's numbers and x86_64's of the same name.
    wide: &'a BTreeMap<u32, u32>,
}

impl Pair<'_> {
    fn compare(&self, tally: &mut Tally) -> Result<(), String> {
        let mut random = Random(0x5eed);
        let numbers = (0..=600).chain(X32_BIT..=X32_BIT + 600).map(|nr| (Arch::X86_64, nr));
        for (arch, nr) in numbers.chain((0..=500).map(|nr| (Arch::X86, nr))) {
            let rules: Vec<&Placed<'_>> = self.rules.iter().filter(|rule| rule.is_for(arch, nr)).collect();
            for args in arguments(&rules, arch == Arch::X86, &mut random) {
                self.call(arch, &Data { nr, arch: arch.audit(), ip: 0, args }, &rules, tally)?;
            }
        }
        Ok(())
    }

    fn call(&self, arch: Arch, data: &Data, rules: &[&Placed<'_>], tally: &mut Tally) -> Result<(), String> {
        let ours = simulate::run(&self.ours, data).map_err(|error| format!("ours: {error}"))?;
        // x32's arguments are compared like x86_64's.
        let wide = Data { nr: self.wide.get(&data.nr).copied().unwrap_or(data.nr), ..*data };
        let matching = |data| rules.iter().filter(|rule| rule.matches(arch, data)).map(|rule| rule.outcome).collect();
        let (said, narrow): (Vec<u32>, Vec<u32>) = (matching(&wide), matching(data));
        let hidden = rules.iter().any(|rule| rule.is_lost(arch, data)) || is_versioned(arch, data);
        let (wanted, theirs_wanted) = self.wanted(arch, data.nr, &said);
        if ours != wanted && !(hidden && (said.contains(&ours) || ours == self.default())) {
            return Err(format!("{data:x?}: ours {ours:#x}, the rules say {said:x?}"));
        }
        tally.by_rule += 1;
        let Some(program) = &self.theirs else { return Ok(()) };
        let theirs = simulate::run(program, data).map_err(|error| format!("theirs: {error}"))?;
        let kind = if ours == theirs {
            &mut tally.same
        } else if hidden {
            &mut tally.multiplexed
        } else if wanted != theirs_wanted && theirs == theirs_wanted {
            &mut tally.beyond
        } else if said.iter().any(|one| *one != ours) {
            &mut tally.order
        } else if said != narrow {
            &mut tally.wide
        } else {
            &mut tally.own
        };
        *kind += 1;
        Ok(())
    }

    fn default(&self) -> u32 {
        returned(self.profile.default_action, self.profile.default_errno_ret)
    }

    /// What our program must do and what libseccomp's may, given what the rules that match say.
    fn wanted(&self, arch: Arch, nr: u32, said: &[u32]) -> (u32, u32) {
        let listed = |arch| self.profile.architectures.contains(&arch);
        let x32 = arch == Arch::X86_64 && nr >= X32_BIT;
        if arch == Arch::X86 && !listed(Named::X86) {
            (outcome::KILL_PROCESS, outcome::KILL_PROCESS)
        } else if x32 && !listed(Named::X32) {
            (ENOSYS, outcome::KILL_PROCESS)
        } else if nr > (if x32 { HIGHEST_X32 } else { HIGHEST }) {
            (ENOSYS, self.default())
        } else {
            let wanted = said.first().copied().unwrap_or_else(|| self.default());
            (wanted, wanted)
        }
    }
}

/// ipc(2) with something in the half of its first argument that it ignores.
fn is_versioned(arch: Arch, data: &Data) -> bool {
    arch == Arch::X86 && data.nr == 117 && data.args[0] > 0xffff
}

#[test]
fn seccomp_filters_do_what_libseccomps_do() {
    let mut profiles: Vec<(String, Seccomp)> =
        operators().into_iter().chain(written()).chain(multiplexed()).chain(defaults()).collect();
    profiles.extend((1..=50).map(random));
    let Some((numbers, answers)) = ask(&profiles) else {
        println!("skipped: python3-seccomp is not installed");
        return;
    };
    let wide = numbers.x32.iter().filter_map(|(name, nr)| Some((*nr, *numbers.x86_64.get(name)?))).collect();
    let (mut tally, mut refused, mut wrong) = (Tally::default(), Vec::new(), Vec::new());
    for ((name, profile), answer) in profiles.iter().zip(answers) {
        refused.extend(answer.refused.map(|reason| format!("{name}: {reason}")));
        let mut profile = profile.clone();
        let known = |name: &String| !answer.unknown.contains(name);
        profile.syscalls.iter_mut().for_each(|rule| rule.names.retain(known));
        let rules = profile.syscalls.iter().zip(&answer.rules);
        let rules = rules.flat_map(|(rule, alone)| placed(rule, alone, &numbers)).collect();
        let ours = compile(&profile, Arch::X86_64).unwrap().instructions;
        let theirs = answer.program.as_deref().map(instructions);
        let pair = Pair { profile: &profile, rules, ours, theirs, wide: &wide };
        wrong.extend(pair.compare(&mut tally).err().map(|error| format!("{name}: {error}")));
    }
    println!("{} profiles, {} refused by libseccomp: {refused:#?}\n{tally:?}", profiles.len(), refused.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused.len() * 5 < profiles.len() && tally.same > 500_000 && tally.own * 100 < tally.same);
}
