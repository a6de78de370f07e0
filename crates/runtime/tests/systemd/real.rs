// SPDX-License-Identifier: Apache-2.0
//! A user's systemd and its dbus-daemon, where those are installed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runtime::systemd::{Bus, stop};

use crate::mock::Place;

/// Says that a test was not done, and why; `xtask test` counts these.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
    if let Some(log) = std::env::var_os("CELLA_SKIP_LOG") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        // In one call: others write, too.
        file.write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()).unwrap();
    }
}

/// A user's manager of its own, and a bus that it has started.
pub(crate) struct Real {
    manager: Child,
    groups: Vec<PathBuf>,
    place: Place,
}

const UNITS: [(&str, &str); 3] = [
    ("cella.target", "[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n"),
    ("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n"),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\nNotifyAccess=main\n\
         ExecStart=dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n",
    ),
];

/// As if the host had been booted with systemd, in a mount namespace; the groups are joined first.
const MANAGER: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit 1
d=$1; shift; for group; do echo $$ > $group/cgroup.procs || exit 1; done
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=$d XDG_CONFIG_HOME=$d/config XDG_RUNTIME_DIR=$d \
    /lib/systemd/systemd --user --unit=cella.target --log-target=console";

impl Real {
    pub(crate) fn new() -> Result<Self, &'static str> {
        let is_there = |name: &str| ["/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(name).exists());
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Err("it needs root");
        }
        if !Path::new("/lib/systemd/systemd").exists()
            || !["dbus-daemon", "busctl", "unshare"].into_iter().all(is_there)
        {
            return Err("no systemd, dbus-daemon, busctl or unshare");
        }
        let place = Place::new();
        let units = place.0.join("config/systemd/user");
        fs::create_dir_all(&units).unwrap();
        UNITS.iter().for_each(|(name, text)| fs::write(units.join(name), text).unwrap());
        let mut groups = Vec::new();
        for tree in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
            let group = Path::new(tree).join(place.0.file_name().unwrap());
            if Path::new(tree).join("cgroup.procs").exists() && fs::create_dir(&group).is_ok() {
                groups.push(group);
            }
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MANAGER, "sh"]).arg(&place.0).args(&groups);
        let manager = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let real = Self { manager, groups, place };
        let until = Instant::now() + Duration::from_secs(10);
        while let Some(error) = real.buses().iter().find_map(|bus| stop(bus, "nothing.scope").err()) {
            if Instant::now() > until {
                println!("systemd --user: {error}");
                return Err("systemd --user does not come up here");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(real)
    }

    pub(crate) fn buses(&self) -> [Bus; 2] {
        [self.place.bus("systemd/private"), self.place.bus("bus")]
    }

    /// What busctl says that a property of a scope is.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let mut command = Command::new("busctl");
        command.arg(format!("--address=unix:path={}", self.place.0.join("bus").display()));
        let path = format!("/org/freedesktop/systemd1/unit/{}", unit.replace('-', "_2d").replace('.', "_2e"));
        command.args(["get-property", "org.freedesktop.systemd1", &path, "org.freedesktop.systemd1.Scope", name]);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    }
}

/// Of a group and those in it, the deepest first.
fn empty(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        empty(&entry.path());
    }
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status().unwrap();
    }
    let until = Instant::now() + Duration::from_secs(5);
    while fs::remove_dir(group).is_err() && group.exists() && Instant::now() < until {
        sleep(Duration::from_millis(10));
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop((self.manager.kill(), self.manager.wait()));
        self.groups.iter().for_each(|group| empty(group));
    }
}
