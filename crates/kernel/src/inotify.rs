// SPDX-License-Identifier: Apache-2.0
//! Directories that are watched for files that come, change and go (inotify(7)).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::error::{Call, Errno, Result};

/// Room for some dozens of events at once.
const BUFFER: usize = 16 * 1024;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something of this name in the directory that `watch` stands for came, changed or went.
    Entry {
        /// The directory's number, as [`Inotify::watch`] gave it.
        watch: i32,
        /// The entry's name.
        name: String,
    },
    /// The directory is gone, and its number with it.
    Gone(i32),
    /// There was more than the kernel could keep: look at all directories again.
    Lost,
}

/// A queue of events.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Inotify {
    /// A queue without watches, which is read without waiting.
    ///
    /// # Errors
    /// inotify_init1(2)'s: `EMFILE` when this user has too many.
    pub fn open() -> Result<Self> {
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).call(|| "inotify_init1()").map(Self)
    }

    /// The queue's descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Watches the entries of a directory; one that is watched already keeps its number.
    ///
    /// # Errors
    /// inotify_add_watch(2)'s: `ENOENT`, `ENOTDIR`, `ENOSPC` when this user has too many.
    pub fn watch(&self, directory: &Path) -> Result<i32> {
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&self.0, directory, flags).call(|| format!("inotify_add_watch({directory:?})"))
    }

    /// Gives each event that waits to `each`.
    ///
    /// # Errors
    /// read(2)'s.
    pub fn read(&self, each: &mut dyn FnMut(Event)) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                other => other.call(|| "read(inotify)")?,
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                each(Event::Lost);
            } else if event.events().contains(ReadFlags::IGNORED) {
                each(Event::Gone(event.wd()));
            } else if let Some(name) = event.file_name() {
                each(Event::Entry { watch: event.wd(), name: name.to_string_lossy().into_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_told() {
        let path = std::env::temp_dir().join(format!("cella-inotify-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let inotify = Inotify::open().unwrap();
        let watch = inotify.watch(&path).unwrap();
        assert_eq!(inotify.watch(&path).unwrap(), watch);
        std::fs::write(path.join("a"), "x").unwrap();
        std::fs::rename(path.join("a"), path.join("b")).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        let mut events = Vec::new();
        inotify.read(&mut |event| events.push(event)).unwrap();
        for name in ["a", "b"] {
            assert!(events.contains(&Event::Entry { watch, name: name.into() }), "{events:?}");
        }
        assert_eq!(events.last(), Some(&Event::Gone(watch)));
    }
}
