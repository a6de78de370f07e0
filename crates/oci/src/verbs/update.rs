// SPDX-License-Identifier: Apache-2.0
//! `cella-oci update`: changes the limits of a container.

use std::io::Read;
use std::path::PathBuf;

use lexopt::Parser;
use plan::Facts;
use spec::oci::{Resources, ThrottleDevice};

use crate::arguments::{Global, Word, next, number, place, required, text, unknown};
use crate::failure::{Failure, Result};
use crate::group;
use crate::state::{Home, Status};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut id, mut file, mut resources) = (None, None, Resources::default());
    let mut rdt = (None, None);
    loop {
        match next(global, words)? {
            Word::End => break,
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) => match name.as_str() {
                "resources" | "r" => file = Some(PathBuf::from(words.value()?)),
                "l3-cache-schema" => rdt.0 = Some(text(words)?),
                "mem-bw-schema" => rdt.1 = Some(text(words)?),
                name => option(name, &mut resources, words)?,
            },
        }
    }
    let home = Home::of(global, &required(id)?)?;
    if let Some(file) = file {
        resources = read(&file)?;
    }
    let _lock = home.lock()?;
    let mut state = home.existing()?;
    if home.status(&state) == Status::Stopped {
        return Err(Failure::new("container not running"));
    }
    if rdt.0.is_some() || rdt.1.is_some() {
        let (l3_cache_schema, mem_bw_schema) = rdt;
        let wanted =
            spec::oci::IntelRdt { l3_cache_schema, mem_bw_schema, clos_id: state.rdt.clone(), ..Default::default() };
        state.rdt = crate::rdt::join(&wanted, &home.id, state.pid)?.or(state.rdt);
        home.write(&home.directory()?, &state)?;
    }
    let found = state.group()?.ok_or_else(|| Failure::new("update needs a control group, and there is none"))?;
    fill(&mut resources, &found)?;
    group::check_memory(&found, &resources)?;
    let layout = kernel::cgroup::Layout::detect()?;
    if let Some(unit) = &state.unit {
        let properties = runtime::systemd::properties_of(&resources, layout.legacy.is_empty());
        runtime::systemd::set_properties(&group::bus(global), unit, &properties)
            .map_err(|error| Failure::new(error.to_string()))?;
    }
    let settings = plan::settings(&resources, &Facts { cgroups: layout, ..Facts::default() })?;
    found.apply(&settings)?;
    Ok(0)
}

fn read(file: &std::path::Path) -> Result<Resources> {
    const LONGEST: u64 = 1 << 20;
    let text = if file.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin().take(LONGEST).read_to_end(&mut text)?;
        text
    } else {
        crate::bundle::read_limited(file)?
    };
    crate::bundle::parse(file, &text)
}

fn option(name: &str, resources: &mut Resources, words: &mut Parser) -> Result<()> {
    let (memory, cpu) = (&mut resources.memory, &mut resources.cpu);
    match name {
        "memory" => memory.limit = Some(bytes(name, words)?),
        "memory-reservation" => memory.reservation = Some(bytes(name, words)?),
        "memory-swap" => memory.swap = Some(bytes(name, words)?),
        "kernel-memory" => memory.kernel = Some(bytes(name, words)?),
        "kernel-memory-tcp" => memory.kernel_tcp = Some(bytes(name, words)?),
        "cpu-period" => cpu.period = Some(number(name, words)?),
        "cpu-quota" => cpu.quota = Some(number(name, words)?),
        "cpu-burst" => cpu.burst = Some(number(name, words)?),
        "cpu-share" | "cpu-shares" => cpu.shares = Some(number(name, words)?),
        "cpu-rt-period" => cpu.realtime_period = Some(number(name, words)?),
        "cpu-rt-runtime" => cpu.realtime_runtime = Some(number(name, words)?),
        "cpu-idle" => cpu.idle = Some(number(name, words)?),
        "cpuset-cpus" => cpu.cpus = Some(text(words)?),
        "cpuset-mems" => cpu.mems = Some(text(words)?),
        "blkio-weight" => resources.block_io.weight = Some(number(name, words)?),
        "pids-limit" => resources.pids.limit = Some(number(name, words)?),
        "device-read-bps" => resources.block_io.throttle_read_bps_device.push(throttle(name, words)?),
        "device-write-bps" => resources.block_io.throttle_write_bps_device.push(throttle(name, words)?),
        _ => return unknown(name),
    }
    Ok(())
}

/// Bytes, with a suffix of 1024 or without; -1 is none.
fn bytes(name: &str, words: &mut Parser) -> Result<i64> {
    let text = text(words)?;
    let refuse = || Failure::new(format!("--{name}: {text:?} is not a size"));
    if text == "-1" {
        return Ok(-1);
    }
    let size = spec::size::parse_bytes("size", &text).map_err(|_| refuse())?;
    i64::try_from(size).map_err(|_| refuse())
}

/// `MAJOR:MINOR RATE`.
fn throttle(name: &str, words: &mut Parser) -> Result<ThrottleDevice> {
    let text = text(words)?;
    let refuse = || Failure::new(format!("--{name}: {text:?} is not like \"8:0 1048576\""));
    let (device, rate) = text.split_once(' ').ok_or_else(refuse)?;
    let (major, minor) = device.split_once(':').ok_or_else(refuse)?;
    let parse = |text: &str| text.trim().parse::<i64>().map_err(|_| refuse());
    Ok(ThrottleDevice { major: parse(major)?, minor: parse(minor)?, rate: rate.trim().parse().map_err(|_| refuse())? })
}

/// Limits that are written together with others: what was not given stays as it is.
fn fill(resources: &mut Resources, group: &kernel::cgroup::Group) -> Result<()> {
    let cpu = &mut resources.cpu;
    if cpu.quota.is_some() != cpu.period.is_some()
        && let Some((quota, period)) = group.cpu_limit()
    {
        cpu.quota = cpu.quota.or(Some(quota));
        cpu.period = cpu.period.or(Some(period));
    }
    let memory = &mut resources.memory;
    if memory.swap.is_some_and(|swap| swap > 0) && memory.limit.is_none() {
        let limit = group.stats().memory_limit.and_then(|limit| i64::try_from(limit).ok());
        memory.limit = limit;
        if limit.is_none() {
            return Err(Failure::new("memory and swap are limited together: there is no memory limit"));
        }
    }
    Ok(())
}
