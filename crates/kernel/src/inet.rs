// SPDX-License-Identifier: Apache-2.0
//! Sockets of the Internet protocols: datagrams, streams and ICMPv6, all without waiting.

use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::{Call, Errno, Error, Result};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// icmp6(7): the messages that a socket does not want.
const ICMP6_FILTER: libc::c_int = 1;

/// The most that one packet must travel to be from this link only (RFC 4861, 6.1.1).
const HOPS: u8 = 255;

fn socket(address: SocketAddr, kind: SocketType) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .call(|| format!("socket({family:?}, {kind:?})"))?;
    if address.is_ipv6() {
        // The same port of IPv4 is somebody else's.
        sockopt::set_ipv6_v6only(&fd, true).call(|| "setsockopt(IPV6_V6ONLY)")?;
    }
    Ok(fd)
}

fn bind(fd: &OwnedFd, address: SocketAddr, what: &str) -> Result<()> {
    if address.is_ipv6() {
        // A new address cannot be bound to for a second or more, while it is looked for duplicates of it.
        sockopt::set_ipv6_freebind(fd, true).call(|| "setsockopt(IPV6_FREEBIND)")?;
    }
    rustix::net::bind(fd, &address).call(|| format!("bind({what} {address})"))
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Takes a port of this host, so that nobody else gets it as long as the socket is open; it answers nobody. The socket and the
/// port, which is chosen when it is 0.
///
/// # Errors
/// socket(2)'s, bind(2)'s: `EADDRINUSE`, `EADDRNOTAVAIL`.
pub fn reserve(transport: Transport, address: SocketAddr) -> Result<(OwnedFd, u16)> {
    let (kind, name) = match transport {
        Transport::Tcp => (SocketType::STREAM, "TCP"),
        Transport::Udp => (SocketType::DGRAM, "UDP"),
    };
    let fd = socket(address, kind)?;
    rustix::net::bind(&fd, &address).call(|| format!("bind({name} {address})"))?;
    let own = rustix::net::getsockname(&fd).call(|| "getsockname()")?;
    let own = SocketAddr::try_from(own).call(|| "getsockname()")?;
    Ok((fd, own.port()))
}

/// A UDP socket at an address of this host; with `device`, for what comes and goes by that device alone.
///
/// # Errors
/// socket(2)'s, bind(2)'s: `EADDRINUSE`, `EADDRNOTAVAIL`; setsockopt(2)'s: `ENODEV`.
pub fn datagram(address: SocketAddr, device: Option<&str>) -> Result<OwnedFd> {
    let fd = socket(address, SocketType::DGRAM)?;
    if let Some(device) = device {
        bind_device(&fd, device)?;
        if address.is_ipv4() {
            sockopt::set_socket_broadcast(&fd, true).call(|| "setsockopt(SO_BROADCAST)")?;
        }
    }
    bind(&fd, address, "UDP")?;
    Ok(fd)
}

/// A UDP socket at a random port that hears `peer` alone.
///
/// # Errors
/// socket(2)'s, connect(2)'s: `ENETUNREACH`.
pub fn datagram_to(peer: SocketAddr) -> Result<OwnedFd> {
    let fd = socket(peer, SocketType::DGRAM)?;
    rustix::net::connect(&fd, &peer).call(|| format!("connect(UDP {peer})"))?;
    Ok(fd)
}

/// The address of ours that a datagram to `peer` would come from now; none is sent.
///
/// # Errors
/// socket(2)'s, connect(2)'s: `ENETUNREACH`, `EADDRNOTAVAIL`.
pub fn source_to(peer: SocketAddr) -> Result<SocketAddr> {
    let fd = datagram_to(peer)?;
    let name = rustix::net::getsockname(&fd).call(|| "getsockname()")?;
    name.try_into().map_err(|errno| Error::new("getsockname()", errno))
}

/// A TCP socket that listens at an address of this host.
///
/// # Errors
/// socket(2)'s, bind(2)'s: `EADDRINUSE`, `EADDRNOTAVAIL`; listen(2)'s.
pub fn listener(address: SocketAddr) -> Result<OwnedFd> {
    let fd = socket(address, SocketType::STREAM)?;
    // Connections of the last one that listened here may still be ending.
    sockopt::set_socket_reuseaddr(&fd, true).call(|| "setsockopt(SO_REUSEADDR)")?;
    bind(&fd, address, "TCP")?;
    rustix::net::listen(&fd, BACKLOG).call(|| format!("listen({address})"))?;
    Ok(fd)
}

/// A TCP connection to `peer` that is being made: it is there when the socket can be written to.
///
/// # Errors
/// socket(2)'s, connect(2)'s other than `EINPROGRESS`.
pub fn stream_to(peer: SocketAddr) -> Result<OwnedFd> {
    let fd = socket(peer, SocketType::STREAM)?;
    match rustix::net::connect(&fd, &peer) {
        Err(Errno::INPROGRESS) => {}
        other => other.call(|| format!("connect(TCP {peer})"))?,
    }
    Ok(fd)
}

/// The next waiting connection and whose it is, or `None`.
///
/// # Errors
/// accept(2)'s: `EMFILE`.
pub fn accept(listener: impl AsFd) -> Result<Option<(OwnedFd, SocketAddr)>> {
    match rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        other => {
            let (fd, peer) = other.call(|| "accept4()")?;
            Ok(peer.and_then(|peer| SocketAddr::try_from(peer).ok()).map(|peer| (fd, peer)))
        }
    }
}

/// The next datagram: its length, cut to the buffer's, and its sender; `None` when none waits.
///
/// # Errors
/// recvfrom(2)'s: `ECONNREFUSED` when the peer of [`datagram_to`] says so, `ENETDOWN`.
pub fn receive(fd: impl AsFd, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>> {
    match rustix::net::recvfrom(fd, &mut *buffer, RecvFlags::empty()) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        other => {
            let (length, _, from) = other.call(|| "recvfrom()")?;
            Ok(from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| (length, from)))
        }
    }
}

/// Sends a datagram.
///
/// # Errors
/// sendto(2)'s: `EAGAIN` when there is no room for it.
pub fn send(fd: impl AsFd, bytes: &[u8], to: SocketAddr) -> Result<()> {
    rustix::net::sendto(fd, bytes, SendFlags::NOSIGNAL, &to).call(|| format!("sendto({to})")).map(drop)
}

/// Writes once to a connected socket: how many bytes were taken (0 when it would wait). No signal is sent to us.
///
/// # Errors
/// send(2)'s: `EPIPE`, `ECONNRESET`, `ECONNREFUSED`.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        other => other.call(|| "send()"),
    }
}

/// A socket for the ICMPv6 messages of type `wanted` that come by the device; what it sends has the hop limit that
/// neighbour discovery asks for, and the kernel makes the checksums.
///
/// # Errors
/// socket(2)'s: `EPERM` without CAP_NET_RAW; setsockopt(2)'s: `ENODEV`.
pub fn icmp6(device: &str, wanted: u8) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol: Protocol = ipproto::ICMPV6;
    let fd = rustix::net::socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(protocol))
        .call(|| "socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)")?;
    // Each bit that is set is a type that does not come through.
    let mut filter = [u32::MAX; 8];
    if let Some(word) = filter.get_mut(usize::from(wanted / 32)) {
        *word &= !(1 << (wanted % 32));
    }
    set_option(&fd, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter, "ICMP6_FILTER")?;
    bind_device(&fd, device)?;
    sockopt::set_ipv6_unicast_hops(&fd, Some(HOPS)).call(|| "setsockopt(IPV6_UNICAST_HOPS)")?;
    sockopt::set_ipv6_multicast_hops(&fd, HOPS.into()).call(|| "setsockopt(IPV6_MULTICAST_HOPS)")?;
    sockopt::set_ipv6_multicast_loop(&fd, false).call(|| "setsockopt(IPV6_MULTICAST_LOOP)")?;
    Ok(fd)
}

/// Hears what is sent to the group on the device with this number, and sends to groups by that device.
///
/// # Errors
/// setsockopt(2)'s: `ENODEV`.
pub fn join_group(fd: impl AsFd, group: Ipv6Addr, device: u32) -> Result<()> {
    sockopt::set_ipv6_multicast_if(&fd, device).call(|| format!("setsockopt(IPV6_MULTICAST_IF, {device})"))?;
    sockopt::set_ipv6_add_membership(&fd, &group, device)
        .call(|| format!("setsockopt(IPV6_ADD_MEMBERSHIP, {group}, {device})"))
}

/// The number of a device of the current network namespace.
///
/// # Errors
/// ioctl(SIOCGIFINDEX)'s: `ENODEV`.
pub fn device_index(name: &str) -> Result<u32> {
    let any = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_INET, SOCK_DGRAM)")?;
    rustix::net::netdevice::name_to_index(any, name).call(|| format!("ioctl(SIOCGIFINDEX, {name:?})"))
}

/// Room for what comes faster than it is read, as far as the host's limit allows.
///
/// # Errors
/// setsockopt(2)'s.
pub fn set_receive_buffer(fd: impl AsFd, bytes: usize) -> Result<()> {
    sockopt::set_socket_recv_buffer_size_force(&fd, bytes)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&fd, bytes))
        .call(|| format!("setsockopt(SO_RCVBUF, {bytes})"))
}

fn bind_device(fd: &OwnedFd, device: &str) -> Result<()> {
    let mut name = [0_u8; libc::IFNAMSIZ];
    // The last byte stays zero.
    let room = name.get_mut(..device.len()).filter(|room| room.len() < libc::IFNAMSIZ && !device.is_empty());
    room.ok_or_else(|| Error::new(format!("setsockopt(SO_BINDTODEVICE, {device:?})"), Errno::NODEV))?
        .copy_from_slice(device.as_bytes());
    set_option(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &name, &format!("SO_BINDTODEVICE, {device:?}"))
}

fn set_option<T: Copy>(fd: &OwnedFd, level: i32, option: i32, value: &T, name: &str) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes of a value of exactly that size, which lives through the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    if result == -1 { Err(Error::last(format!("setsockopt({name})"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(fd: &OwnedFd) -> SocketAddr {
        rustix::net::getsockname(fd).unwrap().try_into().unwrap()
    }

    #[test]
    fn datagrams_go_and_come() {
        let server = datagram("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let client = datagram_to(local(&server)).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(receive(&server, &mut buffer), Ok(None));
        assert_eq!(write(&client, b"ask"), Ok(3));
        let (length, from) = receive(&server, &mut buffer).unwrap().unwrap();
        assert_eq!((&buffer[..length], from), (&b"ask"[..], local(&client)));
        send(&server, b"answer", from).unwrap();
        assert_eq!(receive(&client, &mut buffer).unwrap().unwrap().0, 6);
        assert!(datagram(local(&server), None).unwrap_err().is(Errno::ADDRINUSE));
    }

    #[test]
    fn streams_are_accepted() {
        let server = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(accept(&server).unwrap().is_none());
        let client = stream_to(local(&server)).unwrap();
        assert!(crate::event::is_writable(&client));
        let (_, peer) = accept(&server).unwrap().unwrap();
        assert_eq!(peer, local(&client));
        assert_eq!(source_to(peer).unwrap().ip(), peer.ip());
    }

    #[test]
    fn devices_are_named_rightly() {
        assert!(device_index("lo").is_ok());
        for wrong in ["", "sixteen-bytes-ab", "no-such-device"] {
            assert!(datagram("127.0.0.1:0".parse().unwrap(), Some(wrong)).is_err(), "{wrong}");
        }
    }
}
