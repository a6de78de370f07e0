// SPDX-License-Identifier: Apache-2.0
//! Process 1 for programs that are no init (`--init`): passes signals on and reaps what nobody else does.

use std::os::fd::OwnedFd;

use kernel::event::Interest;
use kernel::process::{self, Forked};
use kernel::{Errno, Error, Result};

/// Real-time signals end here; 64 on every architecture that we know but MIPS.
const LAST_SIGNAL: i32 = 64;
const SIGKILL: i32 = 9;
const SIGCHLD: i32 = 17;
const SIGSTOP: i32 = 19;

/// Forks: the child goes on with the plan, the parent stays as process 1 and ends as the child does.
///
/// It has given up everything that the program will not have either: it runs with the same rights and filter.
pub(crate) fn fork(channel: &OwnedFd) -> Result<()> {
    let signals: Vec<i32> = (1..=LAST_SIGNAL).filter(|number| ![SIGKILL, SIGSTOP, 32, 33].contains(number)).collect();
    let descriptor = kernel::signal::descriptor(&signals)?;
    match process::clone_plain()? {
        Forked::Child => {
            drop(descriptor);
            process::new_session().or_else(|error| if error.is(Errno::PERM) { Ok(()) } else { Err(error) })?;
            kernel::signal::reset()?;
            process::die_with_parent()
        }
        Forked::Parent(child) => {
            process::set_name(c"cella-init").ok();
            let _ = channel;
            process::close_from(3, &[&descriptor, &child.pidfd])?;
            match serve(&descriptor, &child) {
                Ok(code) => process::exit_now(code),
                Err(error) => Err(error),
            }
        }
    }
}

fn serve(descriptor: &OwnedFd, child: &process::Child) -> Result<i32> {
    loop {
        kernel::event::wait(&[(std::os::fd::AsFd::as_fd(descriptor), Interest::Read)], None)?;
        while let Some(number) = kernel::signal::next(descriptor) {
            if number != SIGCHLD {
                process::signal(&child.pidfd, number).or_else(ignore_gone)?;
            }
        }
        while let Some((pid, exit)) = process::reap_any(false)? {
            if pid == child.pid {
                return Ok(exit.shell());
            }
        }
    }
}

fn ignore_gone(error: Error) -> Result<()> {
    if error.is(Errno::SRCH) { Ok(()) } else { Err(error) }
}
