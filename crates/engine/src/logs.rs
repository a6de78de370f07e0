// SPDX-License-Identifier: Apache-2.0
//! What a container has written.

use std::collections::VecDeque;
use std::time::Duration;

use runtime::{LogReader, LogRecord, Stream};

use crate::error::{Doing, Result};
use crate::request::LogOptions;
use crate::store::Store;
use crate::view::LogLine;

/// How long to wait for more.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn logs(
    store: &Store,
    container: &str,
    options: LogOptions,
    sink: &mut dyn FnMut(&LogLine) -> bool,
) -> Result<()> {
    let found = store.find(container)?;
    let directory = kernel::root::open_directory_path(&store.directory(&found.name))?;
    let mut reader = LogReader::open(&directory).doing(|| format!("read the log of {}", found.name))?;
    let wanted = |record: &LogRecord| {
        options.since_ns.is_none_or(|since| record.time_ns >= since)
            && options.until_ns.is_none_or(|until| record.time_ns <= until)
    };
    let mut last: VecDeque<LogLine> = VecDeque::new();
    while let Some(record) = reader.read()? {
        if !wanted(&record) {
            continue;
        }
        match options.tail {
            Some(0) => {}
            Some(tail) => {
                if last.len() == tail {
                    last.pop_front();
                }
                last.push_back(line(record));
            }
            None if !sink(&line(record)) => return Ok(()),
            None => {}
        }
    }
    if last.iter().any(|line| !sink(line)) {
        return Ok(());
    }
    while options.follow && options.until_ns.is_none_or(|until| kernel::time::now_ns() <= until) {
        // Asked before the rest is read: what was written before its end is shown.
        let running = store.find_again(&found).is_ok_and(|found| matches!(store.state(&found), Ok(Some(_))));
        while let Some(record) = reader.read()? {
            if wanted(&record) && !sink(&line(record)) {
                return Ok(());
            }
        }
        if !running {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn line(record: LogRecord) -> LogLine {
    LogLine { time_ns: record.time_ns, is_error: record.stream == Stream::Error, bytes: record.bytes }
}
