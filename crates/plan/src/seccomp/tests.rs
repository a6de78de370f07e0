// SPDX-License-Identifier: Apache-2.0
//! Compiled filters against what the profile says, rule by rule.

use std::collections::BTreeSet;

use proptest::prelude::*;
use spec::oci::seccomp::{Action, Arch as Named, Arg, Flag, Operator, Seccomp, Syscall};

use super::profile::default_profile;
use super::simulate::{self, Data};
use super::{Arch, Error, Instruction, Program, compile, flag, outcome, tables};

const ALL: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];
const EPERM: u32 = outcome::ERRNO | 1;
const ENOSYS: u32 = outcome::ERRNO | 38;

/// What the profile says, without a thought for speed.
fn reference(profile: &Seccomp, native: Arch, data: &Data) -> u32 {
    let listed = |arch: Named| profile.architectures.contains(&arch);
    let compat = native.compat().filter(|compat| listed(compat.named()));
    let Some(arch) = [Some(native), compat].into_iter().flatten().find(|arch| arch.audit() == data.arch) else {
        return outcome::KILL_PROCESS;
    };
    let x32 = arch == Arch::X86_64 && listed(Named::X32);
    let is_x32 = data.nr & tables::X32_BIT != 0;
    let known = data.nr <= tables::highest(arch)
        || (x32 && tables::NUMBERS_X32.contains(&data.nr))
        || (arch == Arch::Arm && tables::NUMBERS_ARM.contains(&data.nr));
    let mut named = BTreeSet::new();
    for rule in &profile.syscalls {
        let number = |name: &String| match x32 && is_x32 {
            true => tables::number_x32(name),
            false => tables::number(arch, name),
        };
        if rule.names.iter().any(|name| number(name) == Some(data.nr)) && matches(&rule.args, data, arch.narrow()) {
            return returned(rule.action, rule.errno_ret);
        }
        for (name, (through, arg)) in rule.names.iter().filter_map(|name| Some((name, tables::multiplexed(name)?))) {
            let first = arch == Arch::X86 && named.insert(name) && rule.args.is_empty();
            if first && tables::number(arch, through) == Some(data.nr) && matches(&[*arg], data, true) {
                return returned(rule.action, rule.errno_ret);
            }
        }
    }
    if known { returned(profile.default_action, profile.default_errno_ret) } else { ENOSYS }
}

fn matches(args: &[Arg], data: &Data, narrow: bool) -> bool {
    let holds = |arg: &Arg| {
        let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
        let (value, two) = (cut(arg.value), cut(arg.value_two));
        let given = cut(data.args[arg.index as usize]);
        match arg.op {
            Operator::NotEqual => given != value,
            Operator::Less => given < value,
            Operator::LessOrEqual => given <= value,
            Operator::Equal => given == value,
            Operator::GreaterOrEqual => given >= value,
            Operator::Greater => given > value,
            Operator::MaskedEqual => given & value == two & value,
        }
    };
    let distinct: BTreeSet<u32> = args.iter().map(|arg| arg.index).collect();
    if distinct.len() == args.len() { args.iter().all(holds) } else { args.iter().any(holds) }
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

/// All jumps land inside, which the kernel asks for whether or not they are taken.
fn lands(program: &[Instruction]) -> bool {
    program.iter().enumerate().all(|(at, one)| match one.code {
        0x05 => at + 1 + (one.k as usize) < program.len(),
        0x15 | 0x25 | 0x35 => at + 1 + usize::from(one.jt.max(one.jf)) < program.len(),
        0x06 => true,
        _ => at + 1 < program.len(),
    })
}

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        Just((Action::Kill, None)),
        Just((Action::KillProcess, None)),
        Just((Action::Trap, None)),
        Just((Action::Errno, None)),
        Just((Action::Errno, Some(4095))),
        Just((Action::Trace, Some(7))),
        Just((Action::Allow, None)),
        Just((Action::Log, None)),
    ]
}

/// Numbers that differ in one half, or by one.
fn value() -> impl Strategy<Value = u64> {
    let half = || prop::sample::select(vec![0u64, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]);
    (half(), half()).prop_map(|(high, low)| high << 32 | low)
}

fn arg() -> impl Strategy<Value = Arg> {
    let op = prop::sample::select(vec![
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Equal,
        Operator::GreaterOrEqual,
        Operator::Greater,
        Operator::MaskedEqual,
    ]);
    (0u32..6, value(), value(), op).prop_map(|(index, value, value_two, op)| Arg { index, value, value_two, op })
}

const NAMES: [&str; 18] = [
    "read",
    "write",
    "open",
    "close",
    "ioctl",
    "clone",
    "socket",
    "personality",
    "rt_sigaction",
    "execveat",
    "mseal",
    "file_setattr",
    "cacheflush",
    "socketcall",
    "ipc",
    "shmat",
    "accept",
    "no_such_call",
];

fn rule(most: usize) -> impl Strategy<Value = Syscall> {
    let names = prop::collection::vec(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1..5);
    let action = prop_oneof![8 => action(), 1 => Just((Action::Notify, None))];
    (names, action, prop::collection::vec(arg(), 0..most)).prop_map(|(mut names, (action, errno_ret), args)| {
        if action == Action::Notify {
            names.retain(|name| name != "write");
        }
        Syscall { names, action, errno_ret, args }
    })
}

fn profile(rules: usize) -> impl Strategy<Value = Seccomp> {
    let named = prop::sample::subsequence(
        vec![Named::X86_64, Named::X86, Named::X32, Named::Aarch64, Named::Arm, Named::Riscv64],
        0..=6,
    );
    (action(), named, prop::collection::vec(rule(4), 0..rules)).prop_map(
        |((default_action, errno), architectures, syscalls)| Seccomp {
            architectures,
            syscalls,
            listener_path: Some("/run/listener".to_owned()),
            ..empty(default_action, errno)
        },
    )
}

fn empty(default_action: Action, default_errno_ret: Option<u32>) -> Seccomp {
    Seccomp {
        default_action,
        default_errno_ret,
        architectures: Vec::new(),
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: Vec::new(),
    }
}

fn call() -> impl Strategy<Value = Data> {
    let named = (prop::sample::select(&NAMES[..]), prop::sample::select(&ALL[..]), any::<bool>()).prop_map(
        |(name, arch, x32)| {
            let number = if x32 { tables::number_x32(name) } else { tables::number(arch, name) };
            number.unwrap_or(500)
        },
    );
    let edge = prop::sample::select(vec![
        469u32,
        470,
        512,
        547,
        0x4000_0000,
        0x4000_0223,
        0x4000_0224,
        0x000f_0000,
        0x000f_0003,
        0x000f_0007,
        u32::MAX,
    ]);
    let nr = prop_oneof![6 => named, 1 => edge, 1 => 0u32..600, 1 => any::<u32>()];
    let arch = prop_oneof![9 => prop::sample::select(&ALL[..]).prop_map(Arch::audit), 1 => any::<u32>()];
    (nr, arch, prop::array::uniform6(value())).prop_map(|(nr, arch, args)| Data { nr, arch, ip: 0, args })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn seccomp_does_what_the_profile_says(
        profile in profile(12),
        native in prop::sample::select(&ALL[..]),
        calls in prop::collection::vec(call(), 64),
    ) {
        let program = compile(&profile, native).unwrap().instructions;
        prop_assert!(lands(&program));
        for mut call in calls {
            prop_assert_eq!(simulate::run(&program, &call).unwrap(), reference(&profile, native, &call), "{:?}", call);
            call.arch = native.audit();
            prop_assert_eq!(simulate::run(&program, &call).unwrap(), reference(&profile, native, &call), "{:?}", call);
        }
    }

    /// So many rules that many jumps do not reach their targets in one step.
    #[test]
    fn seccomp_reaches_far(profile in profile(130), calls in prop::collection::vec(call(), 64)) {
        let program = match compile(&profile, Arch::X86_64) {
            Ok(program) => program.instructions,
            Err(Error::TooLong { length }) => {
                prop_assert!(length > 4096);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!(lands(&program));
        for mut call in calls {
            call.arch = if call.nr % 3 == 0 { Arch::X86.audit() } else { Arch::X86_64.audit() };
            let expected = reference(&profile, Arch::X86_64, &call);
            prop_assert_eq!(simulate::run(&program, &call).unwrap(), expected, "{:?}", call);
        }
    }
}

/// The default profile of an architecture.
struct Compiled {
    arch: Arch,
    program: Program,
}

impl Compiled {
    fn with(caps: &[&str], arch: Arch) -> Self {
        let caps = caps.iter().map(|cap| (*cap).to_owned()).collect();
        Self { arch, program: compile(&default_profile(&caps, arch), arch).unwrap() }
    }

    fn number(&self, nr: u32, args: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let data = Data { nr, arch: self.arch.audit(), ip: 0, args: all };
        simulate::run(&self.program.instructions, &data).unwrap()
    }

    fn call(&self, name: &str, args: &[u64]) -> u32 {
        self.number(tables::number(self.arch, name).unwrap(), args)
    }
}

#[test]
fn seccomp_default_allows_what_ordinary_software_needs() {
    for arch in ALL {
        let filter = Compiled::with(&[], arch);
        for name in ["read", "execve", "ptrace", "openat2", "futex_waitv", "landlock_restrict_self", "rseq", "statx"] {
            assert_eq!(filter.call(name, &[]), outcome::ALLOW, "{name} on {arch:?}");
        }
    }
}

#[test]
fn seccomp_default_denies_new_namespaces_without_the_capability() {
    for arch in ALL {
        let filter = Compiled::with(&["CAP_NET_RAW"], arch);
        for flag in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(filter.call("clone", &[flag | 17]), EPERM);
            assert_eq!(filter.call("clone", &[flag | 0xdead_0000_0000_0000]), EPERM);
        }
        // A thread, as glibc makes it.
        assert_eq!(filter.call("clone", &[0x003d_0f00]), outcome::ALLOW);
        assert_eq!(filter.call("clone3", &[]), ENOSYS);
        for name in ["unshare", "setns", "mount", "pivot_root", "fsopen", "statmount", "bpf", "chroot", "reboot"] {
            assert_eq!(filter.call(name, &[]), EPERM, "{name}");
        }
    }
}

#[test]
fn seccomp_default_follows_the_capabilities() {
    let filter = Compiled::with(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_TIME", "CAP_SYSLOG"], Arch::X86_64);
    for name in ["clone", "clone3", "unshare", "setns", "mount", "bpf", "chroot", "clock_settime", "syslog"] {
        assert_eq!(filter.call(name, &[0x1000_0000]), outcome::ALLOW, "{name}");
    }
    for name in ["reboot", "init_module", "iopl", "open_by_handle_at", "swapon", "io_uring_setup"] {
        assert_eq!(filter.call(name, &[]), EPERM, "{name}");
    }
}

#[test]
fn seccomp_default_never_allows_these() {
    let every: Vec<&str> =
        "CAP_SYS_ADMIN CAP_BPF CAP_PERFMON CAP_DAC_READ_SEARCH CAP_SYS_BOOT CAP_SYS_CHROOT CAP_SYS_MODULE \
        CAP_SYS_NICE CAP_SYS_PACCT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_SYSLOG CAP_NET_RAW"
            .split_whitespace()
            .collect();
    let filter = Compiled::with(&every, Arch::X86_64);
    for name in [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "lookup_dcookie",
        "nfsservctl",
        "swapon",
        "swapoff",
        "uselib",
        "_sysctl",
        "create_module",
    ] {
        assert_eq!(filter.call(name, &[]), EPERM, "{name}");
    }
    assert_eq!(Compiled::with(&every, Arch::X86).call("socketcall", &[1]), EPERM);
}

#[test]
fn seccomp_default_lets_through_only_the_families_that_are_reviewed() {
    let filter = Compiled::with(&[], Arch::X86_64);
    for family in 0..64 {
        let expected = if [1, 2, 10, 16].contains(&family) { outcome::ALLOW } else { EPERM };
        assert_eq!(filter.call("socket", &[family, 1, 0]), expected, "{family}");
        assert_eq!(filter.call("socket", &[family | 1 << 40, 1, 0]), expected, "{family}");
        let pair = if family == 1 { outcome::ALLOW } else { EPERM };
        assert_eq!(filter.call("socketpair", &[family, 1, 0]), pair);
    }
    for protocol in 0..32 {
        let expected = if [0, 4, 15, 16].contains(&protocol) { outcome::ALLOW } else { EPERM };
        assert_eq!(filter.call("socket", &[16, 3, protocol]), expected, "netlink {protocol}");
    }
    let raw = Compiled::with(&["CAP_NET_RAW"], Arch::X86_64);
    assert_eq!((raw.call("socket", &[17, 3, 3]), raw.call("socket", &[38, 5, 0])), (outcome::ALLOW, EPERM));
}

#[test]
fn seccomp_default_keeps_terminals_from_being_typed_into() {
    for arch in ALL {
        let filter = Compiled::with(&["CAP_SYS_ADMIN"], arch);
        for hidden in [0, 1 << 32, 0xffff_ffff_0000_0000] {
            assert_eq!(filter.call("ioctl", &[0, 0x5412 | hidden]), EPERM);
            assert_eq!(filter.call("ioctl", &[0, 0x541c | hidden]), EPERM);
            assert_eq!(filter.call("ioctl", &[0, 0x5413 | hidden]), outcome::ALLOW);
        }
    }
}

#[test]
fn seccomp_default_knows_five_personalities() {
    let filter = Compiled::with(&["CAP_SYS_ADMIN"], Arch::X86_64);
    for allowed in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, u64::MAX] {
        assert_eq!(filter.call("personality", &[allowed]), outcome::ALLOW);
    }
    for denied in [0x4_0000, 0x40_0000, 0x400_0000, 1, 9] {
        assert_eq!(filter.call("personality", &[denied]), EPERM);
    }
}

#[test]
fn seccomp_default_knows_no_other_numbers_and_architectures() {
    for arch in ALL {
        let filter = Compiled::with(&["CAP_SYS_ADMIN"], arch);
        // 512 and up were the way into x32's calls with x86_64's calling convention; the bit is x32 itself.
        for number in [470, 512, 520, 1000, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x4000_0200, 0x7fff_ffff, u32::MAX] {
            assert_eq!(filter.number(number, &[]), ENOSYS, "{number:#x} on {arch:?}");
        }
        for other in ALL.into_iter().filter(|other| *other != arch) {
            let data = Data { nr: 1, arch: other.audit(), ip: 0, args: [0; 6] };
            assert_eq!(simulate::run(&filter.program.instructions, &data).unwrap(), outcome::KILL_PROCESS);
        }
    }
}

#[test]
fn seccomp_default_is_short() {
    for arch in ALL {
        let program = Compiled::with(&[], arch).program;
        assert!(lands(&program.instructions));
        println!("{arch:?}: {} instructions", program.instructions.len());
        assert!(program.instructions.len() < 400, "{}", program.instructions.len());
    }
}

#[test]
fn seccomp_default_names_only_what_some_architecture_has() {
    let caps = BTreeSet::new();
    for rule in default_profile(&caps, Arch::X86_64).syscalls {
        for name in rule.names {
            assert!(ALL.iter().any(|arch| tables::number(*arch, &name).is_some()), "{name}");
        }
    }
}

#[test]
fn seccomp_refuses_what_no_program_can_do() {
    let with = |rule: Syscall| compile(&Seccomp { syscalls: vec![rule], ..empty(Action::Allow, None) }, Arch::X86_64);
    let rule = |action, errno_ret, args| Syscall { names: vec!["read".to_owned()], action, errno_ret, args };
    let seventh = Arg { index: 6, value: 0, value_two: 0, op: Operator::Equal };
    assert_eq!(with(rule(Action::Allow, Some(1), Vec::new())), Err(Error::ErrnoUnused { errno: 1 }));
    assert_eq!(with(rule(Action::Errno, Some(4096), Vec::new())), Err(Error::Errno { errno: 4096 }));
    let argument = Error::Argument { name: "read".to_owned(), index: 6 };
    assert_eq!(with(rule(Action::Errno, None, vec![seventh])), Err(argument));
}

/// A profile whose one rule has the listener decide on these.
fn notifying(names: &[&str], listener: Option<&str>) -> Seccomp {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let rule = Syscall { names, action: Action::Notify, errno_ret: None, args: Vec::new() };
    Seccomp { syscalls: vec![rule], listener_path: listener.map(str::to_owned), ..empty(Action::Allow, None) }
}

#[test]
fn seccomp_notifies_a_listener() {
    let profile = notifying(&["mount", "no_such_call"], Some("/run/listener"));
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert_eq!(program.flags, 1 << 3);
    let call = |nr| Data { nr, arch: Arch::X86_64.audit(), ip: 0, args: [0; 6] };
    assert_eq!(simulate::run(&program.instructions, &call(165)), Ok(0x7fc0_0000));
    assert_eq!(simulate::run(&program.instructions, &call(166)), Ok(outcome::ALLOW));
}

#[test]
fn seccomp_notifies_nobody_without_a_listener() {
    for listener in [None, Some("")] {
        assert_eq!(compile(&notifying(&["mount"], listener), Arch::X86_64), Err(Error::Notify));
        assert_eq!(compile(&notifying(&["write"], listener), Arch::X86_64), Err(Error::Notify));
    }
    assert_eq!(compile(&empty(Action::Notify, None), Arch::X86_64), Err(Error::Notify));
}

#[test]
fn seccomp_notifies_neither_by_default_nor_of_write() {
    let listener = Some("/run/listener");
    let default = Seccomp { default_action: Action::Notify, ..notifying(&[], listener) };
    assert_eq!(compile(&default, Arch::X86_64), Err(Error::NotifyDefault));
    assert_eq!(compile(&notifying(&["mount", "write"], listener), Arch::X86_64), Err(Error::NotifyWrite));
    assert!(compile(&notifying(&["writev", "pwrite64"], listener), Arch::X86_64).is_ok());
    let mut errno = notifying(&["mount"], listener);
    errno.syscalls[0].errno_ret = Some(1);
    assert_eq!(compile(&errno, Arch::X86_64), Err(Error::ErrnoUnused { errno: 1 }));
}

#[test]
fn seccomp_says_what_is_wrong_with_a_listener() {
    assert_eq!(Error::Notify.to_string(), "SCMP_ACT_NOTIFY needs a listenerPath");
    assert_eq!(Error::NotifyDefault.to_string(), "SCMP_ACT_NOTIFY can not be the default action");
    assert_eq!(Error::NotifyWrite.to_string(), "SCMP_ACT_NOTIFY can not be used for the system call write");
    let flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY";
    assert_eq!(Error::WaitKillable.to_string(), flag);
}

/// As many rules with one condition each, for a system call each time another.
fn distinct_rules(count: u64) -> Seccomp {
    let table =
        ["read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap", "mprotect", "munmap"];
    let rule = |(at, name): (u64, &str)| Syscall {
        names: vec![name.to_owned()],
        action: Action::Errno,
        errno_ret: Some(u32::try_from(at % 4000).unwrap()),
        args: vec![Arg { index: 1, value: at, value_two: 0, op: Operator::Equal }],
    };
    let syscalls = (0..count).zip(table.iter().copied().cycle()).map(rule).collect();
    Seccomp { syscalls, ..empty(Action::Allow, None) }
}

#[test]
fn seccomp_sees_into_socketcall_and_ipc() {
    let rule = |name: &str, action, args: &[Arg]| Syscall {
        names: vec![name.to_owned()],
        action,
        errno_ret: None,
        args: args.to_vec(),
    };
    let family = Arg { index: 0, value: 40, value_two: 0, op: Operator::Equal };
    let syscalls = vec![
        rule("connect", Action::Errno, &[]),
        rule("accept", Action::Trap, &[]),
        rule("shmat", Action::KillProcess, &[]),
        rule("socket", Action::Errno, &[family]),
        // The family can not be seen: it is as if socketcall(2) were not told of sockets.
        rule("socket", Action::Trap, &[]),
        rule("socketcall", Action::Log, &[]),
    ];
    let profile = Seccomp { architectures: vec![Named::X86], syscalls, ..empty(Action::Allow, None) };
    let call = |native, arch: Arch, nr, first| {
        let data = Data { nr, arch: arch.audit(), ip: 0, args: [first, 0, 0, 0, 0, 0] };
        simulate::run(&compile(&profile, native).unwrap().instructions, &data).unwrap()
    };
    for native in [Arch::X86, Arch::X86_64] {
        let socketcall = [1, 2, 3, 4, 5, 0x1_0003].map(|first| call(native, Arch::X86, 102, first));
        assert_eq!(socketcall, [outcome::LOG, outcome::LOG, EPERM, outcome::LOG, outcome::TRAP, outcome::LOG]);
        let ipc = [20, 21, 0x1_0015, 0xffff_0015, 22].map(|first| call(native, Arch::X86, 117, first));
        let kill = outcome::KILL_PROCESS;
        assert_eq!(ipc, [outcome::ALLOW, kill, kill, kill, outcome::ALLOW]);
    }
    // Where they are other calls: getuid and setregid.
    assert_eq!(call(Arch::X86_64, Arch::X86_64, 102, 3), outcome::ALLOW);
}

#[test]
fn seccomp_jumps_beyond_what_a_test_reaches() {
    let profile = distinct_rules(600);
    let program = compile(&profile, Arch::X86_64).unwrap().instructions;
    assert!(lands(&program) && program.iter().any(|one| one.code == 0x05 && one.k > 255));
    for nr in 0..14 {
        for at in 0..610 {
            let data = Data { nr, arch: Arch::X86_64.audit(), ip: 0, args: [0, at, 0, 0, 0, 0] };
            assert_eq!(simulate::run(&program, &data), Ok(reference(&profile, Arch::X86_64, &data)), "{data:?}");
        }
    }
}

#[test]
fn seccomp_refuses_what_the_kernel_would_not_take() {
    assert!(matches!(compile(&distinct_rules(2000), Arch::X86_64), Err(Error::TooLong { length }) if length > 4096));
}

#[test]
fn seccomp_hands_flags_on() {
    let with =
        |flags| compile(&Seccomp { flags, ..empty(Action::Allow, None) }, Arch::X86_64).map(|program| program.flags);
    assert_eq!(with(vec![Flag::Log, Flag::SpecAllow, Flag::ThreadSync]), Ok(6));
    assert_eq!(with(vec![Flag::WaitKillable]), Err(Error::WaitKillable));
    let listening = |flags| {
        let profile = Seccomp { flags, ..notifying(&["mount"], Some("/run/listener")) };
        compile(&profile, Arch::X86_64).map(|program| program.flags)
    };
    assert_eq!(listening(vec![Flag::WaitKillable]), Ok(flag::NEW_LISTENER | 1 << 5));
    assert_eq!(listening(vec![Flag::Log, Flag::WaitKillable]), Ok(1 << 1 | 1 << 3 | 1 << 5));
    // A path alone is no listener.
    let path = Some("/run/listener".to_owned());
    let idle = Seccomp { listener_path: path, flags: vec![Flag::WaitKillable], ..empty(Action::Allow, None) };
    assert_eq!(compile(&idle, Arch::X86_64), Err(Error::WaitKillable));
    // No TSYNC, which the kernel would take with TSYNC_ESRCH only.
    assert_eq!(listening(vec![Flag::ThreadSync]), Ok(flag::NEW_LISTENER));
}

#[test]
fn seccomp_simulator_refuses_what_the_kernel_would() {
    let data = Data { nr: 0, arch: 0, ip: 0, args: [0; 6] };
    let one = |code, k| simulate::run(&[Instruction { code, jt: 0, jf: 0, k }], &data);
    assert_eq!(one(0x20, 64), Err(simulate::Error::Offset { at: 0, offset: 64 }));
    assert_eq!(one(0x20, 2), Err(simulate::Error::Offset { at: 0, offset: 2 }));
    assert_eq!(one(0x28, 0), Err(simulate::Error::Operation { at: 0, code: 0x28 }));
    assert_eq!(one(0x05, 0), Err(simulate::Error::End));
}
