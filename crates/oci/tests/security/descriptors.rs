// SPDX-License-Identifier: Apache-2.0
//! Class A: the runtime's own program, inherited descriptors, the working directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bundle, OURS, can_run, finish_within, for_each_runtime};

/// What every process of a container has open, but for the directory that `ls` itself reads.
const CENSUS: &str =
    "for f in /proc/self/fd/*; do n=${f##*/}; test -e $f -o -L $f && echo $n; done | sort -n | tr '\\n' ' '";

#[test]
fn cve_2019_5736_exe_is_a_sealed_copy() {
    if !can_run("cve_2019_5736_exe_is_a_sealed_copy") {
        return;
    }
    let mut bundle = Bundle::new("exe");
    // The program is /proc/self/exe, and one whose interpreter it is: what would run is the runtime itself.
    bundle.set("/process/args", json!(["/proc/self/exe", "spec"]));
    let done = bundle.run();
    assert!(!done.out.contains("ociVersion"), "{done:?}");
    fs::write(bundle.rootfs().join("entry"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(bundle.rootfs().join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
    bundle.set("/process/args", json!(["/entry"]));
    bundle.run();
    bundle.delete();
    // Whoever comes in by `exec` is watched by process 1, which opens its program for writing whenever it can.
    let watch = "while :; do for p in /proc/[0-9]*; do test $p = /proc/1 -o $p = /proc/$$ && continue; \
                 l=$(readlink $p/exe 2>/dev/null) || continue; case $l in *busybox*|'') continue;; esac; echo \"$p $l\" >> /seen; \
                 (echo overwritten > $p/exe) 2>/dev/null && echo \"wrote $p $l\" >> /wrote; done; done";
    bundle.script(watch).write();
    bundle.create(&[]).ok();
    bundle.call(&["start", &bundle.tag]).ok();
    for _ in 0..20 {
        let done = bundle.call(&["exec", &bundle.tag, "/proc/self/exe", "spec"]);
        assert!(!done.out.contains("ociVersion"), "{done:?}");
        bundle.call(&["exec", &bundle.tag, "/bin/true"]).ok();
    }
    assert!(!bundle.rootfs().join("wrote").exists(), "{:?}", fs::read_to_string(bundle.rootfs().join("wrote")));
    // One that waits for `start` is our program inside: its file has no name, all its seals, and can not be written.
    bundle.delete();
    bundle.script("true").write();
    bundle.create(&[]).ok();
    let exe = format!("/proc/{}/exe", bundle.pid());
    let link = fs::read_link(&exe).unwrap();
    assert!(link.to_string_lossy().starts_with("/memfd:"), "{link:?}");
    let file = fs::File::open(&exe).unwrap();
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    use rustix::fs::SealFlags;
    assert!(seals.contains(SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE), "{seals:?}");
    assert!(fs::OpenOptions::new().write(true).open(&exe).is_err(), "the running copy opens for writing");
    bundle.finish();
}

#[test]
fn cve_2016_9962_a_waiting_process_is_not_dumpable() {
    if !can_run("cve_2016_9962_a_waiting_process_is_not_dumpable") {
        return;
    }
    let mut bundle = Bundle::new("dumpable");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.script("true").write();
    bundle.create(&[]).ok();
    let pid = bundle.pid();
    // What belongs to a process that is not dumpable belongs to root, whoever the process is.
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), 0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t1000"), "{status}");
    bundle.finish();
}

#[test]
fn r6_no_descriptor_is_leaked() {
    if !can_run("r6_no_descriptor_is_leaked") {
        return;
    }
    for_each_runtime("fds", |mut bundle| {
        // The shell has a copy of its script's pipe open, if any: none here.
        let plain = bundle.sh(CENSUS).ok();
        assert!(plain.starts_with("0 1 2 "), "{plain}");
        let listed = bundle.sh("ls -l /proc/self/fd | awk 'NR>1 {print $9, $11}'").ok();
        let extra: Vec<&str> =
            listed.lines().filter(|line| !["0 ", "1 ", "2 "].iter().any(|start| line.starts_with(start))).collect();
        // The directory that `ls` read is closed when it asks what it was.
        assert!(
            extra.iter().all(|line| line.starts_with("3 ") && (line.len() == 2 || line.contains("/proc/"))),
            "{listed}"
        );
        bundle.start();
        let pid = bundle.pid();
        // execve closes one after the other, and `start` hears of the first that it knows.
        let mut open = Vec::new();
        for _ in 0..100 {
            open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.file_name()).collect();
            open.sort();
            if open.len() == 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(open, ["0", "1", "2"], "create and start");
        let listed = bundle.exec(&[], "ls -l /proc/self/fd | awk 'NR>1 {print $9, $11}'").ok();
        assert!(listed.lines().count() <= 4, "{listed}");
        bundle.finish();
    });
}

#[test]
fn r6_descriptors_of_the_caller_stay_out() {
    if !can_run("r6_descriptors_of_the_caller_stay_out") {
        return;
    }
    let mut bundle = Bundle::new("callers");
    bundle.script(CENSUS).write();
    let secret = bundle.canary.join("secret");
    let line = |rest: &str| format!("exec 5<{} 7</ {rest}", secret.display());
    let run = |bundle: &Bundle, rest: &str, flags: &str| {
        let script =
            format!("{}; exec {OURS} --root {} run {flags} {}", line(rest), bundle.root().display(), bundle.tag);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).current_dir(&bundle.directory).stdin(Stdio::null());
        finish_within(command, Duration::from_secs(30))
    };
    let plain = run(&bundle, "", "").ok();
    assert!(!plain.contains('5') && !plain.contains('7'), "{plain}");
    // Two are asked for, 3 and 4; 5 and 7 are not among them.
    let two = run(&bundle, "3</dev/null 4</dev/null", "--preserve-fds 2").ok();
    assert!(two.starts_with("0 1 2 3 4 ") && !two.contains('7'), "{two}");
    bundle.finish();
}

#[test]
fn r6_preserve_fds_that_are_not_open_are_refused() {
    if !can_run("r6_preserve_fds_that_are_not_open_are_refused") {
        return;
    }
    let mut bundle = Bundle::new("lies");
    bundle.script("ls -l /proc/self/fd; ls -l /proc/1/fd").write();
    for count in ["1", "2", "30", "4097", "4294967295"] {
        bundle.call(&["run", "--preserve-fds", count, &bundle.tag]).refused();
        bundle.create(&["--preserve-fds", count]).refused();
    }
    bundle.call(&["run", "--preserve-fds", "4294967296", &bundle.tag]).refused();
    bundle.call(&["run", "--preserve-fds", "-1", &bundle.tag]).refused();
    bundle.start();
    for count in ["1", "7", "4294967295"] {
        bundle.exec(&["--preserve-fds", count], "ls -l /proc/self/fd").refused();
    }
    bundle.finish();
}

#[test]
fn cve_2024_21626_cwd_outside_is_refused() {
    if !can_run("cve_2024_21626_cwd_outside_is_refused") {
        return;
    }
    let mut bundle = Bundle::new("cwd");
    for number in 0..30 {
        for base in ["/proc/self/fd", "/proc/1/fd", "/proc/thread-self/fd"] {
            let path = format!("{base}/{number}");
            bundle.set("/process/cwd", json!(path));
            inside_or_refused(&bundle.sh("pwd; readlink /proc/self/cwd; ls -ld ."), &path);
        }
    }
    for path in ["/proc/self/cwd/..", "/proc/self/root/..", "/proc/1/root", "/proc/1/cwd", "/../../..", "/w", "/x"] {
        symlink("/proc/self/fd/7", bundle.rootfs().join("w")).ok();
        symlink("/proc/self/cwd", bundle.rootfs().join("x")).ok();
        bundle.set("/process/cwd", json!(path));
        inside_or_refused(&bundle.sh("pwd; readlink /proc/self/cwd; ls -ld ."), path);
    }
    bundle.set("/process/cwd", json!("tmp"));
    bundle.sh("pwd").refused();
    bundle.set("/process/cwd", json!("/"));
    bundle.start();
    for number in 0..30 {
        for base in ["/proc/self/fd", "/proc/1/fd"] {
            let path = format!("{base}/{number}");
            inside_or_refused(&bundle.exec(&["--cwd", &path], "pwd; readlink /proc/self/cwd; ls -ld ."), &path);
        }
    }
    for path in ["/w", "/x", "/../..", "/proc/1/cwd/.."] {
        inside_or_refused(&bundle.exec(&["--cwd", path], "pwd; readlink /proc/self/cwd"), path);
    }
    bundle.finish();
}

#[track_caller]
fn inside_or_refused(done: &crate::support::Done, path: &str) {
    assert!(!done.out.contains("(unreachable)") && !done.out.contains("/var/tmp"), "{path}: {done:?}");
    assert!(done.code != 0 || done.out.starts_with('/'), "{path}: {done:?}");
}

#[test]
fn cve_2024_21626_a_leaked_descriptor_is_no_program() {
    if !can_run("cve_2024_21626_a_leaked_descriptor_is_no_program") {
        return;
    }
    let mut bundle = Bundle::new("args");
    for number in 3..40 {
        for base in ["/proc/self/fd", "/proc/1/fd"] {
            bundle.set("/process/args", json!([format!("{base}/{number}"), "-c", "echo ran"]));
            let done = bundle.run();
            assert_ne!(done.code, 0, "{base}/{number}: {done:?}");
            assert_eq!(done.out, "", "{base}/{number}: {done:?}");
        }
    }
    bundle.start();
    for number in 3..40 {
        let done = bundle.call(&["exec", &bundle.tag, &format!("/proc/self/fd/{number}"), "-c", "echo ran"]);
        assert!(done.code != 0 && done.out.is_empty(), "{number}: {done:?}");
    }
    bundle.finish();
}

#[test]
fn cve_2024_21626_exec_cwd_while_the_directory_is_swapped() {
    if !can_run("cve_2024_21626_exec_cwd_while_the_directory_is_swapped") {
        return;
    }
    let mut bundle = Bundle::new("cwdswap");
    fs::create_dir(bundle.rootfs().join("work")).unwrap();
    symlink("/proc/self/fd/8", bundle.rootfs().join("other")).unwrap();
    bundle.start();
    let swapper = crate::race::Swapper::start(bundle.rootfs().join("work"), bundle.rootfs().join("other"));
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        inside_or_refused(&bundle.exec(&["--cwd", "/work"], "readlink /proc/self/cwd"), "/work");
    }
    swapper.stop();
    bundle.finish();
}

#[test]
fn cve_2016_10124_the_terminal_is_the_containers_own() {
    if !can_run("cve_2016_10124_the_terminal_is_the_containers_own") {
        return;
    }
    let mut bundle = Bundle::new("tty");
    // A session of its own: /dev/tty of the caller is out of reach, so nothing can be typed into it.
    let seen = bundle.sh("(: < /dev/tty) 2>&1 | head -1; awk '{print $6, $7}' /proc/self/stat; ls /dev/pts").ok();
    assert!(seen.contains("/dev/tty"), "{seen}");
    assert!(seen.lines().any(|line| line.ends_with(" 0")), "a terminal controls it: {seen}");
    assert_eq!(seen.lines().last(), Some("ptmx"), "{seen}");
    bundle.finish();
}

#[test]
fn cve_2025_23266_hooks_get_the_environment_of_the_configuration_only() {
    if !can_run("cve_2025_23266_hooks_get_the_environment_of_the_configuration_only") {
        return;
    }
    let mut bundle = Bundle::new("hooks");
    bundle.set("/process/env", json!(["PATH=.", "LD_PRELOAD=./x.so", "LD_LIBRARY_PATH=/", "IMAGE=1"]));
    let told = bundle.directory.join("told");
    let script = format!("{{ env; echo cwd=$(pwd); cat; echo; }} >> {}", told.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", "ONLY=this"]}]);
    bundle.config["hooks"] =
        json!({"prestart": hook, "createRuntime": hook, "createContainer": hook, "poststart": hook, "poststop": hook});
    bundle.write();
    let mut command = bundle.command(&["run", &bundle.tag]);
    bundle.set("/process/args", json!(["/bin/true"]));
    bundle.write();
    command.env("MARKER_OF_THE_HOST", "1");
    finish_within(command, Duration::from_secs(30)).ok();
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(told.matches("ONLY=this").count(), 5, "{told}");
    for wrong in ["LD_PRELOAD", "LD_LIBRARY", "IMAGE=", "MARKER_OF"] {
        assert!(!told.contains(wrong), "{wrong}: {told}");
    }
    bundle.finish();
}

#[test]
fn check_21_the_callers_environment_stays_out() {
    if !can_run("check_21_the_callers_environment_stays_out") {
        return;
    }
    let mut bundle = Bundle::new("environ");
    bundle.script("cat /proc/*/environ | tr '\\0' '\\n'; env").write();
    let mut command = bundle.command(&["run", &bundle.tag]);
    command.env("MARKER_OF_THE_HOST", "1").env("LISTEN_FDS_MARKER", "1");
    let seen = finish_within(command, Duration::from_secs(30)).ok();
    assert!(!seen.contains("MARKER"), "{seen}");
    bundle.finish();
}

#[test]
fn check_17_nothing_of_the_host_is_seen_through_proc() {
    if !can_run("check_17_nothing_of_the_host_is_seen_through_proc") {
        return;
    }
    let mut bundle = Bundle::new("links");
    let mark = format!("test -e $p/root{0}/secret -o -e $p/cwd{0}/secret && echo $p", bundle.canary.display());
    bundle.start();
    for _ in 0..5 {
        let seen = bundle
            .exec(
                &[],
                &format!("for p in /proc/[0-9]* /proc/self; do {mark}; readlink $p/root $p/cwd $p/exe; done; true"),
            )
            .ok();
        let wrong: Vec<&str> = seen
            .lines()
            .filter(|line| line.starts_with("/proc/") || line.contains("/var/tmp") || line.contains("cella-oci"))
            .collect();
        assert!(wrong.is_empty(), "{seen}");
    }
    bundle.finish();
}
