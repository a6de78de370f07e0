// SPDX-License-Identifier: Apache-2.0
//! Words of the command line: global flags, and options before or after the container's id.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::failure::{Failure, Result};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// Who makes control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manager {
    #[default]
    Files,
    Systemd,
    Disabled,
}

/// Flags that every verb has.
#[derive(Debug, Default)]
pub(crate) struct Global {
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_format: Format,
    pub(crate) debug: bool,
    pub(crate) manager: Manager,
    /// `None` is to find out.
    pub(crate) rootless: Option<bool>,
}

impl Global {
    /// Takes a global flag; `false` when it is none.
    pub(crate) fn take(&mut self, name: &str, words: &mut Parser) -> Result<bool> {
        match name {
            "root" => self.root = Some(words.value()?.into()),
            "log" => self.log = Some(words.value()?.into()),
            "log-format" => {
                self.log_format = match words.value()?.string()?.as_str() {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    other => return Err(Failure::new(format!("--log-format: {other:?} is neither text nor json"))),
                }
            }
            "log-level" => match words.value()?.string()?.as_str() {
                "debug" => self.debug = true,
                "info" | "warning" | "warn" | "error" => self.debug = false,
                other => return Err(Failure::new(format!("--log-level: unknown level {other:?}"))),
            },
            "debug" => self.debug = true,
            "systemd-cgroup" => self.manager = if switch(name, words)? { Manager::Systemd } else { Manager::Files },
            "cgroup-manager" => {
                self.manager = match words.value()?.string()?.as_str() {
                    "cgroupfs" => Manager::Files,
                    "systemd" => Manager::Systemd,
                    "disabled" => Manager::Disabled,
                    other => return Err(Failure::new(format!("--cgroup-manager: unknown manager {other:?}"))),
                }
            }
            "rootless" => {
                self.rootless = match words.value()?.string()?.as_str() {
                    "true" => Some(true),
                    "false" => Some(false),
                    "auto" => None,
                    other => return Err(Failure::new(format!("--rootless: {other:?} is not true, false or auto"))),
                }
            }
            "criu" => {
                // Runc has dropped it too: whoever checkpoints looks for criu along PATH.
                words.value()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A flag that may be given as `--flag=false`.
pub(crate) fn switch(name: &str, words: &mut Parser) -> Result<bool> {
    match words.optional_value() {
        None => Ok(true),
        Some(value) => match value.to_str() {
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            _ => Err(Failure::new(format!("--{name}: {value:?} is neither true nor false"))),
        },
    }
}

/// The next word of a verb: one of its own options, or a word that is none. Global flags are taken on the way.
pub(crate) enum Word {
    Option(String),
    Plain(OsString),
    End,
}

pub(crate) fn next(global: &mut Global, words: &mut Parser) -> Result<Word> {
    loop {
        let name = match words.next()? {
            None => return Ok(Word::End),
            Some(Arg::Value(value)) => return Ok(Word::Plain(value)),
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(letter)) => letter.to_string(),
        };
        if !global.take(&name, words)? {
            return Ok(Word::Option(name));
        }
    }
}

pub(crate) fn unknown<T>(name: &str) -> Result<T> {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    Err(Failure::new(format!("unknown option {dashes}{name}")))
}

/// The value of an option as text.
pub(crate) fn text(words: &mut Parser) -> Result<String> {
    Ok(words.value()?.string()?)
}

/// The value of an option as a number.
pub(crate) fn number<T: std::str::FromStr>(name: &str, words: &mut Parser) -> Result<T> {
    let text = text(words)?;
    decimal(&text).ok_or_else(|| Failure::new(format!("--{name}: {text:?} is not a number that fits")))
}

/// A number that is written with digits alone: no sign, no space.
pub(crate) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Takes the only word that a verb has besides options: the id.
pub(crate) fn id_only(global: &mut Global, words: &mut Parser) -> Result<String> {
    let mut id = None;
    loop {
        match next(global, words)? {
            Word::End => return required(id),
            Word::Plain(word) => place(&mut id, word)?,
            Word::Option(name) => return unknown(&name),
        }
    }
}

pub(crate) fn required(id: Option<String>) -> Result<String> {
    id.ok_or_else(|| Failure::new("the id of the container is missing"))
}

pub(crate) fn place(id: &mut Option<String>, word: OsString) -> Result<()> {
    let word = word.string()?;
    match id {
        None => *id = Some(word),
        Some(_) => return Err(Failure::new(format!("one word too many: {word:?}"))),
    }
    Ok(())
}
