// SPDX-License-Identifier: Apache-2.0
//! The loop over the operations, and what they share: slots, the root, and the way to the launcher.

use crate::find::{self, Kind};
use crate::sys::{Call, Failure, Result, Text, call, close, errno, nr, same};
use crate::wire::{NONE, Operation, Program, SLOTS, code};
use crate::{identity, mounts, processes, sys};

/// What operations act on.
pub(crate) struct Follower<'a> {
    pub(crate) program: Program<'a>,
    slots: [i32; SLOTS],
    pub(crate) root: i32,
    /// Where reports go: the launcher's socket, or the result of `start`.
    pub(crate) channel: i32,
    /// Whether the empty directory and the null device have been attached somewhere.
    pub(crate) covered: (bool, bool),
    /// The directory that something was made in last, as long as nothing has been attached since.
    kept: Option<(&'a [u8], i32)>,
    at: usize,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(program: Program<'a>) -> Self {
        let mut slots = [-1; SLOTS];
        for (number, slot) in slots.iter_mut().enumerate().take(program.slots()) {
            *slot = program.slot(number).unwrap_or(-1);
        }
        let [channel, ..] = slots;
        Self { program, slots, root: -1, channel, covered: (false, false), kept: None, at: 0 }
    }

    /// Follows every operation; ends this process when one fails.
    pub(crate) fn follow(mut self) -> ! {
        while let Some(operation) = self.program.operation(self.at) {
            self.at += 1;
            if let Err(failure) = self.take(&operation) {
                self.report(operation.step, &failure);
                sys::exit(125);
            }
        }
        sys::exit(125)
    }

    /// `E`, step, error number, call.
    fn report(&self, step: u32, failure: &Failure) {
        let mut message = Text::EMPTY;
        message.push(b"E");
        message.push(&step.to_le_bytes());
        message.push(&failure.errno.to_le_bytes());
        message.push(failure.call.as_bytes());
        if !failure.about.as_bytes().is_empty() {
            message.push(b"(\"");
            message.push(failure.about.as_bytes());
            message.push(b"\")");
        }
        self.say(message.as_bytes());
    }

    /// When the launcher is gone there is nobody left to tell.
    pub(crate) fn say(&self, message: &[u8]) {
        call!(nr::WRITE, self.channel, message.as_ptr(), message.len()).ok();
    }

    pub(crate) fn slot(&self, number: u64) -> Result<i32> {
        let found = usize::try_from(number).ok().and_then(|number| self.slots.get(number)).copied();
        found.filter(|fd| *fd >= 0).ok_or(Failure { errno: errno::EBADF, call: "slot", about: Text::EMPTY })
    }

    pub(crate) fn optional(&self, number: u64) -> Result<Option<i32>> {
        if number == NONE { Ok(None) } else { self.slot(number).map(Some) }
    }

    pub(crate) fn set(&mut self, number: u64, fd: i32) {
        if let Some(slot) = usize::try_from(number).ok().and_then(|number| self.slots.get_mut(number)) {
            *slot = fd;
        }
    }

    pub(crate) fn release(&mut self, number: u64) {
        if let Ok(fd) = self.slot(number) {
            close(fd);
            self.set(number, -1);
        }
    }

    /// The directory that was kept, when it is this one (with its last slash).
    pub(crate) fn kept(&self, directory: &[u8]) -> Option<i32> {
        self.kept.filter(|(kept, _)| *kept == directory).map(|(_, fd)| fd)
    }

    /// Keeps the directory that `path` is in: the next thing is often made in the same one.
    pub(crate) fn keep(&mut self, path: &'a [u8], fd: i32) {
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        self.kept = path.get(..start).map(|directory| (directory, fd));
    }

    pub(crate) fn text(&self, offset: u64) -> Result<&'a [u8]> {
        self.program.text(offset).ok_or(BAD)
    }

    pub(crate) fn bytes(&self, offset: u64, length: u64) -> Result<&'a [u8]> {
        self.program.bytes(offset, length).ok_or(BAD)
    }

    fn take(&mut self, one: &Operation) -> Result<()> {
        let [a, b, c, d, e, _] = one.operands;
        if !matches!(one.code, code::LINK | code::NODE)
            && let Some((_, fd)) = self.kept.take()
        {
            close(fd);
        }
        match one.code {
            code::WRITE => self.write(a, b, c),
            code::WAIT => self.wait(a, b),
            code::PAUSE => {
                self.say(b"S");
                self.wait(a, b)
            }
            code::WRITE_FILE => self.write_file(self.text(a)?, self.bytes(b, c)?),
            code::WRITE_BELOW => self.write_below(self.slot(a)?, self.text(b)?, self.bytes(c, d)?, one.flags & 1 != 0),
            code::FIND => self.find(one),
            code::CLOSE => {
                self.release(a);
                Ok(())
            }
            code::OPEN => {
                let path = self.text(b)?;
                let fd = find::open_at(AT_FDCWD, path, find::O_PATH | find::O_CLOEXEC, 0).call("open", path)?;
                self.set(a, fd);
                Ok(())
            }
            code::STREAM => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "0 to 2")]
                place(self.slot(a)?, b as i32)
            }
            code::CLOSE_FROM => {
                const CLOEXEC: usize = 4;
                call!(same::CLOSE_RANGE, a, u32::MAX, CLOEXEC).call("close_range", b"").map(drop)
            }
            code::PARK => self.park(a, b),
            code::OWN_STREAMS => {
                identity::own_streams(a);
                Ok(())
            }
            code::LOOK => processes::look(self, a),
            code::MOUNT => mounts::mount(self, a, b, c, d),
            code::ATTACH => mounts::attach_slot(self, a, b, one.flags),
            code::ATTRIBUTES => mounts::attributes(self.slot(a)?, [b, c, d, e], one.flags & 1 != 0, self.optional(e)?),
            code::ROOT_ATTRIBUTES => mounts::attributes(self.root, [a, b, 0, 0], one.flags & 1 != 0, None),
            code::COPY => {
                let copy = mounts::copy(self.slot(b)?, one.flags & 1 != 0)?;
                self.set(a, copy);
                Ok(())
            }
            code::ROOT => mounts::root(self, a, b),
            code::PROPAGATION | code::ROOT_PROPAGATION => mounts::propagation(a),
            code::LINK => mounts::link(self, a, b),
            code::NODE => mounts::node(self, &one.operands),
            code::TERMINAL => mounts::terminal(self, &one.operands, one.flags),
            code::MASK => mounts::mask(self, a, [b, c], d),
            code::READ_ONLY => mounts::read_only(self, a, b),
            code::TREE => mounts::tree(self, &one.operands, one.flags),
            code::DETACH => mounts::detach(self.text(a)?),
            code::END => sys::exit(0),
            code::PIVOT => mounts::pivot(),
            code::MOVE_ROOT => mounts::move_root(),
            code::DIRECTORY => mounts::directory(self, a, one.flags & 1 != 0),
            code::CLONE..=code::LOOPBACK | code::JOIN_PATH | code::LANDLOCK..=code::EXECUTE | code::HOOK..=code::NAME => {
                self.take_process(one)
            }
            _ => Err(BAD),
        }
    }

    fn take_process(&mut self, one: &Operation) -> Result<()> {
        let [a, b, c, d, ..] = one.operands;
        match one.code {
            code::CLONE => processes::clone(self, a, one.flags),
            code::JOIN => call!(nr::SETNS, self.slot(a)?, b).call("setns", b"").map(drop),
            code::JOIN_PATH => processes::join_path(self.text(a)?, b),
            code::UNSHARE => call!(nr::UNSHARE, a).call("unshare", b"").map(drop),
            code::HOOK => processes::hook(self, &one.operands),
            code::INIT => processes::init(),
            code::EXECUTE => processes::execute(self, a, b, c),
            code::SIGNALS => processes::reset_signals(),
            code::SESSION => call!(nr::SETSID).call("setsid", b"").map(drop),
            code::LOOPBACK => processes::loopback(),
            code::IDENTITY => identity::identity(self, &one.operands, one.flags & 1 != 0),
            code::UMASK => call!(nr::UMASK, a).call("umask", b"").map(drop),
            code::PRCTL => identity::prctl(a, b, c, one.flags & 1 != 0),
            code::KEYRING => identity::keyring(),
            code::HOSTNAME => call!(nr::SETHOSTNAME, self.text(a)?.as_ptr(), b).call("sethostname", b"").map(drop),
            code::DOMAINNAME => call!(nr::SETDOMAINNAME, self.text(a)?.as_ptr(), b).call("setdomainname", b"").map(drop),
            code::LANDLOCK => identity::landlock(a, b),
            code::BOUNDING => identity::bounding(a),
            code::CAPABILITIES => identity::capabilities(a, b, c, d),
            code::SECCOMP => identity::seccomp(self, &one.operands),
            code::SCHEDULER => {
                call!(nr::SCHED_SETATTR, 0, self.bytes(a, 48)?.as_ptr(), 0).call("sched_setattr", b"").map(drop)
            }
            code::IO_PRIORITY => call!(nr::IOPRIO_SET, 1, 0, a).call("ioprio_set", b"").map(drop),
            code::AFFINITY => {
                call!(nr::SCHED_SETAFFINITY, 0, b, self.bytes(a, b)?.as_ptr()).call("sched_setaffinity", b"").map(drop)
            }
            code::PERSONALITY => call!(nr::PERSONALITY, a).call("personality", b"").map(drop),
            code::MEMORY_POLICY => {
                let mask = self.bytes(b, c.div_ceil(64) * 8)?.as_ptr();
                call!(nr::SET_MEMPOLICY, a, mask, c).call("set_mempolicy", b"").map(drop)
            }
            code::LIMIT => identity::limit(self, a, b, c),
            code::NAME => identity::prctl(identity::PR_SET_NAME, self.text(a)?.as_ptr() as u64, 0, true),
            _ => Err(BAD),
        }
    }

    fn write(&mut self, slot: u64, offset: u64, length: u64) -> Result<()> {
        let bytes = self.bytes(offset, length)?;
        call!(nr::WRITE, self.slot(slot)?, bytes.as_ptr(), bytes.len()).call("write", bytes)?;
        self.release(slot);
        Ok(())
    }

    fn write_file(&self, path: &[u8], bytes: &[u8]) -> Result<()> {
        let fd = find::open_at(AT_FDCWD, path, 1 | find::O_CLOEXEC, 0).call("open", path)?;
        let written = call!(nr::WRITE, fd, bytes.as_ptr(), bytes.len()).call("write", path);
        close(fd);
        written.map(drop)
    }

    fn write_below(&self, directory: i32, path: &[u8], bytes: &[u8], links: bool) -> Result<()> {
        let strict = if links { find::NO_MAGICLINKS } else { find::NO_SYMLINKS };
        let resolve = find::BENEATH | find::NO_XDEV | strict;
        let fd = find::open_at(directory, path, 1 | find::O_CLOEXEC, resolve).call("openat2", path)?;
        let written = call!(nr::WRITE, fd, bytes.as_ptr(), bytes.len()).call("write", path);
        close(fd);
        written.map(drop)
    }

    fn find(&mut self, one: &Operation) -> Result<()> {
        const MAKE: u16 = 1;
        const STRICT: u16 = 2;
        let [result, text, kind, mode, ..] = one.operands;
        let path = self.text(text)?;
        let strict = one.flags & STRICT != 0;
        let kind = if kind == 2 { Kind::File } else { Kind::Directory };
        #[expect(clippy::cast_possible_truncation, reason = "a mode has 12 bits")]
        let found = if one.flags & MAKE != 0 {
            find::find_or_make(self.root, path, kind, mode as u32, strict)?
        } else {
            find::find(self.root, path, strict).call("openat2", path)?
        };
        self.set(result, found);
        Ok(())
    }

    /// Receives the launcher's word with its descriptors.
    fn wait(&mut self, first: u64, count: u64) -> Result<()> {
        let mut byte = [0_u8; 8];
        let mut control = [0_u64; 130];
        let part = [byte.as_mut_ptr() as usize, byte.len()];
        let mut header = [0, 0, part.as_ptr() as usize, 1, control.as_mut_ptr() as usize, 130 * 8, 0];
        const CMSG_CLOEXEC: usize = 0x4000_0000;
        let length = loop {
            match call!(nr::RECVMSG, self.channel, header.as_mut_ptr(), CMSG_CLOEXEC) {
                Err(errno::EINTR) => {}
                other => break other.call("recvmsg", b"")?,
            }
        };
        if length == 0 {
            // The launcher has gone: so do we.
            sys::exit(125);
        }
        let bytes = usize::try_from(control[0]).unwrap_or(0);
        let received = if header[5] >= 16 { bytes.saturating_sub(16) / 4 } else { 0 };
        if received as u64 != count {
            return Err(Failure { errno: errno::EBADMSG, call: "recvmsg", about: Text::new(b"descriptors") });
        }
        for index in 0..count {
            let word = control.get(2 + index as usize / 2).copied().unwrap_or(0) >> (index % 2 * 32);
            #[expect(clippy::cast_possible_truncation, reason = "half a word")]
            self.set(first + index, (word as u32).cast_signed());
        }
        Ok(())
    }

    /// Everything but the program itself is done: the launcher hears the end, and whoever starts wakes us.
    fn park(&mut self, fifo: u64, result: u64) -> Result<()> {
        let (fifo, result) = (self.slot(fifo)?, self.slot(result)?);
        close(self.channel);
        self.channel = result;
        let mut byte = [0_u8; 1];
        loop {
            match call!(nr::READ, fifo, byte.as_mut_ptr(), 1) {
                Err(errno::EINTR) => {}
                Ok(1) => break,
                Ok(_) => sys::exit(125),
                other => return other.call("read", b"start").map(drop),
            }
        }
        close(fifo);
        Ok(())
    }
}

pub(crate) const AT_FDCWD: i32 = -100;

/// The program is not what its writer wrote.
pub(crate) const BAD: Failure = Failure { errno: errno::EBADMSG, call: "plan", about: Text::EMPTY };

/// Copies to a number that stays open over execve.
pub(crate) fn place(fd: i32, to: i32) -> Result<()> {
    const F_SETFD: usize = 2;
    if fd == to {
        return call!(nr::FCNTL, fd, F_SETFD, 0).call("fcntl", b"").map(drop);
    }
    call!(nr::DUP3, fd, to, 0).call("dup3", b"").map(drop)
}
