// SPDX-License-Identifier: Apache-2.0
//! What a new system container is told of itself in its own files: who it is, what it is called, whom it asks for names. An
//! image has none of that, or what another machine had. Everything is written while nobody is inside, and the guest's from then on.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use kernel::fs;
use kernel::mount::{self, Depth};
use kernel::root::Root;
use kernel::types::{IdRange, attr};
use plan::Tree;

use crate::compose;
use crate::error::{Doing, Result};
use crate::record::Ids;
use crate::store::Found;
use crate::system;

/// The first line of a resolv.conf that is ours to change.
const MARK: &str = "# By cella, at each start. Without this line the file is yours.";

/// The most of such a file that is read.
const LARGEST: usize = 64 * 1024;

/// The root of an image, without the rights to change anything.
pub(crate) fn image_root(tree: &image::Tree) -> Result<Root> {
    if let [only] = tree.lowers.as_slice() {
        return Ok(Root::new(kernel::root::open_directory_path(only)?));
    }
    let overlay = runtime::mount_layers(&tree.lowers)?;
    Ok(Root::new(kernel::root::open_directory(&overlay, ".")?))
}

/// A directory of a container's own, and who owns what is made in it.
pub(crate) struct Files {
    root: Root,
    /// It keeps the files reachable.
    _mount: OwnedFd,
    etc: OwnedFd,
    owner: u32,
}

impl Files {
    /// `/etc` of a container with this root file system that does not run; `None` for one that has none.
    pub(crate) fn of(tree: &Tree, ids: Ids) -> Result<Option<Self>> {
        let range = [IdRange { inside: 0, outside: ids.base, count: ids.count }];
        let users = kernel::idmap::user_namespace(&range)?;
        let mount = runtime::mount_tree(tree, &users)?;
        mount::set_attributes(&mount, attr::NOSUID | attr::NOEXEC, 0, Depth::One)?;
        let root = kernel::root::open_directory(&mount, ".")?;
        Self::below(root, mount, ids.base)
    }

    /// That of one that runs.
    pub(crate) fn of_running(pid: i32, ids: Ids) -> Result<Option<Self>> {
        let root = kernel::root::open_directory_path(Path::new(&format!("/proc/{pid}/root")))?;
        let mount = kernel::file::duplicate(&root)?;
        Self::below(root, mount, ids.base)
    }

    fn below(root: OwnedFd, mount: OwnedFd, owner: u32) -> Result<Option<Self>> {
        let root = Root::new(root);
        let Some(etc) = directory(&root, "/etc")? else { return Ok(None) };
        Ok(Some(Self { root, _mount: mount, etc, owner }))
    }

    fn look(&self, name: &str) -> Result<Option<fs::Entry>> {
        Ok(fs::look(&self.etc, name)?)
    }

    /// The text of a plain file; empty for anything else.
    fn read(&self, name: &str) -> Result<String> {
        match self.look(name)?.map(|entry| entry.kind) {
            Some(fs::Kind::File) => {}
            _ => return Ok(String::new()),
        }
        let file = fs::open_plain(&self.etc, name)?;
        Ok(String::from_utf8_lossy(&kernel::file::read_start(&file, LARGEST)?).into_owned())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        write(&self.etc, self.owner, name, text, mode)
    }

    /// At its making: its own identity and name, in place of the image's.
    pub(crate) fn introduce(&self, found: &Found) -> Result<()> {
        let record = &found.record;
        // Without the file it is the init that makes it, of what it is told, and takes it for the first start of all.
        if self.look("machine-id")?.is_some() {
            self.write("machine-id", &format!("{}\n", system::uuid(record)), 0o444)?;
        }
        let hostname = compose::hostname(found);
        self.write("hostname", &format!("{hostname}\n"), 0o644)?;
        let mut hosts = self.read("hosts")?;
        if hosts.len() >= LARGEST {
            // Not one that anybody reads.
            hosts.clear();
        }
        if !hosts.lines().any(|line| line.split_whitespace().any(|word| word == "localhost")) {
            hosts.push_str("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        }
        if !hosts.is_empty() && !hosts.ends_with('\n') {
            hosts.push('\n');
        }
        let domain = record.definition.domainname.as_ref().map(|domain| format!("{hostname}.{domain} "));
        hosts.push_str(&format!("127.0.1.1 {}{hostname}\n", domain.unwrap_or_default()));
        for (name, address) in &record.definition.hosts {
            hosts.push_str(&format!("{address} {name}\n"));
        }
        self.write("hosts", &hosts, 0o644)?;
        self.is_complete()?;
        // A link leads to what a resolver inside looks after.
        match self.look("resolv.conf")?.map(|entry| entry.kind) {
            Some(fs::Kind::Link) => Ok(()),
            _ => self.write("resolv.conf", &format!("{MARK}\n"), 0o644),
        }
    }

    /// What its packages have set up when the image was made need not be set up again at its first start
    /// (systemd-update-done(8)).
    fn is_complete(&self) -> Result<()> {
        const TEXT: &str = "# By cella: the packages of the image have set this up.\n";
        if self.root.find(Path::new("/var/lib/dpkg/status"), false).is_err() {
            return Ok(());
        }
        for name in ["/etc", "/var"] {
            let Some(place) = directory(&self.root, name)? else { continue };
            if fs::look(&place, ".updated")?.is_none() {
                write(&place, self.owner, ".updated", TEXT, 0o644)?;
            }
        }
        Ok(())
    }

    /// Whom it asks for names, unless it has settled that itself.
    pub(crate) fn resolve(&self, text: &str) -> Result<()> {
        let old = self.read("resolv.conf")?;
        let new = format!("{MARK}\n{text}");
        if !old.starts_with(MARK) || old == new {
            return Ok(());
        }
        self.write("resolv.conf", &new, 0o644).doing(|| "write /etc/resolv.conf inside")
    }
}

fn directory(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.find(Path::new(path), false) {
        Ok(found) if kernel::root::is_directory(&found)? => Ok(Some(found)),
        Ok(_) => Ok(None),
        Err(error) if error.is(kernel::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts a file in the place of what has its name.
fn write(place: &OwnedFd, owner: u32, name: &str, text: &str, mode: u32) -> Result<()> {
    let temporary = format!(".{name}.cella");
    let as_name = OsStr::new(&temporary);
    match fs::look(place, &temporary)?.map(|entry| entry.kind) {
        None => {}
        Some(fs::Kind::Directory) => fs::remove_tree(&kernel::root::open_directory(place, ".")?, as_name)?,
        Some(_) => fs::remove(place, as_name, false)?,
    }
    let file = fs::make_file(place, as_name, mode)?;
    kernel::event::write_all(&file, text.as_bytes())?;
    fs::set_mode(&file, mode)?;
    kernel::root::set_owner(&file, owner, owner)?;
    Ok(kernel::file::rename_at(place, &temporary, name)?)
}
