// SPDX-License-Identifier: Apache-2.0
//! The second disk: what the machine is to run, and all that this needs.

use super::words::quoted;
use super::{fresh, fresh_or_there, image, write};
use crate::Result;
use std::path::{Path, PathBuf};

/// Where the machine has the disk.
pub(crate) const INSIDE: &str = "/vm";

/// Its file is sparse.
const SIZE: u64 = 12 << 30;

const PATH: &str = "/vm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `/vm/script` in the manager of the user `tester`, in a control group that is theirs.
const AS_USER: &str = "\
for mine in /vm/out /vm/target/nextest; do [ ! -e $mine ] || chown -R tester: $mine; done
systemctl start user@1000.service
exec runuser -u tester -- env -i HOME=/home/tester USER=tester LOGNAME=tester SHELL=/bin/bash PATH=\"$PATH\" \\
    XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \\
    systemd-run --user --quiet --wait --pipe --collect --property=Delegate=yes --property=OOMPolicy=continue \\
    --setenv=PATH --setenv=HOME --working-directory=/vm sh /vm/script
";

pub(crate) struct Job {
    pub(crate) directory: PathBuf,
    user: bool,
    /// Paths of this host that lead to the disk inside, for what was compiled in: link, and where it leads.
    links: Vec<(PathBuf, String)>,
}

impl Job {
    pub(crate) fn new(directory: &Path, user: bool) -> Result<Self> {
        fresh(directory)?;
        fresh_or_there(&directory.join("bin"))?;
        fresh_or_there(&directory.join("out"))?;
        Ok(Self { directory: directory.to_owned(), user, links: Vec::new() })
    }

    /// A program, for the machine's PATH.
    pub(crate) fn add_program(&mut self, program: &Path) -> Result<()> {
        let name = program.file_name().ok_or_else(|| format!("{}: no name", program.display()))?;
        let copy = self.directory.join("bin").join(name);
        std::fs::copy(program, &copy).map(drop).map_err(|error| format!("{}: {error}", program.display()))
    }

    /// Inside, this path of the host is the directory `name` of the disk.
    pub(crate) fn link(&mut self, path: &Path, name: &str) {
        self.links.push((path.to_owned(), format!("{INSIDE}/{name}")));
    }

    /// Makes the disk with this script.
    pub(crate) fn disk(&self, script: &str) -> Result<PathBuf> {
        write(&self.directory.join("script"), &format!("{script}\n"))?;
        write(&self.directory.join("job"), &self.text())?;
        let path = self.directory.with_extension("img");
        image::disk(&path, "cella-job", SIZE, &self.directory, &["-O", "^has_journal"])?;
        super::remove(&self.directory)?;
        Ok(path)
    }

    /// What root runs first.
    fn text(&self) -> String {
        let mut text = format!("export PATH={PATH}\ncd {INSIDE}\n");
        for (link, target) in &self.links {
            let link = link.display().to_string();
            let parent = Path::new(&link).parent().unwrap_or(Path::new("/")).display().to_string();
            text += &format!("mkdir -p {} && ln -sT {target} {}\n", quoted(&parent), quoted(&link));
        }
        text + if self.user { AS_USER } else { "exec sh /vm/script\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_in_leads_to_the_disk() {
        let mut job = Job { directory: "/x".into(), user: false, links: Vec::new() };
        job.link(Path::new("/home/a b/cella"), "repo");
        let text = job.text();
        assert!(text.contains("mkdir -p '/home/a b' && ln -sT /vm/repo '/home/a b/cella'\n"), "{text}");
        assert!(text.ends_with("exec sh /vm/script\n"));
        job.user = true;
        assert!(job.text().contains("runuser -u tester"));
    }
}
