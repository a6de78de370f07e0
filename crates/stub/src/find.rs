// SPDX-License-Identifier: Apache-2.0
//! Look-ups below the container's root: one openat2(2) each; a symbolic link, wherever it points, stays below.

use crate::sys::{Call, Failure, Result, Text, call, close, errno, nr, same};

pub(crate) const O_PATH: u64 = 0o10_000_000;
pub(crate) const O_CLOEXEC: u64 = 0o2_000_000;
pub(crate) const O_NOFOLLOW: u64 = 0o400_000;
pub(crate) const O_CREAT_EXCL_WRONLY: u64 = 0o301;

pub(crate) const BENEATH: u64 = 8;
pub(crate) const IN_ROOT: u64 = 16;
pub(crate) const NO_MAGICLINKS: u64 = 2;
pub(crate) const NO_SYMLINKS: u64 = 4;
pub(crate) const NO_XDEV: u64 = 1;

/// What is made when nothing is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// A path that grows and is cut; it always ends with a zero byte.
struct Path {
    bytes: [u8; 4096],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 4096], length: 0 }
    }

    fn push(&mut self, part: &[u8]) -> core::result::Result<(), i32> {
        let part = part.strip_suffix(&[0]).unwrap_or(part);
        let room = self.bytes.get_mut(self.length..self.length + part.len() + 1).ok_or(errno::ENAMETOOLONG)?;
        for (to, from) in room.iter_mut().zip(part.iter().chain(&[0])) {
            *to = *from;
        }
        self.length += part.len();
        Ok(())
    }

    fn cut(&mut self, length: usize) {
        if let Some(byte) = self.bytes.get_mut(length) {
            *byte = 0;
            self.length = length;
        }
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// openat2(2).
pub(crate) fn open_at(directory: i32, path: &[u8], flags: u64, resolve: u64) -> core::result::Result<i32, i32> {
    let how = [flags, 0, resolve];
    loop {
        match call!(same::OPENAT2, directory, path.as_ptr(), how.as_ptr(), 24) {
            // The kernel could not exclude a rename that was going on at the same time.
            Err(errno::EAGAIN | errno::EINTR) => {}
            #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a descriptor")]
            other => return other.map(|fd| fd as i32),
        }
    }
}

/// What is at `path` (which ends with a zero byte), as an `O_PATH` descriptor.
pub(crate) fn find(root: i32, path: &[u8], strict: bool) -> core::result::Result<i32, i32> {
    let mut relative = path;
    while let Some(rest) = relative.strip_prefix(b"/") {
        relative = rest;
    }
    let relative = if relative.first().is_none_or(|byte| *byte == 0) { b".\0" } else { relative };
    let resolve = IN_ROOT | NO_MAGICLINKS | if strict { NO_SYMLINKS } else { 0 };
    open_at(root, relative, O_PATH | O_CLOEXEC, resolve)
}

/// The same; what is missing is made, one plain name at a time in a directory that was opened before. A symbolic link
/// that leads nowhere is followed below the root, and what it names is made.
pub(crate) fn find_or_make(root: i32, path: &[u8], kind: Kind, mode: u32, strict: bool) -> Result<i32> {
    let fail = |errno| Failure { errno, call: "make", about: Text::new(path) };
    let mut wanted = Path::new();
    wanted.push(path).map_err(fail)?;
    for _ in 0..MOST_TURNS {
        let mut full = Path::new();
        full.push(wanted.get()).map_err(fail)?;
        match find(root, full.bytes.as_slice(), strict) {
            Err(errno::ENOENT) => {}
            other => return other.call("openat2", path),
        }
        make_next(root, &mut wanted, kind, mode, strict).map_err(fail)?;
    }
    Err(fail(errno::ELOOP))
}

/// Each turn makes one directory or follows one link.
const MOST_TURNS: usize = 300;

/// Makes the first part of the path that is missing, or puts what a link says in its place.
fn make_next(root: i32, wanted: &mut Path, kind: Kind, mode: u32, strict: bool) -> core::result::Result<(), i32> {
    let (parent, start, end) = deepest(root, wanted, strict)?;
    let mut name = Path::new();
    let result = name.push(wanted.get().get(start..end).unwrap_or_default()).and_then(|()| {
        if matches!(name.get(), b"" | b"." | b"..") {
            return Err(errno::EINVAL);
        }
        let last = wanted.get().get(end..).unwrap_or_default().iter().all(|byte| *byte == b'/');
        match make(parent, name.bytes.as_slice(), last.then_some(kind), mode) {
            Err(errno::EEXIST) if strict => Err(errno::ELOOP),
            Err(errno::EEXIST) => follow(parent, name.bytes.as_slice(), wanted, start, end),
            other => other,
        }
    });
    close(parent);
    result
}

/// The deepest directory on the path that is there, and where the name below it starts and ends.
fn deepest(root: i32, wanted: &Path, strict: bool) -> core::result::Result<(i32, usize, usize), i32> {
    let mut cut = Path::new();
    cut.push(wanted.get())?;
    let mut end = cut.length;
    loop {
        while end > 0 && cut.get().get(end - 1) == Some(&b'/') {
            end -= 1;
        }
        let start = cut.get().get(..end).unwrap_or_default().iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        cut.cut(start);
        match find(root, cut.bytes.as_slice(), strict) {
            Ok(parent) => return Ok((parent, start, end)),
            Err(errno::ENOENT) if start > 0 => end = start,
            Err(errno) => return Err(errno),
        }
    }
}

fn make(parent: i32, name: &[u8], kind: Option<Kind>, mode: u32) -> core::result::Result<(), i32> {
    match kind {
        Some(Kind::File) => {
            let flags = O_CREAT_EXCL_WRONLY | O_NOFOLLOW | O_CLOEXEC;
            #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a descriptor")]
            call!(nr::OPENAT, parent, name.as_ptr(), flags, mode).map(|fd| close(fd as i32))
        }
        Some(Kind::Directory) => call!(nr::MKDIRAT, parent, name.as_ptr(), mode).map(drop),
        None => call!(nr::MKDIRAT, parent, name.as_ptr(), 0o755).map(drop),
    }
}

/// Puts the target of the link `name` in the place of its name in the path.
fn follow(parent: i32, name: &[u8], wanted: &mut Path, start: usize, end: usize) -> core::result::Result<(), i32> {
    let mut target = [0_u8; 4096];
    let length = match call!(nr::READLINKAT, parent, name.as_ptr(), target.as_mut_ptr(), target.len() - 1) {
        // It was made by somebody else just now: the next turn finds it.
        Err(errno::EINVAL) => return Ok(()),
        other => other?,
    };
    let target = target.get(..length).unwrap_or_default();
    let mut next = Path::new();
    if target.first() != Some(&b'/') {
        next.push(wanted.get().get(..start).unwrap_or_default())?;
    }
    next.push(target)?;
    next.push(wanted.get().get(end..).unwrap_or_default())?;
    *wanted = next;
    Ok(())
}
