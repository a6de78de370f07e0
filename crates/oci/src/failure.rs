// SPDX-License-Identifier: Apache-2.0
//! What went wrong, as the callers of an OCI runtime read it: one line on standard error, one record in their log.

use std::fmt;
use std::io::Write;

use crate::arguments::{Format, Global};

/// An error and the exit code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Says it where the caller looks: in its log when it has one, and on standard error.
    pub(crate) fn tell(&self, global: &Global) {
        log(global, "error", &self.message);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<kernel::Error> for Failure {
    fn from(error: kernel::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<plan::Error> for Failure {
    fn from(error: plan::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<runtime::Failure> for Failure {
    fn from(failure: runtime::Failure) -> Self {
        Self::new(failure.message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// One line of a level (`error`, `warning`).
pub(crate) fn log(global: &Global, level: &str, message: &str) {
    let time = spec::timestamp::format(kernel::time::now_ns());
    let json = || serde_json::json!({"level": level, "msg": message, "time": time}).to_string();
    if let Some(path) = &global.log {
        let line = match global.log_format {
            Format::Json => json(),
            Format::Text => format!("time={time:?} level={level} msg={message:?}"),
        };
        // Nobody is left to tell when the log can not be written.
        kernel::file::append(path, format!("{line}\n").as_bytes()).ok();
    }
    let line = match (global.log.is_none(), global.log_format) {
        (true, Format::Json) => json(),
        _ => format!("cella-oci: {message}"),
    };
    // A full pipe must not hold us for ever.
    let mut stderr = std::io::stderr();
    if kernel::event::is_writable(&stderr) {
        writeln!(stderr, "{line}").ok();
    }
}
