// SPDX-License-Identifier: Apache-2.0
//! Netlink: requests to the kernel about devices, addresses, routes, queues and packet filters, and its answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Call, Errno, Error, Result};
use crate::types::NamespaceKind;

mod message;

pub use message::{Attributes, Message, Received, flags, messages};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOL_NETLINK: libc::c_int = 270;
const NETLINK_CAP_ACK: libc::c_int = 10;
const NETLINK_EXT_ACK: libc::c_int = 11;
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// How often a list that changes while it is read is read again.
const ATTEMPTS: u32 = 20;

/// The kernel sends dumps in pieces of at most 32 KiB.
const BUFFER: usize = 64 * 1024;

/// What netlink family a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Devices, addresses, routes, queues (rtnetlink(7)).
    Route,
    /// Packet filters (nfnetlink).
    Netfilter,
}

/// A socket to the kernel. It belongs to the network namespace it was made in, wherever its holder goes later.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    /// The first of the last datagram: what is older is nobody's any more.
    first: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// A socket of the current network namespace.
    ///
    /// # Errors
    /// socket(2)'s: `EPROTONOSUPPORT` when the kernel lacks the family.
    pub fn open(family: Family) -> Result<Self> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(NETFILTER),
        };
        let call = || format!("socket(AF_NETLINK, {family:?})");
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .call(call)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).call(|| "bind(AF_NETLINK)")?;
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] {
            // Niceties of newer kernels: shorter answers, reasons in words, dumps of one device only.
            set_option(&fd, option).ok();
        }
        // A transaction of thousands of elements is one datagram.
        rustix::net::sockopt::set_socket_send_buffer_size_force(&fd, 32 << 20)
            .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(&fd, 32 << 20))
            .call(|| "setsockopt(SO_SNDBUF)")?;
        Ok(Self { fd, sequence: 0, first: 0 })
    }

    /// A socket of the network namespace that `namespace` stands for; the caller is where it was before.
    ///
    /// # Errors
    /// setns(2)'s or socket(2)'s.
    pub fn open_in(namespace: impl AsFd, family: Family) -> Result<Self> {
        within(namespace, || Self::open(family))?
    }

    /// Sends a request and waits until it is done.
    ///
    /// # Errors
    /// The kernel's errno, with its own words where it has some; `name` names the request.
    pub fn call<S: Into<String>>(&mut self, message: Message, name: impl FnOnce() -> S) -> Result<()> {
        self.transact(message).map_err(|failed| failed.named(name))
    }

    /// The same, for a caller that looks at the kernel's words before it makes an error of them.
    pub(crate) fn transact(&mut self, mut message: Message) -> std::result::Result<(), Failed> {
        message.add_flags(flags::ACK);
        self.send(&[message]).and_then(|first| self.hear(first, &mut |_| {}))
    }

    /// Sends a request and gives each message of the answer to `each`.
    ///
    /// # Errors
    /// The kernel's errno; `EINTR` when what was listed changed meanwhile and should be asked for again.
    pub fn ask<S: Into<String>>(
        &mut self,
        mut message: Message,
        name: impl FnOnce() -> S,
        each: &mut dyn FnMut(Received<'_>),
    ) -> Result<()> {
        // A list has an end of its own; one object only has that of an acknowledgement.
        if !message.has_flags(flags::DUMP) {
            message.add_flags(flags::ACK);
        }
        let answered = self.send(&[message]).and_then(|first| self.hear(first, each));
        answered.map_err(|failed| failed.named(name))
    }

    /// Everything that a [`flags::DUMP`] request lists and `read` can read; asks again when it changed meanwhile.
    ///
    /// # Errors
    /// The kernel's errno; `EINTR` when it changes all the time.
    pub(crate) fn list<T>(
        &mut self,
        message: &Message,
        name: &str,
        mut read: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut attempt = 0;
        loop {
            let mut all = Vec::new();
            match self.ask(message.clone(), || name, &mut |one| all.extend(read(one))) {
                Err(error) if error.is(Errno::INTR) && attempt < ATTEMPTS => attempt += 1,
                other => return other.map(|()| all),
            }
        }
    }

    /// Sends messages as one datagram, which the kernel works through; each that has [`flags::ACK`] is answered.
    /// The sequence number of the first.
    ///
    /// # Errors
    /// send(2)'s.
    pub fn send_all(&mut self, list: Vec<Message>) -> Result<u32> {
        self.send(&list).map_err(|failed| failed.named(|| "send(AF_NETLINK)"))
    }

    /// Waits for the acknowledgement of message `sequence`, or for the first error of an earlier one of the same datagram.
    ///
    /// # Errors
    /// The sequence number and the errno of the message that failed.
    pub fn wait_for(&mut self, sequence: u32) -> std::result::Result<(), Failed> {
        self.hear(sequence, &mut |_| {})
    }

    fn send(&mut self, list: &[Message]) -> std::result::Result<u32, Failed> {
        let first = self.sequence.wrapping_add(1);
        self.first = first;
        let mut bytes = Vec::with_capacity(list.iter().map(Message::len).sum());
        for message in list {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(message.clone().finish(self.sequence));
        }
        rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|errno| Failed { sequence: first, errno, words: None, offset: None })?;
        Ok(first)
    }

    /// Reads until the acknowledgement, the end of the list or the error of `sequence`; an error of a message before it ends
    /// the waiting too.
    fn hear(&mut self, sequence: u32, each: &mut dyn FnMut(Received<'_>)) -> std::result::Result<(), Failed> {
        let mut buffer = vec![0_u8; BUFFER];
        let mut interrupted = false;
        loop {
            let received = match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other.map_err(|errno| Failed { sequence, errno, words: None, offset: None })?,
            };
            let bytes = buffer.get(..received.0).unwrap_or_default();
            for one in messages(bytes) {
                // A batch that fails is answered more than once; the rest of that is no answer to this.
                if sequence.wrapping_sub(one.sequence) > sequence.wrapping_sub(self.first) {
                    continue;
                }
                interrupted |= one.sequence == sequence && one.flags & flags::INTERRUPTED != 0;
                match one.kind {
                    NLMSG_ERROR => {
                        if let Some(failed) = failure(&one) {
                            return Err(failed);
                        }
                        if one.sequence == sequence {
                            return Ok(());
                        }
                    }
                    NLMSG_DONE if one.sequence == sequence => {
                        let changed =
                            interrupted.then_some(Failed { sequence, errno: Errno::INTR, words: None, offset: None });
                        return failure(&one).or(changed).map_or(Ok(()), Err);
                    }
                    _ if one.sequence == sequence => each(one),
                    _ => {}
                }
            }
        }
    }
}

/// A message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which one.
    pub sequence: u32,
    /// Why.
    pub errno: Errno,
    /// Why, in the kernel's words.
    pub words: Option<String>,
    /// Where in the message the attribute begins that it is about.
    pub offset: Option<u32>,
}

impl Failed {
    /// As an error of the request that `name` names.
    pub fn named<S: Into<String>>(self, name: impl FnOnce() -> S) -> Error {
        let name: String = name().into();
        match self.words {
            Some(words) => Error::new(format!("{name}: {words}"), self.errno),
            None => Error::new(name, self.errno),
        }
    }
}

/// The errno of an answer, unless it is 0 (an acknowledgement, or the end of a list).
fn failure(one: &Received<'_>) -> Option<Failed> {
    let code = one.body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code >= 0 {
        return None;
    }
    // errno, then the header of the message that failed, then attributes.
    let more = one.attributes(4 + 16);
    let words = more.get_text(NLMSGERR_ATTR_MSG).filter(|_| one.kind == NLMSG_ERROR);
    let offset = more.get_u32(NLMSGERR_ATTR_OFFS).filter(|_| one.kind == NLMSG_ERROR);
    let errno = Errno::from_raw_os_error(code.checked_neg().unwrap_or(libc::EPROTO).clamp(1, 4095));
    Some(Failed { sequence: one.sequence, errno, words, offset })
}

fn set_option(fd: &OwnedFd, option: libc::c_int) -> Result<()> {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == -1 { Err(Error::last("setsockopt(SOL_NETLINK)")) } else { Ok(()) }
}

/// Does something in another network namespace and comes back. Only for a single thread: it is this one that goes there.
///
/// # Errors
/// setns(2)'s. When the way back fails too, the caller is in the wrong place: the process ends.
pub fn within<T>(namespace: impl AsFd, act: impl FnOnce() -> T) -> Result<T> {
    let before = crate::namespace::open(std::path::Path::new("/proc/thread-self/ns/net"))?;
    crate::namespace::join(namespace, NamespaceKind::Net.flag())?;
    let done = act();
    if crate::namespace::join(&before, NamespaceKind::Net.flag()).is_err() {
        // What would be changed from here on would be a container's when the host's is meant, or the other way round.
        std::process::abort();
    }
    Ok(done)
}
