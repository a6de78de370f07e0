// SPDX-License-Identifier: Apache-2.0
//! Clocks, and the kernel's randomness.

use rustix::time::ClockId;

/// Nanoseconds since 1970 (CLOCK_REALTIME).
#[must_use]
pub fn now_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// Milliseconds since some moment, never set back (CLOCK_BOOTTIME: also counts suspension).
#[must_use]
pub fn monotonic_ms() -> u64 {
    nanoseconds(ClockId::Boottime) / 1_000_000
}

/// Nanoseconds since the host was booted (CLOCK_BOOTTIME).
#[must_use]
pub fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime)
}

/// Nanoseconds of a processor that this process has used.
#[must_use]
pub fn used_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// `count` random bytes from the kernel.
///
/// # Panics
/// Never: getrandom(2) without flags can not fail for up to 256 bytes.
#[must_use]
pub fn random<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    let mut filled = 0;
    while filled < COUNT {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}
