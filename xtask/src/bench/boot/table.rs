// SPDX-License-Identifier: Apache-2.0
//! The results of `bench boot` as tables, beside their goals.

use super::inotify;
use super::system::{Manager, Seen};
use crate::Result;
use crate::bench::Format;
use crate::bench::report::machine;
use serde_json::{Value, json};

/// Ours, by the time of the best peer.
const GOAL_TIME: f64 = 0.9;
/// PSS of the keeper, KiB.
const GOAL_MEMORY: f64 = 1024.0;

/// All boots of one manager.
pub(super) struct Boots {
    pub(super) manager: Manager,
    pub(super) seen: Vec<Seen>,
    /// Why it is out.
    pub(super) failed: Option<String>,
}

/// The same for many at once.
pub(super) struct Many {
    pub(super) count: usize,
    /// With the host's limit of inotify instances raised.
    pub(super) raised: bool,
    pub(super) boots: Boots,
}

impl Boots {
    fn sorted(&self, figure: impl Fn(&Seen) -> Option<f64>) -> Vec<f64> {
        let mut all: Vec<f64> = self.seen.iter().filter_map(figure).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Of the sorted figures, that at so many percent.
    fn at(&self, percent: usize, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        let all = self.sorted(figure);
        all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied()
    }

    fn time(&self) -> Option<f64> {
        self.at(50, |seen| Some(seen.millis))
    }

    fn manager_memory(&self) -> Option<f64> {
        self.at(50, |seen| Some(seen.manager as f64))
    }

    fn processor(&self) -> Option<f64> {
        self.at(50, |seen| seen.processor.map(|millis| millis as f64))
    }

    fn charged(&self) -> Option<f64> {
        self.at(50, |seen| seen.charged.map(|kib| kib as f64))
    }

    fn processes(&self) -> Option<f64> {
        self.at(50, |seen| Some(seen.processes as f64))
    }

    /// What the systems said in the worst round.
    fn state(&self) -> &str {
        self.seen.iter().min_by_key(|seen| seen.running).map_or("", |seen| &seen.state)
    }

    fn note(&self) -> String {
        match &self.failed {
            Some(reason) => format!("out: {}", reason.replace('|', "/")),
            None => self.manager.note().to_owned(),
        }
    }

    fn json(&self, count: usize) -> Value {
        json!({
            "name": self.manager.name(), "at_once": count, "n": self.seen.len(), "state": self.state(), "note": self.note(),
            "min_ms": self.at(0, |seen| Some(seen.millis)), "median_ms": self.time(), "p90_ms": self.at(90, |seen| Some(seen.millis)),
            "manager_pss_kib": self.manager_memory(),
            "processes_pss_kib": self.processes(),
            "charged_kib": self.charged(), "processor_ms": self.processor(),
        })
    }
}

impl Many {
    fn note(&self) -> String {
        match (&self.boots.failed, self.raised) {
            (Some(_), _) => self.boots.note(),
            (None, true) => "with more inotify instances".to_owned(),
            (None, false) => String::new(),
        }
    }
}

/// Median of the fastest peer.
fn best_peer(field: &[Boots]) -> Option<f64> {
    field.iter().filter(|one| one.manager.is_peer()).filter_map(Boots::time).min_by(f64::total_cmp)
}

pub(super) fn print(format: Format, versions: &str, field: &[Boots], many: &[Many]) -> Result<()> {
    match format {
        Format::Markdown => print!("{}", markdown(versions, field, many)),
        Format::Json => {
            let all = json!({
                "version": 1, "verb": "boot", "machine": machine(), "peers": versions,
                "boot": field.iter().map(|one| one.json(1)).collect::<Vec<_>>(),
                "many": many.iter().map(|one| one.boots.json(one.count)).collect::<Vec<_>>(),
            });
            println!("{}", serde_json::to_string_pretty(&all).map_err(|error| format!("report: {error}"))?);
        }
    }
    Ok(())
}

fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn markdown(versions: &str, field: &[Boots], many: &[Many]) -> String {
    let best = best_peer(field);
    let mut text =
        format!("bench boot: Debian 13 from the command to its last unit, times in ms; {versions}; {}\n\n", machine());
    text += &format!("| | n | min | median | p90 | ÷ best peer | {MEMORY} | note\n");
    text += "|:---|---:|---:|---:|---:|---:|---:|---:|---:|---:|:---|:---\n";
    for one in field {
        let time = |percent| shown(one.at(percent, |seen| Some(seen.millis)), 0);
        let ratio = shown(one.time().zip(best).map(|(own, best)| own / best), 2);
        let (name, n, figures) = (one.manager.name(), one.seen.len(), figures(one));
        let (min, median, p90, note) = (time(0), time(50), time(90), one.note());
        text += &format!("| {name} | {n} | {min} | {median} | {p90} | {ratio} | {figures} | {note}\n");
    }
    text += &goals(field, best);
    text += &format!("\n| at once | | n | all up | ÷ number | {MEMORY} | note\n");
    text += "|---:|:---|---:|---:|---:|---:|---:|---:|---:|:---|:---\n";
    for line in many {
        let (count, one) = (line.count, &line.boots);
        let (name, n, figures) = (one.manager.name(), one.seen.len(), figures(one));
        let (all, each) = (shown(one.time(), 0), shown(one.time().map(|time| time / count as f64), 0));
        let note = line.note();
        text += &format!("| {count} | {name} | {n} | {all} | {each} | {figures} | {note}\n");
    }
    text += "\nMedians; processor time and memory are for each container; memory in KiB.\n";
    if many.iter().any(|line| line.boots.seen.iter().any(|seen| seen.running < line.count)) {
        let limit = inotify::limit();
        text += &format!(
            "The containers of a user together may have {limit} inotify instances here; a systemd takes seven.\n"
        );
    }
    text
}

/// The columns that both tables have.
const MEMORY: &str = "processor | manager, PSS | system, PSS | counted by its groups | says";

fn figures(one: &Boots) -> String {
    let (manager, processes) = (shown(one.manager_memory(), 0), shown(one.processes(), 0));
    let (processor, charged) = (shown(one.processor(), 0), shown(one.charged(), 0));
    format!("{processor} | {manager} | {processes} | {charged} | {}", one.state())
}

fn goals(field: &[Boots], best: Option<f64>) -> String {
    let own = field.iter().find(|one| one.manager == Manager::Cella);
    let line = |what: &str, figure: Option<f64>, goal: f64, digits| {
        let met = figure.map_or("not measured", |figure| if figure <= goal { "met" } else { "missed" });
        format!("- {what} ≤ {goal}: {}, {met}\n", shown(figure, digits))
    };
    let ratio = own.and_then(Boots::time).zip(best).map(|(own, best)| own / best);
    let memory = own.and_then(Boots::manager_memory);
    format!(
        "\nGoals:\n\n{}{}",
        line("cella ÷ the best peer", ratio, GOAL_TIME, 2),
        line("keeper's PSS, KiB,", memory, GOAL_MEMORY, 0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boots(manager: Manager, times: &[f64]) -> Boots {
        let seen = |millis: &f64| Seen {
            millis: *millis,
            state: "1 running".to_owned(),
            running: 1,
            manager: 2000,
            processes: 30_000,
            charged: None,
            processor: Some(250),
        };
        Boots { manager, seen: times.iter().map(seen).collect(), failed: None }
    }

    #[test]
    fn goals_stand_beside_the_best_peer() {
        let field = [
            boots(Manager::Cella, &[300.0, 360.0, 900.0]),
            boots(Manager::Lxc, &[800.0]),
            boots(Manager::Nspawn, &[400.0]),
        ];
        let text =
            markdown("LXC 6", &field, &[Many { count: 10, raised: false, boots: boots(Manager::Cella, &[2000.0]) }]);
        assert!(
            text.contains("| cella launch | 3 | 300 | 360 | 900 | 0.90 | 250 | 2000 | 30000 | – | 1 running |"),
            "{text}"
        );
        assert!(text.contains("best peer ≤ 0.9: 0.90, met") && text.contains("≤ 1024: 2000, missed"), "{text}");
        assert!(text.contains("| 10 | cella launch | 1 | 2000 | 200 |"), "{text}");
    }

    #[test]
    fn without_peers_ours_is_printed_alone() {
        let mut lxc = boots(Manager::Lxc, &[]);
        lxc.failed = Some("no mirror".to_owned());
        let text = markdown("no peers", &[boots(Manager::Cella, &[300.0]), lxc], &[]);
        assert!(text.contains("out: no mirror") && text.contains("≤ 0.9: –, not measured"), "{text}");
    }
}
