// SPDX-License-Identifier: Apache-2.0
//! `bootstrap:`: a root file system made from a distribution's packages by mmdebstrap or debootstrap, kept after the first time.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::archive;
use crate::error::{At, Error, Result};
use crate::layers::Layers;
use crate::unpack::Meaning;
use crate::{Progress, Use};

/// The last lines of the tool's own words that are told when it fails.
const TOLD: usize = 3;

/// What a whole system has besides: Debian and Ubuntu call these the same.
const SYSTEM: &str = "systemd-sysv,dbus,libpam-systemd,login,procps,iproute2,iputils-ping,netbase,less,ca-certificates";

/// Suites whose release files are never renewed in time on mirrors that stand still.
const ROLLING: &[&str] = &["sid", "unstable"];

pub(crate) fn prepare(
    layers: &Layers,
    (distribution, suite): (&str, &str),
    use_as: Use,
    progress: &mut dyn Progress,
) -> Result<PathBuf> {
    let (kind, packages) = match use_as {
        Use::Program => ("", ""),
        Use::System => ("-system", SYSTEM),
    };
    layers.get_or_make(&format!("bootstrap-{distribution}-{suite}{kind}"), |directory| {
        let mirror = match distribution {
            "ubuntu" => "http://archive.ubuntu.com/ubuntu",
            _ => "http://deb.debian.org/debian",
        };
        progress.stage(&format!("bootstrap {distribution}/{suite} from {mirror}"));
        let keys = format!("/usr/share/keyrings/{distribution}-archive-keyring.gpg");
        if !Path::new(&keys).exists() {
            return Err(Error::new(format!("there is no {keys} to tell {distribution}'s packages from forged ones"))
                .hint(format!(
                    "apt-get install {distribution}-{}keyring",
                    if distribution == "debian" { "archive-" } else { "" }
                )));
        }
        if is_there("mmdebstrap") {
            by_mmdebstrap((suite, packages), mirror, directory, progress)
        } else if is_there("debootstrap") {
            by_debootstrap((suite, packages), mirror, directory, progress)
        } else {
            Err(Error::new("neither mmdebstrap nor debootstrap is installed").hint("apt-get install mmdebstrap"))
        }
    })
}

fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Writes an archive to its output, which is unpacked in the jail as it comes.
fn by_mmdebstrap(
    (suite, packages): (&str, &str),
    mirror: &str,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=tar"]);
    if !packages.is_empty() {
        command.arg(format!("--include={packages}"));
    }
    if ROLLING.contains(&suite) {
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    command.args([suite, "-", mirror]);
    stream(command, directory, progress)
}

/// Makes a directory, of which tar makes an archive.
fn by_debootstrap(
    (suite, packages): (&str, &str),
    mirror: &str,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<()> {
    let work = directory.with_extension("debootstrap");
    std::fs::create_dir(&work).at(|| "make a directory for debootstrap".to_owned())?;
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase");
    if !packages.is_empty() {
        command.arg(format!("--include={packages}"));
    }
    command.arg(suite).arg(&work).arg(mirror);
    let made = tell(command, progress).and_then(|()| {
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-c", "-C"]).arg(&work).arg(".");
        stream(tar, directory, progress)
    });
    let name = work.file_name().unwrap_or_default();
    let removed = work.parent().map(|parent| {
        kernel::root::open_directory_path(parent).and_then(|parent| kernel::fs::remove_tree(&parent, name))
    });
    made.and(removed.transpose().at(|| format!("remove {}", work.display())).map(drop))
}

fn spawn(mut command: Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    command.spawn().at(|| format!("run {name}"))
}

/// Runs a tool whose words are its progress.
fn tell(mut command: Command, progress: &mut dyn Progress) -> Result<()> {
    let words = Words::new()?;
    command.stderr(words.sink()?);
    let mut child = spawn(command)?;
    for line in BufReader::new(
        child.stdout.take().into_iter().fold(Box::new(std::io::empty()) as Box<dyn Read>, |_, out| Box::new(out)),
    )
    .lines()
    {
        let line = line.at(|| "read debootstrap's output".to_owned())?;
        progress.stage(line.trim_start_matches("I: "));
    }
    ended(&mut child, &words)
}

/// Runs a tool whose output is an archive.
fn stream(mut command: Command, directory: &Path, progress: &mut dyn Progress) -> Result<()> {
    let words = Words::new()?;
    command.stderr(words.sink()?);
    let mut child = spawn(command)?;
    let output = child.stdout.take();
    let unpacked = match output {
        Some(output) => archive::feed(output, None, directory, Meaning::Whole, progress).map(drop),
        None => Ok(()),
    };
    if unpacked.is_err() {
        // Nobody reads its output any more: it would be ended by that, too.
        child.kill().ok();
    }
    // When the tool failed, the archive is cut off: its words say why.
    ended(&mut child, &words).and(unpacked)
}

fn ended(child: &mut Child, words: &Words) -> Result<()> {
    let status = child.wait().at(|| "wait for the tool".to_owned())?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(format!("the tool ended with {status}: {}", words.last()?))
            .hint("is the suite's name right, and the mirror reachable?")),
    }
}

/// What a tool says, kept in a file that has no name: it may be long, and nobody has to read it in time.
struct Words(std::fs::File);

impl Words {
    fn new() -> Result<Self> {
        let fd = kernel::file::open_unnamed().at(|| "make a file for the tool's words".to_owned())?;
        Ok(Self(fd.into()))
    }

    fn sink(&self) -> Result<std::fs::File> {
        self.0.try_clone().at(|| "dup".to_owned())
    }

    fn last(&self) -> Result<String> {
        use std::io::Seek;
        let mut file = self.sink()?;
        file.rewind().at(|| "lseek".to_owned())?;
        let mut text = Vec::new();
        file.take(1 << 20).read_to_end(&mut text).at(|| "read the tool's words".to_owned())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| line.starts_with("E:") || line.contains("rror")).collect();
        Ok(lines.get(lines.len().saturating_sub(TOLD)..).unwrap_or_default().join("; "))
    }
}
