// SPDX-License-Identifier: Apache-2.0
//! Network devices of the current network namespace.

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use std::os::fd::AsRawFd;

use crate::error::{Call, Error, Result};

/// Brings the loopback device up; the kernel gives it its addresses.
///
/// # Errors
/// socket(2)'s or ioctl(SIOCSIFFLAGS)'s.
pub fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_INET, SOCK_DGRAM)")?;
    // SAFETY: an all-zero ifreq is a valid value of that plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == -1 { Err(Error::last("ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)")) } else { Ok(()) }
}
