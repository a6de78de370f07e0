// SPDX-License-Identifier: Apache-2.0
//! Pseudo terminals and the modes of a terminal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize};

use crate::error::{Call, Result};

/// Size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// The terminal's size.
///
/// # Errors
/// ioctl(TIOCGWINSZ)'s.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let size = rustix::termios::tcgetwinsize(terminal).call(|| "ioctl(TIOCGWINSZ)")?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the terminal's size; programs on it get `SIGWINCH`.
///
/// # Errors
/// ioctl(TIOCSWINSZ)'s.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).call(|| "ioctl(TIOCSWINSZ)")
}

/// The other side of a terminal that this is the master of, which does not become anybody's controlling terminal by that.
///
/// # Errors
/// ioctl(TIOCGPTPEER)'s.
pub fn other_side(master: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).call(|| "ioctl(TIOCGPTPEER)")
}

/// Is it a terminal?
#[must_use]
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// A terminal in raw mode; dropping it restores what was before.
#[derive(Debug)]
pub struct RawMode<F: AsFd> {
    terminal: F,
    before: Termios,
}

impl<F: AsFd> RawMode<F> {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// tcgetattr(3)'s or tcsetattr(3)'s.
    pub fn enter(terminal: F) -> Result<Self> {
        let before = rustix::termios::tcgetattr(&terminal).call(|| "ioctl(TCGETS)")?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.local_modes.remove(LocalModes::ISIG);
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).call(|| "ioctl(TCSETS)")?;
        Ok(Self { terminal, before })
    }
}

impl<F: AsFd> Drop for RawMode<F> {
    fn drop(&mut self) {
        // The terminal may be gone by now: nothing is left to restore then.
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
    }
}
