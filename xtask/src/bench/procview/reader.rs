// SPDX-License-Identifier: Apache-2.0
//! `xtask/floor/reader.rs`, the program that reads in a container: how it is made, asked, and understood.

use crate::{Result, cargo};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a reader is to do.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) keep: bool,
    /// Its name in /proc.
    pub(super) file: &'static str,
    pub(super) threads: usize,
    pub(super) pause: Duration,
    pub(super) lasts: Duration,
    /// From the command to the first read.
    pub(super) delay: Duration,
}

impl Task {
    /// One thread that opens, reads to the end and closes, for so long.
    pub(super) fn new(file: &'static str, lasts: Duration) -> Self {
        Self { keep: false, file, threads: 1, pause: Duration::ZERO, lasts, delay: Duration::ZERO }
    }

    /// The words after the program's name.
    pub(super) fn words(&self) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        vec![
            if self.keep { "keep" } else { "open" }.to_owned(),
            format!("/proc/{}", self.file),
            self.threads.to_string(),
            self.pause.as_millis().to_string(),
            (now + self.delay).as_millis().to_string(),
            self.lasts.as_millis().to_string(),
        ]
    }
}

/// What a reader says; times in nanoseconds.
#[derive(Deserialize, Clone)]
pub(super) struct Reading {
    pub(super) reads: u64,
    pub(super) errors: u64,
    /// One of them.
    pub(super) error: String,
    /// Threads whose last read did not return.
    pub(super) hung: u64,
    pub(super) nanos: u64,
    pub(super) processor: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) longest: u64,
    /// The first line of the file.
    pub(super) first: String,
}

impl Reading {
    pub(super) fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).map_err(|error| format!("reader: {error}: {line:?}"))
    }

    /// The same, when nothing went wrong.
    pub(super) fn whole(self) -> Result<Self> {
        match self {
            Self { errors: 0, hung: 0, reads: 1.., .. } => Ok(self),
            Self { errors, hung, error, .. } => Err(format!("{errors} reads failed ({error}), {hung} hang")),
        }
    }
}

/// Compiles it: static, with the standard library.
pub(super) fn compile(to: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor/reader.rs");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["-O", "--edition", "2024", "-C", "panic=abort", "-C", "strip=symbols"]);
    rustc.args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"]);
    cargo::succeed(rustc.arg(source).arg("-o").arg(to))
}
