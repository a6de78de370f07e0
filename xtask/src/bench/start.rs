// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench start`: from the spawn of a contestant's program to its end, interleaved, so that all meet the same
//! machine.

use super::Options;
use super::agent::{Agent, Ran, View};
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

/// Seconds that a contestant has for its first start.
const PATIENCE: &str = "60";

/// A contestant that works, and its times so far.
struct Racer {
    name: &'static str,
    attempt: Attempt,
    slow: bool,
    nanos: Vec<u64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut scratch = Scratch::new()?;
    let contestants = contestants::all(&mut scratch)?;
    let ids = scratch.write("subid", &format!("root:{FIRST_ID}:65536\n"))?;
    let mut agents = BTreeMap::new();
    for view in [View::Machine, View::Unified] {
        agents.insert(view, Agent::start(view, &ids)?);
    }
    let mut field = Vec::new();
    for contestant in contestants {
        let name = contestant.name;
        field.push(warm_up(contestant, &scratch, &mut agents)?.map_err(|reason| Line::absent(name, reason)));
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
fn race(one: &mut std::result::Result<Racer, Line>, round: usize, agents: &mut BTreeMap<View, Agent>) -> Result<()> {
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

/// Finds the first way that works; Err says why there is none.
fn warm_up(contestant: Contestant, scratch: &Scratch, agents: &mut BTreeMap<View, Agent>) -> Result<Result<Racer>> {
    if let Some(reason) = contestant.absent {
        return Ok(Err(reason));
    }
    let mut reasons = Vec::new();
    for attempt in contestant.attempts {
        match prove(&attempt, scratch, agents)? {
            Ok(nanos) => {
                let slow = Duration::from_nanos(nanos) > SLOW;
                return Ok(Ok(Racer { name: contestant.name, attempt, slow, nanos: Vec::new() }));
            }
            Err(reason) if reasons.contains(&reason) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    Ok(Err(reasons.join("; ")))
}

/// One start that shows that the payload really runs in a new pid namespace, then one of the payload itself.
fn prove(attempt: &Attempt, scratch: &Scratch, agents: &mut BTreeMap<View, Agent>) -> Result<Result<u64>> {
    scratch.payload("proof")?;
    if let Some(proof) = &attempt.proof {
        let mut proof = proof.clone();
        // Who hangs does so here, and not while the clock runs, where a supervisor would be measured too.
        proof.argv.splice(0..0, ["timeout", "-k", "2", PATIENCE].map(str::to_owned));
        let ran = agent(attempt, agents)?.run(&proof)?;
        match ran.code {
            contestants::PROOF => {}
            124 | 137 => return Ok(Err(format!("had not ended after {PATIENCE} s"))),
            0 => {
                return Ok(Err("exit 0, but the payload did not run in a container".to_owned()));
            }
            _ => return Ok(Err(said(&ran))),
        }
    }
    scratch.payload("true")?;
    once(attempt, agents)
}

/// One start; the inner Err is what the contestant said.
fn once(attempt: &Attempt, agents: &mut BTreeMap<View, Agent>) -> Result<Result<u64>> {
    let ran = agent(attempt, agents)?.run(&attempt.run)?;
    Ok(if ran.code == 0 { Ok(ran.nanos) } else { Err(said(&ran)) })
}

fn agent<'a>(attempt: &Attempt, agents: &'a mut BTreeMap<View, Agent>) -> Result<&'a mut Agent> {
    agents.get_mut(&attempt.view).ok_or_else(|| "no agent for this view".to_owned())
}

fn said(ran: &Ran) -> String {
    let first = ran.stderr.lines().find(|line| !line.trim().is_empty());
    format!("exit {}: {}", ran.code, first.unwrap_or("says nothing").trim())
}
