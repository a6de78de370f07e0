// SPDX-License-Identifier: Apache-2.0
//! lxcfs of Debian 13, in namespaces of its own over a tree that it can not write to.

use crate::Result;
use crate::bench::boot::roots;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A pid namespace of its own: where the host's first process may not be looked at, lxcfs refuses every file.
const PREPARE: &str = r#"
mount -t proc proc /proc
mkdir "$2" "$2/root"; cd "$2/root"; mount --bind "$1" .; mount -o remount,bind,ro .; cd "$2/root"
mount -t proc proc proc; mount --rbind /sys sys
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs -o mode=755 tmpfs dev
for one in null fuse; do touch dev/$one; mount --bind /dev/$one dev/$one; done
chroot . lxcfs -f -l --enable-cfs /var/lib/lxcfs > "$2/said" 2>&1 &
n=0; until [ -e var/lib/lxcfs/proc/meminfo ] || [ $n = 100 ]; do sleep 0.05; n=$((n + 1)); done
[ -e var/lib/lxcfs/proc/meminfo ]
echo ready; read -r end || :
"#;

/// The tree that has it.
pub(super) fn tree() -> Result<PathBuf> {
    roots::made("lxcfs", "lxcfs,fuse3")
}

pub(super) fn version(tree: &Path) -> String {
    let status = std::fs::read_to_string(tree.join("var/lib/dpkg/status")).unwrap_or_default();
    let package = status.split("\n\n").find(|package| package.starts_with("Package: lxcfs\n"));
    let version = package.and_then(|package| package.lines().find_map(|line| line.strip_prefix("Version: ")));
    format!("lxcfs {}", version.unwrap_or("of no known version"))
}

/// The server.
pub(super) struct Lxcfs {
    child: Child,
    /// Its end is that of the namespaces.
    input: Option<ChildStdin>,
    /// The first process of its pid namespace.
    pub(super) init: u32,
    /// Where its files are, in its mount namespace.
    pub(super) files: PathBuf,
}

impl Lxcfs {
    pub(super) fn start(tree: &Path, scratch: &Path) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"]);
        command.args(["sh", "-ec", PREPARE, "sh"]).arg(tree).arg(scratch);
        let fail = |error| format!("unshare: {error}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(fail)?;
        let (input, mut first) = (child.stdin.take(), String::new());
        let output = child.stdout.take();
        let files = scratch.join("root/var/lib/lxcfs/proc");
        let mut lxcfs = Self { child, input, init: 0, files };
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut first).map_err(fail)?;
        }
        if first.trim() != "ready" {
            let said = std::fs::read_to_string(scratch.join("said")).unwrap_or_default();
            return Err(format!("lxcfs does not start: {}", said.lines().last().unwrap_or("says nothing")));
        }
        let parent = lxcfs.child.id();
        let init = super::proc::all().into_iter().find(|one| one.parent == parent);
        lxcfs.init = init.ok_or("the namespaces of lxcfs have ended")?.pid;
        Ok(lxcfs)
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        self.input = None;
        drop(self.child.wait());
    }
}
