// SPDX-License-Identifier: Apache-2.0
//! `cella ns`, compared with the programs of util-linux and iproute2 on the same cases.

mod bad;
mod enter;
mod list;
mod pin;
mod show;
mod unshare;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Done, Store, program, until};

/// A process of its own namespaces, made by unshare(1), that ends with its holder.
pub(crate) struct Sandbox(Child);

impl Sandbox {
    /// `flags` are those of unshare(1), with which `sleep` is run in its place.
    pub(crate) fn new(flags: &[&str]) -> Self {
        Self::running(flags, &["sleep", "1000"])
    }

    pub(crate) fn running(flags: &[&str], words: &[&str]) -> Self {
        let name = words[0].rsplit('/').next().unwrap().to_owned();
        let child =
            Command::new("unshare").args(flags).args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let sandbox = Self(child);
        let comm = format!("/proc/{}/comm", sandbox.pid());
        until(&name, || std::fs::read_to_string(&comm).is_ok_and(|text| text.trim() == name));
        sandbox
    }

    /// `sleep` as process 1 of a pid namespace, below unshare(1), with which it ends.
    pub(crate) fn of_pids(flags: &[&str]) -> Self {
        let words = [&["--pid", "--fork", "--kill-child"], flags, &["sleep"]].concat();
        let child =
            Command::new("unshare").args(words).arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let sandbox = Self(child);
        let link = |name: &str| std::fs::read_link(format!("/proc/{}/ns/{name}", sandbox.pid()));
        until("process 1", || link("pid_for_children").is_ok_and(|inside| inside != link("pid").unwrap()));
        sandbox
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn text(&self) -> String {
        self.pid().to_string()
    }

    /// The number of its namespace of this kind.
    pub(crate) fn inode(&self, kind: &str) -> u64 {
        inode_of(self.pid(), kind)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn inode_of(pid: u32, kind: &str) -> u64 {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    link.to_str().unwrap().trim_end_matches(']').rsplit_once('[').unwrap().1.parse().unwrap()
}

/// One row of `cella ns ls --json` by its inode.
pub(crate) type Rows = BTreeMap<u64, serde_json::Value>;

pub(crate) fn rows(store: &Store) -> Rows {
    let json: serde_json::Value = serde_json::from_str(&store.cella(&["ns", "ls", "--json"]).ok()).unwrap();
    let rows = json["namespaces"].as_array().unwrap().clone();
    rows.into_iter().map(|row| (row["inode"].as_u64().unwrap(), row)).collect()
}

/// What another program says.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    Done::from(Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap()).ok()
}

/// A copy of the program under test where every user can reach it.
pub(crate) fn reachable(store: &Store) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&store.root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = store.root.join("cella");
    std::fs::copy(program(), &copy).unwrap();
    copy
}

/// The program under test as a user who is nobody in particular.
pub(crate) fn as_user(program: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(arguments);
    command.stdin(Stdio::null()).current_dir("/").output().unwrap().into()
}
