// SPDX-License-Identifier: Apache-2.0
//! Network devices of the current network namespace.

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use std::os::fd::AsRawFd;

use crate::error::{Call, Error, Result};

/// Moves a network device of the current network namespace into the one that `namespace` stands for, under a name that
/// it may change; it keeps its addresses and comes up again there.
///
/// # Errors
/// The kernel's answer to RTM_NEWLINK: `ENODEV`, `EEXIST` for a name that is taken.
pub fn move_device(name: &str, namespace: impl std::os::fd::AsFd, new_name: &str) -> Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST_ACK: u16 = 5;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_NET_NS_FD: u16 = 28;
    let call = |what: &str| format!("netlink({what} {name:?})");
    let index = rustix::net::netdevice::name_to_index(
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .call(|| "socket(AF_INET, SOCK_DGRAM)")?,
        name,
    )
    .call(|| call("index of"))?;
    let mut body = vec![0_u8; 16];
    body.splice(4..8, index.to_ne_bytes());
    let attribute = |body: &mut Vec<u8>, kind: u16, value: &[u8]| {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    attribute(&mut body, IFLA_IFNAME, &[new_name.as_bytes(), &[0]].concat());
    attribute(&mut body, IFLA_NET_NS_FD, &namespace.as_fd().as_raw_fd().to_ne_bytes());
    let mut message = Vec::with_capacity(body.len() + 16);
    message.extend(u32::try_from(body.len() + 16).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_NETLINK)")?;
    rustix::net::send(&socket, &message, rustix::net::SendFlags::empty()).call(|| call("move"))?;
    let mut answer = [0_u8; 1024];
    let (length, _) = rustix::net::recv(&socket, &mut answer, rustix::net::RecvFlags::empty()).call(|| call("move"))?;
    let code = answer.get(16..20).filter(|_| length >= 20).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(Error::new(call("move"), crate::Errno::from_raw_os_error(-code))),
        None => Err(Error::new(call("move"), crate::Errno::PROTO)),
    }
}
