// SPDX-License-Identifier: Apache-2.0
//! The container's control group: where it is, who makes it, what is written to it.

use std::path::Path;

use kernel::cgroup::{Group, Layout};
use plan::Plan;
use runtime::systemd::{self, Bus, Scope};
use spec::oci;

use crate::arguments::{Global, Manager};
use crate::failure::{Failure, Result};
use crate::state::is_rootless;

/// Milliseconds that systemd has to make a unit.
const PATIENCE: u64 = 20_000;

/// Where the group of a container is to be, and how it comes to be there.
pub(crate) enum Place {
    /// Nobody manages it.
    None,
    /// We make it, at this path in every hierarchy.
    Files(String),
    /// Systemd makes it when the process is there.
    Systemd(Box<Scope>),
}

pub(crate) fn place(global: &Global, spec: &oci::Spec, id: &str, layout: &Layout) -> Result<Place> {
    let wanted = spec.linux.cgroups_path.as_str();
    match global.manager {
        Manager::Disabled => Ok(Place::None),
        Manager::Systemd => {
            let mut scope = Scope::parse(wanted, id, is_rootless(global)).map_err(Failure::new)?;
            scope.properties = systemd::properties_of(&spec.linux.resources, layout.legacy.is_empty());
            Ok(Place::Systemd(Box::new(scope)))
        }
        Manager::Files => {
            let path = if wanted.is_empty() { format!("/{id}") } else { wanted.to_owned() };
            if path.contains(':') && !path.contains('/') {
                return Err(Failure::new(format!("cgroupsPath {path:?} is one for --systemd-cgroup")));
            }
            Ok(Place::Files(path))
        }
    }
}

/// The bus of the systemd that answers to us.
pub(crate) fn bus(global: &Global) -> Bus {
    let rootless = is_rootless(global);
    let address = if rootless {
        std::env::var("DBUS_SESSION_BUS_ADDRESS").ok()
    } else {
        std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok()
    };
    let manager = if rootless { systemd::Manager::User } else { systemd::Manager::System };
    Bus { manager, uid: kernel::process::euid(), address }
}

/// Makes the group anew.
pub(crate) fn make(group: &Group) -> Result<()> {
    match group.create() {
        Err(error) if error.is(kernel::Errno::EXIST) => {
            group.remove()?;
            group.create()?;
        }
        other => other?,
    }
    Ok(())
}

/// Writes the limits of a group that is there.
pub(crate) fn limit(group: &Group, plan: &Plan) -> Result<()> {
    let settings: Vec<_> = plan.cgroup.settings.iter().map(|one| one.0.clone()).collect();
    group.apply(&settings)?;
    let rules: Vec<_> = plan.cgroup.devices.iter().map(|rule| rule.0).collect();
    if rules.is_empty() {
        return Ok(());
    }
    Ok(group.guard_devices(&rules)?)
}

/// Has systemd make the unit around the process; its group, as a path in the hierarchies.
pub(crate) fn make_unit(global: &Global, scope: &Scope, pid: i32) -> Result<String> {
    let bus = bus(global);
    let started = systemd::start(&bus, scope, pid.cast_unsigned()).map_err(|error| Failure::new(error.to_string()))?;
    match started.wait(PATIENCE) {
        Ok(path) => Ok(path.trim_start_matches('/').to_owned()),
        Err(error) => {
            // A part of it may be there.
            systemd::stop(&bus, &scope.unit).ok();
            Err(Failure::new(error.to_string()))
        }
    }
}

/// Lets the group go; processes that are left in it end.
pub(crate) fn remove(global: &Global, group: Option<&Group>, unit: Option<&str>) -> Result<()> {
    if let Some(group) = group
        && !group.remove_empty()
        && group.exists()
    {
        group.kill()?;
        group.remove()?;
    }
    if let Some(unit) = unit {
        systemd::stop(&bus(global), unit).map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(())
}

/// Whether the memory limit would be below what is used already.
pub(crate) fn check_memory(group: &Group, resources: &oci::Resources) -> Result<()> {
    let wanted = resources.memory.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    match (resources.memory.check_before_update, wanted, group.stats().memory) {
        (true, Some(limit), Some(used)) if used > limit => {
            Err(Failure::new(format!("memory limit {limit} is below what is used now: {used} bytes")))
        }
        _ => Ok(()),
    }
}

/// Is it a directory that somebody without root may make groups in?
pub(crate) fn is_ours(layout: &Layout, name: &str) -> bool {
    let Some(root) = &layout.unified else { return false };
    let parent = Path::new(name).parent().unwrap_or(Path::new(""));
    kernel::file::is_writable(&root.join(parent))
}
