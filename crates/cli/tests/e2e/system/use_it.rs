// SPDX-License-Identifier: Apache-2.0
//! They are used as machines are: logins, services, users, limits.

use super::roots::image;
use crate::support::{Store, on_terminal, until};

/// A system that runs.
fn launched(test: &str, flags: &[&str]) -> Option<Store> {
    let image = image(test, "trixie")?;
    let store = Store::new(test);
    store.cella(&[&["launch"], flags, &[image.as_str(), "m"]].concat()).ok();
    Some(store)
}

fn inside(store: &Store, script: &str) -> String {
    store.cella(&["exec", "m", "sh", "-c", script]).ok()
}

fn again(store: &Store) {
    store.cella(&["stop", "m"]).ok();
    store.cella(&["start", "--wait-ready", "m"]).ok();
}

fn gone(store: Store) {
    store.cella(&["rm", "-f", "m"]).ok();
    store.finish();
}

#[test]
fn it_knows_itself_and_its_host_by_the_container_interface() {
    let flags = ["--set-credential", "my.secret:se:cret"];
    let Some(store) = launched("it_knows_itself_and_its_host_by_the_container_interface", &flags) else { return };
    let id = inside(&store, "cat /etc/machine-id");
    assert_eq!(inside(&store, "cat /run/host/container-uuid"), id);
    assert_eq!((id.len(), inside(&store, "systemd-detect-virt --container")), (32, "lxc".into()));
    assert_eq!(inside(&store, "tr '\\0' '\\n' < /proc/1/environ | grep ^container="), "container=lxc");
    assert!(inside(&store, "cat /run/host/os-release").contains("ID="));
    let secret = "systemd-run -q --wait -P -p ImportCredential=my.secret sh -c 'cat $CREDENTIALS_DIRECTORY/my.secret'";
    assert_eq!(inside(&store, secret), "se:cret");
    // Nobody else inside may read it, and nothing of the host's is written through that mount.
    let other = "su -s /bin/sh nobody -c 'cat /run/host/credentials/my.secret' 2>&1; touch /run/host/x 2>&1";
    let refused = store.cella(&["exec", "m", "sh", "-c", other]).out;
    assert!(refused.contains("Permission denied") && refused.contains("Read-only"), "{refused}");
    again(&store);
    assert_eq!(inside(&store, "cat /etc/machine-id"), id, "it stays over restarts");
    gone(store);
}

#[test]
fn two_systems_of_one_image_are_two_machines() {
    let test = "two_systems_of_one_image_are_two_machines";
    let Some(store) = launched(test, &[]) else { return };
    let image = image(test, "trixie").unwrap();
    store.cella(&["launch", &image, "n"]).ok();
    let ids = ["m", "n"].map(|name| store.cella(&["exec", name, "cat", "/etc/machine-id"]).ok());
    assert_ne!(ids[0], ids[1]);
    let bases = ["m", "n"].map(|name| store.inspect(name, "ids").parse::<u64>().unwrap());
    assert!(bases[0].abs_diff(bases[1]) >= 65536, "their ids are their own: {bases:?}");
    assert_eq!(store.cella(&["exec", "m", "sh", "-c", "getent hosts n >/dev/null && echo found"]).ok(), "found");
    store.cella(&["rm", "-f", "n"]).ok();
    gone(store);
}

#[test]
fn services_are_sandboxed_as_anywhere() {
    let Some(store) = launched("services_are_sandboxed_as_anywhere", &[]) else { return };
    let run = |properties: &str, command: &str| {
        let properties: String = properties.split(' ').map(|property| format!("-p {property} ")).collect();
        inside(&store, &format!("systemd-run -q --wait -P {properties} sh -c '{command}'"))
    };
    assert!(run("DynamicUser=yes", "id").contains("uid=6"));
    assert_eq!(run("PrivateTmp=yes", "touch /tmp/x && ls /tmp"), "x");
    assert_eq!(run("ProtectProc=invisible ProcSubset=pid User=nobody", "ls /proc | grep -c ^1$ || true"), "0");
    let strict = "PrivateDevices=yes PrivateNetwork=yes ProtectSystem=strict ProtectKernelTunables=yes \
                  ProtectKernelModules=yes ProtectControlGroups=yes PrivateUsers=yes ProtectHostname=yes";
    assert_eq!(run(strict, "touch /usr/x 2>/dev/null || ip -br link | wc -l"), "1");
    assert_eq!(run("SystemCallFilter=~@mount", "mount -t tmpfs x /mnt 2>/dev/null || echo no"), "no");
    assert_eq!(run("MemoryMax=100M TasksMax=20", "sed s,.*/,, /proc/self/cgroup | tail -1 | cut -c1-3"), "run");
    gone(store);
}

#[test]
fn it_has_logins_sessions_and_users() {
    let Some(store) = launched("it_has_logins_sessions_and_users", &[]) else { return };
    inside(&store, "useradd -m -s /bin/sh bob && touch /home/bob/x && chown bob:bob /home/bob/x");
    assert_eq!(inside(&store, "stat -c %U /home/bob/x"), "bob");
    // set-user-id programs and file capabilities work.
    inside(&store, "echo 'bob ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/bob");
    assert_eq!(inside(&store, "su -l bob -c 'sudo id -u'"), "0");
    assert!(inside(&store, "su -l bob -c 'ping -c1 -W2 127.0.0.1'").contains("1 received"));
    let id = store.cella(&["shell", "-u", "bob", "m", "--", "sh", "-c", "id -un; echo $XDG_RUNTIME_DIR; pwd"]).ok();
    assert_eq!(id, "bob\n/run/user/1000\n/home/bob");

    let typed = [("root@m", "loginctl list-sessions --no-legend; tty\n"), ("/dev/pts/", "exit\n")];
    let shown = on_terminal(&store, "shell m", &typed);
    assert!(shown.lines().any(|line| line.contains(" root ") && line.contains("pts/")), "{shown}");
    inside(&store, "loginctl enable-linger bob");
    until("their manager runs", || store.cella(&["exec", "m", "systemctl", "is-active", "user@1000"]).code == 0);
    gone(store);
}

#[test]
fn the_console_asks_who_logs_in_and_is_let_go() {
    let Some(store) = launched("the_console_asks_who_logs_in_and_is_let_go", &[]) else { return };
    inside(&store, "echo root:secret | chpasswd");
    let typed = [
        ("lets go", "\r"),
        ("login:", "root\n"),
        ("assword:", "secret\n"),
        ("root@m", "echo it''self\n"),
        ("itself", "\u{10}\u{11}"),
    ];
    let shown = on_terminal(&store, "console m", &typed);
    assert!(shown.contains("ctrl-p,ctrl-q lets go"), "{shown}");
    assert_eq!(store.inspect("m", "status"), "running");
    assert!(store.cella(&["boot-log", "m"]).ok().contains("itself"));
    gone(store);
}

#[test]
fn it_can_not_lift_its_limits_and_they_are_changed_outside() {
    let flags = ["--memory", "256M", "--pids-limit", "200"];
    let Some(store) = launched("it_can_not_lift_its_limits_and_they_are_changed_outside", &flags) else { return };
    // What limits the whole is nobody's inside; what divides it is root's.
    let lift = "for f in /sys/fs/cgroup/*.max /sys/fs/cgroup/*.weight; do \
                [ -e $f ] && echo max 2>/dev/null > $f && echo lifted $f; done; \
                mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo own; \
                ls -d /sys/fs/cgroup/../cella* 2>/dev/null; true";
    assert_eq!(inside(&store, lift), "own");
    let forks = "n=0; while [ $n -lt 300 ]; do sleep 30 & n=$((n+1)); done 2>/dev/null; true";
    store.cella(&["exec", "m", "sh", "-c", forks]);
    until("the limit holds", || store.cella(&["stats", "--no-stream", "--format", "json", "m"]).out.contains("200"));
    // What uses too much is killed, and nothing else is.
    let greedy = "systemd-run -q --wait -P tail /dev/zero; echo $?";
    let error = store.cella(&["exec", "m", "true"]).fails(125);
    assert!(error.contains("EAGAIN"), "{error}");
    store.cella(&["set", "--pids-limit", "400", "m"]).ok();
    // Where the init has the controller itself, it has given its own group a part of the first limit.
    until("there is room", || store.cella(&["exec", "m", "true"]).code == 0);
    store.cella(&["exec", "m", "pkill", "sleep"]);
    until("there is room", || store.cella(&["exec", "m", "true"]).code == 0);
    assert_ne!(inside(&store, greedy).trim(), "0");
    assert_eq!(inside(&store, "systemctl is-active systemd-journald"), "active");
    until("it is told", || store.inspect("m", "oom_kills").parse::<u64>().unwrap() >= 1);
    let events = store.cella(&["events", "--since", "1h", "--until", "0s"]).ok();
    assert!(events.lines().any(|line| line.contains("  oom  m  killed=")), "{events}");
    store.cella(&["set", "--memory", "512M", "m"]).ok();
    assert_eq!(store.inspect("m", "memory_limit"), (512 << 20).to_string());
    // What was changed while it ran holds after a reboot.
    let pid = store.inspect("m", "pid");
    store.cella(&["reboot", "m"]).ok();
    until("it begins again", || !["null", pid.as_str()].contains(&store.inspect("m", "pid").as_str()));
    assert_eq!(store.inspect("m", "memory_limit"), (512 << 20).to_string());
    gone(store);
}

#[test]
fn nothing_inside_sees_or_signals_the_host() {
    let Some(store) = launched("nothing_inside_sees_or_signals_the_host", &[]) else { return };
    assert_eq!(inside(&store, "ls /proc | grep -c '^[0-9]*$' | xargs test 60 -gt && echo few"), "few");
    let us = std::process::id().to_string();
    assert_eq!(inside(&store, &format!("kill -0 {us} 2>/dev/null || echo no")), "no");
    let refused = "for f in kernel/core_pattern kernel/modprobe kernel/sysrq vm/overcommit_memory; do \
        echo x 2>/dev/null > /proc/sys/$f && echo wrote $f; done; \
        echo c 2>/dev/null > /proc/sysrq-trigger && echo sysrq; \
        mknod /tmp/sda b 8 0 2>/dev/null && echo node; \
        date -s 2001-01-01 >/dev/null 2>&1 && echo clock; true";
    assert_eq!(inside(&store, refused), "");
    // Every capability but those over the host.
    let caps = u64::from_str_radix(&inside(&store, "sed -n 's/CapBnd:\\t//p' /proc/1/status"), 16).unwrap();
    for (name, number, has) in [
        ("sys_module", 16, false),
        ("sys_rawio", 17, false),
        ("sys_time", 25, false),
        ("mac_admin", 33, false),
        ("sys_admin", 21, true),
    ] {
        assert_eq!(caps >> number & 1 == 1, has, "{name}");
    }
    gone(store);
}

#[test]
fn a_name_server_of_its_own_choice_stays() {
    let Some(store) = launched("a_name_server_of_its_own_choice_stays", &["--dns", "192.0.2.53"]) else { return };
    assert!(inside(&store, "cat /etc/resolv.conf").contains("nameserver 192.0.2.53"));
    inside(&store, "echo nameserver 192.0.2.99 > /etc/resolv.conf");
    again(&store);
    assert_eq!(inside(&store, "cat /etc/resolv.conf"), "nameserver 192.0.2.99");
    inside(&store, "hostnamectl set-hostname other && echo other.example > /etc/hostname");
    again(&store);
    assert_eq!(inside(&store, "cat /etc/hostname"), "other.example", "the guest's own since its first start");
    gone(store);
}
