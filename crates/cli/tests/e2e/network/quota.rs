// SPDX-License-Identifier: Apache-2.0
//! What has gone through, by the month, and what happens when it was too much.

use super::support::{HOST, Host, OUTSIDE, host};
use crate::support::until;

/// Bytes that a container has sent and received this month.
fn bytes(host: &Host, name: &str) -> u64 {
    let told = host.cella(&["network", "traffic", name, "--format", "json"]).ok();
    let list: serde_json::Value = serde_json::from_str(&told).unwrap();
    list.as_array().unwrap().iter().map(|one| one["sent"].as_u64().unwrap() + one["received"].as_u64().unwrap()).sum()
}

#[test]
fn traffic_is_counted_over_restarts() {
    let Some(host) = host("traffic") else { return };
    host.sleeping("box", &[]);
    let send = |packets: u32| {
        let to = OUTSIDE[0];
        let script = format!(
            "import socket; s = socket.socket(2, 2); [s.sendto(bytes(1024), (\"{to}\", 9)) for _ in range({packets})]"
        );
        host.inside("box", &format!("python3 -c '{script}'"));
    };
    send(300);
    let first = bytes(&host, "box");
    assert!((300 * 1024..400 * 1024).contains(&first), "{first}");
    host.cella(&["restart", "-t", "0", "box"]).ok();
    assert!(bytes(&host, "box") >= first);
    send(100);
    let second = bytes(&host, "box");
    assert!(second >= first + 100 * 1024, "{first} {second}");
    assert!(host.cella(&["network", "traffic", "box"]).ok().contains("box"));
    host.remove(&["box"]);
    host.finish();
}

#[test]
fn a_quota_that_is_used_up_shuts_the_container_off() {
    let Some(host) = host("quota") else { return };
    host.serving("web", 80, &["-p", "8080:80", "--net-quota", "1M"]);
    assert!(host.outside.ask("tcp", HOST[0], 8080).starts_with("web"));
    host.cella(&["set", "web", "--net-quota", "1k"]).ok();
    until("it is shut off", || host.outside.sh(&format!("busybox nc -w 1 {} 8080 </dev/null", HOST[0])).out.is_empty());
    host.outside.ask_in_vain("tcp", HOST[0], 8080);
    assert!(host.cella(&["network", "traffic", "web"]).ok().contains("used up"));
    host.cella(&["set", "web", "--net-quota", "-1"]).ok();
    assert!(host.outside.ask("tcp", HOST[0], 8080).starts_with("web"));
    host.remove(&["web"]);
    host.finish();
}
