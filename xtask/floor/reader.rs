// SPDX-License-Identifier: Apache-2.0
//! A program that reads one file again and again, by some threads, and prints what it saw as one line of JSON.
//!
//! `reader open|keep FILE THREADS PAUSE START MILLIS`: `open` opens, reads to the end and closes; `keep` reads the start of a
//! file that stays open. Between two reads of a thread are PAUSE ms; it begins at START, ms since 1970, and lasts MILLIS.
//!
//! Unlike its neighbours it has the standard library, linked statically: nothing of it is on the clock.

use std::fs::File;
use std::io::{Error, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a read may last after the end before it counts as hung: among thousands of threads, some come late to a processor.
const PATIENCE: Duration = Duration::from_secs(30);
/// Buckets of times for each power of two.
const PARTS: usize = 32;

#[derive(Clone)]
struct Asked {
    keep: bool,
    file: String,
    threads: u32,
    pause: Duration,
    start: Duration,
    lasts: Duration,
}

/// What one thread saw, or all together.
struct Seen {
    reads: u64,
    errors: u64,
    error: String,
    /// How many reads took as long as each bucket says.
    times: Vec<u64>,
    longest: u64,
    /// Nanoseconds on a processor.
    processor: u64,
}

impl Seen {
    fn new() -> Self {
        Self { reads: 0, errors: 0, error: String::new(), times: vec![0; 64 * PARTS], longest: 0, processor: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.errors += other.errors;
        if self.error.is_empty() {
            self.error.clone_from(&other.error);
        }
        self.times.iter_mut().zip(&other.times).for_each(|(all, one)| *all += one);
        self.longest = self.longest.max(other.longest);
        self.processor += other.processor;
    }

    /// Nanoseconds that all but so many of a thousand reads took at most.
    fn at(&self, thousandths: u64) -> u64 {
        let (wanted, mut passed) = (self.reads * thousandths / 1000, 0);
        let found = self.times.iter().position(|count| {
            passed += count;
            passed > wanted
        });
        found.map_or(self.longest, lower)
    }
}

/// The bucket of a time.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(PARTS as u64);
    let power = nanos.ilog2();
    power as usize * PARTS + ((nanos >> (power - PARTS.ilog2())) as usize & (PARTS - 1))
}

/// The shortest time of a bucket.
fn lower(bucket: usize) -> u64 {
    let power = (bucket / PARTS) as u32;
    (1_u64 << power) + ((bucket % PARTS) as u64) * (1_u64 << power.saturating_sub(PARTS.ilog2()))
}

fn asked() -> Option<Asked> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, file, threads, pause, start, lasts] = words.as_slice() else { return None };
    let millis = |word: &String| word.parse().ok().map(Duration::from_millis);
    Some(Asked {
        keep: mode == "keep",
        file: file.clone(),
        threads: threads.parse().ok()?,
        pause: millis(pause)?,
        start: millis(start)?,
        lasts: millis(lasts)?,
    })
}

fn main() {
    let Some(asked) = asked() else {
        eprintln!("usage: reader open|keep FILE THREADS PAUSE START MILLIS");
        std::process::exit(2);
    };
    let first = first(&asked.file);
    let first = first.lines().next().unwrap_or_default().replace(['"', '\\', '\t'], " ");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    std::thread::sleep(asked.start.saturating_sub(now));
    let (began, (sender, seen)) = (Instant::now(), channel());
    for number in 0..asked.threads {
        let (asked, sender) = (asked.clone(), sender.clone());
        std::thread::spawn(move || drop(sender.send(read(&asked, began, number))));
    }
    drop(sender);
    let (mut all, mut ended) = (Seen::new(), 0);
    loop {
        match seen.recv_timeout((asked.lasts + PATIENCE).saturating_sub(began.elapsed())) {
            Ok(one) => (all.add(&one), ended += 1).0,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    println!(
        "{{\"reads\":{},\"errors\":{},\"error\":\"{}\",\"hung\":{},\"nanos\":{},\"processor\":{},\"p50\":{},\"p99\":{},\
         \"p999\":{},\"longest\":{},\"first\":\"{first}\"}}",
        all.reads,
        all.errors,
        all.error.replace(['"', '\\'], " "),
        asked.threads - ended,
        asked.lasts.as_nanos(),
        all.processor,
        all.at(500),
        all.at(990),
        all.at(999),
        all.longest
    );
    // Threads that hang end with the process, and are not waited for.
    std::process::exit(0);
}

/// The text of the file, or why there is none.
fn first(file: &str) -> String {
    let ((sender, text), file) = (channel(), file.to_owned());
    std::thread::spawn(move || drop(sender.send(std::fs::read_to_string(file))));
    match text.recv_timeout(PATIENCE) {
        Ok(text) => text.unwrap_or_else(|error| error.to_string()),
        Err(_) => "hangs".to_owned(),
    }
}

/// A thread's work.
fn read(asked: &Asked, began: Instant, number: u32) -> Seen {
    let mut seen = Seen::new();
    let mut buffer = vec![0; 1 << 18];
    let mut kept = File::open(&asked.file).ok();
    if asked.pause > Duration::ZERO {
        // Not all at once.
        std::thread::sleep(asked.pause * number / asked.threads);
    }
    let (before, mut last) = (processor(), Instant::now());
    while last.duration_since(began) < asked.lasts {
        let done = match &mut kept {
            Some(file) if asked.keep => file.read_at(&mut buffer, 0),
            _ => all(&asked.file, &mut buffer),
        };
        let after = Instant::now();
        let nanos = u64::try_from(after.duration_since(last).as_nanos()).unwrap_or(u64::MAX);
        last = after;
        let wrong = match done {
            Ok(length) if length > 0 && buffer.get(length - 1) == Some(&b'\n') => None,
            Ok(length) => Some(Error::other(format!("a text of {length} bytes that does not end"))),
            Err(error) => Some(error),
        };
        match wrong {
            None => {
                seen.reads += 1;
                seen.longest = seen.longest.max(nanos);
                if let Some(count) = seen.times.get_mut(bucket(nanos)) {
                    *count += 1;
                }
            }
            Some(error) => {
                seen.errors += 1;
                seen.error = error.to_string();
            }
        }
        if asked.pause > Duration::ZERO {
            std::thread::sleep(asked.pause);
            last = Instant::now();
        }
    }
    seen.processor = processor().saturating_sub(before);
    seen
}

/// Opens, reads to the end and closes.
fn all(file: &str, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut file = File::open(file)?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..) {
        match file.read(rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// Nanoseconds that this thread was on a processor; what it is on now since the last tick is missing.
fn processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
