// SPDX-License-Identifier: Apache-2.0
//! `cella stats`: what containers use, live.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use engine::{Engine, Kind, NetworkStats, Result, StatsRow, Status};
use spec::network::{Limits, Packets, Rate};

use crate::app::Context;
use crate::definition::{text, texts};
use crate::flags::{format, switch};
use crate::output::{self, Cell};

/// Between two readings.
const EVERY: Duration = Duration::from_secs(1);

/// Between the two readings that a percentage needs when there is only one answer.
const ONCE: Duration = Duration::from_millis(200);

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what containers use")
        .arg(switch("no-stream", "Once"))
        .arg(format())
        .arg(Arg::new("container").value_name("CONTAINER").num_args(0..).help("All that run, without one"))
        .after_help("Example:\n  cella stats --no-stream")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let engine = context.engine()?;
    let names = texts(matches, "container");
    let json = text(matches, "format").as_deref() == Some("json");
    watch(&engine, &names, json, matches.get_flag("no-stream"))
}

/// Shows what these containers use (all that run, without one), again and again or once.
pub(super) fn watch(engine: &Engine, names: &[String], json: bool, once: bool) -> Result<i32> {
    if once && json {
        output::json_line(&read(engine, names)?);
        return Ok(0);
    }
    let mut before = by_id(read(engine, names)?);
    loop {
        std::thread::sleep(if once { ONCE } else { EVERY });
        let rows = read(engine, names)?;
        if json {
            output::json_line(&rows);
        } else {
            if !once && std::io::stdout().is_terminal() {
                output::print("\x1b[H\x1b[2J");
            }
            table(&rows, &before);
        }
        if once {
            return Ok(0);
        }
        before = by_id(rows);
    }
}

fn by_id(rows: Vec<StatsRow>) -> BTreeMap<String, StatsRow> {
    rows.into_iter().map(|row| (row.id.clone(), row)).collect()
}

/// Those that were named must run; of all others only those that do are shown.
fn read(engine: &Engine, names: &[String]) -> Result<Vec<StatsRow>> {
    if !names.is_empty() {
        return names.iter().map(|name| engine.stats(name)).collect();
    }
    let running = engine.list()?.into_iter().filter(|one| matches!(one.status, Status::Running | Status::Paused));
    let mut rows = Vec::new();
    for one in running {
        match engine.stats(&one.id) {
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::NotFound) => {}
            other => rows.push(other?),
        }
    }
    Ok(rows)
}

fn table(rows: &[StatsRow], before: &BTreeMap<String, StatsRow>) {
    let size = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), spec::size::format_bytes);
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.as_str().into(),
                processor(row, before.get(&row.id)).into(),
                output::usage(row.memory, row.memory_limit).into(),
                format!("{} / {}", size(row.read_bytes), size(row.write_bytes)).into(),
                network(row, before.get(&row.id)).into(),
                row.pids.map_or_else(|| "-".to_owned(), |pids| pids.to_string()).into(),
            ]
        })
        .collect();
    output::table(&["NAME", "CPU", "MEMORY", "DISK READ / WRITTEN", "NET IN / OUT", "PIDS"], &cells);
}

/// What comes and goes in a second, with the limits, and what a limit has thrown away.
fn network(row: &StatsRow, before: Option<&StatsRow>) -> String {
    if row.networks.is_empty() {
        return "-".to_owned();
    }
    let sum = |row: &StatsRow, of: fn(&NetworkStats) -> u64| row.networks.iter().map(of).sum::<u64>();
    let time = before.map_or(0, |before| row.time_ns.saturating_sub(before.time_ns));
    let rate = |of: fn(&NetworkStats) -> u64| match before {
        Some(before) if time > 0 => {
            let bytes = u128::from(sum(row, of).saturating_sub(sum(before, of)));
            u64::try_from(bytes * 8_000_000_000 / u128::from(time)).unwrap_or(u64::MAX)
        }
        _ => 0,
    };
    let limits = match row.networks.as_slice() {
        [one] => one.limits.effective(),
        _ => Limits::default(),
    };
    let limit = |rate: Option<Rate>, packets: Option<Packets>| {
        let both = rate.map(|rate| rate.to_string()).into_iter().chain(packets.map(|packets| packets.to_string()));
        let both: Vec<String> = both.collect();
        if both.is_empty() { String::new() } else { format!(" of {}", both.join(", ")) }
    };
    let (received, sent) = (rate(|one| one.received_bytes), rate(|one| one.sent_bytes));
    let dropped = sum(row, |one| one.dropped_packets);
    let dropped = if dropped > 0 { format!(" ({dropped} dropped)") } else { String::new() };
    format!(
        "{}{} / {}{}{dropped}",
        bits(received),
        limit(limits.ingress, limits.ingress_packets),
        bits(sent),
        limit(limits.egress, limits.egress_packets)
    )
}

/// Bits in a second, short: `9.6mbit`.
fn bits(number: u64) -> String {
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    match units.into_iter().find(|(factor, _)| number >= *factor) {
        Some((factor, unit)) => format!("{}.{}{unit}/s", number / factor, number % factor * 10 / factor),
        None => format!("{number}bit/s"),
    }
}

/// Percent of one processor since the last reading.
fn processor(row: &StatsRow, before: Option<&StatsRow>) -> String {
    let Some(before) = before else { return "-".to_owned() };
    let time = row.time_ns.saturating_sub(before.time_ns);
    match (row.cpu_ns, before.cpu_ns) {
        (Some(now), Some(then)) if time > 0 => {
            let tenths = now.saturating_sub(then).saturating_mul(1000) / time;
            format!("{}.{}%", tenths / 10, tenths % 10)
        }
        _ => "-".to_owned(),
    }
}
