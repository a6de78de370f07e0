// SPDX-License-Identifier: Apache-2.0
//! The trees of the measurement: the system that all boot, and the one that the peers are run from; each made once by mmdebstrap.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are made.
const DIRECTORY: &str = "/var/tmp/cella-bench-roots";
/// The same tree, when the end-to-end tests have made it already.
const OF_TESTS: &str = "/var/tmp/cella-test-roots/trixie";

const SYSTEM: &str = "systemd-sysv,dbus,libpam-systemd,login,procps,iproute2,iputils-ping,netbase,sudo";
const PEERS: &str = "lxc,systemd-container,uidmap,util-linux,mount,kmod";

/// The tree that boots.
pub(super) fn system() -> Result<PathBuf> {
    let tested = Path::new(OF_TESTS);
    if tested.is_dir() { Ok(tested.to_owned()) } else { made("trixie", SYSTEM) }
}

/// The tree with the peers' programs.
pub(super) fn peers() -> Result<PathBuf> {
    made("peers", PEERS)
}

/// A tree with these packages.
pub(in crate::bench) fn made(name: &str, packages: &str) -> Result<PathBuf> {
    let path = Path::new(DIRECTORY).join(name);
    if path.is_dir() {
        return Ok(path);
    }
    let fail = |error| format!("{}: {error}", path.display());
    let new = Path::new(DIRECTORY).join(format!(".{name}.{}", std::process::id()));
    std::fs::create_dir_all(DIRECTORY).map_err(fail)?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=directory", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    command.args(["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", &format!("--include={packages}")]);
    command.arg("trixie").arg(&new).arg("http://deb.debian.org/debian").env("DEBIAN_FRONTEND", "noninteractive");
    let output = command.output().map_err(|error| format!("mmdebstrap: {error}"))?;
    if output.status.success() {
        return std::fs::rename(&new, &path).map(|()| path.clone()).map_err(fail);
    }
    // Half a tree is of no use to anybody.
    drop(std::fs::remove_dir_all(&new));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().rev().find(|line| line.starts_with("E:")).unwrap_or("gives no reason");
    Err(format!("mmdebstrap {name}: {line}"))
}
