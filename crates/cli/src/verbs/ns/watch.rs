// SPDX-License-Identifier: Apache-2.0
//! `cella ns watch`: namespaces as they come and go.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use engine::Result;
use engine::namespaces::{NamespaceChange, WatchSource, Watching};
use spec::size::parse_duration_ms;

use crate::app::Context;
use crate::definition::text;
use crate::flags::value;
use crate::output;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show namespaces as they come and go")
        .arg(value("type", "TYPE", "Only of this kind").short('t').value_parser(super::KINDS))
        .arg(value("interval", "TIME", "Between two looks at everything (default 1s)"))
        .arg(value("for", "TIME", "End after this time, e.g. 10s"))
        .arg(super::json())
        .after_help("Example:\n  cella ns watch --type net --json")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let time = |name: &'static str| text(matches, name).map(|text| parse_duration_ms(name, &text)).transpose();
    // Less than that would be nothing but looking.
    let interval_ms = time("interval")?.unwrap_or(1000).max(20);
    let most_ms = time("for")?;
    let end = most_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
    let interval_ms = most_ms.map_or(interval_ms, |ms| interval_ms.min(ms.max(20)));
    let mut screen =
        Screen { kind: text(matches, "type"), json: matches.get_flag("json"), quiet: context.quiet, interval_ms, end };
    context.namespaces().watch(interval_ms, &mut screen)?;
    Ok(0)
}

struct Screen {
    kind: Option<String>,
    json: bool,
    quiet: bool,
    interval_ms: u64,
    end: Option<Instant>,
}

impl Watching for Screen {
    fn begin(&mut self, source: WatchSource) {
        let how = match source {
            WatchSource::Events => {
                format!("by the kernel's news of processes, and a look every {} ms", self.interval_ms)
            }
            WatchSource::Looks => format!(
                "by a look every {} ms: news of processes is for the first namespaces only, and shorter lives are missed",
                self.interval_ms
            ),
        };
        if !self.quiet {
            output::tell(&format!("cella: watching {how}"));
        }
    }

    fn heard(&mut self, change: Option<&NamespaceChange>) -> bool {
        if let Some(change) =
            change.filter(|change| self.kind.as_deref().is_none_or(|kind| kind == change.namespace.kind))
        {
            show(change, self.json);
        }
        self.end.is_none_or(|end| Instant::now() < end)
    }
}

fn show(change: &NamespaceChange, json: bool) {
    if json {
        return output::json_line(change);
    }
    let row = &change.namespace;
    let owner = row.container.as_ref().map(|owner| format!("  {}", owner.text())).unwrap_or_default();
    let pid = row.oldest.as_ref().map(|oldest| format!("  {}", oldest.pid)).unwrap_or_default();
    let text = format!(
        "{}  {:<4}  {}:[{}]{owner}{pid}  {}",
        change.time,
        change.event,
        row.kind,
        row.inode,
        super::holder(row, 60)
    );
    output::line(&output::plain(text.trim_end()));
}
