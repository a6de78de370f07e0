// SPDX-License-Identifier: Apache-2.0
//! Class C: masked and read-only paths, and the knobs of the host that proc and sysfs have.

use serde_json::json;

use crate::support::{Bundle, can_run, for_each_runtime};

/// Rights that help against modes of files, and not against mounts.
fn give(bundle: &mut Bundle, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(names));
    }
}

#[test]
fn check_41_masked_paths_show_nothing() {
    if !can_run("check_41_masked_paths_show_nothing") {
        return;
    }
    for_each_runtime("masked", |mut bundle| {
        give(&mut bundle, &["CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO", "CAP_SYSLOG", "CAP_SYS_PTRACE"]);
        let masked = bundle.config["linux"]["maskedPaths"].clone();
        // What is there twice, and what is not there, is no harm.
        let mut twice = masked.as_array().unwrap().clone();
        twice.extend(masked.as_array().unwrap().clone());
        twice.push(json!("/proc/nowhere"));
        bundle.set("/linux/maskedPaths", json!(twice));
        let list: Vec<&str> = masked.as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        let look = format!(
            "for f in {}; do test -e $f || continue; if test -d $f; then ls -A $f; touch $f/x 2>&1 | grep -v -e Read-only -e denied; \
             else head -c 20 $f; fi; umount $f 2>/dev/null && echo unmounted $f; rm -f $f 2>/dev/null && ! test -d $f && ! test -e $f && echo removed $f; done; true",
            list.join(" ")
        );
        assert_eq!(bundle.sh(&look).ok(), "");
        bundle.set("/root/readonly", json!(true));
        assert_eq!(bundle.sh(&look).ok(), "");
        bundle.start();
        assert_eq!(bundle.exec(&[], &look).ok(), "", "by exec");
        bundle.finish();
    });
}

#[test]
fn check_41_a_mask_that_can_not_be_made_ends_the_start() {
    if !can_run("check_41_a_mask_that_can_not_be_made_ends_the_start") {
        return;
    }
    let mut bundle = Bundle::new("maskfail");
    std::os::unix::fs::symlink("loop", bundle.rootfs().join("loop")).unwrap();
    bundle.script("echo ran");
    for path in ["/loop", "/loop/x", &format!("/{}", "x".repeat(300))] {
        bundle.set("/linux/maskedPaths", json!([path]));
        bundle.run().refused();
        bundle.set("/linux/maskedPaths", json!([]));
        bundle.set("/linux/readonlyPaths", json!([path]));
        bundle.run().refused();
        bundle.set("/linux/readonlyPaths", json!([]));
    }
    bundle.finish();
}

#[test]
fn check_43_read_only_paths_refuse_writes_of_root() {
    if !can_run("check_43_read_only_paths_refuse_writes_of_root") {
        return;
    }
    for_each_runtime("readonly", |mut bundle| {
        give(&mut bundle, &["CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"]);
        // It is opened for appending and nothing is written: harmless if it works.
        let files = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/poweroff_cmd /proc/sys/vm/swappiness \
                     /proc/sysrq-trigger /proc/sys/net/ipv4/ip_forward /proc/irq/default_smp_affinity /sys/kernel/uevent_seqnum \
                     /sys/kernel/mm/ksm/run /sys/kernel/uevent_helper /proc/sys/kernel/hotplug /proc/sys/fs/binfmt_misc/register";
        let look = format!(
            "for f in {files}; do test -e $f || continue; (: >> $f) 2>&1 | grep -v 'Read-only file system'; (: >> $f) 2>/dev/null && echo opened $f; done; true"
        );
        let seen = bundle.sh(&look).ok();
        assert!(!seen.contains("opened") && !seen.contains("denied"), "{seen}");
        bundle.start();
        let seen = bundle.exec(&[], &look).ok();
        assert!(!seen.contains("opened"), "{seen}");
        bundle.finish();
    });
}

#[test]
fn check_42_a_read_only_root_is_read_only() {
    if !can_run("check_42_a_read_only_root_is_read_only") {
        return;
    }
    let mut bundle = Bundle::new("roroot");
    give(&mut bundle, &["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"]);
    bundle.set("/root/readonly", json!(true));
    let seen = bundle.sh("for d in / /etc /bin /mnt; do touch $d/x 2>&1; done; mount -o remount,rw / 2>&1").out;
    assert_eq!(seen.matches("Read-only file system").count(), 4, "{seen}");
    assert!(!bundle.rootfs().join("x").exists());
    bundle.finish();
}

#[test]
fn check_47_security_and_debug_file_systems_are_not_shown() {
    if !can_run("check_47_security_and_debug_file_systems_are_not_shown") {
        return;
    }
    let mut bundle = Bundle::new("securityfs");
    let seen = bundle.sh("ls -A /sys/kernel/security /sys/kernel/debug /sys/kernel/tracing /sys/fs/selinux /sys/kernel/config /sys/fs/bpf 2>/dev/null | grep -v ':$' | grep .; true").ok();
    assert_eq!(seen, "");
    bundle.finish();
}

#[test]
fn check_44_the_mounts_of_the_container_are_its_own() {
    if !can_run("check_44_the_mounts_of_the_container_are_its_own") {
        return;
    }
    let mut bundle = Bundle::new("mounts");
    give(&mut bundle, &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    bundle.set("/process/noNewPrivileges", json!(true));
    // What is mounted inside by one who may does not come out, whatever the root's propagation is.
    for propagation in ["", "private", "rprivate", "slave", "rslave", "unbindable"] {
        bundle.set("/linux/rootfsPropagation", json!(propagation));
        let seen = bundle.sh("mkdir -p /mnt/in; mount -t tmpfs tmpfs /mnt/in && mount -t tmpfs tmpfs /tmp && echo mounted; grep -c -e canary -e /var/lib /proc/self/mountinfo").out;
        assert!(seen.starts_with("mounted"), "{propagation}: {seen}");
        bundle.unchanged();
    }
    // The old root is gone: nothing of the host is in the table.
    let table = bundle.sh("awk '{print $5}' /proc/self/mountinfo").ok();
    assert!(!table.contains("/var/tmp") && !table.contains("/home"), "{table}");
    bundle.finish();
}
