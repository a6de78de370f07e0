// SPDX-License-Identifier: Apache-2.0
//! `cella ns show`: all about the namespaces of a process.

use clap::{ArgMatches, Command};
use engine::Result;
use engine::namespaces::{Inside, MountView, ProcessDetails};

use crate::app::Context;
use crate::definition::text;
use crate::flags::switch;
use crate::output::{self, Cell};

/// Mounts that are shown of many.
const MOUNTS: usize = 20;

pub(super) fn command(command: Command) -> Command {
    command
        .about("Show all about the namespaces of a process")
        .arg(switch("all", "All mounts that differ from ours, not the first 20").short('a'))
        .arg(super::json())
        .arg(super::target("target"))
        .after_help("Example:\n  cella ns show web")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let details = context.namespaces().show(&text(matches, "target").unwrap_or_default())?;
    if matches.get_flag("json") {
        output::json(&details);
        return Ok(0);
    }
    let owner = details.container.as_ref().map(|owner| format!("  {}", owner.text())).unwrap_or_default();
    output::line(&output::plain(&format!("process {}{owner}  {}", details.pid, super::cut(&details.command, 80))));
    let pids: Vec<String> = details.pids.iter().map(ToString::to_string).collect();
    output::line(&format!("numbers of it, ours first: {}\n", pids.join(" → ")));
    namespaces(&details);
    ids(&details);
    mounts(&details, if matches.get_flag("all") { usize::MAX } else { MOUNTS });
    inside(&details.inside);
    rest(&details);
    Ok(0)
}

fn namespaces(details: &ProcessDetails) {
    let rows: Vec<Vec<Cell>> = details
        .namespaces
        .iter()
        .map(|one| {
            let whose = if one.shared { "ours".into() } else { Cell::green("its own") };
            vec![one.kind.into(), one.inode.to_string().into(), super::or_dash(one.owner).into(), whose]
        })
        .collect();
    output::table(&["TYPE", "INODE", "OWNER", "WHOSE"], &rows);
}

fn ids(details: &ProcessDetails) {
    output::line("\nids, inside and outside");
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (what, list) in [("users", &details.ids.users), ("groups", &details.ids.groups)] {
        for [inside, outside, count] in list {
            let range = |first: &u32| match *count {
                1 => first.to_string(),
                count => format!("{first} to {}", u64::from(*first) + u64::from(count) - 1),
            };
            rows.push(vec![what.into(), range(inside).into(), range(outside).into(), count.to_string().into()]);
        }
    }
    match rows.is_empty() {
        true => output::line("none: its user namespace has no map yet"),
        false => output::table(&["OF", "INSIDE", "OUTSIDE", "COUNT"], &rows),
    }
}

fn mounts(details: &ProcessDetails, most: usize) {
    if details.namespaces.iter().any(|one| one.kind == "mnt" && one.shared) {
        return;
    }
    output::line(&format!(
        "\n{} mounts that we have not, {} as we have them",
        details.mounts.len(),
        details.mounts_shared
    ));
    let row = |mount: &MountView| -> Vec<Cell> {
        vec![
            mount.target.as_str().into(),
            mount.kind.as_str().into(),
            mount.source.as_str().into(),
            super::short_ids(&mount.root).into(),
            mount.options.as_str().into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = details.mounts.iter().take(most).map(row).collect();
    output::table(&["TARGET", "KIND", "SOURCE", "OF IT", "OPTIONS"], &rows);
    if details.mounts.len() > most {
        output::line(&format!("… and {} more (--all)", details.mounts.len() - most));
    }
}

fn inside(inside: &Inside) {
    if let Some(uts) = &inside.uts {
        let text = format!("hostname {}, domainname {}", uts.hostname, uts.domainname);
        output::line(&format!("\n{}", output::plain(&text)));
    }
    if let Some(network) = &inside.network {
        output::line("\nnetwork");
        let rows: Vec<Vec<Cell>> = network
            .devices
            .iter()
            .map(|device| {
                vec![
                    device.name.as_str().into(),
                    device.kind.as_deref().unwrap_or("-").into(),
                    if device.up { Cell::green("up") } else { "down".into() },
                    device.mac.as_deref().unwrap_or("-").into(),
                    if device.addresses.is_empty() { "-".into() } else { device.addresses.join(" ").into() },
                ]
            })
            .collect();
        output::table(&["DEVICE", "KIND", "STATE", "MAC", "ADDRESSES"], &rows);
        for route in &network.routes {
            let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let device = route.device.as_ref().map(|device| format!(" dev {device}")).unwrap_or_default();
            output::line(&output::plain(&format!("route {}{via}{device}", route.to)));
        }
    }
    if let Some(ipc) = &inside.ipc {
        output::line("\nIPC objects");
        let lists = [
            ("shared memory", &ipc.memory, "bytes"),
            ("semaphores", &ipc.semaphores, "of them"),
            ("messages", &ipc.messages, "bytes"),
        ];
        for (what, list, unit) in lists {
            for [key, id, owner, size] in list {
                output::line(&format!("{what} {id}: key {key:#x}, user {owner}, {size} {unit}"));
            }
        }
        for name in &ipc.queues {
            output::line(&output::plain(&format!("message queue /{name}")));
        }
        if ipc.memory.is_empty() && ipc.semaphores.is_empty() && ipc.messages.is_empty() && ipc.queues.is_empty() {
            output::line("none");
        }
    }
    for reason in &inside.unseen {
        output::line(&output::plain(&format!("not seen: {reason}")));
    }
}

fn rest(details: &ProcessDetails) {
    output::line("\ncontrol groups");
    for group in &details.groups {
        output::line(&output::plain(&super::short_ids(group)));
    }
    if let Some(clock) = &details.clock {
        let seconds = |ns: i128| format!("{}.{:03} s", ns / 1_000_000_000, (ns % 1_000_000_000).abs() / 1_000_000);
        let (monotonic, boottime) = (seconds(clock.monotonic_ns), seconds(clock.boottime_ns));
        output::line(&format!("\nclocks ahead: monotonic {monotonic}, since boot {boottime}"));
    }
}
