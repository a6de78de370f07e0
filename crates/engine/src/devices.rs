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
    let (old, new) = (rules(&before)?, rules(&found.record.definition)?);
    if let Some((init, pid)) = store.init(&found)? {
        let group = store.group(&found)?;
        group.change_devices(&old, &new).doing(|| format!("add devices to {name}"))?;
        let added = runtime::add_mounts(&sources, &init, pid).map_err(start::of_failure);
        added.doing(|| format!("add devices to {name}")).inspect_err(|_| {
            // What is not there need not be allowed.
            group.change_devices(&new, &old).ok();
        })?;
    }
    found.record.write(&store.directory(&found.name), true)?;
    store.events().append("set", &found.record.id, found.name.as_str(), &[])?;
    Ok(())
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
    // What may not be used any more is written down and refused first; a node that root inside keeps is of no use then.
    let (old, new) = (rules(&before)?, rules(&found.record.definition)?);
    found.record.write(&store.directory(&found.name), true)?;
    store.events().append("set", &found.record.id, found.name.as_str(), &[])?;
    let Some((init, pid)) = store.init(&found)? else { return Ok(()) };
    store.group(&found)?.change_devices(&old, &new).doing(|| format!("remove devices of {name}"))?;
    let root = found.record.ids.map_or(0, |ids| ids.base);
    for path in targets.iter().map(Path::new) {
        // Its place may be another's by now.
        if runtime::remove_mounts(&[path], &init, pid).is_ok() {
            kernel::process::as_owner(root, root, || forget(pid, path)).ok();
        }
    }
    Ok(())
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
