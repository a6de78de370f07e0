// SPDX-License-Identifier: Apache-2.0
//! How often the kernel has killed for lack of a group's memory, and the news of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::Group;

/// The open file that counts.
#[derive(Debug)]
pub struct OomCount {
    file: OwnedFd,
    /// The kernel tells when it changes (version 2).
    tells: bool,
}

impl Group {
    /// The count of this group; `None` where nothing counts, or the group is not there.
    #[must_use]
    pub fn oom_count(&self) -> Option<OomCount> {
        let (path, tells) = match self.legacy("memory") {
            Some(path) => (path.join("memory.oom_control"), false),
            None => (self.unified()?.join("memory.events"), true),
        };
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Some(OomCount { file, tells })
    }
}

impl OomCount {
    /// How many processes were killed; reading it also makes the next change one that is told.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        let mut buffer = [0; 512];
        let read = rustix::io::pread(&self.file, &mut buffer, 0).ok()?;
        kills(&String::from_utf8_lossy(buffer.get(..read)?))
    }

    /// What to wait for ([`crate::event::Interest::Change`]); without it one has to look from time to time.
    #[must_use]
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.tells.then(|| self.file.as_fd())
    }
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_count() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills(""), None);
    }
}
