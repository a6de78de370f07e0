// SPDX-License-Identifier: Apache-2.0
//! Hears of processes that the kernel kills for lack of memory, also when the container goes on without them.

use std::os::fd::BorrowedFd;

use kernel::cgroup::{Group, OomCount};

use super::Loop;

/// How often one looks where the kernel does not tell, milliseconds.
const LOOK_MS: u64 = 2000;

/// The count, and what of it was told.
#[derive(Debug, Default)]
pub(super) struct Watch {
    count: Option<OomCount>,
    /// The group's count when the run began: it may have had others.
    before: u64,
    seen: u64,
    next_ms: u64,
}

impl Watch {
    /// A run begins in this group.
    pub(super) fn begin(&mut self, group: &Group) {
        let count = group.oom_count();
        let before = count.as_ref().and_then(OomCount::read).unwrap_or(0);
        *self = Self { count, before, seen: before, next_ms: kernel::time::monotonic_ms() + LOOK_MS };
    }

    /// The run has ended: how many were killed in it.
    pub(super) fn end(&mut self) -> u64 {
        self.count = None;
        self.seen - self.before
    }

    pub(super) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.count.as_ref()?.news()
    }

    /// When one has to look by oneself.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.count.as_ref().filter(|count| count.news().is_none()).map(|_| self.next_ms)
    }

    /// How many were killed since the last look.
    fn look(&mut self) -> u64 {
        self.next_ms = kernel::time::monotonic_ms() + LOOK_MS;
        let now = self.count.as_ref().and_then(OomCount::read).unwrap_or(self.seen);
        let new = now.saturating_sub(self.seen);
        self.seen = now.max(self.seen);
        new
    }
}

impl Loop {
    pub(super) fn look_for_kills(&mut self) {
        let new = self.oom.look();
        if new == 0 {
            return;
        }
        self.state.oom_kills += new;
        // What is told in the end is written down in any case.
        self.state.write(&self.keeper.run).ok();
        self.tell_event("oom", &[("killed", new.to_string())]);
    }
}
