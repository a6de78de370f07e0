// SPDX-License-Identifier: Apache-2.0
//! The machine's root disk and kernels: made once by mmdebstrap and mkfs.ext4, and again when their recipe has changed.

use super::{fresh, fresh_or_there, remove, write};
use crate::test::packages;
use crate::{Result, cargo};
use std::fs::File;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIRROR: &str = "http://deb.debian.org/debian";
const SUITE: &str = "trixie";

/// What mmdebstrap's hooks run and copy; `prepare` and `customize` say which goes where.
const FILES: [(&str, &str); 6] = [
    ("prepare", include_str!("../../vm/prepare")),
    ("customize", include_str!("../../vm/customize")),
    ("initramfs-hook", include_str!("../../vm/initramfs-hook")),
    ("cella-vm", include_str!("../../vm/cella-vm")),
    ("cella-vm.service", include_str!("../../vm/cella-vm.service")),
    ("cella-keep.service", include_str!("../../vm/cella-keep.service")),
];

/// What of these an image was made of, once it is complete.
const RECIPE: &str = "recipe";

/// How long the mirror may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Its file is sparse.
const SIZE: u64 = 8 << 30;

/// What a disk of a machine for containers has: limits for users, groups and directory trees.
const QUOTA: &str = "quotatype=usrquota:grpquota:prjquota";

/// A root disk and the kernels that fit it.
pub(crate) struct Image {
    pub(crate) root: PathBuf,
    boot: PathBuf,
}

impl Image {
    fn at(place: &Path) -> Self {
        Self { root: place.join("root.img"), boot: place.join("boot") }
    }

    /// `kernel` or `initrd`.
    pub(crate) fn boot(&self, stock: bool, file: &str) -> PathBuf {
        self.boot.join(if stock { "stock" } else { "backports" }).join(file)
    }
}

/// Is the image there, and its recipe still the same?
pub(crate) fn is_made(place: &Path) -> bool {
    let noted = std::fs::read_to_string(place.join(RECIPE));
    noted.is_ok_and(|old| old == recipe()) && Image::at(place).root.exists()
}

/// Does the mirror answer? Through a proxy it may, and then mmdebstrap says what is wrong.
pub(crate) fn mirror_answers() -> Result<()> {
    if std::env::var_os("http_proxy").is_some() {
        return Ok(());
    }
    let fail = |error| format!("{MIRROR}: {error}");
    let host = MIRROR.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let addresses = (host, 80).to_socket_addrs().map_err(fail)?;
    let mut last = Err(format!("{MIRROR}: no address"));
    for address in addresses {
        last = TcpStream::connect_timeout(&address, ANSWER).map(drop).map_err(fail);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Makes the image, unless it is made.
pub(crate) fn make(place: &Path) -> Result<Image> {
    let (image, noted) = (Image::at(place), place.join(RECIPE));
    if is_made(place) {
        return Ok(image);
    }
    let start = Instant::now();
    println!("vm: making the machine: Debian {SUITE} from {MIRROR}");
    write(&noted, "")?;
    let tools = place.join("make");
    fresh(&tools)?;
    for (name, text) in FILES {
        write(&tools.join(name), text)?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tools.join(name), mode).map_err(|error| format!("{name}: {error}"))?;
    }
    let root = place.join("root");
    remove(&root)?;
    let log = place.join("make.log");
    cargo::logged(&mut bootstrap(&tools, &root), &log).map_err(|reason| format!("{reason}; see {}", log.display()))?;
    remove(&image.boot)?;
    fresh_or_there(&image.boot)?;
    cargo::succeed(Command::new("cp").arg("-rT").arg(root.join("boot/cella")).arg(&image.boot))?;
    disk(&image.root, "cella-root", SIZE, &root, &["-O", "quota,project", "-E", QUOTA])?;
    remove(&root)?;
    write(&noted, &recipe())?;
    println!("vm: made in {} s", start.elapsed().as_secs());
    Ok(image)
}

/// All that the image depends on.
fn recipe() -> String {
    let files = FILES.iter().map(|(name, text)| format!("{name}:\n{text}\n"));
    let command = bootstrap(Path::new("TOOLS"), Path::new("ROOT"));
    format!("{}{}\n{SIZE} {QUOTA}\n", files.collect::<String>(), cargo::words(&command))
}

fn bootstrap(tools: &Path, root: &Path) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg"]);
    command.args(["--aptopt=Apt::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io"]);
    for excluded in ["man", "locale", "doc"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{excluded}/*"));
    }
    command.arg(format!("--include={}", packages::of("vm").join(",")));
    command.arg(format!("--essential-hook={}", tools.join("prepare").display()));
    command.arg(format!("--customize-hook={}", tools.join("customize").display()));
    command.arg(SUITE).arg(root);
    for suite in [SUITE.to_owned(), format!("{SUITE}-updates"), format!("{SUITE}-backports")] {
        command.arg(format!("deb {MIRROR} {suite} main"));
    }
    command
}

/// Makes a disk with an ext4 file system that holds a copy of `content`.
pub(crate) fn disk(path: &Path, label: &str, size: u64, content: &Path, more: &[&str]) -> Result<()> {
    // A new file is all holes, and mkfs.ext4 writes only where there is something.
    let made = File::create(path).and_then(|file| file.set_len(size));
    made.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-L", label]).args(more).arg("-d").arg(content).arg(path);
    cargo::succeed(make.stdin(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_knows_every_file_and_package() {
        let recipe = recipe();
        for part in
            ["force_load", "cella-vm.service:", "apparmor", "linux-image-cloud-amd64", "trixie-backports", QUOTA]
        {
            assert!(recipe.contains(part), "{part}");
        }
        assert!(!recipe.contains("docker"), "{recipe}");
    }

    #[test]
    fn kernels_are_told_apart() {
        let image = Image::at(Path::new("/vm"));
        assert_eq!(image.boot(true, "kernel"), Path::new("/vm/boot/stock/kernel"));
        assert_eq!(image.boot(false, "initrd"), Path::new("/vm/boot/backports/initrd"));
    }
}
