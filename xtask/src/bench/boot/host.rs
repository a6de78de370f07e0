// SPDX-License-Identifier: Apache-2.0
//! Where the systems boot: the store of cella, the root that the peers are run from, a layer for each boot of theirs, and
//! control groups that tell whose memory is whose.

use super::roots;
use crate::Result;
use crate::bench::network::place::{Place, said};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// The first id outside of the first container of a peer; each has 65,536 of its own.
const FIRST_ID: usize = 1_000_000;
const IDS: usize = 65_536;

/// Turns the tree of the peers into the root of a mount namespace; ends when its input does.
///
/// The control groups are the host's version 2 alone. pivot_root and not chroot: who is in a chroot may make no user namespace.
const PREPARE: &str = r#"
cd "$1"; mount --bind "$1" "$1"; cd "$1"
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev
mount --bind "$4" sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/bench run/tree; mount --bind "$2" run/bench; mount --bind "$3" run/tree
echo "root:1000000:6553600" > run/ids
mount --bind run/ids etc/subuid; mount --bind run/ids etc/subgid
pivot_root . mnt; cd /; umount -l /mnt
echo ready; exec cat
"#;

/// A layer of its own over the tree, which is mapped to the ids of the container already: the peer is spared both.
const LAYER: &str = r#"
cd "/run/bench/$1"; mkdir lower upper work root; chown "$2:$2" upper work
mount --bind -o "X-mount.idmap=u:0:$2:$3 g:0:$2:$3" /run/tree lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay root
"#;

/// The namespace that `PREPARE` makes.
struct Holder {
    child: Child,
    /// Its end is the holder's.
    input: Option<ChildStdin>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.input = None;
        drop(self.child.wait());
    }
}

/// The directories of control groups.
struct Hierarchies {
    /// Version 2.
    unified: PathBuf,
    /// Where memory is counted: version 1, or the same as above.
    memory: PathBuf,
}

pub(super) struct Host {
    // Ends before the place, whose directory it has mounts on.
    holder: std::result::Result<Holder, String>,
    hierarchies: Hierarchies,
    pub(super) tree: PathBuf,
    pub(super) place: Place,
}

impl Host {
    pub(super) fn new() -> Result<Self> {
        let tree = roots::system()?;
        let hierarchies = hierarchies()?;
        let place = Place::new()?;
        let holder = roots::peers().and_then(|root| holder(&root, place.scratch(), &tree, &hierarchies.unified));
        Ok(Self { holder, hierarchies, tree, place })
    }

    /// Why there are no peers.
    pub(super) fn without_peers(&self) -> Option<&str> {
        self.holder.as_ref().err().map(String::as_str)
    }

    /// What is in the root of the peers.
    pub(super) fn versions(&self) -> String {
        let of = |program: &str| {
            let text = self.within(&[program, "--version"]).and_then(|mut command| said(&mut command, program));
            text.ok()?.lines().next().map(str::to_owned)
        };
        let both = of("lxc-start").zip(of("systemd-nspawn"));
        both.map_or_else(|| "no peers".to_owned(), |(lxc, systemd)| format!("LXC {lxc}, {systemd}"))
    }

    /// A command in the root of the peers.
    pub(super) fn within(&self, words: &[&str]) -> Result<Command> {
        let holder = self.holder.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &holder.child.id().to_string(), "-m", "-r", "-w"]).args(words);
        Ok(command)
    }

    /// The root of a peer's container, of the given number; returns its first id.
    pub(super) fn layer(&self, name: &str, number: usize) -> Result<usize> {
        let id = FIRST_ID + number * IDS;
        self.fresh(name)?;
        said(&mut self.within(&["sh", "-ec", LAYER, "sh", name, &id.to_string(), &IDS.to_string()])?, "layer")?;
        Ok(id)
    }

    /// An empty directory for a boot.
    pub(super) fn fresh(&self, name: &str) -> Result<()> {
        let path = self.place.scratch().join(name);
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Takes the layer and the control groups of a boot away. What does not go at once is in use for a moment longer.
    pub(super) fn clear(&self, name: &str) -> Result<()> {
        if self.place.scratch().join(name).join("root").exists() {
            let script = "cd /run/bench/$1; for n in 1 2 3 4 5; do umount root && break; sleep 0.2; done; umount lower";
            said(&mut self.within(&["sh", "-c", script, "sh", name])?, "umount of a layer")?;
        }
        let path = self.place.scratch().join(name);
        std::fs::remove_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for group in self.groups(name) {
            for _ in 0..50 {
                if prune(&group) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The control groups that a boot is started in: that of version 2, and that which counts memory.
    pub(super) fn groups(&self, name: &str) -> [PathBuf; 2] {
        let name = format!("cella-bench-{}-{name}", std::process::id());
        [self.hierarchies.unified.join(&name), self.hierarchies.memory.join(&name)]
    }

    /// KiB that are counted for a boot.
    pub(super) fn charged(&self, name: &str, init: u32) -> Option<u64> {
        let [_, own] = self.groups(name);
        let memory = if self.hierarchies.memory == self.hierarchies.unified { "0::" } else { ":memory:" };
        Some(of_both(&self.hierarchies.memory, &own, init, memory, usage)? / 1024)
    }

    /// Milliseconds of processor time of a boot.
    pub(super) fn processor(&self, name: &str, init: u32) -> Option<u64> {
        let [own, _] = self.groups(name);
        Some(of_both(&self.hierarchies.unified, &own, init, "0::", processor)? / 1000)
    }
}

/// What is counted by the group that a boot was started in, and by that which the manager has made elsewhere.
fn of_both(top: &Path, own: &Path, init: u32, line: &str, read: fn(&Path) -> Option<u64>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
    let line = text.lines().find(|one| one.contains(line))?;
    let path = line.splitn(3, ':').nth(2)?.trim_start_matches('/').trim_end_matches("/init.scope");
    let other = top.join(path);
    let other = if other.starts_with(own) { 0 } else { read(&other)? };
    Some(read(own)? + other)
}

fn usage(group: &Path) -> Option<u64> {
    ["memory.usage_in_bytes", "memory.current"].iter().find_map(|name| {
        let text = std::fs::read_to_string(group.join(name)).ok()?;
        text.trim().parse().ok()
    })
}

fn processor(group: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(group.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()
}

/// Removes a control group with all below it; true when it is gone.
fn prune(group: &Path) -> bool {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune(&entry.path());
        }
    }
    std::fs::remove_dir(group).is_ok() || !group.exists()
}

fn hierarchies() -> Result<Hierarchies> {
    let text = std::fs::read_to_string("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
    let mounts = || text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let on = |wanted: &dyn Fn(&[&str]) -> bool| {
        mounts().find(|one| wanted(one)).and_then(|one| one.get(1).map(PathBuf::from))
    };
    let unified = on(&|one| one.get(2) == Some(&"cgroup2")).ok_or("there is no cgroup2 mount")?;
    let counts = |one: &[&str]| one.get(3).is_some_and(|options| options.split(',').any(|word| word == "memory"));
    let memory = on(&|one| one.get(2) == Some(&"cgroup") && counts(one));
    Ok(Hierarchies { memory: memory.unwrap_or_else(|| unified.clone()), unified })
}

fn holder(root: &Path, scratch: &Path, tree: &Path, unified: &Path) -> Result<Holder> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-ec", PREPARE, "sh"]);
    command.args([root, scratch, tree, unified]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("unshare: {error}"))?;
    let input = child.stdin.take();
    let mut first = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut first).map_err(|error| format!("unshare: {error}"))?;
    }
    let holder = Holder { child, input };
    if first.trim() == "ready" { Ok(holder) } else { Err("the root of the peers can not be entered".to_owned()) }
}
