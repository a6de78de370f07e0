// SPDX-License-Identifier: Apache-2.0
//! What happens to processes, as the kernel tells it: the process connector (Documentation/driver-api/connector.rst). Only for
//! CAP_NET_ADMIN, in the first user and pid namespace.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Call, Errno, Result};

/// `NETLINK_CONNECTOR`.
const CONNECTOR: u32 = 11;

/// `CN_IDX_PROC`, `CN_VAL_PROC`; also the group that is listened to.
const PROCESSES: u32 = 1;

const NLMSG_DONE: u16 = 3;

/// Before the event: `struct nlmsghdr`, then `struct cn_msg`.
const HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A process (not a thread) was made.
    Born(i32),
    /// A process began another program.
    Executed(i32),
    /// A process has ended.
    Ended(i32),
    /// More has happened than the socket had room for.
    Lost,
}

/// A socket that hears of every process.
#[derive(Debug)]
pub struct ProcessEvents(OwnedFd);

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ProcessEvents {
    /// Listens.
    ///
    /// # Errors
    /// socket(2)'s, bind(2)'s: `EPERM`; `EPROTONOSUPPORT` for a kernel without it; `EOPNOTSUPP` when the kernel says nothing at
    /// all, as in another pid or user namespace than the first.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = std::num::NonZeroU32::new(CONNECTOR).map(Protocol::from_raw);
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)
            .call(|| "socket(AF_NETLINK, NETLINK_CONNECTOR)")?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, PROCESSES)).call(|| "bind(CN_IDX_PROC)")?;
        // As much as may wait: a shell script makes a thousand processes while we look at them.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20).ok();
        rustix::net::sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .call(|| "send(PROC_CN_MCAST_LISTEN)")?;
        let listening = Self(socket);
        match listening.is_answered()? {
            true => Ok(listening),
            false => Err(crate::Error::new("recv(PROC_CN_MCAST_LISTEN): no answer", Errno::OPNOTSUPP)),
        }
    }

    /// Is the request answered? That is so by the time it is sent, or never.
    fn is_answered(&self) -> Result<bool> {
        const PATIENCE_MS: u64 = 20;
        crate::event::wait(&[(self.as_fd(), crate::event::Interest::Read)], Some(PATIENCE_MS))?;
        let mut answered = false;
        self.each(&mut |bytes| answered |= word(bytes, 0) == Some(0))?;
        Ok(answered)
    }

    /// What waits to be heard, without waiting.
    ///
    /// # Errors
    /// recv(2)'s.
    pub fn heard(&self) -> Result<Vec<ProcessEvent>> {
        let mut events = Vec::new();
        let lost = self.each(&mut |bytes| events.extend(event(bytes)))?;
        events.extend(lost.then_some(ProcessEvent::Lost));
        Ok(events)
    }

    /// Gives each message that waits to `told`; were there more than there was room for?
    fn each(&self, told: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let (mut lost, mut buffer) = (false, [MaybeUninit::<u8>::uninit(); 512]);
        loop {
            match rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok(((bytes, _), _)) => told(bytes),
                Err(Errno::AGAIN) => return Ok(lost),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => lost = true,
                Err(errno) => return Err(errno).call(|| "recv(NETLINK_CONNECTOR)"),
            }
        }
    }
}

/// `PROC_CN_MCAST_LISTEN`.
fn request() -> Vec<u8> {
    const LISTEN: u32 = 1;
    let length = u32::try_from(HEADER + CONNECTOR_HEADER + 4).unwrap_or(40);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NLMSG_DONE.to_ne_bytes());
    bytes.extend([0; 10]);
    for word in [PROCESSES, PROCESSES, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(4_u16.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes
}

/// A word of the event in a message.
fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(HEADER + CONNECTOR_HEADER + at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// `struct proc_event`: what, processor, time (8 bytes), then what belongs to it.
fn event(bytes: &[u8]) -> Option<ProcessEvent> {
    const FORK: u32 = 0x1;
    const EXEC: u32 = 0x2;
    const EXIT: u32 = 0x8000_0000;
    const DATA: usize = 16;
    let word = |at: usize| word(bytes, at);
    let what = word(0)?.cast_unsigned();
    // A thread has another number than its process.
    let process =
        |at: usize| Some((word(DATA + at)?, word(DATA + at + 4)?)).filter(|(thread, process)| thread == process);
    match what {
        FORK => process(8).map(|(_, pid)| ProcessEvent::Born(pid)),
        EXEC => process(0).map(|(_, pid)| ProcessEvent::Executed(pid)),
        EXIT => process(0).map(|(_, pid)| ProcessEvent::Ended(pid)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(what: u32, words: [i32; 4]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + CONNECTOR_HEADER];
        bytes.extend(what.to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(words.into_iter().flat_map(i32::to_ne_bytes));
        bytes
    }

    #[test]
    fn threads_are_no_processes() {
        assert_eq!(event(&message(1, [1, 1, 7, 7])), Some(ProcessEvent::Born(7)));
        assert_eq!(event(&message(1, [1, 1, 8, 7])), None);
        assert_eq!(event(&message(2, [7, 7, 0, 0])), Some(ProcessEvent::Executed(7)));
        assert_eq!(event(&message(0x8000_0000, [7, 7, 0, 0])), Some(ProcessEvent::Ended(7)));
        assert_eq!(event(&message(4, [7, 7, 0, 0])), None);
    }

    #[test]
    fn a_child_is_heard_of() {
        // Without the right, in another namespace, or without the kernel's option there is nothing to hear.
        let Ok(events) = ProcessEvents::open() else { return };
        let child = crate::namespace::child(crate::namespace::NamespaceSet::EMPTY, || 0).unwrap();
        crate::process::wait(&child.pidfd).unwrap();
        let heard = events.heard().unwrap();
        assert!(heard.contains(&ProcessEvent::Born(child.pid)), "{heard:?}");
    }

    proptest! {
        #[test]
        fn whatever_is_heard(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(event(&bytes).is_none() || bytes.len() >= HEADER + CONNECTOR_HEADER + 24);
        }
    }
}
