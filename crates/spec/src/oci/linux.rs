// SPDX-License-Identifier: Apache-2.0
//! `linux` of `config.json`: namespaces, maps, devices, paths, and what belongs to no other part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resources::Resources;
use super::{null, seccomp};

/// What is Linux's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// User id map.
    #[serde(default, deserialize_with = "null")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group id map.
    #[serde(default, deserialize_with = "null")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters.
    #[serde(default, deserialize_with = "null")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    #[serde(default, deserialize_with = "null")]
    pub resources: Resources,
    /// Where the control group is.
    #[serde(default, deserialize_with = "null")]
    pub cgroups_path: String,
    /// Namespaces that are new or joined.
    #[serde(default, deserialize_with = "null")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes besides the default ones.
    #[serde(default, deserialize_with = "null")]
    pub devices: Vec<Device>,
    /// System call filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<seccomp::Filter>,
    /// Propagation of the root mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<String>,
    /// Paths that show nothing.
    #[serde(default, deserialize_with = "null")]
    pub masked_paths: Vec<String>,
    /// Paths that can not be written.
    #[serde(default, deserialize_with = "null")]
    pub readonly_paths: Vec<String>,
    /// SELinux label of mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// Network devices of the host that move in, by their name there.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// Cache and memory bandwidth (resctrl).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// Where its memory comes from (set_mempolicy(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// How the kernel behaves towards it (personality(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// Offsets of the time namespace, by clock.
    #[serde(default, deserialize_with = "null")]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `c` or `b`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path inside.
    pub path: String,
    /// Major number.
    #[serde(default, deserialize_with = "null")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "null")]
    pub minor: i64,
    /// Mode; 0666 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner inside; 0 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group inside; 0 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A network device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetDevice {
    /// Its name inside; the same without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Cache and memory bandwidth by resctrl.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt {
    /// The class of service: a directory of resctrl; the container's id without it.
    #[serde(rename = "closID", default, skip_serializing_if = "Option::is_none")]
    pub clos_id: Option<String>,
    /// Lines of its `schemata`.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// One line for the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// One line for the bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// With a monitoring group of its own.
    #[serde(default, deserialize_with = "null")]
    pub enable_monitoring: bool,
}

/// Where memory comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_BIND` and so on.
    pub mode: String,
    /// A list of memory nodes (`0-1`).
    #[serde(default, deserialize_with = "null")]
    pub nodes: String,
    /// `MPOL_F_STATIC_NODES` and so on.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// How the kernel behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// None are known.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Offset of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default, deserialize_with = "null")]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "null")]
    pub nanosecs: u32,
}
