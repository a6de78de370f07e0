// SPDX-License-Identifier: Apache-2.0
//! Memory that outlives the process that works with it: whoever is forked next finds it as it was left.

use crate::error::{Error, Result};

/// A piece of memory, zero at first, that children share. One process at a time works with it; the others keep away.
#[derive(Debug)]
pub struct Shared {
    at: *mut u8,
    length: usize,
}

impl Shared {
    /// So many bytes; their pages come when they are touched.
    ///
    /// # Errors
    /// mmap(2)'s.
    pub fn new(length: usize) -> Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping touches nothing that is there.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Error::last(format!("mmap({length}, MAP_SHARED)")));
        }
        Ok(Self { at: at.cast(), length })
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is ours for as long as `self` is, and has this length; other processes that have it do not work
        // with it while this one does, which is what the type is for.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.length) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.at.cast(), self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_leaves_is_found() {
        let mut shared = Shared::new(100_000).unwrap();
        match crate::process::clone(0, None).unwrap() {
            crate::process::Forked::Child => {
                shared.bytes()[99_999] = 7;
                crate::process::exit_now(0)
            }
            crate::process::Forked::Parent(child) => {
                crate::process::wait(&child.pidfd).unwrap();
            }
        }
        assert_eq!((shared.bytes()[0], shared.bytes()[99_999]), (0, 7));
    }
}
