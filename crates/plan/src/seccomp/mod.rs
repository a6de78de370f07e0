// SPDX-License-Identifier: Apache-2.0
//! Compiles a system call filter to the classic BPF program that seccomp(2) takes.
//!
//! ```text
//! load arch ── one of ours? ── no ──> kill the process
//!                   │
//! load nr ── binary search of the ranges of numbers that share an outcome
//!                   ├──> the same outcome whatever the arguments
//!                   └──> the rules of the number, in order; the first that matches decides
//! ```
//!
//! Rules are tried in the order of the profile. A rule's conditions must all hold, except that several on one argument
//! make the rule hold as soon as one of them does, as runc and crun have it. The host's own architecture is always there.
//! A rule without conditions also decides on calls that 32-bit x86 makes through socketcall(2) and ipc(2); one with
//! conditions can not, since they hide the arguments. A name that an architecture lacks is passed over; a number beyond the tables is `ENOSYS`, as on the kernel they are of.

mod assembler;
mod filter;
pub mod profile;
pub mod simulate;
mod tables;
#[cfg(test)]
mod tests;

pub use filter::compile;

/// The names of the architectures that a profile may have.
#[must_use]
pub fn architectures() -> Vec<String> {
    use spec::oci::seccomp::Arch as Name;
    let all = [Name::X86, Name::X86_64, Name::X32, Name::Arm, Name::Aarch64, Name::Riscv64];
    all.iter().filter_map(|one| serde_json::to_value(one).ok()?.as_str().map(str::to_owned)).collect()
}

/// The kernel's limit (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// Outcomes (`SECCOMP_RET_*`); the low 16 bits are data.
pub mod outcome {
    /// The process dies.
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    /// The thread dies.
    pub const KILL_THREAD: u32 = 0;
    /// The thread gets a SIGSYS.
    pub const TRAP: u32 = 0x0003_0000;
    /// The call fails; the data is the error number.
    pub const ERRNO: u32 = 0x0005_0000;
    /// A listener decides.
    pub const USER_NOTIF: u32 = 0x7fc0_0000;
    /// A tracer decides; the data is its message.
    pub const TRACE: u32 = 0x7ff0_0000;
    /// The call is made and logged.
    pub const LOG: u32 = 0x7ffc_0000;
    /// The call is made.
    pub const ALLOW: u32 = 0x7fff_0000;
}

/// How a program is installed (`SECCOMP_FILTER_FLAG_*`).
///
/// `TSYNC` is not among them: the only thread there is installs the program. So the kernel never sees it together with
/// [`NEW_LISTENER`](flag::NEW_LISTENER), which it would take with `TSYNC_ESRCH` only.
pub mod flag {
    /// All actions but allow are logged.
    pub const LOG: u32 = 1 << 1;
    /// Without the mitigation of speculative store bypass.
    pub const SPEC_ALLOW: u32 = 1 << 2;
    /// seccomp(2) returns the descriptor that the listener reads from.
    pub const NEW_LISTENER: u32 = 1 << 3;
    /// Who waits for a listener can only be killed.
    pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;
}

/// Why a profile can not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("SCMP_ACT_NOTIFY needs a listenerPath")]
    Notify,
    /// The runtime's own last calls would wait for whoever does not listen yet.
    #[error("SCMP_ACT_NOTIFY can not be the default action")]
    NotifyDefault,
    /// The runtime may still write before anybody listens.
    #[error("SCMP_ACT_NOTIFY can not be used for the system call write")]
    NotifyWrite,
    /// A flag that only makes sense with a listener.
    #[error("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY")]
    WaitKillable,
    /// A system call has six arguments.
    #[error("{name}: there is no argument {index}, only 0 to 5")]
    Argument {
        /// The first system call of the rule.
        name: String,
        /// The index.
        index: u32,
    },
    /// An error number on an action that returns none.
    #[error("an error number ({errno}) goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")]
    ErrnoUnused {
        /// The error number.
        errno: u32,
    },
    /// An error number that is none.
    #[error("{errno} is not an error number (0 to 4095)")]
    Errno {
        /// The error number.
        errno: u32,
    },
    /// The kernel would not take it.
    #[error("the program has {length} instructions, the kernel takes {LONGEST}")]
    TooLong {
        /// Instructions.
        length: usize,
    },
}

/// An architecture that the program can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

impl Arch {
    /// The one this program is built for.
    #[must_use]
    pub const fn native() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self::X86_64;
        #[cfg(target_arch = "x86")]
        return Self::X86;
        #[cfg(target_arch = "aarch64")]
        return Self::Aarch64;
        #[cfg(target_arch = "arm")]
        return Self::Arm;
        #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm")))]
        compile_error!("there is no table of this architecture's system calls");
    }

    /// `AUDIT_ARCH_*`, as the kernel tells it to the filter.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Arguments have 32 bits.
    const fn narrow(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// The one whose programs the same kernel runs too.
    const fn compat(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::X86),
            Self::Aarch64 => Some(Self::Arm),
            Self::X86 | Self::Arm => None,
        }
    }

    /// As a profile names it.
    const fn named(self) -> spec::oci::seccomp::Arch {
        match self {
            Self::X86_64 => spec::oci::seccomp::Arch::X86_64,
            Self::X86 => spec::oci::seccomp::Arch::X86,
            Self::Aarch64 => spec::oci::seccomp::Arch::Aarch64,
            Self::Arm => spec::oci::seccomp::Arch::Arm,
        }
    }
}

/// An instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub jt: u8,
    /// Instructions to skip when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What seccomp(2) is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The instructions.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`, see [`flag`].
    pub flags: u32,
}
