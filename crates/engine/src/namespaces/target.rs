// SPDX-License-Identifier: Apache-2.0
//! Whom a word means: a process by its number, a container by its name, a namespace by its file.

use std::path::Path;

use kernel::Errno;
use kernel::namespace::Namespace;
use kernel::pidfd::Handle;
use kernel::survey::Survey;

use super::scan::container_of;
use crate::error::{Error, Kind, Result};
use crate::session::not_running;
use crate::store::Store;

/// What was meant; held, so that nobody else can come to be meant.
#[derive(Debug)]
pub(crate) enum Target {
    Process(Handle),
    File(Namespace),
}

impl Target {
    pub(crate) fn process(self, text: &str) -> Result<Handle> {
        match self {
            Self::Process(handle) => Ok(handle),
            Self::File(namespace) => {
                let message = format!("{text} is a file of {}, and no process", namespace.id());
                Err(Error::new(Kind::Invalid, message).hint("write a process's number or a container's name"))
            }
        }
    }
}

pub(crate) fn find(store: Option<&Store>, text: &str) -> Result<Target> {
    if text.contains('/') {
        return file(text).map(Target::File);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return process(text).map(Target::Process);
    }
    let unknown = match store.map(|store| (store, store.find(text))) {
        Some((store, Ok(found))) => {
            let Some((_, pid)) = store.init(&found)? else { return Err(not_running(&found.name)) };
            return Ok(Target::Process(Handle::open(pid)?));
        }
        Some((_, Err(error))) => Some(error),
        None => None,
    };
    match foreign(text)? {
        Some(handle) => Ok(Target::Process(handle)),
        None => Err(unknown.unwrap_or_else(|| {
            let error = Error::new(Kind::NotFound, format!("there is no container {text:?} that we may see"));
            error.hint("write a process's number, or run it as root (sudo)")
        })),
    }
}

fn process(text: &str) -> Result<Handle> {
    let unknown = || Error::new(Kind::NotFound, format!("there is no process {text}"));
    let pid: i32 = text.parse().ok().filter(|pid| *pid > 0).ok_or_else(unknown)?;
    match Handle::open(pid) {
        // pidfd_open(2) refuses a thread's number.
        Err(error) if error.is(Errno::INVAL) || error.is(Errno::NOENT) => {
            Err(Error::new(Kind::NotFound, format!("{text} is a thread, and no process")))
        }
        Err(error) if error.is(Errno::SRCH) => Err(unknown()),
        Err(error) => Err(error.into()),
        Ok(handle) if handle.checked(kernel::procfs::life(pid)).is_ok_and(|(_, state)| state == 'Z') => {
            let error =
                Error::new(Kind::NotFound, format!("process {text} has ended, and is in no namespace any more"));
            Err(error.hint("its parent has not waited for it"))
        }
        Ok(handle) => Ok(handle),
    }
}

fn file(text: &str) -> Result<Namespace> {
    Namespace::open(Path::new(text)).map_err(|error| match error.errno {
        Errno::INVAL => {
            let refused = Error::new(Kind::Invalid, format!("{text} is no namespace"));
            refused.hint("write a file such as /proc/1234/ns/net or /run/netns/NAME")
        }
        Errno::NOENT => Error::new(Kind::NotFound, format!("there is no file {text}")),
        _ => error.into(),
    })
}

/// The first process of a container of another engine, by its name or the beginning of its id.
fn foreign(text: &str) -> Result<Option<Handle>> {
    const SHORTEST: usize = 4;
    let (engine, name) = text.split_once(':').map_or((None, text), |(engine, name)| (Some(engine), name));
    if name.is_empty() {
        return Ok(None);
    }
    let is_meant = |pid: i32| {
        container_of(pid, &[]).is_some_and(|owner| {
            let by_id = owner.name.len() == 64 && name.len() >= SHORTEST && owner.name.starts_with(name);
            engine.is_none_or(|engine| engine == owner.engine) && (owner.name == name || by_id)
        })
    };
    let Some(pid) = Survey::open()?.pids()?.into_iter().find(|pid| is_meant(*pid)) else { return Ok(None) };
    // Held first, looked at again then: the number may be another's by now.
    let handle = Handle::open(pid)?;
    Ok(is_meant(pid).then_some(handle).filter(Handle::is_alive))
}
