// SPDX-License-Identifier: Apache-2.0
//! Figures of a measurement, and how they are printed: a Markdown table for people, JSON for comparisons between commits.

use super::Format;
use crate::Result;
use serde::Serialize;
use std::process::Command;

/// One contestant's result.
#[derive(Serialize)]
pub(crate) struct Line {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
    note: String,
}

/// Times in microseconds.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
struct Figures {
    n: usize,
    min: f64,
    median: f64,
    p90: f64,
}

impl Line {
    pub(crate) fn measured(name: &'static str, note: &str, nanos: Vec<u64>) -> Self {
        Self { name, figures: figures(nanos), note: note.to_owned() }
    }

    pub(crate) fn absent(name: &'static str, reason: String) -> Self {
        Self { name, figures: None, note: format!("n/a: {}", reason.replace('|', "/")) }
    }
}

fn figures(mut nanos: Vec<u64>) -> Option<Figures> {
    nanos.sort_unstable();
    let micros =
        |percent: usize| nanos.get((nanos.len() * percent / 100).min(nanos.len() - 1)).map(|n| *n as f64 / 1e3);
    (!nanos.is_empty()).then_some(())?;
    Some(Figures { n: nanos.len(), min: micros(0)?, median: micros(50)?, p90: micros(90)? })
}

/// Median of the line of this name.
fn median(lines: &[Line], name: &str) -> Option<f64> {
    lines.iter().find(|line| line.name == name)?.figures.map(|f| f.median)
}

pub(crate) fn print(verb: &str, format: Format, lines: Vec<Line>) -> Result<()> {
    match format {
        Format::Markdown => print!("{}", markdown(verb, &lines)),
        Format::Json => {
            let all =
                serde_json::json!({"version": 1, "verb": verb, "unit": "µs", "machine": machine(), "lines": lines});
            println!("{}", serde_json::to_string_pretty(&all).map_err(|error| format!("report: {error}"))?);
        }
    }
    Ok(())
}

fn markdown(verb: &str, lines: &[Line]) -> String {
    let cella = median(lines, "cella dir:").or_else(|| median(lines, "cella-oci"));
    // The OCI runtimes are compared with crun, everything else with the kernel's floor.
    let base = if median(lines, "cella-oci").is_some() { "crun" } else { "floor" };
    let floor = median(lines, base);
    let ratio = |own: f64, to: Option<f64>| to.map_or_else(|| "–".to_owned(), |to| format!("{:.2}", own / to));
    let base = format!("÷ {base}");
    let mut text = format!("bench {verb}, times in ms; {}\n\n", machine());
    text += &format!(
        "| {:<14} | {:>4} | {:>7} | {:>7} | {:>7} | {:>7} | {:>7} | note\n",
        "", "n", "min", "median", "p90", base, "÷ cella"
    );
    text += "|:---------------|-----:|--------:|--------:|--------:|--------:|--------:|:----\n";
    for line in lines {
        let Some(f) = line.figures else {
            text += &format!(
                "| {:<14} | {:>4} | {:>7} | {:>7} | {:>7} | {:>7} | {:>7} | ",
                line.name, "", "", "", "", "", ""
            );
            text += &format!("{}\n", line.note);
            continue;
        };
        text += &format!(
            "| {:<14} | {:>4} | {:>7.2} | {:>7.2} | {:>7.2} | {:>7} | {:>7} | {}\n",
            line.name,
            f.n,
            f.min / 1e3,
            f.median / 1e3,
            f.p90 / 1e3,
            ratio(f.median, floor),
            ratio(f.median, cella),
            line.note
        );
    }
    text
}

/// Kernel, processors and load: figures of two machines are not to be compared.
pub(crate) fn machine() -> String {
    let kernel =
        Command::new("uname").arg("-srm").output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let first = load.split(' ').next().unwrap_or("?").to_owned();
    format!("{}, {processors} processors, load {first}", kernel.unwrap_or_else(|_| "Linux".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_ratios() {
        assert_eq!(figures(Vec::new()), None);
        let all = (1..=10).map(|n| n * 1_000_000).collect();
        assert_eq!(figures(all), Some(Figures { n: 10, min: 1e3, median: 6e3, p90: 10e3 }));
        let lines = [
            Line::measured("floor", "bare", vec![1_000_000]),
            Line::measured("cella dir:", "", vec![2_000_000]),
            Line::measured("crun run", "", vec![8_000_000]),
            Line::absent("podman run", "not installed | sorry".to_owned()),
        ];
        let text = markdown("start", &lines);
        assert!(text.contains("| crun run       |    1 |    8.00 |    8.00 |    8.00 |    8.00 |    4.00 |"), "{text}");
        assert!(text.contains("n/a: not installed / sorry"), "{text}");
    }
}
