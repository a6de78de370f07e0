// SPDX-License-Identifier: Apache-2.0
//! Connections that the kernel follows (nfnetlink, conntrack): forgetting those of a port.

use std::net::IpAddr;

use crate::error::{Errno, Result};
use crate::netlink::{Attributes, Message, Socket, flags};

/// `NFNL_SUBSYS_CTNETLINK`, with the kinds of its messages.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;

/// `struct nfgenmsg`: family, version, resource.
const HEADER: [u8; 4] = [0; 4];
const HEADER_INET: u8 = 2;
const HEADER_INET6: u8 = 10;

/// Where the first packet of a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The protocol: 6, 17, 132.
    pub protocol: u8,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// What the kernel needs to find a connection again.
struct Known {
    family: u8,
    parts: Vec<(u16, Vec<u8>)>,
}

/// Forgets every connection whose first packet went to such a target: its next packet is the first of a new one, with rules and
/// translations as they are then. How many.
///
/// # Errors
/// The kernel's errno; `EOPNOTSUPP` or `EINVAL` when it has no `nf_conntrack_netlink`.
pub fn forget(socket: &mut Socket, mut is_one: impl FnMut(&Target) -> bool) -> Result<usize> {
    let list = Message::new(GET, flags::DUMP, &HEADER);
    let found: Vec<Known> = socket.list(&list, "conntrack: list", |one| {
        let all = one.attributes(HEADER.len());
        let (family, target) = target(all.nested(CTA_TUPLE_ORIG))?;
        let part = |kind| Some((kind, all.get(kind)?.to_vec()));
        is_one(&target)
            .then(|| Known { family, parts: [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE].into_iter().filter_map(part).collect() })
    })?;
    for known in &found {
        let mut message = Message::new(DELETE, 0, &[known.family, 0, 0, 0]);
        for (kind, value) in &known.parts {
            match *kind {
                CTA_TUPLE_ORIG => message.nest(*kind, |inner| {
                    inner.raw(value);
                }),
                kind => message.put(kind, value),
            };
        }
        match socket.call(message, || "conntrack: delete") {
            // It has ended by itself meanwhile.
            Err(error) if error.is(Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(found.len())
}

fn target(tuple: Attributes<'_>) -> Option<(u8, Target)> {
    let (addresses, ports) = (tuple.nested(CTA_TUPLE_IP), tuple.nested(CTA_TUPLE_PROTO));
    let port = u16::from_be_bytes(*ports.get(CTA_PROTO_DST_PORT)?.first_chunk()?);
    let protocol = ports.get_u8(CTA_PROTO_NUM)?;
    let v4 = addresses.get(CTA_IP_V4_DST).and_then(|bytes| bytes.first_chunk::<4>());
    let v6 = addresses.get(CTA_IP_V6_DST).and_then(|bytes| bytes.first_chunk::<16>());
    let (family, ip) = match (v4, v6) {
        (Some(ip), _) => (HEADER_INET, IpAddr::from(*ip)),
        (None, Some(ip)) => (HEADER_INET6, IpAddr::from(*ip)),
        (None, None) => return None,
    };
    Some((family, Target { protocol, ip, port }))
}
