// SPDX-License-Identifier: Apache-2.0
//! What is hidden or may only be read: looked up below the mount that it is part of, whatever has that mount's name by then.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use plan::Step;
use stub::wire::{NONE, code};

use super::Lower;

impl Lower<'_, '_> {
    pub(super) fn mask(&mut self, targets: &[PathBuf]) {
        let (null, empty) = match &self.given.covers {
            Some([null, empty]) => (self.to.slot(null.as_fd()), self.to.slot(empty.as_fd())),
            None => self.covers.unwrap_or((NONE, NONE)),
        };
        for target in targets {
            let (path, below) = self.below(target);
            self.to.push(code::MASK, &[path, empty, null, below]);
        }
    }

    pub(super) fn read_only(&mut self, targets: &[PathBuf]) {
        for target in targets {
            let (path, below) = self.below(target);
            self.to.push(code::READ_ONLY, &[path, below]);
        }
    }

    /// Where a path is looked up: below the mount on `/proc` or `/sys` when we have made it, else below the root.
    fn below(&mut self, target: &Path) -> (u64, u64) {
        let mount = self.mounts.iter().rev().find_map(|(at, slot)| Some((target.strip_prefix(at).ok()?, *slot)));
        let (rest, slot) = mount.unwrap_or((target, NONE));
        (self.to.path(rest), slot)
    }

    /// Keeps the mount for what is hidden below it later; says whether it does.
    pub(super) fn keeps(&mut self, target: &Path, slot: u64) -> bool {
        let hides = ["/proc", "/sys"].map(Path::new).contains(&target)
            && self.plan.steps.iter().any(|step| matches!(step, Step::Mask { .. } | Step::ReadOnly { .. }));
        if hides {
            self.mounts.push((target.to_owned(), slot));
        }
        hides
    }
}
