// SPDX-License-Identifier: Apache-2.0
//! `linux.resources` as limits of a control group; what no kernel can do is refused here.

use kernel::cgroup::{DeviceKind, DeviceRule, Limits, Throttle, UNLIMITED};
use spec::oci;

use crate::Error;

/// A number of bytes or so; -1 is none.
fn bytes(what: &str, value: Option<i64>) -> Result<Option<u64>, Error> {
    match value {
        None => Ok(None),
        Some(-1) => Ok(Some(UNLIMITED)),
        Some(value) => u64::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid(format!("resources.{what}"), format!("{value} is negative"))),
    }
}

pub(crate) fn limits(resources: &oci::Resources) -> Result<Limits, Error> {
    let (cpu, memory) = (&resources.cpu, &resources.memory);
    let period = cpu.period.filter(|period| *period != 0);
    // A quota of 0 is one that was not set, as Go's encoder writes it.
    let quota = bytes("cpu.quota", cpu.quota.filter(|quota| *quota != 0))?;
    let quota = match (quota, period) {
        (None, None) => None,
        (quota, period) => Some((quota.unwrap_or(UNLIMITED), period.unwrap_or(100_000))),
    };
    if memory.kernel.is_some_and(|limit| limit > 0) {
        return Err(Error::missing(
            "resources.memory.kernel",
            "separate limit of kernel memory (Linux has dropped it)",
        ));
    }
    let limit = bytes("memory.limit", memory.limit.filter(|limit| *limit != 0))?;
    let swap = bytes("memory.swap", memory.swap.filter(|limit| *limit != 0))?;
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap < limit
    {
        return Err(Error::invalid("resources.memory.swap", "it counts memory too and is below memory.limit"));
    }
    if memory.swappiness.is_some_and(|value| value > 100) {
        return Err(Error::invalid("resources.memory.swappiness", "it is from 0 to 100"));
    }
    let text = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
    let mut limits = Limits {
        memory: limit,
        memory_swap: swap,
        memory_reservation: bytes("memory.reservation", memory.reservation.filter(|limit| *limit != 0))?,
        memory_tcp: bytes("memory.kernelTCP", memory.kernel_tcp.filter(|limit| *limit != 0))?,
        swappiness: memory.swappiness,
        oom_wait: memory.disable_oom_killer == Some(true),
        check_memory: memory.check_before_update,
        cpu_quota: quota,
        cpu_shares: cpu.shares.filter(|shares| *shares != 0),
        cpu_burst: cpu.burst,
        cpu_idle: idle(cpu.idle)?,
        cpu_realtime: (
            cpu.realtime_runtime.filter(|value| *value != 0),
            cpu.realtime_period.filter(|value| *value != 0),
        ),
        cpuset_cpus: text(&cpu.cpus),
        cpuset_mems: text(&cpu.mems),
        pids: bytes("pids.limit", resources.pids.limit.map(|limit| if limit == 0 { -1 } else { limit.max(-1) }))?,
        oom_group: false,
        network_class: resources.network.class_id.filter(|class| *class != 0),
        unified: unified(resources)?,
        ..Limits::default()
    };
    for one in &resources.network.priorities {
        limits.network_priorities.push((plain("network.priorities", &one.name)?, one.priority));
    }
    for one in &resources.hugepage_limits {
        limits.hugepages.push((plain("hugepageLimits", &one.page_size)?, one.limit));
    }
    for (name, one) in &resources.rdma {
        limits.rdma.push((plain("rdma", name)?, one.hca_handles, one.hca_objects));
    }
    block(&mut limits, &resources.block_io)?;
    Ok(limits)
}

fn idle(value: Option<i64>) -> Result<Option<bool>, Error> {
    match value {
        None => Ok(None),
        Some(0) => Ok(Some(false)),
        Some(1) => Ok(Some(true)),
        Some(other) => Err(Error::invalid("resources.cpu.idle", format!("{other} is neither 0 nor 1"))),
    }
}

/// A word that becomes part of a file's name or of a line.
fn plain(what: &str, word: &str) -> Result<String, Error> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "._-@:".contains(letter);
    if word.is_empty() || word.starts_with('.') || !word.chars().all(fine) {
        return Err(Error::invalid(format!("resources.{what}"), format!("{word:?} is not a name")));
    }
    Ok(word.to_owned())
}

fn unified(resources: &oci::Resources) -> Result<Vec<(String, String)>, Error> {
    let one = |(file, value): (&String, &String)| {
        let file = plain("unified", file)?;
        if !file.contains('.')
            || file.starts_with("cgroup.") && file != "cgroup.max.depth" && file != "cgroup.max.descendants"
        {
            return Err(Error::invalid("resources.unified", format!("{file} is not a limit")));
        }
        Ok((file, value.clone()))
    };
    resources.unified.iter().map(one).collect()
}

fn block(limits: &mut Limits, block: &oci::BlockIo) -> Result<(), Error> {
    let number = |value: i64| {
        u32::try_from(value).map_err(|_| Error::invalid("resources.blockIO", format!("{value} is not a device number")))
    };
    limits.blkio_weight = block.weight.filter(|weight| *weight != 0);
    limits.blkio_leaf_weight = block.leaf_weight.filter(|weight| *weight != 0);
    for one in &block.weight_device {
        limits.blkio_weights.push((number(one.major)?, number(one.minor)?, one.weight, one.leaf_weight));
    }
    let rates = [
        (Throttle::ReadBytes, &block.throttle_read_bps_device),
        (Throttle::WriteBytes, &block.throttle_write_bps_device),
        (Throttle::Reads, &block.throttle_read_iops_device),
        (Throttle::Writes, &block.throttle_write_iops_device),
    ];
    for (what, list) in rates {
        for one in list {
            limits.blkio_rates.push((what, number(one.major)?, number(one.minor)?, one.rate));
        }
    }
    Ok(())
}

/// The rules for devices of these resources.
///
/// # Errors
/// What is not valid.
pub fn rules_of(resources: &oci::Resources) -> Result<Vec<DeviceRule>, Error> {
    device_rules(&resources.devices)
}

pub(crate) fn device_rules(rules: &[oci::DeviceRule]) -> Result<Vec<DeviceRule>, Error> {
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid("resources.devices", format!("{value} is not a device number"))),
    };
    let kind = |kind: Option<&str>| match kind {
        None | Some("a" | "") => Ok(DeviceKind::Any),
        Some("c" | "u") => Ok(DeviceKind::Character),
        Some("b") => Ok(DeviceKind::Block),
        Some(other) => Err(Error::invalid("resources.devices", format!("unknown type {other:?}"))),
    };
    let access = |text: &str| {
        text.chars().try_fold(0, |bits, letter| match letter {
            'r' => Ok(bits | 1),
            'w' => Ok(bits | 2),
            'm' => Ok(bits | 4),
            other => Err(Error::invalid("resources.devices", format!("unknown access {other:?}"))),
        })
    };
    let one = |rule: &oci::DeviceRule| {
        Ok(DeviceRule {
            allow: rule.allow,
            kind: kind(rule.kind.as_deref())?,
            major: number(rule.major)?,
            minor: number(rule.minor)?,
            access: access(rule.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm"))?,
        })
    };
    rules.iter().map(one).collect()
}
