//! Time for stamps: one number from the monotonic clock, cheaper to take and to compare than an `Instant`.

use std::time::{Duration, Instant};

use anteroom_listener::monotonic_nanos;

/// Nanoseconds of `CLOCK_MONOTONIC`: never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    #[inline]
    pub(crate) fn now() -> Self {
        Self::from_nanos(monotonic_nanos())
    }

    #[inline]
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos.max(1))
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds since an earlier one.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The next nanosecond: two works that begin at one reading of the clock begin one after the other.
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    /// So many nanoseconds later.
    #[inline]
    pub(crate) fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        self.plus(nanos(time))
    }

    /// The same time as an `Instant`, which is as good as the clocks are read together.
    pub(crate) fn instant(self) -> Instant {
        let (tick, now) = (Self::now(), Instant::now());
        let ago = Duration::from_nanos(tick.since(self));
        match self > tick {
            true => now + Duration::from_nanos(self.since(tick)),
            false => now.checked_sub(ago).unwrap_or(now),
        }
    }
}

/// 584 years at most.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_the_instant_of_the_same_moment() {
        let before = Instant::now();
        let tick = Tick::now();
        let after = Instant::now();
        // Reading both clocks takes a moment, on a busy machine a long one.
        let slack = Duration::from_millis(500);
        assert!(tick.instant() + slack >= before && tick.instant() <= after + slack);
        let later = tick.after(Duration::from_secs(3600));
        assert_eq!(later.since(tick), 3_600_000_000_000);
        assert!(tick.next() > tick);
        assert!(later.instant() > after + Duration::from_secs(3500));
    }
}
