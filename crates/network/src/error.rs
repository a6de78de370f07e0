// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with a network, told to a person.

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for can not be.
    Invalid,
    /// There is no such network.
    NotFound,
    /// Something is taken, or in use.
    Conflict,
    /// Ours, or the host's.
    Own,
}

/// What could not be done, to what, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose fault.
    pub kind: Kind,
    /// One line.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<kernel::Error> for Error {
    fn from(error: kernel::Error) -> Self {
        let lacks = error.is_unsupported();
        let failed = Self::new(Kind::Own, error.to_string());
        if lacks { failed.hint("this kernel does not have it: cella doctor") } else { failed }
    }
}

impl From<spec::Invalid> for Error {
    fn from(error: spec::Invalid) -> Self {
        Self { kind: Kind::Invalid, message: error.to_string(), hint: error.hint }
    }
}

/// Says what was being done when it failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error { message: format!("cannot {}: {}", what(), error.message), ..error }
        })
    }
}
