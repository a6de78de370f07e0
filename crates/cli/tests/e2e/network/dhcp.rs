// SPDX-License-Identifier: Apache-2.0
//! Programs inside that ask for addresses themselves get those that they have.

use super::support::{Host, host};
use crate::support::{skip, until};

/// A container whose root may change its own devices.
fn machine(host: &Host) -> [String; 2] {
    host.sleeping("web", &["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]);
    host.addresses("cella0", "web")
}

#[test]
fn udhcpc_gets_the_address_that_the_container_has() {
    let Some(host) = host("udhcpc") else { return };
    let [v4, _] = machine(&host);
    let script = "printf '#!/bin/sh\nenv\n' > /tmp/told; chmod +x /tmp/told; busybox udhcpc -i eth0 -n -q -t 5 -T 1 -s /tmp/told";
    let told = host.inside("web", script);
    let network = host.network("cella0");
    let gateway = network["subnets"][0]["gateway"].as_str().unwrap();
    for line in [format!("ip={v4}"), format!("router={gateway}"), format!("dns={gateway}"), "domain=cella".to_owned()] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn dhclient_gets_the_addresses_that_the_container_has() {
    let Some(host) = host("dhclient") else { return };
    if !std::path::Path::new("/usr/sbin/dhclient").exists() {
        skip("dhclient_gets_the_addresses_that_the_container_has", "there is no dhclient");
        return host.finish();
    }
    let [v4, v6] = machine(&host);
    let script =
        "printf '#!/bin/sh\nenv\n' > /tmp/told; chmod +x /tmp/told; dhclient -1 -d -sf /tmp/told -lf /tmp/l -pf /tmp/p";
    let found = |six: &str, address: &str| {
        let ask =
            format!("{script} {six} eth0 >/tmp/log 2>&1 & until grep -q {address} /tmp/l; do sleep 0.1; done; kill $!");
        let done = host.cella(&["exec", "web", "timeout", "8", "sh", "-c", &format!("rm -f /tmp/l; {ask}")]);
        assert_eq!(done.code, 0, "{address}: {}", host.inside("web", "cat /tmp/l /tmp/log"));
    };
    found("", &v4);
    until("its address of the link serves", || !host.inside("web", "ip -6 addr").contains("tentative"));
    found("-6", &v6);
    host.remove(&["web"]);
    host.finish();
}

/// What systemd-networkd needs that systemd would have made; then waits for its lease.
const NETWORKD: &str = "
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=mac\n' > /run/systemd/network/10.network
/usr/lib/systemd/systemd-networkd >/tmp/log 2>&1 &
for i in $(seq 80); do
    ip addr show eth0 | grep -q 'inet .* dynamic' && ip addr show eth0 | grep -q 'inet6 .* dynamic' && break
    sleep 0.1
done
# It takes its addresses away when it ends.
ip addr show eth0; kill $!; cat /tmp/log";

#[test]
fn systemd_networkd_gets_the_addresses_that_the_container_has() {
    let Some(host) = host("networkd") else { return };
    if !std::path::Path::new("/usr/lib/systemd/systemd-networkd").exists() {
        skip("systemd_networkd_gets_the_addresses_that_the_container_has", "there is no systemd-networkd");
        return host.finish();
    }
    host.sleeping("web", &["--cap-add", "ALL"]);
    let shown = host.inside("web", NETWORKD);
    for address in host.addresses("cella0", "web") {
        let is_it = |line: &str| line.contains(&format!("{address}/")) && line.contains("dynamic");
        assert!(shown.lines().any(is_it), "{address}: {shown}");
    }
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn an_address_that_the_kernel_makes_of_an_advertisement_is_the_one_that_it_has() {
    let Some(host) = host("slaac") else { return };
    let [_, v6] = machine(&host);
    // As a distribution does that configures itself: nothing given, all asked for.
    let again = "ip -6 addr flush dev eth0 scope global; ip -6 route flush default; ip link set eth0 down;
        echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra; echo 1 > /proc/sys/net/ipv6/conf/eth0/autoconf; ip link set eth0 up";
    host.cella(&["exec", "--privileged", "web", "mount", "-o", "remount,rw", "/proc/sys"]);
    let done = host.cella(&["exec", "--privileged", "web", "sh", "-c", again]);
    if done.err.contains("Read-only") {
        skip("an_address_that_the_kernel_makes_of_an_advertisement_is_the_one_that_it_has", "/proc/sys is read-only");
        host.remove(&["web"]);
        return host.finish();
    }
    until("the address is there", || {
        let shown = host.inside("web", "ip -6 addr show dev eth0; ip -6 route show default");
        shown.contains(&format!("{v6}/64")) && shown.contains("default via fe80:")
    });
    host.remove(&["web"]);
    host.finish();
}
