// SPDX-License-Identifier: Apache-2.0
//! Devices of the host that a container gets and gives back, also while it runs: a node is bound into it, never made by it, and
//! its group may use what it has.

use std::path::{Path, PathBuf};

use kernel::cgroup::DeviceRule;
use kernel::root::Root;
use plan::Source;
use spec::definition::{Definition, Device};
use spec::oci;

use crate::compose;
use crate::error::{Doing, Error, Kind, Result};
use crate::start;
use crate::store::{Found, Store};

pub(crate) fn list(store: &Store, container: &str) -> Result<Vec<Device>> {
    Ok(store.find(container)?.record.definition.devices)
}

pub(crate) fn add(store: &Store, container: &str, devices: &[Device]) -> Result<()> {
    let (mut found, _lock) = start::locked(store, container)?;
    let (name, before) = (found.name.clone(), found.record.definition.clone());
    for device in devices {
        let same = |other: &&Device| other.target == device.target;
        if found.record.definition.devices.iter().any(|other| same(&other)) {
            let message = format!("{name} has a device {} already", device.target);
            return Err(Error::new(Kind::Conflict, message).hint(format!("cella device rm {name} {}", device.target)));
        }
        found.record.definition.devices.push(device.clone());
    }
    let sources = devices.iter().map(|device| source(&found, device)).collect::<Result<Vec<_>>>()?;
    change(store, &found, &before, |init, pid| runtime::add_mounts(&sources, init, pid).map_err(start::of_failure))
        .doing(|| format!("add devices to {name}"))
}

pub(crate) fn remove(store: &Store, container: &str, targets: &[String]) -> Result<()> {
    let (mut found, _lock) = start::locked(store, container)?;
    let (name, before) = (found.name.clone(), found.record.definition.clone());
    let devices = &mut found.record.definition.devices;
    for target in targets {
        let has = devices.len();
        devices.retain(|device| device.target != *target);
        if devices.len() == has {
            let message = format!("{name} has no device {target}");
            return Err(Error::new(Kind::NotFound, message).hint(format!("cella device ls {name}")));
        }
    }
    let paths: Vec<&Path> = targets.iter().map(Path::new).collect();
    change(store, &found, &before, |init, pid| {
        runtime::remove_mounts(&paths, init, pid).map_err(start::of_failure)?;
        for path in &paths {
            forget(pid, path)?;
        }
        Ok(())
    })
    .doing(|| format!("remove devices of {name}"))
}

/// What the node is made of.
fn source(found: &Found, device: &Device) -> Result<(Source, PathBuf)> {
    let (character, major, minor) = compose::number_of(&device.source)?;
    let root = found.record.ids.map_or(0, |ids| ids.base);
    Ok((Source::Node { character, major, minor, owner: (root, root) }, PathBuf::from(&device.target)))
}

fn rules(definition: &Definition) -> Result<Vec<DeviceRule>> {
    let resources = oci::Resources { devices: compose::device_rules(definition)?, ..oci::Resources::default() };
    plan::rules_of(&resources).map_err(start::of_plan)
}

/// Changes the rules and the nodes of a container that runs, then what is written down.
fn change(
    store: &Store,
    found: &Found,
    before: &Definition,
    act: impl FnOnce(&std::os::fd::OwnedFd, i32) -> Result<()>,
) -> Result<()> {
    let (old, new) = (rules(before)?, rules(&found.record.definition)?);
    if let Some(pid) = store.state(found)?.and_then(|state| state.pid) {
        let init = kernel::process::open(pid)?;
        let group = store.group(found)?;
        group.change_devices(&old, &new)?;
        act(&init, pid).inspect_err(|_| {
            // What is not there need not be allowed.
            group.change_devices(&new, &old).ok();
        })?;
    }
    found.record.write(&store.directory(&found.name), true)?;
    store.events().append("set", &found.record.id, found.name.as_str(), &[])?;
    Ok(())
}

/// Removes the empty file that a node was bound to.
fn forget(pid: i32, path: &Path) -> Result<()> {
    let root = Root::new(kernel::root::open_directory_path(Path::new(&format!("/proc/{pid}/root")))?);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = root.find(parent, false)?;
    match kernel::fs::look(&parent, name)? {
        Some(entry) if entry.kind == kernel::fs::Kind::File && entry.size == 0 => {
            Ok(kernel::fs::remove(&parent, name, false)?)
        }
        _ => Ok(()),
    }
}
