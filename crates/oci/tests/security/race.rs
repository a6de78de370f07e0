// SPDX-License-Identifier: Apache-2.0
//! Races: a thread that swaps a directory for a symbolic link to the host while containers are made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags};
use serde_json::json;

use crate::support::{Bundle, can_run};

/// Swaps two names, atomically, again and again.
pub(crate) struct Swapper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Swapper {
    pub(crate) fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = 0_u64;
            while !seen.load(Ordering::Relaxed) {
                count += u64::from(rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok());
                // Every other pause is none, so that both long and short windows are met.
                if count.is_multiple_of(2) {
                    std::thread::yield_now();
                }
            }
            count
        });
        Self { stop, thread }
    }

    /// Ends it; there must have been a race at all.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.join().unwrap();
        println!("{count} swaps");
        assert!(count > 100, "only {count} swaps");
    }
}

#[test]
fn cve_2021_30465_symlink_swap_at_mount_targets() {
    if !can_run("cve_2021_30465_symlink_swap_at_mount_targets") {
        return;
    }
    let mut bundle = Bundle::new("swap");
    let base = bundle.rootfs().join("mnt/v");
    fs::create_dir(&base).unwrap();
    let link = bundle.rootfs().join("mnt/w");
    symlink(&bundle.canary, &link).unwrap();
    let source = bundle.directory.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    let (directory, file) = (source.display().to_string(), source.join("file").display().to_string());
    for number in 0..10 {
        let target = format!("/mnt/v/a{number}/b");
        match number % 5 {
            0 => bundle.mount(&target, "bind", &directory, &["rbind"]),
            1 => bundle.mount(&target, "bind", &file, &["bind", "ro"]),
            2 => bundle.mount(&target, "tmpfs", "tmpfs", &["nosuid"]),
            3 => bundle.mount(&target, "mqueue", "mqueue", &[]),
            _ => bundle.mount(&format!("/mnt/v/secret{number}"), "tmpfs", "tmpfs", &["tmpcopyup"]),
        };
    }
    bundle
        .set("/linux/devices", json!([{"path": "/mnt/v/null", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]));
    bundle.script("true").write();
    let swapper = Swapper::start(base.clone(), link);
    let mut codes = std::collections::BTreeMap::new();
    for _ in 0..40 {
        let done = bundle.call(&["run", &bundle.tag]);
        *codes.entry(done.code).or_insert(0) += 1;
        assert!(done.code < 100, "{done:?}");
        bundle.delete();
    }
    swapper.stop();
    println!("exit codes: {codes:?}");
    bundle.finish();
}

#[test]
fn cve_2024_45310_made_mount_targets_stay_below() {
    if !can_run("cve_2024_45310_made_mount_targets_stay_below") {
        return;
    }
    let mut bundle = Bundle::new("mkdir");
    let base = bundle.rootfs().join("mnt/v");
    fs::create_dir(&base).unwrap();
    let link = bundle.rootfs().join("mnt/w");
    symlink(&bundle.canary, &link).unwrap();
    let source = bundle.canary.with_extension("source");
    fs::write(&source, "").unwrap();
    bundle.mount("/mnt/v/a/b/c", "tmpfs", "tmpfs", &[]).mount(
        "/mnt/v/f",
        "bind",
        &source.display().to_string(),
        &["bind"],
    );
    bundle.script("true").write();
    let swapper = Swapper::start(base.clone(), link.clone());
    for _ in 0..40 {
        // What was made goes, wherever it is at the moment, so that it has to be made again.
        for place in [&base, &link] {
            if !place.is_symlink() {
                fs::remove_dir_all(place.join("a")).ok();
            }
        }
        bundle.call(&["run", &bundle.tag]);
        bundle.delete();
    }
    swapper.stop();
    fs::remove_file(source).unwrap();
    bundle.finish();
}

#[test]
fn cve_2026_41579_device_nodes_are_changed_by_descriptor() {
    if !can_run("cve_2026_41579_device_nodes_are_changed_by_descriptor") {
        return;
    }
    // Without a mount on /dev the nodes are made in the root file system, which others may write to at the same time.
    let mut bundle = Bundle::new("nodes");
    bundle.drop_mount("/dev");
    bundle.set("/linux/maskedPaths", json!([]));
    let link = bundle.rootfs().join("dev/other");
    let null = bundle.rootfs().join("dev/zero");
    rustix::fs::mknodat(CWD, &null, rustix::fs::FileType::CharacterDevice, 0o600.into(), rustix::fs::makedev(1, 5))
        .unwrap();
    symlink(bundle.canary.join("secret"), &link).unwrap();
    bundle.script("true").write();
    let swapper = Swapper::start(null, link);
    for _ in 0..60 {
        bundle.call(&["run", &bundle.tag]);
        bundle.delete();
    }
    swapper.stop();
    bundle.finish();
}
