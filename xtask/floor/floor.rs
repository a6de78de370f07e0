// SPDX-License-Identifier: Apache-2.0
//! The kernel's own price of a container: clone3 with seven namespaces, the usual mounts, pivot_root, exec, wait; nothing
//! else. No libc, no workspace crate: `cargo xtask bench start` compiles it with plain rustc and starts it as a contestant.
//!
//! Arguments: the overlay mount options, an empty directory to mount on, the uid_map line (also used as gid_map; `-` for no
//! user namespace), and the program to run. Exit code: the program's own, or the number of the step below that failed (`Step`).
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov rdi, rsp",
    "and rsp, -16",
    "call entry"
);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl entry");

#[cfg(target_arch = "x86_64")]
mod nr {
    //! System call numbers of x86-64.
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const WAIT4: usize = 61;
    pub const CHDIR: usize = 80;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const PIVOT_ROOT: usize = 155;
    pub const MOUNT: usize = 165;
    pub const UMOUNT2: usize = 166;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const PIPE2: usize = 293;
    pub const EXECVE: usize = 59;
    pub const CLONE3: usize = 435;
}
#[cfg(target_arch = "aarch64")]
mod nr {
    //! System call numbers of arm64 (the generic table).
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const CLOSE: usize = 57;
    pub const WAIT4: usize = 260;
    pub const CHDIR: usize = 49;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const PIVOT_ROOT: usize = 41;
    pub const MOUNT: usize = 40;
    pub const UMOUNT2: usize = 39;
    pub const EXIT_GROUP: usize = 94;
    pub const OPENAT: usize = 56;
    pub const MKDIRAT: usize = 34;
    pub const PIPE2: usize = 59;
    pub const EXECVE: usize = 221;
    pub const CLONE3: usize = 435;
}

/// What failed; the exit code of this program.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Step {
    Arguments = 100,
    Pipe,
    Clone,
    Map,
    Wait,
    Sync,
    Ids,
    Private,
    Overlay,
    Proc,
    Sys,
    Dev,
    Pts,
    Shm,
    Mqueue,
    Pivot,
    Exec,
}

const AT_FDCWD: usize = -100_isize as usize;
const O_WRONLY_CLOEXEC: usize = 0o2000001;
const O_CLOEXEC: usize = 0o2000000;
const SIGCHLD: u64 = 17;
const MNT_DETACH: usize = 2;
const MS_NOSUID: usize = 2;
const MS_NODEV: usize = 4;
const MS_NOEXEC: usize = 8;
const MS_REC_PRIVATE: usize = 0x4000 | 0x4_0000;
const NEWUSER: u64 = 0x1000_0000;
/// NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/// `struct clone_args`, its first published size (64 bytes).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

#[cfg(target_arch = "x86_64")]
fn sys(n: usize, a: [usize; 5]) -> isize {
    let r;
    // SAFETY: the callers below pass pointers to live, NUL-terminated or sized memory of this program only.
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
             in("r8") a[4], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    r
}
#[cfg(target_arch = "aarch64")]
fn sys(n: usize, a: [usize; 5]) -> isize {
    let r;
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", in("x8") n, inlateout("x0") a[0] as isize => r, in("x1") a[1], in("x2") a[2], in("x3") a[3],
             in("x4") a[4], options(nostack));
    }
    r
}

fn exit(code: usize) -> ! {
    loop {
        sys(nr::EXIT_GROUP, [code, 0, 0, 0, 0]);
    }
}

fn check(r: isize, step: Step) -> usize {
    if r < 0 {
        exit(step as usize)
    } else {
        r as usize
    }
}

fn mount(kind: &core::ffi::CStr, target: usize, flags: usize, data: usize, step: Step) {
    let kind = kind.as_ptr() as usize;
    check(sys(nr::MOUNT, [kind, target, kind, flags, data]), step);
}

fn mkdir(path: &core::ffi::CStr, step: Step) {
    check(
        sys(nr::MKDIRAT, [AT_FDCWD, path.as_ptr() as usize, 0o755, 0, 0]),
        step,
    );
}

fn mounts(overlay: usize, target: usize) {
    check(
        sys(nr::MOUNT, [0, c"/".as_ptr() as usize, 0, MS_REC_PRIVATE, 0]),
        Step::Private,
    );
    mount(c"overlay", target, 0, overlay, Step::Overlay);
    check(sys(nr::CHDIR, [target, 0, 0, 0, 0]), Step::Overlay);
    let strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount(c"proc", c"proc".as_ptr() as usize, strict, 0, Step::Proc);
    mount(c"sysfs", c"sys".as_ptr() as usize, strict, 0, Step::Sys);
    mount(
        c"tmpfs",
        c"dev".as_ptr() as usize,
        MS_NOSUID,
        c"mode=755,size=64k".as_ptr() as usize,
        Step::Dev,
    );
    mkdir(c"dev/pts", Step::Pts);
    let pts = c"newinstance,ptmxmode=0666,mode=0620".as_ptr() as usize;
    mount(
        c"devpts",
        c"dev/pts".as_ptr() as usize,
        MS_NOSUID | MS_NOEXEC,
        pts,
        Step::Pts,
    );
    mkdir(c"dev/shm", Step::Shm);
    mount(
        c"tmpfs",
        c"dev/shm".as_ptr() as usize,
        strict,
        c"mode=1777,size=64m".as_ptr() as usize,
        Step::Shm,
    );
    mkdir(c"dev/mqueue", Step::Mqueue);
    mount(
        c"mqueue",
        c"dev/mqueue".as_ptr() as usize,
        strict,
        0,
        Step::Mqueue,
    );
    let here = c".".as_ptr() as usize;
    check(sys(nr::PIVOT_ROOT, [here, here, 0, 0, 0]), Step::Pivot);
    check(sys(nr::UMOUNT2, [here, MNT_DETACH, 0, 0, 0]), Step::Pivot);
    check(
        sys(nr::CHDIR, [c"/".as_ptr() as usize, 0, 0, 0, 0]),
        Step::Pivot,
    );
}

fn child(pipe: [i32; 2], overlay: usize, target: usize, program: usize) -> ! {
    sys(nr::CLOSE, [pipe[1] as usize, 0, 0, 0, 0]);
    let mut byte = 0_u8;
    if sys(
        nr::READ,
        [pipe[0] as usize, &raw mut byte as usize, 1, 0, 0],
    ) != 1
    {
        exit(Step::Sync as usize);
    }
    check(sys(nr::SETRESGID, [0, 0, 0, 0, 0]), Step::Ids);
    check(sys(nr::SETRESUID, [0, 0, 0, 0, 0]), Step::Ids);
    mounts(overlay, target);
    let argv = [program, 0];
    let envp = [0_usize];
    check(
        sys(
            nr::EXECVE,
            [
                program,
                argv.as_ptr() as usize,
                envp.as_ptr() as usize,
                0,
                0,
            ],
        ),
        Step::Exec,
    );
    exit(Step::Exec as usize)
}

/// Writes the `length` bytes at `line` into /proc/PID/NAME.
fn write_map(pid: usize, name: &[u8], line: usize, length: usize) {
    let mut path = [0_u8; 40];
    let mut digits = [0_u8; 20];
    let (mut n, mut left) = (0, pid);
    while left > 0 {
        digits[n] = b'0' + (left % 10) as u8;
        left /= 10;
        n += 1;
    }
    let parts = b"/proc/".iter().chain(digits[..n].iter().rev()).chain(name);
    for (to, from) in path.iter_mut().zip(parts) {
        *to = *from;
    }
    let fd = check(
        sys(
            nr::OPENAT,
            [AT_FDCWD, path.as_ptr() as usize, O_WRONLY_CLOEXEC, 0, 0],
        ),
        Step::Map,
    );
    check(sys(nr::WRITE, [fd, line, length, 0, 0]), Step::Map);
    sys(nr::CLOSE, [fd, 0, 0, 0, 0]);
}

#[unsafe(no_mangle)]
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: at the entry point the kernel's stack holds argc and then argc pointers.
    let (argc, argv) = unsafe { (*stack, core::slice::from_raw_parts(stack.add(1), *stack)) };
    if argc != 5 {
        exit(Step::Arguments as usize);
    }
    let mut pipe = [0_i32; 2];
    check(
        sys(nr::PIPE2, [pipe.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0]),
        Step::Pipe,
    );
    // The kernel lays arguments out one after the other, each with its NUL: no strlen is needed (there is no libc).
    let length = argv[4] - argv[3] - 1;
    let own_ids = length > 1;
    let args = CloneArgs {
        flags: if own_ids { NAMESPACES } else { NAMESPACES & !NEWUSER },
        exit_signal: SIGCHLD,
        ..CloneArgs::default()
    };
    let pid = check(
        sys(
            nr::CLONE3,
            [&raw const args as usize, size_of::<CloneArgs>(), 0, 0, 0],
        ),
        Step::Clone,
    );
    if pid == 0 {
        child(pipe, argv[1], argv[2], argv[4]);
    }
    if own_ids {
        write_map(pid, b"/uid_map\0", argv[3], length);
        write_map(pid, b"/gid_map\0", argv[3], length);
    }
    if sys(
        nr::WRITE,
        [pipe[1] as usize, c"x".as_ptr() as usize, 1, 0, 0],
    ) != 1
    {
        exit(Step::Sync as usize);
    }
    let mut status = 0_i32;
    check(
        sys(nr::WAIT4, [pid, &raw mut status as usize, 0, 0, 0]),
        Step::Wait,
    );
    exit(if status & 0x7f == 0 {
        (status >> 8) as usize & 0xff
    } else {
        128 + (status & 0x7f) as usize
    })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(99)
}
