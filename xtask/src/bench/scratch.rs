// SPDX-License-Identifier: Apache-2.0
//! The directory in which a measurement happens, what stands in it, and its end without leftovers.

use crate::{Result, cargo};
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first id outside that user namespaces of the contestants map to root; 65,536 ids from here.
pub(crate) const FIRST_ID: u32 = 1_000_000;

/// Cgroups that contestants make and leave: our own names, and those of lxc and podman.
const CGROUPS: [&str; 4] = ["cella-bench", "lxc.pivot", "lxc.", "libpod_parent"];

pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    /// Every root filesystem made here, with its owner.
    roots: Vec<(PathBuf, u32)>,
    /// Cgroups with one of the names above that were there before us.
    cgroups: BTreeSet<PathBuf>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("cella-bench.{}", std::process::id()));
        sweep();
        directory(&path, 0)?;
        let scratch = Self { path, roots: Vec::new(), cgroups: cgroups() };
        for program in ["true", "proof", "floor", "wait", "clock"] {
            compile(program, &scratch.path.join(program))?;
        }
        Ok(scratch)
    }

    /// A root filesystem with the directories that everybody mounts on, owned by `id`; `payload` puts /true there.
    pub(crate) fn rootfs(&mut self, name: &str, id: u32) -> Result<PathBuf> {
        let root = self.path.join(name);
        directory(&root, id)?;
        for inner in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
            directory(&root.join(inner), id)?;
        }
        self.roots.push((root.clone(), id));
        Ok(root)
    }

    /// Makes `program` ("true" or "proof") the /true of every root filesystem.
    pub(crate) fn payload(&self, program: &str) -> Result<()> {
        for (root, id) in &self.roots {
            let (new, name) = (root.join("new"), root.join("true"));
            let fail = |error| format!("{}: {error}", name.display());
            std::fs::copy(self.path.join(program), &new).map_err(fail)?;
            chown(&new, Some(*id), Some(*id)).map_err(fail)?;
            std::fs::rename(&new, &name).map_err(fail)?;
        }
        Ok(())
    }

    pub(crate) fn directory(&self, name: &str, id: u32) -> Result<PathBuf> {
        let path = self.path.join(name);
        directory(&path, id)?;
        Ok(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Children come after their parents in the set; their end comes first.
        for left in cgroups().difference(&self.cgroups).collect::<Vec<_>>().into_iter().rev() {
            if let Err(error) = std::fs::remove_dir(left) {
                eprintln!("bench: left over: {}: {error}", left.display());
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("bench: left over: {}: {error}", self.path.display());
        }
    }
}

/// Removes what a bench that was killed has left: directories of processes that are no more, and our own cgroups.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("cella-bench.").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            eprintln!("bench: left over: {}: {error}", entry.path().display());
        }
    }
    let ours = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(CGROUPS[0]));
    for left in cgroups().iter().filter(ours) {
        if let Err(error) = std::fs::remove_dir(left) {
            eprintln!("bench: left over: {}: {error}", left.display());
        }
    }
}

fn directory(path: &Path, id: u32) -> Result<()> {
    let fail = |error| format!("{}: {error}", path.display());
    std::fs::create_dir(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(fail)?;
    chown(path, Some(id), Some(id)).map_err(fail)
}

/// Compiles a program of `xtask/floor` by plain rustc: static, without libc, one loadable segment.
fn compile(name: &str, to: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor").join(format!("{name}.rs"));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args([
        "-O",
        "--edition",
        "2024",
        "-C",
        "panic=abort",
        "-C",
        "relocation-model=static",
        "-C",
        "strip=symbols",
    ]);
    for flag in ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"] {
        rustc.args(["-C", &format!("link-arg={flag}")]);
    }
    cargo::succeed(rustc.arg(source).arg("-o").arg(to))
}

/// The cgroups of the first three levels that carry a contestant's name, with all below them.
fn cgroups() -> BTreeSet<PathBuf> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![(PathBuf::from("/sys/fs/cgroup"), 0, false)]);
    while let Some((path, depth, ours)) = todo.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let named = ours || CGROUPS.iter().any(|name| entry.file_name().to_string_lossy().starts_with(name));
            if named {
                found.insert(entry.path());
            }
            if named || depth < 2 {
                todo.push((entry.path(), depth + 1, named));
            }
        }
    }
    found
}
