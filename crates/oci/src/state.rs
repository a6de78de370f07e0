// SPDX-License-Identifier: Apache-2.0
//! What is known of a container: one directory below the root of all, with its state, a copy of its configuration, and the
//! two FIFOs of one that was created and not started.
//!
//! ```text
//! mkdir ID ─► state.json (pid 0) ─► group, process ─► state.json (pid) ─► `start` ─► `start` FIFO removed ─► … ─► rm ID
//! ```
//! Whoever changes it holds the directory's lock. One with pid 0 that nobody locks was left by a `create` that was killed:
//! `delete` clears it away.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kernel::lock::Lock;
use serde::{Deserialize, Serialize};
use spec::oci;

use crate::arguments::Global;
use crate::failure::{Failure, Result};

/// The FIFO whose first byte starts a created container.
pub(crate) const START: &str = "start";
/// The FIFO on which it says why it could not be started.
pub(crate) const RESULT: &str = "result";
const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// `state.json`. Format: docs/formats/oci-state.md.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// Version of the format.
    pub(crate) version: u32,
    pub(crate) id: String,
    /// The first process; 0 until there is one.
    pub(crate) pid: i32,
    /// Its start in clock ticks since boot.
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    /// The user that created it.
    pub(crate) owner: u32,
    /// Its control group; none when groups are not managed.
    pub(crate) group: Option<String>,
    /// The unit of systemd that the group belongs to.
    pub(crate) unit: Option<String>,
    /// The directory of resctrl that was made for it.
    pub(crate) rdt: Option<String>,
    /// It has a process namespace of its own, whose end is the end of all in it.
    pub(crate) own_pids: bool,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A container's directory.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) id: String,
}

/// The directory that has all containers.
pub(crate) fn root(global: &Global) -> PathBuf {
    if let Some(root) = &global.root {
        return root.clone();
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    match own {
        Some(own) if is_rootless(global) => own.join("cella-oci"),
        _ => "/run/cella-oci".into(),
    }
}

pub(crate) fn is_rootless(global: &Global) -> bool {
    global.rootless.unwrap_or_else(|| kernel::process::euid() != 0 || !kernel::namespace::is_initial_user())
}

/// Whether it is a name that may become a directory's.
fn validate(id: &str) -> Result<()> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    let fine = !id.is_empty() && id.len() <= 1024 && id.chars().all(letter);
    // Names with a dot in front are ours: `.` and `..` are not even names, and `.filters` has what was compiled.
    if fine && !id.starts_with('.') {
        return Ok(());
    }
    Err(Failure::new(format!("invalid container id {id:?}: it has letters, digits and _+-. only, and no dot in front")))
}

impl Home {
    pub(crate) fn of(global: &Global, id: &str) -> Result<Self> {
        validate(id)?;
        Ok(Self { path: root(global).join(id), id: id.to_owned() })
    }

    /// Makes the directory, which must not be there, and takes its lock.
    pub(crate) fn make(&self) -> Result<Lock> {
        let made = match kernel::file::make_new_directory(&self.path, 0o700) {
            Err(error) if error.is(kernel::Errno::NOENT) => {
                let parent = self.path.parent().unwrap_or(Path::new("/"));
                kernel::file::make_directories(parent, 0o700)?;
                kernel::file::make_new_directory(&self.path, 0o700)
            }
            other => other,
        };
        match made {
            Err(error) if error.is(kernel::Errno::EXIST) => {
                Err(Failure::new(format!("container with given ID already exists: {}", self.id)))
            }
            Err(error) => Err(error.into()),
            Ok(()) => self.lock(),
        }
    }

    pub(crate) fn directory(&self) -> Result<OwnedFd> {
        kernel::root::open_directory_path(&self.path).map_err(|error| match error.is(kernel::Errno::NOENT) {
            true => Failure::new(format!("container does not exist: {}", self.id)),
            false => error.into(),
        })
    }

    /// The lock of whoever changes the container.
    pub(crate) fn lock(&self) -> Result<Lock> {
        loop {
            let lock = Lock::wait(self.directory()?)?;
            // Whoever had it may have removed the container, and another one may have its name by now.
            if kernel::file::is_at(&lock, &self.path) {
                return Ok(lock);
            }
        }
    }

    /// The state; `None` when the directory has none yet.
    pub(crate) fn read(&self) -> Result<Option<State>> {
        match std::fs::read(self.path.join(STATE)) {
            Ok(bytes) => {
                let fail = |error| Failure::new(format!("parse {}: {error}", self.path.join(STATE).display()));
                serde_json::from_slice(&bytes).map(Some).map_err(fail)
            }
            Err(_) if self.path.is_dir() => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::new(format!("container does not exist: {}", self.id)))
            }
            Err(error) => Err(Failure::new(format!("read {}: {error}", self.path.join(STATE).display()))),
        }
    }

    /// The state of one that has been created.
    pub(crate) fn existing(&self) -> Result<State> {
        let half = || Failure::new(format!("container {} is not created yet, or its creation was cut short", self.id));
        self.read()?.filter(|state| state.pid != 0).ok_or_else(half)
    }

    pub(crate) fn write(&self, directory: &OwnedFd, state: &State) -> Result<()> {
        let text = serde_json::to_vec(state).map_err(|error| Failure::new(error.to_string()))?;
        Ok(kernel::file::write_atomic(directory, STATE, &text, false)?)
    }

    /// Keeps the configuration as it was at creation: whoever changes the bundle later does not change the container.
    pub(crate) fn keep_config(&self, text: &[u8]) -> Result<()> {
        Ok(kernel::file::write_new(&self.path.join(CONFIG), text, 0o600)?)
    }

    pub(crate) fn config(&self) -> Result<oci::Spec> {
        let path = self.path.join(CONFIG);
        let bytes = std::fs::read(&path).map_err(|error| Failure::new(format!("read {}: {error}", path.display())))?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::new(format!("parse {}: {error}", path.display())))
    }

    pub(crate) fn status(&self, state: &State) -> Status {
        if state.pid == 0 {
            return Status::Creating;
        }
        if !state.lives() {
            return Status::Stopped;
        }
        if self.path.join(START).exists() {
            return Status::Created;
        }
        let frozen = state.group().is_ok_and(|group| group.is_some_and(|group| group.is_frozen()));
        if frozen { Status::Paused } else { Status::Running }
    }

    pub(crate) fn remove(&self) -> Result<()> {
        for name in [STATE, CONFIG] {
            kernel::file::remove(&self.path.join(name))?;
        }
        if kernel::file::remove_directory(&self.path).is_ok() {
            return Ok(());
        }
        Ok(kernel::file::remove_any(&self.path)?)
    }
}

impl State {
    pub(crate) const VERSION: u32 = 1;

    /// Does its first process live? A number that was given to another process has another start.
    pub(crate) fn lives(&self) -> bool {
        let process = kernel::procfs::life(self.pid);
        process.is_ok_and(|(start, letter)| start == self.start_time && !matches!(letter, 'Z' | 'X'))
    }

    pub(crate) fn group(&self) -> Result<Option<kernel::cgroup::Group>> {
        let Some(name) = &self.group else { return Ok(None) };
        Ok(Some(kernel::cgroup::Group::new(kernel::cgroup::Layout::detect()?, name)))
    }

    /// A descriptor of the first process, for sure of it.
    pub(crate) fn process(&self) -> Result<OwnedFd> {
        let gone = || Failure::new("container not running");
        let pidfd = kernel::process::open(self.pid).map_err(|_| gone())?;
        if self.lives() { Ok(pidfd) } else { Err(gone()) }
    }

    /// As the specification has it.
    pub(crate) fn told(&self, status: &str, pid: i32) -> serde_json::Value {
        let mut told = serde_json::json!({
            "ociVersion": crate::bundle::VERSION,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        if let Some(map) = told.as_object_mut()
            && pid != 0
        {
            map.insert("pid".to_owned(), pid.into());
        }
        told
    }
}
