// SPDX-License-Identifier: Apache-2.0
//! What a program inside can not do, see or become (numbers: section 6 of the research on security).

use crate::support::{Store, is_root};

#[test]
fn capabilities_are_ten_and_none_can_be_gained() {
    if !is_root("capabilities_are_ten_and_none_can_be_gained") {
        return;
    }
    let store = Store::new("caps");
    let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | awk '{print $2}' | tr '\\n' ' '";
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE SYS_CHROOT SETFCAP
    let ten = "00000000800404fb";
    assert_eq!(store.sh(&[], status).ok(), format!("0000000000000000 {ten} {ten} {ten} 0000000000000000 1 2 "));
    let none = "0000000000000000";
    assert_eq!(store.sh(&["--cap-drop", "ALL"], status).ok(), format!("{none} {none} {none} {none} {none} 1 2 "));
    let other = store.sh(&["-u", "1000"], status).ok();
    assert_eq!(other, format!("{none} {none} {none} {ten} {none} 1 2 "));
    store.sh(&["--cap-add", "NO_SUCH"], "true").fails(125);
    store.finish();
}

#[test]
fn secrets_of_the_host_are_not_in_its_userland() {
    if !is_root("secrets_of_the_host_are_not_in_its_userland") {
        return;
    }
    let store = Store::new("secrets");
    let script = "grep -c '[$]' /etc/shadow; ls -A /root /home /run /var/lib/cella /etc/ssh 2>/dev/null | grep -v ':$' | grep .; \
                  for f in /etc/gshadow /etc/sudoers /etc/ssl/private /etc/machine-id; do test -s $f && echo $f; done; true";
    let seen = store.sh(&[], script).ok();
    let lines: Vec<&str> =
        seen.lines().filter(|line| !["0", "lock"].contains(line) && !line.starts_with("/etc/ssl/private")).collect();
    assert!(lines.is_empty(), "{seen}");
    store.finish();
}

#[test]
fn what_tells_of_the_host_is_masked_or_read_only() {
    if !is_root("what_tells_of_the_host_is_masked_or_read_only") {
        return;
    }
    let store = Store::new("masked");
    let script = "for f in kcore kallsyms keys timer_list interrupts; do test -e /proc/$f && head -c 10 /proc/$f; done; \
                  ls -A /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v ':$' | grep .; \
                  for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_seqnum /proc/sys/vm/swappiness; do \
                  (echo x > $f) 2>/dev/null && echo wrote $f; done; true";
    assert_eq!(store.sh(&[], script).ok(), "");
    store.finish();
}

#[test]
fn devices_are_the_harmless_ones() {
    if !is_root("devices_are_the_harmless_ones") {
        return;
    }
    let store = Store::new("devices");
    let wanted = "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let seen = store.sh(&[], "ls /dev | sort | tr '\\n' ' '").ok();
    let seen: Vec<&str> = seen.split_whitespace().filter(|name| !["console", "core"].contains(name)).collect();
    let wanted: Vec<&str> = wanted.split_whitespace().filter(|name| !["console", "core"].contains(name)).collect();
    assert_eq!(seen, wanted);
    assert_eq!(
        store.sh(&[], "mknod /dev/kmsg2 c 1 11 2>/dev/null || echo no; head -c 3 /dev/zero | wc -c").ok(),
        "no\n3"
    );
    let privileged = ["--userns", "host", "--cap-add", "MKNOD"];
    let script = "mknod /root/m c 1 11 2>/dev/null && head -c 1 /root/m >/dev/null 2>&1 && echo opened; true";
    assert_eq!(store.sh(&privileged, script).ok(), "", "the device rules hold for root of the host, too");
    store.finish();
}

#[test]
fn system_calls_are_filtered() {
    if !is_root("system_calls_are_filtered") {
        return;
    }
    let store = Store::new("seccomp");
    let script = r#"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*args)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
print('unshare', call(272, 0x10000000))
print('clone3', call(435, 0, 0))
print('alg', call(41, 38, 5, 0))
print('vsock', call(41, 40, 1, 0))
print('inet', call(41, 2, 1, 0))
print('keyctl', call(250, 0, 0))
print('bpf', call(321, 0, 0, 0))
print('mount', call(165, 0, 0, 0, 0, 0))
print('unknown', call(9999))
print('tiocsti', call(16, 0, 0x5412, 0))
print('tiocsti high', call(16, 0, ctypes.c_ulong(0x100005412), 0))
print('io_uring', call(425, 1, 0))
"#;
    if cfg!(not(target_arch = "x86_64")) {
        return crate::support::skip("system_calls_are_filtered", "its numbers are those of x86_64");
    }
    let seen = store.cella_with_input(&["run", "--rm", "-i", "host", "python3", "-"], script).ok();
    let wanted = "unshare EPERM\nclone3 ENOSYS\nalg EPERM\nvsock EPERM\ninet ok\nkeyctl EPERM\nbpf EPERM\nmount EPERM\n\
                  unknown ENOSYS\ntiocsti EPERM\ntiocsti high EPERM\nio_uring EPERM";
    assert_eq!(seen, wanted);
    store.finish();
}

#[test]
fn only_the_standard_descriptors_are_inherited() {
    if !is_root("only_the_standard_descriptors_are_inherited") {
        return;
    }
    let store = Store::new("fds");
    let secret = store.root.join("secret");
    std::fs::write(&secret, "x").unwrap();
    let script = format!(
        "exec 7<{}; CELLA_ROOT={} exec {} run -d --name f host sleep 100",
        secret.display(),
        store.root.display(),
        crate::support::program().display()
    );
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let mut descriptors =
        crate::support::names(std::path::Path::new(&format!("/proc/{}/fd", store.inspect("f", "pid"))));
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2"]);
    store.cella(&["rm", "-f", "f"]).ok();
    store.finish();
}

#[test]
fn a_linked_target_stays_below_the_root() {
    if !is_root("a_linked_target_stays_below_the_root") {
        return;
    }
    let store = Store::new("links");
    let source = store.root.join("data");
    std::fs::create_dir(&source).unwrap();
    store.cella(&["run", "--name", "l", "-v", &format!("{}:/mnt/d", source.display()), "host", "true"]).ok();
    let upper = store.root.join("containers/l/upper/0");
    std::fs::remove_dir_all(upper.join("mnt")).ok();
    std::os::unix::fs::symlink("/var/tmp", upper.join("mnt")).unwrap();
    store.cella(&["start", "-a", "l"]).ok();
    assert!(!std::path::Path::new("/var/tmp/d").exists(), "the host's own directory was written to");
    store.cella(&["rm", "l"]).ok();
    store.finish();
}

#[test]
fn the_standard_streams_can_be_opened_again() {
    if !is_root("the_standard_streams_can_be_opened_again") {
        return;
    }
    let store = Store::new("reopen");
    let done = store.sh(&["-u", "1000:1000"], "echo out > /dev/stdout; echo err > /dev/stderr");
    assert_eq!((done.out.as_str(), done.err.as_str()), ("out\n", "err\n"));
    store.cella(&["run", "-d", "--name", "r", "host", "sleep", "60"]).ok();
    assert_eq!(store.cella(&["exec", "r", "sh", "-c", "echo out > /dev/stdout"]).ok(), "out");
    store.cella(&["rm", "-f", "r"]).ok();
    store.finish();
}
