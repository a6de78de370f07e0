// SPDX-License-Identifier: Apache-2.0
//! `host`: this machine's own userland, made of what is known to be harmless; nothing is let in that is not named here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::image::Config;

use crate::Tree;
use crate::error::{At, Result};
use crate::layers::Layers;

/// Directories that are there, empty: mode and path.
const DIRECTORIES: &[(u32, &str)] = &[
    (0o755, "boot"),
    (0o755, "dev"),
    (0o755, "etc"),
    (0o755, "home"),
    (0o755, "media"),
    (0o755, "mnt"),
    (0o755, "opt"),
    (0o755, "proc"),
    (0o700, "root"),
    (0o755, "run"),
    (0o755, "srv"),
    (0o755, "sys"),
    (0o1777, "tmp"),
    (0o755, "usr"),
    (0o755, "var"),
    (0o755, "var/backups"),
    (0o755, "var/cache"),
    (0o755, "var/lib"),
    (0o755, "var/log"),
    (0o755, "var/mail"),
    (0o755, "var/opt"),
    (0o755, "var/spool"),
    (0o1777, "var/tmp"),
    (0o1777, "run/lock"),
];

/// Links that every distribution has by now.
const LINKS: &[(&str, &str)] = &[("var/run", "/run"), ("var/lock", "/run/lock")];

/// Directories at the top that are links into /usr, or real ones on a host that has not merged them.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Of /etc, what is never copied, readable or not: secrets, who may do what, what this host is and does.
const DENIED: &[&str] = &[
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "passwd",
    "passwd-",
    "group",
    "group-",
    "subuid",
    "subuid-",
    "subgid",
    "subgid-",
    "ssh",
    "machine-id",
    "hostname",
    "hosts",
    "resolv.conf",
    "mtab",
    "fstab",
    "crypttab",
    "exports",
    "sudoers",
    "sudoers.d",
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.monthly",
    "cron.weekly",
    "crontab",
    "systemd",
    "NetworkManager",
    "netplan",
    "network",
    "wireguard",
    "kubernetes",
    "docker",
    "containers",
    "cella",
    "cni",
    "lxc",
    "libvirt",
    "krb5.keytab",
    "krb5.conf",
    "letsencrypt",
    "ppp",
    "chatscripts",
    "wpa_supplicant",
    "openvpn",
    "ipsec.conf",
    "ipsec.secrets",
    "ipsec.d",
    "strongswan.d",
    "iscsi",
    "nvme",
    "ceph",
    "samba",
    "exim4",
    "postfix",
    "dovecot",
    "bind",
    "ldap",
    "openldap",
    "mysql",
    "postgresql",
    "redis",
    "apache2",
    "nginx",
    "cloud",
    "salt",
    "puppet",
    "chef",
    "ansible",
    "grub.d",
    "default",
    "udev",
    "modprobe.d",
    "modules",
    "modules-load.d",
    "apparmor.d",
    "selinux",
    "audit",
    "security",
    "polkit-1",
    "dbus-1",
    "X11",
    "initramfs-tools",
    "kernel",
    "rc0.d",
    "rc1.d",
    "rc2.d",
    "rc3.d",
    "rc4.d",
    "rc5.d",
    "rc6.d",
    "rcS.d",
    "init.d",
    "init",
    "sysctl.d",
    "sysctl.conf",
];

/// Ends of names that hold keys, wherever they are.
const KEYS: &[&str] = &[".key", ".keytab", ".p12", ".pfx", ".jks", ".secret", ".secrets", ".kdbx"];

/// A file larger than this is no configuration.
const LARGEST: u64 = 4 << 20;

/// How deep below /etc is copied, and how much in all.
const DEPTH: usize = 8;
const MOST: u64 = 64 << 20;

/// Users from here on are people.
const PEOPLE: u32 = 1000;
const NOBODY: u32 = 65_534;

/// What the layer was made from: each directory and file whose change makes a new one necessary.
#[derive(Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Fingerprint(BTreeMap<PathBuf, (u64, i64, i64, i64, i64)>);

impl Fingerprint {
    fn of(path: &Path) -> Option<(u64, i64, i64, i64, i64)> {
        let found = fs::symlink_metadata(path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()))
    }

    fn add(&mut self, path: &Path) {
        if let Some(stamp) = Self::of(path) {
            self.0.insert(path.to_owned(), stamp);
        }
    }

    fn holds(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(path, stamp)| Self::of(path).as_ref() == Some(stamp))
    }
}

/// `host.json`: the layer that is used now.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    version: u32,
    layer: String,
    made_from: Fingerprint,
}

const STAMP: &str = "host.json";

/// The layers, made anew when /etc has changed, and the configuration.
pub(crate) fn prepare(layers: &Layers) -> Result<(Vec<Tree>, Config)> {
    let text = fs::read(layers.path(STAMP)).ok();
    let known = text.and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
    let layer = match known.filter(|known| known.made_from.holds()).map(|known| layers.path(&known.layer)) {
        Some(layer) if layer.is_dir() => layer,
        _ => make(layers)?,
    };
    let mut trees = vec![
        Tree { target: "/".into(), lowers: vec![layer.join("root")] },
        Tree { target: "/usr".into(), lowers: vec![layer.join("usr"), "/usr".into()] },
    ];
    for name in MERGED {
        let path = Path::new("/").join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            trees.push(Tree { target: path.clone(), lowers: vec![path] });
        }
    }
    let shell = if Path::new("/usr/bin/bash").exists() { "bash" } else { "sh" };
    Ok((trees, Config { cmd: Some(vec![shell.to_owned()]), ..Config::default() }))
}

/// A layer of a new name: containers that run go on with the one that they were started with.
fn make(layers: &Layers) -> Result<PathBuf> {
    // Taken before anything is copied: what changes meanwhile makes it stale.
    let mut made_from = Fingerprint::default();
    for path in MERGED.iter().map(|name| Path::new("/").join(name)).chain([
        "/etc".into(),
        "/etc/passwd".into(),
        "/etc/group".into(),
    ]) {
        made_from.add(&path);
    }
    let id: String = kernel::time::random::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    let layer = format!("host-{id}");
    let path = layers.get_or_make(&layer, |directory| {
        let (root, usr) = (directory.join("root"), directory.join("usr"));
        skeleton(&root)?;
        Copy { fingerprint: &mut made_from, bytes: 0 }.directory(Path::new("/etc"), &root.join("etc"), 0)?;
        accounts(&root.join("etc"))?;
        mask(&usr)
    })?;
    let text = serde_json::to_vec(&Stamp { version: 1, layer, made_from }).unwrap_or_default();
    layers.write(STAMP, &text).at(|| format!("write {STAMP}"))?;
    Ok(path)
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path).at(|| format!("mkdir {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at(|| format!("chmod {}", path.display()))
}

fn skeleton(root: &Path) -> Result<()> {
    directory(root, 0o755)?;
    for (mode, path) in DIRECTORIES {
        directory(&root.join(path), *mode)?;
    }
    for (path, target) in LINKS {
        symlink(target, root.join(path)).at(|| format!("symlink {path}"))?;
    }
    for name in MERGED {
        match fs::read_link(Path::new("/").join(name)) {
            Ok(target) => symlink(target, root.join(name)).at(|| format!("symlink {name}"))?,
            Err(_) if Path::new("/").join(name).is_dir() => directory(&root.join(name), 0o755)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Covers what of /usr may hold the host's own secrets: a directory that is opaque shows nothing of the one below.
fn mask(usr: &Path) -> Result<()> {
    directory(usr, 0o755)?;
    directory(&usr.join("local"), 0o755)?;
    for path in ["local/etc", "local/var", "src"] {
        let path = usr.join(path);
        directory(&path, 0o755)?;
        let opaque = kernel::root::open_directory_path(&path)
            .and_then(|directory| kernel::fs::set_attribute(directory, "trusted.overlay.opaque", b"y"));
        opaque.at(|| format!("mask {}", path.display()))?;
    }
    Ok(())
}

/// Copies what everybody on the host may read anyway.
struct Copy<'a> {
    fingerprint: &'a mut Fingerprint,
    bytes: u64,
}

impl Copy<'_> {
    fn directory(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        self.fingerprint.add(from);
        let entries = fs::read_dir(from).at(|| format!("read {}", from.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let denied = depth == 0 && DENIED.contains(&text.as_ref());
            if denied || text == "private" || KEYS.iter().any(|end| text.ends_with(end)) {
                continue;
            }
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            let (from, to) = (entry.path(), to.join(&name));
            let readable = found.mode() & 0o004 != 0;
            if found.is_symlink() {
                let target = fs::read_link(&from).at(|| format!("readlink {}", from.display()))?;
                symlink(target, &to).at(|| format!("symlink {}", to.display()))?;
            } else if found.is_dir() && readable && found.mode() & 0o001 != 0 && depth < DEPTH {
                directory(&to, found.mode() & 0o755)?;
                self.directory(&from, &to, depth + 1)?;
            } else if found.is_file() && readable && found.len() <= LARGEST && self.bytes + found.len() <= MOST {
                self.bytes += found.len();
                fs::copy(&from, &to).at(|| format!("copy {}", from.display()))?;
                fs::set_permissions(&to, fs::Permissions::from_mode(found.mode() & 0o755))
                    .at(|| format!("chmod {}", to.display()))?;
            }
        }
        Ok(())
    }
}

/// The accounts of the system, without people and without any password.
fn accounts(etc: &Path) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let id = |line: &str| line.split(':').nth(2).and_then(|id| id.parse::<u32>().ok());
    let of_system = |line: &&str| id(line).is_some_and(|id| id < PEOPLE || id == NOBODY);
    let people: Vec<String> = read("/etc/passwd")
        .lines()
        .filter(|line| !of_system(line))
        .filter_map(|line| line.split(':').next().map(str::to_owned))
        .collect();
    let mut passwd: String = read("/etc/passwd").lines().filter(of_system).map(|line| format!("{line}\n")).collect();
    if !passwd.lines().any(|line| line.starts_with("root:")) {
        passwd.insert_str(0, "root:x:0:0:root:/root:/bin/sh\n");
    }
    let without_people = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if let Some(members) = fields.get_mut(3) {
            *members = members
                .split(',')
                .filter(|name| !people.iter().any(|person| person == name))
                .collect::<Vec<_>>()
                .join(",");
        }
        format!("{}\n", fields.join(":"))
    };
    let group: String = read("/etc/group").lines().filter(of_system).map(without_people).collect();
    let shadow: String =
        passwd.lines().filter_map(|line| line.split(':').next()).map(|name| format!("{name}:*:::::::\n")).collect();
    for (name, text, mode) in [
        ("passwd", passwd, 0o644),
        ("group", group, 0o644),
        ("shadow", shadow, 0o640),
        ("machine-id", String::new(), 0o444),
    ] {
        let path = etc.join(name);
        fs::write(&path, text).at(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).at(|| format!("chmod {}", path.display()))?;
    }
    Ok(())
}
