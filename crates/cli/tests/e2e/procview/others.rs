// SPDX-License-Identifier: Apache-2.0
//! The view for other people's containers, in lxcfs's layout, and for users who are not root.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use super::{field, inside, started};
use crate::support::{Store, program, until};

/// A server at a directory; it ends with the test.
struct Server {
    child: Child,
    place: PathBuf,
}

impl Server {
    fn start(store: &Store, name: &str, how: &[&str]) -> Self {
        let place = store.root.join(name);
        fs::create_dir(&place).unwrap();
        let place_text = place.to_str().unwrap().to_owned();
        let child = store.command(&[&["procview", "serve"], how, &[place_text.as_str()]].concat()).spawn().unwrap();
        until("it serves", || place.join("proc/meminfo").exists());
        Self { child, place }
    }

    /// Ends it as systemd would; the mount goes with it.
    fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        assert!(!self.place.join("proc").exists());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        Command::new("umount").arg("-l").arg(&self.place).stderr(std::process::Stdio::null()).status().ok();
    }
}

#[test]
fn everybody_sees_their_own_in_lxcfss_layout() {
    let test = "everybody_sees_their_own_in_lxcfss_layout";
    let Some(store) = started(test, &["--memory", "96m", "--proc-view", "off"]) else { return };
    let server = Server::start(&store, "lxcfs", &["--compat"]);
    let read = |path: &str| fs::read_to_string(server.place.join(path)).unwrap();
    // lxcfs's files, by its own names.
    for path in ["cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"] {
        assert!(server.place.join("proc").join(path).exists(), "{path}");
    }
    assert!(read("sys/devices/system/cpu/online").starts_with('0'));
    // Somebody in the container's namespace of processes, as those behind docker -v and lxc.mount.entry are.
    let pid = store.inspect("v", "pid");
    let through = |file: &str| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-p", "cat"]).arg(server.place.join(file));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(field(&through("proc/meminfo"), "MemTotal"), 96 << 10);
    let host = field(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    assert!(field(&read("proc/meminfo"), "MemTotal") <= host);
    server.end();
    // One that was killed leaves a mount that does not answer; the next one takes its place.
    let mut server = Server::start(&store, "killed", &["--compat"]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let place = server.place.clone();
    until("it is dead", || fs::read_dir(&place).is_err());
    let again = store.command(&["procview", "serve", "--compat", place.to_str().unwrap()]).spawn().unwrap();
    server.child = again;
    until("it serves", || place.join("proc/meminfo").exists());
    server.end();
    super::gone(store);
}

#[test]
fn one_process_s_view_can_be_served_at_a_directory() {
    let test = "one_process_s_view_can_be_served_at_a_directory";
    let Some(store) = started(test, &["--memory", "96m", "--cpus", "1"]) else { return };
    let pid = store.inspect("v", "pid");
    let server = Server::start(&store, "view", &["--pid", &pid]);
    let text = fs::read_to_string(server.place.join("proc/meminfo")).unwrap();
    assert_eq!(field(&text, "MemTotal"), 96 << 10);
    assert_eq!(
        fs::read_to_string(server.place.join("sys/cpu/online")).unwrap(),
        inside(&store, "cat /sys/devices/system/cpu/online") + "\n"
    );
    server.end();
    super::gone(store);
}

#[test]
fn users_who_are_not_root_serve_in_their_own_namespace() {
    let test = "users_who_are_not_root_serve_in_their_own_namespace";
    if !super::is_there(test) {
        return;
    }
    let store = Store::new(test);
    let bin = store.root.join("cella");
    fs::copy(program(), &bin).unwrap();
    let script = format!(
        "mkdir /tmp/view-$$ && cd /tmp/view-$$ && {{ {} procview serve --pid $$ /tmp/view-$$ & }}; \
         i=0; while ! grep -q ' - fuse cella ' /proc/self/mountinfo && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done; \
         grep -c ^MemTotal /tmp/view-$$/proc/meminfo && mount --bind /tmp/view-$$/proc/uptime /proc/uptime && mount --bind /tmp/view-$$/proc/meminfo /proc/meminfo && \
         mount --bind /tmp/view-$$/proc/cpuinfo /proc/cpuinfo && sleep 0.1 && cat /proc/uptime && grep -c MemTotal /proc/meminfo && \
         grep -c ^processor /proc/cpuinfo; cd /; kill $!; wait $!; umount /proc/uptime; rmdir /tmp/view-$$",
        bin.display()
    );
    // With the mode that udev gives it.
    let device = "mknod -m 666 $CELLA_ROOT/fuse c 10 229 && mount --bind $CELLA_ROOT/fuse /dev/fuse && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", device, "sh", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["unshare", "-Urm", "sh", "-c", &script]);
    let done: crate::support::Done = command.env("CELLA_ROOT", &store.root).output().unwrap().into();
    let denied = done.err.contains("unshare: ");
    if denied {
        crate::support::skip(test, "users may not make namespaces here");
    } else {
        assert!(done.out.starts_with("1\n"), "{done:?}");
        let lines: Vec<&str> = done.out.lines().collect();
        assert_eq!((lines.len(), lines[1].split(' ').count(), lines[2]), (4, 2, "1"), "{done:?}");
    }
    store.finish();
}

/// Where there is no FUSE files of a tmpfs are shown, as of the last second.
#[test]
fn without_fuse_there_are_snapshots() {
    let test = "without_fuse_there_are_snapshots";
    if !crate::support::is_root(test) {
        return;
    }
    let store = Store::new(test);
    let script = "mount --bind /dev/null /dev/fuse 2>/dev/null; set -e; cella=$1; \
        $cella run -d --quiet --name v --memory 96m --cpus 1 host sleep 1000 > /dev/null; \
        sleep 1.2; $cella exec v sh -c 'head -n 1 /proc/meminfo; nproc; cat /sys/devices/system/cpu/online; cut -c1 /proc/uptime | tr 1-9 0; grep -c tmpfs /proc/self/mountinfo > /dev/null'; \
        $cella exec v busybox free | sed -n 2p | tr -s ' ' | cut -d' ' -f2; \
        ! $cella exec v sh -c 'echo x > /proc/meminfo || cd /sys/devices/system/node && mv node0 x || echo x > /proc/new' 2> /dev/null; \
        $cella set v --memory 48m > /dev/null; sleep 2.2; $cella exec v head -n 1 /proc/meminfo; \
        kill -9 $(pgrep -P $($cella inspect v | jq -r .[0].keeper) -x cella-view); \
        $cella set v --memory 64m > /dev/null; sleep 2.2; $cella exec v head -n 1 /proc/meminfo; $cella rm -f v > /dev/null";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(program()).env("CELLA_ROOT", &store.root);
    let done: crate::support::Done = command.output().unwrap().into();
    let wanted =
        "MemTotal:          98304 kB\n1\n0\n0\n98304\nMemTotal:          49152 kB\nMemTotal:          65536 kB";
    assert_eq!(done.ok(), wanted);
    store.finish();
}
