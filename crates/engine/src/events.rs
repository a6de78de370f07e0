// SPDX-License-Identifier: Apache-2.0
//! What happens: the lines of the event log, old ones and new ones.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::request::EventOptions;
use crate::store::Store;
use crate::view::Event;

/// How long to wait for more.
const PAUSE: Duration = Duration::from_millis(50);

/// A log file that grows, and is put aside when it is full.
struct Tail {
    file: BufReader<File>,
    inode: u64,
}

impl Tail {
    fn open(path: &Path, at_end: bool) -> Result<Option<Self>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => kernel::Call::call(other, || format!("open({path:?})"))?,
        };
        let inode = kernel::Call::call(file.metadata(), || format!("fstat({path:?})"))?.ino();
        if at_end {
            kernel::Call::call(file.seek(SeekFrom::End(0)), || format!("lseek({path:?})"))?;
        }
        Ok(Some(Self { file: BufReader::new(file), inode }))
    }

    /// The next whole line.
    fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let mut line = Vec::new();
            let read = kernel::Call::call(self.file.read_until(b'\n', &mut line), || "read(events)")?;
            if !line.ends_with(b"\n") {
                let back = -i64::try_from(read).unwrap_or(0);
                kernel::Call::call(self.file.seek(SeekFrom::Current(back)), || "lseek(events)")?;
                return Ok(None);
            }
            if let Ok(event) = serde_json::from_slice(&line) {
                return Ok(Some(event));
            }
        }
    }
}

pub(crate) fn events(store: &Store, options: EventOptions, sink: &mut dyn FnMut(&Event) -> bool) -> Result<()> {
    let log = store.events();
    let only_new = options.since_ns.is_none() && options.until_ns.is_none();
    let time = |event: &Event| spec::timestamp::parse(&event.time).unwrap_or(0);
    let wanted = |event: &Event| {
        options.since_ns.is_none_or(|since| time(event) >= since)
            && options.until_ns.is_none_or(|until| time(event) <= until)
    };
    if !only_new {
        let mut old = Tail::open(&log.old_path(), false)?;
        while let Some(event) = old.as_mut().map(Tail::next).transpose()?.flatten() {
            if wanted(&event) && !sink(&event) {
                return Ok(());
            }
        }
    }
    let mut tail = Tail::open(log.path(), only_new)?;
    loop {
        // Asked before the rest is read: a file that was put aside is read to its end.
        let current = std::fs::metadata(log.path()).map(|found| found.ino()).ok();
        while let Some(event) = tail.as_mut().map(Tail::next).transpose()?.flatten() {
            if wanted(&event) && !sink(&event) {
                return Ok(());
            }
        }
        if tail.as_ref().map(|tail| tail.inode) != current {
            tail = Tail::open(log.path(), false)?;
            continue;
        }
        if !options.follow || options.until_ns.is_some_and(|until| kernel::time::now_ns() > until) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}
