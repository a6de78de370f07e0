// SPDX-License-Identifier: Apache-2.0
//! What a whole system has that a single program has not: an init, more rights within its user namespace, a group of its own to
//! divide, and the interface by which an init knows its container (systemd's CONTAINER_INTERFACE).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kernel::root::Root;
use spec::definition::{Definition, Network, Share};
use spec::oci;
use spec::system::{Credential, LARGEST_CREDENTIAL, System};

use crate::compose::mount;
use crate::error::{Doing, Error, Kind, Result};
use crate::record::Record;

/// Where an init is looked for, as the kernel does; systemd's own place first for images that leave the link out.
const INITS: &[&str] =
    &["/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/etc/init"];

/// What its init is told that the container is. Guests know this word for what we are: an unprivileged system container.
const MANAGER: &str = "lxc";

/// What not even root inside may have: rights over the host's hardware, clock and modules, and over labels of its files.
const DENIED: &[&str] =
    &["CAP_BPF", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_PERFMON", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME"];

/// Processes and threads, where no other limit is asked for.
pub(crate) const PIDS: u64 = 16_384;

/// Milliseconds from the wish that it ends to SIGKILL: services want to write down what they have.
pub(crate) const STOP_TIMEOUT_MS: u64 = 60_000;

/// Where a clean proc and sysfs are, which the kernel wants to see before it lets a container inside mount its own: the place
/// that LXC has for them.
const CLEAN: &str = "/dev/.lxc";

/// What is not possible together with being a whole system.
pub(crate) fn check(definition: &Definition) -> Result<()> {
    if definition.system.is_none() {
        return Ok(());
    }
    let refuse = |what: &str| {
        let message = format!("{what} can not be used with a system container");
        Err(Error::new(Kind::Invalid, message))
    };
    let spaces = &definition.namespaces;
    let shared = [&spaces.pid, &spaces.ipc, &spaces.uts, &spaces.cgroup].into_iter().any(|one| *one != Share::Private);
    match definition {
        _ if spaces.user != Share::Private => refuse("--userns")
            .map_err(|error: Error| error.hint("a whole system always has a user namespace and ids of its own")),
        _ if shared || !matches!(spaces.network, Network::Private | Network::None) => {
            refuse("a namespace of somebody else")
        }
        _ if definition.security.privileged => refuse("--privileged"),
        _ if definition.init => refuse("--init (the image's own init is process 1)"),
        _ if definition.user.is_some() => refuse("--user"),
        _ if definition.workdir.is_some() => refuse("--workdir"),
        _ if definition.entrypoint.is_some() => {
            refuse("--entrypoint").map_err(|error: Error| error.hint("name another init after the image"))
        }
        _ => Ok(()),
    }
}

/// The terminal of a system container is its console, and somebody may always type.
pub(crate) fn complete(definition: &mut Definition) {
    if definition.system.is_some() {
        (definition.tty, definition.interactive) = (true, true);
    }
}

/// The init of an image: a program that is there and was made for this machine.
pub(crate) fn find_init(root: &Root, image: &str) -> Result<String> {
    for path in INITS {
        let Ok(file) = root.open_file(Path::new(path)) else { continue };
        let head = kernel::file::read_start(&file, 20)?;
        return match foreign(&head) {
            None => Ok((*path).to_owned()),
            Some(machine) => {
                let message = format!("cannot start {image}: {path} is a program for {machine}");
                let own = std::env::consts::ARCH;
                Err(Error::new(Kind::Invalid, message).hint(format!("use an image for {own}")))
            }
        };
    }
    let message = format!("cannot start {image}: it has no init; looked for {}", INITS.join(", "));
    Err(Error::new(Kind::Invalid, message).hint("cella run starts a single program; or name the init after the image"))
}

/// The machine that an ELF file is for, unless it is this one.
fn foreign(head: &[u8]) -> Option<String> {
    const MACHINES: &[(u16, &str)] = &[(3, "x86"), (40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64")];
    let [0x7f, b'E', b'L', b'F', ..] = head else { return None };
    let number = u16::from_le_bytes(head.get(18..20)?.try_into().ok()?);
    let name = MACHINES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    match name {
        Some(name) if name == std::env::consts::ARCH => None,
        Some(name) => Some(name.to_owned()),
        None => Some(format!("machine number {number}")),
    }
}

/// All capabilities but those over the host.
pub(crate) fn capabilities() -> BTreeSet<String> {
    let allowed = |name: &&&str| !DENIED.contains(*name);
    kernel::types::CAPABILITIES.iter().filter(allowed).map(|name| (*name).to_owned()).collect()
}

/// The id by which the guest is known to itself: a random UUID (RFC 9562, version 4) made of the container's id.
pub(crate) fn uuid(record: &Record) -> String {
    let mut digits: Vec<char> = record.id.chars().take(32).collect();
    for (at, digit) in [(12, '4'), (16, 'a')] {
        if let Some(place) = digits.get_mut(at) {
            *place = digit;
        }
    }
    digits.into_iter().collect()
}

/// The variables that an init looks for.
pub(crate) fn environment(record: &Record) -> [String; 4] {
    [
        format!("container={MANAGER}"),
        format!("container_uuid={}", uuid(record)),
        "NOTIFY_SOCKET=/run/host/notify".to_owned(),
        "CREDENTIALS_DIRECTORY=/run/host/credentials".to_owned(),
    ]
}

/// The mounts of a system container, in order; `run` has what it is told in `host`.
pub(crate) fn mounts(definition: &Definition, run: &Path) -> Vec<oci::Mount> {
    let plain = ["nosuid", "nodev", "noexec"];
    let shm = definition.shm_size.map_or_else(|| "size=50%".to_owned(), |size| format!("size={size}"));
    let host = run.join("host").to_string_lossy().into_owned();
    // A file system of its own: root inside may make it writable, and fill what it has.
    let told = ["tmpcopyup", "ro", "nosuid", "nodev", "noexec", "size=4m", "nr_inodes=128", "mode=755"];
    let told = oci::Mount { source: host, ..mount("/run/host", "tmpfs", &told) };
    let socket = run.join("notify").to_string_lossy().into_owned();
    let socket =
        oci::Mount { source: socket, ..mount("/run/host/notify", "bind", &["bind", "nosuid", "nodev", "noexec"]) };
    vec![
        mount("/proc", "proc", &plain),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64m"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "strictatime", "mode=1777", &shm]),
        mount("/dev/mqueue", "mqueue", &plain),
        // Read-only, so that no device manager starts in there: it would wait for devices that are not its own.
        mount("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        mount("/sys/fs/cgroup", "cgroup2", &plain),
        mount("/run", "tmpfs", &["nosuid", "nodev", "strictatime", "mode=755", "size=20%"]),
        told,
        socket,
        mount(CLEAN, "tmpfs", &["nosuid", "nodev", "noexec", "mode=700", "size=4k"]),
        mount(&format!("{CLEAN}/proc"), "proc", &plain),
        mount(&format!("{CLEAN}/sys"), "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ]
}

/// Writes what the guest is told about its host into `run/host`, for a container whose root has this id outside.
pub(crate) fn write_host(record: &Record, system: &System, run: &Path, owner: u32, dns: &[String]) -> Result<()> {
    let host = run.join("host");
    kernel::file::remove_any(&host)?;
    kernel::file::make_directory(&host, 0o755)?;
    let os_release = std::fs::read("/etc/os-release").or_else(|_| std::fs::read("/usr/lib/os-release"));
    let files = [
        ("container-manager", MANAGER.as_bytes().to_vec()),
        ("container-uuid", uuid(record).into_bytes()),
        ("os-release", os_release.unwrap_or_default()),
    ];
    for (name, text) in files {
        kernel::file::write_new(&host.join(name), &text, 0o444)?;
    }
    // Where the socket is mounted.
    kernel::file::write_new(&host.join("notify"), &[], 0o444)?;
    write_credentials(system, &host.join("credentials"), owner, dns)
}

/// Only root inside may read them; name servers go to a resolver inside in this way, too.
fn write_credentials(system: &System, directory: &Path, owner: u32, dns: &[String]) -> Result<()> {
    let mut list: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for (name, credential) in &system.credentials {
        let bytes = match credential {
            Credential::Text(text) => text.clone().into_bytes(),
            Credential::File(path) => {
                let read = kernel::file::read_plain(Path::new(path), LARGEST_CREDENTIAL + 1);
                read.doing(|| format!("read the credential {name}"))?
            }
        };
        if bytes.len() > LARGEST_CREDENTIAL {
            return Err(Error::new(Kind::Invalid, format!("credential {name} is larger than 1M")));
        }
        list.push((directory.join(name.as_str()), bytes));
    }
    if !dns.is_empty() && !system.credentials.keys().any(|name| name.as_str() == "network.dns") {
        list.push((directory.join("network.dns"), dns.join(" ").into_bytes()));
    }
    kernel::file::make_directory(directory, 0o700)?;
    for (path, bytes) in list {
        kernel::file::write_new(&path, &bytes, 0o400)?;
        kernel::file::set_owner(&path, owner, owner)?;
    }
    Ok(kernel::file::set_owner(directory, owner, owner)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_other_machines_are_told() {
        let head = |machine: u8| {
            let mut head = vec![0; 20];
            head[..4].copy_from_slice(b"\x7fELF");
            head[18] = machine;
            head
        };
        let (own, other) = if cfg!(target_arch = "x86_64") { (62, (183, "aarch64")) } else { (183, (62, "x86_64")) };
        assert_eq!(foreign(&head(own)), None);
        assert_eq!(foreign(&head(other.0)).as_deref(), Some(other.1));
        assert_eq!(foreign(&head(99)).as_deref(), Some("machine number 99"));
        assert_eq!((foreign(b"#!/bin/sh\nexec x"), foreign(b"")), (None, None));
    }

    #[test]
    fn rights_over_the_host_are_no_ones() {
        let held = capabilities();
        assert!(held.contains("CAP_SYS_ADMIN") && held.contains("CAP_SYS_BOOT"));
        assert!(DENIED.iter().all(|name| !held.contains(*name)));
    }
}
