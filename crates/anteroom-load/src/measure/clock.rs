//! One clock for several processes.
//!
//! Owns: reading it.
//! Never: the time of day.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The moment, counted from a beginning that every process of this machine shares (`CLOCK_MONOTONIC`, until the
/// machine starts again): what a client and a server note can be compared.
#[must_use]
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}
