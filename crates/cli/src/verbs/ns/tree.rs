// SPDX-License-Identifier: Apache-2.0
//! `cella ns tree`: which user or pid namespace was made in which.

use clap::{ArgMatches, Command};
use engine::Result;
use engine::namespaces::{SHOWN, TreeNode, ranges};

use super::draw;
use crate::app::Context;
use crate::definition::text;
use crate::flags::{switch, value};
use crate::output;

/// Characters of a command that are shown.
const COMMAND: usize = 60;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show which user or pid namespace was made in which, with ids and processes")
        .arg(value("type", "TYPE", "user or pid").short('t').value_parser(["user", "pid"]).default_value("user"))
        .arg(switch("dot", "A graph for Graphviz").conflicts_with_all(["svg", "json"]))
        .arg(switch("svg", "A picture").conflicts_with("json"))
        .arg(super::json())
        .after_help("Examples:\n  cella ns tree --type pid\n  cella ns tree --svg > namespaces.svg")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let kind = text(matches, "type").unwrap_or_default();
    let (roots, hidden) = context.namespaces().tree(&kind)?;
    if matches.get_flag("json") {
        output::json(&serde_json::json!({ "namespaces": roots, "hidden": hidden }));
        return Ok(0);
    }
    let shown = if matches.get_flag("dot") {
        draw::dot(&roots)
    } else if matches.get_flag("svg") {
        draw::svg(&kind, &roots)
    } else {
        roots.iter().map(|root| lines(root, "", "")).collect()
    };
    output::print(&shown);
    super::tell_hidden(context, &hidden);
    Ok(0)
}

/// What a node is, in one line.
fn heading(node: &TreeNode) -> String {
    let row = &node.namespace;
    let mut words = vec![format!("{}:[{}]", row.kind, row.inode)];
    words.extend(row.container.as_ref().map(|owner| output::plain(&owner.text())));
    words.extend(facts(node));
    words.join("  ")
}

/// Who made it, who is in it, and what it has rights over.
pub(super) fn facts(node: &TreeNode) -> Vec<String> {
    let row = &node.namespace;
    let mut words = Vec::new();
    if row.kind == "user" {
        words.push(format!("made by {}", super::or_dash(row.creator)));
    }
    words.push(match row.processes {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    });
    if let Some(owns) = node.owns.filter(|owns| *owns > 0) {
        words.push(format!("owns {owns}"));
    }
    words
}

/// The maps, where there are any to tell: one line when users and groups are alike.
pub(super) fn maps(node: &TreeNode) -> Vec<String> {
    match (&node.users, &node.groups) {
        (Some(users), Some(groups)) if users == groups => vec![format!("ids {}", ranges(users, " "))],
        (Some(users), Some(groups)) => {
            vec![format!("users {}", ranges(users, " ")), format!("groups {}", ranges(groups, " "))]
        }
        _ => Vec::new(),
    }
}

/// Its processes, and how many more there are.
pub(super) fn members(node: &TreeNode, most: usize) -> Vec<String> {
    let row = &node.namespace;
    let mut list: Vec<String> =
        node.members.iter().map(|one| format!("{} {}", one.pid, super::cut(&one.command, most))).collect();
    if list.is_empty() {
        list.push(super::holder(row, most));
    }
    let more = usize::try_from(row.processes).unwrap_or(0).saturating_sub(node.members.len());
    if more > 0 && node.members.len() == SHOWN {
        list.push(format!("… and {more} more"));
    }
    list
}

fn lines(node: &TreeNode, first: &str, rest: &str) -> String {
    let mut text = format!("{first}{}\n", heading(node));
    let bar = if node.children.is_empty() { "     " } else { "│    " };
    for line in maps(node).into_iter().chain(members(node, COMMAND)) {
        text.push_str(&format!("{rest}{bar}{line}\n"));
    }
    let last = node.children.len();
    for (index, child) in node.children.iter().enumerate() {
        let (branch, below) = if index + 1 == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&lines(child, &format!("{rest}{branch}"), &format!("{rest}{below}")));
    }
    text
}
