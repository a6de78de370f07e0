// SPDX-License-Identifier: Apache-2.0
//! `cella ns`: namespaces themselves, of containers and of everything else; one file per word.

mod diff;
mod draw;
mod enter;
mod id;
mod ls;
mod pin;
mod show;
mod stat;
mod tree;
mod unshare;
mod watch;

use clap::{Arg, ArgMatches, Command};
use engine::namespaces::{Hidden, NamespaceRow, Program};
use engine::{Error, Kind, Result};

use crate::app::Context;
use crate::definition::texts;

type Build = fn(Command) -> Command;
type Run = fn(&Context, &ArgMatches) -> Result<i32>;

/// The words below `cella ns`.
const WORDS: &[(&str, Build, Run)] = &[
    ("ls", ls::command, ls::run),
    ("tree", tree::command, tree::run),
    ("show", show::command, show::run),
    ("diff", diff::command, diff::run),
    ("id", id::command, id::run),
    ("stat", stat::command, stat::run),
    ("enter", enter::command, enter::run),
    ("unshare", unshare::command, unshare::run),
    ("pin", pin::command, pin::run),
    ("unpin", pin::unpin_command, pin::unpin),
    ("watch", watch::command, watch::run),
];

/// The kinds, as they are typed.
const KINDS: [&str; 8] = ["user", "cgroup", "ipc", "uts", "net", "pid", "time", "mnt"];

pub(super) fn command(command: Command) -> Command {
    command
        .about("Namespaces: look at them, enter them, make them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(WORDS.iter().map(|(name, build, _)| build(Command::new(*name))))
        .after_help("Examples:\n  cella ns ls\n  cella ns enter web -- sh\n  cella ns unshare --types net,pid --map-root --fork --mount-proc -- sh")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (name, sub) = matches.subcommand().unwrap_or(("", matches));
    match WORDS.iter().find(|(word, ..)| *word == name) {
        Some((_, _, run)) => run(context, sub),
        None => Ok(125),
    }
}

/// Does the word run a program, whose exit codes are its own?
pub(crate) fn runs_program(matches: &ArgMatches) -> bool {
    matches!(matches.subcommand_name(), Some("enter" | "unshare"))
}

fn target(name: &'static str) -> Arg {
    Arg::new(name).value_name("PID|CONTAINER").required(true).help("A process's number, or a container's name or id")
}

fn json() -> Arg {
    crate::flags::switch("json", "As JSON")
}

/// The program behind `--`.
fn words() -> Arg {
    crate::flags::words("Program and arguments, after --").value_parser(clap::value_parser!(std::ffi::OsString))
}

fn program(matches: &ArgMatches) -> Result<Program> {
    let mut words: Vec<std::ffi::OsString> = matches.get_many("command").into_iter().flatten().cloned().collect();
    if words.len() > 1 && words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    Program::new(words, std::env::vars_os().collect())
}

/// `UID[:GID]`, in numbers: whose names they are is not known before.
fn user(matches: &ArgMatches) -> Result<Option<(u32, u32)>> {
    let Some(text) = crate::definition::text(matches, "user") else { return Ok(None) };
    let (uid, gid) = text.split_once(':').unwrap_or((&text, &text));
    match (uid.parse::<u32>(), gid.parse::<u32>()) {
        (Ok(uid), Ok(gid)) if uid < u32::MAX && gid < u32::MAX => Ok(Some((uid, gid))),
        _ => {
            let error = Error::new(Kind::Invalid, format!("invalid user {text:?}: it is not UID or UID:GID"));
            Err(error.hint("write numbers, e.g. 33:33"))
        }
    }
}

/// Kinds that can be given again and with commas.
fn types(matches: &ArgMatches) -> Option<String> {
    let all = texts(matches, "types");
    (!all.is_empty()).then(|| all.join(","))
}

/// The last line: what is not seen, and why.
fn tell_hidden(context: &Context, hidden: &Hidden) {
    if let Some(text) = hidden.text().filter(|_| !context.quiet) {
        crate::output::tell(&format!("cella: {text}"));
    }
}

/// At most so many characters in one line, none of which drives a terminal.
fn cut(text: &str, most: usize) -> String {
    crate::output::cut(&crate::output::plain(&text.replace(['\n', '\t'], " ")), most)
}

/// With each id of 64 digits as its first twelve: a person tells two apart by less.
fn short_ids(text: &str) -> String {
    const LONG: usize = 64;
    const SHORT: usize = 12;
    let (mut all, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (taken, kept) = match digits {
            LONG => (LONG, SHORT),
            0 => (first.len_utf8(), first.len_utf8()),
            count => (count, count),
        };
        all.push_str(rest.get(..kept).unwrap_or_default());
        if taken > kept {
            all.push('…');
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    all
}

/// What keeps a namespace alive, in words: its oldest process, or what else.
fn holder(row: &NamespaceRow, most: usize) -> String {
    use engine::namespaces::Kept;
    let pins = row.kept.iter().filter_map(|kept| match kept {
        Kept::Mount { path, .. } => Some(format!("[{}]", crate::output::plain(path))),
        Kept::Descriptor { .. } | Kept::Thread { .. } | Kept::Children { .. } | Kept::Below => None,
    });
    let process = row.oldest.as_ref().map(|oldest| cut(&oldest.command, most));
    let mut words: Vec<String> = process.into_iter().chain(pins).collect();
    words.dedup();
    if words.is_empty() {
        words.extend(row.kept.first().map(|kept| match kept {
            Kept::Descriptor { pid, number } => format!("[open: process {pid}, descriptor {number}]"),
            Kept::Thread { pid, thread } => format!("[thread {thread} of process {pid}]"),
            Kept::Children { pid } => format!("[children to come of process {pid}]"),
            Kept::Below => "[what is below it]".to_owned(),
            Kept::Mount { path, .. } => format!("[{}]", crate::output::plain(path)),
        }));
    }
    words.join(" ")
}

/// A number, or a dash for none.
fn or_dash<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_ids_are_cut() {
        let id = "ab".repeat(32);
        assert_eq!(short_ids(&format!("/x-{id}.scope/é")), "/x-abababababab….scope/é");
        assert_eq!(short_ids(&format!("{id}0")), format!("{id}0"));
        assert_eq!(short_ids("/user.slice"), "/user.slice");
    }

    #[test]
    fn a_cut_text_has_no_more_characters_than_asked_for() {
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
        assert_eq!(cut("a\u{1b}[m", 9), "a\u{fffd}[m");
    }
}
