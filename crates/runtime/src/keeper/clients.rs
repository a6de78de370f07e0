// SPDX-License-Identifier: Apache-2.0
//! Those who are connected to a keeper.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::Errno;
use kernel::event::{self, Interest};

use crate::log::Stream;
use crate::protocol::{Answer, LARGEST, Request};

/// The most at once: more are turned away.
const MOST: usize = 256;

/// One connection.
pub(super) struct Client {
    socket: OwnedFd,
    /// Answers that did not fit into the socket yet.
    queue: VecDeque<Vec<u8>>,
    attached: bool,
    input: bool,
    waits: bool,
    /// Wants to be told when everything is up.
    waits_ready: bool,
    /// Wants to be told when it has been started again.
    waits_start: bool,
    first: bool,
    gone: bool,
}

impl Client {
    /// The one who started the container: hears the output from the first byte on when it asks before it runs.
    pub(super) fn first(socket: OwnedFd) -> Self {
        let mut client = Self::new(socket);
        client.first = true;
        client
    }

    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            attached: false,
            input: false,
            waits: false,
            waits_ready: false,
            waits_start: false,
            first: false,
            gone: false,
        }
    }

    fn send(&mut self, message: Vec<u8>) {
        self.queue.push_back(message);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.queue.front() {
            match kernel::socket::send(&self.socket, &[message], &[]) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.is(Errno::AGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    self.queue.clear();
                }
            }
        }
    }
}

impl Drop for Client {
    /// A socket that is closed with something unread in it takes what was sent last away from the other side
    /// (`ECONNRESET`): nothing more may come, and what has come is read.
    fn drop(&mut self) {
        kernel::socket::stop_receiving(&self.socket);
        let mut buffer = [0; 64];
        while let Ok((1.., _)) = kernel::socket::receive(&self.socket, &mut buffer) {}
    }
}

/// All of them.
pub(super) struct Clients(Vec<Client>);

impl Clients {
    pub(super) fn new(first: Client) -> Self {
        Self(vec![first])
    }

    /// Takes a new one in: only root may talk to a keeper.
    pub(super) fn admit(&mut self, socket: OwnedFd) {
        let allowed = kernel::socket::peer_uid(&socket).is_ok_and(|uid| uid == 0 || uid == kernel::process::euid());
        if allowed && self.0.len() < MOST {
            self.0.push(Client::new(socket));
        }
    }

    /// Does everybody who listens keep up?
    pub(super) fn keep_up(&self) -> bool {
        self.0.iter().all(|client| !client.attached || client.queue.is_empty())
    }

    pub(super) fn watch<'a>(&'a self, watched: &mut Vec<(BorrowedFd<'a>, Interest)>, input: bool) {
        for client in &self.0 {
            if input || !client.input {
                watched.push((client.socket.as_fd(), Interest::Read));
            }
            if !client.queue.is_empty() {
                watched.push((client.socket.as_fd(), Interest::Write));
            }
        }
    }

    /// What they have asked since; those who hung up are let go.
    pub(super) fn requests(&mut self, input: bool) -> Vec<(usize, Request, Vec<OwnedFd>)> {
        let mut requests = Vec::new();
        let mut buffer = vec![0; LARGEST];
        for (index, client) in self.0.iter_mut().enumerate() {
            if client.gone || (client.input && !input) {
                continue;
            }
            match kernel::socket::receive(&client.socket, &mut buffer) {
                Ok((0, _)) => {
                    client.gone = true;
                    if client.input {
                        requests.push((index, Request::CloseInput, Vec::new()));
                    }
                }
                Ok((length, descriptors)) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    requests.extend(Request::decode(message).map(|request| (index, request, descriptors)));
                }
                Err(error) if error.is(Errno::AGAIN) => {}
                Err(_) => client.gone = true,
            }
        }
        requests
    }

    pub(super) fn attach(&mut self, index: usize, input: bool) {
        if let Some(client) = self.0.get_mut(index) {
            (client.attached, client.input, client.waits) = (true, input, true);
        }
    }

    pub(super) fn wait(&mut self, index: usize) {
        if let Some(client) = self.0.get_mut(index) {
            client.waits = true;
        }
    }

    pub(super) fn wait_ready(&mut self, index: usize) {
        if let Some(client) = self.0.get_mut(index) {
            (client.waits, client.waits_ready) = (true, true);
        }
    }

    pub(super) fn wait_start(&mut self, index: usize) {
        if let Some(client) = self.0.get_mut(index) {
            (client.waits, client.waits_start) = (true, true);
        }
    }

    /// It has been started: who has asked for that hears it once.
    pub(super) fn tell_started(&mut self) {
        for client in self.0.iter_mut().filter(|client| client.waits_start) {
            client.waits_start = false;
            client.send(Answer::Done.encode());
        }
    }

    /// Everything is up: who has asked hears it once.
    pub(super) fn tell_ready(&mut self) {
        for client in self.0.iter_mut().filter(|client| client.waits_ready) {
            client.waits_ready = false;
            client.send(Answer::Ready.encode());
        }
    }

    pub(super) fn tell(&mut self, index: usize, answer: &Answer) {
        if let Some(client) = self.0.get_mut(index) {
            client.send(answer.encode());
        }
    }

    pub(super) fn tell_first(&mut self, answer: &Answer) {
        if let Some(client) = self.0.iter_mut().find(|client| client.first) {
            client.send(answer.encode());
        }
    }

    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        for client in self.0.iter_mut().filter(|client| client.attached && !client.gone) {
            client.send(Answer::Output(stream, bytes.to_vec()).encode());
        }
    }

    pub(super) fn tell_end(&mut self, code: i32) {
        for client in self.0.iter_mut().filter(|client| client.waits) {
            client.send(Answer::Exited { code }.encode());
        }
    }

    pub(super) fn flush(&mut self) {
        for client in &mut self.0 {
            client.flush();
        }
        self.0.retain(|client| !client.gone);
    }

    /// The last words: waits until all have heard them, for so long at most.
    pub(super) fn flush_within(&mut self, milliseconds: u64) {
        let deadline = kernel::time::monotonic_ms() + milliseconds;
        loop {
            self.flush();
            let waiting: Vec<_> = self
                .0
                .iter()
                .filter(|client| !client.queue.is_empty())
                .map(|client| (client.socket.as_fd(), Interest::Write))
                .collect();
            let now = kernel::time::monotonic_ms();
            if waiting.is_empty() || now >= deadline {
                return;
            }
            event::wait(&waiting, Some(deadline - now)).ok();
        }
    }
}
