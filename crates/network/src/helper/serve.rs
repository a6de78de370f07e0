// SPDX-License-Identifier: Apache-2.0
//! The loop of a helper: one thread that waits for everything at once and never for one client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::event::{self, Interest};
use kernel::inotify::Inotify;
use kernel::lock::Lock;
use kernel::{Errno, Error, Result, inet, privilege, process, root, signal, time};

use super::dns::{self, Transport, Verdict};
use super::forward::{Asker, Finished, Forward, Question};
use super::limit::Limit;
use super::names::Client;
use super::sockets::Sockets;
use super::store::Store;
use super::stream::{Step, Streams};
use super::{Config, advert, dhcp4, dhcp6};

/// Whoever this is, it owns nothing.
const NOBODY: u32 = 65_534;

const SIGTERM: i32 = 15;
const RLIMIT_NOFILE: u32 = 7;
/// The tables of streams and of queries upstream, and the rest.
const FILES: u64 = 1024;

/// What is taken from one socket before the others have their turn.
const TURN: usize = 64;

/// The largest datagram.
const DATAGRAM: usize = 65_535;

const DHCP6_CLIENT: u16 = 546;

/// Milliseconds between advertisements that nobody asked for: these, and up to so many more; and for the first ones.
const ADVERTISE_MS: u64 = 150_000;
const ADVERTISE_MORE_MS: u64 = 100_000;
const ADVERTISE_FIRST_MS: u64 = 10_000;
const FIRST: u32 = 3;
/// The least between two that go to all hosts (RFC 4861 has 3 s; a device without an address should not wait so long).
const ADVERTISE_LEAST_MS: u64 = 500;

/// A helper that hears, but does not answer yet.
#[derive(Debug)]
pub struct Helper {
    sockets: Sockets,
    config: Config,
    networks: OwnedFd,
    inotify: Inotify,
}

/// What is ready.
#[derive(Clone, Copy)]
enum Source {
    Signal,
    Files,
    Datagrams(usize),
    Listener(usize),
    Dhcp4,
    Dhcp6,
    Routers,
    Stream(u64),
}

impl Helper {
    /// Opens the sockets, in the network namespace of the caller, for the network with this directory (whose parent has
    /// those of the other networks).
    ///
    /// # Errors
    /// Those of the sockets: `EADDRINUSE` when somebody else answers there, `EADDRNOTAVAIL` and `ENODEV` when the bridge
    /// is not as the configuration says; `EINVAL` when the directory is not named like the network.
    pub fn open(directory: &Path, config: Config) -> Result<Self> {
        let (Some(networks), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Err(Error::new(format!("network directory {directory:?}"), Errno::INVAL));
        };
        if name != config.network.as_str() {
            return Err(Error::new(format!("network directory {directory:?} of {:?}", config.network), Errno::INVAL));
        }
        let networks = root::open_directory_path(networks)?;
        Ok(Self { sockets: Sockets::open(&config)?, config, networks, inotify: Inotify::open()? })
    }

    /// Gives up all rights and answers until `SIGTERM` comes or `helper.json` is gone.
    ///
    /// `kept` says as long as it is held that there is a helper.
    ///
    /// For a process of its own with a single thread, which is to end by [`process::exit_now`] after it: every descriptor
    /// but the first three and the helper's is closed, the root is the directory of the networks, the user nobody.
    ///
    /// # Errors
    /// Those of giving up rights, of reading the networks' files for the first time, or ppoll(2)'s.
    pub fn serve(self, kept: Option<&Lock>) -> Result<()> {
        let signals = signal::descriptor(&[SIGTERM])?;
        self.close_others(&signals, kept)?;
        process::set_limit(0, RLIMIT_NOFILE, FILES, FILES)?;
        let Self { sockets, config, networks, inotify } = self;
        privilege::give_up(&networks, NOBODY)?;
        drop(networks);
        let mut store = Store::new(config, inotify, PathBuf::from("/"));
        store.read_all()?;
        Loop::new(sockets, store, signals).run()
    }

    fn close_others(&self, signals: &OwnedFd, kept: Option<&Lock>) -> Result<()> {
        let own = [signals, &self.networks, self.inotify.descriptor()];
        let kept = kept.map(Lock::descriptor);
        process::close_from(3, &self.sockets.all().chain(own).chain(kept).collect::<Vec<_>>())
    }
}

struct Loop {
    sockets: Sockets,
    store: Store,
    signals: OwnedFd,
    streams: Streams,
    forward: Forward,
    limit: Limit<Option<IpAddr>>,
    buffer: Vec<u8>,
    /// Which of several addresses is told first.
    turn: usize,
    /// When all hosts are told next that there is a router, when they last were, and how often.
    advertise_ms: u64,
    advertised_ms: u64,
    advertised: u32,
    now_ms: u64,
}

impl Loop {
    fn new(sockets: Sockets, store: Store, signals: OwnedFd) -> Self {
        Self {
            sockets,
            store,
            signals,
            streams: Streams::default(),
            forward: Forward::default(),
            limit: Limit::default(),
            buffer: vec![0; DATAGRAM],
            turn: 0,
            advertise_ms: 0,
            advertised_ms: 0,
            advertised: 0,
            now_ms: time::monotonic_ms(),
        }
    }

    fn run(mut self) -> Result<()> {
        while self.store.is_told {
            self.advertise();
            let (sources, ready) = self.wait()?;
            self.now_ms = time::monotonic_ms();
            self.refresh();
            let (single, pending) = ready.split_at_checked(sources.len()).unwrap_or_default();
            // First those that have waited longest; new queries upstream come behind these in the table.
            let servers = &self.store.config.upstream;
            let finished = self.forward.go_on(pending, servers, self.now_ms, &mut self.buffer);
            finished.into_iter().for_each(|one| self.finish(one));
            for (source, _) in sources.into_iter().zip(single).filter(|(_, ready)| **ready) {
                match source {
                    Source::Signal => match signal::next(&self.signals) {
                        Some(_) => return Ok(()),
                        None => continue,
                    },
                    Source::Files => {}
                    Source::Datagrams(number) => self.datagrams(number),
                    Source::Listener(number) => self.accept(number),
                    Source::Dhcp4 => self.dhcp4(),
                    Source::Dhcp6 => self.dhcp6(),
                    Source::Routers => self.routers(),
                    Source::Stream(id) => self.stream(id),
                }
            }
            self.streams.expire(self.now_ms);
        }
        Ok(())
    }

    /// What is there to be waited for, and whether it is ready; behind it, the same of the queries upstream.
    fn wait(&self) -> Result<(Vec<Source>, Vec<bool>)> {
        let mut sources = vec![Source::Signal, Source::Files];
        let mut watched = vec![(self.signals.as_fd(), Interest::Read), (self.store.as_fd(), Interest::Read)];
        let sockets = &self.sockets;
        let single =
            [(&sockets.dhcp4, Source::Dhcp4), (&sockets.dhcp6, Source::Dhcp6), (&sockets.routers, Source::Routers)];
        let datagrams = sockets.datagrams.iter().enumerate().map(|(number, fd)| (fd, Source::Datagrams(number)));
        let listeners = sockets.listeners.iter().enumerate().map(|(number, fd)| (fd, Source::Listener(number)));
        let single = single.into_iter().filter_map(|(fd, source)| Some((fd.as_ref()?, source)));
        for (fd, source) in datagrams.chain(listeners).chain(single) {
            sources.push(source);
            watched.push((fd.as_fd(), Interest::Read));
        }
        for (id, fd, interest) in self.streams.watched() {
            sources.push(Source::Stream(id));
            watched.push((fd, interest));
        }
        watched.extend(self.forward.watched());
        let advertise = self.sockets.routers.is_some().then_some(self.advertise_ms);
        let next = [advertise, self.streams.next_ms(), self.forward.next_ms()].into_iter().flatten().min();
        // The clock has moved since this turn began, and a millisecond too early is a turn for nothing.
        let left = next.map(|next| (next + 1).saturating_sub(time::monotonic_ms()));
        Ok((sources, event::wait(&watched, left)?))
    }

    /// The files as they are now. What cannot be read now is as it was before: a helper that ends helps nobody.
    fn refresh(&mut self) {
        self.store.refresh().ok();
    }

    fn datagrams(&mut self, number: usize) {
        for _ in 0..TURN {
            let Some(socket) = self.sockets.datagrams.get(number) else { return };
            let Ok(Some((length, from))) = inet::receive(socket, &mut self.buffer) else { return };
            self.store.refresh().ok();
            let query = self.buffer.get(..length).unwrap_or_default().to_vec();
            let asker = Asker::Datagram(number, from);
            if let Some(answer) = self.decide(&query, from.ip(), asker) {
                self.finish(Finished { asker, answer });
            }
        }
    }

    /// What to say now: nothing when there is nothing to be said, or when somebody else is asked first.
    fn decide(&mut self, query: &[u8], from: IpAddr, asker: Asker) -> Option<Vec<u8>> {
        let from = from.to_canonical();
        let client = self.store.names.client(from)?;
        // All that we do not know share one's part.
        let share = matches!(client, Client::Container(_)).then_some(from);
        if !self.limit.take(share, self.now_ms) {
            return None;
        }
        self.turn = self.turn.wrapping_add(1);
        let transport = if matches!(asker, Asker::Stream(_)) { Transport::Tcp } else { Transport::Udp };
        let (config, names) = (&self.store.config, &self.store.names);
        match dns::decide(query, from, transport, config, names, self.turn) {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Drop => None,
            Verdict::Forward { limit } => {
                let question = Question { bytes: query, asker, client, limit };
                self.forward.start(&question, &config.upstream, self.now_ms).map(|finished| finished.answer)
            }
        }
    }

    fn finish(&mut self, finished: Finished) {
        match finished.asker {
            Asker::Datagram(number, to) => {
                if let Some(socket) = self.sockets.datagrams.get(number) {
                    // One that does not arrive is asked for again.
                    inet::send(socket, &finished.answer, to).ok();
                }
            }
            Asker::Stream(id) => self.streams.answer(id, Some(finished.answer), self.now_ms),
        }
    }

    fn accept(&mut self, number: usize) {
        for _ in 0..TURN {
            let Some(listener) = self.sockets.listeners.get(number) else { return };
            let Ok(Some((socket, peer))) = inet::accept(listener) else { return };
            if self.store.names.client(peer.ip()).is_none() {
                continue;
            }
            if let Some(gone) = self.streams.add(socket, peer, self.now_ms) {
                self.forward.forget(gone);
            }
        }
    }

    fn stream(&mut self, id: u64) {
        match self.streams.go_on(id, self.now_ms) {
            Step::Wait => {}
            Step::Gone => self.forward.forget(id),
            Step::Query(from, query) => {
                let asker = Asker::Stream(id);
                let answer = self.decide(&query, from, asker);
                if answer.is_some() || !self.forward.is_asked_by(asker) {
                    self.streams.answer(id, answer, self.now_ms);
                }
            }
        }
    }

    fn dhcp4(&mut self) {
        for _ in 0..TURN {
            let Some(socket) = &self.sockets.dhcp4 else { return };
            let Ok(Some((length, _))) = inet::receive(socket, &mut self.buffer) else { return };
            self.store.refresh().ok();
            let packet = self.buffer.get(..length).unwrap_or_default();
            if let Some((answer, to)) = dhcp4::answer(packet, &self.store.config, &self.store.names) {
                inet::send(socket, &answer, to.into()).ok();
            }
        }
    }

    fn dhcp6(&mut self) {
        for _ in 0..TURN {
            let Some(socket) = &self.sockets.dhcp6 else { return };
            let Ok(Some((length, SocketAddr::V6(from)))) = inet::receive(socket, &mut self.buffer) else { return };
            self.store.refresh().ok();
            let packet = self.buffer.get(..length).unwrap_or_default();
            if let Some(answer) = dhcp6::answer(packet, *from.ip(), &self.store.config, &self.store.names) {
                inet::send(socket, &answer, self.on_link(*from.ip(), DHCP6_CLIENT)).ok();
            }
        }
    }

    fn on_link(&self, address: Ipv6Addr, port: u16) -> SocketAddr {
        SocketAddrV6::new(address, port, 0, self.sockets.device).into()
    }

    /// Answers those who look for a router: one with an address alone, all others together.
    fn routers(&mut self) {
        for _ in 0..TURN {
            let Some(socket) = &self.sockets.routers else { return };
            let Ok(Some((length, SocketAddr::V6(from)))) = inet::receive(socket, &mut self.buffer) else { return };
            let message = self.buffer.get(..length).unwrap_or_default();
            if !advert::is_solicitation(message, *from.ip()) {
                continue;
            }
            if from.ip().is_unspecified() || !self.is_on_link() {
                self.advertise_ms = self.advertise_ms.min(self.advertised_ms + ADVERTISE_LEAST_MS);
            } else if let Some(answer) = advert::advertisement(&self.store.config) {
                inet::send(socket, &answer, self.on_link(*from.ip(), 0)).ok();
            }
        }
    }

    /// Has the bridge its address on the link? While the kernel looks for duplicates of it, another one would be taken, and
    /// hosts believe no router that is not of the link.
    fn is_on_link(&self) -> bool {
        let source = inet::source_to(self.on_link(advert::HOSTS, dhcp6::SERVER_PORT));
        source.is_ok_and(|source| matches!(source.ip(), IpAddr::V6(own) if own.is_unicast_link_local()))
    }

    /// Tells all hosts when it is time to.
    fn advertise(&mut self) {
        let Some(socket) = self.sockets.routers.as_ref().filter(|_| self.now_ms >= self.advertise_ms) else { return };
        let Some(message) = advert::advertisement(&self.store.config) else { return };
        let sent = self.is_on_link() && inet::send(socket, &message, self.on_link(advert::HOSTS, 0)).is_ok();
        let random = u64::from(u16::from_ne_bytes(time::random())) * ADVERTISE_MORE_MS / u64::from(u16::MAX);
        let pause = match sent {
            false => ADVERTISE_LEAST_MS,
            true if self.advertised < FIRST => ADVERTISE_FIRST_MS,
            true => ADVERTISE_MS + random,
        };
        self.advertised += u32::from(sent);
        self.advertised_ms = self.now_ms;
        self.advertise_ms = self.now_ms + pause;
    }
}
