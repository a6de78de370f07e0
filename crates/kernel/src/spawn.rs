// SPDX-License-Identifier: Apache-2.0
//! Starts a small program of our own, that is nowhere in a file system, in new namespaces: without a copy of our memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Call, Error, Result};
use crate::process::{CLONE_INTO_CGROUP, CLONE_PIDFD, Child, CloneArgs};

/// A file in memory that has a name for nobody.
///
/// # Errors
/// memfd_create(2)'s or write(2)'s.
pub fn memory_file(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    use rustix::fs::MemfdFlags;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(name, flags).call(|| format!("memfd_create({name:?})"))?;
    crate::event::write_all(&file, bytes)?;
    Ok(file)
}

/// The same, as a program that nobody can change any more, not even its own process.
///
/// # Errors
/// memfd_create(2)'s (`EACCES` where `vm.memfd_noexec` is 2), write(2)'s or fcntl(2)'s.
pub fn sealed_program(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let call = || format!("memfd_create({name:?}, MFD_EXEC)");
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every one of them could be run.
        Err(crate::Errno::INVAL) => rustix::fs::memfd_create(name, flags).call(call)?,
        other => other.call(call)?,
    };
    crate::event::write_all(&file, bytes)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // F_SEAL_EXEC: nor can anybody change whether it may be run.
    let all = seals | SealFlags::from_bits_retain(0x20);
    match rustix::fs::fcntl_add_seals(&file, all) {
        Err(crate::Errno::INVAL) => rustix::fs::fcntl_add_seals(&file, seals).call(|| "fcntl(F_ADD_SEALS)")?,
        other => other.call(|| "fcntl(F_ADD_SEALS)")?,
    }
    Ok(file)
}

const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;

/// What the child runs on; pages that it does not touch are never there.
#[repr(align(16))]
struct Stack([std::mem::MaybeUninit<u64>; 2048]);

/// What the child needs until its execve; nothing of it changes while the parent waits.
struct Start<'a> {
    program: i32,
    inherited: &'a [BorrowedFd<'a>],
    argument: *const libc::c_char,
    error: i32,
}

/// Starts `program` with new namespaces (`flags`) in the version 2 group `cgroup`. It inherits the standard streams and the
/// descriptors `inherited`, under their numbers, and gets `argument` as its only argument.
///
/// The child shares our memory until its execve, and we wait for that (vfork(2)): no page is copied.
///
/// # Errors
/// clone3(2)'s or execveat(2)'s.
pub fn spawn(
    program: impl AsFd,
    argument: &std::ffi::CStr,
    inherited: &[BorrowedFd<'_>],
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Child> {
    let mut stack = Stack([const { std::mem::MaybeUninit::uninit() }; 2048]);
    let mut pidfd: i32 = -1;
    let program = program.as_fd().as_raw_fd();
    let mut start = Start { program, inherited, argument: argument.as_ptr(), error: 0 };
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD | CLONE_VM | CLONE_VFORK,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: size_of::<Stack>() as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    }
    // SAFETY: the child runs `enter` on `stack`, which lives until it has made its execve or ended, since CLONE_VFORK
    // keeps us here until then; `enter` allocates nothing and changes nothing but `start.error`.
    let pid = unsafe { clone_and_run(&raw const args, &raw mut start) };
    let call = || format!("clone3({:#x})", args.flags);
    let pid = match i32::try_from(pid) {
        Ok(pid) if pid > 0 => pid,
        Ok(errno) => return Err(Error::new(call(), crate::Errno::from_raw_os_error(-errno))),
        Err(_) => return Err(Error::new(call(), crate::Errno::OVERFLOW)),
    };
    // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
    let child = Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } };
    // SAFETY: the child wrote it while we waited, in memory that we share.
    let error = unsafe { std::ptr::read_volatile(&raw const start.error) };
    if error == 0 {
        return Ok(child);
    }
    crate::process::wait(&child.pidfd)?;
    Err(Error::new("execveat(memfd)", crate::Errno::from_raw_os_error(error)))
}

/// clone3(2), whose child calls `enter` on the stack that `args` names.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_run(args: *const CloneArgs, start: *mut Start<'_>) -> i64 {
    let result: i64;
    // SAFETY: the caller answers for `args` and `start`. The child never leaves this block: `enter` does not return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {start}",
            "call {enter}",
            "ud2",
            "2:",
            start = in(reg) start,
            enter = sym enter,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            // Not late: `start` is still wanted when these have changed.
            out("rcx") _, out("r11") _,
        );
    }
    result
}

/// The same where the block above has not been written yet: by a fork, which copies memory and needs no stack.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_and_run(args: *const CloneArgs, start: *mut Start<'_>) -> i64 {
    // SAFETY: the caller answers for `args`.
    let mut args = unsafe { std::ptr::read(args) };
    args.flags &= !(CLONE_VM | CLONE_VFORK);
    (args.stack, args.stack_size) = (0, 0);
    // SAFETY: without CLONE_VM this is a fork.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if result == 0 {
        // SAFETY: the child has its own copy of `start`.
        unsafe { enter(start) }
    }
    if result < 0 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
}

/// The child: lets the descriptors through, and becomes the program. It makes system calls only.
unsafe extern "C" fn enter(start: *mut Start<'_>) -> ! {
    // SAFETY: the parent waits, and its memory is ours until the execve; the pointers lead to what it keeps alive.
    unsafe {
        for fd in (*start).inherited {
            syscall(libc::SYS_fcntl, [fd.as_raw_fd() as usize, libc::F_SETFD as usize, 0, 0, 0]);
        }
        let arguments = [c"cella-init".as_ptr(), (*start).argument, std::ptr::null()];
        let environment: [*const libc::c_char; 1] = [std::ptr::null()];
        let (program, empty) = ((*start).program as usize, c"".as_ptr() as usize);
        let (argv, envp) = (arguments.as_ptr() as usize, environment.as_ptr() as usize);
        let failed = syscall(libc::SYS_execveat, [program, empty, argv, envp, libc::AT_EMPTY_PATH as usize]);
        std::ptr::write_volatile(&raw mut (*start).error, i32::try_from(-failed).unwrap_or(libc::EIO));
        syscall(libc::SYS_exit_group, [125, 0, 0, 0, 0]);
        loop {
            std::hint::spin_loop();
        }
    }
}

/// A system call that leaves the C library's `errno` alone, which the parent shares.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: libc::c_long, [a, b, c, d, e]: [usize; 5]) -> i64 {
    let result: i64;
    // SAFETY: the caller answers for the arguments.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn syscall(number: libc::c_long, [a, b, c, d, e]: [usize; 5]) -> i64 {
    // SAFETY: the caller answers for the arguments.
    match unsafe { libc::syscall(number, a, b, c, d, e) } {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
        result => result,
    }
}

/// A copy of the descriptor `number` of the process that `pidfd` stands for.
///
/// # Errors
/// pidfd_getfd(2)'s.
pub fn take_descriptor(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    rustix::process::pidfd_getfd(pidfd, number, rustix::process::PidfdGetfdFlags::empty())
        .call(|| format!("pidfd_getfd({number})"))
}
