// SPDX-License-Identifier: Apache-2.0
//! Mount options as the runtime specification writes them, and the steps that a mount becomes.

use kernel::types::attr;
use spec::oci;

use crate::Error;
use crate::compile::Builder;
use crate::step::{Source, Step};

/// What a list of options means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// `bind` or `rbind`.
    pub bind: bool,
    /// With what is mounted below it.
    pub recursive: bool,
    /// Ids are shifted.
    pub idmap: bool,
    /// `private`, `slave` or `shared`.
    pub propagation: Option<&'static str>,
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
    ("relatime", attr::RELATIME, attr::ATIME_MASK),
    ("strictatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("nodiratime", attr::NODIRATIME, 0),
    ("diratime", 0, attr::NODIRATIME),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
    ("defaults", 0, 0),
];

/// Sorts options into attributes, propagation and parameters; what is unknown goes to the file system, which refuses it
/// by name when it does not know it either.
#[must_use]
pub fn parse_options(options: &[String]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options {
        if let Some((_, set, clear)) = FLAGS.iter().find(|(name, ..)| name == option) {
            parsed.set = parsed.set & !clear | set;
            parsed.clear = parsed.clear & !set | clear;
            continue;
        }
        match option.as_str() {
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "idmap" | "ridmap" => parsed.idmap = true,
            "private" | "rprivate" => parsed.propagation = Some("private"),
            "slave" | "rslave" => parsed.propagation = Some("slave"),
            "shared" | "rshared" => parsed.propagation = Some("shared"),
            other => parsed.parameters.push(other.to_owned()),
        }
    }
    parsed
}

/// The steps of one mount of the specification.
pub(crate) fn steps(builder: &mut Builder<'_>, mount: &oci::Mount) -> Result<(), Error> {
    let options = parse_options(&mount.options);
    let place = |reason: &str| Error::invalid(format!("mount {:?}", mount.destination), reason);
    if !mount.destination.starts_with('/') || mount.destination.split('/').any(|part| part == "..") {
        return Err(place("the destination is not an absolute path without .."));
    }
    let target = mount.destination.clone().into();
    if options.bind || mount.kind == "bind" {
        if !mount.source.starts_with('/') {
            return Err(place("the source of a bind mount is not an absolute path"));
        }
        if let Some(unknown) = options.parameters.first() {
            return Err(place(&format!("unknown option {unknown:?}")));
        }
        let source = builder.source(Source::Bind {
            path: mount.source.clone().into(),
            recursive: options.recursive,
            set: options.set,
            clear: options.clear,
            idmap: options.idmap,
            propagation: options.propagation.unwrap_or("private"),
        });
        builder.push(Step::Attach { source, target });
        return Ok(());
    }
    if mount.kind == "cgroup" || mount.kind == "cgroup2" {
        cgroup(builder, mount, &options);
        return Ok(());
    }
    if mount.kind.is_empty() {
        return Err(place("it has no type"));
    }
    builder.push(Step::Mount {
        target,
        kind: mount.kind.clone(),
        parameters: options.parameters,
        attributes: options.set,
        strict: mount.kind == "proc" || mount.kind == "sysfs",
    });
    Ok(())
}

/// The view of the control groups: one tree on version 2; on version 1 one mount for each hierarchy, on a tmpfs.
fn cgroup(builder: &mut Builder<'_>, mount: &oci::Mount, options: &MountOptions) {
    let layout = builder.facts.cgroups.clone();
    let at = |name: &str| format!("{}/{name}", mount.destination).into();
    let mounted = |target, kind: &str, parameters: Vec<String>| Step::Mount {
        target,
        kind: kind.to_owned(),
        parameters,
        attributes: options.set,
        strict: true,
    };
    if layout.legacy.is_empty() {
        builder.push(mounted(mount.destination.clone().into(), "cgroup2", Vec::new()));
        return;
    }
    builder.push(Step::Mount {
        target: mount.destination.clone().into(),
        kind: "tmpfs".to_owned(),
        parameters: vec!["mode=755".to_owned(), "size=64k".to_owned()],
        attributes: options.set & !attr::RDONLY,
        strict: true,
    });
    // Of a hierarchy that it has not joined a container would see the groups of others.
    let joined = |name: &String| kernel::cgroup::joins(name, builder.settings.iter());
    let hierarchies: Vec<_> = layout.legacy.iter().filter(|one| one.controllers.iter().any(joined)).collect();
    for hierarchy in hierarchies {
        let name = hierarchy.controllers.join(",");
        builder.push(mounted(at(&name), "cgroup", hierarchy.controllers.clone()));
        for controller in hierarchy.controllers.iter().filter(|controller| **controller != name) {
            builder.push(Step::Symlink { target: at(controller), link: name.clone() });
        }
    }
    if layout.unified.is_some() {
        builder.push(mounted(at("unified"), "cgroup2", Vec::new()));
    }
    builder.push(Step::ReadOnly { targets: vec![mount.destination.clone().into()] });
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
