// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench start`: from the spawn of a contestant's program to its end, interleaved, so that all meet the same
//! machine.

use super::Options;
use super::agent::{Agent, View};
use super::contestants::{self, Attempt, Contestant};
use super::report::{self, Line};
use super::scratch::{FIRST_ID, Scratch};
use crate::Result;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// After each start the kernel gets this long to take namespaces down, which it does behind our back.
const SETTLE: Duration = Duration::from_millis(3);
/// Contestants that take longer than this run in every fourth round only, and get a longer pause behind them.
const SLOW: Duration = Duration::from_millis(60);
const SLOW_EVERY: usize = 4;
const SLOW_SETTLE: Duration = Duration::from_millis(40);

/// A contestant that works, and its times so far.
struct Racer {
    name: &'static str,
    attempt: Attempt,
    slow: bool,
    nanos: Vec<u64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let scratch = Scratch::new()?;
    let contestants = contestants::all(&scratch)?;
    let ids = scratch.write("subid", &format!("root:{FIRST_ID}:65536\n"))?;
    let mut agents = BTreeMap::new();
    for view in [View::Machine, View::Unified] {
        agents.insert(view, Agent::start(view, &ids)?);
    }
    let mut field = Vec::new();
    for contestant in contestants {
        let name = contestant.name;
        field.push(warm_up(contestant, &mut agents)?.map_err(|reason| Line::absent(name, reason)));
    }
    for round in 0..options.rounds {
        for one in &mut field {
            race(one, round, &mut agents)?;
        }
    }
    let lines = field.into_iter().map(|one| match one {
        Ok(racer) => Line::measured(racer.name, racer.attempt.note, racer.nanos),
        Err(line) => line,
    });
    report::print("start", options.format, lines.collect())?;
    Ok(ExitCode::SUCCESS)
}

/// One start of one contestant, if it is its turn; who fails in the middle is out.
fn race(
    one: &mut std::result::Result<Racer, Line>,
    round: usize,
    agents: &mut BTreeMap<View, Agent>,
) -> Result<()> {
    let Ok(racer) = one else { return Ok(()) };
    if racer.slow && !round.is_multiple_of(SLOW_EVERY) {
        return Ok(());
    }
    let pause = if racer.slow { SLOW_SETTLE } else { SETTLE };
    match once(&racer.attempt, agents)? {
        Ok(nanos) => racer.nanos.push(nanos),
        Err(reason) => *one = Err(Line::absent(racer.name, format!("round {round}: {reason}"))),
    }
    std::thread::sleep(pause);
    Ok(())
}

/// Finds the first way that works twice; Err says why there is none.
fn warm_up(contestant: Contestant, agents: &mut BTreeMap<View, Agent>) -> Result<Result<Racer>> {
    let mut reasons = Vec::new();
    for attempt in contestant.attempts {
        if contestant.absent.is_some() {
            break;
        }
        let tried = once(&attempt, agents)?.map(|_| once(&attempt, agents));
        let reason = match tried {
            Ok(second) => match second? {
                Ok(nanos) => {
                    let slow = Duration::from_nanos(nanos) > SLOW;
                    return Ok(Ok(Racer {
                        name: contestant.name,
                        attempt,
                        slow,
                        nanos: Vec::new(),
                    }));
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Ok(Err(contestant.absent.unwrap_or_else(|| reasons.join("; "))))
}

/// One start; the inner Err is what the contestant said.
fn once(attempt: &Attempt, agents: &mut BTreeMap<View, Agent>) -> Result<Result<u64>> {
    let agent = agents
        .get_mut(&attempt.view)
        .ok_or("no agent for this view")?;
    let ran = agent.run(&attempt.run)?;
    if ran.code == 0 {
        return Ok(Ok(ran.nanos));
    }
    let said = ran
        .stderr
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("says nothing");
    Ok(Err(format!("exit {}: {}", ran.code, said.trim())))
}
