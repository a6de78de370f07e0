// SPDX-License-Identifier: Apache-2.0
//! `cella events`: what happens to containers.

use clap::{ArgMatches, Command};
use engine::{Error, Event, EventOptions, Kind, Result};

use crate::app::Context;
use crate::definition::{text, texts, time};
use crate::flags::{format, list, value};
use crate::output;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show what happens, as it happens")
        .arg(value("since", "TIME", "From then on: 10m, or 2026-11-23T10:00:00Z"))
        .arg(value("until", "TIME", "Up to then"))
        .arg(list("filter", "KEY=VALUE", "event=, container=").short('f'))
        .arg(format())
        .after_help("Example:\n  cella events --since 1h --until 0s --format json")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let at = |name: &str| text(matches, name).map(|text| time(&text)).transpose();
    let options = EventOptions { follow: true, since_ns: at("since")?, until_ns: at("until")? };
    let filters = texts(matches, "filter");
    if let Some(unknown) = filters.iter().find(|filter| !matches_any(filter)) {
        let error = Error::new(Kind::Invalid, format!("invalid filter {unknown:?}"));
        return Err(error.hint("write event= or container= and a value"));
    }
    let json = text(matches, "format").as_deref() == Some("json");
    context.engine()?.events(options, &mut |event| {
        if filters.iter().all(|filter| admits(filter, event)) {
            show(event, json);
        }
        true
    })?;
    Ok(0)
}

fn matches_any(filter: &str) -> bool {
    matches!(filter.split_once('='), Some(("event" | "container", _)))
}

fn admits(filter: &str, event: &Event) -> bool {
    match filter.split_once('=') {
        Some(("event", word)) => event.event == word,
        Some(("container", text)) => event.name == text || event.id.starts_with(text),
        _ => false,
    }
}

fn show(event: &Event, json: bool) {
    if json {
        return output::json_line(event);
    }
    let attributes: String = event.attributes.iter().map(|(key, value)| format!("  {key}={value}")).collect();
    output::line(&format!("{}  {}  {}{attributes}", event.time, event.event, event.name));
}
