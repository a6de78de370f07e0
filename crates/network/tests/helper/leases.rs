// SPDX-License-Identifier: Apache-2.0
//! Addresses and routers as real clients are told them: udhcpc, dhclient, rdisc6 and the kernel itself.

use std::path::{Path, PathBuf};

use crate::link::{Device, Link, skipped, until};

/// What udhcpc was told, as its script sees it.
fn udhcpc(device: &Device) -> String {
    let script = temporary(device, "script");
    std::fs::write(&script, "#!/bin/sh\ntest \"$1\" = bound && env >\"$0.out\"\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    device.run(&format!("busybox udhcpc -i eth0 -n -q -f -t 3 -T 1 -s {}", script.display()));
    let told = std::fs::read_to_string(script.with_extension("script.out")).unwrap();
    std::fs::remove_file(script.with_extension("script.out")).unwrap();
    std::fs::remove_file(script).unwrap();
    told
}

/// The device is up and has its address on the link.
fn up(device: &Device) {
    device.run("ip link set lo up && ip link set eth0 up");
    wait_for_link(device);
}

/// Nothing can be sent from an address that the kernel is not sure of yet.
fn wait_for_link(device: &Device) {
    until("it has an address on the link", || {
        let text = device.run("ip -6 addr show dev eth0 scope link");
        text.contains("fe80") && !text.contains("tentative")
    });
}

fn temporary(device: &Device, what: &str) -> PathBuf {
    let name = format!("cella-lease-{}-{}.{what}", std::process::id(), device.mac.to_string().replace(':', ""));
    std::env::temp_dir().join(name)
}

fn told(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.lines().any(|found| found.trim() == *line), "{line} is not in:\n{text}");
    }
}

#[test]
fn udhcpc_is_told_the_endpoints_address() {
    if skipped("udhcpc_is_told_the_endpoints_address") {
        return;
    }
    let mut link = Link::new("udhcpc");
    link.serve();
    let (web, unknown) = (link.device(42, false), link.device(43, false));
    link.tell(&web, &["web"]);
    for device in [&web, &unknown] {
        device.run("ip link set eth0 up");
    }
    let text = udhcpc(&web);
    told(
        &text,
        &["ip=10.99.0.42", "mask=24", "router=10.99.0.1", "dns=10.99.0.1", "domain=cella", "mtu=1400", "lease=3600"],
    );
    let failed =
        unknown.start(&["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true"]);
    assert!(!{ failed }.output().unwrap().status.success(), "nobody knows this device");
}

#[test]
fn an_internal_network_has_no_router() {
    if skipped("an_internal_network_has_no_router") {
        return;
    }
    let mut link = Link::new("norouter");
    link.config.internal = true;
    link.config.servers = vec!["10.99.0.9".parse().unwrap(), "fd99::9".parse().unwrap(), "10.99.0.8".parse().unwrap()];
    link.serve();
    let web = link.device(42, false);
    link.tell(&web, &["web"]);
    up(&web);
    let text = udhcpc(&web);
    told(&text, &["ip=10.99.0.42", "dns=10.99.0.9 10.99.0.8"]);
    assert!(!text.contains("router="), "{text}");
    let text = web.run("rdisc6 -1 eth0");
    assert!(text.contains("Router lifetime           :            0 (0x00000000) seconds"), "{text}");
    assert!(text.contains("fd99::9") && !text.contains("fd99::1\n"), "{text}");
}

/// Runs dhclient once, in a mount namespace where it may not change the host's `resolv.conf`; what it was told.
fn dhclient(device: &Device, words: &str) -> String {
    let [lease, pid, script] = ["lease", "pid", "sh"].map(|what| temporary(device, what));
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let show = |path: &Path| path.display().to_string();
    // It goes to the background when it has its lease, and writes its number there.
    let (lease_path, pid_path) = (show(&lease), show(&pid));
    let out = device.run(&format!(
        "timeout 20 dhclient {words} -1 -v -cf /dev/null -lf {lease_path} -pf {pid_path} -sf {} eth0; \
         for n in 1 2 3 4 5 6 7 8 9; do test -s {pid_path} && break; sleep 0.1; done; kill $(cat {pid_path})",
        show(&script)
    ));
    let text = std::fs::read_to_string(&lease).unwrap_or_default() + &out;
    for path in [&lease, &pid, &script] {
        std::fs::remove_file(path).ok();
    }
    text
}

#[test]
fn dhclient_is_told_the_endpoints_addresses() {
    if skipped("dhclient_is_told_the_endpoints_addresses") {
        return;
    }
    let mut link = Link::new("dhclient");
    link.serve();
    let web = link.device(42, false);
    link.tell(&web, &["web"]);
    up(&web);
    let text = dhclient(&web, "-4");
    told(
        &text,
        &[
            "fixed-address 10.99.0.42;",
            "option routers 10.99.0.1;",
            "option domain-name \"cella\";",
            "option interface-mtu 1400;",
        ],
    );
    let text = dhclient(&web, "-6");
    let address = format!("iaaddr {} {{", web.v6);
    told(
        &text,
        &[&address, "option dhcp6.name-servers fd99::1;", "option dhcp6.domain-search \"cella.\";", "max-life 3600;"],
    );
    let text = dhclient(&web, "-6 -S");
    told(&text, &["PRC: Requesting information (INIT).", "PRC: Done."]);
}

#[test]
fn devices_make_the_endpoints_address_themselves() {
    if skipped("devices_make_the_endpoints_address_themselves") {
        return;
    }
    let mut link = Link::new("slaac");
    link.serve();
    let web = link.device(42, false);
    link.tell(&web, &["web"]);
    web.run("sysctl -qw net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.autoconf=1 net.ipv6.conf.eth0.addr_gen_mode=0 && ip link set eth0 up");
    until("it has the address", || web.run("ip -6 addr show dev eth0 scope global").contains(&web.v6.to_string()));
    until("it has the route", || web.run("ip -6 route").contains("default via fe80::"));
    wait_for_link(&web);
    let text = web.run("rdisc6 -1 eth0");
    for wanted in [
        "Stateful address conf.    :          Yes",
        "Stateful other conf.      :          Yes",
        "Prefix                   : fd99::/64",
        "MTU                      :         1400 bytes",
        "Recursive DNS server     : fd99::1",
        "DNS search list          : cella",
        "Router lifetime           :         1800",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
}
