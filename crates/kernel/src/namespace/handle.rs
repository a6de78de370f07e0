// SPDX-License-Identifier: Apache-2.0
//! A namespace that is held open: which one it is, who owns it, what is above it (ioctl_nsfs(2)).

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Errno, Error, Result};
use crate::types::NamespaceKind;

/// The file system of namespaces (statfs(2)).
const NSFS: i64 = 0x6e73_6673;

const GET_USERNS: u64 = 0xb701;
const GET_PARENT: u64 = 0xb702;
const GET_NSTYPE: u64 = 0xb703;
const GET_OWNER_UID: u64 = 0xb704;
/// `_IOR(0xb7, 6, int)`, since Linux 6.11: a pid of the namespace, as the caller sees it.
const GET_PID_FROM_PIDNS: u64 = 0x8004_b706;
/// `_IOR(0xb7, 8, int)`, since Linux 6.11: a pid of the caller's, as the namespace sees it.
const GET_PID_IN_PIDNS: u64 = 0x8004_b708;

/// Which namespace: equal ids are the same namespace, as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// What kind.
    pub kind: NamespaceKind,
    /// The device of its file: that of nsfs, the same for all.
    pub dev: u64,
    /// The inode of its file.
    pub ino: u64,
}

impl fmt::Display for NamespaceId {
    /// As the links in `/proc/PID/ns` have it: `net:[4026531833]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[{}]", self.kind, self.ino)
    }
}

/// Kind and inode of a link in `/proc/PID/ns`, or of one in `/proc/PID/fd` that leads to a namespace.
///
/// ```
/// use kernel::{namespace::parse_link, types::NamespaceKind};
///
/// assert_eq!(parse_link(b"mnt:[4026531832]"), Some((NamespaceKind::Mount, 4_026_531_832)));
/// assert_eq!(parse_link(b"socket:[1234]"), None);
/// ```
#[must_use]
pub fn parse_link(text: &[u8]) -> Option<(NamespaceKind, u64)> {
    let (name, number) = std::str::from_utf8(text).ok()?.strip_suffix(']')?.split_once(":[")?;
    let kind = NamespaceKind::ALL.into_iter().find(|kind| kind.file() == name)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten().map(|ino| (kind, ino))
}

/// A namespace, kept alive by an open file of it.
///
/// ```
/// use kernel::namespace::Namespace;
/// use kernel::types::NamespaceKind;
///
/// let net = Namespace::current(NamespaceKind::Net)?;
/// assert_eq!(net.id(), Namespace::of(kernel::process::id(), NamespaceKind::Net)?.id());
/// println!("{} belongs to {:?}", net.id(), net.owner()?.map(|owner| owner.id()));
/// # Ok::<(), kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct Namespace {
    file: OwnedFd,
    id: NamespaceId,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Namespace {
    /// The one that a file stands for: `/proc/PID/ns/net`, `/run/netns/NAME`. Whatever else has the path is not opened: a
    /// FIFO would be waited for, and a device might do something.
    ///
    /// # Errors
    /// open(2)'s, or `EINVAL` when it is no namespace.
    pub fn open(path: &Path) -> Result<Self> {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({path:?}, O_PATH)"))?;
        Self::reopen(&place, || format!("open({path:?})"))
    }

    /// The one that an `O_PATH` descriptor stands for.
    ///
    /// # Errors
    /// open(2)'s, or `EINVAL` when it is no namespace; `name` says what was to be opened.
    pub fn reopen(place: impl AsFd, name: impl Fn() -> String) -> Result<Self> {
        require_nsfs(&place, &name)?;
        let path = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
        Self::from_file(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(&name)?)
    }

    /// The one that an open file stands for.
    ///
    /// # Errors
    /// `EINVAL` when it is no namespace.
    pub fn from_file(file: OwnedFd) -> Result<Self> {
        let name = || format!("ioctl({}, NS_GET_NSTYPE): it is no namespace", file.as_raw_fd());
        require_nsfs(&file, &name)?;
        Self::trusted(file)
    }

    /// One that the kernel itself gave us, as a namespace.
    fn trusted(file: OwnedFd) -> Result<Self> {
        let flag = ask(&file, GET_NSTYPE, 0, "NS_GET_NSTYPE")?;
        let kind = NamespaceKind::ALL.into_iter().find(|kind| i64::try_from(kind.flag()) == Ok(flag.into()));
        let kind = kind.ok_or_else(|| Error::new(format!("ioctl(NS_GET_NSTYPE): kind {flag:#x}"), Errno::INVAL))?;
        let stat = rustix::fs::fstat(&file).call(|| "fstat(namespace)")?;
        Ok(Self { id: NamespaceId { kind, dev: stat.st_dev, ino: stat.st_ino }, file })
    }

    /// That of the process `pid` (a handle of it says whether it is still the same process: [`crate::pidfd::Handle`]).
    ///
    /// # Errors
    /// open(2)'s: `ENOENT` when it is gone, `EACCES` when we may not see it.
    pub fn of(pid: i32, kind: NamespaceKind) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/{kind}");
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Self::trusted(file.call(|| format!("open({path:?})"))?)
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// open(2)'s: `ENOENT` when the kernel knows no such kind.
    pub fn current(kind: NamespaceKind) -> Result<Self> {
        let path = format!("/proc/thread-self/ns/{kind}");
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Self::trusted(file.call(|| format!("open({path:?})"))?)
    }

    /// Which one it is.
    #[must_use]
    pub const fn id(&self) -> NamespaceId {
        self.id
    }

    /// The file, which keeps it alive.
    #[must_use]
    pub fn into_file(self) -> OwnedFd {
        self.file
    }

    /// The user namespace that owns it: whoever has rights there has them over it. For a user namespace its parent. `None` where
    /// that is out of the caller's sight, above its own user namespace.
    ///
    /// # Errors
    /// ioctl_nsfs(2)'s.
    pub fn owner(&self) -> Result<Option<Self>> {
        self.above(GET_USERNS, "NS_GET_USERNS")
    }

    /// The namespace that it was made in, of a pid or user namespace. `None` for the first of all, and where it is out of sight.
    ///
    /// # Errors
    /// ioctl_nsfs(2)'s: `EINVAL` for a kind that has no parents.
    pub fn parent(&self) -> Result<Option<Self>> {
        self.above(GET_PARENT, "NS_GET_PARENT")
    }

    fn above(&self, request: u64, name: &str) -> Result<Option<Self>> {
        match ask(&self.file, request, 0, name) {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(fd) => Self::trusted(unsafe { OwnedFd::from_raw_fd(fd) }).map(Some),
            Err(error) if error.is(Errno::PERM) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who made it, of a user namespace: a uid as the caller sees it, 65534 for one that it does not.
    ///
    /// # Errors
    /// ioctl_nsfs(2)'s: `EINVAL` for another kind.
    pub fn owner_uid(&self) -> Result<u32> {
        let mut uid: libc::uid_t = 0;
        // SAFETY: the request writes one uid_t, which lives through the call.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), GET_OWNER_UID as _, &raw mut uid) };
        if result == -1 { Err(Error::last("ioctl(NS_GET_OWNER_UID)")) } else { Ok(uid) }
    }

    /// What the process with the number `pid` in this pid namespace is called in the caller's.
    ///
    /// # Errors
    /// `ESRCH` when there is none; `ENOTTY` before Linux 6.11; `EINVAL` for another kind.
    pub fn pid_outside(&self, pid: i32) -> Result<i32> {
        ask(&self.file, GET_PID_FROM_PIDNS, pid, "NS_GET_PID_FROM_PIDNS")
    }

    /// What the process `pid` of the caller's is called in this pid namespace.
    ///
    /// # Errors
    /// `ESRCH` when it is not in there; `ENOTTY` before Linux 6.11; `EINVAL` for another kind.
    pub fn pid_inside(&self, pid: i32) -> Result<i32> {
        ask(&self.file, GET_PID_IN_PIDNS, pid, "NS_GET_PID_IN_PIDNS")
    }

    /// Moves the calling thread there; of a pid namespace, its children to come.
    ///
    /// # Errors
    /// setns(2)'s: `EPERM` without CAP_SYS_ADMIN in its owner; `EINVAL` for the own user namespace.
    pub fn enter(&self) -> Result<()> {
        super::join(&self.file, self.id.kind.flag())
            .map_err(|error| Error::new(format!("setns({})", self.id), error.errno))
    }
}

fn require_nsfs(file: impl AsFd, name: &dyn Fn() -> String) -> Result<()> {
    let found = rustix::fs::fstatfs(file).call(name)?;
    #[allow(clippy::useless_conversion, reason = "the word is as wide as the architecture's")]
    match i64::from(found.f_type) {
        NSFS => Ok(()),
        _ => Err(Error::new(format!("{}: it is no namespace", name()), Errno::INVAL)),
    }
}

/// A request whose answer is a number, or a new descriptor.
fn ask(file: &OwnedFd, request: u64, argument: i32, name: &str) -> Result<i32> {
    // SAFETY: the requests of this kind take an integer and touch no memory.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, libc::c_long::from(argument)) };
    if result == -1 { Err(Error::last(format!("ioctl({name})"))) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_and_others_are_none() {
        assert_eq!(parse_link(b"user:[4026531837]"), Some((NamespaceKind::User, 4_026_531_837)));
        for other in ["net:[]", "net:[+1]", "net:[1", "net:1]", "pipe:[3]", "/x net:[1]", "net:[99999999999999999999]"]
        {
            assert_eq!(parse_link(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parse_link(&[0xff, b':', b'[', b'1', b']']), None);
    }

    #[test]
    fn our_own_are_ours_and_have_owners() {
        for kind in NamespaceKind::ALL {
            let own = Namespace::current(kind).unwrap();
            assert_eq!(own.id(), Namespace::open(Path::new(&format!("/proc/thread-self/ns/{kind}"))).unwrap().id());
            if kind != NamespaceKind::User {
                assert_eq!(own.owner().unwrap().unwrap().id().kind, NamespaceKind::User);
            }
        }
        assert!(Namespace::current(NamespaceKind::Net).unwrap().parent().unwrap_err().is(Errno::INVAL));
        assert!(Namespace::current(NamespaceKind::Net).unwrap().owner_uid().unwrap_err().is(Errno::INVAL));
    }

    #[test]
    fn what_is_no_namespace_is_refused_and_not_waited_for() {
        for path in ["/dev/null", "/proc/self/status", "/"] {
            let refused = Namespace::open(Path::new(path)).unwrap_err();
            assert!(refused.is(Errno::INVAL) && refused.call.ends_with("it is no namespace"), "{refused}");
        }
        assert!(Namespace::open(Path::new("/no/such")).unwrap_err().is(Errno::NOENT));
    }

    #[test]
    fn our_pid_is_the_same_in_our_own_namespace() {
        let own = Namespace::current(NamespaceKind::Pid).unwrap();
        match own.pid_inside(crate::process::id()) {
            Ok(pid) => assert_eq!((pid, own.pid_outside(pid)), (crate::process::id(), Ok(pid))),
            // Before Linux 6.11.
            Err(error) => assert!(error.is(Errno::NOTTY), "{error}"),
        }
    }
}
