// SPDX-License-Identifier: Apache-2.0
//! Our tests in the machine: built here, run there by nextest, and counted here.

use super::job::{INSIDE, Job};
use super::words::{Options, quoted};
use super::{Place, boot, fresh_or_there, image, machine};
use crate::test::summary::Summary;
use crate::{Result, cargo};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the machine may take in `cargo xtask test`.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Where the end-to-end tests keep the trees of distributions (crates/cli/tests/e2e/system/roots.rs).
const TREES: &str = "/var/tmp/cella-test-roots";

/// How often it is started again after an end that is the emulator's fault.
const RETRIES: usize = 2;

/// Directories of the repository that no test reads.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// Builds the tests, runs those that are asked for, and counts them.
pub(crate) fn run(place: &Place, options: &Options, filters: &[String]) -> Result<Summary> {
    let workspace = cargo::workspace()?;
    let mut job = Job::new(&place.path.join("job"), options.user)?;
    for program in cargo::build_release(&["cella", "cella-oci"])?.values() {
        job.add_program(program)?;
    }
    job.add_program(&nextest()?)?;
    archive(&job.directory)?;
    repository(&workspace.workspace_root, &job.directory.join("repo"))?;
    job.link(&workspace.workspace_root, "repo");
    trees(&mut job)?;
    if workspace.target_directory != workspace.workspace_root.join("target") {
        job.link(&workspace.target_directory, "target");
    }
    let ended = boot(place, options, &job, &script(options, filters))?;
    let mut summary = Summary::default();
    let read = |name: &str| std::fs::read_to_string(ended.out.join(name)).unwrap_or_default();
    let xml = read("junit.xml");
    if xml.is_empty() {
        return Err(format!("nextest wrote no report in the machine, and ended with {}", ended.code));
    }
    let bad = summary.add_report(&xml)?;
    summary.add_skips(&read("skipped-tests.log"));
    if bad == 0 && ended.code != 0 {
        summary.fail(&format!("nextest in the machine ended with {}", ended.code));
    }
    println!("vm: report, journal and what else came out are in {}", ended.out.display());
    Ok(summary)
}

/// The part of `cargo xtask test` that happens in the machine; the error says why this host can not have one.
pub(crate) fn run_in_machine() -> Result<Result<Summary>> {
    if let Err(reason) = possible() {
        return Ok(Err(reason));
    }
    let options = Options { limit: LIMIT, ..Options::default() };
    let place = Place::take()?;
    let mut ended = run(&place, &options, &[]);
    for _ in 0..RETRIES {
        match &ended {
            Err(reason) if is_emulators(reason) => println!("vm: once more, since the emulator broke it: {reason}"),
            _ => break,
        }
        ended = run(&place, &options, &[]);
    }
    ended.map(Ok)
}

/// Did the machine end by what only an emulated one does? qemu's processors may run code that another one is just patching: the
/// kernel meets a breakpoint of its own (`int3`) that it has taken away by then.
fn is_emulators(reason: &str) -> bool {
    reason.contains(machine::NO_RESULT) && reason.contains("Fatal exception in interrupt")
}

/// Has this host what it takes?
fn possible() -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("the machine is one of x86_64".into());
    }
    let owner = std::fs::metadata("/proc/self").map_err(|error| format!("/proc/self: {error}"))?;
    if std::os::unix::fs::MetadataExt::uid(&owner) != 0 {
        return Err("making its disk needs root".into());
    }
    let place = cargo::workspace()?.target_directory.join("vm");
    if !image::is_made(&place) {
        image::mirror_answers()?;
    }
    for program in [machine::QEMU, "mmdebstrap", "mkfs.ext4", "zstd"] {
        let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.map_err(|error| format!("{program}: {error}"))?;
    }
    Ok(())
}

/// The trees of distributions that this host's own tests have made: the machine, which reaches no mirror, boots them, too.
fn trees(job: &mut Job) -> Result<()> {
    let made = Path::new(TREES);
    if !made.exists() {
        return Ok(());
    }
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto"]).arg(made).arg(job.directory.join("trees"));
    let status = command.status().map_err(|error| format!("cp: {error}"))?;
    if !status.success() {
        return Err(format!("cp {TREES}: {status}"));
    }
    job.link(made, "trees");
    Ok(())
}

/// Builds all tests, and puts them and what they run where the machine looks for them.
fn archive(directory: &Path) -> Result<()> {
    let file = directory.with_extension("tar.zst");
    let mut build = cargo::command();
    // The level is the quickest one that nextest has: this is unpacked at once.
    build.args(["nextest", "archive", "--workspace", "--archive-format", "tar-zst", "--zstd-level", "1"]);
    cargo::succeed(build.arg("--archive-file").arg(&file))?;
    cargo::succeed(Command::new("tar").args(["--zstd", "-xf"]).arg(&file).arg("-C").arg(directory))?;
    std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Copies the files of the repository, which tests read; its target directory is that of the disk.
fn repository(root: &Path, copy: &Path) -> Result<()> {
    fresh_or_there(copy)?;
    let fail = |error| format!("{}: {error}", root.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(root).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            entries.push(entry.path());
        }
    }
    cargo::succeed(Command::new("cp").arg("-a").args(entries).arg(copy))?;
    let link = copy.join("target");
    std::os::unix::fs::symlink(format!("{INSIDE}/target"), &link)
        .map_err(|error| format!("{}: {error}", link.display()))
}

/// The test runner's own program, as cargo finds it.
fn nextest() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = home.map(|home| home.join("bin")).into_iter().chain(std::env::split_paths(&path));
    let mut programs = places.map(|place| place.join("cargo-nextest"));
    programs.find(|program| program.is_file()).ok_or_else(|| "cargo-nextest is not installed".into())
}

/// What the machine runs.
fn script(options: &Options, filters: &[String]) -> String {
    let mut run = format!(
        "cargo-nextest nextest run --profile vm --workspace-remap {INSIDE}/repo --target-dir-remap {INSIDE}/target \
         --binaries-metadata {INSIDE}/target/nextest/binaries-metadata.json \
         --cargo-metadata {INSIDE}/target/nextest/cargo-metadata.json"
    );
    // Whoever says which tests means those, and not what is left of them in the usual selection.
    if options.all || !filters.is_empty() {
        run += " --ignore-default-filter";
    }
    for filter in filters {
        run += &format!(" {}", quoted(filter));
    }
    format!(
        "export CELLA_BIN={INSIDE}/bin/cella CELLA_OCI_BIN={INSIDE}/bin/cella-oci\n\
         export CELLA_SKIP_LOG={INSIDE}/out/skipped-tests.log\n\
         cd {INSIDE}/repo\n{run}\ncode=$?\ncp {INSIDE}/target/nextest/vm/junit.xml {INSIDE}/out\n\
         ps -eo pid,ppid,user,time,args --sort=-time >{INSIDE}/out/processes.log\nexit $code"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_stand_in_place_of_the_usual_selection() {
        let usual = script(&Options::default(), &[]);
        assert!(!usual.contains("--ignore-default-filter") && usual.contains("--profile vm "), "{usual}");
        let chosen = script(&Options::default(), &["-E".into(), "test(it's)".into()]);
        assert!(chosen.contains(r" --ignore-default-filter '-E' 'test(it'\''s)'"), "{chosen}");
        let all = script(&Options { all: true, ..Options::default() }, &[]);
        assert!(all.contains("--ignore-default-filter\n"), "{all}");
    }
}
