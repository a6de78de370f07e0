// SPDX-License-Identifier: Apache-2.0
//! What this host can and can not do, and what a crash has left over.

use std::path::Path;

use crate::error::Result;
use crate::store::Store;
use crate::view::Finding;

pub(crate) fn doctor(store: &Store, repair: bool) -> Vec<Finding> {
    let place = if store.place.root.exists() { store.place.root.as_path() } else { Path::new("/var/lib") };
    let mut list: Vec<Finding> = kernel::probe::features(place)
        .into_iter()
        .map(|feature| Finding {
            name: feature.name.to_owned(),
            level: match (feature.present, feature.required) {
                (true, _) => "ok",
                (false, false) => "warning",
                (false, true) => "error",
            },
            detail: feature.detail,
            effect: feature.purpose.to_owned(),
            remedy: (!feature.present).then(|| feature.remedy.to_owned()),
        })
        .collect();
    if repair && let Err(error) = store.networks().repair() {
        list.push(Finding {
            name: "network repair".to_owned(),
            level: "error",
            detail: error.message,
            effect: "networks of running containers".to_owned(),
            remedy: error.hint,
        });
    }
    list.extend(store.networks().check().into_iter().map(of_network));
    list.push(leftovers(store, repair));
    list
}

fn of_network(check: network::Check) -> Finding {
    let present = check.found.is_ok();
    Finding {
        name: check.name.to_owned(),
        level: if present { "ok" } else { "warning" },
        detail: check.found.unwrap_or_else(|missing| missing),
        effect: check.effect.to_owned(),
        remedy: (!present).then(|| check.remedy.to_owned()),
    }
}

fn leftovers(store: &Store, repair: bool) -> Finding {
    let effect = "disk space, ids and control groups that nobody uses".to_owned();
    let finding = |level, detail: String, remedy: Option<&str>| Finding {
        name: "leftovers".to_owned(),
        level,
        detail,
        effect: effect.clone(),
        remedy: remedy.map(str::to_owned),
    };
    if !repair {
        return match found(store) {
            Ok(list) if list.is_empty() => finding("ok", "none".to_owned(), None),
            Ok(list) => finding("warning", list.join(", "), Some("cella doctor --repair")),
            Err(error) => finding("error", error.to_string(), Some("cella doctor --repair")),
        };
    }
    match repaired(store) {
        Ok(list) if list.is_empty() => finding("ok", "none".to_owned(), None),
        Ok(list) => finding("ok", format!("cleared away: {}", list.join(", ")), None),
        Err(error) => finding("error", error.to_string(), Some("remove what it names by hand")),
    }
}

fn found(store: &Store) -> Result<Vec<String>> {
    let mut list = Vec::new();
    for name in kernel::file::names(&store.containers()).unwrap_or_default() {
        if name.starts_with(crate::store::NEW) || name.starts_with(crate::store::GOING) {
            let path = store.containers().join(&name);
            let held = kernel::root::open_directory_path(&path).ok().map(kernel::lock::Lock::try_take).transpose()?;
            if !matches!(held, Some(None)) {
                list.push(name);
            }
        }
    }
    Ok(list)
}

fn repaired(store: &Store) -> Result<Vec<String>> {
    let mut list = store.sweep()?;
    for name in store.names()? {
        if let Ok(found) = store.find(name.as_str()) {
            let was = store.run_directory(&found.record.id).exists();
            // Asking for the state mends what a dead keeper has left.
            if store.state(&found)?.is_none() && was {
                list.push(format!("the last run of {name}"));
            }
        }
    }
    list.extend(store.sweep_ids()?);
    list.extend(store.sweep_runs()?);
    if let Ok(images) = image::Images::open(&store.place.root) {
        list.extend(images.repair().unwrap_or_default());
    }
    Ok(list)
}
