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

/// A container's files, as it has them itself, while it does not run.
pub(crate) struct Files {
    /// It keeps the files reachable.
    _mount: OwnedFd,
    etc: OwnedFd,
    owner: u32,
}

impl Files {
    /// Those of a container with this root file system; `None` for one without `/etc`, or whose `/etc` can not be written.
    pub(crate) fn of(tree: &Tree, ids: Ids) -> Result<Option<Self>> {
        let range = [IdRange { inside: 0, outside: ids.base, count: ids.count }];
        let users = kernel::idmap::user_namespace(&range)?;
        let mount = runtime::mount_tree(tree, &users)?;
        mount::set_attributes(&mount, attr::NOSUID | attr::NOEXEC, 0, Depth::One)?;
        let root = Root::new(kernel::root::open_directory(&mount, ".")?);
        Ok(Self::below(&root, ids.base)?.map(|etc| Self { _mount: mount, etc, owner: ids.base }))
    }

    /// Those of one that runs.
    pub(crate) fn of_running(pid: i32, ids: Ids) -> Result<Option<Self>> {
        let root = kernel::root::open_directory_path(Path::new(&format!("/proc/{pid}/root")))?;
        let mount = kernel::file::duplicate(&root)?;
        Ok(Self::below(&Root::new(root), ids.base)?.map(|etc| Self { _mount: mount, etc, owner: ids.base }))
    }

    fn below(root: &Root, _owner: u32) -> Result<Option<OwnedFd>> {
        match root.find(Path::new("/etc"), false) {
            Ok(etc) if kernel::root::is_directory(&etc)? => Ok(Some(etc)),
            Ok(_) => Ok(None),
            Err(error) if error.is(kernel::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

    /// Puts a file in the place of what has its name.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        let temporary = format!(".{name}.cella");
        let as_name = OsStr::new(&temporary);
        if self.look(&temporary)?.is_some() {
            fs::remove(&self.etc, as_name, false)?;
        }
        let file = fs::make_file(&self.etc, as_name, mode)?;
        kernel::event::write_all(&file, text.as_bytes())?;
        fs::set_mode(&file, mode)?;
        kernel::root::set_owner(&file, self.owner, self.owner)?;
        Ok(kernel::file::rename_at(&self.etc, &temporary, name)?)
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
        // A link leads to what a resolver inside looks after.
        match self.look("resolv.conf")?.map(|entry| entry.kind) {
            Some(fs::Kind::Link) => Ok(()),
            _ => self.write("resolv.conf", &format!("{MARK}\n"), 0o644),
        }
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
