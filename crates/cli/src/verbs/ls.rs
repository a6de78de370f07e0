// SPDX-License-Identifier: Apache-2.0
//! `cella ls`: the containers of this host.

use clap::{Arg, ArgAction, ArgMatches, Command};
use engine::{Error, Kind, Result, Status, Summary};

use crate::app::Context;
use crate::definition::{text, texts};
use crate::flags::{format, list, switch};
use crate::output::{self, Cell};

/// Characters of a command and of an id that are shown.
const COMMAND: usize = 30;
const ID: usize = 12;

pub(super) fn command(command: Command) -> Command {
    command
        .about("List containers")
        .arg(switch("all", "Also those that do not run").short('a'))
        .arg(Arg::new("ids").short('q').long("ids").help("Only their ids").action(ArgAction::SetTrue))
        .arg(switch("no-trunc", "Ids and commands in full"))
        .arg(list("filter", "KEY=VALUE", "status=, name=, label=, image=").short('f'))
        .arg(format())
        .after_help("Example:\n  cella ls -a --filter status=exited")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let filters = texts(matches, "filter").iter().map(|text| filter(text)).collect::<Result<Vec<_>>>()?;
    let by_status = filters.iter().any(|filter| filter.key == "status");
    let mut list = context.engine()?.list()?;
    list.retain(|one| {
        let shown = matches.get_flag("all") || by_status || !matches!(one.status, Status::Created | Status::Exited);
        shown && filters.iter().all(|filter| filter.admits(one))
    });
    let full = matches.get_flag("no-trunc");
    if matches.get_flag("ids") {
        for one in &list {
            output::line(&id(one, full));
        }
    } else if text(matches, "format").as_deref() == Some("json") {
        output::json(&list);
    } else {
        table(&list, full);
    }
    Ok(0)
}

struct Filter {
    key: String,
    value: String,
}

fn filter(text: &str) -> Result<Filter> {
    match text.split_once('=') {
        Some((key @ ("status" | "name" | "label" | "image"), value)) => {
            Ok(Filter { key: key.to_owned(), value: value.to_owned() })
        }
        _ => Err(Error::new(Kind::Invalid, format!("invalid filter {text:?}"))
            .hint("write status=, name=, label= or image= and a value")),
    }
}

impl Filter {
    fn admits(&self, one: &Summary) -> bool {
        match self.key.as_str() {
            "status" => one.status.word() == self.value,
            "name" => one.name.as_str().contains(&self.value),
            "image" => one.image == self.value,
            _ => match self.value.split_once('=') {
                Some((key, value)) => one.labels.get(key).is_some_and(|label| label == value),
                None => one.labels.contains_key(&self.value),
            },
        }
    }
}

fn id(one: &Summary, full: bool) -> String {
    one.id.chars().take(if full { usize::MAX } else { ID }).collect()
}

fn table(list: &[Summary], full: bool) {
    let rows: Vec<Vec<Cell>> = list
        .iter()
        .map(|one| {
            vec![
                one.name.as_str().into(),
                id(one, full).into(),
                one.kind.into(),
                one.image.as_str().into(),
                output::cut(&one.command.replace(['\n', '\t'], " "), if full { usize::MAX } else { COMMAND }).into(),
                status(one),
                one.addresses.first().map_or_else(|| "-".to_owned(), ToString::to_string).into(),
                output::usage(one.memory, one.memory_limit).into(),
                output::since(&one.created).into(),
            ]
        })
        .collect();
    output::table(&["NAME", "ID", "KIND", "IMAGE", "COMMAND", "STATUS", "ADDRESS", "MEMORY", "AGE"], &rows);
}

fn status(one: &Summary) -> Cell {
    let since = |time: &Option<String>| time.as_deref().map(output::since).unwrap_or_default();
    match one.status {
        Status::Created => "created".into(),
        Status::Running => Cell::green(format!("running {}", since(&one.started))),
        Status::Paused => Cell::yellow("paused"),
        Status::Restarting => Cell::yellow("restarting"),
        Status::Exited => match one.exit_code.unwrap_or(0) {
            0 => format!("exited (0) {} ago", since(&one.finished)).into(),
            code => Cell::red(format!("exited ({code}) {} ago", since(&one.finished))),
        },
    }
}
