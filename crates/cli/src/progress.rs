// SPDX-License-Identifier: Apache-2.0
//! What long work shows: one line that changes on a terminal, plain lines elsewhere, nothing for what takes no time.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nothing is shown before.
const PATIENCE: Duration = Duration::from_millis(200);

/// No more often than that.
const EVERY: Duration = Duration::from_millis(100);

/// Shows progress on standard error.
pub(crate) struct Progress {
    quiet: bool,
    terminal: bool,
    begun: Instant,
    shown: Option<Instant>,
    stage: String,
    told: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, begun: Instant::now(), shown: None, stage: String::new(), told: false }
    }

    fn show(&mut self, rest: &str) {
        if self.quiet || self.begun.elapsed() < PATIENCE {
            return;
        }
        let mut err = std::io::stderr().lock();
        if self.terminal {
            let seconds = self.begun.elapsed().as_secs();
            write!(err, "\r\x1b[K{}{rest}  {seconds} s", self.stage).ok();
        } else if !self.told {
            writeln!(err, "{}", self.stage).ok();
        }
        err.flush().ok();
        self.told = true;
        self.shown = Some(Instant::now());
    }
}

impl engine::Progress for Progress {
    fn stage(&mut self, what: &str) {
        what.clone_into(&mut self.stage);
        self.told = false;
        self.show("");
    }

    fn advance(&mut self, done: u64, total: Option<u64>) {
        if self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        let size = spec::size::format_bytes;
        match total {
            Some(total) if total > 0 => {
                self.show(&format!("  {}% of {}", done.saturating_mul(100) / total, size(total)))
            }
            _ => self.show(&format!("  {}", size(done))),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            write!(std::io::stderr(), "\r\x1b[K").ok();
        }
    }
}
