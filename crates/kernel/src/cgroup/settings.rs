// SPDX-License-Identifier: Apache-2.0
//! From limits to the values of control files, for the layout at hand; pure.

use super::Layout;

/// No limit, for those of `Limits` that are numbers.
pub const UNLIMITED: u64 = u64::MAX;

/// What a group may use; `None` leaves a value as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<u64>,
    /// Bytes below which memory is not reclaimed while others have more.
    pub memory_reservation: Option<u64>,
    /// Processor time: microseconds per period of microseconds.
    pub cpu_quota: Option<(u64, u64)>,
    /// Relative weight among siblings, 2 to 262144, 1024 by default.
    pub cpu_shares: Option<u64>,
    /// Processors, as a list (`0-3,7`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as a list.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Relative I/O weight, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The whole group is killed when memory runs out.
    pub oom_group: bool,
    /// Bytes of buffers of TCP sockets (version 1).
    pub memory_tcp: Option<u64>,
    /// 0 to 100 (version 1).
    pub swappiness: Option<u64>,
    /// Who runs out of memory waits (version 1).
    pub oom_wait: bool,
    /// A memory limit below what is used is refused.
    pub check_memory: bool,
    /// Microseconds beyond the quota that may be saved up.
    pub cpu_burst: Option<u64>,
    /// Runs when nobody else wants to.
    pub cpu_idle: Option<bool>,
    /// Real-time scheduling: microseconds per period of microseconds (version 1).
    pub cpu_realtime: (Option<i64>, Option<u64>),
    /// Weight against the groups below (version 1).
    pub blkio_leaf_weight: Option<u16>,
    /// Weights by device: major, minor, weight, weight against the groups below.
    pub blkio_weights: Vec<(u32, u32, Option<u16>, Option<u16>)>,
    /// Rates by device.
    pub blkio_rates: Vec<(Throttle, u32, u32, u64)>,
    /// Huge pages: size as the kernel names it (`2MB`), bytes.
    pub hugepages: Vec<(String, u64)>,
    /// The class of network packets (version 1).
    pub network_class: Option<u32>,
    /// Priorities of network packets by interface (version 1).
    pub network_priorities: Vec<(String, u32)>,
    /// RDMA devices: name, handles, objects.
    pub rdma: Vec<(String, Option<u32>, Option<u32>)>,
    /// Files of the version 2 group, as they are.
    pub unified: Vec<(String, String)>,
}

/// What of a block device is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// Bytes read per second.
    ReadBytes,
    /// Bytes written per second.
    WriteBytes,
    /// Reads per second.
    Reads,
    /// Writes per second.
    Writes,
}

impl Throttle {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
            Self::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
            Self::Reads => ("blkio.throttle.read_iops_device", "riops"),
            Self::Writes => ("blkio.throttle.write_iops_device", "wiops"),
        }
    }
}

/// What kind of device node a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    Any,
    /// Character devices.
    Character,
    /// Block devices.
    Block,
}

/// Lets a group use devices, or not; later rules win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Of this kind.
    pub kind: DeviceKind,
    /// Major number; `None` is every.
    pub major: Option<u32>,
    /// Minor number; `None` is every.
    pub minor: Option<u32>,
    /// Reading (1 of `rwm` as bits r=1, w=2, m=4).
    pub access: u8,
}

impl DeviceRule {
    /// Read, write and mknod.
    pub const ALL: u8 = 7;

    /// As version 1's `devices.allow` wants it, e.g. `c 1:3 rwm`.
    #[must_use]
    pub fn text(&self) -> String {
        let kind = match self.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let access: String =
            [(1, 'r'), (2, 'w'), (4, 'm')].iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, c)| *c).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// One control file and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The controller: names the hierarchy of version 1; `unified` stands for the version 2 tree.
    pub controller: String,
    /// The file's name.
    pub file: String,
    /// What is written.
    pub value: String,
    /// A limit that the user did not ask for may be missing on this host.
    pub optional: bool,
}

/// The settings that make `limits` and `devices` true, in the order of writing.
///
/// # Errors
/// The controller that a limit needs and this host lacks.
pub fn settings(layout: &Layout, limits: &Limits, devices: &[DeviceRule]) -> Result<Vec<Setting>, String> {
    let mut list = Builder { layout, list: Vec::new(), missing: None };
    memory(&mut list, limits);
    processor(&mut list, limits);
    cpuset(&mut list, limits);
    if let Some(pids) = limits.pids {
        list.both("pids", "pids.max", limit_text(pids, "max"), "pids.max", limit_text(pids, "max"));
    }
    block(&mut list, limits);
    others(&mut list, limits);
    if layout.legacy_path("devices").is_some() {
        list.push("devices", "devices.deny", "a".to_owned());
        for rule in devices {
            list.push("devices", if rule.allow { "devices.allow" } else { "devices.deny" }, rule.text());
        }
    }
    list.missing.map_or(Ok(list.list), Err)
}

/// io.weight has 1 to 10000 where blkio.weight has 10 to 1000.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10) * 9999) / 990
}

fn block(list: &mut Builder<'_>, limits: &Limits) {
    // Kernels without the weight controller have BFQ's file, or none.
    let file = if list.layout.legacy_path("blkio").is_some_and(|path| path.join("blkio.weight").exists()) {
        "blkio.weight"
    } else {
        "blkio.bfq.weight"
    };
    if let Some(weight) = limits.blkio_weight {
        list.both("blkio", file, weight.to_string(), "io.weight", io_weight(weight).to_string());
    }
    if let Some(weight) = limits.blkio_leaf_weight {
        list.legacy_only("blkio", "blkio.leaf_weight", weight.to_string());
    }
    for (major, minor, weight, leaf) in &limits.blkio_weights {
        if let Some(weight) = weight {
            let unified = format!("{major}:{minor} {}", io_weight(*weight));
            let legacy = format!("{major}:{minor} {weight}");
            list.both("blkio", &format!("{file}_device"), legacy, "io.weight", unified);
        }
        if let Some(leaf) = leaf {
            list.legacy_only("blkio", "blkio.leaf_weight_device", format!("{major}:{minor} {leaf}"));
        }
    }
    for (what, major, minor, rate) in &limits.blkio_rates {
        let (legacy, unified) = what.names();
        let value = format!("{major}:{minor} {rate}");
        list.both("blkio", legacy, value, "io.max", format!("{major}:{minor} {unified}={}", limit_text(*rate, "max")));
    }
}

fn others(list: &mut Builder<'_>, limits: &Limits) {
    for (size, bytes) in &limits.hugepages {
        let (legacy, unified) = (format!("hugetlb.{size}.limit_in_bytes"), format!("hugetlb.{size}.max"));
        list.both("hugetlb", &legacy, bytes.to_string(), &unified, bytes.to_string());
    }
    if let Some(class) = limits.network_class {
        list.legacy_only("net_cls", "net_cls.classid", class.to_string());
    }
    for (interface, priority) in &limits.network_priorities {
        list.legacy_only("net_prio", "net_prio.ifpriomap", format!("{interface} {priority}"));
    }
    for (device, handles, objects) in &limits.rdma {
        let part = |name: &str, count: &Option<u32>| count.map(|count| format!(" {name}={count}")).unwrap_or_default();
        let value = format!("{device}{}{}", part("hca_handle", handles), part("hca_object", objects));
        list.both("rdma", "rdma.max", value.clone(), "rdma.max", value);
    }
    for (file, value) in &limits.unified {
        if list.layout.unified.is_some() {
            list.push("unified", file, value.clone());
        } else {
            list.missing = Some(format!("unified {file}"));
        }
    }
}

struct Builder<'a> {
    layout: &'a Layout,
    list: Vec<Setting>,
    missing: Option<String>,
}

impl Builder<'_> {
    fn push(&mut self, controller: &str, file: &str, value: String) {
        let (controller, file) = (controller.to_owned(), file.to_owned());
        self.list.push(Setting { controller, file, value, optional: false });
    }

    /// What version 2 has nothing for.
    fn legacy_only(&mut self, controller: &str, file: &str, value: String) {
        if self.layout.legacy_path(controller).is_some() {
            self.push(controller, file, value);
        } else {
            self.missing = Some(format!("version 1 {controller}"));
        }
    }

    /// The version 1 file where that controller is in version 1, else the version 2 file.
    fn both(&mut self, controller: &str, legacy: &str, legacy_value: String, unified: &str, unified_value: String) {
        if self.layout.legacy_path(controller).is_some() {
            self.push(controller, legacy, legacy_value);
        } else if self.layout.has(controller) {
            self.push("unified", unified, unified_value);
        } else {
            self.missing = Some(controller.to_owned());
        }
    }
}

fn memory(list: &mut Builder<'_>, limits: &Limits) {
    if let Some(bytes) = limits.memory {
        list.both("memory", "memory.limit_in_bytes", limit_text(bytes, "-1"), "memory.max", limit_text(bytes, "max"));
    }
    if let Some(total) = limits.memory_swap {
        // Version 1 counts memory and swap together, version 2 swap alone.
        let swap = if total == UNLIMITED { UNLIMITED } else { total.saturating_sub(limits.memory.unwrap_or(0)) };
        list.both(
            "memory",
            "memory.memsw.limit_in_bytes",
            limit_text(total, "-1"),
            "memory.swap.max",
            limit_text(swap, "max"),
        );
    }
    if let Some(bytes) = limits.memory_reservation {
        list.both("memory", "memory.soft_limit_in_bytes", limit_text(bytes, "-1"), "memory.low", bytes.to_string());
    }
    if let Some(bytes) = limits.memory_tcp {
        list.legacy_only("memory", "memory.kmem.tcp.limit_in_bytes", limit_text(bytes, "-1"));
    }
    if let Some(swappiness) = limits.swappiness {
        list.legacy_only("memory", "memory.swappiness", swappiness.to_string());
    }
    if limits.oom_wait {
        list.legacy_only("memory", "memory.oom_control", "1".to_owned());
    }
    if limits.oom_group && list.layout.legacy_path("memory").is_none() && list.layout.has("memory") {
        list.push("unified", "memory.oom.group", "1".to_owned());
    }
    // Swap accounting is a boot parameter of version 1: a limit that follows from --memory alone may be missing there.
    for setting in &mut list.list {
        setting.optional |= setting.file.contains("swap") || setting.file.contains("memsw");
    }
}

fn processor(list: &mut Builder<'_>, limits: &Limits) {
    if let Some((quota, period)) = limits.cpu_quota {
        let unified = format!("{} {period}", limit_text(quota, "max"));
        if list.layout.legacy_path("cpu").is_some() {
            list.push("cpu", "cpu.cfs_period_us", period.to_string());
        }
        list.both("cpu", "cpu.cfs_quota_us", limit_text(quota, "-1"), "cpu.max", unified);
    }
    if let Some(burst) = limits.cpu_burst {
        list.both("cpu", "cpu.cfs_burst_us", burst.to_string(), "cpu.max.burst", burst.to_string());
    }
    if let Some(period) = limits.cpu_realtime.1 {
        list.legacy_only("cpu", "cpu.rt_period_us", period.to_string());
    }
    if let Some(runtime) = limits.cpu_realtime.0 {
        list.legacy_only("cpu", "cpu.rt_runtime_us", runtime.to_string());
    }
    if let Some(idle) = limits.cpu_idle {
        list.both("cpu", "cpu.idle", u8::from(idle).to_string(), "cpu.idle", u8::from(idle).to_string());
    }
    if let Some(shares) = limits.cpu_shares {
        list.both("cpu", "cpu.shares", shares.to_string(), "cpu.weight", weight_of_shares(shares).to_string());
    }
}

fn cpuset(list: &mut Builder<'_>, limits: &Limits) {
    if let Some(cpus) = &limits.cpuset_cpus {
        list.both("cpuset", "cpuset.cpus", cpus.clone(), "cpuset.cpus", cpus.clone());
    }
    if let Some(mems) = &limits.cpuset_mems {
        list.both("cpuset", "cpuset.mems", mems.clone(), "cpuset.mems", mems.clone());
    }
}

/// `cpu.weight` (1 to 10000, default 100) for `cpu.shares` (2 to 262144, default 1024), such that the minima, the
/// defaults and the maxima meet; a quadratic in the logarithm goes through the three points.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "at most 262144: exact")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
            let weight = 10f64.powf(exponent).ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
}

fn limit_text(value: u64, unlimited: &str) -> String {
    if value == UNLIMITED { unlimited.to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchy;
    use super::*;

    fn legacy() -> Layout {
        let of = |name: &str| Hierarchy { controllers: vec![name.to_owned()], path: format!("/cg/{name}").into() };
        Layout { legacy: ["cpu", "memory", "pids", "devices"].map(of).into(), ..Layout::default() }
    }

    fn unified() -> Layout {
        let controllers = ["cpu", "memory", "pids", "io", "cpuset"].map(str::to_owned).into();
        Layout { unified: Some("/cg".into()), unified_controllers: controllers, legacy: Vec::new() }
    }

    fn texts(layout: &Layout, limits: &Limits) -> Vec<String> {
        let list = settings(layout, limits, &[]).unwrap();
        list.iter().map(|s| format!("{}/{}={}", s.controller, s.file, s.value)).collect()
    }

    #[test]
    fn one_set_of_limits_in_both_versions() {
        let limits = Limits {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            cpu_quota: Some((150_000, 100_000)),
            cpu_shares: Some(1024),
            pids: Some(UNLIMITED),
            oom_group: true,
            ..Limits::default()
        };
        assert_eq!(
            texts(&legacy(), &limits),
            [
                "memory/memory.limit_in_bytes=67108864",
                "memory/memory.memsw.limit_in_bytes=100663296",
                "cpu/cpu.cfs_period_us=100000",
                "cpu/cpu.cfs_quota_us=150000",
                "cpu/cpu.shares=1024",
                "pids/pids.max=max",
                "devices/devices.deny=a",
            ]
        );
        assert_eq!(
            texts(&unified(), &limits),
            [
                "unified/memory.max=67108864",
                "unified/memory.swap.max=33554432",
                "unified/memory.oom.group=1",
                "unified/cpu.max=150000 100000",
                "unified/cpu.weight=100",
                "unified/pids.max=max",
            ]
        );
    }

    #[test]
    fn a_limit_without_its_controller_is_an_error() {
        let limits = Limits { cpuset_cpus: Some("0".into()), ..Limits::default() };
        assert_eq!(settings(&legacy(), &limits, &[]), Err("cpuset".to_owned()));
    }

    #[test]
    fn shares_and_weights_meet_at_both_ends_and_at_the_default() {
        assert_eq!([0, 2, 1024, 262_144, u64::MAX].map(weight_of_shares), [1, 1, 100, 10_000, 10_000]);
    }

    #[test]
    fn a_device_rule_reads_as_the_kernel_wants_it() {
        let rule = DeviceRule { allow: true, kind: DeviceKind::Character, major: Some(136), minor: None, access: 3 };
        assert_eq!(rule.text(), "c 136:* rw");
    }
}
