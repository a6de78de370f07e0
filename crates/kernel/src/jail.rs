// SPDX-License-Identifier: Apache-2.0
//! A process that may touch one directory and nothing else: for work on bytes that are not trusted.
//!
//! It has user, mount, net, ipc, uts and pid namespaces of its own, the directory as its root, no descriptor but its input
//! and its answer, and can gain no rights. Its ids 0 to 65535 are the host's, so that what it makes has the right owners:
//! it has root's capabilities, but only over what its namespaces own, which is nothing besides the files it makes.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::process::{self, Child, Forked};
use crate::types::{IdRange, NamespaceKind, Propagation};
use crate::{event, file, idmap, mount, root};

/// How many ids it has.
const IDS: u32 = 65_536;

/// Bytes of memory it may map, and files it may have open.
const MEMORY: u64 = 4 << 30;
const FILES: u64 = 64;
const RLIMIT_NOFILE: u32 = 7;
const RLIMIT_AS: u32 = 9;
const SIGKILL: i32 = 9;

/// A jail that works.
#[derive(Debug)]
pub struct Jail {
    child: Child,
    answer: OwnedFd,
}

/// Starts `work` below `directory`, which becomes its `/`; it reads `input`, and what it gives back is the answer.
///
/// The calling process must have a single thread.
///
/// # Errors
/// clone3(2)'s, or those of writing the id map.
pub fn start(directory: &Path, input: OwnedFd, work: impl FnOnce(OwnedFd) -> Vec<u8>) -> Result<Jail> {
    let kinds = [
        NamespaceKind::User,
        NamespaceKind::Mount,
        NamespaceKind::Net,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Pid,
    ];
    let flags = kinds.into_iter().fold(0, |flags, kind| flags | kind.flag());
    let (wait, go) = event::pipe()?;
    let (answer, told) = event::pipe()?;
    match process::clone(flags, None)? {
        Forked::Child => {
            drop((go, answer));
            let code = match enter(directory, &wait, [&input, &told]) {
                Ok(()) => i32::from(event::write_all(&told, &[&[1], work(input).as_slice()].concat()).is_err()),
                Err(error) => {
                    i32::from(event::write_all(&told, &[&[0], error.to_string().as_bytes()].concat()).is_ok())
                }
            };
            process::exit_now(code)
        }
        Forked::Parent(child) => {
            let ranges = [IdRange { inside: 0, outside: 0, count: IDS }];
            let jail = Jail { child, answer };
            idmap::write(jail.child.pid, &ranges, &ranges)?;
            event::write_all(&go, b"g")?;
            Ok(jail)
        }
    }
}

fn enter(directory: &Path, wait: &OwnedFd, keep: [&OwnedFd; 2]) -> Result<()> {
    process::die_with_parent()?;
    crate::signal::reset()?;
    let mut word = [0; 1];
    if event::read(wait, &mut word)? != event::Read::Bytes(1) {
        return Err(Error::new("jail: the parent is gone", crate::Errno::PIPE));
    }
    process::set_groups(&[])?;
    process::set_ids(0, 0)?;
    process::set_undumpable()?;
    mount::set_all_propagation(Propagation::Private)?;
    let copy = mount::clone(directory, false)?;
    mount::attach(&copy, root::open_directory_path(directory)?)?;
    let null = file::open_null()?;
    (0..3).try_for_each(|number| process::place(&null, number))?;
    process::change_directory(root::open_directory(&copy, ".")?)?;
    mount::pivot_here()?;
    drop((copy, null));
    process::close_from(3, &keep)?;
    process::set_no_new_privileges()?;
    process::set_limit(0, RLIMIT_NOFILE, FILES, FILES)?;
    process::set_limit(0, RLIMIT_AS, MEMORY, MEMORY)
}

impl Jail {
    /// Waits for the answer, of at most `most` bytes.
    ///
    /// # Errors
    /// The step that failed inside, or `EPIPE` when it died without an answer.
    pub fn answer(self, most: usize) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while let event::Read::Bytes(count) = event::read(&self.answer, &mut buffer)? {
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if answer.len() > most {
                process::signal(&self.child.pidfd, SIGKILL).ok();
                break;
            }
        }
        process::wait(&self.child.pidfd)?;
        match answer.split_first() {
            Some((1, answer)) if answer.len() < most => Ok(answer.to_vec()),
            Some((0, text)) => Err(Error::new(format!("jail: {}", String::from_utf8_lossy(text)), crate::Errno::INVAL)),
            _ => Err(Error::new("jail: it died without an answer", crate::Errno::PIPE)),
        }
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        // When it is not waited for it is of no use any more; when it was, this names nobody.
        process::signal(&self.child.pidfd, SIGKILL).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sees_its_directory_and_nothing_else() {
        if process::euid() != 0 {
            println!("SKIPPED: it_sees_its_directory_and_nothing_else: it needs root");
            return;
        }
        let base = std::env::temp_dir().join(format!("cella-jail-{}", process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let jail = start(&base, file::open_null().unwrap(), |_| {
            std::fs::write("/made", "x").unwrap();
            let names: Vec<String> = file::names(Path::new("/")).unwrap();
            format!("{names:?} {} {}", process::id(), std::net::TcpStream::connect("127.0.0.1:9").is_err()).into_bytes()
        });
        assert_eq!(String::from_utf8(jail.unwrap().answer(1000).unwrap()).unwrap(), "[\"made\"] 1 true");
        assert!(base.join("made").is_file());
        std::fs::remove_dir_all(base).unwrap();
    }
}
