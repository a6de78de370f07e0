// SPDX-License-Identifier: Apache-2.0
//! What went wrong, told to a person: what could not be done, to what, why, and what to do next.

use std::fmt;

/// What kind of failure: decides the exit code of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours: exit code 125.
    Own,
    /// There is no such container or image: exit code 125 (1 where only one was asked about).
    NotFound,
    /// The state does not allow it (a name that is taken, a container that is not running).
    Conflict,
    /// What was asked for is malformed.
    Invalid,
    /// The program is there but can not be run: exit code 126.
    NotExecutable,
    /// The program is not there: exit code 127.
    NoProgram,
}

/// A failure.
#[derive(Debug, Clone)]
pub struct Error {
    /// Its kind.
    pub kind: Kind,
    /// What could not be done, to what and why, as one line.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code of the command, as docker has it.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            Kind::Own | Kind::NotFound | Kind::Conflict | Kind::Invalid => 125,
            Kind::NotExecutable => 126,
            Kind::NoProgram => 127,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<kernel::Error> for Error {
    fn from(error: kernel::Error) -> Self {
        let hint = match error.errno {
            kernel::Errno::PERM | kernel::Errno::ACCESS if kernel::process::euid() != 0 => {
                Some("run it as root (sudo)")
            }
            kernel::Errno::NOSPC => Some("free some space on that disk"),
            _ => None,
        };
        Self { kind: Kind::Own, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

impl From<spec::Invalid> for Error {
    fn from(error: spec::Invalid) -> Self {
        Self { kind: Kind::Invalid, message: error.to_string(), hint: error.hint }
    }
}

/// Says what could not be done: `cannot start web: …`.
pub trait Doing<T> {
    /// Prefixes the failure with what was being done.
    ///
    /// # Errors
    /// The same failure.
    fn doing<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Doing<T> for std::result::Result<T, E> {
    fn doing<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| {
            let mut error: Error = error.into();
            error.message = format!("cannot {}: {}", what(), error.message);
            error
        })
    }
}
