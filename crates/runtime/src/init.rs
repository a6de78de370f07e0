// SPDX-License-Identifier: Apache-2.0
//! The inits of distributions, and how each wants to be told that it is to end or to start again.
//!
//! | init | power off | start again |
//! |---|---|---|
//! | systemd | SIGRTMIN+4 | SIGRTMIN+5 |
//! | System V | run level 0, by `/run/initctl` | run level 6 |
//! | busybox | SIGUSR2 | SIGTERM |
//! | any other (OpenRC, s6, dinit, runit) | SIGTERM | SIGINT |
//!
//! Which it is, its file tells. Nothing of it is run, and nothing that it says is believed.

use std::path::Path;

use kernel::process::{self, Child};
use kernel::root::Root;
use kernel::{Errno, Error, Result};

/// Real-time signals as programs count them: the C library keeps the kernel's first two.
const REAL_TIME: i32 = 34;
const SIGINT: i32 = 2;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;

/// What init(8) wants to read in front of a request, and how long one is.
const MAGIC: u32 = 0x0309_1969;
const REQUEST: usize = 384;
const RUN_LEVEL: u32 = 1;

/// A kind of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// System V's.
    SystemV,
    /// busybox'.
    Busybox,
    /// Some other.
    Other,
}

/// What an init is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// End everything.
    PowerOff,
    /// End everything, and begin again.
    Reboot,
}

impl Init {
    /// What runs as this process.
    #[must_use]
    pub fn of(pid: i32) -> Self {
        let path = kernel::file::read_link(Path::new(&format!("/proc/{pid}/exe"))).unwrap_or_default();
        match path.rsplit('/').next().unwrap_or_default().trim_end_matches(" (deleted)") {
            "systemd" => Self::Systemd,
            "busybox" => Self::Busybox,
            "init" => Self::SystemV,
            _ => Self::Other,
        }
    }

    /// Does it say when everything is up?
    #[must_use]
    pub const fn notifies(self) -> bool {
        matches!(self, Self::Systemd)
    }

    const fn signal(self, order: Order) -> i32 {
        match (self, order) {
            (Self::Systemd, Order::PowerOff) => REAL_TIME + 4,
            (Self::Systemd, Order::Reboot) => REAL_TIME + 5,
            (Self::Busybox, Order::PowerOff) => SIGUSR2,
            (Self::Busybox, Order::Reboot) | (Self::Other | Self::SystemV, Order::PowerOff) => SIGTERM,
            (Self::Other | Self::SystemV, Order::Reboot) => SIGINT,
        }
    }
}

/// Tells the init that runs as this child.
///
/// # Errors
/// When it can not be told; `ESRCH` when it has ended.
pub(crate) fn tell(child: &Child, order: Order) -> Result<()> {
    match Init::of(child.pid) {
        // One that does not listen (yet), or is another of the same name, has the signals that most have.
        Init::SystemV => match control(child.pid) {
            Ok(control) if is_told(&control, &request(order)) => Ok(()),
            _ => process::signal(&child.pidfd, Init::Other.signal(order)),
        },
        init => process::signal(&child.pidfd, init.signal(order)),
    }
}

/// Writes the request at once: whoever keeps the FIFO full does not keep us.
fn is_told(control: &std::os::fd::OwnedFd, request: &[u8]) -> bool {
    kernel::event::write(control, request).is_ok_and(|written| written == request.len())
}

/// The FIFO that a System V init listens to: somebody has to read from it, and it has to be one.
fn control(pid: i32) -> Result<std::os::fd::OwnedFd> {
    let root = Root::new(kernel::root::open_directory_path(Path::new(&format!("/proc/{pid}/root")))?);
    let run = root.find(Path::new("/run"), false)?;
    if kernel::fs::look(&run, "initctl")?.is_none_or(|entry| entry.kind != kernel::fs::Kind::Special) {
        return Err(Error::new("open(\"/run/initctl\")", Errno::NOENT));
    }
    let fifo = kernel::file::open_fifo(&run, "initctl", true)?;
    match kernel::file::is_fifo(&fifo)? {
        true => Ok(fifo),
        false => Err(Error::new("open(\"/run/initctl\"): it is no FIFO", Errno::INVAL)),
    }
}

/// A request for a run level, as init(8) reads it.
fn request(order: Order) -> Vec<u8> {
    let level: u32 = match order {
        Order::PowerOff => b'0'.into(),
        Order::Reboot => b'6'.into(),
    };
    let mut bytes: Vec<u8> = [MAGIC, RUN_LEVEL, level, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    bytes.resize(REQUEST, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_init_is_told_in_its_own_way() {
        assert_eq!(Init::Systemd.signal(Order::PowerOff), 38);
        assert_eq!(Init::Systemd.signal(Order::Reboot), 39);
        assert_eq!((Init::Busybox.signal(Order::PowerOff), Init::Busybox.signal(Order::Reboot)), (12, 15));
        let request = request(Order::PowerOff);
        assert_eq!(
            (request.len(), request.get(..4), request.get(8)),
            (384, Some(&[0x69, 0x19, 0x09, 0x03][..]), Some(&b'0'))
        );
    }
}
