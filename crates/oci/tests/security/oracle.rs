// SPDX-License-Identifier: Apache-2.0
//! What the host looks like: taken before and after each test, the two have to be equal.
//!
//! Other tests run on the same machine at the same time. What they alone can change is left out by where it is: below
//! the directories of temporary files that are not ours, and control groups that do not have our name in them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Facts, one a line.
pub(crate) type Snapshot = BTreeSet<String>;

/// Everything about the host that a container must not change; `tag` is in every name of ours.
pub(crate) fn snapshot(tag: &str, canary: &Path) -> Snapshot {
    let mut facts = Snapshot::new();
    mounts(tag, &mut facts);
    groups(Path::new("/sys/fs/cgroup"), tag, 0, &mut facts);
    for name in names("/sys/class/net").into_iter().filter(|name| !name.starts_with("veth")) {
        facts.insert(format!("net {name}"));
    }
    for name in names("/run").into_iter().chain(names("/")).filter(|name| !name.starts_with("cella")) {
        facts.insert(format!("top {name}"));
    }
    for name in names("/dev") {
        facts.insert(format!("/dev {}", described(&Path::new("/dev").join(name), false)));
    }
    for file in [
        "kernel/core_pattern",
        "kernel/modprobe",
        "kernel/hostname",
        "kernel/domainname",
        "kernel/shmmax",
        "kernel/sysrq",
        "kernel/shm_rmid_forced",
        "net/ipv4/ip_forward",
        "net/ipv4/ping_group_range",
        "vm/swappiness",
        "fs/mqueue/msg_max",
        "kernel/poweroff_cmd",
        "net/ipv4/ip_unprivileged_port_start",
    ] {
        let value = fs::read_to_string(Path::new("/proc/sys").join(file)).unwrap_or_default();
        facts.insert(format!("sysctl {file} {}", value.trim()));
    }
    tree(canary, &mut facts);
    for file in [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/bin/busybox",
        env!("CARGO_BIN_EXE_cella-oci"),
    ] {
        facts.insert(format!("file {}", described(Path::new(file), true)));
    }
    for line in processes(tag) {
        facts.insert(line);
    }
    facts
}

fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn mounts(tag: &str, facts: &mut Snapshot) {
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let place = fields.get(4).copied().unwrap_or_default();
        let is_temporary = ["/tmp/", "/var/tmp/", "/run/", "/var/lib/"].iter().any(|start| place.starts_with(start));
        if !is_temporary || line.contains(tag) {
            // Without the numbers of the mount and its parent, which say nothing.
            facts.insert(format!("mount {}", fields.get(2..).unwrap_or_default().join(" ")));
        }
    }
}

fn groups(directory: &Path, tag: &str, depth: usize, facts: &mut Snapshot) {
    if depth > 6 {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(tag) {
                facts.insert(format!("group {}", path.display()));
            }
            groups(&path, tag, depth + 1, facts);
        }
    }
}

/// Kind, mode, owner, size, device number, target or content of a file, its links not followed.
fn described(path: &Path, whole: bool) -> String {
    let Ok(found) = fs::symlink_metadata(path) else { return format!("{} is missing", path.display()) };
    let kind = found.file_type();
    let content = if kind.is_symlink() {
        fs::read_link(path).unwrap().display().to_string()
    } else if kind.is_file() && whole {
        let hash = fs::read(path)
            .unwrap()
            .iter()
            .fold(7_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:x} {} {}", found.mtime(), found.mtime_nsec())
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("{:x}", found.rdev())
    } else {
        String::new()
    };
    let owner = (found.uid(), found.gid());
    // Terminals change hands all the time.
    let owner = if path.starts_with("/dev/") && path.to_string_lossy().contains("tty") { (0, 0) } else { owner };
    format!("{} {:o} {owner:?} {content}", path.display(), found.mode())
}

/// A tree that nobody may touch: contents, modes, owners, and times of files.
pub(crate) fn canary(path: &Path) -> Snapshot {
    let mut facts = Snapshot::new();
    tree(path, &mut facts);
    facts
}

fn tree(path: &Path, facts: &mut Snapshot) {
    facts.insert(format!("canary {}", described(path, true)));
    if path.is_dir() && !path.is_symlink() {
        for name in names(path) {
            tree(&path.join(name), facts);
        }
    }
}

/// Processes of a container of ours that live; programs of the test itself are no part of it.
pub(crate) fn processes(tag: &str) -> Vec<String> {
    let mut list = Vec::new();
    for pid in names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok()) {
        let directory = Path::new("/proc").join(pid.to_string());
        let read =
            |name: &str| fs::read_link(directory.join(name)).map(|to| to.display().to_string()).unwrap_or_default();
        let group = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        // One that has ended and waits for process 1, which may be slow to ask, is gone.
        let stat = fs::read_to_string(directory.join("stat")).unwrap_or_default();
        let has_ended = stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']));
        if pid != std::process::id()
            && !has_ended
            && (group.contains(tag) || read("root").contains(tag) || read("cwd").contains(tag))
        {
            list.push(format!("process {pid} {} of {}", read("exe"), group.lines().next().unwrap_or_default()));
        }
    }
    list
}
