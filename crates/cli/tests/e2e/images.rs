// SPDX-License-Identifier: Apache-2.0
//! Images that other tools made, and the distribution's packages.

use std::path::Path;
use std::process::Command;

use crate::support::{Store, is_root, skip};

#[track_caller]
fn tool(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Are these programs installed? A test that needs them is skipped otherwise.
fn all_there(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !Path::new("/usr/bin").join(program).exists());
    if let Some(missing) = missing {
        skip(test, &format!("{missing} is not installed"));
    }
    missing.is_none()
}

/// A root file system of one static program.
fn busybox(directory: &Path) {
    std::fs::create_dir_all(directory.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", directory.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "ls", "echo", "id", "pwd", "env", "stat", "true", "sleep"] {
        std::os::unix::fs::symlink("busybox", directory.join("bin").join(applet)).unwrap();
    }
    std::fs::create_dir_all(directory.join("etc")).unwrap();
    std::fs::write(directory.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n").unwrap();
    std::fs::write(directory.join("etc/group"), "root:x:0:\nweb:x:8:\n").unwrap();
}

#[test]
fn an_image_made_by_umoci_runs_with_its_configuration() {
    if !is_root("an_image_made_by_umoci_runs_with_its_configuration") {
        return;
    }
    let store = Store::new("umoci");
    let at = &store.root;
    busybox(&at.join("rootfs"));
    std::fs::write(at.join("rootfs/gone"), "x").unwrap();
    std::fs::create_dir(at.join("rootfs/emptied")).unwrap();
    std::fs::write(at.join("rootfs/emptied/old"), "x").unwrap();
    tool(at, "umoci", &["init", "--layout", "layout"]);
    tool(at, "umoci", &["new", "--image", "layout:v1"]);
    tool(at, "umoci", &["insert", "--image", "layout:v1", "rootfs", "/"]);
    tool(at, "umoci", &["insert", "--image", "layout:v1", "--whiteout", "/gone"]);
    std::fs::create_dir(at.join("empty")).unwrap();
    std::fs::write(at.join("empty/new"), "x").unwrap();
    tool(at, "umoci", &["insert", "--image", "layout:v1", "--opaque", "empty", "/emptied"]);
    let config = [
        "config",
        "--image",
        "layout:v1",
        "--config.env",
        "COLOR=blue",
        "--config.workingdir",
        "/srv",
        "--config.user",
        "web",
        "--config.entrypoint",
        "/bin/sh",
        "--config.entrypoint",
        "-c",
        "--config.cmd",
        "id -u; id -g; pwd; echo $COLOR; ls /emptied; ls /gone",
        "--config.stopsignal",
        "SIGINT",
        "--config.label",
        "who=umoci",
        "--config.volume",
        "/data",
    ];
    tool(at, "umoci", &config);
    let image = format!("oci:{}/layout:v1", at.display());
    let done = store.cella(&["run", "--name", "u", &image]);
    assert_eq!(done.out, "7\n8\n/srv\nblue\nnew\n", "{}", done.err);
    assert_eq!(store.inspect("u", "labels.who"), "umoci");
    assert!(store.inspect("u", "image_digest").starts_with("sha256:"));
    let said = store.cella(&["run", "--rm", "--entrypoint", "/bin/echo", &image, "said"]);
    assert_eq!(said.ok(), "said");
    store.cella(&["rm", "-f", "u"]).ok();
    std::fs::remove_dir_all(store.root.join("volumes")).ok();
    store.finish();
}

#[test]
fn an_image_made_by_buildah_runs() {
    let test = "an_image_made_by_buildah_runs";
    if !is_root(test) || !all_there(test, &["buildah"]) {
        return;
    }
    let store = Store::new("buildah");
    let at = &store.root;
    busybox(&at.join("rootfs"));
    let script = "set -e; export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot; B='buildah --root '$PWD'/b --runroot '$PWD'/r'; \
                  c=$($B from scratch); $B add -q $c rootfs / >/dev/null; $B config --cmd 'echo from buildah' $c; \
                  $B commit -q $c oci:$PWD/layout:latest >/dev/null; $B rm $c >/dev/null";
    tool(at, "sh", &["-c", script]);
    assert_eq!(store.cella(&["run", "--rm", &format!("oci:{}/layout:latest", at.display())]).ok(), "from buildah");
    store.finish();
}

#[test]
fn archives_in_every_compression_and_directories_run() {
    if !is_root("archives_in_every_compression_and_directories_run") {
        return;
    }
    let store = Store::new("tar");
    let at = &store.root;
    busybox(&at.join("rootfs"));
    for (flag, name) in [("-cf", "a.tar"), ("-czf", "a.tar.gz"), ("-cJf", "a.tar.xz")] {
        tool(at, "tar", &[flag, name, "-C", "rootfs", "."]);
    }
    tool(at, "zstd", &["-q", "a.tar", "-o", "a.tar.zst"]);
    for name in ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst"] {
        let image = format!("tar:{}/{name}", at.display());
        assert_eq!(store.cella(&["run", "--rm", &image, "cat", "/etc/group"]).ok(), "root:x:0:\nweb:x:8:", "{name}");
    }
    let image = format!("dir:{}/rootfs", at.display());
    assert_eq!(store.cella(&["run", "--rm", &image, "stat", "-c", "%u %g", "/etc/group"]).ok(), "0 0");
    assert_eq!(store.cella(&["run", "--rm", &image, "sh", "-c", "echo x > /bin/new; ls /bin/new"]).ok(), "/bin/new");
    assert!(!at.join("rootfs/bin/new").exists(), "the directory is not written to");
    store.finish();
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    if !is_root("hostile_archives_are_refused_and_leave_nothing") {
        return;
    }
    let store = Store::new("hostile");
    let at = &store.root;
    let make = "import tarfile, io, sys\n\
        def one(name, entries):\n\
        \x20t = tarfile.open(name, 'w')\n\
        \x20for n, kind, link in entries:\n\
        \x20 i = tarfile.TarInfo(n); i.type = kind; i.linkname = link; i.size = 1 if kind == tarfile.REGTYPE else 0\n\
        \x20 t.addfile(i, io.BytesIO(b'x') if i.size else None)\n\
        \x20t.close()\n\
        R, S, L = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE\n\
        one('dots.tar', [('../../escaped', R, '')])\n\
        one('link.tar', [('d', S, '/var/tmp'), ('d/escaped', R, '')])\n\
        one('hard.tar', [('h', L, '../../../etc/shadow')])\n";
    tool(at, "python3", &["-c", make]);
    for name in ["dots.tar", "hard.tar"] {
        let error = store.cella(&["run", "--rm", &format!("tar:{}/{name}", at.display()), "/x"]).fails(125);
        assert!(error.contains("escaped") || error.contains("shadow"), "{name}: {error}");
    }
    store.cella(&["run", "--rm", &format!("tar:{}/link.tar", at.display()), "/x"]);
    assert!(!Path::new("/var/tmp/escaped").exists());
    let layers: Vec<_> =
        std::fs::read_dir(at.join("layers")).into_iter().flatten().flatten().map(|one| one.file_name()).collect();
    assert!(!layers.iter().any(|name| name.to_string_lossy().starts_with(".new")), "{layers:?}");
    store.finish();
}

#[test]
fn a_distribution_is_made_from_its_packages_and_keeps_its_changes() {
    let test = "a_distribution_is_made_from_its_packages_and_keeps_its_changes";
    if !is_root(test) || !all_there(test, &["mmdebstrap"]) {
        return;
    }
    let store = Store::new("bootstrap");
    let image = "bootstrap:debian/bookworm";
    let script = "apt-get --version | head -1; test -e /root/mark && echo again; touch /root/mark; grep -c bookworm /etc/os-release >/dev/null && echo bookworm";
    let first = store.cella(&["run", "--name", "b", image, "sh", "-c", script]);
    let first = first.ok();
    assert!(first.starts_with("apt ") && first.ends_with("\nbookworm") && !first.contains("again"), "{first}");
    assert!(store.cella(&["start", "-a", "b"]).ok().contains("again"));
    store.cella(&["rm", "b"]).ok();
    store.finish();
}

/// Runs a program for which fsconfig(2) takes no descriptors: EINVAL, as overlayfs before Linux 6.13.
const BEFORE_6_13: &str = r#"
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
one = lambda code, k, then=0, other=0: struct.pack("HBBI", code, then, other, k)
code = (one(LOAD, 0) + one(EQUAL, 431, 0, 3) + one(LOAD, 24) + one(EQUAL, 5, 0, 1)
        + one(RETURN, 0x50000 | 22) + one(RETURN, 0x7fff0000))
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn layers_have_names_on_a_kernel_that_takes_no_descriptors() {
    let test = "layers_have_names_on_a_kernel_that_takes_no_descriptors";
    if !is_root(test) {
        return;
    }
    let store = Store::new("old-overlay");
    let cella = |arguments: &[&str]| -> crate::support::Done {
        let mut command = std::process::Command::new("/usr/bin/python3");
        command.args(["-ISc", BEFORE_6_13]).arg(crate::support::program()).env("CELLA_ROOT", &store.root);
        command.args(arguments).stdin(std::process::Stdio::null()).output().unwrap().into()
    };
    let script = "id -u; stat -c %u /usr/bin/env; touch /usr/mine /mine && stat -c %u /mine; grep -c ' / / .* overlay ' /proc/self/mountinfo";
    let seen = cella(&["run", "--rm", "--network", "none", "host", "sh", "-c", script]).ok();
    assert_eq!(seen, "0\n0\n0\n1");
    // What was written is there again.
    cella(&["run", "--name", "kept", "--network", "none", "host", "touch", "/kept"]).ok();
    cella(&["start", "kept"]).ok();
    assert!(store.root.join("containers/kept/upper/0/kept").exists());
    store.cella(&["rm", "-f", "kept"]).ok();
    store.finish();
}
