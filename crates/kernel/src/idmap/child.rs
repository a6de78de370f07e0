// SPDX-License-Identifier: Apache-2.0
//! The one moment in which the ids of a user namespace are set: by the parent, once, before the child goes on. Here it is a type:
//! an [`Unmapped`] child waits, and [`Unmapped::map`] takes it away for a [`Mapped`] one.
//!
//! ```text
//!   parent                          child
//!   clone3(CLONE_NEWUSER | …)  ───▶ read(gate)            an Unmapped
//!   write(setgroups, maps)           ┆
//!   write(gate)                ───▶ body()                a Mapped
//!   waitid()                   ◀─── _exit(code)
//! ```

use std::os::fd::OwnedFd;

use super::{Map, deny_groups, write_file};
use crate::error::{Call, Errno, Error, Result};
use crate::event;
use crate::namespace::NamespaceSet;
use crate::process::{self, Child, Exit, Forked};
use crate::types::NamespaceKind;

/// Both maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// Of users.
    pub users: Map,
    /// Of groups.
    pub groups: Map,
    /// Supplementary groups can not be changed inside: what who has no rights outside gives up for a map of groups.
    pub deny_groups: bool,
}

impl Maps {
    /// The same map for users and groups.
    #[must_use]
    pub fn same(map: Map) -> Self {
        Self { users: map.clone(), groups: map, deny_groups: false }
    }

    /// The caller alone, as root: what an ordinary user may have, too.
    #[must_use]
    pub fn only_me_as_root() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { users: Map::one(0, uid), groups: Map::one(0, gid), deny_groups: true }
    }

    /// Writes them for the process `pid`: groups' right first, since after their map it can not be given up any more.
    ///
    /// # Errors
    /// write(2)'s: `EPERM` when the caller has not the right to give these ids, or they are set already.
    pub fn write(&self, pid: i32) -> Result<()> {
        if self.deny_groups {
            deny_groups(pid)?;
        }
        for (file, map) in [("uid_map", &self.users), ("gid_map", &self.groups)] {
            write_file(format!("/proc/{pid}/{file}").as_ref(), map.text().as_bytes())?;
        }
        Ok(())
    }
}

/// A child in a new user namespace that has no ids yet. It waits. Dropped, it is no more.
///
/// "Uid 10 to 14 inside are 2000 to 2004 outside, and a file made by root inside belongs to 1000 outside":
///
/// ```
/// use std::os::unix::fs::MetadataExt;
/// use kernel::idmap::{Map, Maps, Unmapped};
/// use kernel::namespace::NamespaceSet;
/// use kernel::process::Exit;
/// use kernel::types::IdRange;
///
/// # if kernel::process::euid() != 0 { return Ok(()) } // To map other ids than one's own needs root.
/// let directory = std::env::temp_dir().join(format!("cella-example-{}", std::process::id()));
/// std::fs::create_dir(&directory).unwrap();
/// std::os::unix::fs::chown(&directory, Some(1000), Some(1000)).unwrap();
/// let (file, given) = (directory.join("made-by-root-inside"), directory.join("given-to-14"));
///
/// let child = Unmapped::spawn(NamespaceSet::EMPTY, || {
///     // The ids are set before this runs. We become root inside, make a file, and give another to 14; 15 is nobody.
///     kernel::process::set_ids(0, 0).unwrap();
///     std::fs::write(&file, "").unwrap();
///     std::fs::write(&given, "").unwrap();
///     std::os::unix::fs::chown(&given, Some(14), None).unwrap();
///     assert!(std::os::unix::fs::chown(&given, Some(15), None).is_err());
///     0
/// })?;
/// let map = Map::new(vec![
///     IdRange { inside: 0, outside: 1000, count: 1 },
///     IdRange { inside: 10, outside: 2000, count: 5 },
/// ]).unwrap();
/// // `map` takes the child: a second time does not compile.
/// let child = child.map(&Maps::same(map.clone()))?;
/// assert_eq!(child.wait()?, Exit::Code(0));
///
/// assert_eq!(std::fs::metadata(&file).unwrap().uid(), 1000);
/// assert_eq!(std::fs::metadata(&given).unwrap().uid(), 2004);
/// assert_eq!((map.outside(10), map.outside(14), map.inside(2004)), (Some(2000), Some(2004), Some(14)));
/// std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), kernel::Error>(())
/// ```
///
/// ```compile_fail
/// # use kernel::idmap::{Maps, Unmapped};
/// fn twice(child: Unmapped, maps: &Maps) {
///     let first = child.map(maps);
///     let second = child.map(maps); // use of moved value
/// }
/// ```
#[derive(Debug)]
pub struct Unmapped {
    child: Option<Child>,
    gate: OwnedFd,
}

impl Unmapped {
    /// Starts a child in a new user namespace and in new ones of the kinds `others`; it waits until its ids are set, and runs
    /// `body` then, whose answer is its exit code. The caller must have one thread only.
    ///
    /// # Errors
    /// pipe2(2)'s or clone3(2)'s: `ENOSPC` for too many namespaces, `EPERM` where user namespaces are forbidden.
    pub fn spawn(others: NamespaceSet, body: impl FnOnce() -> i32) -> Result<Self> {
        let (entry, gate) = event::pipe()?;
        match process::clone(others.with(NamespaceKind::User).flags(), None)? {
            Forked::Parent(child) => Ok(Self { child: Some(child), gate }),
            Forked::Child => {
                // Without the parent there is nobody who would set the ids: the end of its pipe is our own.
                drop(gate);
                let opened = wait_at(&entry);
                drop(entry);
                if !opened {
                    process::exit_now(125);
                }
                process::end_after(body)
            }
        }
    }

    /// Its number, as the caller sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Sets its ids, and lets it go on. When that fails, the child has ended without having done anything.
    ///
    /// # Errors
    /// write(2)'s: `EPERM` when the caller has not the right to give these ids.
    pub fn map(mut self, maps: &Maps) -> Result<Mapped> {
        let pid = self.pid();
        maps.write(pid)?;
        event::write_all(&self.gate, b"1")?;
        match self.child.take() {
            Some(child) => Ok(Mapped { child }),
            None => Err(Error::new("waitid()", Errno::CHILD)),
        }
    }
}

impl Drop for Unmapped {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            // It can only have ended already.
            process::signal(&child.pidfd, libc::SIGKILL).ok();
            process::wait(&child.pidfd).ok();
        }
    }
}

/// A child whose ids are set, and that runs.
#[derive(Debug)]
pub struct Mapped {
    child: Child,
}

impl Mapped {
    /// Its number and its pidfd.
    #[must_use]
    pub const fn child(&self) -> &Child {
        &self.child
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// waitid(2)'s.
    pub fn wait(self) -> Result<Exit> {
        process::wait(&self.child.pidfd)
    }
}

/// Has somebody opened the gate (and not just gone away)?
fn wait_at(entry: &OwnedFd) -> bool {
    loop {
        match event::read(entry, &mut [0]) {
            Ok(event::Read::Bytes(_)) => return true,
            Ok(event::Read::Nothing) => {}
            Ok(event::Read::End) | Err(_) => return false,
        }
    }
}

/// Moves the calling process itself into a new user namespace with these ids, and into new ones of the kinds `others`. A child
/// that stays outside sets the ids: from inside nobody could set others than their own. The caller must have one thread only.
///
/// After an error of the maps the process is in the new namespaces without ids, and should end.
///
/// # Errors
/// unshare(2)'s; write(2)'s: `EPERM` when the caller has not the right to give these ids.
pub fn unshare_mapped(others: NamespaceSet, maps: &Maps) -> Result<()> {
    unshare_with(others, |pid| maps.write(pid))
}

/// The same with ids that `set_ids`, in that child, sets for the process whose number it is given: by the help of a program that
/// may (newuidmap(1)).
///
/// # Errors
/// unshare(2)'s, and those of `set_ids`.
pub fn unshare_with(others: NamespaceSet, set_ids: impl FnOnce(i32) -> Result<()>) -> Result<()> {
    let pid = process::id();
    let (entry, gate) = event::pipe()?;
    let (answer, told) = event::pipe()?;
    let helper = match process::clone(0, None)? {
        Forked::Parent(child) => child,
        Forked::Child => {
            drop((gate, answer));
            process::end_after(|| {
                if wait_at(&entry) {
                    let answer = set_ids(pid).map_or_else(|error| error_bytes(&error), |()| DONE.to_vec());
                    event::write_all(&told, &answer).ok();
                }
                0
            })
        }
    };
    drop((entry, told));
    let done = crate::namespace::unshare(others.with(NamespaceKind::User).flags()).and_then(|()| {
        event::write_all(&gate, b"1")?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(answer), &mut bytes).call(|| "read(helper)")?;
        error_of(&bytes)
    });
    drop(gate);
    process::wait(&helper.pidfd)?;
    done
}

/// What says that it is done: no error has the number 0.
const DONE: [u8; 4] = [0; 4];

/// An error as it goes through a pipe: the number, then the words.
fn error_bytes(error: &Error) -> Vec<u8> {
    [&error.errno.raw_os_error().to_ne_bytes()[..], error.call.as_bytes()].concat()
}

fn error_of(bytes: &[u8]) -> Result<()> {
    match bytes.split_first_chunk() {
        None => Err(Error::new("read(helper): it ended without a word", Errno::PIPE)),
        Some((&DONE, _)) => Ok(()),
        Some((number, call)) => {
            let errno = Errno::from_raw_os_error(i32::from_ne_bytes(*number));
            Err(Error::new(String::from_utf8_lossy(call), errno))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::IdRange;

    #[test]
    fn a_child_without_ids_does_nothing_and_ends_with_its_holder() {
        let Ok(child) = Unmapped::spawn(NamespaceSet::EMPTY, || 0) else { return };
        let handle = crate::pidfd::Handle::open(child.pid()).unwrap();
        assert!(handle.is_alive());
        drop(child);
        assert!(!handle.is_alive());
    }

    #[test]
    fn ids_that_may_not_be_given_leave_no_process() {
        let Ok(child) = Unmapped::spawn(NamespaceSet::EMPTY, || 0) else { return };
        let handle = crate::pidfd::Handle::open(child.pid()).unwrap();
        // More than there is: the caller's own namespace has not got it, or the kernel does not take it.
        let parent = Map::new(vec![IdRange { inside: 0, outside: u32::MAX - 2, count: 2 }]).unwrap();
        let twice = Maps { users: Map::one(0, 0), groups: parent, deny_groups: false };
        match child.map(&twice) {
            Ok(mapped) => assert_eq!(mapped.wait().unwrap(), Exit::Code(0)),
            Err(error) => assert!(error.is(Errno::PERM), "{error}"),
        }
        assert!(!handle.is_alive());
    }

    #[test]
    fn a_child_that_panics_ends() {
        let child = crate::namespace::child(NamespaceSet::EMPTY, || panic!("on purpose")).unwrap();
        assert_eq!(process::wait(&child.pidfd).unwrap(), Exit::Code(101));
    }

    #[test]
    fn errors_go_through_a_pipe() {
        let error = Error::new("write(\"/proc/1/uid_map\", \"0 0 1\")", Errno::PERM);
        assert_eq!(error_of(&error_bytes(&error)), Err(error));
        assert_eq!(error_of(&DONE), Ok(()));
        assert!(error_of(&[]).unwrap_err().is(Errno::PIPE));
    }
}
