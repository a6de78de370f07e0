// SPDX-License-Identifier: Apache-2.0
//! What can be seen of containers from outside: the shapes that the commands print and write as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spec::Name;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    Created,
    /// Its program runs.
    Running,
    /// Its program is frozen.
    Paused,
    /// It has ended and will be started again in a moment.
    Restarting,
    /// It has ended.
    Exited,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

/// One line of `ls`. Times are RFC 3339, sizes bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Full id: 64 hexadecimal digits.
    pub id: String,
    /// Name.
    pub name: Name,
    /// `app` or `system`.
    pub kind: &'static str,
    /// What it is doing.
    pub status: Status,
    /// The image as it was named.
    pub image: String,
    /// The command line.
    pub command: String,
    /// When it was made.
    pub created: String,
    /// When it was started last.
    pub started: Option<String>,
    /// When the init of a whole system said that everything is up.
    pub ready: Option<String>,
    /// When it ended last.
    pub finished: Option<String>,
    /// The exit code, when it has ended.
    pub exit_code: Option<i32>,
    /// The id of its first process on the host, when it runs.
    pub pid: Option<i32>,
    /// Nanoseconds of processor time used so far, when it runs.
    pub cpu_ns: Option<u64>,
    /// Bytes of memory in use, when it runs.
    pub memory: Option<u64>,
    /// Its limit.
    pub memory_limit: Option<u64>,
    /// Its addresses, when it runs.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its published ports, when it runs.
    pub ports: Vec<spec::network::Publish>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Everything about one container.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Version of this document's format.
    pub version: u32,
    /// What `ls` shows.
    #[serde(flatten)]
    pub summary: Summary,
    /// Times that it was restarted by its policy since it was started by hand.
    pub restart_count: u32,
    /// Did the kernel kill one of its processes for lack of memory, in the last run that ended?
    pub oom_killed: bool,
    /// How many it has killed since the container was started by hand, while it runs.
    pub oom_kills: u64,
    /// Why it could not be started last, if so.
    pub error: Option<String>,
    /// The first id of its range on the host; none with the host's ids.
    pub ids: Option<u32>,
    /// The id of its keeper on the host.
    pub keeper: Option<i32>,
    /// Its directory in the store.
    pub directory: String,
    /// Its log file.
    pub log: String,
    /// The control group's name in every hierarchy.
    pub cgroup: String,
    /// Its namespaces, `kind:[inode]`, when it runs.
    pub namespaces: BTreeMap<String, String>,
    /// Digest of the image.
    pub image_digest: Option<String>,
    /// Its network devices, when it runs.
    pub networks: Vec<crate::networks::AttachedView>,
    /// What was asked for.
    pub definition: spec::Definition,
}

/// One line of `top`.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessRow {
    /// Its id on the host.
    pub pid: i32,
    /// Its id inside.
    pub inside: i32,
    /// Its parent on the host.
    pub parent: i32,
    /// Its user id on the host.
    pub uid: u32,
    /// Its user id inside, when it has one there.
    pub inside_uid: Option<u32>,
    /// State letter.
    pub state: char,
    /// Milliseconds of processor time.
    pub cpu_ms: u64,
    /// Bytes resident.
    pub resident: u64,
    /// Command line.
    pub command: String,
}

/// One line of `stats`.
#[derive(Debug, Clone, Serialize)]
pub struct StatsRow {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: Name,
    /// Nanoseconds since 1970 of this reading.
    pub time_ns: u64,
    /// Nanoseconds of processor time.
    pub cpu_ns: Option<u64>,
    /// Nanoseconds that the processor limit kept it waiting.
    pub throttled_ns: Option<u64>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Its limit.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub write_bytes: Option<u64>,
    /// Its network devices.
    pub networks: Vec<NetworkStats>,
}

/// What has gone through a network device since the start; bytes with the headers of the link.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkStats {
    /// The network.
    pub network: String,
    /// Its name inside.
    pub interface: String,
    /// Bytes from the container.
    pub sent_bytes: u64,
    /// Bytes to the container.
    pub received_bytes: u64,
    /// Packets from the container.
    pub sent_packets: u64,
    /// Packets to the container.
    pub received_packets: u64,
    /// Packets that a limit had no room for.
    pub dropped_packets: u64,
    /// Bytes that wait for a limit now.
    pub waiting_bytes: u64,
    /// The limits.
    pub limits: spec::network::Limits,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, RFC 3339.
    pub time: String,
    /// `create`, `start`, `die`, `oom`, `stop`, `kill`, `pause`, `resume`, `restart`, `rename`, `set`, `exec`, `remove`.
    pub event: String,
    /// Full id.
    pub id: String,
    /// Name at that time.
    pub name: String,
    /// What belongs to it, e.g. `exit_code`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Standard error, not output.
    pub is_error: bool,
    /// The bytes, with the line break if there was one.
    pub bytes: Vec<u8>,
}

/// The host and the store.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// Version of the program.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Processor architecture.
    pub architecture: String,
    /// Host name.
    pub hostname: String,
    /// `v2`, `v1` or `hybrid`.
    pub cgroups: String,
    /// Active security modules.
    pub security_modules: String,
    /// Where the store is.
    pub root: String,
    /// Where runtime state is.
    pub run: String,
    /// Containers in all.
    pub containers: usize,
    /// Of these, running.
    pub running: usize,
    /// Of these, paused.
    pub paused: usize,
    /// Processors of the host.
    pub processors: usize,
    /// Bytes of memory of the host.
    pub memory: u64,
}

/// One finding of `doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Short name.
    pub name: String,
    /// `ok`, `warning` or `error`.
    pub level: &'static str,
    /// What was found.
    pub detail: String,
    /// What depends on it.
    pub effect: String,
    /// What to do about it, unless it is `ok`.
    pub remedy: Option<String>,
}
