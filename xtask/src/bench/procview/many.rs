// SPDX-License-Identifier: Apache-2.0
//! Many containers with many readers each: what the servers of their files take of a processor, and of memory.

use super::Asked;
use super::proc::{self, Memory};
use super::reader::Task;
use super::stage::{Field, Kind, Stage};
use crate::Result;
use std::time::{Duration, Instant};

/// What is looked at, after the readers have begun, and until they end.
const WINDOW: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_secs(1);
/// From the commands to the first reads: some, and some for each container.
const DELAY: Duration = Duration::from_secs(1);
const MORE: Duration = Duration::from_millis(50);
/// Between two reads of one that looks now and then, as top does.
const PAUSE: Duration = Duration::from_secs(1);

/// One kind of readers.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Time of all servers on processors by the clock.
    pub(super) processors: f64,
    /// Reads in a second, all together.
    pub(super) rate: f64,
    /// Milliseconds that the slowest of a hundred took, in the worst container.
    pub(super) p99: f64,
}

/// What was seen of one kind.
pub(super) struct Many {
    pub(super) kind: Kind,
    pub(super) seen: Result<Seen>,
}

pub(super) struct Seen {
    pub(super) servers: usize,
    /// Of all servers, after the readers that look now and then, and after those in a loop.
    pub(super) memory: Memory,
    pub(super) after: Memory,
    pub(super) sporadic: Load,
    pub(super) looping: Load,
}

pub(super) fn run(stage: &Stage, asked: &Asked) -> Vec<Many> {
    if asked.containers == 0 || asked.readers == 0 {
        return Vec::new();
    }
    let kinds = asked.only.iter().filter(|kind| **kind != Kind::Native);
    kinds.map(|&kind| Many { kind, seen: look(stage, asked, kind) }).collect()
}

fn look(stage: &Stage, asked: &Asked, kind: Kind) -> Result<Seen> {
    let mut field = Field::new(stage, kind, &format!("{}-many", kind.name()), asked.containers)?;
    let sporadic = load(&mut field, asked.readers, PAUSE)?;
    let servers = field.servers()?;
    let memory = proc::memory(&servers);
    let looping = load(&mut field, asked.readers, Duration::ZERO)?;
    Ok(Seen { servers: servers.len(), memory, after: proc::memory(&servers), sporadic, looping })
}

fn load(field: &mut Field, threads: usize, pause: Duration) -> Result<Load> {
    let delay = DELAY + MORE * u32::try_from(field.containers.len()).unwrap_or(u32::MAX);
    let start = Instant::now() + delay;
    for container in &mut field.containers {
        let delay = start.saturating_duration_since(Instant::now());
        container.start(&Task { threads, pause, delay, ..Task::new("meminfo", MARGIN + WINDOW + MARGIN) })?;
    }
    let late = Instant::now() > start;
    std::thread::sleep((start + MARGIN).saturating_duration_since(Instant::now()));
    let (began, before) = (Instant::now(), field.processor());
    std::thread::sleep(WINDOW);
    let (time, clock) = (field.processor().saturating_sub(before), began.elapsed());
    let (mut rate, mut p99) = (0.0, 0);
    for container in &mut field.containers {
        let reading = container.finish()?.whole()?;
        rate += reading.reads as f64 / (reading.nanos as f64 / 1e9);
        p99 = p99.max(reading.p99);
    }
    if late {
        return Err(format!("the readers were not started in {} s", delay.as_secs()));
    }
    Ok(Load { processors: time.as_secs_f64() / clock.as_secs_f64(), rate, p99: p99 as f64 / 1e6 })
}
