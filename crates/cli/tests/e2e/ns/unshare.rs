// SPDX-License-Identifier: Apache-2.0
//! `cella ns unshare`, beside unshare(1).

use super::said;
use crate::support::{Store, is_root};

/// What does not depend on which namespaces there are already: who one is, and which kinds are new.
fn look() -> String {
    let kinds = "for n in user cgroup ipc uts net pid time mnt; do \
                 test \"$(readlink /proc/self/ns/$n)\" = \"$(readlink /proc/PID/ns/$n)\" && echo $n same || echo $n new; done; ";
    let rest = "id -u; id -g; grep -E '^(CapEff|Groups):' /proc/self/status; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
                cut -d' ' -f7 /proc/self/mountinfo | sort | uniq -c";
    format!("{}{rest}", kinds.replace("PID", &std::process::id().to_string()))
}

#[test]
fn namespaces_begin_as_with_unshare() {
    if !is_root("namespaces_begin_as_with_unshare") {
        return;
    }
    let store = Store::new("unshare");
    let look = look();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--mount", "--uts", "--ipc", "--net", "--cgroup"], &["--types", "mnt,uts,ipc,net,cgroup"]),
        (&["--user", "--map-root-user", "--net"], &["--map-root", "--types", "net"]),
        (&["--user"], &["--types", "user"]),
        (&["--time", "--fork", "--boottime", "1000"], &["--boottime", "1000", "--fork"]),
        (&["--mount", "--propagation", "slave"], &["--propagation", "slave"]),
    ];
    for (theirs, ours) in cases {
        let peer = said("unshare", &[theirs, &["sh", "-c", &look]].concat());
        assert_eq!(
            store.cella(&[&["ns", "unshare"], ours, &["--", "sh", "-c", &look]].concat()).ok(),
            peer,
            "{ours:?}"
        );
    }
    let inside = "readlink /proc/self/ns/pid > /dev/null; echo $$; set -- /proc/[0-9]*; echo $#";
    let peer = said("unshare", &["--pid", "--fork", "--mount-proc", "sh", "-c", inside]);
    let flags = ["ns", "unshare", "--types", "pid", "--fork", "--mount-proc", "--", "sh", "-c", inside];
    assert_eq!(store.cella(&flags).ok(), peer);
    store.finish();
}

#[test]
fn maps_names_and_clocks_are_what_was_asked_for() {
    if !is_root("maps_names_and_clocks_are_what_was_asked_for") {
        return;
    }
    let store = Store::new("unsharemaps");
    let run =
        |flags: &[&str], script: &str| store.cella(&[&["ns", "unshare"], flags, &["--", "sh", "-c", script]].concat());
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let maps = ["--map", "0:1000:1", "--map", "10:2000:5"];
    assert_eq!(
        words(run(&maps, "id -u; cat /proc/self/uid_map /proc/self/gid_map").ok()),
        "0 0 1000 1 10 2000 5 0 1000 1 10 2000 5"
    );
    let file = store.root.join("file");
    std::fs::File::create(&file).unwrap();
    std::os::unix::fs::chown(&file, Some(2004), Some(1000)).unwrap();
    assert_eq!(run(&maps, &format!("stat -c %u:%g {}", file.display())).ok(), "14:0");
    std::fs::remove_file(&file).unwrap();
    let both = ["--map-users", "0:5000:10", "--map-groups", "0:6000:10", "--user", "3:4"];
    assert_eq!(
        words(run(&both, "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map").ok()),
        "3 4 0 5000 10 0 6000 10"
    );
    assert_eq!(
        run(&["--hostname", "lab", "--domainname", "example"], "uname -n; cat /proc/sys/kernel/domainname").ok(),
        "lab\nexample"
    );
    let offsets = run(&["--monotonic", "-1", "--boottime", "86400", "--fork"], "cat /proc/self/timens_offsets").ok();
    assert_eq!(words(offsets), "monotonic -1 0 boottime 86400 0");
    assert_eq!(run(&["--types", "uts", "--workdir", "/usr"], "pwd; exit 3").out, "/usr\n");
    assert_eq!(run(&["--types", "uts", "--fork"], "kill -9 $$").code, 137);
    store.finish();
}

#[test]
fn an_ordinary_user_may_be_root_of_their_own() {
    if !is_root("an_ordinary_user_may_be_root_of_their_own") {
        return;
    }
    let store = Store::new("unshareuser");
    let copy = super::reachable(&store);
    let run = |flags: &[&str]| {
        super::as_user(&copy, &[&["ns", "unshare"], flags, &["--", "sh", "-c", "id -u; hostname"]].concat())
    };
    assert_eq!(run(&["--map-root", "--hostname", "mine"]).ok(), "0\nmine");
    let refused = run(&["--types", "net"]).fails(125);
    assert!(refused.contains("EPERM") && refused.contains("hint: add --map-root"), "{refused}");
    std::fs::remove_file(copy).unwrap();
    store.finish();
}

#[test]
fn lent_ids_come_through_newuidmap() {
    let test = "unshare::lent_ids_come_through_newuidmap";
    if !is_root(test) {
        return;
    }
    if !std::path::Path::new("/usr/bin/newuidmap").exists() {
        crate::support::skip(test, "newuidmap is not installed");
        return;
    }
    let store = Store::new("unsharelent");
    let (copy, file) = (super::reachable(&store), |name: &str| store.root.join(name).display().to_string());
    // /etc/subuid of this machine stays as it is: others are mounted over it in a mount namespace of our own.
    std::fs::write(file("passwd"), "lent:x:4712:4712::/:/bin/sh\n").unwrap();
    std::fs::write(file("sub"), "lent:700000:1000\n").unwrap();
    let script = format!(
        "cat /etc/passwd >> {0} && touch /etc/subuid /etc/subgid && mount --bind {0} /etc/passwd && \
         mount --bind {1} /etc/subuid && mount --bind {1} /etc/subgid && \
         exec setpriv --reuid=4712 --regid=4712 --clear-groups {2} ns unshare --map 0:4712:1 --map 1:700000:1000 -- \
         sh -c 'id -u; echo $(cat /proc/self/uid_map /proc/self/gid_map); setpriv --reuid 7 --regid 7 --clear-groups id -u'",
        file("passwd"),
        file("sub"),
        copy.display()
    );
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let lines = "0\n0 4712 1 1 700000 1000 0 4712 1 1 700000 1000\n7";
    assert_eq!(crate::support::Done::from(output).ok(), lines);
    for name in ["passwd", "sub", "cella"] {
        std::fs::remove_file(file(name)).unwrap();
    }
    store.finish();
}
