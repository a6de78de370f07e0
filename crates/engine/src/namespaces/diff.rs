// SPDX-License-Identifier: Apache-2.0
//! What two processes share, and how what they do not share differs. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::details::ProcessDetails;
use super::inside::{Clock, Device};
use super::view::ranges;

/// Of a long list so many are named.
const NAMED: usize = 6;

/// Two processes side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Differences {
    /// The numbers of both.
    pub pids: [i32; 2],
    /// Their command lines: text of anybody's choice.
    pub commands: [String; 2],
    /// Each kind of namespace.
    pub kinds: Vec<Difference>,
}

/// One kind of namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which kind.
    pub kind: &'static str,
    /// Is it the same namespace?
    pub same: bool,
    /// The inodes of both.
    pub inodes: [u64; 2],
    /// How they differ; nothing where what they hold is alike, or is not seen.
    pub how: Vec<String>,
}

pub(super) fn differences(one: ProcessDetails, other: ProcessDetails) -> Differences {
    let kinds = one.namespaces.iter().filter_map(|first| {
        let second = other.namespaces.iter().find(|second| second.kind == first.kind)?;
        let same = first.inode == second.inode;
        let how = if same { Vec::new() } else { how(first.kind, &one, &other) };
        Some(Difference { kind: first.kind, same, inodes: [first.inode, second.inode], how })
    });
    let kinds = kinds.collect();
    Differences { pids: [one.pid, other.pid], commands: [one.command, other.command], kinds }
}

fn how(kind: &str, one: &ProcessDetails, other: &ProcessDetails) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &str, first: &str, second: &str| {
        if first != second {
            told.push(format!("{what}: {first} | {second}"));
        }
    };
    match kind {
        "user" => {
            tell("users", &ranges(&one.ids.users, ","), &ranges(&other.ids.users, ","));
            tell("groups", &ranges(&one.ids.groups, ","), &ranges(&other.ids.groups, ","));
        }
        "uts" => {
            if let (Some(first), Some(second)) = (&one.inside.uts, &other.inside.uts) {
                tell("hostname", &first.hostname, &second.hostname);
                tell("domainname", &first.domainname, &second.domainname);
            }
        }
        "pid" => tell("level", &one.pids.len().to_string(), &other.pids.len().to_string()),
        "cgroup" => tell("group", &group(one), &group(other)),
        "time" => {
            let text = |clock: &Option<Clock>, of: fn(&Clock) -> i128| {
                clock.as_ref().map_or_else(|| "?".to_owned(), |clock| seconds(of(clock)))
            };
            tell(
                "monotonic",
                &text(&one.clock, |clock| clock.monotonic_ns),
                &text(&other.clock, |clock| clock.monotonic_ns),
            );
            tell(
                "boottime",
                &text(&one.clock, |clock| clock.boottime_ns),
                &text(&other.clock, |clock| clock.boottime_ns),
            );
        }
        "mnt" => {
            let set = |of: &ProcessDetails| {
                of.all_mounts.iter().map(|mount| format!("{} ({})", mount.target, mount.kind)).collect()
            };
            tell_sets("mounts", &set(one), &set(other), &mut tell);
        }
        "net" => {
            if let (Some(first), Some(second)) = (&one.inside.network, &other.inside.network) {
                let devices = |list: &[Device]| list.iter().map(device).collect();
                tell_sets("devices", &devices(&first.devices), &devices(&second.devices), &mut tell);
                tell("routes", &first.routes.len().to_string(), &second.routes.len().to_string());
            }
        }
        "ipc" => {
            if let (Some(first), Some(second)) = (&one.inside.ipc, &other.inside.ipc) {
                let counts = [
                    ("shared memory", first.memory.len(), second.memory.len()),
                    ("semaphore sets", first.semaphores.len(), second.semaphores.len()),
                    ("message queues", first.messages.len(), second.messages.len()),
                    ("POSIX queues", first.queues.len(), second.queues.len()),
                ];
                for (what, first, second) in counts {
                    tell(what, &first.to_string(), &second.to_string());
                }
            }
        }
        _ => {}
    }
    told
}

fn device(device: &Device) -> String {
    match device.addresses.is_empty() {
        true => device.name.clone(),
        false => format!("{} {}", device.name, device.addresses.join(" ")),
    }
}

/// What only one of both has.
fn tell_sets(what: &str, one: &BTreeSet<String>, other: &BTreeSet<String>, tell: &mut dyn FnMut(&str, &str, &str)) {
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let all: Vec<&str> = one.difference(other).map(String::as_str).collect();
        let named = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        match all.len() {
            0 => "-".to_owned(),
            count if count > NAMED => format!("{named} and {} more", count - NAMED),
            _ => named,
        }
    };
    tell(what, &only(one, other), &only(other, one));
}

/// The namespace's own group is the root inside: what differs is seen in the group as we see it.
fn group(of: &ProcessDetails) -> String {
    let path = |line: &String| line.splitn(3, ':').nth(2).map(str::to_owned);
    of.groups.iter().filter_map(path).max_by_key(String::len).unwrap_or_default()
}

fn seconds(nanoseconds: i128) -> String {
    format!("{}s", nanoseconds / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_has_is_told_and_long_lists_are_cut() {
        let set = |range: std::ops::Range<u32>| range.map(|n| format!("m{n}")).collect::<BTreeSet<_>>();
        let mut told = Vec::new();
        let mut tell = |what: &str, one: &str, other: &str| told.push(format!("{what}: {one} | {other}"));
        tell_sets("mounts", &set(0..9), &set(8..9), &mut tell);
        assert_eq!(told, ["mounts: m0, m1, m2, m3, m4, m5 and 2 more | -"]);
        assert_eq!(ranges(&[[0, 1, 2], [5, 6, 7]], ","), "0:1:2,5:6:7");
        assert_eq!(ranges(&[], ","), "none");
    }
}
