// SPDX-License-Identifier: Apache-2.0
//! `cella-oci spec`: writes a `config.json` to begin with.

use std::path::PathBuf;

use lexopt::{Arg, Parser};
use serde_json::{Value, json};

use crate::arguments::{Global, switch, unknown};
use crate::bundle;
use crate::failure::{Failure, Result};

pub(super) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    let (mut directory, mut rootless) = (PathBuf::from("."), false);
    while let Some(word) = words.next()? {
        let name = match word {
            Arg::Long(name) => name.to_owned(),
            Arg::Short(letter) => letter.to_string(),
            Arg::Value(word) => return Err(Failure::new(format!("one word too many: {word:?}"))),
        };
        match name.as_str() {
            "bundle" | "b" => directory = words.value()?.into(),
            // Here the word stands alone, unlike the global flag.
            "rootless" => rootless = switch(&name, words)?,
            name if global.take(name, words)? => {}
            name => return unknown(name),
        }
    }
    // The global flag of the same name means the same here.
    let config = config(rootless || global.rootless == Some(true));
    let text = serde_json::to_string_pretty(&config).map_err(|error| Failure::new(error.to_string()))?;
    let path = directory.join("config.json");
    kernel::file::write_new(&path, format!("{text}\n").as_bytes(), 0o644)?;
    Ok(0)
}

fn config(rootless: bool) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mount = |to: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": source, "options": options});
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let pts: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let mut linux = json!({
        "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    let mut sys = mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    if rootless {
        kinds.retain(|kind| *kind != "network");
        kinds.push("user");
        let (uid, gid) = kernel::process::real_ids();
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
        linux["resources"] = Value::Null;
        sys = mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    }
    linux["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": bundle::VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "cella",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", if rootless { pts.get(..5).unwrap_or_default() } else { pts }),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            sys,
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": linux,
    })
}
