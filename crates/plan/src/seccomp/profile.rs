// SPDX-License-Identifier: Apache-2.0
//! The default profile: what ordinary software needs, and what each capability adds.

use std::collections::BTreeSet;

use spec::oci::seccomp::{Action, Arg, Operator, Seccomp, Syscall};

use super::Arch;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Allowed whatever the arguments. Names that only some architectures have are passed over elsewhere.
const ALWAYS: &[&str] = &[
    // Files.
    "access",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "arm_fadvise64_64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "file_getattr",
    "file_setattr",
    "flock",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "lchown",
    "lchown32",
    "link",
    "linkat",
    "_llseek",
    "lseek",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readdir",
    "readlink",
    "readlinkat",
    "readv",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "sendfile64",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "sync_file_range2",
    "arm_sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "truncate64",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    // Extended attributes.
    "fgetxattr",
    "flistxattr",
    "fremovexattr",
    "fsetxattr",
    "getxattr",
    "getxattrat",
    "lgetxattr",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lsetxattr",
    "removexattr",
    "removexattrat",
    "setxattr",
    "setxattrat",
    // Watching files; fanotify_init decides about fanotify.
    "fanotify_mark",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    // Waiting.
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "_newselect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "select",
    // The old asynchronous I/O.
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    // Memory.
    "brk",
    "cachestat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "remap_file_pages",
    // Processes. ptrace of what shares the user and the namespace; since Linux 4.8 it does not evade the filter.
    "capget",
    "capset",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "ioprio_get",
    "ioprio_set",
    "nice",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "ptrace",
    "restart_syscall",
    "setpgid",
    "setpriority",
    "setrlimit",
    "setsid",
    "set_tid_address",
    "times",
    "ugetrlimit",
    "wait4",
    "waitid",
    "waitpid",
    // What a process may take from itself.
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
    // Users and groups.
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getuid",
    "getuid32",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setuid",
    "setuid32",
    // Threads.
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "get_thread_area",
    "rseq",
    "set_robust_list",
    "set_thread_area",
    // Scheduling.
    "getcpu",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    // Signals. The probes' calls are made by code that the kernel itself puts into the process.
    "kill",
    "pause",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sigaction",
    "sigaltstack",
    "signal",
    "signalfd",
    "signalfd4",
    "sigpending",
    "sigprocmask",
    "sigreturn",
    "sigsuspend",
    "tgkill",
    "tkill",
    "uprobe",
    "uretprobe",
    // Time; setting it needs a capability, which the kernel asks for.
    "adjtimex",
    "alarm",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    // Sockets that are there; making them is below.
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    // System V and POSIX interprocess communication; ipc is nothing but these in one call.
    "ipc",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    // The system.
    "getrandom",
    "sysinfo",
    "uname",
];

/// What an architecture has of its own.
const X86: &[&str] = &["arch_prctl", "modify_ldt"];
const ARM: &[&str] = &["breakpoint", "cacheflush", "get_tls", "set_tls"];

/// What a capability adds.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "listmount",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "statmount",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_BOOT", &["kexec_file_load", "kexec_load", "reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYSLOG", &["syslog"]),
];

/// `CLONE_NEW*` but `CLONE_NEWTIME`, whose bit clone(2) takes for a part of the signal.
const CLONE_NEW: u64 = 0x7e02_0000;

/// `AF_UNIX`, `AF_INET`, `AF_INET6`.
const FAMILIES: [u64; 3] = [1, 2, 10];
const NETLINK: u64 = 16;
/// `NETLINK_ROUTE`, `NETLINK_SOCK_DIAG`, `NETLINK_KOBJECT_UEVENT`, `NETLINK_GENERIC`.
const NETLINK_PROTOCOLS: [u64; 4] = [0, 4, 15, 16];
const PACKET: u64 = 17;

/// `TIOCSTI` and `TIOCLINUX`: typing into a terminal that others read from.
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541c];

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile of a container with these capabilities (`CAP_…`) in its bounding set.
///
/// Only the architecture's own system calls. Denied: `EPERM`; clone3, whose flags no filter can see: `ENOSYS`.
#[must_use]
pub fn default_profile(caps: &BTreeSet<String>, arch: Arch) -> Seccomp {
    let own = match arch {
        Arch::X86_64 | Arch::X86 => X86,
        Arch::Aarch64 | Arch::Arm => ARM,
    };
    let mut syscalls = vec![allow(ALWAYS), allow(own)];
    let held = BY_CAPABILITY.iter().filter(|(name, _)| caps.contains(*name));
    syscalls.extend(held.map(|(_, names)| allow(names)));
    if !caps.contains("CAP_SYS_ADMIN") {
        syscalls.push(when("clone", &[bits(0, CLONE_NEW, 0)]));
        syscalls.push(deny("clone3", ENOSYS, Vec::new()));
    }
    syscalls.extend(sockets(caps.contains("CAP_NET_RAW")));
    syscalls.extend(TERMINAL_INPUT.map(|request| deny("ioctl", EPERM, vec![int(1, request)])));
    syscalls.push(allow(&["ioctl"]));
    syscalls.extend(PERSONALITIES.map(|personality| when("personality", &[int(0, personality)])));
    Seccomp {
        default_action: Action::Errno,
        default_errno_ret: Some(EPERM),
        architectures: vec![arch.named()],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// What no whole system needs, or may do to its host; what the kernel keeps from a user namespace anyway is here as well, so
/// that a hole in those checks stays out of reach.
const NEVER: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "delete_module",
    "finit_module",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "nfsservctl",
    "open_by_handle_at",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "request_key",
    "swapoff",
    "swapon",
    "userfaultfd",
    "vm86",
    "vm86old",
];

/// `AF_KEY`, `AF_RXRPC`, `AF_ALG`, `AF_VSOCK`, and those whose modules nobody needs (AX.25, IPX, AppleTalk, NET/ROM, X.25, Rose,
/// DECnet, RDS, TIPC, Phonet, 802.15.4, CAIF, NFC, KCM, QIPCRTR, SMC): the host's, or only ever of use to attackers.
const FOREIGN_FAMILIES: [u64; 20] = [15, 33, 38, 40, 3, 4, 5, 6, 9, 11, 12, 21, 30, 35, 36, 37, 39, 41, 42, 43];
/// `NETLINK_XFRM` and `NETLINK_AUDIT`.
const FOREIGN_PROTOCOLS: [u64; 2] = [6, 9];
const EAFNOSUPPORT: u32 = 97;
const EPROTONOSUPPORT: u32 = 93;
/// `MNT_FORCE`: ends what others do on the same file system.
const FORCE: u64 = 1;

/// The profile of a whole system: everything but what is named. A program takes `ENOSYS` for a kernel without the call, which
/// every distribution's can do without.
#[must_use]
pub fn system_profile(arch: Arch) -> Seccomp {
    let never = |name: &&str| deny(name, ENOSYS, Vec::new());
    let mut syscalls: Vec<Syscall> = NEVER.iter().map(never).collect();
    syscalls.extend(FOREIGN_FAMILIES.map(|family| deny("socket", EAFNOSUPPORT, vec![int(0, family)])));
    let protocol = |protocol| deny("socket", EPROTONOSUPPORT, vec![int(0, NETLINK), int(2, protocol)]);
    syscalls.extend(FOREIGN_PROTOCOLS.map(protocol));
    syscalls.extend(TERMINAL_INPUT.map(|request| deny("ioctl", EPERM, vec![int(1, request)])));
    // The kernel's log is the host's.
    syscalls.push(deny("syslog", EPERM, Vec::new()));
    syscalls.extend(PERSONALITIES.map(|personality| when("personality", &[int(0, personality)])));
    syscalls.push(deny("personality", EPERM, Vec::new()));
    syscalls.push(deny("umount2", EPERM, vec![bits(1, FORCE, FORCE)]));
    Seccomp {
        default_action: Action::Allow,
        default_errno_ret: None,
        architectures: vec![arch.named()],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

fn sockets(raw: bool) -> Vec<Syscall> {
    let mut rules: Vec<Syscall> = FAMILIES.iter().map(|family| when("socket", &[int(0, *family)])).collect();
    rules.extend(NETLINK_PROTOCOLS.map(|protocol| when("socket", &[int(0, NETLINK), int(2, protocol)])));
    if raw {
        rules.push(when("socket", &[int(0, PACKET)]));
    }
    rules.push(when("socketpair", &[int(0, 1)]));
    rules
}

/// A rule for every call of this name.
#[must_use]
pub fn rule(name: &str, action: Action) -> Syscall {
    Syscall { action, ..allow(&[name]) }
}

fn allow(names: &[&str]) -> Syscall {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Syscall { names, action: Action::Allow, errno_ret: None, args: Vec::new() }
}

fn when(name: &str, args: &[Arg]) -> Syscall {
    Syscall { args: args.to_vec(), ..allow(&[name]) }
}

fn deny(name: &str, errno: u32, args: Vec<Arg>) -> Syscall {
    Syscall { names: vec![name.to_owned()], action: Action::Errno, errno_ret: Some(errno), args }
}

/// The kernel looks at 32 bits of this argument only; so must the filter, or the others hide it.
fn int(index: u32, value: u64) -> Arg {
    bits(index, 0xffff_ffff, value)
}

fn bits(index: u32, mask: u64, value: u64) -> Arg {
    Arg { index, value: mask, value_two: value, op: Operator::MaskedEqual }
}
