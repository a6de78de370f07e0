// SPDX-License-Identifier: Apache-2.0
//! What cargo knows of this workspace: its root, its packages, its target directory, and the programs it builds.

use crate::Result;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The part of `cargo metadata` that we use.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_root: PathBuf,
    pub(crate) target_directory: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None for a normal one; "dev" or "build".
    pub(crate) kind: Option<String>,
    /// Set for what lives in this workspace.
    pub(crate) path: Option<PathBuf>,
}

impl Package {
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }
}

/// The cargo that started us, in the directory of the workspace.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Runs a command with our own screen, and turns a bad end into an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let words = words(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{words}: {status}")),
        Err(error) => Err(format!("{words}: {error}")),
    }
}

/// Runs a command whose words go into a file, and turns a bad end into an error.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, errors) = file.map_err(|error| format!("{}: {error}", log.display()))?;
    succeed(command.stdin(Stdio::null()).stdout(out).stderr(errors))
}

/// A command as a person would type it: the program without its directory.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let all = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(command.get_args());
    all.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn workspace() -> Result<Workspace> {
    let output = command()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// One line of `cargo build --message-format json`.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the release programs of these packages; returns name and path of each.
pub(crate) fn build_release(packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut build = command();
    build.args(["build", "--release", "--bins"]);
    for package in packages {
        build.args(["-p", package]);
    }
    programs(&mut build)
}

/// Runs a `cargo build`; returns name and path of each program that it makes.
pub(crate) fn programs(build: &mut Command) -> Result<BTreeMap<String, PathBuf>> {
    build.args(["--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", words(build)))?;
    if !output.status.success() {
        return Err(format!("{}: {}", words(build), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    Ok(messages.filter_map(|m| Some((m.target?.name, m.executable?))).collect())
}
