// SPDX-License-Identifier: Apache-2.0
//! Class G: the filter of system calls, and values that nobody knows.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Bundle, can_run, skip};

/// Adds the libraries and the interpreter of the host, for tests that need system calls; `false` where there are none.
pub(crate) fn with_python(bundle: &mut Bundle) -> bool {
    if cfg!(not(target_arch = "x86_64")) || !Path::new("/usr/bin/python3").exists() {
        return false;
    }
    for place in ["/usr", "/lib", "/lib64"] {
        if Path::new(place).exists() {
            bundle.mount(place, "bind", place, &["rbind", "ro"]);
        }
    }
    true
}

const CALLS: &str = r"
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*args)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(' '.join(call(*args) for args in [
    (39,), (39 | 0x40000000,), (9999,), (100000,), (0x7fffffff,), (165, 0, 0, 0, 0, 0), (272, 0x10000000), (435, 0, 0),
    (41, 40, 1, 0), (41, 2, 1, 0), (16, 0, 0x5412, 0), (16, 0, ctypes.c_ulong(0x100005412), 0), (135, ctypes.c_ulong(0x40000)), (135, ctypes.c_ulong(0xffffffff))]))
";

fn allow(names: &[&str], args: Value) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args})
}

#[test]
fn cve_2021_41133_unknown_calls_do_not_exist() {
    if !can_run("cve_2021_41133_unknown_calls_do_not_exist") {
        return;
    }
    let mut bundle = Bundle::new("unknown");
    if !with_python(&mut bundle) {
        bundle.finish();
        return skip("cve_2021_41133_unknown_calls_do_not_exist", "it needs /usr/bin/python3 on x86_64");
    }
    let rest = "read write open openat close stat fstat lstat newfstatat statx mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn \
                access faccessat faccessat2 pread64 readlink readlinkat getdents64 execve exit exit_group arch_prctl set_tid_address set_robust_list rseq prlimit64 \
                getrandom futex getpid gettid getuid geteuid getgid getegid getcwd lseek dup fcntl sysinfo sched_getaffinity uname \
                sigaltstack poll ppoll pselect6 madvise epoll_create1 clock_gettime no_such_call_at_all \
                prctl capset setgroups setresuid setresgid umask";
    let names: Vec<&str> = rest.split_whitespace().collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            allow(&names, json!([])),
            // Families up to 39 and from 41 on (CVE-2026-31431).
            allow(&["socket"], json!([{"index": 0, "value": 40, "op": "SCMP_CMP_LT"}])),
            allow(&["socket"], json!([{"index": 0, "value": 40, "op": "SCMP_CMP_GT"}])),
            allow(&["personality"], json!([{"index": 0, "value": 0xffff_ffff_u32, "op": "SCMP_CMP_EQ"}])),
            // CVE-2019-10063: the kernel reads 32 bits of the number.
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
             "args": [{"index": 1, "value": 0xffff_ffff_u32, "valueTwo": 0x5412, "op": "SCMP_CMP_MASKED_EQ"}]},
            allow(&["ioctl"], json!([{"index": 1, "value": 0xffff_ffff_u32, "valueTwo": 0x5401, "op": "SCMP_CMP_MASKED_EQ"}])),
        ],
    });
    bundle.set("/linux/seccomp", profile.clone()).set("/process/args", json!(["/usr/bin/python3", "-S", "-c", CALLS]));
    let wanted = "ok X ENOSYS ENOSYS ENOSYS EPERM EPERM EPERM EPERM ok EACCES EACCES EPERM ok";
    let check = |seen: String| {
        let words: Vec<&str> = seen.split_whitespace().collect();
        for (seen, wanted) in words.iter().zip(wanted.split_whitespace()) {
            assert!(*seen == wanted || wanted == "X" && *seen != "ok", "{words:?} is not {wanted}");
        }
        assert_eq!(words.len(), 14);
    };
    check(bundle.run().ok());
    // Without no_new_privs the filter comes at another place.
    bundle.set("/process/noNewPrivileges", json!(false));
    check(bundle.run().ok());
    // By exec: the container waits in python, which is let do so.
    bundle.set("/process/noNewPrivileges", json!(true));
    bundle.set("/process/args", json!(["/usr/bin/python3", "-S", "-c", "import os; os.read(os.pipe()[0], 1)"]));
    let mut both = names.clone();
    both.extend(["pipe2", "pipe"]);
    bundle.set("/linux/seccomp/syscalls/0", allow(&both, json!([])));
    bundle.write();
    bundle.create(&[]).ok();
    bundle.call(&["start", &bundle.tag]).ok();
    check(bundle.call(&["exec", &bundle.tag, "/usr/bin/python3", "-S", "-c", CALLS]).ok());
    bundle.delete();
    // Another architecture's calls: the process ends, or they fail.
    bundle.finish();
}

#[test]
fn r19_unknown_values_of_the_filter_are_errors() {
    if !can_run("r19_unknown_values_of_the_filter_are_errors") {
        return;
    }
    let mut bundle = Bundle::new("badfilter");
    bundle.script("echo ran");
    let good = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}],
    });
    bundle.set("/linux/seccomp", good.clone());
    assert_eq!(bundle.run().ok(), "ran");
    let wrong = [
        ("/defaultAction", json!("SCMP_ACT_NO_SUCH")),
        ("/defaultAction", json!("")),
        ("/defaultAction", Value::Null),
        ("/defaultAction", json!("allow")),
        ("/defaultAction", json!(2)),
        ("/architectures/0", json!("SCMP_ARCH_NO_SUCH")),
        ("/flags/0", json!("SECCOMP_FILTER_FLAG_NO_SUCH")),
        ("/syscalls/0/action", json!("SCMP_ACT_NO_SUCH")),
        ("/syscalls/0/action", json!("")),
        ("/syscalls/0/args/0/op", json!("SCMP_CMP_NO_SUCH")),
        ("/syscalls/0/args/0/op", json!("")),
        ("/syscalls/0/args/0/index", json!(6)),
        ("/syscalls/0/args/0/index", json!(-1)),
        ("/syscalls/0/args/0/value", json!(-1)),
        ("/syscalls/0/errnoRet", json!(-1)),
        ("/syscalls/0/errnoRet", json!(4_294_967_296_u64)),
        ("/syscalls/0/names", json!("mount")),
        ("/syscalls", json!({})),
    ];
    for (place, value) in wrong {
        bundle.set("/linux/seccomp", good.clone());
        bundle.set(&format!("/linux/seccomp{place}"), value.clone());
        let done = bundle.run();
        assert!(done.code != 0 && done.out.is_empty(), "{place} {value}: {done:?}");
    }
    for whole in [json!([]), json!("unconfined"), json!({}), json!(1)] {
        bundle.set("/linux/seccomp", whole.clone());
        let done = bundle.run();
        assert!(done.code != 0 && done.out.is_empty(), "{whole}: {done:?}");
    }
    bundle.finish();
}

#[test]
fn r19_unknown_values_are_errors() {
    if !can_run("r19_unknown_values_are_errors") {
        return;
    }
    let mut bundle = Bundle::new("badvalues");
    bundle.script("echo ran");
    bundle.set("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]));
    let plain = bundle.config.clone();
    let wrong = [
        ("/ociVersion", json!("2.0.0")),
        ("/ociVersion", json!("")),
        ("/ociVersion", json!("x")),
        ("/ociVersion", json!(1)),
        ("/linux/namespaces/0/type", json!("no such")),
        ("/linux/namespaces/0/type", json!("")),
        ("/linux/namespaces/0/type", json!("ipc")),
        ("/linux/namespaces/0/path", json!("/proc/self/ns/uts")),
        ("/linux/namespaces/0/path", json!("/etc/passwd")),
        ("/linux/namespaces/0/path", json!("/nowhere")),
        ("/linux/namespaces", json!([])),
        ("/linux/rootfsPropagation", json!("no such")),
        ("/linux/devices/0/type", json!("x")),
        ("/linux/devices/0/type", json!("")),
        ("/process/rlimits/0/type", json!("RLIMIT_NO_SUCH")),
        ("/process/rlimits/0/type", json!("")),
        ("/process/args", json!([])),
        ("/process/args", json!([""])),
        ("/process/args", Value::Null),
        ("/process/cwd", json!("")),
        ("/process/cwd", json!("relative")),
        ("/process/scheduler", json!({"policy": "SCHED_NO_SUCH"})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NO_SUCH", "priority": 1})),
        ("/linux/personality", json!({"domain": "NO_SUCH"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_NO_SUCH", "nodes": "0"})),
        ("/process/apparmorProfile", json!("no-such-profile")),
        ("/process/selinuxLabel", json!("a:b:c:d")),
        ("/linux/mountLabel", json!("a:b:c:d")),
        ("/process", json!("x")),
        ("/linux", json!([])),
        ("/root", Value::Null),
        ("/mounts/0/type", json!("nosuchfilesystem")),
        ("/mounts/1/options", json!(["no_such_option"])),
        ("/mounts/1/options", json!(["size=x"])),
        ("/hostname", json!("x".repeat(65))),
        ("/linux/intelRdt", json!({"closID": "../x"})),
        ("/linux/timeOffsets", json!({"no such": {"secs": 1}})),
    ];
    for (place, value) in wrong {
        bundle.config = plain.clone();
        bundle.set(place, value.clone());
        let done = bundle.run();
        assert!(done.code != 0 && done.out.is_empty(), "{place} {value}: {done:?}");
        assert!(!done.err.contains("panicked"), "{place} {value}: {done:?}");
    }
    bundle.config = plain;
    bundle.write();
    for words in [
        &["--log-format", "no such", "list"][..],
        &["--cgroup-manager", "no such", "list"],
        &["--rootless", "no such", "list"],
        &["--log-level", "no such", "list"],
        &["--no-such", "list"],
        &["no such verb"],
        &["run", "--no-such", "x"],
        &["list", "--format", "no such"],
        &["run", "--no-pivot=perhaps", "x"],
        &["kill", "x", "SIGNOSUCH"],
        &["kill", "x", "-1"],
        &["kill", "x", "65"],
        &["kill", "x", "4294967305"],
    ] {
        let done = bundle.call(words);
        assert_ne!(done.code, 0, "{words:?}: {done:?}");
    }
    bundle.finish();
}

#[test]
fn check_59_threads_and_forks_work_and_namespaces_do_not() {
    if !can_run("check_59_threads_and_forks_work_and_namespaces_do_not") {
        return;
    }
    let mut bundle = Bundle::new("unshare");
    if !with_python(&mut bundle) {
        bundle.finish();
        return skip("check_59_threads_and_forks_work_and_namespaces_do_not", "it needs /usr/bin/python3 on x86_64");
    }
    let flags = 0x7e02_0000_u64;
    bundle.set("/linux/seccomp", json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["unshare", "setns"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": flags, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ"}]},
        ],
    }));
    let script = r"
import ctypes, errno, os, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    return 'ok' if libc.syscall(*args) >= 0 else errno.errorcode[ctypes.get_errno()]
print(call(435, 0, 0), call(272, 0x10000000), call(56, 0x10000011, 0, 0, 0, 0))
thread = threading.Thread(target=lambda: print('thread')); thread.start(); thread.join()
print(os.popen('echo fork').read().strip())
";
    bundle.set("/process/args", json!(["/usr/bin/python3", "-S", "-c", script]));
    assert_eq!(bundle.run().ok(), "ENOSYS EPERM EPERM\nthread\nfork");
    bundle.finish();
}

#[test]
fn the_filter_cache_is_not_believed_by_its_name() {
    if !can_run("the_filter_cache_is_not_believed_by_its_name") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = Bundle::new("cache");
    bundle.script("echo ran; mkdir /tmp/x && echo made");
    let deny = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    bundle.set("/linux/seccomp", deny);
    assert_eq!(bundle.run().out.trim(), "ran");
    let cache = bundle.root().join(".filters");
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    // Cut short, emptied, or with another program in it than was compiled of this text.
    let file = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for bytes in [&[][..], &whole[..20], &whole[..whole.len() - 3], &[0xff; 4096]] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(bundle.run().out.trim(), "ran");
    }
    std::fs::write(&file, [&whole[..24], &[0xff; 16], &whole[40..]].concat()).unwrap();
    assert_eq!(bundle.run().out.trim(), "ran");
    bundle.finish();
}
