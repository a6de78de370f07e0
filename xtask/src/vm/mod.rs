// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask vm`: a Debian machine under qemu with systemd, control groups of version 2 alone, AppArmor and quota.

mod image;
mod job;
mod machine;
mod suite;
mod words;

use crate::{Result, cargo};
use job::Job;
use machine::{Ended, Machine};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use words::{Options, Request};

pub(crate) use suite::run_in_machine;

pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let request = words::parse(words)?;
    let place = Place::take()?;
    match request {
        Request::Make => image::make(&place.path).map(|_| ExitCode::SUCCESS),
        Request::Run { options, script } => {
            let mut job = Job::new(&place.path.join("job"), options.user)?;
            for program in cargo::build_release(&["cella", "cella-oci"])?.values() {
                job.add_program(program)?;
            }
            let code = boot(&place, &options, &job, &script)?.code;
            Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Request::Test { options, filters } => Ok(suite::run(&place, &options, &filters)?.print()),
    }
}

/// Boots the machine for this job.
fn boot(place: &Place, options: &Options, job: &Job, script: &str) -> Result<Ended> {
    let image = image::make(&place.path)?;
    let disk = job.disk(script)?;
    let machine = Machine {
        image: &image,
        stock_kernel: options.stock_kernel,
        job: &disk,
        place: &place.path.join("run"),
        limit: options.limit,
    };
    machine.run()
}

/// `target/vm`, of which one process has the use.
struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    fn take() -> Result<Self> {
        let path = cargo::workspace()?.target_directory.join("vm");
        fresh_or_there(&path)?;
        let name = path.join("lock");
        let fail = |error| format!("{}: {error}", name.display());
        let lock = File::create(&name).map_err(fail)?;
        if lock.try_lock().is_err() {
            println!("vm: waiting for the machine of another process");
            lock.lock().map_err(fail)?;
        }
        Ok(Self { path, _lock: lock })
    }
}

fn fresh_or_there(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

/// An empty directory of this name.
fn fresh(directory: &Path) -> Result<()> {
    remove(directory)?;
    fresh_or_there(directory)
}

/// Removes a directory, if it is there.
fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", directory.display())),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
