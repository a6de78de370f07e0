// SPDX-License-Identifier: Apache-2.0
//! Numbers in messages of the kernel's, in its own byte order; 0 where a message ends before.

/// The 32 bits at this offset.
#[must_use]
pub fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word))
}

/// The 64 bits at this offset.
#[must_use]
pub fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_nought() {
        let bytes = [0xff_u8; 9];
        assert_eq!((word(&bytes, 5), word(&bytes, 6), word(&bytes, usize::MAX)), (u32::MAX, 0, 0));
        assert_eq!((long(&bytes, 1), long(&bytes, 2)), (u64::MAX, 0));
    }
}
