// SPDX-License-Identifier: Apache-2.0
//! Whose files are read, and where: the scratch directory with the reader, and a field of containers of one kind.

use super::cella::Cella;
use super::lxcfs::Lxcfs;
use super::proc;
use super::reader::{self, Reading, Task};
use super::shell::{Groups, Shell};
use crate::Result;
use crate::bench::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// The limit of every container, and what its /proc/meminfo is to begin with.
pub(super) const MEMORY: u64 = 512 << 20;
const TOTAL: &str = "524288 kB";
/// Whole processors of every container.
pub(super) const PROCESSORS: u32 = 2;

/// Who answers the reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The kernel's /proc, which shows the host.
    Native,
    Lxcfs,
    Cella,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Native, Self::Lxcfs, Self::Cella];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Lxcfs => "lxcfs",
            Self::Cella => "cella",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == word);
        found.ok_or_else(|| format!("bench: --only {word}: native, lxcfs and cella are measured"))
    }
}

/// What all containers need.
pub(super) struct Stage {
    pub(super) reader: PathBuf,
    /// What is measured, or why it can not be.
    lxcfs: Result<PathBuf>,
    cella: Result<Rc<Cella>>,
    scratch: Scratch,
}

impl Stage {
    pub(super) fn new(only: &[Kind]) -> Result<Self> {
        let mut scratch = Scratch::new()?;
        let reader = scratch.path.join("reader");
        reader::compile(&reader)?;
        let left_out = |kind| (!only.contains(&kind)).then(|| "not asked for".to_owned()).map_or(Ok(()), Err);
        let lxcfs = left_out(Kind::Lxcfs).and_then(|()| super::lxcfs::tree());
        let cella = left_out(Kind::Cella).and_then(|()| Cella::new(&mut scratch, &reader)).map(Rc::new);
        Ok(Self { reader, lxcfs, cella, scratch })
    }

    pub(super) fn versions(&self) -> String {
        self.lxcfs.as_deref().map_or_else(|_| "no lxcfs".to_owned(), super::lxcfs::version)
    }

    pub(super) fn path(&self) -> &Path {
        &self.scratch.path
    }
}

/// A container with a reader at hand.
pub(super) enum Container {
    Shell(Shell),
    Cella(super::cella::Container),
}

impl Container {
    /// Starts a reader in it.
    pub(super) fn start(&mut self, task: &Task) -> Result<()> {
        match self {
            Self::Shell(shell) => shell.start(&task.words()),
            Self::Cella(container) => container.start(&task.words()),
        }
    }

    /// Waits for it.
    pub(super) fn finish(&mut self) -> Result<Reading> {
        match self {
            Self::Shell(shell) => shell.finish(),
            Self::Cella(container) => container.finish(),
        }
    }

    pub(super) fn read(&mut self, task: &Task) -> Result<Reading> {
        self.start(task)?;
        self.finish()
    }
}

/// Containers of one kind, and the server of their files.
pub(super) struct Field {
    // The containers end before the server.
    pub(super) containers: Vec<Container>,
    kind: Kind,
    lxcfs: Option<Lxcfs>,
}

impl Field {
    /// So many containers, the first of which has shown that its files are its own.
    pub(super) fn new(stage: &Stage, kind: Kind, name: &str, count: usize) -> Result<Self> {
        let tree = stage.lxcfs.as_deref().map_err(Clone::clone);
        let lxcfs = (kind == Kind::Lxcfs).then(|| Lxcfs::start(tree?, &stage.path().join(name))).transpose()?;
        let mut field = Self { containers: Vec::new(), kind, lxcfs };
        for number in 0..count {
            let name = format!("{name}{number}");
            field.containers.push(match kind {
                Kind::Native | Kind::Lxcfs => {
                    Container::Shell(Shell::new(&stage.reader, field.lxcfs.as_ref(), Groups::new(&name)?)?)
                }
                Kind::Cella => Container::Cella(stage.cella.as_ref().map_err(Clone::clone)?.container(&name)?),
            });
        }
        if kind != Kind::Native {
            field.shows_its_limit()?;
        }
        Ok(field)
    }

    fn shows_its_limit(&mut self) -> Result<()> {
        let Some(first) = self.containers.first_mut() else { return Ok(()) };
        let line = first.read(&Task::new("meminfo", Duration::from_millis(1)))?.first;
        if line.contains(TOTAL) { Ok(()) } else { Err(format!("shows {line:?} in a container of {TOTAL}")) }
    }

    /// Time on processors of all that answer and have answered.
    pub(super) fn processor(&self) -> Duration {
        let all = proc::all();
        let of =
            |keeper: u32| proc::of_ended(keeper) + proc::processor(&proc::children(&all, keeper, super::cella::WORKER));
        let lxcfs = self.lxcfs.iter().map(|lxcfs| proc::processor(&proc::children(&all, lxcfs.init, "lxcfs")));
        self.keepers().map(of).chain(lxcfs).sum()
    }

    fn keepers(&self) -> impl Iterator<Item = u32> {
        self.containers.iter().filter_map(|one| match one {
            Container::Cella(container) => Some(container.keeper),
            Container::Shell(_) => None,
        })
    }

    /// The processes that answer: none for the kernel's files, and some for all others.
    pub(super) fn servers(&self) -> Result<Vec<u32>> {
        for container in &self.containers {
            if let Container::Cella(container) = container {
                container.wake();
            }
        }
        let all = proc::all();
        let mut servers = match &self.lxcfs {
            Some(lxcfs) => proc::children(&all, lxcfs.init, "lxcfs"),
            None => Vec::new(),
        };
        servers.extend(self.keepers().flat_map(|keeper| proc::children(&all, keeper, super::cella::WORKER)));
        if servers.is_empty() && self.kind != Kind::Native { Err("there is no server".to_owned()) } else { Ok(servers) }
    }
}
