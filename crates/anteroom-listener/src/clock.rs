//! The clock of stamps.

use crate::sys;

/// Nanoseconds of the monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)) since a moment before the start of this process.
///
/// The clock of `Instant` on Linux, as one number: for stamps that are taken so often that the arithmetic of an
/// `Instant` counts. On Linux no system call, where the vDSO has the clock.
///
/// # Examples
///
/// ```
/// let before = anteroom_listener::monotonic_nanos();
/// assert!(anteroom_listener::monotonic_nanos() >= before);
/// ```
#[must_use]
#[inline]
pub fn monotonic_nanos() -> u64 {
    sys::monotonic_nanos()
}
