// SPDX-License-Identifier: Apache-2.0
//! A server that is killed again and again, under readers that go on.

use super::Asked;
use super::reader::{Reading, Task};
use super::stage::{Field, Kind, Stage};
use crate::Result;
use crate::bench::network::place::said;
use std::process::Command;
use std::time::{Duration, Instant};

const READERS: usize = 4;
/// Before the first death, after the last, and between two.
const MARGIN: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(200);
/// What the next server may take to appear.
const PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(5);

pub(super) struct Crash {
    pub(super) kind: Kind,
    pub(super) seen: Result<Seen>,
}

pub(super) struct Seen {
    pub(super) kills: usize,
    pub(super) reading: Reading,
}

pub(super) fn run(stage: &Stage, asked: &Asked) -> Vec<Crash> {
    let kinds = asked.only.iter().filter(|kind| **kind != Kind::Native && asked.kills > 0);
    // There is nobody who starts lxcfs again.
    let kills = |kind| if kind == Kind::Lxcfs { 1 } else { asked.kills };
    kinds.map(|&kind| Crash { kind, seen: watch(stage, kind, kills(kind)) }).collect()
}

fn watch(stage: &Stage, kind: Kind, kills: usize) -> Result<Seen> {
    let mut field = Field::new(stage, kind, &format!("{}-crash", kind.name()), 1)?;
    let lasts = MARGIN * 2 + BETWEEN * u32::try_from(kills).unwrap_or(u32::MAX);
    let began = Instant::now();
    let task = Task { threads: READERS, ..Task::new("meminfo", lasts) };
    field.containers.first_mut().ok_or("there is no container")?.start(&task)?;
    let killed = (0..kills).try_for_each(|number| {
        let next = MARGIN + BETWEEN * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
        kill(&field).map_err(|reason| format!("{reason} after {number} deaths"))
    });
    let late = began.elapsed() > lasts;
    let reading = field.containers.first_mut().ok_or("there is no container")?.finish()?;
    if late {
        return Err(format!("{kills} deaths took more than {} s", lasts.as_secs()));
    }
    killed.map(|()| Seen { kills, reading })
}

/// Kills the server that is there, or the next one that appears.
fn kill(field: &Field) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = field.servers().unwrap_or_default().first() {
            return said(Command::new("kill").args(["-KILL", &pid.to_string()]), "kill").map(drop);
        }
        if Instant::now() > deadline {
            return Err("there is no server".to_owned());
        }
        std::thread::sleep(TICK);
    }
}
