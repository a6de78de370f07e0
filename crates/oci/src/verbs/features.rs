// SPDX-License-Identifier: Apache-2.0
//! `cella-oci features`: what is supported, in the words of the specification.

use lexopt::Parser;
use serde_json::json;

use super::print_json;
use crate::arguments::{Global, Word, next, unknown};
use crate::bundle;
use crate::failure::{Failure, Result};

const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "lazytime",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    match next(global, words)? {
        Word::End => {}
        Word::Option(name) => return unknown(&name),
        Word::Plain(word) => return Err(Failure::new(format!("one word too many: {word:?}"))),
    }
    let actions = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP"];
    let operators = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"];
    let flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map(|name| format!("SECCOMP_FILTER_FLAG_{name}"));
    let namespaces = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    print_json(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": bundle::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": namespaces,
            "capabilities": kernel::types::CAPABILITIES,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": actions.map(|name| format!("SCMP_ACT_{name}")),
                "operators": operators.map(|name| format!("SCMP_CMP_{name}")),
                "archs": plan::seccomp::architectures(),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {
                "modes": ["MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": {"io.github.seccomp.libseccomp.version": "none"},
        "potentiallyUnsafeConfigAnnotations": [],
    }))
}
