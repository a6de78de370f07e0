// SPDX-License-Identifier: Apache-2.0
//! What networks, devices and published ports are as elements of the sets and maps of our tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use kernel::nft::{Batch, Element, Family, Set, Table, Type, Value};

use super::transactions::Error;
use super::{Net, Port, Protocol, Publication, Rules};

/// All families that have a table of ours.
pub(super) const FAMILIES: [Family; 3] = [Family::Bridge, Family::Arp, Family::Inet];

/// The sets and maps of a table, in the order in which they are listed.
pub(super) fn sets(family: Family) -> Vec<Set> {
    use Type::{Class, Device, Ether, Protocol, Service, V4, V6};
    let ports = || Set::new("ports", [Device]).counting();
    let macs = || Set::new("macs", [Device, Ether]);
    let v4 = || Set::new("v4", [Device, V4]);
    let v6 = || Set::new("v6", [Device, V6]);
    let received = || Set::new("received", [Device]).counting();
    let device = |name| Set::new(name, [Device]);
    let share = |name, of| Set::map(name, [of], [Class]);
    match family {
        Family::Bridge => {
            vec![ports(), macs(), v4(), v6(), received(), device("isolated"), device("free"), share("shares", Device)]
        }
        Family::Arp => vec![device("bridged"), ports(), macs(), v4()],
        _ => vec![
            device("bridged"),
            ports(),
            macs(),
            v4(),
            v6(),
            received(),
            device("nets"),
            device("hidden"),
            device("internal"),
            device("isolated"),
            device("serving"),
            Set::new("same", [Device, Device]),
            Set::new("own4", [Device, V4]).interval(),
            Set::new("own6", [Device, V6]).interval(),
            Set::map("exact4", [V4, Protocol, Service], [V4, Service]),
            Set::map("exact6", [V6, Protocol, Service], [V6, Service]),
            Set::map("any4", [Protocol, Service], [V4, Service]),
            Set::map("any6", [Protocol, Service], [V6, Service]),
            share("shares4", V4),
            share("shares6", V6),
        ],
    }
}

/// Elements by family and name of their set.
#[derive(Debug, Default)]
pub(super) struct Elements(BTreeMap<(Family, &'static str), Vec<Element>>);

impl Elements {
    /// The elements that stand for these rules.
    ///
    /// # Errors
    /// What the kernel would take for something else: names of devices, ports published from one family to the other.
    pub(super) fn of(rules: &Rules) -> Result<Self, Error> {
        let mut elements = Self::default();
        for net in &rules.nets {
            elements.net(net)?;
        }
        for port in &rules.ports {
            elements.port(port)?;
        }
        for publication in &rules.publications {
            elements.publication(publication)?;
        }
        Ok(elements)
    }

    /// Adds them to their sets.
    pub(super) fn add_to(self, batch: &mut Batch, name: &str) {
        self.each(name, |table, set, elements| batch.add_elements(table, set, elements));
    }

    /// Deletes them from their sets.
    pub(super) fn delete_from(self, batch: &mut Batch, name: &str) {
        self.each(name, |table, set, elements| batch.delete_elements(table, set, elements));
    }

    fn each(mut self, name: &str, mut act: impl FnMut(&Table, &Set, Vec<Element>)) {
        for family in FAMILIES {
            for set in sets(family) {
                let found = self.0.keys().find(|(of, held)| *of == family && *held == set.name()).copied();
                if let Some(elements) = found.and_then(|key| self.0.remove(&key)) {
                    act(&Table::new(family, name), &set, elements);
                }
            }
        }
    }

    fn put(&mut self, family: Family, set: &'static str, element: Element) {
        self.0.entry((family, set)).or_default().push(element);
    }

    fn net(&mut self, net: &Net) -> Result<(), Error> {
        let device = device(&net.device)?;
        let facts = [
            (true, "nets"),
            (net.nat, "hidden"),
            (net.internal, "internal"),
            (net.isolated_ports, "isolated"),
            (net.serves, "serving"),
        ];
        for (_, set) in facts.into_iter().filter(|(holds, _)| *holds) {
            self.put(Family::Inet, set, Element::new([device.clone()]));
        }
        self.put(Family::Inet, "same", Element::new([device.clone(), device.clone()]));
        for subnet in &net.subnets {
            let (first, last) = (subnet.network().into(), last(subnet).into());
            let range = Element::range([device.clone(), first], [device.clone(), last]);
            self.put(Family::Inet, if subnet.addr().is_ipv4() { "own4" } else { "own6" }, range);
        }
        Ok(())
    }

    fn port(&mut self, port: &Port) -> Result<(), Error> {
        let device = device(&port.device)?;
        let of = |value: Value| Element::new([device.clone(), value]);
        let family = if port.bridge.is_some() { Family::Bridge } else { Family::Inet };
        let families: &[Family] = if port.bridge.is_some() { &[family] } else { &[family, Family::Arp] };
        for family in families {
            self.put(*family, "ports", Element::new([device.clone()]));
            self.put(*family, "macs", of(port.mac.0.into()));
            for address in &port.v4 {
                self.put(*family, "v4", of((*address).into()));
            }
        }
        let local = port.mac.link_local();
        for address in port.v6.iter().filter(|address| **address != local).chain([&local]) {
            self.put(family, "v6", of((*address).into()));
        }
        self.put(family, "received", Element::new([device.clone()]));
        if port.bridge.is_some() {
            self.put(Family::Arp, "bridged", Element::new([device.clone()]));
            self.put(Family::Inet, "bridged", Element::new([device.clone()]));
            if port.any_address {
                self.put(Family::Bridge, "free", Element::new([device.clone()]));
            }
            if port.isolated {
                self.put(Family::Bridge, "isolated", Element::new([device.clone()]));
            }
            self.share(port, device);
        }
        Ok(())
    }

    /// What is from it by its device, what is for it by its addresses: on its way to the bridge nobody knows its device.
    fn share(&mut self, port: &Port, device: Value) {
        let Some(class) = port.class.map(Value::Word) else { return };
        self.put(Family::Bridge, "shares", Element::new([device]).to([class.clone()]));
        for address in &port.v4 {
            self.put(Family::Inet, "shares4", Element::new([(*address).into()]).to([class.clone()]));
        }
        for address in &port.v6 {
            self.put(Family::Inet, "shares6", Element::new([(*address).into()]).to([class.clone()]));
        }
    }

    fn publication(&mut self, publication: &Publication) -> Result<(), Error> {
        let Publication { host, host_port, protocol, to, to_port } = publication;
        let host = host.filter(|host| !host.is_unspecified() || host.is_ipv4() != to.is_ipv4());
        if host.is_some_and(|host| host.is_ipv4() != to.is_ipv4()) || to.is_unspecified() || *host_port == 0 {
            return Err(Error::Publication(Box::new(publication.clone())));
        }
        let port = [Value::from(number(*protocol)), (*host_port).into()];
        let (set, key) = match (host, to) {
            (Some(host), IpAddr::V4(_)) => ("exact4", [Value::from(host)].into_iter().chain(port).collect::<Vec<_>>()),
            (Some(host), IpAddr::V6(_)) => ("exact6", [Value::from(host)].into_iter().chain(port).collect()),
            (None, IpAddr::V4(_)) => ("any4", port.into()),
            (None, IpAddr::V6(_)) => ("any6", port.into()),
        };
        self.put(Family::Inet, set, Element::new(key).to([Value::from(*to), (*to_port).into()]));
        Ok(())
    }
}

/// A device's name as a value: what `dev_valid_name` of the kernel allows, and no `%`, which stands for a number.
fn device(name: &str) -> Result<Value, Error> {
    let bad = |byte: u8| !byte.is_ascii_graphic() || b"/:%\"\\*".contains(&byte);
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.bytes().any(bad) {
        return Err(Error::Device(name.to_owned()));
    }
    Ok(Value::from(name))
}

/// The last address of a subnet.
fn last(subnet: &IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => Ipv4Addr::from(u32::from(subnet.network()) | u32::from(subnet.hostmask())).into(),
        IpNet::V6(subnet) => Ipv6Addr::from(u128::from(subnet.network()) | u128::from(subnet.hostmask())).into(),
    }
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_that_the_kernel_would_not_have() {
        for wrong in ["", "..", "a/b", "a:b", "sixteen-letters-", "a\nb", "a b", "eth%d", "a\0", "ü", "veth*"] {
            assert!(matches!(device(wrong), Err(Error::Device(_))), "{wrong:?}");
        }
        assert!(device("cella0.15-chars").is_ok());
    }

    #[test]
    fn a_port_is_not_published_to_the_other_family() {
        let to: IpAddr = "10.1.0.2".parse().unwrap();
        let with = |host: &str| Publication {
            host: Some(host.parse().unwrap()),
            host_port: 80,
            protocol: Protocol::Tcp,
            to,
            to_port: 80,
        };
        for (host, good) in [("192.0.2.1", true), ("0.0.0.0", true), ("::", false), ("2001:db8::1", false)] {
            let rules = Rules { publications: vec![with(host)], ..Rules::default() };
            assert_eq!(Elements::of(&rules).is_ok(), good, "{host}");
        }
    }
}
