// SPDX-License-Identifier: Apache-2.0
//! What this kernel can do, found by trying.

use std::fs;
use std::path::Path;

use crate::cgroup::Layout;
use crate::error::{Errno, Result};
use crate::mount::{self, Parameter};

/// One feature and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// A stable short name.
    pub name: &'static str,
    /// What depends on it.
    pub purpose: &'static str,
    /// Is it there?
    pub present: bool,
    /// What was found, or why it is missing.
    pub detail: String,
    /// What to do about it, when it is missing.
    pub remedy: &'static str,
    /// Nothing can start without it.
    pub required: bool,
}

/// The kernel's release, e.g. `6.18.44`.
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The processor architecture as uname(2) names it.
#[must_use]
pub fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// The host's name.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The NIS domain name.
#[must_use]
pub fn domainname() -> String {
    rustix::system::uname().domainname().to_string_lossy().into_owned()
}

/// The active security modules, e.g. `capability,landlock,apparmor`.
#[must_use]
pub fn security_modules() -> String {
    fs::read_to_string("/sys/kernel/security/lsm").map(|list| list.trim().to_owned()).unwrap_or_default()
}

/// Is AppArmor active?
#[must_use]
pub fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// Is SELinux active?
#[must_use]
pub fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Does overlayfs take its layers as descriptors (Linux 6.13)?
#[must_use]
pub fn overlay_takes_descriptors() -> bool {
    at_least(6, 13)
}

/// Is the running kernel this version or newer?
#[must_use]
pub fn at_least(major: u32, minor: u32) -> bool {
    let release = release();
    let mut numbers = release.split(['.', '-']).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// Looks at everything that matters; `id_mapped` is a directory whose file system must support id-mapped mounts.
#[must_use]
pub fn features(id_mapped: &Path) -> Vec<Feature> {
    vec![
        feature("root", "starting anything", euid_is_root(), true, "run as root (sudo)"),
        feature(
            "namespaces",
            "isolation",
            all_namespaces(),
            true,
            "use a kernel with all eight namespaces (Linux 5.6)",
        ),
        feature(
            "user namespaces",
            "ids of their own for those that are shut in",
            user_namespaces(),
            true,
            "set user.max_user_namespaces above 0, or use --userns host",
        ),
        feature("overlayfs", "writable layers", overlay(), true, "enable CONFIG_OVERLAY_FS"),
        feature("new mount API", "mounts as objects", new_mount_api(), true, "use Linux 5.12 or newer"),
        feature(
            "id-mapped mounts",
            "files owned by root inside",
            id_mapping(id_mapped),
            false,
            "use ext4, xfs or btrfs",
        ),
        feature("cgroups", "limits and accounting", cgroups(), true, "mount cgroup2 on /sys/fs/cgroup"),
        feature(
            "fuse",
            "limits as programs see them in /proc and /sys",
            fuse(),
            false,
            "modprobe fuse; where Cella itself is shut in, give it /dev/fuse",
        ),
        feature("seccomp", "system call filter", seccomp(), true, "enable CONFIG_SECCOMP_FILTER"),
        feature("landlock", "third layer without user namespace", landlock(), false, "boot with lsm=landlock,…"),
        feature("security module", "labels", module(), false, "boot with AppArmor or SELinux"),
        feature(
            "raised limits",
            "rlimits above this session's",
            can_raise(),
            false,
            "give CAP_SYS_RESOURCE to this session",
        ),
    ]
}

type Finding = std::result::Result<String, String>;

fn feature(name: &'static str, purpose: &'static str, found: Finding, required: bool, remedy: &'static str) -> Feature {
    let present = found.is_ok();
    let detail = found.unwrap_or_else(|reason| reason);
    Feature { name, purpose, present, detail, remedy, required }
}

fn fuse() -> Finding {
    match crate::fuse::is_there() {
        true => Ok("/dev/fuse".to_owned()),
        false => Err("no /dev/fuse that can be opened".to_owned()),
    }
}

fn euid_is_root() -> Finding {
    match crate::process::euid() {
        0 => Ok("effective user 0".to_owned()),
        uid => Err(format!("effective user {uid}")),
    }
}

fn all_namespaces() -> Finding {
    let missing: Vec<&str> = crate::types::NamespaceKind::ALL
        .iter()
        .map(|kind| kind.file())
        .filter(|file| !Path::new("/proc/self/ns").join(file).exists())
        .collect();
    if missing.is_empty() { Ok("all eight".to_owned()) } else { Err(format!("missing: {}", missing.join(", "))) }
}

fn user_namespaces() -> Finding {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    match limit.trim() {
        "0" => Err("user.max_user_namespaces is 0".to_owned()),
        "" => Err("no /proc/sys/user/max_user_namespaces".to_owned()),
        limit => Ok(format!("up to {limit}")),
    }
}

fn overlay() -> Finding {
    // The first to ask for it has its module loaded; whether somebody has done so says nothing.
    let asked = mount::is_known("overlay");
    let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    match asked || list.lines().any(|line| line.ends_with("\toverlay")) {
        true if overlay_takes_descriptors() => Ok("layers by descriptor".to_owned()),
        true => Ok("layers by path".to_owned()),
        false => Err("not in /proc/filesystems".to_owned()),
    }
}

fn new_mount_api() -> Finding {
    told(
        mount::new("tmpfs", &[Parameter::Text("size", "4k")], 0)
            .and_then(|tmpfs| mount::set_attributes(&tmpfs, crate::types::attr::NOSUID, 0, mount::Depth::One)),
    )
}

fn id_mapping(directory: &Path) -> Finding {
    let fail = |error: crate::Error| error.to_string();
    let userns =
        crate::idmap::user_namespace(&[crate::types::IdRange { inside: 0, outside: 0x7000_0000, count: 65536 }])
            .map_err(fail)?;
    let tree = mount::clone(directory, false).map_err(fail)?;
    mount::idmap(&tree, &userns, mount::Depth::One).map_err(fail)?;
    Ok(format!("{} supports them", directory.display()))
}

fn cgroups() -> Finding {
    let layout = Layout::detect().map_err(|error| error.to_string())?;
    let list = ["cpu", "cpuset", "memory", "pids", "blkio", "devices"];
    let has: Vec<&str> = list.into_iter().filter(|name| layout.has(name)).collect();
    match layout.kind() {
        "none" => Err("no cgroup file system is mounted".to_owned()),
        kind => Ok(format!("{kind}: {}", has.join(" "))),
    }
}

fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.contains("errno") { Ok(actions.trim().to_owned()) } else { Err("no filter actions".to_owned()) }
}

fn landlock() -> Finding {
    match crate::landlock::version() {
        0 => Err("not active".to_owned()),
        version => Ok(format!("version {version}")),
    }
}

fn module() -> Finding {
    match (has_apparmor(), has_selinux()) {
        (true, _) => Ok("AppArmor".to_owned()),
        (_, true) => Ok("SELinux".to_owned()),
        _ => Err(format!("none with labels (active: {})", security_modules())),
    }
}

fn can_raise() -> Finding {
    let (effective, ..) = crate::capability::get().map_err(|error| error.to_string())?;
    if effective.has(24) { Ok("CAP_SYS_RESOURCE".to_owned()) } else { Err("no CAP_SYS_RESOURCE".to_owned()) }
}

fn told(result: Result<()>) -> Finding {
    match result {
        Ok(()) => Ok("works".to_owned()),
        Err(error) if error.is(Errno::NOSYS) => Err("the kernel does not have it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
