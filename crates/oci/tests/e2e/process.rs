// SPDX-License-Identifier: Apache-2.0
//! The process: user, capabilities, limits, scheduling, terminal, descriptors, seccomp.

use serde_json::json;

use crate::support::{both, can_run, ours};

#[test]
fn user_groups_umask_environment_and_directory() {
    both("user_groups_umask_environment_and_directory", |case| {
        case.set("/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27}));
        case.set("/process/env", json!(["PATH=/bin", "A=b c"])).set("/process/cwd", json!("/made/here"));
        let out = case.prints("id -u; id -g; id -G; umask; echo \"$A\"; pwd");
        assert_eq!(out, "7\n8\n8 9 10\n0027\nb c\n/made/here\n");
    });
}

#[test]
fn a_user_opens_its_standard_streams_again() {
    both("a_user_opens_its_standard_streams_again", |case| {
        case.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(case.prints("echo out > /dev/stdout; echo err > /dev/stderr && echo both"), "out\nboth\n");
    });
}

#[test]
fn the_five_sets() {
    both("the_five_sets", |case| {
        let one = json!(["CAP_KILL"]);
        let two = json!(["CAP_KILL", "CAP_CHOWN"]);
        case.set(
            "/process/capabilities",
            json!({
                "bounding": two, "permitted": two, "effective": one, "inheritable": one, "ambient": one,
            }),
        );
        case.set("/process/user", json!({"uid": 5, "gid": 5}));
        let out = case.prints("grep Cap /proc/self/status | cut -f2 | tr '\\n' ' '");
        // After execve a user has what is ambient.
        assert_eq!(out.trim(), "0000000000000020 0000000000000020 0000000000000020 0000000000000021 0000000000000020");
    });
}

#[test]
fn no_new_privileges_is_set() {
    both("no_new_privileges_is_set", |case| {
        assert_eq!(case.prints("grep NoNewPrivs /proc/self/status | cut -f2"), "1\n");
        case.set("/process/noNewPrivileges", json!(false));
        assert_eq!(case.prints("grep NoNewPrivs /proc/self/status | cut -f2"), "0\n");
    });
}

#[test]
fn limits_and_the_oom_score() {
    both("limits_and_the_oom_score", |case| {
        case.set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
        );
        case.set("/process/oomScoreAdj", json!(321));
        assert_eq!(
            case.prints("ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj"),
            "100\n200\n0\n321\n"
        );
    });
}

#[test]
fn scheduling_is_as_asked_and_exec_takes_it_over() {
    ours("scheduling_is_as_asked_and_exec_takes_it_over", |case| {
        case.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}));
        case.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
        case.set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"}));
        case.set("/linux/personality", json!({"domain": "LINUX32"}));
        case.set("/linux/memoryPolicy", json!({"mode": "MPOL_PREFERRED", "nodes": "0"}));
        case.start_sleeping();
        let script = "cut -d' ' -f19,41 /proc/self/stat; uname -m; ionice -p $$; grep Cpus_allowed_list /proc/self/status | cut -f2; \
                      grep -o prefer /proc/self/numa_maps | head -1";
        let out = case.exec(&["sh", "-c", script]).ok();
        assert!(out.starts_with("5 3\n"), "nice and policy: {out}");
        assert!(out.contains("idle"), "{out}");
        assert!(out.contains("\n1\n"), "the processor: {out}");
        assert!(out.contains("i686"), "{out}");
        assert!(out.contains("prefer") || !std::path::Path::new("/proc/self/numa_maps").exists(), "{out}");
    });
}

#[test]
fn a_wrong_value_is_an_error() {
    ours("a_wrong_value_is_an_error", |case| {
        for (pointer, value) in [
            ("/process/scheduler", json!({"policy": "SCHED_PERHAPS"})),
            ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 9})),
            ("/process/rlimits", json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}])),
            ("/process/apparmorProfile", json!("some-profile")),
            ("/process/selinuxLabel", json!("some:label")),
            ("/process/oomScoreAdj", json!(5000)),
            ("/linux/personality", json!({"domain": "BSD"})),
            ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": ""})),
            ("/linux/intelRdt", json!({"closID": "x", "schemata": ["L3:0=f"]})),
            ("/linux/mountLabel", json!("some:label")),
            ("/linux/rootfsPropagation", json!("sideways")),
            ("/linux/namespaces", json!([{"type": "galaxy"}])),
        ] {
            let before = case.config.clone();
            case.set(pointer, value);
            let done = case.run();
            assert_eq!(done.code, 1, "{pointer}: {done:?}");
            case.config = before;
        }
    });
}

#[test]
fn an_apparmor_profile_confines() {
    let test = "an_apparmor_profile_confines";
    let on = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    if !on || !std::path::Path::new("/usr/sbin/apparmor_parser").exists() {
        crate::support::skip(test, "there is no AppArmor, or no parser of its profiles");
        return;
    }
    both(test, |case| {
        let (name, file) = (case.id.clone(), case.path.join("profile"));
        let rules = "file, capability, network, signal, ptrace, mount, umount, pivot_root, deny /etc/passwd rw,";
        std::fs::write(&file, format!("profile {name} flags=(attach_disconnected) {{ {rules} }}\n")).unwrap();
        let parser = |word: &str| {
            let status = std::process::Command::new("/usr/sbin/apparmor_parser").args([word, "-K"]).arg(&file).status();
            assert!(status.unwrap().success(), "apparmor_parser {word}");
        };
        parser("-a");
        case.set("/process/apparmorProfile", json!(name));
        let out = case.prints("cat /proc/self/attr/current; cat /etc/passwd 2>/dev/null || echo denied");
        assert_eq!(out, format!("{name} (enforce)\ndenied\n"));
        case.start_sleeping();
        assert_eq!(case.exec(&["cat", "/proc/self/attr/current"]).ok(), format!("{name} (enforce)\n"), "exec, too");
        let id = case.id.clone();
        case.call(&["delete", "--force", &id]).ok();
        parser("-R");
    });
}

#[test]
fn only_the_standard_descriptors_are_there() {
    both("only_the_standard_descriptors_are_there", |case| {
        assert_eq!(case.prints("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
        case.start_sleeping();
        assert_eq!(case.exec(&["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]).ok(), "0 1 2 3 ");
        let pid = case.state()["pid"].to_string();
        // execve closes one after the other, and `start` hears of the first that it knows.
        let mut fds = Vec::new();
        for _ in 0..100 {
            fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|fd| fd.file_name()).collect();
            fds.sort();
            if fds.len() == 3 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(fds, ["0", "1", "2"]);
    });
}

#[test]
fn descriptors_are_preserved_when_they_are_open() {
    ours("descriptors_are_preserved_when_they_are_open", |case| {
        case.script("cat <&3").write_config();
        let script = format!(
            "echo through > f; exec 3<f; exec {} --root state run --preserve-fds 1 {}",
            case.runtime.program, case.id
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(&case.path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n", "{output:?}");
        let id = case.id.clone();
        let error = case.call(&["run", "--preserve-fds", "3", &id]).fails(1);
        assert!(error.contains("is not open"), "{error}");
    });
}

#[test]
fn unknown_system_calls_do_not_exist() {
    both("unknown_system_calls_do_not_exist", |case| {
        case.set("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                {"names": ["mkdirat", "mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
            ],
        }));
        let out = case.prints("mkdir /x 2>&1; sleep 9 & kill -9 $! 2>&1; kill -15 $! && echo ok; grep Seccomp: /proc/self/status | cut -f2");
        assert!(out.contains("Operation not supported"), "{out}");
        assert!(out.contains("not permitted") && out.contains("ok\n2\n"), "{out}");
    });
}

#[test]
fn a_listener_decides() {
    ours("a_listener_decides", |case| {
        let socket = case.path.join("listener");
        let agent = r#"
import socket, sys, array, os, fcntl, struct, json
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); print("ready", flush=True)
c, _ = s.accept()
data, anc, _, _ = c.recvmsg(65536, 64)
fd = array.array('i', anc[0][2])[0]
state = json.loads(data)
assert state['fds'] == ['seccompFd'] and state['metadata'] == 'mine' and state['pid'] > 0, state
req = bytearray(80); fcntl.ioctl(fd, 0xc0502100, req)
rid, pid = struct.unpack_from('QI', req)
fcntl.ioctl(fd, 0xc0182101, bytearray(struct.pack('QqiI', rid, 0, -17, 0)))
print("answered", flush=True)
"#;
        let mut listener = std::process::Command::new("python3");
        listener.args(["-c", agent]).arg(&socket).stdout(std::process::Stdio::piped());
        let mut listener = listener.spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(listener.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        case.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "mine",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
            }),
        );
        assert!(case.prints("mkdir /x 2>&1; true").contains("File exists"));
        assert_eq!(lines.next().unwrap().unwrap(), "answered");
        listener.wait().unwrap();
    });
}

/// The master arrives at the console socket, its modes are the kernel's own, and its size is as asked.
#[test]
fn the_terminal_goes_to_the_console_socket() {
    both("the_terminal_goes_to_the_console_socket", |case| {
        case.set("/process/terminal", json!(true)).set("/process/consoleSize", json!({"height": 31, "width": 97}));
        case.script("tty; stat -c %t:%T /dev/console | head -1; stty -a </dev/tty; test -t 0 && echo yes")
            .write_config();
        let server = r#"
import socket, sys, array, os
s = socket.socket(socket.AF_UNIX); s.bind("console"); s.listen(1); print("ready", flush=True)
c, _ = s.accept()
data, anc, _, _ = c.recvmsg(4096, 64)
fd = array.array('i', anc[0][2])[0]
out = b''
while b'yes' not in out:
    try: more = os.read(fd, 4096)
    except OSError: break
    if not more: break
    out += more
sys.stdout.write(out.decode())
"#;
        let mut master = std::process::Command::new("python3");
        master.args(["-c", server]).current_dir(&case.path).stdout(std::process::Stdio::piped());
        let mut master = master.spawn().unwrap();
        let mut out = std::io::BufReader::new(master.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let id = case.id.clone();
        case.quietly(&["create", "--console-socket", "console", &id]);
        case.call(&["start", &id]).ok();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        master.wait().unwrap();
        std::fs::remove_file(case.path.join("console")).unwrap();
        assert!(text.starts_with("/dev/pts/0\r\n"), "{text}");
        assert!(text.contains(" onlcr") && !text.contains("-onlcr"), "{text}");
        assert!(text.contains("rows 31; columns 97"), "{text}");
        assert!(text.contains("yes"), "{text}");
    });
}

#[test]
fn a_terminal_in_the_foreground_is_relayed() {
    if !can_run("a_terminal_in_the_foreground_is_relayed") {
        return;
    }
    ours("a_terminal_in_the_foreground_is_relayed", |case| {
        case.set("/process/terminal", json!(true)).script("tty; read x; echo \"got $x\"; exit 4").write_config();
        let command = format!("{} --root state run {}; echo rc=$?", case.runtime.program, case.id);
        let script =
            format!("cd {} && (sleep 0.5; echo hello) | script -qec '{command}' /dev/null", case.path.display());
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("/dev/pts/0") && text.contains("got hello") && text.contains("rc=4"), "{text}");
    });
}
