// SPDX-License-Identifier: Apache-2.0
//! The verbs, one file each; the file's name is the word that is typed.

mod attach;
mod autostart;
mod boot_log;
mod completion;
mod console;
mod create;
mod device;
mod doctor;
mod events;
mod exec;
mod info;
mod inspect;
mod kill;
mod launch;
mod logs;
mod ls;
mod man;
mod network;
pub(crate) mod ns;
mod pause;
mod plan;
mod port;
mod poweroff;
mod procview;
mod reboot;
mod rename;
mod restart;
mod resume;
mod rm;
mod run;
mod set;
mod shell;
mod start;
mod stats;
mod stop;
mod top;
mod version;
mod wait;

use clap::{ArgMatches, Command};
use engine::Result;

use crate::app::Context;

/// A verb: its word, what else it is called, and what it does.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    aliases: &'static [&'static str],
    command: fn(Command) -> Command,
    pub(crate) run: fn(&Context, &ArgMatches) -> Result<i32>,
}

impl Verb {
    /// Its part of the command line.
    pub(crate) fn build(&self) -> Command {
        (self.command)(Command::new(self.name).visible_aliases(self.aliases))
    }
}

const fn verb(
    name: &'static str,
    aliases: &'static [&'static str],
    command: fn(Command) -> Command,
    run: fn(&Context, &ArgMatches) -> Result<i32>,
) -> Verb {
    Verb { name, aliases, command, run }
}

/// All of them, in the order of the help.
pub(crate) const VERBS: &[Verb] = &[
    verb("run", &[], run::command, run::run),
    verb("launch", &[], launch::command, launch::run),
    verb("create", &[], create::command, create::run),
    verb("start", &[], start::command, start::run),
    verb("stop", &[], stop::command, stop::run),
    verb("restart", &[], restart::command, restart::run),
    verb("poweroff", &["shutdown"], poweroff::command, poweroff::run),
    verb("reboot", &[], reboot::command, reboot::run),
    verb("kill", &[], kill::command, kill::run),
    verb("pause", &[], pause::command, pause::run),
    verb("resume", &["unpause"], resume::command, resume::run),
    verb("rm", &["remove"], rm::command, rm::run),
    verb("ls", &["ps", "list"], ls::command, ls::run),
    verb("inspect", &[], inspect::command, inspect::run),
    verb("logs", &[], logs::command, logs::run),
    verb("boot-log", &[], boot_log::command, boot_log::run),
    verb("exec", &[], exec::command, exec::run),
    verb("shell", &["login"], shell::command, shell::run),
    verb("console", &[], console::command, console::run),
    verb("attach", &[], attach::command, attach::run),
    verb("wait", &[], wait::command, wait::run),
    verb("rename", &[], rename::command, rename::run),
    verb("set", &["update"], set::command, set::run),
    verb("network", &["net"], network::command, network::run),
    verb("ns", &["namespace"], ns::command, ns::run),
    verb("port", &[], port::command, port::run),
    verb("device", &[], device::command, device::run),
    verb("procview", &[], procview::command, procview::run),
    verb("autostart", &[], autostart::command, autostart::run),
    verb("top", &[], top::command, top::run),
    verb("stats", &[], stats::command, stats::run),
    verb("events", &[], events::command, events::run),
    verb("plan", &[], plan::command, plan::run),
    verb("info", &[], info::command, info::run),
    verb("version", &[], version::command, version::run),
    verb("doctor", &[], doctor::command, doctor::run),
    verb("completion", &[], completion::command, completion::run),
    verb("man", &[], man::command, man::run),
];

/// The verb with this word or alias.
pub(crate) fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == word || verb.aliases.contains(&word))
}

/// A hint at the verb that was meant.
pub(crate) fn nearest(word: &str) -> Option<String> {
    let words = VERBS.iter().flat_map(|verb| std::iter::once(&verb.name).chain(verb.aliases)).copied();
    spec::error::nearest(word, words).map(|near| format!("did you mean {near}?"))
}
