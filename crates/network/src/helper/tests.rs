// SPDX-License-Identifier: Apache-2.0
//! What the tests of the decisions share: one network, and who is on it.

use super::*;

pub(super) fn config() -> Config {
    Config {
        network: "net".into(),
        bridge: "br0".into(),
        gateway4: Some((Ipv4Addr::new(10, 9, 0, 1), 16)),
        gateway6: Some(("fd09::1".parse().unwrap(), 64)),
        dns: true,
        port: 53,
        dhcp: true,
        domain: "cella".into(),
        internal: false,
        upstream: vec!["192.0.2.53:53".parse().unwrap()],
        servers: Vec::new(),
        mtu: 1500,
    }
}

pub(super) fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn endpoint(container: &str, last: u8, names: &[&str]) -> Endpoint {
    Endpoint {
        container: container.into(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        mac: mac(last),
        v4: Some(Ipv4Addr::new(10, 9, 0, last)),
        v6: Some(mac(last).eui64("fd09::".parse().unwrap())),
    }
}

/// `net` has `web` (2), `db` (3, without IPv6) and `alone` (4, without addresses); `other` has `web` too and `far` (66), `third`
/// has `stranger`.
pub(super) fn endpoints() -> Endpoints {
    let mut db = endpoint("id-db", 3, &["db", "all", "dotted.alias", "", "wrong..name"]);
    db.v6 = None;
    let mut alone = endpoint("id-alone", 4, &["alone"]);
    (alone.v4, alone.v6) = (None, None);
    let mut far = endpoint("id-far", 66, &["far", "all"]);
    far.v4 = Some(Ipv4Addr::new(10, 8, 0, 66));
    let mut web = endpoint("id-web", 65, &["web"]);
    web.v4 = Some(Ipv4Addr::new(10, 8, 0, 65));
    [
        ("net", vec![endpoint("id-web", 2, &["web", "all", "Www"]), db, alone]),
        ("other", vec![web, far]),
        ("third", vec![endpoint("id-stranger", 70, &["stranger"])]),
    ]
    .map(|(network, list)| (network.to_owned(), list))
    .into()
}

pub(super) fn names() -> Names {
    Names::new(&config(), &endpoints())
}

#[test]
fn files_of_today_and_of_before_ports() {
    let mut value = serde_json::to_value(config()).unwrap();
    assert_eq!(value.as_object_mut().unwrap().remove("port"), Some(53.into()));
    assert_eq!(serde_json::from_value::<Config>(value).unwrap(), config());
}

#[test]
fn dhcp_tells_no_server_that_is_not_there() {
    let mut config = config();
    assert_eq!(config.servers4(), [Ipv4Addr::new(10, 9, 0, 1)]);
    config.port = 5353;
    assert!(config.servers4().is_empty() && config.servers6().is_empty());
    config.servers = vec!["192.0.2.1".parse().unwrap()];
    assert_eq!(config.servers4(), [Ipv4Addr::new(192, 0, 2, 1)]);
    assert!(config.servers6().is_empty());
}
