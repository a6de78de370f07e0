// SPDX-License-Identifier: Apache-2.0
//! One container, one or two readers: how fast, at what cost of reader and server together, and after what wait.

use super::reader::{Reading, Task};
use super::stage::{Field, Kind, Stage};
use super::{Asked, proc};
use crate::Result;
use std::time::Duration;

/// What one measurement in a loop lasts, and one with pauses.
const LOOP: Duration = Duration::from_secs(1);
const SPORADIC: Duration = Duration::from_millis(2500);
/// Between two sporadic reads: all that is kept for a moment is out of date.
const PAUSE: Duration = Duration::from_millis(25);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    /// Open, read to the end and close, without a pause.
    Open(&'static str, usize),
    /// The start of a file that stays open, without a pause.
    Keep(&'static str),
    /// The first, with pauses.
    Sporadic(&'static str),
}

impl Measure {
    pub(super) const ALL: [Self; 10] = [
        Self::Open("meminfo", 1),
        Self::Open("cpuinfo", 1),
        Self::Open("stat", 1),
        Self::Open("uptime", 1),
        Self::Open("meminfo", 2),
        Self::Open("cpuinfo", 2),
        Self::Open("stat", 2),
        Self::Open("uptime", 2),
        Self::Keep("meminfo"),
        Self::Sporadic("meminfo"),
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::Open(file, 1) => format!("{file}, 1 reader"),
            Self::Open(file, readers) => format!("{file}, {readers} readers"),
            Self::Keep(file) => format!("{file}, kept open"),
            Self::Sporadic(file) => format!("{file}, every 25 ms"),
        }
    }

    fn task(self) -> Task {
        match self {
            Self::Open(file, threads) => Task { threads, ..Task::new(file, LOOP) },
            Self::Keep(file) => Task { keep: true, ..Task::new(file, LOOP) },
            Self::Sporadic(file) => Task { pause: PAUSE, ..Task::new(file, SPORADIC) },
        }
    }
}

/// One measurement: reads in a second, and microseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) rate: f64,
    /// On a processor for each read, reader and server.
    pub(super) reader: f64,
    pub(super) server: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Sample {
    fn new(reading: &Reading, server: Duration) -> Self {
        let (reads, micros) = (reading.reads as f64, |nanos: u64| nanos as f64 / 1e3);
        Self {
            rate: reads / (reading.nanos as f64 / 1e9),
            reader: micros(reading.processor) / reads,
            server: server.as_secs_f64() * 1e6 / reads,
            p50: micros(reading.p50),
            p99: micros(reading.p99),
            p999: micros(reading.p999),
        }
    }

    pub(super) fn processor(&self) -> f64 {
        self.reader + self.server
    }
}

/// All measurements of one kind.
pub(super) struct Single {
    pub(super) kind: Kind,
    /// One list for each of `Measure::ALL`.
    pub(super) samples: Vec<Vec<Sample>>,
    /// Why it is out.
    pub(super) failed: Option<String>,
}

impl Single {
    /// The median of a figure.
    pub(super) fn median(&self, measure: Measure, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        let place = Measure::ALL.iter().position(|one| *one == measure)?;
        let mut all: Vec<f64> = self.samples.get(place)?.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
}

pub(super) fn run(stage: &Stage, asked: &Asked) -> Vec<Single> {
    let mut field: Vec<(Single, Option<Field>)> = Vec::new();
    for &kind in &asked.only {
        let made = Field::new(stage, kind, &format!("{}-one", kind.name()), 1);
        let (failed, made) = made.map_or_else(|reason| (Some(reason), None), |made| (None, Some(made)));
        field.push((Single { kind, samples: vec![Vec::new(); Measure::ALL.len()], failed }, made));
    }
    for round in 0..asked.rounds {
        for (place, measure) in Measure::ALL.into_iter().enumerate() {
            for turn in 0..field.len() {
                // Nobody is always the first.
                let turn = (turn + round + place) % field.len();
                if let Some((one, Some(made))) = field.get_mut(turn) {
                    attempt(one, made, place, measure);
                }
            }
        }
    }
    field.into_iter().map(|(one, _)| one).collect()
}

/// One measurement; who fails is out.
fn attempt(one: &mut Single, field: &mut Field, place: usize, measure: Measure) {
    if one.failed.is_some() {
        return;
    }
    match take(field, measure) {
        Ok(sample) => one.samples.iter_mut().skip(place).take(1).for_each(|all| all.push(sample)),
        Err(reason) => one.failed = Some(format!("{}: {reason}", measure.name())),
    }
}

fn take(field: &mut Field, measure: Measure) -> Result<Sample> {
    let servers = field.servers()?;
    let before = proc::processor(&servers);
    let container = field.containers.first_mut().ok_or("there is no container")?;
    let reading = container.read(&measure.task())?.whole()?;
    Ok(Sample::new(&reading, proc::processor(&servers).saturating_sub(before)))
}
