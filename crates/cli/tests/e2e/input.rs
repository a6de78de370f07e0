// SPDX-License-Identifier: Apache-2.0
//! Bad input: one line, a hint, the right code, and nothing left behind.

use crate::support::{Store, is_root};

#[test]
fn everything_malformed_is_refused_with_one_line() {
    if !is_root("everything_malformed_is_refused_with_one_line") {
        return;
    }
    let store = Store::new("malformed");
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--memroy", "1m", "host", "true"], "--memory"),
        (&["run", "--memory", "12x", "host", "true"], "12x"),
        (&["run", "--memory", "1k", "host", "true"], "512K"),
        (&["run", "--cpus", "-1", "host", "true"], "-1"),
        (&["run", "--name", "../x", "host", "true"], "../x"),
        (&["run", "--name", ".x", "host", "true"], ".x"),
        (&["run", "hots", "true"], "host"),
        (&["run", "oci:/no/such/layout", "true"], "/no/such/layout"),
        (&["run", "dir:/no/such/dir", "true"], "/no/such/dir"),
        (&["run", "tar:/no/such.tar", "true"], "/no/such.tar"),
        (&["run", "-v", "/no/such/source:/x", "host", "true"], "/no/such/source"),
        (&["run", "-v", "rel", "host", "true"], "rel"),
        (&["run", "--restart", "sometimes", "host", "true"], "sometimes"),
        (&["run", "--rm", "--restart", "always", "host", "true"], "--rm"),
        (&["run", "--network", "frob", "host", "true"], "frob"),
        (&["run", "--network", "frob:x", "host", "true"], "frob:x"),
        (&["run", "--network", "host", "--network", "cella0", "host", "true"], "--network host"),
        (&["run", "--network", "none", "-p", "80", "host", "true"], "published port"),
        (&["run", "-p", "99999:80", "host", "true"], "99999:80"),
        (&["run", "--ip", "10.88.0", "host", "true"], "10.88.0"),
        (&["run", "--mac-address", "01:00:00:00:00:00", "host", "true"], "01:00:00:00:00:00"),
        (&["run", "--net-egress", "10", "host", "true"], "no unit"),
        (&["run", "--network-alias", "a b", "host", "true"], "a b"),
        (&["network", "create", "../x"], "../x"),
        (&["network", "create", "--subnet", "10.1.2.3/24", "x"], "10.1.2.0/24"),
        (&["network", "create", "--subnet", "10.1.2.0/24", "--gateway", "10.1.3.1", "x"], "10.1.3.1"),
        (&["network", "create", "--driver", "macvlan", "x"], "--parent"),
        (&["network", "create", "--device", "a/b", "x"], "a/b"),
        (&["run", "--network", "container:nobody", "host", "true"], "nobody"),
        (&["run", "--cap-add", "FOO", "host", "true"], "FOO"),
        (&["run", "--ulimit", "files=1", "host", "true"], "files"),
        (&["run", "--device", "/dev/none", "host", "true"], "/dev/none"),
        (&["run", "--security-opt", "seccomp=/no/such", "host", "true"], "/no/such"),
        (&["run", "--user", "nobody-here", "host", "true"], "nobody-here"),
        (&["run", "--user", "99999999999", "host", "true"], "99999999999"),
        (&["run", "--hostname", "a b", "host", "true"], "a b"),
        (&["run", "--time-offset", "realtime=1", "host", "true"], "realtime"),
        (&["run", "--pid", "sideways", "host", "true"], "sideways"),
        (&["run", "--env-file", "/no/such", "host", "true"], "/no/such"),
        (&["run"], "IMAGE"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (arguments, wanted) in cases {
        let error = store.cella(arguments).fails(125);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
        assert!(!error.contains("panicked") && store.cella(&["ls", "-aq"]).out.is_empty(), "{arguments:?}");
    }
    store.finish();
}

#[test]
fn one_that_is_not_there() {
    if !is_root("one_that_is_not_there") {
        return;
    }
    let store = Store::new("nothere");
    for verb in ["start", "stop", "kill", "pause", "resume", "rm", "inspect", "logs", "wait", "top"] {
        let error = store.cella(&[verb, "nobody"]).fails(1);
        assert!(error.contains("nobody"), "{verb}: {error}");
    }
    store.finish();
}

#[test]
fn without_root_it_says_so() {
    if !is_root("without_root_it_says_so") {
        return;
    }
    let store = Store::new("noroot");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(crate::support::program());
    let output = command.args(["--root", "/tmp/nobodys", "run", "--rm", "host", "true"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(126) || text.contains("ermission denied") && !text.starts_with("cella:") {
        crate::support::skip("without_root_it_says_so", "nobody can not execute the program where it was built");
    } else {
        assert!(text.contains("root") && output.status.code() == Some(125), "{text}");
    }
    store.finish();
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if !is_root("a_full_disk_is_told_and_leaves_nothing") {
        return;
    }
    let store = Store::new("full");
    let script = format!(
        "mount -t tmpfs -o size=64k none {root} && dd if=/dev/zero of={root}/fill bs=1k 2>/dev/null; \
         CELLA_ROOT={root} {program} run --rm host true; code=$?; rm -f {root}/fill; ls {root}/containers 2>/dev/null; exit $code",
        root = store.root.display(),
        program = crate::support::program().display()
    );
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("ENOSPC") || text.contains("o space"), "{text}");
    assert!(output.stdout.is_empty());
    store.finish();
}

#[test]
fn help_of_every_verb_has_an_example() {
    let store = std::path::PathBuf::from("/nonexistent");
    for verb in [
        "run",
        "create",
        "start",
        "stop",
        "restart",
        "kill",
        "pause",
        "resume",
        "rm",
        "ls",
        "inspect",
        "logs",
        "exec",
        "attach",
        "wait",
        "rename",
        "set",
        "top",
        "stats",
        "events",
        "plan",
        "info",
        "version",
        "doctor",
        "completion",
    ] {
        let mut command = std::process::Command::new(crate::support::program());
        let output = command.env("CELLA_ROOT", &store).args([verb, "--help"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("xample") && text.contains("cella "), "{verb}: {text}");
    }
}
