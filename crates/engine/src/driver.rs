// SPDX-License-Identifier: Apache-2.0
//! Who makes a container's control group: the host's systemd, as a scope in `cella.slice`, or we ourselves.

use std::path::Path;

use kernel::cgroup::Layout;
use runtime::Unit;
use runtime::systemd::{self, Bus, Manager, Property, Scope, Value};
use spec::definition::Definition;
use spec::oci;
use spec::system::CgroupDriver;

use crate::error::{Error, Kind, Result};
use crate::record::{self, Record};
use crate::request::Place;
use crate::store::Found;

/// Where all of them are.
const SLICE: &str = "cella.slice";

/// Has systemd booted this host (sd_booted(3))?
pub(crate) fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Is it systemd that makes this container's group?
pub(crate) fn by_systemd(definition: &Definition) -> Result<bool> {
    match definition.cgroup_driver {
        CgroupDriver::Direct => Ok(false),
        CgroupDriver::Auto => Ok(has_systemd()),
        CgroupDriver::Systemd if has_systemd() => Ok(true),
        CgroupDriver::Systemd => {
            let message = "the cgroup driver systemd needs a host that systemd has booted";
            Err(Error::new(Kind::Invalid, message).hint("leave --cgroup-driver away, or write direct"))
        }
    }
}

/// The bus of the host's systemd.
pub(crate) fn bus() -> Bus {
    Bus { manager: Manager::System, uid: kernel::process::euid(), address: None }
}

/// The unit of a container that is about to be started: after its name, and its id too where another may have the same one.
pub(crate) fn unit_name(place: &Place, found: &Found) -> String {
    let name = escaped(found.name.as_str());
    let plain = format!("cella-{name}.scope");
    if place.root == Place::standard().root && !is_taken(&plain) {
        return plain;
    }
    let id = found.record.id.get(..12).unwrap_or(&found.record.id);
    format!("cella-{name}-{id}.scope")
}

/// Is there such a unit, perhaps of a container that had the name before?
fn is_taken(unit: &str) -> bool {
    let layout = Layout::detect().unwrap_or_default();
    layout.unified.is_some_and(|root| root.join(SLICE).join(unit).exists())
}

/// What a unit's name can not have, as systemd-escape(1) writes it.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        match letter {
            '+' => text.push_str("\\x2b"),
            '.' if text.ends_with('.') => text.push_str("\\x2e"),
            letter => text.push(letter),
        }
    }
    text
}

/// The group's path, when a container is about to be started.
pub(crate) fn group_path(place: &Place, found: &Found) -> Result<String> {
    match by_systemd(&found.record.definition)? {
        true => Ok(format!("{SLICE}/{}", unit_name(place, found))),
        false => Ok(record::cgroup_of(&found.record.id)),
    }
}

/// The unit that a container is to have.
pub(crate) fn unit(place: &Place, found: &Found, resources: &oci::Resources, layout: &Layout) -> Result<Option<Unit>> {
    if !by_systemd(&found.record.definition)? {
        return Ok(None);
    }
    let scope = Scope {
        slice: SLICE.to_owned(),
        unit: unit_name(place, found),
        description: description(&found.record, found.name.as_str()),
        properties: properties(&found.record.definition, resources, layout),
    };
    Ok(Some(Unit::new(scope, bus())))
}

/// What systemd is to know of a container's group.
pub(crate) fn properties(definition: &Definition, resources: &oci::Resources, layout: &Layout) -> Vec<Property> {
    let mut list = systemd::properties_of(resources, layout.legacy.is_empty());
    // Whoever stops the unit kills it after the same time as whoever stops the container.
    let patience_us = crate::start::stop_timeout(definition).saturating_mul(1000);
    list.push(Property { name: "TimeoutStopUSec".to_owned(), value: Value::U64(patience_us) });
    list
}

fn description(record: &Record, name: &str) -> String {
    let kind = if record.definition.system.is_some() { "system container" } else { "container" };
    format!("cella {kind} {name} ({})", record.definition.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units() {
        assert_eq!(escaped("web-1_a.b"), "web-1_a.b");
        assert_eq!(escaped("a+b"), "a\\x2bb");
        assert_eq!(escaped("a..b"), "a.\\x2eb");
    }
}
