// SPDX-License-Identifier: Apache-2.0
//! What is seen of namespaces: the shapes that the commands print and write as JSON. Inodes are those of nsfs.

use serde::Serialize;

use super::names::Owner;

/// One namespace.
#[derive(Debug, Clone, Serialize)]
pub struct NamespaceRow {
    /// `user`, `cgroup`, `ipc`, `uts`, `net`, `pid`, `time` or `mnt`.
    pub kind: &'static str,
    /// Its inode: equal numbers are the same namespace.
    pub inode: u64,
    /// The user namespace that has the rights over it; `None` where that is out of sight.
    pub owner: Option<u64>,
    /// Who made that user namespace (of a user namespace: itself), as a uid of ours.
    pub creator: Option<u32>,
    /// The one it was made in, of a user or pid namespace; `None` for the first, and where that is out of sight.
    pub parent: Option<u64>,
    /// Processes in it that we see.
    pub processes: u32,
    /// The one of them that was started first.
    pub oldest: Option<ProcessBrief>,
    /// The container whose first process that is.
    pub container: Option<Owner>,
    /// What else keeps it alive.
    pub kept: Vec<Kept>,
}

/// A process, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessBrief {
    /// Its number.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its command line, or its name in brackets: text of anybody's choice.
    pub command: String,
}

/// What keeps a namespace alive, besides processes in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Kept {
    /// An open file.
    Descriptor {
        /// Who has it open.
        pid: i32,
        /// As which descriptor.
        number: i32,
    },
    /// A bind mount of its file.
    Mount {
        /// A process that has this mount.
        pid: i32,
        /// Where it is there.
        path: String,
        /// May the path be walked? Not through what others serve: a look at the host does not wait for them.
        #[serde(skip)]
        safe: bool,
    },
    /// A thread that has left the others of its process.
    Thread {
        /// The process.
        pid: i32,
        /// The thread.
        thread: i32,
    },
    /// A process whose children to come will be in it.
    Children {
        /// Which.
        pid: i32,
    },
    /// A namespace below it, or that it owns.
    Below,
}

/// What can not be seen, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hidden {
    /// Processes whose namespaces the kernel does not show us.
    pub processes: u32,
    /// How `/proc` hides further ones altogether (`hidepid=`).
    pub hidepid: Option<String>,
    /// Are we root?
    #[serde(skip)]
    pub root: bool,
}

impl Hidden {
    /// As one line; `None` when all is seen.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let count = match self.processes {
            0 => None,
            1 => Some("1 process is".to_owned()),
            n => Some(format!("{n} processes are")),
        };
        let why = if self.root { "it is more privileged than we are" } else { "of others (root sees more)" };
        let why = if self.root && self.processes > 1 { "they are more privileged than we are" } else { why };
        let count = count.map(|count| format!("{count} hidden: {why}"));
        let mount = self
            .hidepid
            .as_ref()
            .map(|word| format!("/proc is mounted with hidepid={word}: others' processes are not even counted"));
        match (count, mount.filter(|_| !self.root)) {
            (None, None) => None,
            (one, other) => Some(one.into_iter().chain(other).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// All namespaces, by kind and inode.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// The namespaces.
    pub namespaces: Vec<NamespaceRow>,
    /// What is missing among them.
    pub hidden: Hidden,
}

/// A namespace and those that were made in it.
#[derive(Debug, Clone, Serialize)]
pub struct TreeNode {
    /// The namespace.
    #[serde(flatten)]
    pub namespace: NamespaceRow,
    /// Of a user namespace: its users and those outside, as ranges of inside, outside (as we see them), count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<[u32; 3]>>,
    /// The same of groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<[u32; 3]>>,
    /// Of a user namespace: how many namespaces of other kinds it owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owns: Option<usize>,
    /// Its processes, oldest first, but no more than [`super::SHOWN`].
    pub members: Vec<ProcessBrief>,
    /// Those below it.
    pub children: Vec<TreeNode>,
}

/// `0:100000:65536`, with `between` between several.
#[must_use]
pub fn ranges(list: &[[u32; 3]], between: &str) -> String {
    let one = |[inside, outside, count]: &[u32; 3]| format!("{inside}:{outside}:{count}");
    if list.is_empty() { "none".to_owned() } else { list.iter().map(one).collect::<Vec<_>>().join(between) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_told_in_one_line() {
        let text = |processes, hidepid: Option<&str>, root| {
            Hidden { processes, hidepid: hidepid.map(str::to_owned), root }.text()
        };
        assert_eq!(text(0, None, false), None);
        assert_eq!(text(0, Some("2"), true), None);
        assert_eq!(text(1, None, true).unwrap(), "1 process is hidden: it is more privileged than we are");
        assert_eq!(text(7, None, false).unwrap(), "7 processes are hidden: of others (root sees more)");
        assert!(text(0, Some("2"), false).unwrap().contains("hidepid=2"));
    }
}
