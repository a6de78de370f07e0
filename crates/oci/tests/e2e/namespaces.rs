// SPDX-License-Identifier: Apache-2.0
//! Namespaces: new, joined by path, with maps, offsets and devices.

use serde_json::json;

use crate::support::{both, ours};

#[test]
fn every_namespace_is_its_own() {
    both("every_namespace_is_its_own", |case| {
        let out = case.prints("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; hostname");
        let mut lines = out.lines();
        for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
            let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_ne!(lines.next(), own.to_str(), "{kind}");
        }
        assert_eq!(lines.next(), Some("guest"));
    });
}

#[test]
fn a_user_namespace_has_its_maps() {
    both("a_user_namespace_has_its_maps", |case| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}, {"containerID": 1000, "hostID": 300_000, "size": 10}]);
        case.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        case.add("/linux/namespaces", json!({"type": "user"}));
        for (path, id) in [("", 100_000), ("tmp", 100_000)] {
            std::os::unix::fs::chown(case.rootfs().join(path), Some(id), Some(id)).unwrap();
        }
        let out = case.prints("tr -s ' ' < /proc/self/uid_map; id -u; touch /tmp/x; stat -c %u /tmp/x; ls -l /dev/null | cut -c1-10; cat /proc/self/setgroups");
        assert_eq!(out, " 0 100000 1000\n 1000 300000 10\n0\n0\ncrw-rw-rw-\nallow\n");
        case.set("/process/user", json!({"uid": 1005, "gid": 1005}));
        assert_eq!(case.prints("id -u"), "1005\n");
    });
}

#[test]
fn namespaces_are_joined_by_path() {
    both("namespaces_are_joined_by_path", |case| {
        let mut holder = std::process::Command::new("unshare");
        let mut holder = holder.args(["-n", "-i", "-u", "sh", "-c", "hostname joined; echo ready; exec sleep 1000"]);
        holder = holder.stdout(std::process::Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.as_mut().unwrap()), &mut line).unwrap();
        let pid = holder.id();
        let path = |file: &str| format!("/proc/{pid}/ns/{file}");
        case.set(
            "/linux/namespaces",
            json!([
                {"type": "mount"}, {"type": "pid"}, {"type": "network", "path": path("net")},
                {"type": "ipc", "path": path("ipc")}, {"type": "uts", "path": path("uts")},
            ]),
        );
        case.config.as_object_mut().unwrap().remove("hostname");
        let out = case.prints("hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; echo $$");
        let link = |file: &str| std::fs::read_link(path(file)).unwrap().display().to_string();
        assert_eq!(out, format!("joined\n{}\n{}\n1\n", link("net"), link("ipc")));
        case.set("/linux/namespaces/2/path", json!(path("uts")));
        case.set("/linux/namespaces", json!([{"type": "mount"}, {"type": "network", "path": path("uts")}]));
        assert_ne!(case.run().code, 0, "a file of another kind");
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

#[test]
fn a_pid_namespace_is_joined_by_path() {
    both("a_pid_namespace_is_joined_by_path", |case| {
        let mut holder = std::process::Command::new("unshare");
        let mut holder = holder
            .args(["-p", "-f", "--kill-child", "sh", "-c", "echo ready; exec sleep 1000"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.as_mut().unwrap()), &mut line).unwrap();
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
        let path = format!("/proc/{}/ns/pid", children.trim());
        case.set("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": path}]));
        case.config.as_object_mut().unwrap().remove("hostname");
        let out = case.prints("cat /proc/1/comm; test $$ -gt 1 && echo beside");
        assert_eq!(out, "sleep\nbeside\n");
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

#[test]
fn clocks_have_offsets_with_a_user_namespace_too() {
    ours("clocks_have_offsets_with_a_user_namespace_too", |case| {
        case.add("/linux/namespaces", json!({"type": "time"}));
        case.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5}}));
        let days = |text: String| text.split('.').next().unwrap().parse::<u64>().unwrap();
        assert!(days(case.prints("cat /proc/uptime")) > 1_000_000);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        case.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        case.add("/linux/namespaces", json!({"type": "user"}));
        assert!(days(case.prints("cat /proc/uptime")) > 1_000_000);
    });
}

#[test]
fn network_devices_move_in() {
    ours("network_devices_move_in", |case| {
        let script = format!(
            "ip link add cella0t type veth peer name cella1t && {} --root state run {}; ip link del cella1t 2>/dev/null; true",
            case.runtime.program, case.id
        );
        case.set("/linux/netDevices", json!({"cella0t": {"name": "eth7"}}));
        case.script("ls /sys/class/net | tr '\\n' ' '").write_config();
        let mut command = std::process::Command::new("unshare");
        let output = command.args(["-n", "sh", "-c", &script]).current_dir(&case.path).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("eth7") && out.contains("lo"), "{output:?}");
    });
}

#[test]
fn sysctls_are_of_its_namespaces_only() {
    both("sysctls_are_of_its_namespaces_only", |case| {
        case.set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "77", "kernel.domainname": "inside"}),
        );
        let out = case.prints("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/kernel/domainname");
        assert_eq!(out, "1\n77\ninside\n");
        for name in ["kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern"] {
            case.set("/linux/sysctl", json!({name: "1"}));
            assert_ne!(case.run().code, 0, "{name}");
        }
    });
}

#[test]
fn the_loopback_device_is_up_and_domainname_is_set() {
    ours("the_loopback_device_is_up_and_domainname_is_set", |case| {
        case.set("/domainname", json!("dom"));
        assert_eq!(case.prints("cat /sys/class/net/lo/flags; cat /proc/sys/kernel/domainname"), "0x9\ndom\n");
    });
}
