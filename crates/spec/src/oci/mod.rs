// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime specification's documents (runtime-spec 1.3), as far as they are used.

mod linux;
mod resources;
pub mod seccomp;

pub use linux::*;
pub use resources::*;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the specification.
    pub oci_version: String,
    /// The root file system.
    pub root: Root,
    /// The program.
    pub process: Process,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, in order.
    #[serde(default, deserialize_with = "null")]
    pub mounts: Vec<Mount>,
    /// Annotations.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Programs to run at certain moments.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// What is Linux's own.
    #[serde(default, deserialize_with = "null")]
    pub linux: Linux,
}

/// A field that is `null` is as one that is not there: Go's encoder writes it for an empty list.
pub(crate) fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Programs of the host or the container that run at certain moments of its life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// The same moment as `createRuntime`, before it; the specification calls it deprecated.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// Of the host, in its namespaces: the namespaces are made, the root is not yet the root.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// Of the host, in the container's namespaces, before the root is the root.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Of the container, before its program.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// Of the host, after the program was started.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Of the host, after the container was deleted.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { prestart, create_runtime, create_container, start_container, poststart, poststop } = self;
        [prestart, create_runtime, create_container, start_container, poststart, poststop]
            .iter()
            .all(|all| all.is_empty())
    }
}

/// One such program; the container's state comes on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hook {
    /// Its absolute path.
    pub path: String,
    /// Its arguments, with its name as the first.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its directory.
    pub path: String,
    /// Not writable.
    #[serde(default, deserialize_with = "null")]
    pub readonly: bool,
}

/// The program and how it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// A terminal.
    #[serde(default, deserialize_with = "null")]
    pub terminal: bool,
    /// Size of the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who it runs as.
    #[serde(default, deserialize_with = "null")]
    pub user: User,
    /// Arguments; the first is the program.
    #[serde(default, deserialize_with = "null")]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null")]
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Capabilities; a missing one is an empty set.
    #[serde(default, deserialize_with = "null")]
    pub capabilities: Capabilities,
    /// Resource limits.
    #[serde(default, deserialize_with = "null")]
    pub rlimits: Vec<Rlimit>,
    /// No execve gains rights.
    #[serde(default, deserialize_with = "null")]
    pub no_new_privileges: bool,
    /// AppArmor profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// SELinux label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// Score adjustment of the out-of-memory killer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// How it is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// How its I/O is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// The processors of a program that `exec` adds.
    #[serde(rename = "execCPUAffinity", default, skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    pub height: u64,
    /// Columns.
    pub width: u64,
}

/// The parameters of sched_setattr(2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_OTHER` and so on.
    pub policy: String,
    /// -20 to 19.
    #[serde(default, deserialize_with = "null")]
    pub nice: i32,
    /// 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    #[serde(default, deserialize_with = "null")]
    pub priority: i32,
    /// `SCHED_FLAG_RESET_ON_FORK` and so on.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    #[serde(default, deserialize_with = "null")]
    pub runtime: u64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "null")]
    pub deadline: u64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "null")]
    pub period: u64,
}

/// The parameters of ioprio_set(2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    pub class: String,
    /// 0 (most) to 7.
    #[serde(default, deserialize_with = "null")]
    pub priority: i32,
}

/// Lists of processors (`0-3,7`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuAffinity {
    /// Before the process is in the control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// From then on.
    #[serde(rename = "final", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// Who the program runs as, inside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id.
    #[serde(default, deserialize_with = "null")]
    pub uid: u32,
    /// Group id.
    #[serde(default, deserialize_with = "null")]
    pub gid: u32,
    /// File mode creation mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default, deserialize_with = "null")]
    pub additional_gids: Vec<u32>,
}

/// The five sets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    #[serde(default, deserialize_with = "null")]
    pub bounding: Vec<String>,
    /// What counts.
    #[serde(default, deserialize_with = "null")]
    pub effective: Vec<String>,
    /// What can be made to count.
    #[serde(default, deserialize_with = "null")]
    pub permitted: Vec<String>,
    /// What execve may keep.
    #[serde(default, deserialize_with = "null")]
    pub inheritable: Vec<String>,
    /// What execve keeps.
    #[serde(default, deserialize_with = "null")]
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Hard limit.
    pub hard: u64,
    /// Soft limit.
    pub soft: u64,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where inside.
    pub destination: String,
    /// File system type, or `bind`.
    #[serde(default, deserialize_with = "null", rename = "type")]
    pub kind: String,
    /// Source.
    #[serde(default, deserialize_with = "null")]
    pub source: String,
    /// Options.
    #[serde(default, deserialize_with = "null")]
    pub options: Vec<String>,
    /// The map by which its user ids are shown.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// The same for group ids.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}
