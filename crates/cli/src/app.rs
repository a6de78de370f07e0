// SPDX-License-Identifier: Apache-2.0
//! From the words to a verb: only the verb that was typed is built, which is most of what a command line costs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use engine::{Engine, Error, Kind, Place};

use crate::verbs::{self, VERBS, Verb};

/// A command that failed: what is told, and the exit code.
pub(crate) struct Failure {
    error: Error,
    code: i32,
}

impl Failure {
    /// Prints it, as one line and a hint.
    pub(crate) fn tell(self) -> ExitCode {
        let one_line = |text: &str| text.trim().replace('\n', " ");
        crate::output::tell(&format!("cella: {}", one_line(&self.error.message)));
        if let Some(hint) = &self.error.hint {
            crate::output::tell(&format!("  hint: {}", one_line(hint)));
        }
        ExitCode::from(u8::try_from(self.code & 0xff).unwrap_or(125))
    }
}

/// What every verb gets.
pub(crate) struct Context {
    place: Place,
    pub(crate) quiet: bool,
}

impl Context {
    /// The directory that everything is kept below, when it is not the usual one.
    pub(crate) fn root(&self) -> Option<PathBuf> {
        (self.place.root != Place::standard().root).then(|| self.place.root.clone())
    }

    pub(crate) fn engine(&self) -> engine::Result<Engine> {
        Engine::open(self.place.clone())
    }

    pub(crate) fn namespaces(&self) -> engine::namespaces::Namespaces {
        engine::namespaces::Namespaces::new(self.place.clone())
    }

    /// Does it for each; the failures are told as they come, and the code says whether there was one.
    pub(crate) fn each(names: &[String], mut act: impl FnMut(&str) -> engine::Result<()>) -> engine::Result<i32> {
        let mut last = None;
        for name in names {
            if let Err(error) = act(name)
                && let Some(error) = last.replace(error)
            {
                Failure { error, code: 1 }.tell();
            }
        }
        last.map_or(Ok(0), Err)
    }
}

pub(crate) fn run(arguments: Vec<OsString>) -> Result<i32, Failure> {
    let verb = verb_of(&arguments);
    let mut app = match verb {
        Some(verb) => base().subcommand(verb.build()),
        None => whole(),
    };
    let matches = match app.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(error, &arguments),
    };
    let context = context(&matches);
    let Some((name, sub)) = matches.subcommand() else {
        crate::output::print(&app.render_help().to_string());
        return Ok(0);
    };
    let verb = verb.or_else(|| VERBS.iter().find(|verb| verb.name == name));
    let Some(verb) = verb else { return crate::help::topic(sub).map_err(|error| Failure { error, code: 125 }) };
    (verb.run)(&context, sub).map_err(|error| Failure { code: code_of(verb, sub, &error), error })
}

/// As docker has it: what runs a program has codes of its own; a malformed request is 125; the rest is 1.
fn code_of(verb: &Verb, matches: &ArgMatches, error: &Error) -> i32 {
    let runs = ["run", "create", "exec"].contains(&verb.name) || verb.name == "ns" && verbs::ns::runs_program(matches);
    match error.kind {
        Kind::NotExecutable | Kind::NoProgram | Kind::Invalid => error.exit_code(),
        Kind::Own | Kind::NotFound | Kind::Conflict if runs => error.exit_code(),
        Kind::Own | Kind::NotFound | Kind::Conflict => 1,
    }
}

fn context(matches: &ArgMatches) -> Context {
    let root =
        matches.get_one::<PathBuf>("root").cloned().or_else(|| std::env::var_os("CELLA_ROOT").map(PathBuf::from));
    let place = root
        .filter(|root| !root.as_os_str().is_empty())
        .map_or_else(Place::standard, |root| Place::below(std::path::absolute(&root).unwrap_or(root)));
    Context { place, quiet: matches.get_flag("quiet") }
}

/// The word that is the verb: the first that is no global flag.
fn verb_of(arguments: &[OsString]) -> Option<&'static Verb> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    loop {
        match words.next()? {
            "--root" => drop(words.next()),
            word if word.starts_with('-') => {}
            word => return verbs::find(word),
        }
    }
}

fn base() -> Command {
    Command::new("cella")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Linux containers, of whole systems and of single programs, without a daemon")
        .arg(Arg::new("root").long("root").global(true).value_name("DIR").value_parser(clap::value_parser!(PathBuf)).help(
            "Keep everything below DIR in place of /var/lib/cella and /run/cella (also: CELLA_ROOT)",
        ))
        .arg(Arg::new("quiet").long("quiet").global(true).action(ArgAction::SetTrue).help("Show no progress and no warnings"))
        .disable_help_subcommand(true)
        .after_help("Example:\n  cella run --rm host -- sh -c 'hostname; id -un'\n\ncella help TOPIC explains: images, systems, networks, limits, isolation, namespaces, files, exit-codes")
}

/// With every verb: for help, completions, man pages, and words that are none.
pub(crate) fn whole() -> Command {
    base().subcommands(VERBS.iter().map(Verb::build)).subcommand(crate::help::command())
}

/// What clap refuses, in our words; help and version are no failures.
fn refused(error: clap::Error, arguments: &[OsString]) -> Result<i32, Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        crate::output::print(&error.to_string());
        return Ok(0);
    }
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => Some(list.join(", ")),
        _ => None,
    };
    let invalid = text(ContextKind::InvalidArg).or_else(|| text(ContextKind::InvalidSubcommand)).unwrap_or_default();
    let verb = verb_of(arguments).map_or("", |verb| verb.name);
    let message = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown flag {invalid}"),
        ErrorKind::InvalidSubcommand if verb.is_empty() => format!("unknown command {invalid:?}"),
        ErrorKind::InvalidSubcommand => format!("unknown command \"{verb} {invalid}\""),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            format!("{verb} needs a command")
        }
        ErrorKind::MissingRequiredArgument => format!("{invalid} is missing"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{invalid}: invalid value {:?}", text(ContextKind::InvalidValue).unwrap_or_default())
        }
        ErrorKind::ArgumentConflict => {
            format!("{invalid} can not be used with {}", text(ContextKind::PriorArg).unwrap_or_default())
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    let near = match error.kind() {
        ErrorKind::InvalidSubcommand if verb.is_empty() => verbs::nearest(&invalid),
        ErrorKind::InvalidSubcommand if verb == "port" => Some(format!("cella port ls {invalid}")),
        _ => text(ContextKind::SuggestedArg).map(|near| format!("did you mean {near}?")),
    };
    let near = near.or_else(|| {
        text(ContextKind::ValidValue)
            .filter(|values| !values.is_empty())
            .map(|values| format!("write one of: {values}"))
    });
    let hint = near.unwrap_or_else(|| format!("cella {verb} --help").replace("  ", " "));
    Err(Failure { error: Error::new(Kind::Invalid, message).hint(hint), code: 125 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_is_consistent() {
        whole().debug_assert();
        for verb in VERBS {
            assert!(
                verb.build().get_after_help().is_some_and(|text| text.to_string().contains("cella ")),
                "{}",
                verb.name
            );
        }
    }

    #[test]
    fn the_verb_is_found_behind_global_flags() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(verb_of(&words("cella --root /x --quiet ps -a")).unwrap().name, "ls");
        assert!(verb_of(&words("cella --help")).is_none() && verb_of(&words("cella frob")).is_none());
    }
}
