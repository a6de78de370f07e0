// SPDX-License-Identifier: Apache-2.0
//! What there is: the list of containers, and everything about one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kernel::cgroup::{Group, Layout};
use kernel::types::NamespaceKind;
use runtime::{Exited, Phase, State};

use crate::compose;
use crate::error::{Kind, Result};
use crate::networks::{self, AttachedView};
use crate::record;
use crate::store::{Found, Store};
use crate::view::{Inspection, Status, Summary};

/// Version of the documents.
const VERSION: u32 = 1;

pub(crate) fn list(store: &Store) -> Result<Vec<Summary>> {
    let layout = Layout::detect()?;
    let mut list = Vec::new();
    for name in store.names()? {
        match store.find(name.as_str()) {
            Ok(found) => list.extend(look(store, &found, &layout)?.map(|seen| seen.summary)),
            // It was removed in this moment.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(list)
}

/// A container as it is now.
struct Seen {
    summary: Summary,
    state: Option<State>,
    last: Option<Exited>,
    networks: Vec<AttachedView>,
}

fn look(store: &Store, found: &Found, layout: &Layout) -> Result<Option<Seen>> {
    let state = store.state(found)?;
    let directory = store.directory(&found.name);
    if !directory.exists() {
        return Ok(None);
    }
    let group = Group::new(layout.clone(), &store.group_name(found));
    let last = match &state {
        Some(state) => state.last.clone(),
        // Its keeper may be about to write it down.
        None => match runtime::State::read(&store.run_directory(&found.record.id)).unwrap_or(None) {
            Some(State { last: Some(last), .. }) => Some(last),
            _ => record::read_last(&directory)?,
        },
    };
    let status = match (&state, &last) {
        (None, None) => Status::Created,
        (None, Some(_)) => Status::Exited,
        (Some(state), _) if state.phase == Phase::Restarting => Status::Restarting,
        (Some(state), _) if state.phase == Phase::Starting => Status::Created,
        (Some(_), _) if group.is_frozen() => Status::Paused,
        (Some(_), _) => Status::Running,
    };
    let stats = state.as_ref().map(|_| group.stats()).unwrap_or_default();
    let record = &found.record;
    let networks = match &state {
        Some(_) => networks::attached(store, found)?,
        None => Vec::new(),
    };
    let addresses = |one: &AttachedView| [one.v4.map(IpAddr::V4), one.v6.map(IpAddr::V6)];
    let started = state.as_ref().and_then(|state| state.started.clone());
    let summary = Summary {
        id: record.id.clone(),
        name: found.name.clone(),
        kind: if record.definition.system.is_some() { "system" } else { "app" },
        status,
        image: record.definition.image.to_string(),
        command: compose::arguments(record).unwrap_or_default().join(" "),
        created: record.created.clone(),
        started: started.or_else(|| last.as_ref().and_then(|last| last.started.clone())),
        ready: state.as_ref().and_then(|state| state.ready.clone()),
        finished: last.as_ref().map(|last| last.finished.clone()),
        exit_code: last.as_ref().filter(|_| state.is_none()).map(|last| last.code),
        pid: state.as_ref().and_then(|state| state.pid),
        cpu_ns: stats.cpu_ns,
        memory: stats.memory,
        memory_limit: stats.memory_limit,
        addresses: networks.iter().flat_map(addresses).flatten().collect(),
        ports: networks.iter().flat_map(|one| one.ports.iter().copied()).collect(),
        labels: labels(found),
    };
    Ok(Some(Seen { summary, state, last, networks }))
}

/// The image's labels, then one's own.
fn labels(found: &Found) -> BTreeMap<String, String> {
    let mut labels = found.record.config.labels.clone().unwrap_or_default();
    labels.extend(found.record.definition.labels.clone());
    labels
}

pub(crate) fn inspect(store: &Store, container: &str) -> Result<Inspection> {
    let found = store.find(container)?;
    let seen = look(store, &found, &Layout::detect()?)?;
    let Some(Seen { summary, state, last, networks }) = seen else { return Err(store.unknown(container)) };
    let directory = store.directory(&found.name);
    Ok(Inspection {
        version: VERSION,
        restart_count: state
            .as_ref()
            .map(|state| state.restarts)
            .or(last.as_ref().map(|last| last.restarts))
            .unwrap_or(0),
        oom_kills: state.as_ref().map_or(0, |state| state.oom_kills),
        oom_killed: last.as_ref().is_some_and(|last| last.oom_killed),
        error: last.and_then(|last| last.error),
        ids: found.record.ids.map(|ids| ids.base),
        keeper: state.as_ref().map(|state| state.keeper),
        log: directory.join("log").display().to_string(),
        directory: directory.display().to_string(),
        cgroup: store.group_name(&found),
        namespaces: summary.pid.map(namespaces).unwrap_or_default(),
        networks,
        image_digest: found.record.digest,
        definition: found.record.definition,
        summary,
    })
}

fn namespaces(pid: i32) -> BTreeMap<String, String> {
    let link = |kind: NamespaceKind| {
        let path = format!("/proc/{pid}/ns/{kind}");
        kernel::file::read_link(path.as_ref()).ok().map(|text| (kind.to_string(), text))
    };
    NamespaceKind::ALL.into_iter().filter_map(link).collect()
}
