//! When each client of an open loop is meant to start.
//!
//! Owns: the arithmetic from a rate to the intended starts.
//! Never: reads a clock, never shifts a start because an earlier one was late: that would be the coordinated
//! omission that an open loop exists to avoid.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// `count` starts, evenly spread at `rate` per second, the first at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    rate: u32,
    count: u64,
}

impl Schedule {
    /// As many starts as `rate` per second makes in `length`. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(rate: u32, length: Duration) -> Self {
        let rate = rate.max(1);
        let count = length.as_nanos() * u128::from(rate) / NANOS_PER_SECOND;
        Self { rate, count: u64::try_from(count).unwrap_or(u64::MAX) }
    }

    /// How many starts there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When the start number `index` (from 0) is meant to be, counted from the beginning. Each is computed from
    /// the beginning, so that rounding does not add up.
    #[must_use]
    pub fn intended(&self, index: u64) -> Duration {
        let nanos = u128::from(index) * NANOS_PER_SECOND / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many starts should have happened `elapsed` after the beginning.
    #[must_use]
    pub fn due(&self, elapsed: Duration) -> u64 {
        // The largest n whose last start, n - 1, is at or before `elapsed`. The guess is exact up to rounding.
        let guess = elapsed.as_nanos() * u128::from(self.rate) / NANOS_PER_SECOND;
        let mut due = u64::try_from(guess).unwrap_or(u64::MAX).min(self.count);
        while due < self.count && self.intended(due) <= elapsed {
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starts_are_evenly_spread_from_zero() {
        let schedule = Schedule::new(4_000, Duration::from_secs(2));
        assert_eq!(schedule.count(), 8_000);
        assert_eq!(schedule.intended(0), Duration::ZERO);
        assert_eq!(schedule.intended(1), Duration::from_micros(250));
        assert_eq!(schedule.intended(7_999), Duration::from_micros(1_999_750));
    }

    #[test]
    fn rounding_does_not_add_up() {
        let schedule = Schedule::new(3, Duration::from_secs(1_000));
        assert_eq!(schedule.intended(3), Duration::from_secs(1));
        assert_eq!(schedule.intended(2_997), Duration::from_secs(999));
    }

    #[test]
    fn a_start_is_due_at_its_moment_and_not_before() {
        for rate in [1, 3, 7, 5_000, 33_333] {
            let schedule = Schedule::new(rate, Duration::from_secs(1));
            for index in 0..schedule.count().min(500) {
                let moment = schedule.intended(index);
                assert_eq!(schedule.due(moment), index + 1, "rate {rate}, start {index}");
                if index > 0 {
                    let before = moment - Duration::from_nanos(1);
                    assert_eq!(schedule.due(before), index, "rate {rate}, before start {index}");
                }
            }
        }
    }

    #[test]
    fn a_late_look_owes_every_missed_start() {
        let schedule = Schedule::new(1_000, Duration::from_secs(1));
        assert_eq!(schedule.due(Duration::from_millis(250)), 251);
        assert_eq!(schedule.due(Duration::from_secs(90)), 1_000);
    }

    #[test]
    fn a_rate_of_nothing_is_one_a_second() {
        assert_eq!(Schedule::new(0, Duration::from_secs(3)).count(), 3);
    }
}
