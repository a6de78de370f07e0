// SPDX-License-Identifier: Apache-2.0
//! What can not be: told in words, and nothing is left of the attempt.

use super::support::host;
use crate::support::Done;

/// Runs a program for which there are no sockets of NETLINK_NETFILTER: EPROTONOSUPPORT, as of a kernel without nf_tables.
const WITHOUT_NETFILTER: &str = r#"
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
one = lambda code, k, then=0, other=0: struct.pack("HBBI", code, then, other, k)
socket = 41 if os.uname().machine == "x86_64" else 198
code = (one(LOAD, 0) + one(EQUAL, socket, 0, 5) + one(LOAD, 16) + one(EQUAL, 16, 0, 3) + one(LOAD, 32) + one(EQUAL, 12, 0, 1)
        + one(RETURN, 0x50000 | 93) + one(RETURN, 0x7fff0000))
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_subnet_that_overlaps_is_refused() {
    let Some(host) = host("overlap") else { return };
    let create = |subnet: &str, name: &str| host.cella(&["network", "create", "--subnet", subnet, name]);
    create("10.81.0.0/24", "one").ok();
    for (subnet, other) in
        [("10.81.0.128/25", "10.81.0.0/24"), ("10.81.0.0/16", "10.81.0.0/24"), ("192.0.2.0/25", "192.0.2.0/24")]
    {
        let told = create(subnet, "two").fails(1);
        assert!(told.contains(other) && told.contains("--subnet"), "{told}");
    }
    for subnet in ["10.82.0.1/24", "10.82.0.0/31", "x", "10.82.0.0/24/9"] {
        assert!(create(subnet, "two").fails(125).contains("subnet"));
    }
    let told = create("10.83.0.0/24", "one").fails(1);
    assert!(told.contains("taken"), "{told}");
    host.finish();
}

#[test]
fn a_network_without_addresses_left_says_so() {
    let Some(host) = host("exhausted") else { return };
    host.cella(&["network", "create", "--subnet", "10.84.0.0/30", "tiny"]).ok();
    host.sleeping("one", &["--network", "tiny"]);
    let told = host.cella(&["run", "--name", "two", "--network", "tiny", "host", "true"]).fails(125);
    assert!(told.contains("no address left in 10.84.0.0/30"), "{told}");
    host.remove(&["one"]);
    // The address is free again.
    host.cella(&["run", "--rm", "--network", "tiny", "host", "true"]).ok();
    host.cella(&["rm", "-f", "two"]);
    host.finish();
}

#[test]
fn addresses_that_are_taken_are_refused() {
    let Some(host) = host("duplicates") else { return };
    let create = ["network", "create", "--subnet", "10.85.0.0/24", "--subnet", "fd00:85::/64", "net"];
    host.cella(&create).ok();
    host.sleeping("one", &["--network", "net,ip=10.85.0.9,ip6=fd00:85::9,mac=02:00:00:00:85:09"]);
    for option in ["ip=10.85.0.9", "ip6=fd00:85::9", "mac=02:00:00:00:85:09"] {
        let flag = format!("net,{option}");
        let told = host.cella(&["run", "--rm", "--network", &flag, "host", "true"]).fails(125);
        assert!(told.contains(option.split_once('=').unwrap().1) && told.contains("taken"), "{told}");
    }
    for option in
        ["ip=10.86.0.9", "ip=10.85.0.1", "ip=10.85.0.255", "ip6=fd00:86::9", "mac=ff:ff:ff:ff:ff:ff", "ip=x", "mac=x"]
    {
        host.cella(&["run", "--rm", "--network", &format!("net,{option}"), "host", "true"]).fails(125);
    }
    host.remove(&["one"]);
    assert_eq!(host.cella(&["ls", "-aq"]).ok(), "");
    host.finish();
}

#[test]
fn a_device_that_is_not_there_is_told() {
    let Some(host) = host("missing") else { return };
    for kind in ["physical", "macvlan", "bridge"] {
        let flag = format!("{kind}:nic7");
        let told = host.cella(&["run", "--rm", "--network", &flag, "host", "true"]).fails(125);
        assert!(told.contains("no device nic7"), "{told}");
    }
    let told = host.cella(&["network", "create", "-d", "macvlan", "--parent", "nic7", "x"]).fails(125);
    assert!(told.contains("no device nic7"), "{told}");
    let told = host.cella(&["network", "create", "--existing", "--device", "out0", "x"]).fails(125);
    assert!(told.contains("no bridge"), "{told}");
    let told = host.cella(&["run", "--rm", "--network", "cela0", "host", "true"]).fails(125);
    assert!(told.contains("cela0"), "{told}");
    assert_eq!(host.cella(&["ls", "-aq"]).ok(), "");
    host.finish();
}

#[test]
fn a_host_without_a_packet_filter_is_told_and_has_no_network() {
    let Some(host) = host("no-nft") else { return };
    let cella = |arguments: &[&str]| -> Done {
        let mut command = host.store.on_host("/usr/bin/python3");
        command.args(["-ISc", WITHOUT_NETFILTER]).arg(crate::support::program()).env("CELLA_ROOT", &host.store.root);
        command.args(arguments).output().unwrap().into()
    };
    // Isolation that can not be had is not left out.
    let told = cella(&["run", "--rm", "host", "true"]).fails(125);
    assert!(told.contains("cannot open the packet filter") && told.contains("hint:"), "{told}");
    assert_eq!(cella(&["run", "--rm", "--network", "none", "host", "echo", "alone"]).ok(), "alone");
    let shown = cella(&["doctor"]);
    assert!(shown.out.contains("CONFIG_NF_TABLES_BRIDGE"), "{}", shown.out);
    assert_eq!(host.cella(&["ls", "-aq"]).ok(), "");
    host.finish();
}

#[test]
fn a_network_in_use_is_not_removed() {
    let Some(host) = host("in-use") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.cella(&["network", "create", "spare"]).ok();
    host.cella(&["create", "--name", "web", "--network", "back", "host", "true"]).ok();
    let told = host.cella(&["network", "rm", "back"]).fails(1);
    assert!(told.contains("web"), "{told}");
    assert_eq!(host.cella(&["network", "prune"]).ok(), "spare");
    host.remove(&["web"]);
    host.cella(&["network", "rm", "back"]).ok();
    host.finish();
}
