//! Time as one number, from the monotonic clock: cheaper to take, to keep and to compare than an `Instant`.
//!
//! Owns the one place where this crate reads that clock. Never knows what a time is of.

use std::ops::Add;
use std::time::Duration;

use anteroom_listener::monotonic_nanos;

/// Nanoseconds of `CLOCK_MONOTONIC`, counted from a day before it began: a connection may have been queued before this
/// process was there, and a clock may be younger than that. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

impl Tick {
    /// Later than any other.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    #[inline]
    pub(crate) fn now() -> Self {
        Self(monotonic_nanos().saturating_add(DAY))
    }

    #[inline]
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos.max(1))
    }

    #[inline]
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds since an earlier one; none since a later one.
    #[inline]
    pub(crate) fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time since an earlier one; none since a later one.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The time from then until now.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The next nanosecond: two works that begin at one reading of the clock begin one after the other.
    #[inline]
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    /// So many nanoseconds later.
    #[inline]
    pub(crate) fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// That much earlier. `None`: earlier than can be told.
    #[inline]
    pub(crate) fn checked_sub(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(nanos(time)).filter(|nanos| *nanos > 0).map(Self)
    }

    /// That much later. `None`: never.
    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        Some(self + time).filter(|tick| *tick != Self::NEVER)
    }
}

/// That much later; never, where that is too much to tell.
impl Add<Duration> for Tick {
    type Output = Self;

    #[inline]
    fn add(self, time: Duration) -> Self {
        self.plus(nanos(time))
    }
}

/// A duration in nanoseconds; 584 years at most.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_later_by_what_was_added() {
        let tick = Tick::now();
        let later = tick + Duration::from_secs(3600);
        assert_eq!((later.since(tick), tick.since(later)), (Duration::from_secs(3600), Duration::ZERO));
        assert_eq!(later.checked_sub(Duration::from_secs(3600)), Some(tick));
        assert!(tick.next() > tick && Tick::now() >= tick);
    }

    #[test]
    fn a_day_before_a_clock_began_can_be_told() {
        assert!(Tick::now().checked_sub(Duration::from_nanos(DAY - 1)).is_some());
        assert_eq!(Tick::now().checked_sub(Duration::MAX), None);
    }

    #[test]
    fn never_is_later_than_anything() {
        let never = Tick::now() + Duration::MAX;
        assert_eq!((never, never + Duration::from_secs(1)), (Tick::NEVER, Tick::NEVER));
        assert!(never > Tick::now() + Duration::from_secs(100 * 365 * 24 * 60 * 60));
        assert_eq!(Tick::now().checked_add(Duration::MAX), None);
    }
}
