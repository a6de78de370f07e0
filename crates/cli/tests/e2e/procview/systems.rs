// SPDX-License-Identifier: Apache-2.0
//! Whole systems: the view is theirs by default, and systemd inside does not change what it shows.

use super::field;
use crate::support::Store;
use crate::system::image;

fn launched(test: &str, flags: &[&str]) -> Option<Store> {
    let image = image(test, "trixie")?;
    if !super::is_there(test) {
        return None;
    }
    let store = Store::new(test);
    store.cella(&[&["launch"], flags, &[image.as_str(), "v"]].concat()).ok();
    Some(store)
}

fn gone(store: Store) {
    store.cella(&["rm", "-f", "v"]).ok();
    store.finish();
}

#[test]
fn a_systems_services_see_what_the_system_has() {
    let test = "a_systems_services_see_what_the_system_has";
    let Some(store) = launched(test, &["--memory", "300m", "--cpus", "1"]) else { return };
    let inside = |script: &str| store.cella(&["exec", "v", "sh", "-c", script]).ok();
    // Its init and its services are in groups below the container's own.
    for command in ["cat /proc/meminfo", "systemd-run -q --wait -P cat /proc/meminfo"] {
        assert_eq!(field(&inside(command), "MemTotal"), 300 << 10, "{command}");
    }
    assert_eq!(inside("nproc; systemd-run -q --wait -P nproc"), "1\n1");
    assert!(inside("uptime").contains(" up "));
    assert_eq!(inside("systemctl is-system-running; systemctl --failed --no-legend | wc -l"), "running\n0");
    let (boot, host) =
        (inside("cat /proc/sys/kernel/random/boot_id"), std::fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    assert_ne!(boot, host.unwrap().trim());
    // The log knows it by its boot id.
    assert!(inside("journalctl --list-boots --no-pager -q | tail -1").contains(&boot.replace('-', "")));
    let times = inside("ps -o etimes= -p 1; cut -d. -f1 /proc/uptime");
    let [init, up] = [0, 1].map(|index| times.lines().nth(index).unwrap().trim().parse::<u64>().unwrap());
    assert!(init <= up + 1 && up < 300, "{times}");
    gone(store);
}

#[test]
fn proc_can_be_mounted_anew_in_namespaces_inside() {
    let Some(store) = launched("proc_can_be_mounted_anew_in_namespaces_inside", &["--memory", "300m"]) else { return };
    let script = "unshare -Urpf --mount-proc sh -c 'ls -d /proc/1; grep -c . /proc/meminfo'";
    let shown = store.cella(&["exec", "v", "sh", "-c", script]).ok();
    assert!(shown.starts_with("/proc/1\n"), "{shown}");
    // mount(2), by its number: the tool of this name does not say in time that it will be read-only.
    let mount = "my ($none, $to, $kind) = (\"none\\0\", \"/mnt\\0\", \"sysfs\\0\"); \
        exit(syscall(165, $none, $to, $kind, 1 | 2 | 4 | 8, 0) == 0 ? 0 : $! + 0)";
    assert_eq!(store.cella(&["exec", "v", "unshare", "-Urnm", "perl", "-e", mount]).code, 0);
    gone(store);
}

#[test]
fn a_system_that_reboots_has_its_view_again() {
    let test = "a_system_that_reboots_has_its_view_again";
    let Some(store) = launched(test, &["--memory", "300m"]) else { return };
    let boot = || store.cella(&["exec", "v", "cat", "/proc/sys/kernel/random/boot_id"]);
    let first = boot().ok();
    store.cella(&["reboot", "v"]).ok();
    crate::support::until("it is back", || {
        let now = boot();
        now.code == 0 && now.out.trim() != first
    });
    let meminfo = store.cella(&["exec", "v", "cat", "/proc/meminfo"]).ok();
    assert_eq!(field(&meminfo, "MemTotal"), 300 << 10);
    gone(store);
}
