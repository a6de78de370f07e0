// SPDX-License-Identifier: Apache-2.0
//! A network for its helper's targets: a dozen containers, some with the same names, some on a second network.

use std::cell::OnceCell;
use std::net::Ipv4Addr;

use network::Mac;
use network::helper::{Config, Endpoint, Endpoints, Names};

/// The address on the link of the container with this number.
#[must_use]
pub const fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, number])
}

/// Calls with the network's configuration and names, which are made once.
pub fn with(internal: bool, act: impl FnOnce(&Config, &Names)) {
    thread_local! {
        static MADE: [OnceCell<(Config, Names)>; 2] = const { [OnceCell::new(), OnceCell::new()] };
    }
    MADE.with(|[open, closed]| {
        let (config, names) = if internal { closed } else { open }.get_or_init(|| {
            let config = config(internal);
            let names = Names::new(&config, &endpoints());
            (config, names)
        });
        act(config, names);
    });
}

fn config(internal: bool) -> Config {
    Config {
        network: "net".into(),
        bridge: "br0".into(),
        gateway4: Some((Ipv4Addr::new(10, 9, 0, 1), 24)),
        gateway6: Some(([0xfd09, 0, 0, 0, 0, 0, 0, 1].into(), 64)),
        dns: true,
        port: 53,
        dhcp: true,
        domain: "cella".into(),
        internal,
        upstream: vec![([192, 0, 2, 53], 53).into()],
        servers: Vec::new(),
        mtu: 1500,
    }
}

fn endpoints() -> Endpoints {
    let one = |network: u8, number: u8| Endpoint {
        container: format!("id{number}"),
        names: vec![format!("c{number}"), "all".into(), format!("n{network}.c{number}")],
        mac: mac(number),
        v4: (number % 5 != 4).then_some(Ipv4Addr::new(10, network, 0, number)),
        v6: (number % 3 != 1).then(|| mac(number).eui64([0xfd00 + u16::from(network), 0, 0, 0, 0, 0, 0, 0].into())),
    };
    let net = (2..14).map(|number| one(9, number)).collect();
    let other = (10..20).map(|number| one(8, number)).collect();
    [("net".to_owned(), net), ("other".to_owned(), other)].into()
}
