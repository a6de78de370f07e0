// SPDX-License-Identifier: Apache-2.0
//! Published ports: from outside, from the host, from containers; taken ones; added and taken back while it runs.

use super::support::{HOST, Host, OUTSIDE, host};
use crate::support::until;

#[test]
fn a_port_is_reached_from_outside_with_the_clients_address() {
    let Some(host) = host("publish") else { return };
    host.serving("web", 80, &["-p", "8080:80", "-p", "8080:80/udp"]);
    for (own, outside) in HOST.iter().zip(OUTSIDE) {
        for protocol in ["tcp", "udp"] {
            assert_eq!(host.outside.ask(protocol, own, 8080), format!("web {outside}"), "{protocol}");
        }
    }
    assert_eq!(host.cella(&["port", "ls", "web"]).ok(), "80/tcp -> *:8080\n80/udp -> *:8080");
    host.remove(&["web"]);
    for own in HOST {
        host.outside.ask_in_vain("tcp", own, 8080);
    }
    host.finish();
}

#[test]
fn a_port_is_reached_from_the_host_and_its_localhost() {
    let Some(host) = host("localhost") else { return };
    host.sh("sysctl -qw net.bridge.bridge-nf-call-ip6tables=0");
    host.serving("web", 80, &["-p", "8080:80", "-p", "8080:80/udp"]);
    for address in HOST.iter().chain(&["127.0.0.1", "::1"]) {
        for protocol in ["tcp", "udp"] {
            let answer = host.ask(protocol, address, 8080);
            assert!(answer.starts_with("web "), "{protocol} {address}: {answer}");
        }
    }
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn with_br_netfilter_nobody_waits_at_the_loopback_of_v6() {
    let Some(host) = host("br-netfilter") else { return };
    if host.sh("sysctl -qw net.bridge.bridge-nf-call-ip6tables=1").code != 0 {
        crate::support::skip("with_br_netfilter_nobody_waits_at_the_loopback_of_v6", "there is no br_netfilter");
        return host.finish();
    }
    host.serving("web", 80, &["-p", "8080:80"]);
    for address in [HOST[0], HOST[1], "127.0.0.1"] {
        assert!(host.ask("tcp", address, 8080).starts_with("web "));
    }
    host.refused("tcp", "::1", 8080);
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_port_is_reached_from_containers_and_from_its_own() {
    let Some(host) = host("hairpin") else { return };
    host.cella(&["network", "create", "back"]).ok();
    host.serving("web", 80, &["-p", "8080:80", "-p", "8080:80/udp"]);
    host.sleeping("near", &[]);
    host.sleeping("far", &["--network", "back"]);
    for own in HOST {
        for from in ["near", "far", "web"] {
            for protocol in ["tcp", "udp"] {
                let answer = host.ask_from(from, protocol, own, 8080);
                assert!(answer.starts_with("web "), "{from} {protocol} {own}: {answer}");
            }
        }
    }
    host.remove(&["web", "near", "far"]);
    host.finish();
}

#[test]
fn a_port_of_one_address_is_at_no_other() {
    let Some(host) = host("one-address") else { return };
    host.serving("web", 80, &["-p", "127.0.0.1:8080:80", "-p", "[2001:db8::1]:8081:80"]);
    assert!(host.ask("tcp", "127.0.0.1", 8080).starts_with("web "));
    assert_eq!(host.outside.ask("tcp", HOST[1], 8081), format!("web {}", OUTSIDE[1]));
    for (own, port) in [(HOST[0], 8080), (HOST[1], 8080), (HOST[0], 8081)] {
        host.outside.ask_in_vain("tcp", own, port);
    }
    host.ask_in_vain("tcp", HOST[0], 8080);
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn ranges_of_ports_are_published() {
    let Some(host) = host("ranges") else { return };
    host.serving("web", 81, &["-p", "9000-9002:80-82"]);
    assert_eq!(host.outside.ask("tcp", HOST[0], 9001), format!("web {}", OUTSIDE[0]));
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn all_ports_of_an_image_are_published() {
    let Some(host) = host("publish-all") else { return };
    let at = &host.store.root;
    let script = "umoci init --layout layout && umoci new --image layout:v1 && mkdir -p rootfs/bin && \
        cp /bin/busybox rootfs/bin/ && ln -s busybox rootfs/bin/sh && umoci insert --image layout:v1 rootfs / && \
        umoci config --image layout:v1 --config.exposedports 80/tcp --config.exposedports 53/udp --config.exposedports x/y";
    host.sh(&format!("cd {} && {script}", at.display())).ok();
    let image = format!("oci:{}/layout:v1", at.display());
    let serve = "echo served > /index.html; exec busybox httpd -f -p 80 -h /";
    host.cella(&["run", "-d", "--name", "web", "-P", &image, "/bin/sh", "-c", serve]).ok();
    let ports = host.cella(&["port", "ls", "web"]).ok();
    assert_eq!(ports.lines().count(), 2, "{ports}");
    let http = ports.lines().find_map(|line| line.strip_prefix("80/tcp -> *:")).unwrap();
    let get = format!("busybox wget -qO- http://{}:{http}/index.html", HOST[0]);
    until("it serves", || host.outside.sh(&get).out == "served\n");
    host.remove(&["web"]);
    host.cella(&["image", "rm", &image]);
    host.finish();
}

/// The containers that there are, the devices, and the rules.
fn state(host: &Host) -> String {
    format!(
        "{}\n{}\n{}",
        host.cella(&["ls", "-a", "-q"]).ok(),
        host.sh("ip -br link").ok(),
        host.sh("nft -s list ruleset").ok()
    )
}

#[test]
fn a_taken_port_is_told_and_leaves_nothing() {
    let Some(mut host) = host("taken") else { return };
    host.serve_here(8080);
    host.serving("web", 80, &["-p", "8081:80"]);
    let before = state(&host);
    for port in ["8080:80", "8081:80"] {
        let told = host.cella(&["run", "--rm", "-p", port, "host", "true"]).fails(125);
        assert!(told.contains(port) && told.contains("hint: "), "{told}");
        assert_eq!(state(&host), before);
    }
    let told = host.cella(&["port", "add", "web", "8080:80"]).fails(1);
    assert!(told.contains("8080") && told.contains("hint: "), "{told}");
    assert_eq!(state(&host), before);
    let told = host.cella(&["run", "--rm", "-p", "8081:81", "host", "true"]).fails(125);
    assert!(told.contains("container web") && told.contains("cella port rm web 8081:80"), "{told}");
    // Others' ports of the same number are not taken: another address, another protocol.
    host.cella(&["run", "--rm", "-p", "127.0.0.9:8082:80", "-p", "8081:80/udp", "host", "true"]).ok();
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn a_published_port_is_taken_for_programs_of_the_host() {
    let Some(host) = host("keeps") else { return };
    host.serving("web", 80, &["-p", "8080:80"]);
    let bind = "python3 -c 'import socket; socket.socket().bind((\"\", 8080))'";
    assert!(host.sh(bind).err.contains("in use"));
    host.cella(&["port", "rm", "web", "8080:80"]).ok();
    host.sh(bind).ok();
    host.remove(&["web"]);
    host.finish();
}

#[test]
fn ports_come_and_go_on_a_running_container() {
    let Some(host) = host("live-ports") else { return };
    host.serving("web", 80, &[]);
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    host.cella(&["port", "add", "web", "8080:80"]).ok();
    for (own, outside) in HOST.iter().zip(OUTSIDE) {
        assert_eq!(host.outside.ask("tcp", own, 8080), format!("web {outside}"));
    }
    let chosen = host.cella(&["port", "add", "web", "80"]).ok();
    let port = chosen.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(host.outside.ask("tcp", HOST[0], port), format!("web {}", OUTSIDE[0]));
    host.cella(&["port", "rm", "web", "8080:80"]).ok();
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    // What was chosen is the same after a restart.
    host.cella(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(host.outside.ask("tcp", HOST[0], port), format!("web {}", OUTSIDE[0]));
    let missing = host.cella(&["port", "rm", "web", "8080:80"]).fails(1);
    assert!(missing.contains("8080"), "{missing}");
    host.remove(&["web"]);
    host.finish();
}

/// Asks by UDP from one port until it is answered.
const KEEP_ASKING: &str = "
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.connect((sys.argv[1], 8080))
one.settimeout(0.1)
end = time.monotonic() + 10
while time.monotonic() < end:
    try:
        one.send(b'?')
        sys.exit(print(one.recv(100).decode()))
    except OSError:
        time.sleep(0.05)
sys.exit(1)
";

#[test]
fn a_client_that_has_asked_before_is_heard_once_somebody_is_there() {
    let Some(host) = host("udp-flow") else { return };
    // With a network there, the kernel follows connections: it knows that this one leads to the host itself.
    host.sleeping("other", &[]);
    let mut command = crate::support::in_namespace(&host.outside.0, "/usr/bin/python3");
    command.args(["-ISc", KEEP_ASKING, HOST[0]]).stdout(std::process::Stdio::piped());
    let client = command.spawn().unwrap();
    let refused = "awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp";
    until("it has been refused", || host.sh(refused).ok() != "0");
    host.serving("web", 80, &["-p", "8080:80/udp"]);
    let heard = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&heard.stdout).trim_end(), format!("web {}", OUTSIDE[0]));
    host.remove(&["web", "other"]);
    host.finish();
}

#[test]
fn a_container_that_is_started_again_has_its_ports_and_addresses() {
    let Some(host) = host("policy") else { return };
    host.serving("web", 80, &["-p", "8080:80", "--restart", "always"]);
    let lease = host.lease("cella0", "web");
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    let pid = host.store.inspect("web", "pid");
    host.sh(&format!("kill -9 {pid}")).ok();
    until("it runs again", || !["0", "null", pid.as_str()].contains(&host.store.inspect("web", "pid").as_str()));
    assert_eq!(host.outside.ask("tcp", HOST[0], 8080), format!("web {}", OUTSIDE[0]));
    assert_eq!(host.lease("cella0", "web"), lease);
    host.remove(&["web"]);
    host.finish();
}
