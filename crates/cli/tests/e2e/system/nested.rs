// SPDX-License-Identifier: Apache-2.0
//! Containers inside containers: ours, and those of others; with the inner systemd as the host's.

use super::roots::image;
use crate::support::{Store, program, until};

/// Mounts of a system that runs our own program and has the tree of busybox.
fn nesting(test: &str) -> Option<(Store, Vec<String>)> {
    let (trixie, busybox) = (image(test, "trixie")?, image(test, "busybox")?);
    let store = Store::new(test);
    let own = format!("{}:/usr/bin/cella:ro,exec", program().display());
    let tree = format!("{}:/srv:ro,exec,idmap", busybox.strip_prefix("dir:").unwrap());
    let words = ["launch", "--nesting", "--tmpfs", "/var/lib/cella:exec", "-v", &own, "-v", &tree, &trixie, "one"];
    let words = words.map(str::to_owned).to_vec();
    Some((store, words))
}

fn run(store: &Store, words: &[String]) -> String {
    store.cella(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok()
}

fn inside(store: &Store, script: &str) -> String {
    store.cella(&["exec", "one", "sh", "-c", script]).ok()
}

#[test]
fn cella_runs_in_cella_in_cella() {
    let Some((store, words)) = nesting("cella_runs_in_cella_in_cella") else { return };
    run(&store, &words);
    let second = "cp -a /srv /var/lib/cella/tree && cella launch --quiet --nesting --tmpfs /var/lib/cella:exec \
        -v /usr/bin/cella:/bin/cella:ro,exec -v /var/lib/cella/tree:/srv:ro,exec dir:/var/lib/cella/tree two";
    assert!(inside(&store, second).starts_with("two  running"));
    let third = "cp -a /srv /var/lib/cella/tree && cella run --rm --name three dir:/var/lib/cella/tree \
        sh -c 'hostname; id -u; cat /proc/self/uid_map'";
    let seen = store.cella(&["exec", "one", "cella", "exec", "two", "sh", "-c", third]).ok();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.first().zip(lines.get(1)), Some((&"three", &"0")), "{seen}");
    // Each level's ids are within those of the one around it, and none of them is that one's own.
    let map: Vec<u64> = lines[2].split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(map[0] == 0 && map[1] >= 65536 && map[2] == 65536, "{map:?}");
    let all =
        "cella exec two cella ls -aq; cella rm -f two; cella ls -aq; cella doctor --repair >/dev/null; ls /run/cella";
    assert_eq!(inside(&store, all), "two\nevents.jsonl");
    store.cella(&["rm", "-f", "one"]).ok();
    store.finish();
}

#[test]
fn where_systemd_is_the_init_it_makes_the_group() {
    let Some((store, words)) = nesting("where_systemd_is_the_init_it_makes_the_group") else { return };
    run(&store, &words);
    inside(&store, "cp -a /srv /var/lib/cella/tree");
    let started = "cella run -d --name web dir:/var/lib/cella/tree sleep 1000 >/dev/null && \
        systemctl show cella-web.scope -p ActiveState -p Slice -p Delegate -p ControlGroup -p Transient";
    let seen = inside(&store, started);
    for wanted in [
        "ActiveState=active",
        "Slice=cella.slice",
        "Delegate=yes",
        "ControlGroup=/cella.slice/cella-web.scope",
        "Transient=yes",
    ] {
        assert!(seen.lines().any(|line| line == wanted), "{wanted}: {seen}");
    }
    // Neither of these touches what runs.
    inside(&store, "systemctl daemon-reload && systemctl daemon-reexec");
    until("the manager is back", || store.cella(&["exec", "one", "systemctl", "is-system-running"]).code == 0);
    assert_eq!(inside(&store, "cella exec web hostname && systemctl is-active cella-web.scope"), "web\nactive");
    // The keeper is in a unit of its own: the end of who has started it is not its own.
    assert_eq!(inside(&store, "systemctl is-active cella-web:keeper.scope"), "active");
    inside(&store, "cella restart -t 0 web && systemctl is-active cella-web.scope");
    // A unit that somebody stops is a container that has ended.
    inside(
        &store,
        "cella run -d --name app --stop-timeout 1 dir:/var/lib/cella/tree sleep 1000 && systemctl stop cella-app.scope",
    );
    until("its end", || inside(&store, "cella inspect app").contains("\"status\": \"exited\""));
    inside(&store, "cella run -d --name plain --cgroup-driver direct dir:/var/lib/cella/tree sleep 1000");
    assert_eq!(store.cella(&["exec", "one", "systemctl", "is-active", "cella-plain.scope"]).out.trim(), "inactive");
    inside(&store, "cella rm -f web app plain");
    assert_eq!(inside(&store, "systemctl list-units 'cella-*.scope' --all --no-legend"), "");
    store.cella(&["rm", "-f", "one"]).ok();
    store.finish();
}

#[test]
fn a_driver_that_the_host_has_not_is_told() {
    let test = "a_driver_that_the_host_has_not_is_told";
    if !crate::support::is_root(test) {
        return;
    }
    if std::path::Path::new("/run/systemd/system").exists() {
        return crate::support::skip(test, "systemd has booted this host");
    }
    let store = Store::new(test);
    let error = store.cella(&["run", "--rm", "--cgroup-driver", "systemd", "host", "true"]).fails(125);
    assert!(error.contains("needs a host that systemd has booted"), "{error}");
    store.finish();
}

#[test]
fn units_start_and_stop_containers_in_order() {
    let Some((store, words)) = nesting("units_start_and_stop_containers_in_order") else { return };
    run(&store, &words);
    let make = "cp -a /srv /var/lib/cella/tree && cd /var/lib/cella && \
        cella create --name late --autostart --order 9 --stop-timeout 0 dir:tree sleep 1000 && \
        cella create --name early --autostart --order -1 --delay 1 --stop-timeout 0 dir:tree sleep 1000 && \
        cella create --name kept --restart unless-stopped --stop-timeout 0 dir:tree sleep 1000 && \
        cella create --name other dir:tree sleep 1000 && \
        cella autostart --install /etc/systemd/system && systemctl daemon-reload";
    inside(&store, make);
    assert_eq!(inside(&store, "cella autostart | awk '{print $1}'"), "NAME\nearly\nlate");
    inside(&store, "cella start kept && systemctl enable -q --now cella");
    let started = "cella events --since 1h --until 0s | awk '$2 == \"start\" {print $3}'";
    assert_eq!(inside(&store, started), "kept\nearly\nlate");
    inside(&store, "systemctl stop cella");
    let stopped = "cella events --since 1h --until 0s | awk '$2 == \"stop\" {print $3}'";
    assert_eq!(inside(&store, stopped), "late\nkept\nearly");
    assert_eq!(inside(&store, "cella ls -q"), "");
    // What the host's end has stopped is started again; what somebody has stopped is not.
    inside(&store, "systemctl start cella && cella stop kept && systemctl stop cella && systemctl start cella");
    assert_eq!(inside(&store, "cella ls | awk 'NR > 1 {print $1}'"), "early\nlate");
    inside(&store, "cella set --no-autostart early late && systemctl stop cella && systemctl start cella@other");
    assert_eq!(
        inside(&store, "cella ls | awk 'NR > 1 {print $1}'; cella autostart"),
        "other\nNAME  ORDER  DELAY  BECAUSE  STATUS"
    );
    store.cella(&["rm", "-f", "one"]).ok();
    store.finish();
}

/// Installs packages in a system, unless no mirror is to be reached.
fn install(store: &Store, test: &str, packages: &str) -> bool {
    let script = format!(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq >&2 && \
         apt-get install -y -qq --no-install-recommends {packages} >/dev/null"
    );
    let done = store.cella(&["exec", "one", "sh", "-c", &script]);
    if done.code != 0 && (done.err.contains("Temporary failure") || done.err.contains("Could not connect")) {
        crate::support::skip(test, "no mirror is reached");
        return false;
    }
    done.ok();
    true
}

#[test]
fn services_that_apt_installs_answer() {
    let test = "services_that_apt_installs_answer";
    let Some(trixie) = image(test, "trixie") else { return };
    let store = Store::new(test);
    store.cella(&["launch", &trixie, "one"]).ok();
    if install(&store, test, "nginx-light openssh-server postgresql cron") {
        let states = inside(&store, "systemctl is-active nginx ssh postgresql cron; systemctl --failed --no-legend");
        assert_eq!(states, "active\nactive\nactive\nactive");
        let sql = "su -l postgres -c \"psql -tAc 'select 6*7'\"";
        until("the data base is up", || store.cella(&["exec", "one", "sh", "-c", sql]).out.trim() == "42");
        let address = store.inspect("one", "addresses.0");
        let read = |port: u16, ask: &str| {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect((address.as_str(), port)).unwrap();
            stream.write_all(ask.as_bytes()).unwrap();
            let mut text = vec![0; 512];
            let count = stream.read(&mut text).unwrap();
            String::from_utf8_lossy(&text[..count]).into_owned()
        };
        assert!(read(80, "GET / HTTP/1.0\r\n\r\n").contains("200 OK"));
        assert!(read(22, "").starts_with("SSH-2.0-OpenSSH"));
    }
    store.cella(&["rm", "-f", "one"]).ok();
    store.finish();
}

#[test]
fn podman_runs_in_a_system() {
    let test = "podman_runs_in_a_system";
    let Some(trixie) = image(test, "trixie") else { return };
    let store = Store::new(test);
    store.cella(&["launch", "--nesting", "--tmpfs", "/var/lib/containers:exec", &trixie, "one"]).ok();
    if install(&store, test, "podman crun netavark aardvark-dns nftables busybox-static") {
        let image = "mkdir -p /tmp/b/bin && cp /bin/busybox /tmp/b/bin/ && tar -C /tmp/b -c . | podman import - bb >/dev/null 2>&1";
        inside(&store, image);
        // Where the host has its controllers in version 1 there is none of them inside.
        let limit = if inside(&store, "cat /sys/fs/cgroup/cgroup.controllers").contains("pids") {
            ""
        } else {
            "--pids-limit 0"
        };
        let seen = inside(
            &store,
            &format!(
                "podman run --rm {limit} bb /bin/busybox sh -c 'busybox id -u; busybox ip -o link | busybox wc -l'"
            ),
        );
        assert_eq!(seen, "0\n2");
        inside(
            &store,
            &format!("podman run -d --name z {limit} -p 8080:80 bb /bin/busybox httpd -f -h /bin >/dev/null"),
        );
        let asked = "wget -qO- http://127.0.0.1:8080/busybox 2>/dev/null | wc -c || true";
        let size = inside(&store, &format!("busybox {asked}"));
        assert_eq!(size, inside(&store, "wc -c < /bin/busybox"));
    }
    store.cella(&["rm", "-f", "one"]).ok();
    store.finish();
}
