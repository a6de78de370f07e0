// SPDX-License-Identifier: Apache-2.0
//! Device nodes: those that every container has, and those that were asked for.

use kernel::cgroup::{DeviceKind, DeviceRule};
use kernel::types::NamespaceKind;
use spec::oci;

use crate::Error;
use crate::compile::{Builder, Request};
use crate::step::{Source, Step};

/// The device nodes that every container has: path, major, minor.
const DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links in `/dev` that programs expect.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What every bundle may use, whatever its rules say: the default devices, terminals, and making nodes of any device, which
/// gives no right to use it.
pub(crate) fn always_allowed() -> Vec<DeviceRule> {
    const MAKE: u8 = 4;
    let rule = |kind, major, minor, access| DeviceRule { allow: true, kind, major, minor, access };
    let kinds = [DeviceKind::Character, DeviceKind::Block];
    let mut rules: Vec<DeviceRule> = kinds.map(|kind| rule(kind, None, None, MAKE)).into();
    let all = DeviceRule::ALL;
    let character = DeviceKind::Character;
    rules.extend(DEVICES.iter().map(|(_, major, minor)| rule(character, Some(*major), Some(*minor), all)));
    rules.push(rule(character, Some(136), None, all));
    rules.push(rule(character, Some(5), Some(2), all));
    rules
}

/// Types of a file's mode.
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;

/// The default nodes and links of a container of ours: nodes are bound from the host, never made.
pub(crate) fn bound(builder: &mut Builder<'_>, spec: &oci::Spec, late: &mut Vec<Step>) -> Result<(), Error> {
    for (path, major, minor) in DEVICES {
        bind(builder, path, (*major, *minor));
    }
    for (path, link) in LINKS {
        builder.push(Step::Symlink { target: path.into(), link: (*link).to_owned() });
    }
    for device in &spec.linux.devices {
        let (kind, major, minor) = number(device)?;
        let root = |map: &[oci::IdMapping]| map.iter().find(|one| one.container_id == 0).map_or(0, |one| one.host_id);
        let owner = (root(&spec.linux.uid_mappings), root(&spec.linux.gid_mappings));
        let source = builder.source(Source::Node { character: kind != BLOCK, major, minor, owner });
        late.push(Step::Attach { source, target: device.path.clone().into() });
    }
    Ok(())
}

fn bind(builder: &mut Builder<'_>, path: &str, number: (u32, u32)) {
    let source = builder.source(Source::Device { path: path.into(), character: true, number: Some(number) });
    builder.push(Step::Attach { source, target: path.into() });
}

/// The nodes of a bundle: made where that is allowed, bound from the host in a user namespace. `/dev` of a bundle that
/// binds one is left as it is.
pub(crate) fn of_bundle(
    builder: &mut Builder<'_>,
    spec: &oci::Spec,
    request: &Request<'_>,
    new: &[NamespaceKind],
    joins_user: bool,
) -> Result<(), Error> {
    let users = new.contains(&NamespaceKind::User) || joins_user || request.rootless;
    let is_dev = |mount: &&oci::Mount| mount.destination.trim_end_matches('/') == "/dev";
    let binds =
        |mount: &oci::Mount| mount.kind == "bind" || mount.options.iter().any(|one| one == "bind" || one == "rbind");
    let own_dev = !spec.mounts.iter().filter(is_dev).any(binds);
    if own_dev {
        let asked = |path: &str| spec.linux.devices.iter().any(|device| device.path == path);
        for (path, major, minor) in DEVICES.iter().filter(|(path, ..)| !asked(path)) {
            if users {
                bind(builder, path, (*major, *minor));
            } else {
                let (mode, major, minor) = (CHARACTER | 0o666, *major, *minor);
                builder.push(Step::Node { target: path.into(), mode, major, minor, uid: 0, gid: 0 });
            }
        }
    }
    for device in &spec.linux.devices {
        let (kind, major, minor) = number(device)?;
        if device.uid == Some(u32::MAX) || device.gid == Some(u32::MAX) {
            return Err(Error::invalid(format!("device {:?}", device.path), "its owner is out of range"));
        }
        if users && kind != FIFO {
            let source = Source::Device {
                path: device.path.clone().into(),
                character: kind == CHARACTER,
                number: Some((major, minor)),
            };
            let source = builder.source(source);
            builder.push(Step::Attach { source, target: device.path.clone().into() });
        } else {
            let mode = kind | device.file_mode.unwrap_or(0o666) & 0o7777;
            let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
            builder.push(Step::Node { target: device.path.clone().into(), mode, major, minor, uid, gid });
        }
    }
    if own_dev {
        for (path, link) in LINKS {
            builder.push(Step::Symlink { target: path.into(), link: (*link).to_owned() });
        }
    }
    Ok(())
}

fn number(device: &oci::Device) -> Result<(u32, u32, u32), Error> {
    let refuse = |reason: String| Error::invalid(format!("device {:?}", device.path), reason);
    if !device.path.starts_with('/') || device.path.split('/').any(|part| part == "..") || device.path.contains('\0') {
        return Err(refuse("its path is not an absolute path without ..".to_owned()));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => CHARACTER,
        "b" => BLOCK,
        "p" => return Ok((FIFO, 0, 0)),
        other => return Err(refuse(format!("unknown type {other:?}"))),
    };
    let number = |value: i64| u32::try_from(value).map_err(|_| refuse(format!("{value} is not a device number")));
    Ok((kind, number(device.major)?, number(device.minor)?))
}
