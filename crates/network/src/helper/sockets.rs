// SPDX-License-Identifier: Apache-2.0
//! The sockets of a helper: opened while there are still the rights to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use kernel::{Result, inet};

use super::{Config, advert, dhcp4, dhcp6};

/// Room for a few thousand queries that come at once.
const ROOM: usize = 1 << 20;

/// All that a helper hears on; what it is not to answer is not open.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Names, by datagrams: for each family.
    pub(super) datagrams: Vec<OwnedFd>,
    /// Names, by streams: for each family.
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) dhcp4: Option<OwnedFd>,
    pub(super) dhcp6: Option<OwnedFd>,
    pub(super) routers: Option<OwnedFd>,
    /// The bridge's number.
    pub(super) device: u32,
}

impl Sockets {
    pub(super) fn open(config: &Config) -> Result<Self> {
        let mut sockets = Self { device: inet::device_index(&config.bridge)?, ..Self::default() };
        let gateways = [config.gateway4.map(|(own, _)| IpAddr::V4(own)), config.gateway6.map(|(own, _)| own.into())];
        for gateway in gateways.into_iter().flatten().filter(|_| config.dns) {
            let address = SocketAddr::new(gateway, config.port);
            let datagrams = inet::datagram(address, None)?;
            inet::set_receive_buffer(&datagrams, ROOM)?;
            sockets.datagrams.push(datagrams);
            sockets.listeners.push(inet::listener(address)?);
        }
        if config.dhcp && config.gateway4.is_some() {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, dhcp4::SERVER_PORT));
            sockets.dhcp4 = Some(inet::datagram(any, Some(&config.bridge))?);
        }
        if config.dhcp && config.gateway6.is_some() {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, dhcp6::SERVER_PORT));
            let socket = inet::datagram(any, Some(&config.bridge))?;
            inet::join_group(&socket, dhcp6::GROUP, sockets.device)?;
            sockets.dhcp6 = Some(socket);
            let socket = inet::icmp6(&config.bridge, advert::SOLICITATION)?;
            inet::join_group(&socket, advert::ROUTERS, sockets.device)?;
            sockets.routers = Some(socket);
        }
        Ok(sockets)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        let single = [&self.dhcp4, &self.dhcp6, &self.routers].into_iter().flatten();
        self.datagrams.iter().chain(&self.listeners).chain(single)
    }
}
