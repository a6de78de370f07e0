// SPDX-License-Identifier: Apache-2.0
//! Rights that a process gives up for good, once it has opened what needs them.

use std::os::fd::AsFd;

use crate::capability;
use crate::error::{Call, Errno, Result};
use crate::process;
use crate::types::CapabilitySet;

/// More than any kernel has; the first that it does not know ends the list.
const CAPABILITIES: i64 = 64;

/// `root` becomes the root and current directory of this process, which becomes the user and group `id`, in no other
/// group, without a capability and without a way to gain one; nobody may trace it.
///
/// What is open stays open: no descriptor may be left that leads to a directory outside `root`.
///
/// # Errors
/// chroot(2)'s, setgroups(2)'s, setresuid(2)'s, capset(2)'s or prctl(2)'s. Some rights may be gone by then: the process
/// should end.
pub fn give_up(root: impl AsFd, id: u32) -> Result<()> {
    process::change_directory(root)?;
    rustix::process::chroot(".").call(|| "chroot(\".\")")?;
    process::set_no_new_privileges()?;
    drop_bounding_set()?;
    process::set_groups(&[])?;
    process::set_ids(id, id)?;
    capability::set(CapabilitySet::EMPTY, CapabilitySet::EMPTY, CapabilitySet::EMPTY)?;
    process::set_undumpable()
}

fn drop_bounding_set() -> Result<()> {
    for number in 0..CAPABILITIES {
        match capability::prctl(libc::PR_CAPBSET_DROP, number, 0, "PR_CAPBSET_DROP") {
            Err(error) if error.is(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Exit, Forked};

    #[test]
    fn nothing_is_left() {
        if process::euid() != 0 {
            println!("SKIPPED: nothing_is_left: it needs root");
            return;
        }
        let root = crate::root::open_directory_path(&std::env::temp_dir()).unwrap();
        match process::clone(0, None).unwrap() {
            Forked::Child => {
                let done = give_up(&root, 65_534);
                let sets = capability::get();
                let none = sets == Ok((CapabilitySet::EMPTY, CapabilitySet::EMPTY, CapabilitySet::EMPTY));
                let inside = crate::root::open_directory_path(std::path::Path::new("/proc/self")).is_err();
                let good =
                    done.is_ok() && none && inside && process::euid() == 65_534 && process::set_ids(0, 0).is_err();
                process::exit_now(i32::from(!good))
            }
            Forked::Parent(child) => assert_eq!(process::wait(&child.pidfd).unwrap(), Exit::Code(0)),
        }
    }
}
