// SPDX-License-Identifier: Apache-2.0
//! A file of the kernel that is read again and again through a descriptor that stays open.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

/// No text that is read here is larger: `/proc/cpuinfo` of a host with 2,000 processors is.
const MOST: usize = 4 << 20;

/// How long after it was missed a file is not looked for again.
const PATIENCE_MS: u64 = 20;

/// A file that is read from its start each time, and the text that it had last.
///
/// What can not be read any more (the group was removed, or no descriptor is left) keeps its last text: a reader of numbers
/// is better served by those of a moment ago than by none.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    /// One read gives all that fits; otherwise the kernel gives record by record, and only nothing is the end.
    whole: bool,
    /// Whether the descriptor stays open between two reads.
    stays: bool,
    file: Option<OwnedFd>,
    buffer: Vec<u8>,
    length: usize,
    known: bool,
    retry_ms: u64,
}

impl Kept {
    /// A file whose text the kernel makes at once: of a group, of sysfs, `/proc/meminfo`, `/proc/stat`.
    #[must_use]
    pub fn whole(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            whole: true,
            stays: true,
            file: None,
            buffer: Vec::new(),
            length: 0,
            known: false,
            retry_ms: 0,
        }
    }

    /// A file whose text the kernel makes record by record: `/proc/cpuinfo`, `/proc/vmstat`, `/proc/diskstats`.
    #[must_use]
    pub fn records(path: impl Into<PathBuf>) -> Self {
        Self { whole: false, ..Self::whole(path) }
    }

    /// The same file, opened anew for each read: for those that would take too many descriptors.
    #[must_use]
    pub fn opened_each_time(self) -> Self {
        Self { stays: false, ..self }
    }

    /// The text now, or the last that there was; `None` when there never was one.
    pub fn read(&mut self) -> Option<&[u8]> {
        if !self.refresh() {
            // Only a descriptor of what is gone may have failed: the same name may be there again.
            let had = self.file.take().is_some();
            if had && self.refresh() {
                self.retry_ms = 0;
            }
        }
        if !self.stays {
            self.file = None;
        }
        self.last()
    }

    /// The text of the last read.
    #[must_use]
    pub fn last(&self) -> Option<&[u8]> {
        if self.known { self.buffer.get(..self.length) } else { None }
    }

    /// The text as a string; empty when there never was one, or when it is not one.
    pub fn text(&mut self) -> &str {
        self.read().map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or_default())
    }

    /// The text as one number.
    pub fn number(&mut self) -> Option<u64> {
        self.text().trim().parse().ok()
    }

    fn refresh(&mut self) -> bool {
        if self.file.is_none() && !self.open() {
            return false;
        }
        let Some(file) = &self.file else { return false };
        if self.buffer.is_empty() {
            self.buffer.resize(if self.whole { 512 } else { 8192 }, 0);
        }
        let mut filled = 0;
        while let Some(rest) = self.buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let room = rest.len();
            let read = match rustix::io::pread(file, rest, u64::try_from(filled).unwrap_or_default()) {
                Ok(read) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) if filled > 0 => 0,
                Err(_) => return false,
            };
            filled += read;
            if read == 0 || (self.whole && read < room) {
                break;
            }
            if read == room && self.buffer.len() < MOST {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        (self.length, self.known) = (filled, true);
        true
    }

    fn open(&mut self) -> bool {
        let now = crate::time::monotonic_ms();
        if now < self.retry_ms {
            return false;
        }
        self.file = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        if self.file.is_none() {
            self.retry_ms = now + PATIENCE_MS;
        }
        self.file.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_read_to_their_end() {
        let native = std::fs::read("/proc/vmstat").unwrap();
        let mut kept = Kept::records("/proc/vmstat");
        let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines(kept.read().unwrap()), lines(&native));
        assert_eq!(Kept::whole("/proc/meminfo").read().unwrap().len(), std::fs::read("/proc/meminfo").unwrap().len());
    }

    #[test]
    fn a_file_that_goes_keeps_its_last_text_and_is_found_again() {
        let path = std::env::temp_dir().join(format!("cella-kept-{}", std::process::id()));
        let mut kept = Kept::whole(&path).opened_each_time();
        assert_eq!(kept.read(), None);
        std::fs::write(&path, "1\n").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(PATIENCE_MS + 5));
        assert_eq!(kept.number(), Some(1));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kept.number(), Some(1));
    }
}
