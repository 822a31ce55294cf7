//! Time inside the room: one number, which costs less to compare and to keep than an `Instant`.

use std::time::{Duration, Instant};

/// Nanoseconds since an epoch that lies before the start of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This much later; as late as can be told where that is too much.
    #[inline]
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// Nanoseconds since an earlier one.
    #[inline]
    pub(super) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A duration in nanoseconds; 584 years at most.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

/// Where moments are counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    zero: Instant,
    /// The start of the room, of which rates and ramps are counted.
    pub(super) start: Moment,
}

/// A connection may have been queued before its listener was adopted, and the room made: by so much at
/// most, if the clock goes back so far.
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

impl Epoch {
    pub(super) fn of(start: Instant) -> Self {
        let before = [BEFORE, Duration::from_secs(60), Duration::ZERO];
        let zero = before.into_iter().find_map(|before| start.checked_sub(before)).unwrap_or(start);
        Self { zero, start: Moment(nanos(start.saturating_duration_since(zero))) }
    }

    #[inline]
    pub(super) fn moment(&self, instant: Instant) -> Moment {
        Moment(nanos(instant.saturating_duration_since(self.zero)))
    }

    /// `None`: later than can be told.
    pub(super) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.zero.checked_add(Duration::from_nanos(moment.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_comes_back_as_it_was_also_from_before_the_start() {
        let start = Instant::now();
        let epoch = Epoch::of(start);
        for instant in [start, start + Duration::from_nanos(1), start - Duration::from_secs(30)] {
            assert_eq!(epoch.instant(epoch.moment(instant)), Some(instant));
        }
        assert_eq!(epoch.moment(start + Duration::from_secs(2)).since(epoch.start), 2_000_000_000);
    }

    #[test]
    fn for_ever_is_later_than_anything() {
        let epoch = Epoch::of(Instant::now());
        let never = epoch.start.after(Duration::MAX);
        assert!(never > epoch.start.after(Duration::from_secs(100 * 365 * 24 * 60 * 60)));
        assert_eq!(never.after(Duration::from_secs(1)), never);
    }
}
