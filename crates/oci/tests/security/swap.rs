// SPDX-License-Identifier: Apache-2.0
//! A directory of the root file system is swapped for a link to the host between any two looks of the runtime at a path.
//!
//! What `race.rs` leaves to chance is done here at every single call: for good, and for one call only, so that what was
//! checked before it, or is checked after it, says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use serde_json::json;

use crate::breakpoint::{self, Act, Ended, Stop, Which, every};
use crate::oracle;
use crate::support::{Bundle, OF_THE_HOST, can_run};

/// How long the link is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// From the call on.
    Stays,
    /// During the call.
    Blinks,
}

/// Two names below the bundle that are swapped: the second is a link to the host.
struct Swap {
    bundle: Bundle,
    one: &'static str,
    other: &'static str,
    canary: oracle::Snapshot,
    /// What is mounted in a container that nobody has disturbed.
    mounts: Vec<String>,
}

impl Swap {
    /// `hidden` are places of the image itself: whoever can swap these can also show what they have.
    fn new(mut bundle: Bundle, one: &'static str, other: &'static str, hidden: &[&str]) -> Self {
        fs::hard_link(bundle.rootfs().join("bin/busybox"), bundle.directory.join("busybox")).unwrap();
        bundle.set("/process/args", json!(["/bin/cat", "/proc/self/mountinfo", "/mnt/v/copy/file"])).write();
        let canary = oracle::canary(&bundle.canary);
        let mut swap = Self { bundle, one, other, canary, mounts: Vec::new() };
        swap.fresh();
        swap.mounts = mounted(&swap.run(&mut |_| Act::Free));
        let hidden = hidden.iter().map(|place| format!(" on {place}: ")).collect::<Vec<_>>();
        swap.mounts.retain(|line| !hidden.iter().any(|place| line.contains(place.as_str())));
        assert!(!swap.mounts.is_empty());
        swap
    }

    /// The root file system as it is in the beginning, as small as it gets.
    fn fresh(&self) {
        let rootfs = self.bundle.rootfs();
        for name in ["rootfs", "link"] {
            let path = self.bundle.directory.join(name);
            fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).ok();
        }
        for name in ["bin", "proc", "sys", "dev", "mnt/v/dir", "mnt/v/ro", "mnt/v/copy"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::hard_link(self.bundle.directory.join("busybox"), rootfs.join("bin/busybox")).unwrap();
        symlink("busybox", rootfs.join("bin/cat")).unwrap();
        for name in ["secret", "copy/file"] {
            fs::write(rootfs.join("mnt/v").join(name), "of the image").unwrap();
        }
        symlink(self.bundle.canary.join("host"), self.place(self.other)).unwrap();
    }

    fn place(&self, name: &str) -> PathBuf {
        self.bundle.directory.join(name)
    }

    fn run(&self, act: &mut dyn FnMut(Stop) -> Act) -> Ended {
        breakpoint::run(&self.bundle, &["run", &self.bundle.tag], Which::Paths, act)
    }

    fn exchange(&self) {
        let (one, other) = (self.place(self.one), self.place(self.other));
        rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    }

    /// Runs it with the swap at this call; says which call that was.
    fn swapped_at(&self, process: usize, call: usize, pattern: Pattern) -> (Option<Stop>, Ended) {
        self.fresh();
        let mut at = None;
        let ended = self.run(&mut |stop: Stop| {
            if stop.process != process || stop.call < call {
                return Act::Go;
            }
            self.exchange();
            let again = at.is_some();
            at = at.or(Some(stop));
            if pattern == Pattern::Stays || again { Act::Free } else { Act::Go }
        });
        (at, ended)
    }

    /// The host is as it was, as far as it can be seen quickly.
    fn check(&self, what: &str, ended: &Ended) {
        let now = oracle::canary(&self.bundle.canary);
        let changed: Vec<_> = now.symmetric_difference(&self.canary).collect();
        assert!(changed.is_empty(), "{what}: {ended:?}: the canary: {changed:#?}");
        let tag = &self.bundle.tag;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(tag.as_str())).collect();
        assert!(left.is_empty(), "{what}: {ended:?}: mounted on the host: {left:#?}");
        assert!(!self.bundle.root().join(tag).exists(), "{what}: {ended:?}: its state is left");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let group = hierarchy.unwrap().path().join(tag);
            assert!(!group.exists(), "{what}: {ended:?}: {} is left", group.display());
        }
        assert!(!ended.out.contains(OF_THE_HOST), "{what}: {ended:?}: it read a file of the host");
        assert!(ended.code < 128 && ended.code != 101, "{what}: {ended:?}");
        assert!(ended.code == 0 || !ended.err.is_empty(), "{what}: {ended:?}: no reason");
    }

    /// Both patterns at each call of each process.
    fn everywhere(self, step: usize) {
        let (step, offset) = every(step);
        self.fresh();
        let calls = self.run(&mut |_| Act::Go).calls;
        let mut codes = BTreeMap::new();
        let mut runs = 0;
        for (process, last) in calls.iter().enumerate() {
            for call in (1..=*last).filter(|call| call % step == offset) {
                for pattern in [Pattern::Stays, Pattern::Blinks] {
                    let (stop, ended) = self.swapped_at(process, call, pattern);
                    let what = format!("{pattern:?} at call {call} of process {process}, {stop:?}");
                    self.check(&what, &ended);
                    self.check_mounts(&what, &ended);
                    *codes.entry(ended.code).or_insert(0) += 1;
                    runs += 1;
                    if runs % 64 == 0 {
                        self.bundle.unchanged();
                    }
                }
            }
        }
        println!("{calls:?} calls, {runs} runs, exit codes {codes:?}");
        self.bundle.finish();
    }

    /// Where the program has run, all is mounted that ought to be; where, is for who owns the root file system to say.
    fn check_mounts(&self, what: &str, ended: &Ended) {
        let found = mounted(ended);
        if found.is_empty() {
            assert_ne!(ended.code, 0, "{what}");
            return;
        }
        let mut found: Vec<String> = found.iter().map(|line| without_place(line)).collect();
        for mount in &self.mounts {
            let at = found.iter().position(|one| *one == without_place(mount));
            let at = at.unwrap_or_else(|| panic!("{what}: {mount} is missing: {}", ended.out));
            found.swap_remove(at);
        }
    }
}

/// What the program saw in its mountinfo: of what each mount is, and where.
fn mounted(ended: &Ended) -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = line.rsplit_once(" - ").map_or("", |(_, rest)| rest);
        let kind: Vec<&str> = kind.split(' ').take(2).collect();
        format!("{} {} on {}: {}", fields[3], kind.join(" "), fields[4], fields[5])
    };
    ended.out.lines().filter(|line| line.contains(" - ")).map(line).collect()
}

fn without_place(mount: &str) -> String {
    let (what, rest) = mount.split_once(" on ").unwrap();
    let (_, options) = rest.split_once(": ").unwrap();
    format!("{what} {options}")
}

/// Without the mounts that take many calls and have no part in it.
fn bundle(test: &str, mounts: &[&str]) -> Bundle {
    let mut bundle = Bundle::of_release(test);
    for place in ["/dev", "/sys"].iter().filter(|place| !mounts.contains(place)) {
        bundle.drop_mount(place);
    }
    if !mounts.contains(&"/proc") {
        bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    }
    bundle
}

fn source(bundle: &Bundle) -> (String, String) {
    let source = bundle.directory.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    (source.display().to_string(), source.join("file").display().to_string())
}

fn null(path: &Path) -> serde_json::Value {
    json!([{"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 438}])
}

#[test]
fn check_5_a_directory_of_mount_targets_is_swapped_at_each_call() {
    if !can_run("check_5_a_directory_of_mount_targets_is_swapped_at_each_call") {
        return;
    }
    let mut bundle = bundle("swaptarget", &[]);
    let (directory, file) = source(&bundle);
    bundle
        .mount("/mnt/v/a/b", "bind", &directory, &["rbind", "ro"])
        .mount("/mnt/v/f", "bind", &file, &["bind"])
        .mount("/mnt/v/t", "tmpfs", "one", &["nosuid"])
        .mount("/mnt/v/copy", "tmpfs", "two", &["tmpcopyup"])
        .set("/linux/maskedPaths", json!(["/mnt/v/secret", "/mnt/v/dir"]))
        .set("/linux/readonlyPaths", json!(["/mnt/v/ro"]))
        .set("/linux/devices", null(Path::new("/mnt/v/n/null")))
        .set("/process/cwd", "/mnt/v/cwd".into());
    Swap::new(bundle, "rootfs/mnt/v", "rootfs/mnt/w", &["/mnt/v/secret", "/mnt/v/dir", "/mnt/v/ro"]).everywhere(1);
}

#[test]
fn check_5_dev_is_swapped_at_each_call() {
    if !can_run("check_5_dev_is_swapped_at_each_call") {
        return;
    }
    Swap::new(bundle("swapdev", &["/dev"]), "rootfs/dev", "rootfs/link", &[]).everywhere(1);
}

#[test]
fn check_5_a_dev_without_a_mount_is_swapped_at_each_call() {
    if !can_run("check_5_a_dev_without_a_mount_is_swapped_at_each_call") {
        return;
    }
    let mut bundle = bundle("swapnodes", &[]);
    let (_, file) = source(&bundle);
    bundle.mount("/dev/f", "bind", &file, &["bind"]).set("/linux/devices", null(Path::new("/dev/n/null")));
    Swap::new(bundle, "rootfs/dev", "rootfs/link", &[]).everywhere(1);
}

#[test]
fn check_5_proc_is_swapped_at_each_call() {
    if !can_run("check_5_proc_is_swapped_at_each_call") {
        return;
    }
    Swap::new(bundle("swapproc", &["/proc"]), "rootfs/proc", "rootfs/link", &[]).everywhere(1);
}

#[test]
fn check_5_sys_is_swapped_at_each_call() {
    if !can_run("check_5_sys_is_swapped_at_each_call") {
        return;
    }
    let mut bundle = bundle("swapsys", &["/sys"]);
    bundle.drop_mount("/sys/fs/cgroup").drop_mount("/dev");
    bundle.set("/linux/maskedPaths", json!(["/sys/firmware"])).set("/linux/readonlyPaths", json!(["/sys/kernel"]));
    Swap::new(bundle, "rootfs/sys", "rootfs/link", &[]).everywhere(1);
}

#[test]
fn check_5_the_root_itself_is_swapped_at_each_call() {
    if !can_run("check_5_the_root_itself_is_swapped_at_each_call") {
        return;
    }
    let mut bundle = bundle("swaproot", &[]);
    bundle.mount("/mnt/v/copy", "tmpfs", "two", &["tmpcopyup"]);
    bundle.set("/linux/devices", null(Path::new("/mnt/v/n/null")));
    Swap::new(bundle, "rootfs", "link", &["/"]).everywhere(1);
}
