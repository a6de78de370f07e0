// SPDX-License-Identifier: Apache-2.0
//! The runtime specification's system call filter, as its documents write it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `linux.seccomp` as it is written, which is parsed only by who needs to.
///
/// A profile of some 400 rules is most of the text of a `config.json`; a runtime that finds it compiled does not read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(Box<RawValue>);

impl Filter {
    /// The text, as it stands in the document.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The profile that the text is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(&self) -> Result<Seccomp, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl TryFrom<&Seccomp> for Filter {
    type Error = serde_json::Error;

    fn try_from(profile: &Seccomp) -> Result<Self, Self::Error> {
        serde_json::value::to_raw_value(profile).map(Self)
    }
}

/// The profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seccomp {
    /// What happens when no rule matches.
    pub default_action: Action,
    /// The error number of the default action; only with [`Action::Errno`] and [`Action::Trace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The architectures besides the host's own.
    #[serde(default, deserialize_with = "super::null", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Arch>,
    /// How the filter is installed.
    #[serde(default, deserialize_with = "super::null", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// The socket that gets the notification descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// What is sent along with the notification descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules, in order.
    #[serde(default, deserialize_with = "super::null", skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Syscall>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Syscall {
    /// The system calls it is for.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// The error number; only with [`Action::Errno`] and [`Action::Trace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// What the arguments must be; none means any.
    #[serde(default, deserialize_with = "super::null", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arg {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// What it is compared with; the mask for [`Operator::MaskedEqual`].
    pub value: u64,
    /// What the masked argument is compared with.
    #[serde(default, deserialize_with = "super::null")]
    pub value_two: u64,
    /// How.
    pub op: Operator,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The thread dies (the old name of [`Action::KillThread`]).
    #[serde(rename = "SCMP_ACT_KILL")]
    Kill,
    /// The process dies.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// The thread dies.
    #[serde(rename = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// The thread gets a SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// The call fails.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// A listener decides.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    /// A tracer decides.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// The call is made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// The call is made and logged.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
}

/// How an argument is compared, as 64-bit unsigned numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// `argument != value`
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// `argument < value`
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// `argument <= value`
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// `argument == value`
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// `argument >= value`
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// `argument > value`
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `argument & value == value_two & value`
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// How a filter is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flag {
    /// For all threads.
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    ThreadSync,
    /// All actions but allow are logged.
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    /// Without the mitigation of speculative store bypass.
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    SpecAllow,
    /// Who waits for a listener can only be killed.
    #[serde(rename = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")]
    WaitKillable,
}

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Arch {
    #[serde(rename = "SCMP_ARCH_X86")]
    X86,
    #[serde(rename = "SCMP_ARCH_X86_64")]
    X86_64,
    #[serde(rename = "SCMP_ARCH_X32")]
    X32,
    #[serde(rename = "SCMP_ARCH_ARM")]
    Arm,
    #[serde(rename = "SCMP_ARCH_AARCH64")]
    Aarch64,
    #[serde(rename = "SCMP_ARCH_MIPS")]
    Mips,
    #[serde(rename = "SCMP_ARCH_MIPS64")]
    Mips64,
    #[serde(rename = "SCMP_ARCH_MIPS64N32")]
    Mips64N32,
    #[serde(rename = "SCMP_ARCH_MIPSEL")]
    Mipsel,
    #[serde(rename = "SCMP_ARCH_MIPSEL64")]
    Mipsel64,
    #[serde(rename = "SCMP_ARCH_MIPSEL64N32")]
    Mipsel64N32,
    #[serde(rename = "SCMP_ARCH_PPC")]
    Ppc,
    #[serde(rename = "SCMP_ARCH_PPC64")]
    Ppc64,
    #[serde(rename = "SCMP_ARCH_PPC64LE")]
    Ppc64Le,
    #[serde(rename = "SCMP_ARCH_S390")]
    S390,
    #[serde(rename = "SCMP_ARCH_S390X")]
    S390X,
    #[serde(rename = "SCMP_ARCH_PARISC")]
    Parisc,
    #[serde(rename = "SCMP_ARCH_PARISC64")]
    Parisc64,
    #[serde(rename = "SCMP_ARCH_RISCV64")]
    Riscv64,
    #[serde(rename = "SCMP_ARCH_LOONGARCH64")]
    Loongarch64,
    #[serde(rename = "SCMP_ARCH_M68K")]
    M68k,
    #[serde(rename = "SCMP_ARCH_SH")]
    Sh,
    #[serde(rename = "SCMP_ARCH_SHEB")]
    Sheb,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],
        "flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW",
        "args":[{"index":0,"value":18446744073709551615,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;

    #[test]
    fn seccomp_is_read_as_the_specification_writes_it() {
        let profile: Seccomp = serde_json::from_str(PROFILE).unwrap();
        assert_eq!((profile.default_action, profile.default_errno_ret), (Action::Errno, Some(38)));
        assert_eq!((&profile.architectures[..], &profile.flags[..]), (&[Arch::X86_64][..], &[Flag::Log][..]));
        let args = [Arg { index: 0, value: u64::MAX, value_two: 0, op: Operator::MaskedEqual }];
        assert_eq!(profile.syscalls[0].args, args);
        let again: Seccomp = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
        assert_eq!(again, profile);
    }

    #[test]
    fn seccomp_refuses_what_it_does_not_know() {
        for (from, to) in [
            ("SCMP_ACT_ALLOW", "SCMP_ACT_PERHAPS"),
            ("SCMP_ARCH_X86_64", "SCMP_ARCH_VAX"),
            ("FLAG_LOG", "FLAG_NEW"),
            ("CMP_MASKED_EQ", "CMP_MASKED"),
            ("valueTwo", "valueThree"),
            ("\"names\"", "\"includes\":{},\"names\""),
        ] {
            assert!(serde_json::from_str::<Seccomp>(&PROFILE.replace(from, to)).is_err(), "{to}");
        }
    }
}
