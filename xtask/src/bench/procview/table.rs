// SPDX-License-Identifier: Apache-2.0
//! The results of `bench procview` as tables, beside their goals.

use super::crash::Crash;
use super::many::{Load, Many};
use super::proc::Memory;
use super::single::{Measure, Sample, Single};
use super::stage::Kind;
use super::{Asked, Format};
use crate::Result;
use crate::bench::report::machine;
use serde_json::{Value, json};

const MEMINFO: Measure = Measure::Open("meminfo", 1);
const SPORADIC: Measure = Measure::Sporadic("meminfo");

type Figure = fn(&Sample) -> f64;

/// What is shown of every measurement.
const FIGURES: [(&str, Figure); 5] = [
    ("reads/s", |sample| sample.rate),
    ("processor, reader + server, µs", Sample::processor),
    ("p50, µs", |sample| sample.p50),
    ("p99, µs", |sample| sample.p99),
    ("p99.9, µs", |sample| sample.p999),
];

/// All that was seen.
struct Results<'a> {
    single: &'a [Single],
    many: &'a [Many],
    crash: &'a [Crash],
}

impl Results<'_> {
    fn median(&self, kind: Kind, measure: Measure, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        self.single.iter().find(|one| one.kind == kind)?.median(measure, figure)
    }

    /// A figure of one kind by that of another.
    fn ratio(&self, own: Kind, other: Kind, measure: Measure, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        Some(self.median(own, measure, &figure)? / self.median(other, measure, &figure)?)
    }
}

pub(super) fn print(asked: &Asked, peers: &str, single: &[Single], many: &[Many], crash: &[Crash]) -> Result<()> {
    let results = Results { single, many, crash };
    match asked.format {
        Format::Markdown => print!("{}", markdown(asked, peers, &results)),
        Format::Json => {
            let all = json!({
                "version": 1, "verb": "procview", "machine": machine(), "peers": peers, "rounds": asked.rounds,
                "containers": asked.containers, "readers": asked.readers,
                "single": single.iter().map(single_json).collect::<Vec<_>>(),
                "many": many.iter().map(many_json).collect::<Vec<_>>(),
                "crash": crash.iter().map(crash_json).collect::<Vec<_>>(),
            });
            println!("{}", serde_json::to_string_pretty(&all).map_err(|error| format!("report: {error}"))?);
        }
    }
    Ok(())
}

fn single_json(one: &Single) -> Value {
    let measures = Measure::ALL.map(|measure| {
        let median = |figure: fn(&Sample) -> f64| one.median(measure, figure);
        json!({
            "name": measure.name(), "reads_per_s": median(|s| s.rate), "reader_us": median(|s| s.reader),
            "server_us": median(|s| s.server), "processor_us": median(Sample::processor), "p50_us": median(|s| s.p50),
            "p99_us": median(|s| s.p99), "p999_us": median(|s| s.p999),
        })
    });
    json!({ "name": one.kind.name(), "failed": one.failed, "measures": measures })
}

fn many_json(one: &Many) -> Value {
    let memory = |of: &Memory| json!({ "rss_kib": of.rss, "pss_kib": of.pss, "private_kib": of.private });
    let load = |of: &Load| json!({ "processors": of.processors, "reads_per_s": of.rate, "p99_ms": of.p99 });
    match &one.seen {
        Err(reason) => json!({ "name": one.kind.name(), "failed": reason }),
        Ok(seen) => json!({
            "name": one.kind.name(), "servers": seen.servers, "memory": memory(&seen.memory),
            "memory_after": memory(&seen.after), "sporadic": load(&seen.sporadic), "looping": load(&seen.looping),
        }),
    }
}

fn crash_json(one: &Crash) -> Value {
    match &one.seen {
        Err(reason) => json!({ "name": one.kind.name(), "failed": reason }),
        Ok(seen) => json!({
            "name": one.kind.name(), "kills": seen.kills, "reads": seen.reading.reads, "errors": seen.reading.errors,
            "error": seen.reading.error, "hung": seen.reading.hung, "p999_us": seen.reading.p999 as f64 / 1e3,
            "longest_us": seen.reading.longest as f64 / 1e3,
        }),
    }
}

/// A figure with as many digits as say something.
fn shown(figure: Option<f64>) -> String {
    let digits = |figure: f64| {
        if figure >= 100.0 {
            0
        } else if figure >= 10.0 {
            1
        } else {
            2
        }
    };
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.*}", digits(figure)))
}

/// What fits in a cell.
fn cell(reason: &str) -> String {
    reason.replace('|', "/")
}

fn markdown(asked: &Asked, peers: &str, results: &Results<'_>) -> String {
    let mut text = format!(
        "bench procview: reads in a container of 512 MiB and 2 processors; medians of {} rounds; {peers}; {}\n\n",
        asked.rounds,
        machine()
    );
    text += &singles(results);
    for one in results.single {
        if let Some(reason) = &one.failed {
            text += &format!("\n{} is out: {reason}\n", one.kind.name());
        }
    }
    if !results.many.is_empty() {
        text += &many(asked, results.many);
    }
    if !results.crash.is_empty() {
        text += &crashes(results.crash);
    }
    text + &goals(results)
}

fn singles(results: &Results<'_>) -> String {
    let mut text = "| | figure | native | lxcfs | cella | cella ÷ native | cella ÷ lxcfs\n\
                    |:---|:---|---:|---:|---:|---:|---:\n"
        .to_owned();
    for measure in Measure::ALL {
        for (place, (name, figure)) in FIGURES.iter().enumerate() {
            // How often one with pauses reads is no result.
            if measure == SPORADIC && *name == "reads/s" {
                continue;
            }
            let first = place == 0 || measure == SPORADIC && place == 1;
            let what = if first { measure.name() } else { String::new() };
            let [native, lxcfs, cella] = Kind::ALL.map(|kind| shown(results.median(kind, measure, figure)));
            let by = |other| shown(results.ratio(Kind::Cella, other, measure, figure));
            let (by_native, by_lxcfs) = (by(Kind::Native), by(Kind::Lxcfs));
            text += &format!("| {what} | {name} | {native} | {lxcfs} | {cella} | {by_native} | {by_lxcfs}\n");
        }
    }
    text
}

fn many(asked: &Asked, many: &[Many]) -> String {
    let mut text = format!(
        "\n{} containers, {} readers in each:\n\n\
         | | servers | RSS / PSS / private, KiB | after | every second: server, % of one processor | reads/s | p99, ms \
         | in a loop: server, % | reads/s | p99, ms\n\
         |:---|---:|---:|---:|---:|---:|---:|---:|---:|---:\n",
        asked.containers, asked.readers
    );
    for one in many {
        let name = one.kind.name();
        match &one.seen {
            Err(reason) => text += &format!("| {name} | out: {}\n", cell(reason)),
            Ok(seen) => {
                let memory = |of: &Memory| format!("{} / {} / {}", of.rss, of.pss, of.private);
                let load = |of: &Load| {
                    let (server, rate) = (shown(Some(of.processors * 100.0)), shown(Some(of.rate)));
                    format!("{server} | {rate} | {}", shown(Some(of.p99)))
                };
                let (before, after) = (memory(&seen.memory), memory(&seen.after));
                let (sporadic, looping) = (load(&seen.sporadic), load(&seen.looping));
                text += &format!("| {name} | {} | {before} | {after} | {sporadic} | {looping}\n", seen.servers);
            }
        }
    }
    text
}

fn crashes(crash: &[Crash]) -> String {
    let mut text = "\nThe server killed under 4 readers:\n\n\
                    | | times | reads | errors | hung readers | p99.9, ms | longest, ms | says\n\
                    |:---|---:|---:|---:|---:|---:|---:|:---\n"
        .to_owned();
    for one in crash {
        let name = one.kind.name();
        match &one.seen {
            Err(reason) => text += &format!("| {name} | out: {}\n", cell(reason)),
            Ok(seen) => {
                let (reading, millis) = (&seen.reading, |nanos: u64| shown(Some(nanos as f64 / 1e6)));
                let (p999, longest, says) = (millis(reading.p999), millis(reading.longest), cell(&reading.error));
                text += &format!(
                    "| {name} | {} | {} | {} | {} | {p999} | {longest} | {says}\n",
                    seen.kills, reading.reads, reading.errors, reading.hung
                );
            }
        }
    }
    text
}

/// Issue 6's table.
fn goals(results: &Results<'_>) -> String {
    let line = |what: &str, figure: Option<f64>, goal: f64, most: bool| {
        let met = |figure: f64| if most { figure <= goal } else { figure >= goal };
        let met = figure.map_or("not measured", |figure| if met(figure) { "met" } else { "missed" });
        format!("- {what} {} {goal}: {}, {met}\n", if most { '≤' } else { '≥' }, shown(figure))
    };
    let by = |other, measure, figure: fn(&Sample) -> f64| results.ratio(Kind::Cella, other, measure, figure);
    let many = results.many.iter().find(|one| one.kind == Kind::Cella).and_then(|one| one.seen.as_ref().ok());
    let crash = results.crash.iter().find(|one| one.kind == Kind::Cella).and_then(|one| one.seen.as_ref().ok());
    [
        "\nGoals:\n\n".to_owned(),
        line("reads/s of meminfo, cella ÷ native", by(Kind::Native, MEMINFO, |s| s.rate), 1.0, false),
        line("reads/s of meminfo, cella ÷ lxcfs", by(Kind::Lxcfs, MEMINFO, |s| s.rate), 100.0, false),
        line("processor time of a read, cella ÷ native", by(Kind::Native, MEMINFO, Sample::processor), 1.0, true),
        line(
            "processor time of a sporadic read, cella ÷ lxcfs",
            by(Kind::Lxcfs, SPORADIC, Sample::processor),
            0.35,
            true,
        ),
        line("servers under readers in a loop, % of one", many.map(|seen| seen.looping.processors * 100.0), 5.0, true),
        line("servers' PSS, MiB", many.map(|seen| seen.memory.pss as f64 / 1024.0), 4.0, true),
        line("errors of reads while the server is killed", crash.map(|seen| seen.reading.errors as f64), 0.0, true),
        line("hung readers", crash.map(|seen| seen.reading.hung as f64), 0.0, true),
        line("p99.9 of these reads, ms", crash.map(|seen| seen.reading.p999 as f64 / 1e6), 50.0, true),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::many::Seen;
    use super::*;

    fn single(kind: Kind, rate: f64, processor: f64) -> Single {
        let sample = Sample { rate, reader: processor / 2.0, server: processor / 2.0, p50: 1.0, p99: 2.0, p999: 3.0 };
        Single { kind, samples: vec![vec![sample]; Measure::ALL.len()], failed: None }
    }

    fn asked() -> Asked {
        Asked::parse(&[]).unwrap()
    }

    #[test]
    fn ratios_and_goals_stand_beside_the_figures() {
        let field =
            [single(Kind::Native, 200e3, 5.0), single(Kind::Lxcfs, 2e3, 400.0), single(Kind::Cella, 400e3, 2.5)];
        let text = markdown(&asked(), "lxcfs 6", &Results { single: &field, many: &[], crash: &[] });
        assert!(text.contains("| meminfo, 1 reader | reads/s | 200000 | 2000 | 400000 | 2.00 | 200\n"), "{text}");
        assert!(text.contains("| meminfo, every 25 ms | processor, reader + server, µs | 5.00 | 400 |"), "{text}");
        assert!(text.contains("cella ÷ lxcfs ≥ 100: 200, met") && text.contains("native ≤ 1: 0.50, met"), "{text}");
        assert!(text.contains("errors of reads while the server is killed ≤ 0: –, not measured"), "{text}");
    }

    #[test]
    fn who_is_out_says_why() {
        let mut lxcfs = single(Kind::Lxcfs, 0.0, 0.0);
        (lxcfs.samples, lxcfs.failed) = (Vec::new(), Some("no mirror".to_owned()));
        let load = Load { processors: 0.051, rate: 1e6, p99: 1.0 };
        let memory = Memory { rss: 9000, pss: 2048, private: 1000 };
        let seen = Ok(Seen { servers: 100, memory, after: memory, sporadic: load, looping: load });
        let many = [Many { kind: Kind::Lxcfs, seen: Err("a|b".to_owned()) }, Many { kind: Kind::Cella, seen }];
        let text = markdown(&asked(), "no lxcfs", &Results { single: &[lxcfs], many: &many, crash: &[] });
        assert!(text.contains("lxcfs is out: no mirror") && text.contains("| lxcfs | out: a/b\n"), "{text}");
        assert!(text.contains("of one ≤ 5: 5.10, missed") && text.contains("MiB ≤ 4: 2.00, met"), "{text}");
    }
}
