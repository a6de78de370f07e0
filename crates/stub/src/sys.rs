// SPDX-License-Identifier: Apache-2.0
//! System calls, raw, and the words for what failed.

use core::arch::asm;

/// What failed: the call and the thing that it was about, as the launcher is told.
pub(crate) struct Failure {
    pub(crate) errno: i32,
    pub(crate) call: &'static str,
    pub(crate) about: Text,
}

/// A part of a text, kept without an allocator.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; 200],
    length: usize,
}

impl Text {
    pub(crate) const EMPTY: Self = Self { bytes: [0; 200], length: 0 };

    pub(crate) fn new(from: &[u8]) -> Self {
        let mut text = Self::EMPTY;
        text.push(from.strip_suffix(&[0]).unwrap_or(from));
        text
    }

    pub(crate) fn push(&mut self, from: &[u8]) {
        for byte in from {
            if let Some(to) = self.bytes.get_mut(self.length) {
                *to = *byte;
                self.length += 1;
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

pub(crate) type Result<T> = core::result::Result<T, Failure>;

/// Names the call of a result.
pub(crate) trait Call<T> {
    fn call(self, call: &'static str, about: &[u8]) -> Result<T>;
}

impl<T> Call<T> for core::result::Result<T, i32> {
    fn call(self, call: &'static str, about: &[u8]) -> Result<T> {
        self.map_err(|errno| Failure { errno, call, about: Text::new(about) })
    }
}

/// The numbers of errors that are told apart.
pub(crate) mod errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EINTR: i32 = 4;
    pub(crate) const EBADF: i32 = 9;
    pub(crate) const ENXIO: i32 = 6;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const EEXIST: i32 = 17;
    pub(crate) const EXDEV: i32 = 18;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENOTDIR: i32 = 20;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EROFS: i32 = 30;
    pub(crate) const ENAMETOOLONG: i32 = 36;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const ELOOP: i32 = 40;
    pub(crate) const EBADMSG: i32 = 74;
    pub(crate) const ETIMEDOUT: i32 = 110;
    pub(crate) const ECANCELED: i32 = 125;
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod nr {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const LSEEK: usize = 8;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const GETCWD: usize = 79;
    pub(crate) const FCHDIR: usize = 81;
    pub(crate) const CHDIR: usize = 80;
    pub(crate) const UMASK: usize = 95;
    pub(crate) const SETSID: usize = 112;
    pub(crate) const SETGROUPS: usize = 116;
    pub(crate) const SETRESUID: usize = 117;
    pub(crate) const SETRESGID: usize = 119;
    pub(crate) const CAPSET: usize = 126;
    pub(crate) const PERSONALITY: usize = 135;
    pub(crate) const FSTATFS: usize = 138;
    pub(crate) const PIVOT_ROOT: usize = 155;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const CHROOT: usize = 161;
    pub(crate) const MOUNT: usize = 165;
    pub(crate) const UMOUNT2: usize = 166;
    pub(crate) const SETHOSTNAME: usize = 170;
    pub(crate) const SETDOMAINNAME: usize = 171;
    pub(crate) const SCHED_SETAFFINITY: usize = 203;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const SET_MEMPOLICY: usize = 238;
    pub(crate) const KEYCTL: usize = 250;
    pub(crate) const IOPRIO_SET: usize = 251;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const MKDIRAT: usize = 258;
    pub(crate) const MKNODAT: usize = 259;
    pub(crate) const FCHOWNAT: usize = 260;
    pub(crate) const SYMLINKAT: usize = 266;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const PPOLL: usize = 271;
    pub(crate) const UNSHARE: usize = 272;
    pub(crate) const SIGNALFD4: usize = 289;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const PRLIMIT64: usize = 302;
    pub(crate) const SETNS: usize = 308;
    pub(crate) const SCHED_SETATTR: usize = 314;
    pub(crate) const SECCOMP: usize = 317;
    pub(crate) const STATX: usize = 332;
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod nr {
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const LSEEK: usize = 62;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const RT_SIGACTION: usize = 134;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const WAIT4: usize = 260;
    pub(crate) const KILL: usize = 129;
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const GETCWD: usize = 17;
    pub(crate) const FCHDIR: usize = 50;
    pub(crate) const CHDIR: usize = 49;
    pub(crate) const UMASK: usize = 166;
    pub(crate) const SETSID: usize = 157;
    pub(crate) const SETGROUPS: usize = 159;
    pub(crate) const SETRESUID: usize = 147;
    pub(crate) const SETRESGID: usize = 149;
    pub(crate) const CAPSET: usize = 91;
    pub(crate) const PERSONALITY: usize = 92;
    pub(crate) const FSTATFS: usize = 44;
    pub(crate) const PIVOT_ROOT: usize = 41;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const CHROOT: usize = 51;
    pub(crate) const MOUNT: usize = 40;
    pub(crate) const UMOUNT2: usize = 39;
    pub(crate) const SETHOSTNAME: usize = 161;
    pub(crate) const SETDOMAINNAME: usize = 162;
    pub(crate) const SCHED_SETAFFINITY: usize = 122;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const SET_MEMPOLICY: usize = 237;
    pub(crate) const KEYCTL: usize = 219;
    pub(crate) const IOPRIO_SET: usize = 30;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const MKDIRAT: usize = 34;
    pub(crate) const MKNODAT: usize = 33;
    pub(crate) const FCHOWNAT: usize = 54;
    pub(crate) const SYMLINKAT: usize = 36;
    pub(crate) const READLINKAT: usize = 78;
    pub(crate) const PPOLL: usize = 73;
    pub(crate) const UNSHARE: usize = 97;
    pub(crate) const SIGNALFD4: usize = 74;
    pub(crate) const DUP3: usize = 24;
    pub(crate) const PRLIMIT64: usize = 261;
    pub(crate) const SETNS: usize = 268;
    pub(crate) const SCHED_SETATTR: usize = 274;
    pub(crate) const SECCOMP: usize = 277;
    pub(crate) const STATX: usize = 291;
}

/// Calls that have the same number everywhere.
pub(crate) mod same {
    pub(crate) const OPEN_TREE: usize = 428;
    pub(crate) const MOVE_MOUNT: usize = 429;
    pub(crate) const FSOPEN: usize = 430;
    pub(crate) const FSCONFIG: usize = 431;
    pub(crate) const FSMOUNT: usize = 432;
    pub(crate) const CLONE3: usize = 435;
    pub(crate) const CLOSE_RANGE: usize = 436;
    pub(crate) const OPENAT2: usize = 437;
    pub(crate) const PIDFD_SEND_SIGNAL: usize = 424;
    pub(crate) const FACCESSAT2: usize = 439;
    pub(crate) const MOUNT_SETATTR: usize = 442;
    pub(crate) const LANDLOCK_CREATE_RULESET: usize = 444;
    pub(crate) const LANDLOCK_ADD_RULE: usize = 445;
    pub(crate) const LANDLOCK_RESTRICT_SELF: usize = 446;
}

/// One system call; the error is its number.
///
/// # Safety
/// What the kernel reads or writes through the arguments must be valid for it, as the call's manual page says.
pub(crate) unsafe fn raw(number: usize, arguments: [usize; 6]) -> core::result::Result<usize, i32> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the registers are those of the system call interface; the caller answers for the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    match result {
        #[expect(clippy::cast_possible_truncation, reason = "an error number has 12 bits")]
        -4095..=-1 => Err(-result as i32),
        _ => Ok(result.cast_unsigned()),
    }
}

/// A call whose arguments are integers, or lead to memory that outlives it and is as large as the call wants.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {{
        let given = [$($argument as usize),*];
        let mut arguments = [0_usize; 6];
        let mut at = 0;
        while at < given.len() {
            arguments[at] = given[at];
            at += 1;
        }
        // SAFETY: each use passes integers, or pointers to memory of this frame or of the program that is larger than
        // what the call reads or writes.
        unsafe { $crate::sys::raw($number, arguments) }
    }};
}
pub(crate) use call;

pub(crate) fn exit(code: i32) -> ! {
    loop {
        call!(nr::EXIT_GROUP, code).ok();
    }
}

pub(crate) fn close(fd: i32) {
    call!(nr::CLOSE, fd).ok();
}

/// The fields of `struct statx` that are asked for.
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) mount_root: bool,
    pub(crate) device: (u32, u32),
    pub(crate) user: u32,
}

impl Stat {
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    pub(crate) fn of(fd: i32) -> Result<Self> {
        const AT_EMPTY_PATH: usize = 0x1000;
        const TYPE_MODE_USER: usize = 3 | 8;
        let mut words = [0_u32; 64];
        call!(nr::STATX, fd, c"".as_ptr(), AT_EMPTY_PATH, TYPE_MODE_USER, words.as_mut_ptr()).call("statx", b"")?;
        let [_, _, attributes, _, _, user, _, mode, ..] = words;
        Ok(Self { mode: mode & 0xffff, mount_root: attributes & 0x2000 != 0, device: (words[32], words[33]), user })
    }
}
