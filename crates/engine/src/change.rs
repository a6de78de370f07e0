// SPDX-License-Identifier: Apache-2.0
//! Changes what a container is called and what it may use.

use kernel::Errno;
use kernel::cgroup::Group;
use runtime::Request;
use spec::Name;

use crate::compose;
use crate::error::{Doing, Error, Kind, Result};
use crate::networks;
use crate::processors;
use crate::request::Change;
use crate::start;
use crate::stop;
use crate::store::{Found, Store};

pub(crate) fn rename(store: &Store, container: &str, new: &Name) -> Result<()> {
    let (found, _lock) = start::locked(store, container)?;
    let old = &found.name;
    match kernel::file::rename_new(&store.directory(old), &store.directory(new)) {
        Err(error) if error.is(Errno::EXIST) => {
            let message = format!("cannot rename {old}: the name {new} is taken");
            return Err(Error::new(Kind::Conflict, message).hint("choose another name"));
        }
        other => other.doing(|| format!("rename {old}"))?,
    }
    kernel::file::sync_directory(&store.containers())?;
    let renamed = Found { name: new.clone(), record: found.record.clone() };
    networks::renamed(store, &renamed).doing(|| format!("tell the networks of the new name {new}"))?;
    store.events().append("rename", &found.record.id, new.as_str(), &[("old_name", old.to_string())])?;
    Ok(())
}

pub(crate) fn set(store: &Store, container: &str, change: &Change) -> Result<Vec<String>> {
    let (mut found, _lock) = start::locked(store, container)?;
    let (name, mut warnings) = (found.name.clone(), Vec::new());
    let limits = found.record.definition.limits.changed_by(&change.limits);
    limits.check().doing(|| format!("change {name}"))?;
    let running = store.state(&found)?.is_some();
    let before = found.record.clone();
    found.record.definition.limits = limits;
    if let Some(restart) = change.restart {
        if found.record.definition.remove && restart != spec::definition::Restart::No {
            let message = format!("cannot change {name}: it is removed when it ends, so it can not be restarted");
            return Err(Error::new(Kind::Conflict, message));
        }
        found.record.definition.restart = restart;
    }
    if let Some(autostart) = change.autostart {
        found.record.definition.autostart = autostart;
    }
    if change.bandwidth.is_some() {
        let changed = networks::limit_whole(store, &mut found, &change.bandwidth, running);
        changed.doing(|| format!("change {name}"))?;
    }
    if let Some(quota) = change.net_quota {
        found.record.definition.net_quota = Some(quota).filter(|quota| *quota != u64::MAX);
        crate::network::check(&found.record.definition)?;
        if running {
            networks::quota(store, &found).doing(|| format!("change {name}"))?;
        }
    }
    let facts = start::facts()?;
    let settings = |record: &crate::record::Record| {
        plan::settings(&compose::resources(&record.definition)?, &facts).map_err(start::of_plan)
    };
    let placed = processors::placed(store, found.clone())?.record;
    let was = processors::placed(store, Found { record: before.clone(), ..found.clone() })?.record;
    let (new, old) = (settings(&placed)?, settings(&was)?);
    found.record.write(&store.directory(&name), true).doing(|| format!("change {name}"))?;
    if running {
        let group = store.group(&found)?;
        if let Err(error) = group.apply(&new) {
            // What is written down stays what is true.
            before.write(&store.directory(&name), true)?;
            group.apply(&old).ok();
            return Err(refused(&error, &found.record.definition.limits, &group)).doing(|| format!("change {name}"));
        }
        if let Some(unit) = store.state(&found)?.and_then(|state| state.unit) {
            // What systemd knows of a limit it writes again whenever it likes.
            let properties = runtime::systemd::properties_of(
                &compose::resources(&placed.definition)?,
                facts.cgroups.legacy.is_empty(),
            );
            let told = runtime::systemd::set_properties(&crate::driver::bus(), &unit, &properties);
            // The limits are there; systemd may write its own again.
            warnings.extend(told.err().map(|error| format!("systemd was not told of the limits of {unit}: {error}")));
        }
        if change.restart.is_some() {
            let policy = found.record.definition.restart.to_string();
            stop::ask(store, &found, &Request::Policy(policy)).doing(|| format!("change {name}"))?;
        }
    }
    store.events().append("set", &found.record.id, name.as_str(), &[])?;
    Ok(warnings)
}

fn refused(error: &kernel::Error, limits: &spec::definition::Limits, group: &Group) -> Error {
    match (limits.memory, group.stats().memory) {
        (Some(limit), Some(used)) if error.is(Errno::BUSY) && limit < used => {
            let (limit, used) = (spec::size::format_bytes(limit), spec::size::format_bytes(used));
            Error::new(Kind::Conflict, format!("memory limit {limit} is below what it uses now ({used})"))
                .hint(format!("stop it first, or ask for more than {used}"))
        }
        _ => error.clone().into(),
    }
}
