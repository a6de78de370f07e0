// SPDX-License-Identifier: Apache-2.0
//! Clients that ask by TCP: each may be slow, silent or broken, and none is waited for.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::event::{self, Interest, Read};
use kernel::inet;

/// Connections at once, and of one address. One more takes the place of the oldest.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;

/// Milliseconds that a client may take for a query, and for its answer.
const PATIENCE_MS: u64 = 5000;

/// The most bytes of a query.
const QUERY: usize = 4096;

#[derive(Debug)]
enum State {
    /// Its length and its bytes, as far as they have come.
    Reading(Vec<u8>),
    /// Somebody upstream is asked.
    Waiting,
    /// The answer behind its length, and how much of it is written.
    Writing(Vec<u8>, usize),
}

#[derive(Debug)]
struct Stream {
    id: u64,
    socket: OwnedFd,
    peer: SocketAddr,
    state: State,
    end_ms: u64,
}

/// What a stream that was ready gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// A query of this client: it is to be answered.
    Query(IpAddr, Vec<u8>),
    /// It is over.
    Gone,
}

/// The connections of all clients.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: Vec<Stream>,
    last: u64,
}

impl Streams {
    /// Takes a new connection; the number of the one that had to go for it.
    pub(super) fn add(&mut self, socket: OwnedFd, peer: SocketAddr, now_ms: u64) -> Option<u64> {
        let is_same = |stream: &Stream| stream.peer.ip() == peer.ip();
        let of_one = self.list.iter().filter(|stream| is_same(stream)).count();
        // The list is in the order in which they came.
        let gone = match self.list.iter().position(is_same) {
            Some(oldest) if of_one >= MOST_OF_ONE => Some(self.list.remove(oldest).id),
            _ if self.list.len() >= MOST => Some(self.list.remove(0).id),
            _ => None,
        };
        self.last += 1;
        let (id, end_ms) = (self.last, now_ms + PATIENCE_MS);
        self.list.push(Stream { id, socket, peer, state: State::Reading(Vec::new()), end_ms });
        gone
    }

    /// What is waited for: the number of each, with its descriptor.
    pub(super) fn watched(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, Interest)> {
        self.list.iter().filter_map(|stream| {
            let interest = match stream.state {
                State::Reading(_) => Interest::Read,
                State::Waiting => return None,
                State::Writing(..) => Interest::Write,
            };
            Some((stream.id, stream.socket.as_fd(), interest))
        })
    }

    /// When something is to be done at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let waits = self.list.iter().filter(|stream| !matches!(stream.state, State::Waiting));
        waits.map(|stream| stream.end_ms).min()
    }

    /// Ends those whose time is over; that of a query upstream is not theirs.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.list.retain(|stream| now_ms < stream.end_ms || matches!(stream.state, State::Waiting));
    }

    /// Goes on with one that is ready.
    pub(super) fn go_on(&mut self, id: u64, now_ms: u64) -> Step {
        let Some(at) = self.list.iter().position(|stream| stream.id == id) else { return Step::Wait };
        let Some(stream) = self.list.get_mut(at) else { return Step::Wait };
        let step = match &stream.state {
            State::Reading(_) => stream.read(),
            State::Waiting => Step::Wait,
            State::Writing(..) => stream.write(now_ms),
        };
        if step == Step::Gone {
            self.list.remove(at);
        }
        step
    }

    /// Sends the answer to what [`Streams::go_on`] gave, or ends the connection when there is none.
    pub(super) fn answer(&mut self, id: u64, answer: Option<Vec<u8>>, now_ms: u64) {
        let framed = answer.and_then(|answer| {
            let length = u16::try_from(answer.len()).ok()?;
            Some([&length.to_be_bytes()[..], &answer].concat())
        });
        match (framed, self.list.iter_mut().find(|stream| stream.id == id)) {
            (Some(framed), Some(stream)) => {
                stream.state = State::Writing(framed, 0);
                stream.end_ms = now_ms + PATIENCE_MS;
                self.go_on(id, now_ms);
            }
            _ => self.list.retain(|stream| stream.id != id),
        }
    }
}

impl Stream {
    /// Reads no more than one query: the next one is let wait in the socket.
    fn read(&mut self) -> Step {
        let State::Reading(input) = &mut self.state else { return Step::Wait };
        let mut buffer = [0; QUERY];
        loop {
            let wanted = match input.split_first_chunk::<2>() {
                None => 2 - input.len(),
                Some((head, rest)) => match usize::from(u16::from_be_bytes(*head)) {
                    0 => return Step::Gone,
                    length if length > QUERY => return Step::Gone,
                    length if length == rest.len() => {
                        let query = rest.to_vec();
                        self.state = State::Waiting;
                        return Step::Query(self.peer.ip(), query);
                    }
                    length => length - rest.len(),
                },
            };
            match event::read(&self.socket, buffer.get_mut(..wanted).unwrap_or_default()) {
                Ok(Read::Bytes(count)) => input.extend(buffer.get(..count).unwrap_or_default()),
                Ok(Read::Nothing) => return Step::Wait,
                Ok(Read::End) | Err(_) => return Step::Gone,
            }
        }
    }

    fn write(&mut self, now_ms: u64) -> Step {
        let State::Writing(bytes, at) = &mut self.state else { return Step::Wait };
        match inet::write(&self.socket, bytes.get(*at..).unwrap_or_default()) {
            Ok(count) => *at += count,
            Err(_) => return Step::Gone,
        }
        if *at >= bytes.len() {
            self.state = State::Reading(Vec::new());
            self.end_ms = now_ms + PATIENCE_MS;
        }
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    const QUERY_BYTES: &[u8] = b"\0\x05query";

    fn peer(host: u8) -> SocketAddr {
        ([10, 9, 0, host], 5000).into()
    }

    /// A connection of this client: its side, and what had to go for it.
    fn connect(streams: &mut Streams, host: u8) -> (UnixStream, Option<u64>) {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, streams.add(server.into(), peer(host), 0))
    }

    #[test]
    fn a_query_in_pieces_is_answered_and_so_is_the_next() {
        let mut streams = Streams::default();
        let (mut client, _) = connect(&mut streams, 2);
        for byte in &QUERY_BYTES[..6] {
            assert_eq!(streams.go_on(1, 0), Step::Wait);
            client.write_all(&[*byte]).unwrap();
        }
        client.write_all(&[&QUERY_BYTES[6..], QUERY_BYTES].concat()).unwrap();
        for now in [0, 4000] {
            assert_eq!(streams.go_on(1, now), Step::Query(peer(2).ip(), b"query".to_vec()));
            assert_eq!(streams.watched().count(), 0, "one at a time");
            streams.answer(1, Some(b"ok".to_vec()), now);
            let mut answer = [0; 4];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"\0\x02ok");
        }
        streams.expire(8000);
        assert_eq!(streams.next_ms(), Some(9000));
        streams.expire(9000);
        assert_eq!(streams.next_ms(), None);
    }

    #[test]
    fn what_is_no_query_ends_the_connection() {
        for wrong in [&b"\0\0"[..], b"\xff\xff", b"\x10\x01", b"\0\x05que", b""] {
            let mut streams = Streams::default();
            let (mut client, _) = connect(&mut streams, 2);
            client.write_all(wrong).unwrap();
            drop(client);
            assert_eq!(streams.go_on(1, 0), Step::Gone, "{wrong:?}");
            assert_eq!(streams.watched().count(), 0);
        }
    }

    #[test]
    fn the_oldest_goes_first_its_own_before_others() {
        let mut streams = Streams::default();
        let mut held = Vec::new();
        let mut add = |streams: &mut Streams, host| {
            let (client, gone) = connect(streams, host);
            held.push(client);
            gone
        };
        assert!((0..8).all(|_| add(&mut streams, 1).is_none()));
        assert_eq!(add(&mut streams, 1), Some(1));
        assert!((10..65).all(|host| add(&mut streams, host).is_none()));
        assert_eq!(streams.watched().count(), 63);
        assert_eq!((add(&mut streams, 65), add(&mut streams, 66)), (None, Some(2)));
        assert_eq!(streams.watched().count(), 64);
    }
}
