// SPDX-License-Identifier: Apache-2.0
//! What has to outlive the process that serves: the message that it was working on, and the texts that it has announced.
//!
//! ```text
//! │ message │ answered │ count │ filled │ call │ answered │ counts │ tries │ entries: node, place, room, … │ kept │ texts, one after another │
//! ```
//!
//! A worker that takes over does the message again whose number is not the one that was answered, and the system call,
//! and goes on with the texts as readers know them: the kernel has been told their sizes.

use kernel::Result;
use kernel::fuse::BUFFER;
use kernel::seccomp::{NOTIFICATION, Waiting};
use kernel::shared::Shared;

const ANSWERED: usize = BUFFER;
const COUNT: usize = BUFFER + 8;
const FILLED: usize = BUFFER + 16;
const CALL: usize = BUFFER + 24;
const CALL_ANSWERED: usize = CALL + NOTIFICATION;
const COUNTS: usize = CALL_ANSWERED + 8;
const TRIES: usize = COUNTS + 32;
const CALL_TRIES: usize = TRIES + 8;
const ENTRIES: usize = CALL_TRIES + 8;
/// So many workers try to answer the same.
const MOST_TRIES: u64 = 3;
const ENTRY: usize = 56;
/// The most texts at once; with more all are forgotten, and rendered when they are read again.
const MOST: usize = 4096;
const KEPT: usize = ENTRIES + MOST * ENTRY;
/// The most words that are kept of it.
const MOST_WORDS: usize = 1 << 15;
const TEXTS: usize = KEPT + 8 + MOST_WORDS * 8;
const LENGTH: usize = 4 << 20;
/// Room that a text may grow by in its place is rounded up to this.
const GRAIN: usize = 256;

/// The store.
#[derive(Debug)]
pub struct Store(Shared);

/// What is known of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known {
    at: usize,
    place: usize,
    room: usize,
    /// Bytes.
    pub(crate) length: usize,
    /// Nanoseconds since 1970 at which it became what it is.
    pub(crate) changed_ns: u64,
    /// Nanoseconds since the host's boot at which that was last looked at.
    pub(crate) looked_ns: u64,
    /// How often it was looked at one time after the other.
    pub(crate) hot: u32,
    /// Nanoseconds since the host's boot at which somebody has read it last; 0 when nobody has yet.
    pub(crate) read_ns: u64,
}

impl Store {
    /// An empty one. Those forked from now on share it.
    ///
    /// # Errors
    /// mmap(2)'s.
    pub fn new() -> Result<Self> {
        Shared::new(LENGTH).map(Self)
    }

    fn long(&mut self, at: usize) -> u64 {
        kernel::bytes::long(self.0.bytes(), at)
    }

    fn set(&mut self, at: usize, value: u64) {
        if let Some(place) = self.0.bytes().get_mut(at..at + 8) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn size(&mut self, at: usize) -> usize {
        usize::try_from(self.long(at)).unwrap_or(usize::MAX)
    }

    /// Where messages are read into.
    pub(crate) fn message(&mut self) -> &mut [u8] {
        self.0.bytes().get_mut(..BUFFER).unwrap_or_default()
    }

    /// A copy of the message that there is, unless it was answered.
    pub(crate) fn unanswered(&mut self) -> Option<Vec<u8>> {
        let answered = self.long(ANSWERED);
        let unique = kernel::fuse::parse(self.message())?.unique;
        (unique != answered).then(|| self.message().to_vec())
    }

    /// Counts one more try to answer the message, or the call, that another worker has left; tells whether it is one too many.
    pub(crate) fn try_again(&mut self, call: bool) -> bool {
        let at = if call { CALL_TRIES } else { TRIES };
        let tries = self.long(at).saturating_add(1);
        self.set(at, tries);
        tries > MOST_TRIES
    }

    /// Notes that it was answered.
    pub(crate) fn answered(&mut self, unique: u64) {
        self.set(TRIES, 0);
        self.set(ANSWERED, unique);
    }

    /// Where calls are received.
    pub(crate) fn call(&mut self) -> Option<&mut [u8; NOTIFICATION]> {
        self.0.bytes().get_mut(CALL..CALL_ANSWERED)?.try_into().ok()
    }

    /// The call that there is, unless it was answered.
    pub(crate) fn unanswered_call(&mut self) -> Option<Waiting> {
        let answered = self.long(CALL_ANSWERED);
        Waiting::parse(self.call()?).filter(|waiting| waiting.id != answered)
    }

    /// Notes that it was answered.
    pub(crate) fn answered_call(&mut self, id: u64) {
        self.set(CALL_TRIES, 0);
        self.set(CALL_ANSWERED, id);
    }

    /// What the host had counted when the container began, if that is known.
    pub(crate) fn counts(&mut self) -> Option<[u64; 3]> {
        let counts = [0, 1, 2].map(|index| self.long(COUNTS + 8 * index));
        (self.long(COUNTS + 24) == 1).then_some(counts)
    }

    /// Keeps it.
    pub(crate) fn keep_counts(&mut self, counts: [u64; 3]) {
        counts.into_iter().enumerate().for_each(|(index, count)| self.set(COUNTS + 8 * index, count));
        self.set(COUNTS + 24, 1);
    }

    /// What the content wanted kept last; empty when there is nothing.
    pub(crate) fn kept(&mut self) -> Vec<u64> {
        let count = self.size(KEPT).min(MOST_WORDS);
        (1..=count).map(|index| self.long(KEPT + 8 * index)).collect()
    }

    /// Keeps it; a worker that dies meanwhile leaves nothing.
    pub(crate) fn keep(&mut self, words: &[u64]) {
        self.set(KEPT, 0);
        if words.len() <= MOST_WORDS {
            words.iter().enumerate().for_each(|(index, word)| self.set(KEPT + 8 + 8 * index, *word));
            self.set(KEPT, words.len() as u64);
        }
    }

    fn count(&mut self) -> usize {
        self.size(COUNT).min(MOST)
    }

    fn entry(&mut self, node: u64) -> Option<usize> {
        let count = self.count();
        let bytes = self.0.bytes().get(ENTRIES..ENTRIES + count * ENTRY)?;
        let index = bytes.chunks_exact(ENTRY).position(|entry| entry.starts_with(&node.to_ne_bytes()))?;
        Some(ENTRIES + index * ENTRY)
    }

    /// What is known of a node's text.
    pub(crate) fn known(&mut self, node: u64) -> Option<Known> {
        let at = self.entry(node)?;
        let known = Known {
            at,
            place: self.size(at + 8),
            room: self.size(at + 16) >> 32,
            length: self.size(at + 16) & 0xffff_ffff,
            changed_ns: self.long(at + 24),
            looked_ns: self.long(at + 32),
            hot: u32::try_from(self.long(at + 40)).unwrap_or(0),
            read_ns: self.long(at + 48),
        };
        // One that was being replaced when the worker died has no moment.
        (known.changed_ns != 0).then_some(known)
    }

    /// The text itself.
    pub(crate) fn text(&mut self, known: &Known) -> &[u8] {
        let length = known.length.min(known.room);
        self.0.bytes().get(known.place..known.place.saturating_add(length)).unwrap_or_default()
    }

    /// Notes that it was looked at and is the same.
    pub(crate) fn looked(&mut self, known: &Known, now_ns: u64, hot: u32) -> Known {
        self.set(known.at + 40, hot.into());
        self.set(known.at + 32, now_ns);
        Known { looked_ns: now_ns, hot, ..*known }
    }

    /// What was announced last, within `window_ns`, is as new as if it were looked at now, unless nobody has asked for `idle_ns`:
    /// its readers, who know its size, could not read while nobody served.
    pub(crate) fn hold(&mut self, now_ns: u64, window_ns: u64, idle_ns: u64) {
        let places = (0..self.count()).map(|index| ENTRIES + index * ENTRY);
        let times: Vec<[u64; 2]> = places.clone().map(|at| [32, 48].map(|part| self.long(at + part))).collect();
        let last = times.iter().flatten().copied().max().unwrap_or(0);
        if now_ns.saturating_sub(last) >= idle_ns {
            return;
        }
        for (at, [looked, _]) in places.zip(times) {
            if last.saturating_sub(looked) < window_ns {
                self.set(at + 32, now_ns);
            }
        }
    }

    /// Notes that somebody reads it.
    pub(crate) fn read(&mut self, known: &Known, now_ns: u64) {
        self.set(known.at + 48, now_ns);
    }

    /// Keeps a new text.
    pub(crate) fn put(&mut self, node: u64, text: &[u8], changed_ns: u64, looked_ns: u64, hot: u32) -> Option<Known> {
        let fits = self.known(node).filter(|known| known.room >= text.len());
        let (at, place, room) = match fits {
            Some(known) => (known.at, known.place, known.room),
            None => self.reserve(node, text.len())?,
        };
        // Not whole from here on until the moment is written.
        self.set(at + 24, 0);
        self.0.bytes().get_mut(place..place + text.len())?.copy_from_slice(text);
        self.set(at, node);
        self.set(at + 8, place as u64);
        self.set(at + 16, (room as u64) << 32 | text.len() as u64);
        self.set(at + 32, looked_ns);
        self.set(at + 40, hot.into());
        self.set(at + 48, 0);
        self.set(at + 24, changed_ns);
        Some(Known { at, place, room, length: text.len(), changed_ns, looked_ns, hot, read_ns: 0 })
    }

    /// A place for an entry and for its text; `None` for one that is too long.
    fn reserve(&mut self, node: u64, length: usize) -> Option<(usize, usize, usize)> {
        let room = (length + length / 4).next_multiple_of(GRAIN);
        let (mut place, mut before) = (self.size(FILLED).max(TEXTS), self.entry(node));
        if place.saturating_add(room) > LENGTH || (before.is_none() && self.count() == MOST) {
            (place, before) = (TEXTS, None);
            self.set(COUNT, 0);
            self.set(FILLED, TEXTS as u64);
        }
        if place + room > LENGTH {
            return None;
        }
        let count = self.count();
        let at = before.unwrap_or(ENTRIES + count * ENTRY);
        self.set(at + 24, 0);
        self.set(at, node);
        self.set(FILLED, (place + room) as u64);
        if before.is_none() {
            self.set(COUNT, count as u64 + 1);
        }
        Some((at, place, room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_again_and_may_grow() {
        let mut store = Store::new().unwrap();
        assert_eq!(store.known(7), None);
        for (node, text) in [(7_u64, "seven"), (8, "eight"), (7, "sieben")] {
            store.put(node, text.as_bytes(), 5, 6, 0).unwrap();
        }
        let long = "x".repeat(10_000);
        store.put(8, long.as_bytes(), 9, 10, 3).unwrap();
        let known = store.known(8).unwrap();
        assert_eq!((store.text(&known), known.changed_ns, known.looked_ns, known.hot), (long.as_bytes(), 9, 10, 3));
        let known = store.known(7).unwrap();
        assert_eq!(store.text(&known), b"sieben");
        store.looked(&known, 11, 4);
        assert_eq!(store.known(7).map(|known| (known.looked_ns, known.hot)), Some((11, 4)));
    }

    #[test]
    fn what_is_kept_is_kept_whole_or_not_at_all() {
        let mut store = Store::new().unwrap();
        assert_eq!(store.kept(), []);
        store.keep(&[3, 1, 2]);
        assert_eq!(store.kept(), [3, 1, 2]);
        store.keep(&vec![1; MOST_WORDS + 1]);
        assert_eq!(store.kept(), []);
        assert_eq!(store.known(7), None);
    }

    #[test]
    fn a_store_that_is_full_forgets_and_goes_on() {
        let mut store = Store::new().unwrap();
        for node in 1..=10_000 {
            let known = store.put(node, &[b'x'; 1000], node, node, 0).unwrap();
            assert_eq!(known.length, 1000);
            assert!(store.known(node).is_some());
        }
        assert_eq!(store.put(1, &vec![0; LENGTH], 1, 1, 0), None);
        // Still usable.
        assert!(store.put(2, b"two", 1, 1, 0).is_some());
    }

    #[test]
    fn what_was_announced_when_a_worker_died_is_held_by_the_next() {
        let mut store = Store::new().unwrap();
        for (node, looked) in [(1, 100), (2, 960), (3, 1000)] {
            store.put(node, b"text", 5, looked, 0).unwrap();
        }
        let known = store.known(2).unwrap();
        store.read(&known, 1010);
        let looked = |store: &mut Store| [1, 2, 3].map(|node| store.known(node).unwrap().looked_ns);
        // That one has ended because nobody asked.
        store.hold(3010, 100, 2000);
        assert_eq!(looked(&mut store), [100, 960, 1000]);
        store.hold(3009, 100, 2000);
        assert_eq!(looked(&mut store), [100, 3009, 3009]);
    }

    #[test]
    fn a_text_that_was_being_replaced_is_not_known() {
        let mut store = Store::new().unwrap();
        let known = store.put(3, b"three", 1, 1, 0).unwrap();
        store.set(known.at + 24, 0);
        assert_eq!(store.known(3), None);
        store.put(3, b"drei", 2, 2, 0).unwrap();
        assert_eq!(store.known(3).map(|known| known.length), Some(4));
        assert_eq!(store.count(), 1);
    }
}
