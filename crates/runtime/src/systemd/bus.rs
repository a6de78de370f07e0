// SPDX-License-Identifier: Apache-2.0
//! A connection to systemd: directly, or through the message bus.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::time::monotonic_ms;

use super::Error;
use super::read::{Message, Reader};
use super::wire::{self, Call, START, Writer};

/// Which manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The host's.
    System,
    /// A user's.
    User,
}

/// Where a manager is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    /// Which manager.
    pub manager: Manager,
    /// The user who asks, as the other side sees them (not as a user namespace does); also whose manager it is.
    pub uid: u32,
    /// D-Bus addresses (`unix:path=…`) instead of the usual places.
    pub address: Option<String>,
}

/// How long a method may take, milliseconds.
pub(super) const PATIENCE: u64 = 25_000;

/// The longest line of the greeting.
const LINE: usize = 4096;

/// How many signals and replies are kept for later.
const HELD: usize = 256;

/// The largest of those, as a body.
const HELD_BODY: usize = 4096;

const BUS: &str = "org.freedesktop.DBus";

/// A moment after which nothing is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(u64);

impl Deadline {
    pub(super) fn after(milliseconds: u64) -> Self {
        Self(monotonic_ms().saturating_add(milliseconds))
    }

    fn left(self) -> Result<Duration, Error> {
        match self.0.saturating_sub(monotonic_ms()) {
            0 => Err(Error::Timeout),
            left => Ok(Duration::from_millis(left)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Place {
    /// systemd itself is on the other side, and no bus.
    fn is_direct(&self) -> bool {
        matches!(self, Self::Path(path) if path.ends_with("systemd/private"))
    }

    fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Path(path) => UnixStream::connect(path),
            Self::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        }
    }
}

impl Bus {
    fn places(&self) -> Result<Vec<Place>, Error> {
        let usual = |paths: &[String]| paths.iter().map(|path| Place::Path(path.into())).collect();
        let (private, bus) = ("/run/systemd/private".to_owned(), "/run/dbus/system_bus_socket".to_owned());
        Ok(match (&self.address, self.manager) {
            (Some(address), _) => parse_address(address)?,
            (None, Manager::System) if self.uid == 0 => usual(&[private, bus]),
            (None, Manager::System) => usual(&[bus]),
            (None, Manager::User) => {
                let directory = format!("/run/user/{}", self.uid);
                usual(&[format!("{directory}/systemd/private"), format!("{directory}/bus")])
            }
        })
    }
}

/// The places of a list of addresses that are sockets of this host.
fn parse_address(text: &str) -> Result<Vec<Place>, Error> {
    let wrong = || Error::Invalid(format!("{text:?} is not an address of D-Bus that can be used"));
    let mut places = Vec::new();
    for address in text.split(';') {
        let Some(pairs) = address.strip_prefix("unix:") else { continue };
        for (key, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            match key {
                "path" => places.push(Place::Path(OsString::from_vec(unescape(value).ok_or_else(wrong)?).into())),
                "abstract" => places.push(Place::Abstract(unescape(value).ok_or_else(wrong)?)),
                _ => {}
            }
        }
    }
    if places.is_empty() { Err(wrong()) } else { Ok(places) }
}

/// `%20` is a space.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

/// `1000` is `31303030`.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// One side of a conversation.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// What has come and is not a message yet.
    incoming: Vec<u8>,
    /// What is sent with the next flush.
    outgoing: Vec<u8>,
    serial: u32,
    direct: bool,
    /// Messages that somebody will ask for, the oldest first.
    held: Vec<Message>,
}

impl Connection {
    /// To the first place where somebody is who takes us.
    pub(super) fn open(bus: &Bus, deadline: Deadline) -> Result<Self, Error> {
        let mut reasons = Vec::new();
        for place in bus.places()? {
            match Self::open_at(&place, bus.uid, deadline) {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let name = match &place {
                        Place::Path(path) => path.display().to_string(),
                        Place::Abstract(name) => format!("@{}", Path::new(&OsString::from_vec(name.clone())).display()),
                    };
                    reasons.push(format!("{name}: {error}"));
                }
            }
        }
        Err(Error::Unreachable(reasons.join("; ")))
    }

    fn open_at(place: &Place, uid: u32, deadline: Deadline) -> Result<Self, Error> {
        let stream = place.connect()?;
        let direct = place.is_direct();
        let (incoming, outgoing, held) = (Vec::new(), Vec::new(), Vec::new());
        let mut connection = Self { stream, incoming, outgoing, serial: 0, direct, held };
        // BEGIN is not kept for later: a systemd that reads it together with the first message does not look at that
        // one until another comes.
        connection.outgoing = format!("\0AUTH EXTERNAL {}\r\nBEGIN\r\n", hex(&uid.to_string())).into_bytes();
        connection.flush(deadline)?;
        let line = connection.line(deadline)?;
        if !line.starts_with("OK ") {
            return Err(Error::Refused(line));
        }
        if !direct {
            connection.bus_call("Hello", None, deadline)?;
        }
        Ok(connection)
    }

    /// Whether there is nobody but systemd on the other side.
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    /// A call of the bus itself.
    pub(super) fn bus_call(
        &mut self,
        member: &'static str,
        word: Option<&str>,
        deadline: Deadline,
    ) -> Result<Message, Error> {
        let mut body = Writer::default();
        word.into_iter().for_each(|word| body.string(word));
        let signature = if word.is_some() { "s" } else { "" };
        let path = "/org/freedesktop/DBus";
        self.call(&Call { destination: Some(BUS), path, interface: BUS, member, signature, body }, deadline)
    }

    /// Asks, and waits for the answer.
    pub(super) fn call(&mut self, call: &Call<'_>, deadline: Deadline) -> Result<Message, Error> {
        self.serial = self.serial.checked_add(1).ok_or(Error::Malformed)?;
        let serial = self.serial;
        let unsayable = || Error::Invalid(format!("{}: too long, or a NUL within", call.member));
        self.outgoing.extend(call.encode(serial).ok_or_else(unsayable)?);
        self.flush(deadline)?;
        let reply = loop {
            let message = self.message(deadline)?;
            if message.reply_serial == Some(serial) && matches!(message.kind, wire::RETURN | wire::ERROR) {
                break message;
            }
            self.hold(message);
        };
        if reply.kind == wire::RETURN {
            return Ok(reply);
        }
        let message = if reply.signature.starts_with('s') { Reader::of(&reply).string() } else { None };
        let message = message.unwrap_or_default().to_owned();
        Err(Error::Method { method: call.member.to_owned(), name: reply.error.unwrap_or_default(), message })
    }

    /// The next signal, held or to come.
    pub(super) fn signal(&mut self, deadline: Deadline) -> Result<Message, Error> {
        if !self.held.is_empty() {
            return Ok(self.held.remove(0));
        }
        loop {
            let message = self.message(deadline)?;
            if message.kind == wire::SIGNAL {
                return Ok(message);
            }
        }
    }

    fn hold(&mut self, message: Message) {
        if message.kind == wire::SIGNAL && message.body.len() <= HELD_BODY {
            if self.held.len() >= HELD {
                self.held.remove(0);
            }
            self.held.push(message);
        }
    }

    fn message(&mut self, deadline: Deadline) -> Result<Message, Error> {
        self.fill(START, deadline)?;
        let length = self.incoming.get(..START).and_then(Message::length).ok_or(Error::Malformed)?;
        self.fill(length, deadline)?;
        let rest = self.incoming.split_off(length);
        let message = std::mem::replace(&mut self.incoming, rest);
        Message::parse(&message).ok_or(Error::Malformed)
    }

    fn line(&mut self, deadline: Deadline) -> Result<String, Error> {
        loop {
            if let Some(end) = self.incoming.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.incoming.split_off(end + 2);
                let line = std::mem::replace(&mut self.incoming, rest);
                return line.get(..end).map(|line| line.escape_ascii().to_string()).ok_or(Error::Malformed);
            }
            if self.incoming.len() > LINE {
                return Err(Error::Malformed);
            }
            self.fill(self.incoming.len() + 1, deadline)?;
        }
    }

    /// Reads until there are so many bytes.
    fn fill(&mut self, count: usize, deadline: Deadline) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        while self.incoming.len() < count {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => self.incoming.extend(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush(&mut self, deadline: Deadline) -> Result<(), Error> {
        let outgoing = std::mem::take(&mut self.outgoing);
        let mut rest = outgoing.as_slice();
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(deadline.left()?))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let path = |path: &str| Place::Path(path.into());
        let many = "tcp:host=x;unix:path=/run/a%20b,guid=0;unix:guid=1,abstract=/tmp/x";
        assert_eq!(parse_address(many).unwrap(), [path("/run/a b"), Place::Abstract(b"/tmp/x".to_vec())]);
        for wrong in ["", "unix:", "unix:path=%2", "unix:path=%+1", "tcp:host=a", "/run/bus"] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn usual_places() {
        let places = |manager, uid| Bus { manager, uid, address: None }.places().unwrap();
        let root = places(Manager::System, 0);
        assert_eq!(root.iter().map(Place::is_direct).collect::<Vec<_>>(), [true, false]);
        assert_eq!(places(Manager::System, 7), root[1..]);
        let user = [Place::Path("/run/user/7/systemd/private".into()), Place::Path("/run/user/7/bus".into())];
        assert_eq!(places(Manager::User, 7), user);
        assert_eq!(hex("1000"), "31303030");
    }
}
