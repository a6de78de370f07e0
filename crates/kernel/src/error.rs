// SPDX-License-Identifier: Apache-2.0
//! One failed system call, told the way strace tells it: the call, its arguments, the errno.

use std::fmt;

pub use rustix::io::Errno;

/// A system call that failed.
///
/// `call` is the call with the arguments that matter, as strace would print it, e.g. `openat2(5, "etc", O_PATH)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The call with its telling arguments.
    pub call: String,
    /// Why the kernel refused.
    pub errno: Errno,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `call` with the kernel's `errno`.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno }
    }

    /// The error that the C library left in `errno` after a raw call returned -1.
    pub(crate) fn last(call: impl Into<String>) -> Self {
        let raw = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self::new(call, Errno::from_raw_os_error(raw))
    }

    /// Is it this errno?
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }

    /// Does this kernel lack what was asked for: a call, a protocol, a kind of device or of queue?
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        [Errno::OPNOTSUPP, Errno::NOSYS, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT].contains(&self.errno)
    }
}

/// Adds the call to a bare errno: `openat(..).call(|| format!("openat({path:?})"))?`.
pub trait Call<T> {
    /// Names the call that produced this errno; `name` runs only on failure.
    ///
    /// # Errors
    /// The same failure, now with the call's name.
    fn call<S: Into<String>>(self, name: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call<S: Into<String>>(self, name: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(name(), errno))
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call<S: Into<String>>(self, name: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::new(name(), Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, describe(self.errno))
    }
}

impl std::error::Error for Error {}

/// The errno's name and meaning, e.g. `ENOENT (No such file or directory)`.
#[must_use]
pub fn describe(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match name(errno) {
        Some(name) => format!("{name} ({text})"),
        None => text.to_owned(),
    }
}

/// The errno's symbolic name, for those that a user is likely to meet.
#[must_use]
pub fn name(errno: Errno) -> Option<&'static str> {
    NAMES.iter().find(|(value, _)| *value == errno).map(|(_, name)| *name)
}

const NAMES: &[(Errno, &str)] = &[
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::SRCH, "ESRCH"),
    (Errno::INTR, "EINTR"),
    (Errno::IO, "EIO"),
    (Errno::NXIO, "ENXIO"),
    (Errno::TOOBIG, "E2BIG"),
    (Errno::NOEXEC, "ENOEXEC"),
    (Errno::BADF, "EBADF"),
    (Errno::CHILD, "ECHILD"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::ACCESS, "EACCES"),
    (Errno::FAULT, "EFAULT"),
    (Errno::BUSY, "EBUSY"),
    (Errno::EXIST, "EEXIST"),
    (Errno::XDEV, "EXDEV"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NFILE, "ENFILE"),
    (Errno::MFILE, "EMFILE"),
    (Errno::TXTBSY, "ETXTBSY"),
    (Errno::FBIG, "EFBIG"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::ROFS, "EROFS"),
    (Errno::MLINK, "EMLINK"),
    (Errno::PIPE, "EPIPE"),
    (Errno::RANGE, "ERANGE"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::NOTEMPTY, "ENOTEMPTY"),
    (Errno::LOOP, "ELOOP"),
    (Errno::OVERFLOW, "EOVERFLOW"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::PROTONOSUPPORT, "EPROTONOSUPPORT"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::STALE, "ESTALE"),
    (Errno::DQUOT, "EDQUOT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_call_name_and_meaning() {
        let error = Error::new("openat2(3, \"etc\")", Errno::NOENT);
        assert_eq!(error.to_string(), "openat2(3, \"etc\"): ENOENT (No such file or directory)");
    }
}
