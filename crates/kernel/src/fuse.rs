// SPDX-License-Identifier: Apache-2.0
//! A file system whose files a process of ours answers for: `/dev/fuse`, without a library (fuse(4), linux/fuse.h).
//!
//! Two ways of being read are known. *Cached*: nobody is told when a file is opened, its text stays in the page cache as long as
//! its attributes say, and is fetched anew when these show another time of change. *Direct*: an open is answered with a number
//! of ours, and every read comes to us.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::bytes::{long, word};
use crate::error::{Call as _, Errno, Result};
use crate::mount::{self, Parameter};
use crate::types::attr;

/// The smallest buffer that the kernel takes to read requests into.
pub const BUFFER: usize = 8192;

const REQUEST_HEADER: usize = 40;

const ASYNC_READ: u64 = 1;
const AUTO_INVAL_DATA: u64 = 1 << 12;
const NO_OPEN: u64 = 1 << 17;
const PARALLEL_DIROPS: u64 = 1 << 18;
const MAX_PAGES: u64 = 1 << 22;
const NO_OPENDIR: u64 = 1 << 24;
const INIT_EXT: u64 = 1 << 30;

/// Opens the device: a connection for one file system, not mounted yet.
///
/// # Errors
/// open(2)'s: `ENOENT` or `ENODEV` where the host has no FUSE.
pub fn open() -> Result<OwnedFd> {
    const PATH: &str = "/dev/fuse";
    rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .call(|| format!("open({PATH:?})"))
}

/// Does this host have it, and may this process use it?
#[must_use]
pub fn is_there() -> bool {
    let number = rustix::fs::makedev(10, 229);
    let is_device = |device: OwnedFd| rustix::fs::fstat(device).is_ok_and(|found| found.st_rdev == number);
    open().is_ok_and(is_device) && mount::is_known("fuse")
}

/// The connection's file system, detached. Everybody who sees it may look into it; modes are checked by the kernel.
///
/// # Errors
/// The failing call of fsopen, fsconfig, fsmount.
pub fn mount(device: &OwnedFd) -> Result<OwnedFd> {
    let fd = device.as_raw_fd().to_string();
    let parameters = [
        Parameter::Text("source", "cella"),
        Parameter::Text("fd", &fd),
        Parameter::Text("rootmode", "40000"),
        Parameter::Text("user_id", "0"),
        Parameter::Text("group_id", "0"),
        Parameter::Flag("allow_other"),
        Parameter::Flag("default_permissions"),
    ];
    mount::new("fuse", &parameters, attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// What the kernel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// The first message: major and minor version, flags of both words.
    Init {
        /// Its version; 7 is the one that we speak.
        major: u32,
        /// Its features.
        flags: u64,
    },
    /// A name in a directory.
    Lookup(&'a [u8]),
    /// A node is not remembered any more; not answered.
    Forget,
    /// The attributes of a node.
    Attributes,
    /// Where a symbolic link leads.
    Link,
    /// A file is opened.
    Open,
    /// A file is read.
    Read {
        /// What open gave.
        handle: u64,
        /// From here.
        offset: u64,
        /// At most so many bytes.
        size: u32,
    },
    /// A file is closed for good; what open gave.
    Release(u64),
    /// A directory is opened or closed.
    Directory,
    /// A directory is listed, from an entry on, with at most so many bytes.
    List {
        /// The number of the entry.
        offset: u64,
        /// At most so many bytes.
        size: u32,
    },
    /// Figures of the whole file system.
    Figures,
    /// The file system is gone.
    Destroy,
    /// Something is to be changed: which is refused.
    Change,
    /// A hint that wants no answer.
    Interrupt,
    /// Anything else.
    Other(u32),
}

/// A message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the answer refers to.
    pub unique: u64,
    /// The node it is about.
    pub node: u64,
    /// Who asks, in our process namespace; 0 for somebody whom it does not have.
    pub pid: u32,
    /// What is asked.
    pub call: Call<'a>,
}

/// What of a buffer is the message in it; nothing when there is none.
#[must_use]
pub fn whole(buffer: &[u8]) -> &[u8] {
    buffer.get(..word(buffer, 0) as usize).unwrap_or_default()
}

/// Reads a message; `None` for what is none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Request<'_>> {
    let length = word(bytes, 0) as usize;
    if length < REQUEST_HEADER || length > bytes.len() {
        return None;
    }
    let body = bytes.get(REQUEST_HEADER..length)?;
    let call = match word(bytes, 4) {
        1 => Call::Lookup(body.split(|byte| *byte == 0).next().unwrap_or_default()),
        2 | 42 => Call::Forget,
        3 => Call::Attributes,
        5 => Call::Link,
        14 => Call::Open,
        15 => Call::Read { handle: long(body, 0), offset: long(body, 8), size: word(body, 16) },
        17 => Call::Figures,
        18 => Call::Release(long(body, 0)),
        // FLUSH and ACCESS are not ours: the kernel is told once that there is nothing to do.
        26 => Call::Init { major: word(body, 0), flags: u64::from(word(body, 12)) | u64::from(word(body, 16)) << 32 },
        27 | 29 => Call::Directory,
        28 => Call::List { offset: long(body, 8), size: word(body, 16) },
        36 => Call::Interrupt,
        38 => Call::Destroy,
        4 | 6 | 8..=13 | 16 | 21 | 24 | 35 | 43 | 45 => Call::Change,
        other => Call::Other(other),
    };
    Some(Request { unique: long(bytes, 8), node: long(bytes, 16), pid: word(bytes, 32), call })
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link.
    Link,
}

/// The attributes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub node: u64,
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// When it was changed, nanoseconds since 1970: another time means another text.
    pub changed_ns: u64,
    /// Owner and group, as the host sees them.
    pub owner: (u32, u32),
}

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// From the page cache, without an open.
    Cached,
    /// From us, with an open.
    Direct,
}

/// A reply, in the shape of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// An empty one; its memory is used again and again.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn clear(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    fn word(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn long(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// The answer to the first message.
    pub fn init(&mut self, theirs: u64, reading: Reading) {
        let cached = AUTO_INVAL_DATA | NO_OPEN | ASYNC_READ;
        let wanted = NO_OPENDIR | PARALLEL_DIROPS | MAX_PAGES | if reading == Reading::Cached { cached } else { 0 };
        let flags = wanted & theirs | INIT_EXT & theirs;
        let low = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or_default();
        self.clear().word(7).word(31).word(128 << 10).word(low);
        // Requests in the background, and how many are many; the largest write, which there is none of.
        self.0.extend_from_slice(&64_u16.to_ne_bytes());
        self.0.extend_from_slice(&48_u16.to_ne_bytes());
        self.word(4096).word(1);
        self.0.extend_from_slice(&32_u16.to_ne_bytes());
        self.0.extend_from_slice(&[0; 2]);
        self.word(0).0.extend_from_slice(&[0; 28]);
    }

    fn attributes(&mut self, of: &Attributes) {
        let (seconds, rest) = (of.changed_ns / 1_000_000_000, of.changed_ns % 1_000_000_000);
        let rest = u32::try_from(rest).unwrap_or_default();
        let (mode, links) = match of.kind {
            Kind::Directory => (0o040_555, 2),
            Kind::File => (0o100_444, 1),
            Kind::Link => (0o120_777, 1),
        };
        self.long(of.node).long(of.size).long(0);
        self.long(seconds).long(seconds).long(seconds).word(rest).word(rest).word(rest);
        self.word(mode).word(links).word(of.owner.0).word(of.owner.1).word(0).word(4096).word(0);
    }

    /// The attributes, which hold for so many nanoseconds.
    pub fn of_attributes(&mut self, of: &Attributes, valid_ns: u64) {
        self.clear().long(valid_ns / 1_000_000_000);
        self.word(u32::try_from(valid_ns % 1_000_000_000).unwrap_or_default()).word(0);
        self.attributes(of);
    }

    /// The node of a name, which it has for so many nanoseconds, and its attributes.
    pub fn entry(&mut self, of: &Attributes, name_valid_ns: u64, valid_ns: u64) {
        let rest = |ns: u64| u32::try_from(ns % 1_000_000_000).unwrap_or_default();
        self.clear().long(of.node).long(0).long(name_valid_ns / 1_000_000_000).long(valid_ns / 1_000_000_000);
        self.word(rest(name_valid_ns)).word(rest(valid_ns)).attributes(of);
    }

    /// An open file of ours, whose reads all come to us.
    pub fn opened(&mut self, handle: u64) {
        const DIRECT: u32 = 1;
        self.clear().long(handle).word(DIRECT).word(0);
    }

    /// A part of a text.
    pub fn part(&mut self, text: &[u8], offset: u64, size: u32) {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let to = from.saturating_add(size as usize).min(text.len());
        self.clear().0.extend_from_slice(text.get(from..to).unwrap_or_default());
    }

    /// Begins a list.
    pub fn list(&mut self) {
        self.clear();
    }

    /// Adds an entry whose successor has the number `next`; tells whether it had room.
    pub fn list_entry(&mut self, node: u64, kind: Kind, name: &[u8], next: u64, size: u32) -> bool {
        let length = (24 + name.len()).next_multiple_of(8);
        if self.0.len() + length > size as usize {
            return false;
        }
        let kind = match kind {
            Kind::Directory => 4,
            Kind::File => 8,
            Kind::Link => 10,
        };
        self.long(node).long(next).word(u32::try_from(name.len()).unwrap_or_default()).word(kind);
        self.0.extend_from_slice(name);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        true
    }

    /// Figures of a file system without any room.
    pub fn figures(&mut self) {
        self.clear();
        self.0.extend_from_slice(&[0; 40]);
        self.word(4096).word(255).word(4096).word(0);
        self.0.extend_from_slice(&[0; 24]);
    }

    /// Nothing but that it was done.
    pub fn done(&mut self) {
        self.clear();
    }

    /// Sends it; one whom nobody waits for any more is no error.
    ///
    /// # Errors
    /// writev(2)'s.
    pub fn send(&self, device: impl AsFd, unique: u64) -> Result<()> {
        write(device, unique, 0, &self.0)
    }
}

/// Refuses.
///
/// # Errors
/// writev(2)'s.
pub fn refuse(device: impl AsFd, unique: u64, errno: Errno) -> Result<()> {
    write(device, unique, -errno.raw_os_error(), &[])
}

fn write(device: impl AsFd, unique: u64, error: i32, body: &[u8]) -> Result<()> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut header = [0; 16];
    for (place, bytes) in header.chunks_mut(4).zip([length.to_ne_bytes(), error.to_ne_bytes()]) {
        place.copy_from_slice(&bytes);
    }
    if let Some(place) = header.get_mut(8..) {
        place.copy_from_slice(&unique.to_ne_bytes());
    }
    let parts = [std::io::IoSlice::new(&header), std::io::IoSlice::new(body)];
    match rustix::io::writev(device, &parts) {
        // Whoever asked was killed, or has heard it from the process before this one.
        Err(Errno::NOENT) => Ok(()),
        other => other.call(|| "writev(/dev/fuse)").map(drop),
    }
}

/// What a look for a message gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is in the buffer.
    Message,
    /// There is none now.
    Nothing,
    /// The file system is gone.
    Gone,
}

/// Takes the next message into the buffer ([`BUFFER`] bytes at least).
///
/// # Errors
/// read(2)'s.
pub fn receive(device: impl AsFd, buffer: &mut [u8]) -> Result<Received> {
    match rustix::io::read(device, buffer) {
        Ok(_) => Ok(Received::Message),
        // ENOENT: it was taken back meanwhile.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => Ok(Received::Nothing),
        Err(Errno::NODEV) => Ok(Received::Gone),
        Err(errno) => Err(errno).call(|| "read(/dev/fuse)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(code: u32, node: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&((REQUEST_HEADER + body.len()) as u32).to_ne_bytes());
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&7_u64.to_ne_bytes());
        bytes.extend_from_slice(&node.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&99_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_message_has_a_node_and_a_question() {
        let bytes = message(1, 3, b"meminfo\0");
        let request = Request { unique: 7, node: 3, pid: 99, call: Call::Lookup(b"meminfo") };
        assert_eq!(parse(&bytes), Some(request));
        let mut body = [0; 40];
        body[8] = 4;
        body[17] = 16;
        let read = Call::Read { handle: 0, offset: 4, size: 4096 };
        assert_eq!(parse(&message(15, 2, &body)).map(|request| request.call), Some(read));
    }

    #[test]
    fn what_is_too_short_is_no_message() {
        let bytes = message(3, 3, &[]);
        assert_eq!(parse(&bytes[..30]), None);
        assert_eq!(parse(&[]), None);
        assert!(parse(&message(15, 2, &[])).is_some(), "a body that is missing reads as zeros");
    }

    #[test]
    fn replies_have_the_kernels_sizes() {
        let of = Attributes { node: 2, kind: Kind::File, size: 5, changed_ns: 1_500_000_000, owner: (0, 0) };
        let mut reply = Reply::new();
        reply.of_attributes(&of, 10_000_000);
        assert_eq!(reply.0.len(), 104);
        reply.entry(&of, 0, 0);
        assert_eq!(reply.0.len(), 128);
        reply.init(u64::MAX, Reading::Cached);
        assert_eq!(reply.0.len(), 64);
        reply.figures();
        assert_eq!(reply.0.len(), 80);
        reply.opened(3);
        assert_eq!(reply.0.len(), 16);
        reply.list();
        assert!(reply.list_entry(2, Kind::File, b"stat", 1, 64) && !reply.list_entry(3, Kind::File, b"swaps", 2, 33));
        assert_eq!(reply.0.len(), 32);
    }

    #[test]
    fn a_part_beyond_the_end_is_empty() {
        let mut reply = Reply::new();
        reply.part(b"hello", 3, 100);
        assert_eq!(reply.0, b"lo");
        reply.part(b"hello", u64::MAX, u32::MAX);
        assert_eq!(reply.0, b"");
    }
}
