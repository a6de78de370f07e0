// SPDX-License-Identifier: Apache-2.0
//! What a look at every process of a host needs: `/proc` as one descriptor, few and cheap calls for each process, and no file
//! system entered that a process has chosen.

use std::ffi::CStr;
use std::fmt::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};

use crate::error::{Call, Errno, Error, Result};
use crate::namespace::{Namespace, NamespaceId, parse_link};
use crate::types::NamespaceKind;

/// Names of one reading of a directory.
const NAMES: usize = 32 * 1024;

/// What is read of one small file at most: `stat` is below 1 KiB.
const SMALL: usize = 2048;

/// `/proc`, held open.
#[derive(Debug)]
pub struct Survey {
    directory: OwnedFd,
    /// The device of nsfs, which all namespaces are on.
    device: u64,
    path: String,
    names: Vec<MaybeUninit<u8>>,
}

/// The inodes of a process's namespaces, in the order of [`NamespaceKind::ALL`]; 0 for a kind that the kernel does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Links {
    /// Those that it is in.
    pub own: [u64; NamespaceKind::ALL.len()],
    /// The pid namespace of its children to come; 0 where that has no process yet.
    pub pid_for_children: u64,
    /// The time namespace of its children to come.
    pub time_for_children: u64,
}

/// What one line of `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// The parent's number.
    pub parent: i32,
    /// Start, in clock ticks since boot.
    pub start: u64,
    /// How many threads.
    pub threads: u64,
    /// State letter of proc_pid_stat(5).
    pub state: u8,
}

impl Survey {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn open() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open("/proc", flags, Mode::empty()).call(|| "open(\"/proc\")")?;
        let own = rustix::fs::stat("/proc/self/ns/user").call(|| "stat(\"/proc/self/ns/user\")")?;
        Ok(Self { directory, device: own.st_dev, path: String::new(), names: vec![MaybeUninit::uninit(); NAMES] })
    }

    /// The device of every namespace's file.
    #[must_use]
    pub const fn device(&self) -> u64 {
        self.device
    }

    /// The numbers of all processes that this `/proc` shows, lowest first.
    ///
    /// # Errors
    /// getdents64(2)'s.
    pub fn pids(&mut self) -> Result<Vec<i32>> {
        let directory = rustix::fs::openat(&self.directory, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| "open(\"/proc\")")?;
        let mut pids = numbers(&directory, &mut self.names)?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// The threads of a process besides its first, lowest first.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn threads(&mut self, pid: i32) -> Result<Vec<i32>> {
        let directory = self.open_directory(pid, "task")?;
        let mut threads = numbers(&directory, &mut self.names)?;
        threads.retain(|thread| *thread != pid);
        threads.sort_unstable();
        Ok(threads)
    }

    /// The namespaces of a process, or of a thread.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it is gone; `EACCES` when we may not see them.
    pub fn links(&mut self, pid: i32) -> Result<Links> {
        let mut links = Links::default();
        for (index, kind) in NamespaceKind::ALL.into_iter().enumerate() {
            if let Some(slot) = links.own.get_mut(index) {
                *slot = self.link(pid, kind.file())?;
            }
        }
        links.pid_for_children = self.link(pid, "pid_for_children")?;
        links.time_for_children = self.link(pid, "time_for_children")?;
        Ok(links)
    }

    /// One of them; 0 where the process is there and the link is not.
    fn link(&mut self, pid: i32, name: &str) -> Result<u64> {
        self.name(pid, "ns/", name);
        let mut buffer = [MaybeUninit::uninit(); 64];
        match rustix::fs::readlinkat_raw(&self.directory, &*self.path, &mut buffer) {
            Ok((text, _)) => Ok(parse_link(text).map_or(0, |(_, inode)| inode)),
            Err(Errno::NOENT)
                if rustix::fs::accessat(
                    &self.directory,
                    pid.to_string(),
                    rustix::fs::Access::EXISTS,
                    AtFlags::empty(),
                )
                .is_ok() =>
            {
                Ok(0)
            }
            Err(errno) => Err(Error::new(format!("readlink(\"/proc/{}\")", self.path), errno)),
        }
    }

    /// Where it comes from and when it began.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it is gone.
    pub fn brief(&mut self, pid: i32) -> Result<Brief> {
        let mut buffer = [0; SMALL];
        let text = self.read(pid, "stat", &mut buffer)?;
        Brief::parse(text).ok_or_else(|| Error::new(format!("parse /proc/{pid}/stat"), Errno::INVAL))
    }

    /// Its command line; of one that has none, its name in brackets. Bytes of anybody's choice.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it is gone.
    pub fn command(&mut self, pid: i32) -> Result<String> {
        let mut buffer = [0; SMALL];
        let line = self.read(pid, "cmdline", &mut buffer)?;
        let words: Vec<_> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        if !words.is_empty() {
            return Ok(words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" "));
        }
        let name = self.read(pid, "comm", &mut buffer)?;
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        Ok(format!("[{}]", String::from_utf8_lossy(name)))
    }

    /// Who it runs as: the owner of its directory.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn user(&self, pid: i32) -> Result<u32> {
        let found = rustix::fs::statat(&self.directory, pid.to_string(), AtFlags::SYMLINK_NOFOLLOW);
        found.call(|| format!("stat(\"/proc/{pid}\")")).map(|found| found.st_uid)
    }

    /// The namespaces that its descriptors stand for, with their numbers.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it is gone; `EACCES` when we may not see them.
    pub fn descriptors(&mut self, pid: i32, found: &mut dyn FnMut(i32, NamespaceKind, u64)) -> Result<()> {
        let directory = self.open_directory(pid, "fd")?;
        let mut names = std::mem::take(&mut self.names);
        let done = self.descriptors_in(pid, &directory, &mut names, found);
        self.names = names;
        done
    }

    fn descriptors_in(
        &self,
        pid: i32,
        directory: &OwnedFd,
        names: &mut [MaybeUninit<u8>],
        found: &mut dyn FnMut(i32, NamespaceKind, u64),
    ) -> Result<()> {
        let mut entries = RawDir::new(directory, names);
        while let Some(entry) = entries.next() {
            let entry = entry.call(|| format!("getdents64(\"/proc/{pid}/fd\")"))?;
            let Some(number) = number(entry.file_name()) else { continue };
            let mut buffer = [MaybeUninit::uninit(); 64];
            // One that is closed by now is none.
            let Ok((text, _)) = rustix::fs::readlinkat_raw(directory, entry.file_name(), &mut buffer) else { continue };
            if let Some((kind, inode)) = parse_link(text) {
                found(number, kind, inode);
            } else if text == b"/"
                && let Some(id) = self.detached(pid, number)
            {
                found(number, id.kind, id.ino);
            }
        }
        Ok(())
    }

    /// The namespace of a descriptor that was opened by the path of a bind mount that is no more: its link says `/`, as that of
    /// the root of anything does. The kernel's note on it has the inode, and asks no file system for it.
    fn detached(&self, pid: i32, number: i32) -> Option<NamespaceId> {
        /// Where inodes of namespaces begin (`PROC_DYNAMIC_FIRST`).
        const FIRST: u64 = 0xf000_0000;
        let note = crate::file::read_small(format!("/proc/{pid}/fdinfo/{number}").as_ref()).ok()?;
        let note = String::from_utf8_lossy(&note).into_owned();
        let inode: u64 = note.lines().find_map(|line| line.strip_prefix("ino:"))?.trim().parse().ok()?;
        (FIRST..=u32::MAX.into()).contains(&inode).then_some(())?;
        Some(Namespace::open(format!("/proc/{pid}/fd/{number}").as_ref()).ok()?.id())
    }

    /// The mount table that it has, as text.
    ///
    /// # Errors
    /// `ENOENT` when it is gone; `EACCES` when we may not see it.
    pub fn mounts(&self, pid: i32) -> Result<String> {
        let path = format!("/proc/{pid}/mountinfo");
        crate::file::read_lines(Path::new(&path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_directory(&mut self, pid: i32, name: &str) -> Result<OwnedFd> {
        self.name(pid, name, "");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, &*self.path, flags, Mode::empty())
            .call(|| format!("open(\"/proc/{}\")", self.path))
    }

    fn read<'a>(&mut self, pid: i32, name: &str, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        self.name(pid, name, "");
        let call = |path: &str| format!("read(\"/proc/{path}\")");
        let file = rustix::fs::openat(&self.directory, &*self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| call(&self.path))?;
        let count = rustix::io::read(&file, &mut *buffer).call(|| call(&self.path))?;
        Ok(buffer.get(..count).unwrap_or_default())
    }

    fn name(&mut self, pid: i32, directory: &str, file: &str) {
        self.path.clear();
        // Writing to a text never fails.
        write!(self.path, "{pid}/{directory}{file}").ok();
    }
}

fn number(name: &CStr) -> Option<i32> {
    name.to_str().ok().filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))?.parse().ok()
}

fn numbers(directory: impl AsFd, names: &mut [MaybeUninit<u8>]) -> Result<Vec<i32>> {
    let (mut list, mut entries) = (Vec::new(), RawDir::new(directory, names));
    while let Some(entry) = entries.next() {
        let entry = entry.call(|| "getdents64()")?;
        if entry.file_type() == FileType::Directory {
            list.extend(number(entry.file_name()));
        }
    }
    Ok(list)
}

impl Brief {
    /// What a line of `/proc/PID/stat` says. A name may hold anything, also what looks like the rest of the line: it ends with
    /// the last bracket.
    #[must_use]
    pub fn parse(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.bytes().next()?;
        let parent = fields.next()?.parse().ok()?;
        // From the fifth on: the twentieth is the number of threads, the twenty-second the start.
        let threads = fields.nth(15)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        Some(Self { parent, start, threads, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_looks_like_the_rest_of_the_line_does_not_shift_fields() {
        let stat = b"12 (a) Z 1 2\n3 (b) S 7 12 12 0 -1 4194560 1 0 0 0 7 8 0 0 20 0 3 0 4242 100 3";
        assert_eq!(Brief::parse(stat), Some(Brief { parent: 7, start: 4242, threads: 3, state: b'S' }));
        assert_eq!(Brief::parse(b"12 (a"), None);
        assert_eq!(Brief::parse(b"12 (a) Z 1"), None);
    }

    #[test]
    fn a_name_with_brackets_does_not_hide_the_state() {
        let stat = b"12 (a) R (b) D 1 12 12 0 -1 4194560 1 0 0 0 7 8 0 0 20 0 3 0 4242 100 3";
        assert_eq!(Brief::parse(stat).map(|brief| (brief.state, brief.threads)), Some((b'D', 3)));
        assert_eq!(Brief::parse(b"12 (a"), None);
    }

    #[test]
    fn this_process_is_found_with_all_it_has() {
        let (mut survey, own) = (Survey::open().unwrap(), crate::process::id());
        assert!(survey.pids().unwrap().contains(&own));
        let links = survey.links(own).unwrap();
        for (kind, inode) in NamespaceKind::ALL.into_iter().zip(links.own) {
            let id = crate::namespace::Namespace::current(kind).unwrap().id();
            assert_eq!((id.dev, id.ino), (survey.device(), inode), "{kind}");
        }
        assert_eq!(links.time_for_children, links.own[6]);
        let brief = survey.brief(own).unwrap();
        assert_eq!(brief.start, crate::procfs::start_time(own).unwrap());
        assert_eq!(survey.threads(own).unwrap().len() as u64 + 1, survey.brief(own).unwrap().threads);
        assert!(survey.command(own).unwrap().contains("kernel"));
        let held = crate::namespace::Namespace::current(NamespaceKind::Uts).unwrap();
        let mut found = Vec::new();
        survey.descriptors(own, &mut |_, kind, inode| found.push((kind, inode))).unwrap();
        assert_eq!(found, [(NamespaceKind::Uts, held.id().ino)]);
        assert!(survey.mounts(own).unwrap().contains(" - proc "));
    }

    #[test]
    fn a_process_that_is_gone_is_told_as_gone() {
        let mut survey = Survey::open().unwrap();
        for error in [survey.links(i32::MAX).unwrap_err(), survey.brief(i32::MAX).unwrap_err()] {
            assert!(error.is(Errno::NOENT), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_process_calls_itself(name in proptest::collection::vec(any::<u8>(), 0..16), start in any::<u64>()) {
            let rest = format!(") S 7 1 1 0 -1 4 1 0 0 0 7 8 0 0 20 0 3 0 {start} 1 3");
            let line = [b"12 (", &name[..], rest.as_bytes()].concat();
            prop_assert_eq!(Brief::parse(&line), Some(Brief { parent: 7, start, threads: 3, state: b'S' }));
        }

        #[test]
        fn whatever_is_read_of_a_process(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            // No number of it is trusted before it is read as one.
            prop_assert!(Brief::parse(&line).is_none() || line.contains(&b')'));
        }
    }
}
