// SPDX-License-Identifier: Apache-2.0
//! A container's log: lines `TIME STREAM TAG TEXT` as Kubernetes' CRI has them, rotated by size.
//!
//! `TAG` is `F` for a full line and `P` for a part of one that goes on in the next record of that stream.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kernel::Result;

/// The file's name in the container's directory; older ones have `.1`, `.2`.
pub(crate) const LOG: &str = "log";

/// Files that are kept, the current one among them.
const KEPT: u32 = 3;

/// The most bytes of one record: a longer line is written in parts.
const LONGEST: usize = 16 * 1024;

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Stream {
    const fn word(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// Writes the log of one container.
#[derive(Debug)]
pub struct LogWriter {
    directory: OwnedFd,
    file: OwnedFd,
    size: u64,
    limit: u64,
    /// What has come of a line that is not complete, for each stream.
    pending: [Vec<u8>; 2],
}

impl LogWriter {
    /// Opens the log in the directory; a file is put aside when it has `limit` bytes.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn open(directory: OwnedFd, limit: u64) -> Result<Self> {
        let file = kernel::file::open_append(&directory, Path::new(LOG))?;
        let size = kernel::file::size(&file)?;
        Ok(Self { directory, file, size, limit: limit.max(4096), pending: [Vec::new(), Vec::new()] })
    }

    /// Logs what came now from a stream.
    ///
    /// # Errors
    /// write(2)'s.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let now = spec::timestamp::format(kernel::time::now_ns());
        let mut records = Vec::with_capacity(bytes.len() + 64);
        let pending = &mut self.pending[stream as usize];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(LONGEST) {
                if pending.len() + piece.len() > LONGEST {
                    record(&mut records, &now, stream, b'P', pending);
                    pending.clear();
                }
                pending.extend_from_slice(piece);
            }
            if let Some(line) = pending.strip_suffix(b"\n") {
                record(&mut records, &now, stream, b'F', line);
                pending.clear();
            }
        }
        self.put(&records)
    }

    /// Logs what is left of incomplete lines: nothing more will come.
    ///
    /// # Errors
    /// write(2)'s.
    pub fn finish(&mut self) -> Result<()> {
        let now = spec::timestamp::format(kernel::time::now_ns());
        let mut records = Vec::new();
        for stream in [Stream::Output, Stream::Error] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                record(&mut records, &now, stream, b'P', &pending);
            }
        }
        self.put(&records)
    }

    /// As many whole records in one write as the file still takes.
    fn put(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fit = records
                .get(..room)
                .map_or(records.len(), |head| head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
            if fit == 0 && self.size > 0 {
                self.rotate()?;
                continue;
            }
            // A record that is larger than a whole file still goes into one.
            let first = records.iter().position(|byte| *byte == b'\n').map_or(records.len(), |at| at + 1);
            let (now, rest) = records.split_at(fit.max(first).min(records.len()));
            kernel::event::write_all(&self.file, now)?;
            self.size += now.len() as u64;
            records = rest;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        for number in (1..KEPT).rev() {
            let from = if number == 1 { LOG.to_owned() } else { format!("{LOG}.{}", number - 1) };
            match kernel::file::rename_at(&self.directory, &from, &format!("{LOG}.{number}")) {
                Err(error) if error.is(kernel::Errno::NOENT) => {}
                other => other?,
            }
        }
        self.file = kernel::file::open_append(&self.directory, Path::new(LOG))?;
        self.size = 0;
        Ok(())
    }
}

fn record(records: &mut Vec<u8>, time: &str, stream: Stream, tag: u8, text: &[u8]) {
    records.extend_from_slice(time.as_bytes());
    records.push(b' ');
    records.extend_from_slice(stream.word().as_bytes());
    records.extend_from_slice(&[b' ', tag, b' ']);
    records.extend_from_slice(text);
    records.push(b'\n');
}

/// One record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Where it came from.
    pub stream: Stream,
    /// The bytes, with the line break of a full line.
    pub bytes: Vec<u8>,
}

/// Reads the log of a container, oldest record first, across rotations.
#[derive(Debug)]
pub struct LogReader {
    directory: OwnedFd,
    files: Vec<BufReader<File>>,
}

impl LogReader {
    /// Opens the logs in the container's directory.
    ///
    /// # Errors
    /// open(2)'s other than `ENOENT`.
    pub fn open(directory: impl AsFd) -> Result<Self> {
        let directory = kernel::root::open_directory(directory, ".")?;
        let mut files = Vec::new();
        for number in (0..KEPT).rev() {
            let name = if number == 0 { LOG.to_owned() } else { format!("{LOG}.{number}") };
            match kernel::file::open_read(&directory, Path::new(&name)) {
                Ok(file) => files.push(BufReader::new(File::from(file))),
                Err(error) if error.is(kernel::Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        files.reverse();
        Ok(Self { directory, files })
    }

    /// The next record that is there; `None` at the end, for now.
    ///
    /// # Errors
    /// read(2)'s.
    pub fn read(&mut self) -> Result<Option<LogRecord>> {
        loop {
            let Some(file) = self.files.last_mut() else {
                if !self.open_newest()? {
                    return Ok(None);
                }
                continue;
            };
            let mut line = Vec::new();
            let read = kernel::Call::call(file.read_until(b'\n', &mut line), || "read(log)")?;
            if line.ends_with(b"\n") {
                match parse(&line) {
                    Some(record) => return Ok(Some(record)),
                    None => continue,
                }
            }
            if read > 0 {
                // Half of a record: it is read again when it is whole.
                let back = -i64::try_from(read).unwrap_or(0);
                kernel::Call::call(file.seek(SeekFrom::Current(back)), || "lseek(log)")?;
            }
            if self.files.len() > 1 {
                self.files.pop();
            } else if !self.follow_rotation()? {
                return Ok(None);
            }
        }
    }

    fn open_newest(&mut self) -> Result<bool> {
        match kernel::file::open_read(&self.directory, Path::new(LOG)) {
            Err(error) if error.is(kernel::Errno::NOENT) => Ok(false),
            other => {
                self.files = vec![BufReader::new(File::from(other?))];
                Ok(true)
            }
        }
    }

    /// Goes on with the new file when the one at hand was put aside.
    fn follow_rotation(&mut self) -> Result<bool> {
        let newest = match kernel::file::open_read(&self.directory, Path::new(LOG)) {
            Err(error) if error.is(kernel::Errno::NOENT) => return Ok(false),
            other => other?,
        };
        let (Some(current), new) = (self.files.last(), kernel::namespace::id(&newest)?) else { return Ok(false) };
        if kernel::namespace::id(current.get_ref())? == new {
            return Ok(false);
        }
        self.files = vec![BufReader::new(File::from(newest))];
        Ok(true)
    }
}

fn parse(line: &[u8]) -> Option<LogRecord> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time_ns = spec::timestamp::parse(std::str::from_utf8(parts.next()?).ok()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Output,
        b"stderr" => Stream::Error,
        _ => return None,
    };
    let full = parts.next()? == b"F";
    let text = parts.next()?;
    let text = if full { text } else { text.strip_suffix(b"\n")? };
    Some(LogRecord { time_ns, stream, bytes: text.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("cella-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let fd = kernel::root::open_directory_path(&path).unwrap();
        (path, fd)
    }

    fn all(reader: &mut LogReader) -> Vec<(Stream, String)> {
        std::iter::from_fn(|| reader.read().unwrap())
            .map(|record| (record.stream, String::from_utf8(record.bytes).unwrap()))
            .collect()
    }

    #[test]
    fn lines_come_back_whole_and_a_last_part_without_its_break() {
        let (path, fd) = directory("whole");
        let mut log = LogWriter::open(fd.try_clone().unwrap(), 1 << 20).unwrap();
        log.write(Stream::Output, b"one\ntw").unwrap();
        log.write(Stream::Error, b"bad\n").unwrap();
        log.write(Stream::Output, b"o\nend").unwrap();
        let mut reader = LogReader::open(&fd).unwrap();
        let first = all(&mut reader);
        let expected = [(Stream::Output, "one\n"), (Stream::Error, "bad\n"), (Stream::Output, "two\n")];
        assert_eq!(first, expected.map(|(stream, text)| (stream, text.to_owned())));
        log.finish().unwrap();
        assert_eq!(all(&mut reader), [(Stream::Output, "end".to_owned())]);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn rotation_keeps_three_files_and_readers_follow() {
        let (path, fd) = directory("rotate");
        let mut log = LogWriter::open(fd.try_clone().unwrap(), 4096).unwrap();
        let mut reader = LogReader::open(&fd).unwrap();
        let mut seen = 0;
        for number in 0..1000 {
            log.write(Stream::Output, format!("line {number}\n").as_bytes()).unwrap();
            seen += all(&mut reader).len();
        }
        assert_eq!(seen, 1000, "a reader that keeps up misses nothing");
        let kept: Vec<_> = std::fs::read_dir(&path).unwrap().collect();
        assert_eq!(kept.len(), 3);
        let last = all(&mut LogReader::open(&fd).unwrap());
        assert_eq!(last.last().unwrap().1, "line 999\n");
        assert!(last.len() > 100 && last.len() < 1000);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_very_long_line_is_logged_in_parts() {
        let (path, fd) = directory("long");
        let mut log = LogWriter::open(fd.try_clone().unwrap(), 1 << 20).unwrap();
        let mut line = vec![b'x'; 50_000];
        line.push(b'\n');
        log.write(Stream::Output, &line).unwrap();
        let parts = all(&mut LogReader::open(&fd).unwrap());
        assert!(parts.len() >= 3);
        assert_eq!(parts.iter().map(|(_, text)| text.len()).sum::<usize>(), 50_001);
        std::fs::remove_dir_all(path).unwrap();
    }
}
