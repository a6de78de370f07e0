// SPDX-License-Identifier: Apache-2.0
//! Mount options as the runtime specification writes them, and the steps that a mount becomes.

use std::path::{Path, PathBuf};

use kernel::types::attr;
use spec::oci;

use crate::Error;
use crate::compile::{Builder, maps};
use crate::step::{Idmap, Source, Step};

/// What a list of options means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// Attributes to set on it and all below it.
    pub set_below: u64,
    /// Attributes to clear on it and all below it.
    pub clear_below: u64,
    /// `bind` or `rbind`.
    pub bind: bool,
    /// With what is mounted below it.
    pub recursive: bool,
    /// Ids are shifted: of it alone, or with all below it.
    pub idmap: Option<bool>,
    /// `private`, `slave`, `shared` or `unbindable`.
    pub propagation: Option<&'static str>,
    /// The propagation is of all below it too.
    pub propagate_below: bool,
    /// A new tmpfs starts with what is there.
    pub copy_up: bool,
    /// A symbolic link is made again, not followed.
    pub copy_link: bool,
    /// What is mounted there already is changed.
    pub remount: bool,
    /// What goes to the file system itself.
    pub parameters: Vec<String>,
}

const FLAGS: &[(&str, u64, u64)] = &[
    ("ro", attr::RDONLY, 0),
    ("rw", 0, attr::RDONLY),
    ("nosuid", attr::NOSUID, 0),
    ("suid", 0, attr::NOSUID),
    ("nodev", attr::NODEV, 0),
    ("dev", 0, attr::NODEV),
    ("noexec", attr::NOEXEC, 0),
    ("exec", 0, attr::NOEXEC),
    ("noatime", attr::NOATIME, attr::ATIME_MASK),
    ("atime", attr::RELATIME, attr::ATIME_MASK),
    ("relatime", attr::RELATIME, attr::ATIME_MASK),
    ("norelatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("strictatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("nostrictatime", attr::RELATIME, attr::ATIME_MASK),
    ("nodiratime", attr::NODIRATIME, 0),
    ("diratime", 0, attr::NODIRATIME),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
    ("defaults", 0, 0),
];

/// Options of the file system as such, which the new mount interface takes by these names.
const SUPER: &[(&str, &str)] = &[
    ("sync", "sync"),
    ("async", "async"),
    ("dirsync", "dirsync"),
    ("lazytime", "lazytime"),
    ("nolazytime", "nolazytime"),
    ("mand", "mand"),
    ("nomand", ""),
    ("silent", ""),
    ("loud", ""),
    ("iversion", ""),
    ("noiversion", ""),
    ("acl", "acl"),
    ("noacl", "noacl"),
];

/// Sorts options into attributes, propagation and parameters; what is unknown goes to the file system, which refuses it
/// by name when it does not know it either.
#[must_use]
pub fn parse_options(options: &[String]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options {
        let known = |name: &str| FLAGS.iter().find(|(flag, ..)| *flag == name);
        if let Some((_, set, clear)) = known(option) {
            parsed.set = parsed.set & !clear | set;
            parsed.clear = parsed.clear & !set | clear;
            continue;
        }
        if let Some((_, set, clear)) = option.strip_prefix('r').and_then(known) {
            parsed.set_below = parsed.set_below & !clear | set;
            parsed.clear_below = parsed.clear_below & !set | clear;
            continue;
        }
        if let Some((to, recursive)) = propagation(option) {
            (parsed.propagation, parsed.propagate_below) = (Some(to), recursive);
            continue;
        }
        match option.as_str() {
            "" => {}
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "idmap" => parsed.idmap = Some(false),
            "ridmap" => parsed.idmap = Some(true),
            "tmpcopyup" => parsed.copy_up = true,
            "copy-symlink" => parsed.copy_link = true,
            "remount" => parsed.remount = true,
            other => parsed.parameters.push(other.to_owned()),
        }
    }
    parsed
}

/// The propagation that a word names, and whether it is for all below it too.
pub(crate) fn propagation(word: &str) -> Option<(&'static str, bool)> {
    const NAMES: [&str; 4] = ["private", "slave", "shared", "unbindable"];
    let find = |word: &str| NAMES.into_iter().find(|name| *name == word);
    find(word).map(|name| (name, false)).or_else(|| find(word.strip_prefix('r')?).map(|name| (name, true)))
}

/// The type of a mount of the container's own view of /proc and /sys; its source is a path in there. Only the manager's own
/// specifications have it.
pub const VIEW: &str = "procview";

/// The steps of one mount of the specification.
pub(crate) fn steps(builder: &mut Builder<'_>, mount: &oci::Mount) -> Result<(), Error> {
    let mut options = parse_options(&mount.options);
    let place = |reason: &str| Error::invalid(format!("mount {:?}", mount.destination), reason);
    let relative = !mount.destination.starts_with('/');
    // A bundle of an old version of the specification may leave the first slash out.
    if relative && (builder.bundle.is_none() || mount.destination.is_empty()) {
        return Err(place("the destination is not an absolute path"));
    }
    if mount.destination.split('/').any(|part| part == "..") || mount.destination.contains('\0') {
        return Err(place("the destination has .. or a zero byte in it"));
    }
    let target: PathBuf = Path::new("/").join(&mount.destination);
    if builder.bundle.is_some() && !options.remount {
        check_target(mount, &options, &target)?;
    }
    if options.remount {
        let (set, clear) = (options.set | options.set_below, options.clear | options.clear_below);
        builder.push(Step::Remount { target, set, clear });
        return Ok(());
    }
    if options.bind || mount.kind == "bind" {
        return bind(builder, mount, options, target);
    }
    if options.idmap.is_some() || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(place("ids are shifted of bind mounts only"));
    }
    if mount.kind == "cgroup" || mount.kind == "cgroup2" {
        return cgroup(builder, &target, mount.kind == "cgroup2", &options);
    }
    if mount.kind == VIEW && builder.bundle.is_none() {
        let path = PathBuf::from(&mount.source);
        let directory = path.starts_with("sys");
        let source = builder.source(Source::View { path, directory });
        builder.push(Step::Attach { source, target });
        return Ok(());
    }
    if mount.kind.is_empty() {
        return Err(place("it has no type"));
    }
    (options.set, options.clear) = (options.set | options.set_below, options.clear | options.clear_below);
    if options.copy_up {
        return copy_up(builder, mount, options, target);
    }
    let mut parameters = Vec::with_capacity(options.parameters.len() + 2);
    // What the kernel labels itself takes no other.
    if let Some(label) = builder.label.as_ref().filter(|_| !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue"))
    {
        parameters.push(format!("context={label}"));
    }
    if builder.bundle.is_some() && !mount.source.is_empty() {
        parameters.push(format!("source={}", mount.source));
    }
    for option in options.parameters {
        match SUPER.iter().find(|(name, _)| *name == option) {
            Some((_, "")) => {}
            Some((_, name)) => parameters.push((*name).to_owned()),
            None => parameters.push(option),
        }
    }
    builder.push(Step::Mount {
        target,
        kind: mount.kind.clone(),
        parameters,
        attributes: options.set,
        strict: mount.kind == "proc" || mount.kind == "sysfs",
        propagation: options.propagation,
    });
    Ok(())
}

/// What a proc may have mounted over it: the files that lxcfs shows in its own way, as with runc.
const SHOWN: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Nothing hides the root, and on /proc there is a proc, whole: programs inside believe what it says, and what is written to
/// it has to arrive (CVE-2019-16884).
fn check_target(mount: &oci::Mount, options: &MountOptions, target: &Path) -> Result<(), Error> {
    let refuse = |reason: &str| Err(Error::invalid(format!("mount {:?}", mount.destination), reason));
    let mut parts = target.components();
    // The slash in front.
    parts.next();
    match parts.next() {
        None => refuse("nothing is mounted over the root"),
        Some(first) if first.as_os_str() == "proc" => {
            let below = parts.as_path();
            let is_bind = options.bind || mount.kind == "bind";
            match below.as_os_str().is_empty() {
                true if mount.kind == "proc" && !is_bind => Ok(()),
                true if is_bind && mount.source.trim_end_matches('/') == "/proc" => Ok(()),
                true => refuse("on /proc there is a proc, or nothing"),
                false if SHOWN.iter().any(|shown| below == Path::new(shown)) => Ok(()),
                false => refuse("it is inside /proc"),
            }
        }
        Some(_) => Ok(()),
    }
}

fn bind(builder: &mut Builder<'_>, mount: &oci::Mount, options: MountOptions, target: PathBuf) -> Result<(), Error> {
    let place = |reason: &str| Error::invalid(format!("mount {:?}", mount.destination), reason);
    if let Some(unknown) = options.parameters.iter().find(|option| !SUPER.iter().any(|(name, _)| name == option)) {
        return Err(place(&format!("unknown option {unknown:?}")));
    }
    if mount.source.is_empty() || mount.source.contains('\0') {
        return Err(place("the source of a bind mount is empty"));
    }
    let path = match builder.bundle {
        Some(bundle) => bundle.join(&mount.source),
        None if mount.source.starts_with('/') => mount.source.clone().into(),
        None => return Err(place("the source of a bind mount is not an absolute path")),
    };
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if own && (mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty()) {
        return Err(place("uidMappings and gidMappings go together"));
    }
    let idmap = match (own, options.idmap) {
        (false, None) => Idmap::None,
        (false, Some(recursive)) => Idmap::Container { recursive },
        (true, recursive) => Idmap::Own {
            uids: maps(&format!("mount {:?}: uidMappings", mount.destination), &mount.uid_mappings)?,
            gids: maps(&format!("mount {:?}: gidMappings", mount.destination), &mount.gid_mappings)?,
            recursive: recursive.unwrap_or(false),
        },
    };
    // A bundle's mounts hear of the host's by default, as those of runc do.
    let default = if builder.bundle.is_some() { "slave" } else { "private" };
    let source = builder.source(Source::Bind {
        path,
        recursive: options.recursive,
        set: options.set,
        clear: options.clear,
        set_below: options.set_below,
        clear_below: options.clear_below,
        idmap,
        propagation: options.propagation.unwrap_or(default),
        propagate_below: options.propagation.is_none() || options.propagate_below,
        copy_link: options.copy_link,
        root: false,
    });
    builder.push(Step::Attach { source, target });
    Ok(())
}

fn copy_up(builder: &mut Builder<'_>, mount: &oci::Mount, options: MountOptions, target: PathBuf) -> Result<(), Error> {
    let place = |reason: &str| Error::invalid(format!("mount {:?}", mount.destination), reason);
    if mount.kind != "tmpfs" {
        return Err(place("tmpcopyup goes with a tmpfs only"));
    }
    let (root, path) = match builder.bundle {
        Some(bundle) => (bundle.join(&builder.root), target.clone()),
        // Of a container of ours: what a directory of the host has.
        None => (PathBuf::from(&mount.source), PathBuf::from("/")),
    };
    let source = builder.source(Source::CopyUp { root, path, parameters: options.parameters, attributes: options.set });
    builder.push(Step::Attach { source, target });
    Ok(())
}

/// The view of the control groups: one tree on version 2; on version 1 one mount for each hierarchy, on a tmpfs.
fn cgroup(builder: &mut Builder<'_>, target: &Path, version2: bool, options: &MountOptions) -> Result<(), Error> {
    let layout = builder.facts.cgroups.clone();
    if layout.legacy.is_empty() || version2 {
        let Some(unified) = layout.unified else {
            return Err(Error::missing(format!("mount {target:?}"), "cgroup of version 2"));
        };
        own_or_bound(builder, target.to_owned(), "cgroup2", Vec::new(), unified, options.set);
        return Ok(());
    }
    builder.push(Step::Mount {
        target: target.to_owned(),
        kind: "tmpfs".to_owned(),
        parameters: vec!["mode=755".to_owned(), "size=64k".to_owned()],
        attributes: options.set & !attr::RDONLY,
        strict: true,
        propagation: None,
    });
    // Of a hierarchy that it has not joined a container would see the groups of others.
    let joined = |name: &String| kernel::cgroup::joins(name, builder.settings.iter());
    let hierarchies: Vec<_> = layout.legacy.iter().filter(|one| one.controllers.iter().any(joined)).cloned().collect();
    for hierarchy in hierarchies {
        let name = hierarchy.controllers.join(",");
        let place = target.join(&name);
        own_or_bound(builder, place, "cgroup", hierarchy.controllers.clone(), hierarchy.path.clone(), options.set);
        for controller in hierarchy.controllers.iter().filter(|controller| **controller != name) {
            builder.push(Step::Symlink { target: target.join(controller), link: name.clone() });
        }
    }
    if let Some(unified) = layout.unified {
        own_or_bound(builder, target.join("unified"), "cgroup2", Vec::new(), unified, options.set);
    }
    if builder.bundle.is_none() || options.set & attr::RDONLY != 0 {
        builder.push(Step::ReadOnly { targets: vec![target.to_owned()] });
    }
    Ok(())
}

/// With a view of its own a fresh mount shows it; without, its group's directory is bound from the host.
fn own_or_bound(
    builder: &mut Builder<'_>,
    target: PathBuf,
    kind: &str,
    parameters: Vec<String>,
    hierarchy: PathBuf,
    set: u64,
) {
    if builder.own_groups || builder.bundle.is_none() {
        let (kind, attributes) = (kind.to_owned(), set);
        builder.push(Step::Mount { target, kind, parameters, attributes, strict: true, propagation: None });
        return;
    }
    // Version 2 without a cgroup namespace shows the host's tree, in which /proc/self/cgroup says where one is.
    let path = if kind == "cgroup2" { hierarchy } else { hierarchy.join(&builder.group) };
    let source = builder.source(Source::Bind {
        path,
        recursive: false,
        set,
        clear: 0,
        set_below: 0,
        clear_below: 0,
        idmap: Idmap::None,
        propagation: "slave",
        propagate_below: true,
        copy_link: false,
        root: false,
    });
    builder.push(Step::Attach { source, target });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_contrary_options_wins() {
        let options = parse_options(&["ro", "nosuid", "rw", "size=1m", "rbind", "rslave"].map(str::to_owned));
        assert_eq!((options.set, options.clear), (attr::NOSUID, attr::RDONLY));
        assert_eq!(options.parameters, ["size=1m"]);
        assert!(options.bind && options.recursive);
        assert_eq!(options.propagation, Some("slave"));
    }
}
