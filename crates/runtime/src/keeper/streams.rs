// SPDX-License-Identifier: Apache-2.0
//! The standard streams of the program: pipes, or one terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::event::{self, Interest, Read};
use kernel::{Result, pty};
use plan::Plan;

use crate::log::Stream;

/// Bytes of input that wait at most before no more is taken.
const MOST_PENDING: usize = 64 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 32 * 1024;

/// Our ends.
#[derive(Default)]
pub(super) struct Streams {
    input: Option<OwnedFd>,
    pending: Vec<u8>,
    /// The input is to be closed when nothing is pending any more.
    closing: bool,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    /// The other side of a console, which is there also while nobody inside has it open.
    console: Option<OwnedFd>,
}

impl Streams {
    /// Our ends and the program's, which belong to its user. A terminal is made by the program's side.
    pub(super) fn make(plan: &Plan, interactive: bool) -> Result<(Self, Option<[OwnedFd; 3]>)> {
        if plan.terminal {
            return Ok((Self::default(), None));
        }
        let (uid, gid) = plan.owner;
        let (their_input, input) = match interactive {
            true => {
                let (theirs, ours) = event::pipe()?;
                kernel::root::set_owner(&theirs, uid, gid)?;
                event::set_nonblocking(&ours)?;
                (theirs, Some(ours))
            }
            false => (kernel::file::open_null()?, None),
        };
        let ((output, their_output), (error, their_error)) = (event::pipe()?, event::pipe()?);
        for (ours, theirs) in [(&output, &their_output), (&error, &their_error)] {
            kernel::root::set_owner(theirs, uid, gid)?;
            event::set_nonblocking(ours)?;
        }
        let ours = Self { input, output: Some(output), error: Some(error), ..Self::default() };
        Ok((ours, Some([their_input, their_output, their_error])))
    }

    /// The program's terminal; a console stays when the program lets go of it.
    pub(super) fn take_terminal(&mut self, master: OwnedFd, is_console: bool) -> Result<()> {
        event::set_nonblocking(&master)?;
        self.console = is_console.then(|| pty::other_side(&master)).transpose()?;
        self.terminal = Some(master);
        Ok(())
    }

    pub(super) fn watch<'a>(&'a self, watched: &mut Vec<(BorrowedFd<'a>, Interest)>, readable: bool) {
        if readable {
            let sources = [&self.output, &self.error, &self.terminal].into_iter().flatten();
            watched.extend(sources.map(|source| (source.as_fd(), Interest::Read)));
        }
        if !self.pending.is_empty() {
            let sinks = [&self.input, &self.terminal].into_iter().flatten();
            watched.extend(sinks.map(|sink| (sink.as_fd(), Interest::Write)));
        }
    }

    /// What the program has written since.
    pub(super) fn read(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let mut chunks = Vec::new();
        for (source, stream) in
            [(&mut self.output, Stream::Output), (&mut self.error, Stream::Error), (&mut self.terminal, Stream::Output)]
        {
            let Some(fd) = source else { continue };
            let mut buffer = vec![0; CHUNK];
            match event::read(fd, &mut buffer) {
                Ok(Read::Bytes(count)) => {
                    buffer.truncate(count);
                    chunks.push((stream, buffer));
                }
                Ok(Read::Nothing) => {}
                Ok(Read::End) | Err(_) => *source = None,
            }
        }
        chunks
    }

    /// Has everything been read that will ever come?
    pub(super) fn is_drained(&self) -> bool {
        self.output.is_none() && self.error.is_none() && self.terminal.is_none()
    }

    pub(super) fn input_is_free(&self) -> bool {
        self.pending.len() < MOST_PENDING
    }

    pub(super) fn input(&mut self, bytes: &[u8]) {
        if self.input.is_some() || self.terminal.is_some() {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// No more input will come: what is pending is still written.
    pub(super) fn end_input(&mut self) {
        self.closing = true;
    }

    /// The program has ended: nobody reads the input any more.
    pub(super) fn ended(&mut self) {
        self.console = None;
        self.close_input();
    }

    fn close_input(&mut self) {
        self.input = None;
        self.pending.clear();
    }

    pub(super) fn write_input(&mut self) {
        let Some(sink) = self.input.as_ref().or(self.terminal.as_ref()) else { return };
        while !self.pending.is_empty() {
            match event::write(sink, &self.pending) {
                Ok(0) => return,
                Ok(count) => drop(self.pending.drain(..count)),
                Err(_) => return self.close_input(),
            }
        }
        if self.closing {
            self.input = None;
        }
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            pty::set_size(terminal, pty::Size { rows, columns }).ok();
        }
    }
}
