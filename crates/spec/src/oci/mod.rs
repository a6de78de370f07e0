// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime specification's documents (runtime-spec 1.3), as far as they are used.

pub mod seccomp;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is Linux's own.
    pub linux: Linux,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its directory.
    pub path: String,
    /// Not writable.
    #[serde(default)]
    pub readonly: bool,
}

/// The program and how it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// A terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Who it runs as.
    pub user: User,
    /// Arguments; the first is the program.
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Capabilities; a missing one is an empty set.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Resource limits.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// No execve gains rights.
    #[serde(default)]
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
}

/// Who the program runs as, inside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// File mode creation mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default)]
    pub additional_gids: Vec<u32>,
}

/// The five sets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    #[serde(default)]
    pub bounding: Vec<String>,
    /// What counts.
    #[serde(default)]
    pub effective: Vec<String>,
    /// What can be made to count.
    #[serde(default)]
    pub permitted: Vec<String>,
    /// What execve may keep.
    #[serde(default)]
    pub inheritable: Vec<String>,
    /// What execve keeps.
    #[serde(default)]
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
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Source.
    #[serde(default)]
    pub source: String,
    /// Options.
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is Linux's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// User id map.
    #[serde(default)]
    pub uid_mappings: Vec<IdMapping>,
    /// Group id map.
    #[serde(default)]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// Where the control group is.
    #[serde(default)]
    pub cgroups_path: String,
    /// Namespaces that are new or joined.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// Device nodes besides the default ones.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// System call filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<seccomp::Seccomp>,
    /// Propagation of the root mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<String>,
    /// Paths that show nothing.
    #[serde(default)]
    pub masked_paths: Vec<String>,
    /// Paths that can not be written.
    #[serde(default)]
    pub readonly_paths: Vec<String>,
    /// SELinux label of mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// Offsets of the time namespace, by clock.
    #[serde(default)]
    pub time_offsets: BTreeMap<String, TimeOffset>,
}

/// One line of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// `pid`, `network`, `ipc`, `uts`, `mount`, `user`, `cgroup`, `time`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The file of the one to join; a new one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `c` or `b`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path inside.
    pub path: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Limits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Which devices may be used; later rules win.
    #[serde(default)]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(default)]
    pub memory: Memory,
    /// Processors.
    #[serde(default)]
    pub cpu: Cpu,
    /// Processes.
    #[serde(default)]
    pub pids: Pids,
    /// Block I/O.
    #[serde(default, rename = "blockIO")]
    pub block_io: BlockIo,
}

/// Whether devices may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allowed or not.
    pub allow: bool,
    /// `a`, `c` or `b`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Major number; every one without it.
    #[serde(default)]
    pub major: Option<i64>,
    /// Minor number; every one without it.
    #[serde(default)]
    pub minor: Option<i64>,
    /// Of `rwm`.
    #[serde(default)]
    pub access: Option<String>,
}

/// Memory limits in bytes; -1 is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// What is kept from being reclaimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
}

/// Processor limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// Weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds per period; -1 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// List of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// List of memory nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

/// Limit of processes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pids {
    /// How many; -1 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// Block I/O.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockIo {
    /// 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// Offset of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default)]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(default)]
    pub nanosecs: u32,
}
