// SPDX-License-Identifier: Apache-2.0
//! Published ports: `-p`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        super::one_of("protocol", text, &[("tcp", Self::Tcp), ("udp", Self::Udp), ("sctp", Self::Sctp)])
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Publish {
    /// The address of the host; none for all.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The host's port; 0 for one that is free.
    pub host: u16,
    /// The container's port.
    pub container: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The most ports that one `-p` names.
const MOST: usize = 4096;

impl Publish {
    /// `[[ip:]host:]container[/tcp|udp|sctp]`; host and container may be ranges of the same length; an IPv6 address stands in
    /// brackets.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse(text: &str) -> Result<Vec<Self>, Invalid> {
        let refuse = |reason: &str| {
            Invalid::new("port", text, reason)
                .hint("write [IP:][HOST:]CONTAINER[/tcp|udp|sctp], e.g. 8080:80 or 127.0.0.1:53:53/udp")
        };
        let (ports, protocol) = match text.rsplit_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let (address, ports) = address(ports).ok_or_else(|| refuse("it has no address that could be one"))?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (Some(host).filter(|host| !host.is_empty()), container),
            None if address.is_some() => return Err(refuse("an address needs a port of the host, which may be empty")),
            None => (None, ports),
        };
        let container = range(container).ok_or_else(|| refuse("the container's port is no number from 1 to 65535"))?;
        let host = match host {
            Some("0") | None => vec![0; container.len()],
            Some(host) => range(host).ok_or_else(|| refuse("the host's port is no number from 1 to 65535"))?,
        };
        if host.len() != container.len() {
            return Err(refuse("the ranges are of different lengths"));
        }
        let one = |(host, container)| Self { address, host, container, protocol };
        Ok(host.into_iter().zip(container).map(one).collect())
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            None => {}
        }
        match self.host {
            0 => write!(f, "{}/{}", self.container, self.protocol),
            host => write!(f, "{host}:{}/{}", self.container, self.protocol),
        }
    }
}

/// The address in front, and what is behind it; `None` when there is one that is none.
fn address(text: &str) -> Option<(Option<IpAddr>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:")?;
        return Some((Some(IpAddr::V6(address.parse().ok()?)), rest));
    }
    match text.split(':').count() {
        1 | 2 => Some((None, text)),
        3 => {
            let (address, rest) = text.split_once(':')?;
            Some((Some(IpAddr::V4(address.parse().ok()?)), rest))
        }
        _ => None,
    }
}

fn range(text: &str) -> Option<Vec<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    let list: Vec<u16> = (first..=last).collect();
    (!list.is_empty() && list.len() <= MOST).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_docker_has_them() {
        let shown =
            |text: &str| Publish::parse(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown("80"), "80/tcp");
        assert_eq!(shown("8080:80/udp"), "8080:80/udp");
        assert_eq!(shown("127.0.0.1::80"), "127.0.0.1:80/tcp");
        assert_eq!(shown("[::1]:53:53/sctp"), "[::1]:53:53/sctp");
        assert_eq!(shown("8000-8001:90-91"), "8000:90/tcp 8001:91/tcp");
        for bad in [
            "",
            "0",
            "65536",
            "a",
            "1:2:3",
            "1-2:3",
            "2-1:2-1",
            "80/icmp",
            "::1:80:80",
            "[::1]:80",
            "1.2.3.4:80",
            "+80",
            "80-",
            "[x]:1:1",
        ] {
            assert!(Publish::parse(bad).is_err(), "{bad}");
        }
    }
}
