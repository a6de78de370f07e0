// SPDX-License-Identifier: Apache-2.0
//! Queries about other names on their way to the servers upstream and back.
//!
//! Each has a socket of its own, connected to the server, so a random port that hears that server alone; and an id of our
//! own. What a client asked by a stream is asked by a stream, so a truncated answer is its client's to ask again.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::event::{self, Interest, Read};
use kernel::{Error, inet};

use super::names::Client;
use super::{dns, message};

/// Queries at once, and of one client: no single one may fill the table.
const MOST: usize = 512;
const MOST_OF_ONE: usize = 128;

/// Milliseconds until an answer is given up, and until another server is asked.
const LIFE_MS: u64 = 5000;
const TRY_MS: u64 = 1500;

/// Each server is asked so often.
const ROUNDS: usize = 2;

/// To whom an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// By this datagram socket.
    Datagram(usize, SocketAddr),
    /// The stream with this number.
    Stream(u64),
}

/// A query that has its answer, be it that there is none.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) asker: Asker,
    pub(super) answer: Vec<u8>,
}

/// A query, and what is to be done with its answer.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) asker: Asker,
    pub(super) client: Client,
    pub(super) limit: usize,
}

/// How far a stream to a server is.
#[derive(Debug, Default)]
struct Progress {
    written: usize,
    input: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    socket: OwnedFd,
    stream: Option<Progress>,
    asker: Asker,
    client: Client,
    limit: usize,
    id: [u8; 2],
    /// With the id that was made for this try.
    query: Vec<u8>,
    /// How many tries there were.
    tries: usize,
    again_ms: u64,
    end_ms: u64,
}

/// What became of a query that moved.
enum Step {
    Wait,
    Again,
    Done(Vec<u8>),
}

/// The queries that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Forward(Vec<Pending>);

impl Forward {
    /// Asks; gives back what to say at once when that is not possible.
    pub(super) fn start(&mut self, asked: &Question<'_>, servers: &[SocketAddr], now_ms: u64) -> Option<Finished> {
        let failed = || Some(Finished { asker: asked.asker, answer: dns::failure(asked.bytes)? });
        let of_one = self.0.iter().filter(|pending| pending.client == asked.client).count();
        if self.0.len() >= MOST || of_one >= MOST_OF_ONE {
            return failed();
        }
        let Some(id) = asked.bytes.first_chunk::<2>() else { return failed() };
        let stream = matches!(asked.asker, Asker::Stream(_));
        let mut query = asked.bytes.to_vec();
        let Some((socket, tries)) = ask(&mut query, stream, servers, 0) else { return failed() };
        self.0.push(Pending {
            socket,
            stream: stream.then(Progress::default),
            asker: asked.asker,
            client: asked.client,
            limit: asked.limit,
            id: *id,
            query,
            tries,
            again_ms: now_ms + TRY_MS,
            end_ms: now_ms + LIFE_MS,
        });
        None
    }

    /// What is waited for.
    pub(super) fn watched(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        self.0.iter().map(|pending| {
            let writes = pending.stream.as_ref().is_some_and(|stream| stream.written < pending.query.len() + 2);
            (pending.socket.as_fd(), if writes { Interest::Write } else { Interest::Read })
        })
    }

    /// When something is to be done at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.iter().map(|pending| pending.again_ms.min(pending.end_ms)).min()
    }

    /// Goes on with those whose socket is ready, by their places in [`Forward::watched`], and those whose time has come.
    pub(super) fn go_on(
        &mut self,
        ready: &[bool],
        servers: &[SocketAddr],
        now_ms: u64,
        buffer: &mut [u8],
    ) -> Vec<Finished> {
        let mut finished = Vec::new();
        // From the end: one that is taken out is replaced by one that has been looked at.
        for at in (0..self.0.len()).rev() {
            let Some(pending) = self.0.get_mut(at) else { continue };
            let mut step = if ready.get(at) == Some(&true) { pending.step(servers.len(), buffer) } else { Step::Wait };
            let failed = matches!(step, Step::Again);
            if failed || matches!(step, Step::Wait) && now_ms >= pending.again_ms {
                let asked = now_ms < pending.end_ms && pending.again(servers, now_ms);
                // When all have been asked, the last one may still say something.
                step = if asked || !failed { Step::Wait } else { Step::Again };
                pending.again_ms = if asked { pending.again_ms } else { pending.end_ms };
            }
            let answer = match step {
                Step::Wait if now_ms < pending.end_ms => continue,
                Step::Wait | Step::Again => None,
                Step::Done(answer) => Some(message::relay(answer, pending.id, pending.limit)),
            };
            let pending = self.0.swap_remove(at);
            let answer = answer.or_else(|| dns::failure(&message::relay(pending.query, pending.id, usize::MAX)));
            finished.extend(answer.map(|answer| Finished { asker: pending.asker, answer }));
        }
        finished
    }

    /// Does an answer to this one have to come yet?
    pub(super) fn is_asked_by(&self, asker: Asker) -> bool {
        self.0.iter().any(|pending| pending.asker == asker)
    }

    /// Forgets what a stream that is gone has asked.
    pub(super) fn forget(&mut self, stream: u64) {
        self.0.retain(|pending| pending.asker != Asker::Stream(stream));
    }
}

/// Asks the next server that can be asked, by a new socket and id; its socket and the number of tries so far.
fn ask(query: &mut Vec<u8>, stream: bool, servers: &[SocketAddr], tries: usize) -> Option<(OwnedFd, usize)> {
    query.splice(0..2, kernel::time::random::<2>());
    for (number, server) in servers.iter().cycle().enumerate().take(servers.len() * ROUNDS).skip(tries) {
        let socket = if stream {
            inet::stream_to(*server)
        } else {
            inet::datagram_to(*server).and_then(|socket| inet::write(&socket, query).map(|_| socket))
        };
        if let Ok(socket) = socket {
            return Some((socket, number + 1));
        }
    }
    None
}

impl Pending {
    /// Asks the next server; false when all have been asked.
    fn again(&mut self, servers: &[SocketAddr], now_ms: u64) -> bool {
        let Some((socket, tries)) = ask(&mut self.query, self.stream.is_some(), servers, self.tries) else {
            return false;
        };
        (self.socket, self.tries, self.again_ms) = (socket, tries, now_ms + TRY_MS);
        self.stream = self.stream.take().map(|_| Progress::default());
        true
    }

    fn step(&mut self, servers: usize, buffer: &mut [u8]) -> Step {
        let moved = match &mut self.stream {
            None => read_datagram(&self.socket, &self.query, buffer),
            Some(progress) => progress.go_on(&self.socket, &self.query, buffer),
        };
        match moved {
            Ok(None) => Step::Wait,
            // Another server may know more, if there is one that was not asked.
            Ok(Some(answer)) if is_failure(&answer) && self.tries < servers => Step::Again,
            Ok(Some(answer)) => Step::Done(answer),
            Err(_) => Step::Again,
        }
    }
}

fn is_failure(answer: &[u8]) -> bool {
    matches!(message::code(answer), message::SERVER_FAILURE | message::REFUSED)
}

/// The answer, when it is among what has come; all else is somebody's attempt to be taken for the server.
fn read_datagram(socket: &OwnedFd, query: &[u8], buffer: &mut [u8]) -> kernel::Result<Option<Vec<u8>>> {
    while let Some((length, _)) = inet::receive(socket, buffer)? {
        let answer = buffer.get(..length).unwrap_or_default();
        if message::answers(query, answer) {
            return Ok(Some(answer.to_vec()));
        }
    }
    Ok(None)
}

impl Progress {
    /// Writes the query behind its length, then reads the answer behind its own.
    fn go_on(&mut self, socket: &OwnedFd, query: &[u8], buffer: &mut [u8]) -> kernel::Result<Option<Vec<u8>>> {
        let broken = || Error::new("read(upstream)", kernel::Errno::PIPE);
        let length = u16::try_from(query.len()).map_err(|_| broken())?;
        let framed = [&length.to_be_bytes()[..], query].concat();
        if let Some(rest) = framed.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += inet::write(socket, rest)?;
            return Ok(None);
        }
        match event::read(socket, buffer)? {
            Read::Nothing => return Ok(None),
            Read::End => return Err(broken()),
            Read::Bytes(count) => self.input.extend(buffer.get(..count).unwrap_or_default()),
        }
        let Some((head, rest)) = self.input.split_first_chunk::<2>() else { return Ok(None) };
        match rest.get(..usize::from(u16::from_be_bytes(*head))) {
            Some(answer) if message::answers(query, answer) => Ok(Some(answer.to_vec())),
            Some(_) => Err(broken()),
            None => Ok(None),
        }
    }
}
