// SPDX-License-Identifier: Apache-2.0
//! What a container shall be: everything that was asked for, typed, before any of it is looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::mount::Mount;
use crate::network::{self, Nic, Publish};
use crate::oci::seccomp::Seccomp;
use crate::reference::Reference;
use crate::signal::Signal;
use crate::system::{Autostart, CgroupDriver, System};
use crate::view::ProcView;

pub use crate::limits::Limits;

/// Everything asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The image.
    pub image: Reference,
    /// The command, in place of the image's.
    #[serde(default)]
    pub command: Vec<String>,
    /// The entry point, in place of the image's; empty for none.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Environment: name and value.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working directory, in place of the image's.
    #[serde(default)]
    pub workdir: Option<String>,
    /// `user[:group]`, names or numbers, in place of the image's.
    #[serde(default)]
    pub user: Option<String>,
    /// Host name; the container's name by default.
    #[serde(default)]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Standard input stays open.
    #[serde(default)]
    pub interactive: bool,
    /// A terminal.
    #[serde(default)]
    pub tty: bool,
    /// An init that reaps and passes on signals is process 1.
    #[serde(default)]
    pub init: bool,
    /// The root file system can not be written.
    #[serde(default)]
    pub read_only: bool,
    /// Removed when it has ended.
    #[serde(default)]
    pub remove: bool,
    /// Further mounts.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, handed to the runtime's specification.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities and filters.
    #[serde(default)]
    pub security: Security,
    /// Devices of the host.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Limits of the control group.
    #[serde(default)]
    pub limits: Limits,
    /// Resource limits of processes.
    #[serde(default)]
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// The signal that asks it to stop, in place of the image's.
    #[serde(default)]
    pub stop_signal: Option<Signal>,
    /// Milliseconds between that signal and `SIGKILL`.
    #[serde(default)]
    pub stop_timeout_ms: Option<u64>,
    /// What happens when it has ended.
    #[serde(default)]
    pub restart: Restart,
    /// Which namespaces are its own.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// Devices on networks; with a network namespace of its own and none of them it is on the default network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// Ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Publish>,
    /// The ports that the image declares are published, too.
    #[serde(default)]
    pub publish_all: bool,
    /// What may go through all its devices together.
    #[serde(default)]
    pub bandwidth: network::Limits,
    /// Bytes that it may send and receive in a month; then its devices are shut until the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_quota: Option<u64>,
    /// How it finds names.
    #[serde(default)]
    pub dns: Dns,
    /// Further lines of `/etc/hosts`: name and address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<(String, IpAddr)>,
    /// Offsets of the time namespace, in nanoseconds: `monotonic`, `boottime`.
    #[serde(default)]
    pub time_offsets: BTreeMap<Clock, i64>,
    /// Score adjustment of the out-of-memory killer.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// Bytes of one log file; three are kept.
    #[serde(default)]
    pub log_max_size: Option<u64>,
    /// A whole system, with the image's own init; otherwise one program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// Started with the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autostart: Option<Autostart>,
    /// How its control group is made.
    #[serde(default)]
    pub cgroup_driver: CgroupDriver,
    /// Whether it sees its own memory, processors and load in /proc and /sys.
    #[serde(default)]
    pub proc_view: ProcView,
}

impl Definition {
    /// A container of `image` with all defaults.
    #[must_use]
    pub fn new(image: Reference) -> Self {
        Self {
            image,
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            workdir: None,
            user: None,
            hostname: None,
            domainname: None,
            interactive: false,
            tty: false,
            init: false,
            read_only: false,
            remove: false,
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            security: Security::default(),
            devices: Vec::new(),
            limits: Limits::default(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            shm_size: None,
            stop_signal: None,
            stop_timeout_ms: None,
            restart: Restart::default(),
            namespaces: Namespaces::default(),
            nics: Vec::new(),
            ports: Vec::new(),
            publish_all: false,
            bandwidth: network::Limits::default(),
            net_quota: None,
            dns: Dns::default(),
            hosts: Vec::new(),
            time_offsets: BTreeMap::new(),
            oom_score_adj: None,
            log_max_size: None,
            system: None,
            autostart: None,
            cgroup_driver: CgroupDriver::default(),
            proc_view: ProcView::default(),
        }
    }
}

/// How names are found: `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, in place of those of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Domains that are tried behind a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options as resolv.conf(5) has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Capabilities and filters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Security {
    /// Everything is allowed, all devices are there.
    #[serde(default)]
    pub privileged: bool,
    /// Capabilities to add (`CAP_NET_ADMIN`, `ALL`).
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities to take away (`ALL` for every one).
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// No execve gains rights.
    #[serde(default = "yes")]
    pub no_new_privileges: bool,
    /// The system call filter.
    #[serde(default)]
    pub seccomp: Filter,
    /// An AppArmor profile that is loaded.
    #[serde(default)]
    pub apparmor: Option<String>,
    /// A SELinux label.
    #[serde(default)]
    pub selinux: Option<String>,
    /// `/proc` and `/sys` are not masked.
    #[serde(default)]
    pub unmask: bool,
}

fn yes() -> bool {
    true
}

impl Default for Security {
    fn default() -> Self {
        Self {
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privileges: true,
            seccomp: Filter::Default,
            apparmor: None,
            selinux: None,
            unmask: false,
        }
    }
}

/// Which system call filter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Ours.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// This one.
    Profile(Box<Seccomp>),
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub source: String,
    /// Its path inside.
    pub target: String,
    /// A combination of `r`, `w`, `m`.
    pub access: String,
}

impl FromStr for Device {
    type Err = Invalid;

    /// `SOURCE[:TARGET][:rwm]`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: &str| Invalid::new("device", text, reason).hint("write /dev/NAME[:/dev/INSIDE][:rwm]");
        let is_access = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, access] if is_access(access) => (*source, *source, *access),
            [source, target] => (*source, *target, "rwm"),
            [source, target, access] if is_access(access) => (*source, *target, *access),
            _ => return Err(refuse("it has unknown parts")),
        };
        if !source.starts_with("/dev/") {
            return Err(refuse("the source is not below /dev"));
        }
        crate::mount::check_target(source)?;
        crate::mount::check_target(target)?;
        Ok(Self { source: source.to_owned(), target: target.to_owned(), access: access.to_owned() })
    }
}

/// A resource limit of processes (setrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name, e.g. `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

/// The names of resource limits at the index that is their number.
pub const ULIMITS: &[&str] = &[
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

impl FromStr for Ulimit {
    type Err = Invalid;

    /// `NAME=SOFT[:HARD]`; -1 or `unlimited` is none.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse =
            |reason: String| Invalid::new("ulimit", text, reason).hint("write NAME=SOFT[:HARD], e.g. nofile=1024:4096");
        let (name, values) = text.split_once('=').ok_or_else(|| refuse("it has no =".to_owned()))?;
        if !ULIMITS.contains(&name) {
            return Err(
                refuse(format!("there is no limit {name:?}")).hint(format!("limits are: {}", ULIMITS.join(" ")))
            );
        }
        let number = |text: &str| match text {
            "-1" | "unlimited" => Ok(u64::MAX),
            text => text.parse::<u64>().map_err(|_| refuse(format!("{text:?} is not a number"))),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft > hard {
            return Err(refuse("the soft limit is above the hard one".to_owned()));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

/// What happens when the program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again when it failed, at most so many times (0: without end).
    OnFailure(u32),
    /// It is started again.
    Always,
    /// It is started again unless somebody stopped it.
    UnlessStopped,
}

impl FromStr for Restart {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = || {
            Invalid::new("restart policy", text, "unknown").hint("write no, on-failure[:N], always or unless-stopped")
        };
        match text.split_once(':') {
            None => match text {
                "no" | "" => Ok(Self::No),
                "on-failure" => Ok(Self::OnFailure(0)),
                "always" => Ok(Self::Always),
                "unless-stopped" => Ok(Self::UnlessStopped),
                _ => Err(refuse()),
            },
            Some(("on-failure", count)) => count.parse().map(Self::OnFailure).map_err(|_| refuse()),
            Some(_) => Err(refuse()),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure(0) => f.write_str("on-failure"),
            Self::OnFailure(count) => write!(f, "on-failure:{count}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl TryFrom<String> for Restart {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Restart> for String {
    fn from(restart: Restart) -> Self {
        restart.to_string()
    }
}

/// Which namespaces are the container's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Namespaces {
    /// Own ids, or the host's.
    #[serde(default)]
    pub user: Share,
    /// Process ids.
    #[serde(default)]
    pub pid: Share,
    /// IPC.
    #[serde(default)]
    pub ipc: Share,
    /// Host name.
    #[serde(default)]
    pub uts: Share,
    /// Network.
    #[serde(default)]
    pub network: Network,
    /// Control groups.
    #[serde(default)]
    pub cgroup: Share,
}

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// The container's own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
}

impl FromStr for Share {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None if text == "private" || text == "auto" => Ok(Self::Private),
            None if text == "host" => Ok(Self::Host),
            Some(("container", name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
            _ => Err(Invalid::new("namespace", text, "unknown").hint("write private, host or container:NAME")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

/// Which network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    /// Its own, on the networks that it has devices on; on the default network without any.
    #[default]
    Private,
    /// Its own, with a loopback device that nothing will ever be added to.
    None,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
    /// That of a file, e.g. `/run/netns/NAME`.
    Path(String),
}

impl FromStr for Network {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None if text == "private" => Ok(Self::Private),
            None if text == "none" => Ok(Self::None),
            None if text == "host" => Ok(Self::Host),
            Some(("container", name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
            Some(("ns", path)) if path.starts_with('/') => Ok(Self::Path(path.to_owned())),
            _ => Err(Invalid::new("network", text, "unknown")
                .hint("write private, none, host, container:NAME or ns:/run/netns/NAME")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Path(path) => write!(f, "ns:{path}"),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// A clock that a time namespace can shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME: what `uptime` shows.
    Boottime,
}

/// `CLOCK=SECONDS`, e.g. `boottime=86400` or `monotonic=-1.5`; gives nanoseconds.
///
/// # Errors
/// Why it is refused.
pub fn parse_time_offset(text: &str) -> Result<(Clock, i64), Invalid> {
    let refuse =
        |reason: &str| Invalid::new("time offset", text, reason).hint("write boottime=SECONDS or monotonic=SECONDS");
    let (clock, seconds) = text.split_once('=').ok_or_else(|| refuse("it has no ="))?;
    let clock = match clock {
        "monotonic" => Clock::Monotonic,
        "boottime" => Clock::Boottime,
        _ => return Err(refuse("unknown clock")),
    };
    let (sign, digits) = seconds.strip_prefix('-').map_or((1, seconds.trim_start_matches('+')), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit()) || part.len() > 9 {
        return Err(refuse("the offset is not a number of seconds"));
    }
    let nanos: String = part.chars().chain("000000000".chars()).take(9).collect();
    let total = whole.parse::<i64>().ok().and_then(|whole| whole.checked_mul(1_000_000_000));
    let total =
        total.and_then(|total| total.checked_add(nanos.parse().ok()?)).ok_or_else(|| refuse("it is too large"))?;
    Ok((clock, sign * total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_networks_and_shares_go_there_and_back() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for text in ["private", "none", "host", "container:web", "ns:/run/netns/x"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert!("bridge".parse::<Network>().is_err() && "ns:x".parse::<Network>().is_err());
        assert!("on-failure:x".parse::<Restart>().is_err() && "container:".parse::<Share>().is_err());
    }

    #[test]
    fn devices_and_ulimits() {
        let device: Device = "/dev/fuse:/dev/f:rw".parse().unwrap();
        assert_eq!((device.target.as_str(), device.access.as_str()), ("/dev/f", "rw"));
        assert!("/etc/passwd".parse::<Device>().is_err() && "/dev/../etc/x".parse::<Device>().is_err());
        let limit: Ulimit = "nofile=10:-1".parse().unwrap();
        assert_eq!((limit.soft, limit.hard), (10, u64::MAX));
        assert!("nofile=10:5".parse::<Ulimit>().is_err() && "files=1".parse::<Ulimit>().is_err());
    }

    #[test]
    fn time_offsets() {
        assert_eq!(parse_time_offset("boottime=-1.5").ok(), Some((Clock::Boottime, -1_500_000_000)));
        for bad in ["", "boottime", "boottime=", "realtime=1", "monotonic=99999999999999999999", "monotonic=1.x"] {
            assert!(parse_time_offset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_that_contradict_each_other() {
        let limits = |memory, memory_swap| Limits { memory, memory_swap, ..Limits::default() };
        assert!(limits(Some(64 << 20), Some(32 << 20)).check().is_err());
        assert!(limits(None, Some(32 << 20)).check().is_err());
        assert!(limits(Some(64 << 20), Some(u64::MAX)).check().is_ok());
    }
}
