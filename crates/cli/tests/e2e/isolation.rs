// SPDX-License-Identifier: Apache-2.0
//! Namespaces: what is the container's own, and what of the host it can not see.

use std::collections::BTreeSet;

use crate::support::{Store, is_root};

#[test]
fn the_eight_namespaces_are_its_own() {
    if !is_root("the_eight_namespaces_are_its_own") {
        return;
    }
    let store = Store::new("eight");
    let script = "for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done";
    let inside = store.sh(&["--time-offset", "boottime=86400"], script).ok();
    for (kind, link) in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].iter().zip(inside.lines()) {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(link, own.to_string_lossy(), "{kind}");
        assert!(link.starts_with(kind), "{link}");
    }
    store.finish();
}

#[test]
fn root_inside_is_a_range_outside() {
    if !is_root("root_inside_is_a_range_outside") {
        return;
    }
    let store = Store::new("range");
    let first = store.sh(&[], "id -u; cat /proc/self/uid_map").ok();
    let mut lines = first.lines();
    assert_eq!(lines.next(), Some("0"));
    let map: Vec<u64> = lines.next().unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(map[0] == 0 && map[1] >= 1_879_048_192 && map[2] == 65_536, "{map:?}");
    store.finish();
}

#[test]
fn two_containers_have_different_ids_and_files_belong_to_them() {
    if !is_root("two_containers_have_different_ids_and_files_belong_to_them") {
        return;
    }
    let store = Store::new("twoids");
    let mut owners = Vec::new();
    for name in ["a", "b"] {
        store.cella(&["run", "--name", name, "host", "sh", "-c", "echo x > /root/mine; stat -c %u /root/mine"]).ok();
        let path = store.root.join("containers").join(name).join("upper/0/root/mine");
        owners.push(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap()));
        assert_eq!(store.inspect(name, "ids"), owners.last().unwrap().to_string());
    }
    assert_ne!(owners[0], owners[1]);
    assert_eq!(store.cella(&["logs", "a"]).ok(), "0");
    store.cella(&["rm", "a", "b"]).ok();
    store.finish();
}

#[test]
fn pid_1_is_the_program_and_proc_shows_only_the_inside() {
    if !is_root("pid_1_is_the_program_and_proc_shows_only_the_inside") {
        return;
    }
    let store = Store::new("pid1");
    // The shell, one that sleeps, and ls.
    let script = "cat /proc/1/comm; sleep 10 & ls /proc > /tmp/list; grep -c '^[0-9]' /tmp/list";
    assert_eq!(store.sh(&[], script).ok(), "sh\n3");
    assert_eq!(store.sh(&["--init"], "echo $$; cat /proc/1/comm").ok().lines().next(), Some("2"));
    store.finish();
}

#[test]
fn init_reaps_orphans_and_passes_the_exit_code_on() {
    if !is_root("init_reaps_orphans_and_passes_the_exit_code_on") {
        return;
    }
    let store = Store::new("init");
    let script = "(sh -c 'sleep 0.05 & exit 0'); sleep 0.3; ls /proc | grep '^[0-9]' | while read p; do grep -l '^State:.Z' /proc/$p/status 2>/dev/null; done; exit 7";
    let done = store.sh(&["--init"], script);
    assert_eq!((done.code, done.out.as_str()), (7, ""), "{}", done.err);
    store.finish();
}

#[test]
fn host_and_domain_name_are_its_own_and_the_hosts_stay() {
    if !is_root("host_and_domain_name_are_its_own_and_the_hosts_stay") {
        return;
    }
    let store = Store::new("uts");
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let script = "hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname; hostname changed; hostname";
    let flags = ["--hostname", "box", "--domainname", "dom", "--cap-add", "SYS_ADMIN"];
    assert_eq!(store.sh(&flags, script).ok(), "box\ndom\nbox\nchanged");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    store.finish();
}

#[test]
fn without_a_network_there_is_a_working_loopback_and_nothing_else() {
    if !is_root("without_a_network_there_is_a_working_loopback_and_nothing_else") {
        return;
    }
    let store = Store::new("net");
    let script = "ls /sys/class/net; cat /sys/class/net/lo/flags; grep -c : /proc/net/dev; wc -l < /proc/net/route";
    assert_eq!(store.sh(&["--network", "none"], script).ok(), "lo\n0x9\n1\n1");
    // Those of containers that other tests have at the same time come and go.
    let is_hosts = |name: &str| !name.starts_with("cella") && !name.contains('.');
    let text = store.sh(&["--network", "host"], "ls /sys/class/net").ok();
    let seen: BTreeSet<String> = text.lines().filter(|name| is_hosts(name)).map(str::to_owned).collect();
    let host = crate::support::names(std::path::Path::new("/sys/class/net"));
    assert_eq!(seen, host.into_iter().filter(|name| is_hosts(name)).collect());
    store.finish();
}

#[test]
fn ipc_is_its_own_with_its_own_shm_and_mqueue() {
    if !is_root("ipc_is_its_own_with_its_own_shm_and_mqueue") {
        return;
    }
    let store = Store::new("ipc");
    let script = "ls -A /dev/shm | wc -l; touch /dev/shm/x; wc -l < /proc/sysvipc/shm; stat -f -c %T /dev/mqueue; df -k /dev/shm | tail -1 | awk '{print $2}'";
    assert_eq!(store.sh(&["--shm-size", "8m"], script).ok(), "0\n1\nmqueue\n8192");
    store.finish();
}

#[test]
fn a_time_namespace_moves_the_uptime() {
    if !is_root("a_time_namespace_moves_the_uptime") {
        return;
    }
    let store = Store::new("time");
    let up = |text: String| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let host = up(std::fs::read_to_string("/proc/uptime").unwrap());
    let inside = up(store.sh(&["--time-offset", "boottime=1000000"], "cat /proc/uptime").ok());
    assert!(inside >= host + 999_990, "{inside} against {host}");
    store.finish();
}

#[test]
fn namespaces_of_another_container_are_shared() {
    if !is_root("namespaces_of_another_container_are_shared") {
        return;
    }
    let store = Store::new("share");
    store.cella(&["run", "-d", "--name", "base", "host", "sleep", "60"]).ok();
    let flags = ["--network", "container:base", "--pid", "container:base", "--ipc", "container:base"];
    let inside = store.sh(&flags, "cat /proc/1/comm; readlink /proc/self/ns/net").ok();
    let pid = store.inspect("base", "pid");
    let own = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(inside, format!("sleep\n{}", own.display()));
    store.cella(&["rm", "-f", "base"]).ok();
    store.finish();
}

#[test]
fn volumes_binds_and_tmpfs() {
    if !is_root("volumes_binds_and_tmpfs") {
        return;
    }
    let store = Store::new("mounts");
    let source = store.root.join("data");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("f"), "hello").unwrap();
    let bind = format!("{}:/data:ro", source.display());
    let script = "cat /data/f; echo; touch /data/x 2>/dev/null || echo read-only; touch /t/x && stat -f -c %T /t; echo kept > /v/k";
    let flags = ["-v", &bind, "--tmpfs", "/t:size=1m", "-v", "vol:/v"];
    assert_eq!(store.sh(&flags, script).ok(), "hello\nread-only\ntmpfs");
    assert_eq!(store.sh(&["-v", "vol:/v"], "cat /v/k; stat -c %u /v/k").ok(), "kept\n0");
    std::fs::remove_dir_all(store.root.join("volumes/vol")).unwrap();
    store.finish();
}

#[test]
fn nothing_of_the_hosts_mounts_is_seen() {
    if !is_root("nothing_of_the_hosts_mounts_is_seen") {
        return;
    }
    let store = Store::new("tree");
    let script = "awk '{print $5}' /proc/self/mountinfo | grep -v -e ^/$ -e ^/usr -e ^/bin -e ^/sbin -e ^/lib -e ^/proc -e ^/dev -e ^/sys -e ^/etc/ ; true";
    assert_eq!(store.sh(&[], script).ok(), "");
    assert_eq!(store.sh(&["--read-only"], "touch /x 2>/dev/null || echo no").ok(), "no");
    store.finish();
}

#[test]
fn each_namespace_can_be_the_hosts() {
    if !is_root("each_namespace_can_be_the_hosts") {
        return;
    }
    let store = Store::new("hosts");
    let shares = [("pid", "--pid"), ("ipc", "--ipc"), ("uts", "--uts"), ("cgroup", "--cgroupns"), ("user", "--userns")];
    for (kind, flag) in shares {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let inside = store.sh(&[flag, "host"], &format!("readlink /proc/self/ns/{kind}")).ok();
        assert_eq!(inside, own.to_string_lossy(), "{kind}");
    }
    store.finish();
}

#[test]
fn a_device_may_have_another_name_inside() {
    if !is_root("a_device_may_have_another_name_inside") {
        return;
    }
    let store = Store::new("device");
    let script =
        "stat -c '%F %t %T %u' /dev/other; head -c 2 /dev/other | wc -c; (: > /dev/other) 2>/dev/null || echo no";
    let seen = store.sh(&["--device", "/dev/zero:/dev/other:r"], script).ok();
    assert_eq!(seen, "character special file 1 5 0\n2");
    let privileged =
        store.sh(&["--privileged"], "grep CapEff /proc/self/status; mount -t tmpfs none /mnt && echo mounted");
    assert!(privileged.ok().ends_with("mounted"));
    store.finish();
}

#[test]
fn what_its_user_namespace_uses_counts_on_its_own_ids() {
    let test = "what_its_user_namespace_uses_counts_on_its_own_ids";
    if !is_root(test) {
        return;
    }
    let store = Store::new("owner");
    store.cella(&["run", "-d", "--name", "o", "host", "sleep", "60"]).ok();
    // NS_GET_OWNER_UID. With root as the owner of all, a dozen systems use up what root has of inotify (EMFILE).
    let ask =
        "import ctypes, fcntl, sys; u = ctypes.c_uint(); fcntl.ioctl(open(sys.argv[1]), 0xb704, u); print(u.value)";
    let file = format!("/proc/{}/ns/user", store.inspect("o", "pid"));
    let output = std::process::Command::new("python3").args(["-c", ask, &file]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), store.inspect("o", "ids"));
    let bits = "import ctypes; print(ctypes.CDLL(None).prctl(27, 0, 0, 0, 0))";
    assert_eq!(store.cella(&["exec", "o", "python3", "-c", bits]).ok(), "0");
    let first = "sed -n 's/^CapBnd:\\t//p' /proc/1/status";
    assert_eq!(store.cella(&["exec", "o", "sh", "-c", first]).ok(), "00000000800404fb");
    store.cella(&["rm", "-f", "o"]).ok();
    store.finish();
}
