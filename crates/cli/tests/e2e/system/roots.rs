// SPDX-License-Identifier: Apache-2.0
//! The trees of distributions, each made once on a machine from its packages, and never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{is_root, skip};

/// Where they are, across all runs.
const DIRECTORY: &str = "/var/tmp/cella-test-roots";

const SYSTEMD: &str = "systemd-sysv,dbus,libpam-systemd,login,procps,iproute2,iputils-ping,netbase,sudo";

/// Name, suite, packages, mirror.
const ALL: &[(&str, &str, &str, &str)] = &[
    ("bookworm", "bookworm", SYSTEMD, "debian"),
    ("trixie", "trixie", SYSTEMD, "debian"),
    ("sid", "sid", SYSTEMD, "debian"),
    ("noble", "noble", SYSTEMD, "ubuntu"),
    ("sysvinit", "trixie", "sysvinit-core,procps,iproute2,iputils-ping,netbase", "debian"),
];

/// The image of a distribution for the test, unless it is to be skipped.
pub(crate) fn image(test: &str, name: &str) -> Option<String> {
    if !is_root(test) {
        return None;
    }
    match root(name) {
        Ok(path) => Some(format!("dir:{}", path.display())),
        Err(reason) => {
            skip(test, &reason);
            None
        }
    }
}

/// The tree of a distribution.
fn root(name: &str) -> Result<PathBuf, String> {
    fs::create_dir_all(DIRECTORY).unwrap();
    let path = Path::new(DIRECTORY).join(name);
    let lock = fs::File::create(Path::new(DIRECTORY).join(format!(".{name}.lock"))).unwrap();
    // Several tests want the same one at once: the first makes it.
    lock.lock().unwrap();
    if path.exists() {
        return Ok(path);
    }
    let new = Path::new(DIRECTORY).join(format!(".{name}.new"));
    fs::remove_dir_all(&new).ok();
    match name {
        "busybox" => busybox(&new),
        name => packages(name, &new)?,
    }
    fs::rename(&new, &path).unwrap();
    Ok(path)
}

fn packages(name: &str, to: &Path) -> Result<(), String> {
    let (_, suite, packages, distribution) = *ALL.iter().find(|(known, ..)| *known == name).unwrap();
    let keys = keys(distribution)?;
    let mirror = match distribution {
        "ubuntu" => "http://archive.ubuntu.com/ubuntu",
        _ => "http://deb.debian.org/debian",
    };
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=directory", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    command.arg(format!("--keyring={}", keys.display())).arg(format!("--include={packages}"));
    let made = command.arg(suite).arg(to).arg(mirror).env("DEBIAN_FRONTEND", "noninteractive").output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text.lines().rev().find(|line| line.starts_with("E:")).unwrap_or("no reason");
            Err(format!("mmdebstrap {suite}: {line}"))
        }
        Err(error) => Err(format!("mmdebstrap: {error}")),
    }
}

/// What tells a distribution's packages from forged ones: the host's, or as Debian has packed it.
fn keys(distribution: &str) -> Result<PathBuf, String> {
    let file = format!("usr/share/keyrings/{distribution}-archive-keyring.gpg");
    let (host, packed) = (Path::new("/").join(&file), Path::new(DIRECTORY).join(".keys"));
    if host.exists() {
        return Ok(host);
    }
    if !packed.join(&file).exists() {
        fs::remove_dir_all(&packed).ok();
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=extract", "--format=directory", "--include=ubuntu-archive-keyring", "trixie"]);
        command
            .arg(&packed)
            .arg("http://deb.debian.org/debian")
            .output()
            .map_err(|error| format!("mmdebstrap: {error}"))?;
    }
    let found = packed.join(&file);
    if found.exists() { Ok(found) } else { Err(format!("there is no {}", host.display())) }
}

/// A root with nothing but busybox, whose init it is.
fn busybox(to: &Path) {
    for directory in ["bin", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "root"] {
        fs::create_dir_all(to.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", to.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "hostname", "ps", "cat", "login", "reboot", "poweroff", "id"] {
        std::os::unix::fs::symlink("busybox", to.join("bin").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("../bin/busybox", to.join("sbin/init")).unwrap();
    let table = "::sysinit:/bin/hostname -F /etc/hostname\n::respawn:/bin/sleep 1000\nconsole::askfirst:/bin/sh\n";
    fs::write(to.join("etc/inittab"), table).unwrap();
    fs::write(to.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(to.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
}
