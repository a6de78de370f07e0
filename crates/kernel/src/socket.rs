// SPDX-License-Identifier: Apache-2.0
//! Local sockets that keep message boundaries and carry descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Call, Errno, Result};

/// The most descriptors that one message carries (the kernel's SCM_MAX_FD is 253).
pub const MAX_DESCRIPTORS: usize = 250;

/// A connected pair.
///
/// # Errors
/// socketpair(2)'s.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)")
}

/// A path that stands for `name` below the open directory, however deep that is: an address has room for 107 bytes.
fn address(directory: impl AsFd, name: &str) -> Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd());
    SocketAddrUnix::new(Path::new(&path)).call(|| format!("bind({path:?})"))
}

/// A listening socket `name` in the directory, which must not have it yet.
///
/// # Errors
/// bind(2)'s or listen(2)'s.
pub fn listen_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)")?;
    rustix::net::bind(&socket, &address(&directory, name)?).call(|| format!("bind({name:?})"))?;
    rustix::net::listen(&socket, 64).call(|| "listen()")?;
    Ok(socket)
}

/// A connection to the socket `name` in the directory.
///
/// # Errors
/// connect(2)'s: `ENOENT`, `ECONNREFUSED` when nobody listens.
pub fn connect_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)")?;
    rustix::net::connect(&socket, &address(&directory, name)?).call(|| format!("connect({name:?})"))?;
    Ok(socket)
}

/// A socket `name` in the directory, which must not have it yet, to which anybody who reaches it may send single messages; who
/// has sent one, the kernel tells.
///
/// # Errors
/// bind(2)'s or setsockopt(2)'s.
pub fn mailbox_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .call(|| "socket(AF_UNIX, SOCK_DGRAM)")?;
    rustix::net::sockopt::set_socket_passcred(&socket, true).call(|| "setsockopt(SO_PASSCRED)")?;
    refuse_descriptors(&socket);
    rustix::net::bind(&socket, &address(&directory, name)?).call(|| format!("bind({name:?})"))?;
    rustix::fs::chmodat(&directory, name, rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::AtFlags::empty())
        .call(|| format!("chmod({name:?})"))?;
    Ok(socket)
}

/// Since Linux 6.16 nobody can make us close what they send: that may take for ever.
fn refuse_descriptors(socket: &OwnedFd) {
    const PASS_RIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the number lives through the call, which is told its length. Older kernels refuse, and go on as they did.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, PASS_RIGHTS, (&raw const off).cast(), length);
    }
}

/// The next message of a mailbox: its length, and the process that has sent it, 0 for one that this process namespace does not
/// know. Descriptors that come with it go nowhere.
///
/// # Errors
/// recvmsg(2)'s.
pub fn mail(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<(usize, i32)>> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // Room for the sender (a header and `struct ucred`), and for no descriptor.
    let mut control = [0_u64; 4];
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the buffers live through the call, which is told their lengths.
    let read = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if read < 0 {
        let error = crate::Error::last("recvmsg()");
        return if error.is(Errno::AGAIN) || error.is(Errno::INTR) { Ok(None) } else { Err(error) };
    }
    // struct cmsghdr: length, then level and type in one word; struct ucred: process, user, group.
    let [_, kind, process, _] = control;
    let credentials =
        u64::from(libc::SOL_SOCKET.cast_unsigned()) | u64::from(libc::SCM_CREDENTIALS.cast_unsigned()) << 32;
    let known = message.msg_controllen as usize >= 24 && kind == credentials;
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the process")]
    let sender = if known { process as u32 } else { 0 };
    Ok(Some((usize::try_from(read).unwrap_or(0), sender.cast_signed())))
}

/// The next waiting connection, or `None`.
///
/// # Errors
/// accept(2)'s.
pub fn accept(socket: impl AsFd) -> Result<Option<OwnedFd>> {
    match rustix::net::accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        other => other.call(|| "accept4()").map(Some),
    }
}

/// The user id of the other side.
///
/// # Errors
/// getsockopt(2)'s.
pub fn peer_uid(socket: impl AsFd) -> Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket).call(|| "getsockopt(SO_PEERCRED)")?.uid.as_raw())
}

/// Sends one message with descriptors.
///
/// # Errors
/// sendmsg(2)'s: `EPIPE` when the other side is gone, `EAGAIN` when a non-blocking socket is full.
pub fn send(socket: impl AsFd, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(crate::Error::new("sendmsg(): too many descriptors", Errno::TOOBIG));
    }
    loop {
        match rustix::net::sendmsg(&socket, &slices, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.call(|| "sendmsg()").map(drop),
        }
    }
}

/// Receives one message into `buffer`: its length (0 at the end) and its descriptors.
///
/// # Errors
/// recvmsg(2)'s: `EAGAIN` when nothing waits on a non-blocking socket.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.call(|| "recvmsg()")?,
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    Ok((received.bytes, descriptors))
}

/// Connects to the stream socket at `path`.
///
/// # Errors
/// connect(2)'s.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    let call = || format!("connect({path:?})");
    if let Ok(address) = SocketAddrUnix::new(path) {
        rustix::net::connect(&socket, &address).call(call)?;
        return Ok(socket);
    }
    // A longer path than an address has room for is reached through its directory.
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(crate::Error::new(call(), Errno::NAMETOOLONG));
    };
    let directory = crate::root::open_directory_path(parent)?;
    rustix::net::connect(&socket, &address(&directory, name)?).call(call)?;
    Ok(socket)
}

/// Sends bytes and descriptors to whoever listens at `path`.
///
/// # Errors
/// connect(2)'s or sendmsg(2)'s.
pub fn send_to_stream(path: &Path, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    send(&connect_stream(path)?, &[bytes], descriptors)
}

/// The other side can send nothing more; what has come can still be received, without waiting.
pub fn stop_receiving(socket: impl AsFd) {
    // It may be disconnected already.
    rustix::net::shutdown(socket, rustix::net::Shutdown::Read).ok();
}
