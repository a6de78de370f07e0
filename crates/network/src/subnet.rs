// SPDX-License-Identifier: Apache-2.0
//! Which addresses are free: subnets of networks, and addresses in them. Pure; what is taken is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use spec::network::Subnet;

use crate::error::{Error, Kind, Result};

/// Networks that are given no subnet get a /20 of this: 4,093 containers each, 128 networks.
const POOL: ([u8; 4], u8, u8) = ([10, 88, 0, 0], 13, 20);

/// The first IPv4 subnet of the pool that overlaps with nothing.
pub(crate) fn free_v4(taken: &[IpNet]) -> Result<IpNet> {
    let (base, length, size) = POOL;
    let pool = Ipv4Net::new(Ipv4Addr::from(base), length).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    let candidates = pool.subnets(size).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
    candidates.map(IpNet::V4).find(|one| !taken.iter().any(|other| overlap(one, other))).ok_or_else(|| {
        Error::new(Kind::Conflict, format!("all subnets of {pool} are taken"))
            .hint("name one with --subnet, or remove networks: cella network prune")
    })
}

/// An IPv6 subnet below the store's own prefix (RFC 4193), which `seed` is the hash of.
pub(crate) fn free_v6(seed: [u8; 5], taken: &[IpNet]) -> Result<IpNet> {
    let [a, b, c, d, e] = seed;
    let candidates = (0..=u16::MAX).filter_map(|number| {
        let [high, low] = number.to_be_bytes();
        let octets = [0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
        Ipv6Net::new(Ipv6Addr::from(octets), 64).ok().map(IpNet::V6)
    });
    let mut candidates = candidates.filter(|one| !taken.iter().any(|other| overlap(one, other)));
    candidates.next().ok_or_else(|| Error::new(Kind::Conflict, "all IPv6 subnets of this store are taken"))
}

/// Have they an address in common?
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The first address, which a bridge of ours has.
pub(crate) fn first(net: &IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(net) if net.prefix_len() <= 30 => net.hosts().next().map(IpAddr::V4),
        IpNet::V6(net) if net.prefix_len() <= 126 => {
            Some(IpAddr::V6(Ipv6Addr::from(u128::from(net.network()).checked_add(1)?)))
        }
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// Is it an address that a container may have?
pub(crate) fn is_usable(subnet: &Subnet, ip: &IpAddr) -> bool {
    let ends = match &subnet.net {
        // The two ends of an IPv4 network are no addresses of hosts, unless it has two addresses or one.
        IpNet::V4(net) if net.prefix_len() < 31 => {
            [IpAddr::V4(net.network()), IpAddr::V4(net.broadcast())].contains(ip)
        }
        IpNet::V6(net) => IpAddr::V6(net.network()) == *ip,
        IpNet::V4(_) => false,
    };
    subnet.net.contains(ip) && !ends && subnet.gateway != Some(*ip)
}

/// The first IPv4 address of the subnet (or its range) that is usable and not taken, from `after` on and around.
pub(crate) fn free_address(
    subnet: &Subnet,
    taken: &dyn Fn(Ipv4Addr) -> bool,
    after: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let IpNet::V4(range) = subnet.range.unwrap_or(subnet.net) else { return None };
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    // One that was let go just now is taken last: others may still remember whose it was.
    let start = after.map_or(first, |ip| u32::from(ip).saturating_add(1)).clamp(first, last);
    let usable = |number: &u32| {
        let ip = Ipv4Addr::from(*number);
        is_usable(subnet, &IpAddr::V4(ip)) && !taken(ip)
    };
    (start..=last).chain(first..start).find(usable).map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn subnet(text: &str, gateway: Option<&str>, range: Option<&str>) -> Subnet {
        Subnet { net: net(text), gateway: gateway.map(|ip| ip.parse().unwrap()), range: range.map(net) }
    }

    #[test]
    fn subnets_do_not_overlap() {
        assert_eq!(free_v4(&[]).unwrap(), net("10.88.0.0/20"));
        assert_eq!(
            free_v4(&[net("10.88.3.0/24"), net("10.88.16.0/20"), net("fd00::/8")]).unwrap(),
            net("10.88.32.0/20")
        );
        assert_eq!(free_v4(&[net("10.88.0.0/16")]).unwrap(), net("10.89.0.0/20"));
        assert!(free_v4(&[net("10.0.0.0/8")]).is_err());
        let six = free_v6([1, 2, 3, 4, 5], &[]).unwrap();
        assert_eq!(six, net("fd01:203:405::/64"));
        assert_eq!(free_v6([1, 2, 3, 4, 5], &[six]).unwrap(), net("fd01:203:405:1::/64"));
    }

    #[test]
    fn addresses_go_around_and_leave_the_ends_out() {
        let small = subnet("10.0.0.0/29", Some("10.0.0.1"), None);
        let none = |_| false;
        assert_eq!(free_address(&small, &none, None), Some([10, 0, 0, 2].into()));
        assert_eq!(free_address(&small, &none, Some([10, 0, 0, 6].into())), Some([10, 0, 0, 2].into()));
        assert_eq!(free_address(&small, &|ip| ip.octets()[3] < 6, None), Some([10, 0, 0, 6].into()));
        assert_eq!(free_address(&small, &|_| true, None), None);
        let ranged = subnet("10.0.0.0/24", Some("10.0.0.1"), Some("10.0.0.128/30"));
        assert_eq!(free_address(&ranged, &none, None), Some([10, 0, 0, 128].into()));
        assert!(!is_usable(&small, &"10.0.0.7".parse().unwrap()) && !is_usable(&small, &"10.0.0.8".parse().unwrap()));
        assert_eq!(first(&net("10.0.0.0/29")), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(first(&net("fd00::/64")), Some("fd00::1".parse().unwrap()));
        assert_eq!(first(&net("10.0.0.0/32")), None);
    }
}
