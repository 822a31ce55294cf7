//! How many in a second: the generic cell rate algorithm, in whole nanoseconds.
//!
//! Owns the arithmetic. Never reads a clock: time comes in, and what comes out is yes, no, or when.
//! (ITU-T I.371, "virtual scheduling": one number per meter, no timer.)

use std::time::Duration;

/// A number of connections per second, with a burst, and a slower start if wanted.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use anteroom::Rate;
///
/// let rate = Rate::per_second(500).burst(50).ramp(Duration::from_secs(10));
/// assert_eq!(rate.per_second, 500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Rate {
    /// How many in a second, in the long run; from 1 to 1,000,000,000.
    pub per_second: u32,
    /// How many at once after a quiet time; at least 1 (the default).
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub burst: u32,
    /// Time after the start in which the rate grows from a tenth to the whole (default 0: at once),
    /// for services that are slow until their caches are warm.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::config::duration"))]
    pub ramp: Duration,
}

#[cfg(feature = "serde")]
fn one() -> u32 {
    1
}

/// The slowest start of a ramp is this part of the whole rate.
const SLOWEST_START: u128 = 10;

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// So many in a second, one at a time, from the start.
    #[must_use]
    pub const fn per_second(connections: u32) -> Self {
        Self { per_second: connections, burst: 1, ramp: Duration::ZERO }
    }

    /// Lets so many come at once.
    #[must_use]
    pub const fn burst(mut self, connections: u32) -> Self {
        self.burst = connections;
        self
    }

    /// Lets the rate grow for so long after the start.
    #[must_use]
    pub const fn ramp(mut self, duration: Duration) -> Self {
        self.ramp = duration;
        self
    }

    /// What cannot be meant about it.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.per_second == 0 || u64::from(self.per_second) > SECOND {
            return Some("must be from 1 to 1,000,000,000 per second");
        }
        (self.burst == 0).then_some("has a burst of 0: nobody could ever pass; use at least 1")
    }

    /// Nanoseconds between two at the whole rate.
    fn whole_interval(&self) -> u64 {
        SECOND / u64::from(self.per_second.max(1))
    }

    /// By how many nanoseconds somebody may come before it is expected.
    fn ahead(&self) -> u64 {
        self.whole_interval().saturating_mul(u64::from(self.burst).saturating_sub(1))
    }

    /// Nanoseconds between two, at a time after the start.
    fn interval(&self, at: u64) -> u64 {
        let whole = self.whole_interval();
        let ramp = self.ramp.as_nanos();
        if u128::from(at) >= ramp {
            return whole;
        }
        let reached = u128::from(at).max(ramp / SLOWEST_START).max(1);
        u64::try_from(u128::from(whole) * ramp / reached).unwrap_or(u64::MAX)
    }
}

/// One meter. Times are nanoseconds since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// When the next one would come if all came evenly.
    expected: u64,
}

impl Meter {
    /// From when on one more may pass.
    pub(crate) fn free_at(&self, rate: &Rate) -> u64 {
        self.expected.saturating_sub(rate.ahead())
    }

    pub(crate) fn is_free(&self, rate: &Rate, at: u64) -> bool {
        self.free_at(rate) <= at
    }

    /// From now on this rate holds. What passed under another one is no longer debt than the new one
    /// ever lets anybody have.
    pub(crate) fn adopt(&mut self, rate: &Rate, at: u64) {
        let most = rate.ahead().saturating_add(rate.interval(at));
        self.expected = self.expected.min(at.saturating_add(most));
    }

    /// One passes.
    pub(crate) fn pass(&mut self, rate: &Rate, at: u64) {
        self.expected = self.expected.max(at).saturating_add(rate.interval(at));
    }

    /// Whether it remembers nothing that a new one would not know.
    pub(crate) fn is_blank(&self, at: u64) -> bool {
        self.expected <= at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pass in `seconds` when somebody asks every tenth of a millisecond.
    fn passed(rate: Rate, seconds: std::ops::Range<u64>) -> usize {
        let mut meter = Meter::default();
        let asked = (0..seconds.end * 10_000).map(|step| step * 100_000);
        asked
            .filter(|&at| {
                let free = meter.is_free(&rate, at);
                if free {
                    meter.pass(&rate, at);
                }
                free && at >= seconds.start * SECOND
            })
            .count()
    }

    #[test]
    fn the_long_run_is_the_rate_and_the_burst_comes_once() {
        assert_eq!(passed(Rate::per_second(100), 0..10), 1_000);
        assert_eq!(passed(Rate::per_second(100).burst(50), 0..10), 1_049);
        let mut meter = Meter::default();
        let rate = Rate::per_second(100).burst(3);
        for _ in 0..3 {
            assert!(meter.is_free(&rate, SECOND));
            meter.pass(&rate, SECOND);
        }
        assert!(!meter.is_free(&rate, SECOND));
        assert_eq!(meter.free_at(&rate), SECOND + SECOND / 100);
    }

    #[test]
    fn a_ramp_begins_with_a_tenth_and_ends_with_the_whole() {
        let rate = Rate::per_second(1_000).ramp(Duration::from_secs(10));
        assert!((95..=105).contains(&passed(rate, 0..1)), "{}", passed(rate, 0..1));
        assert!((440..=460).contains(&passed(rate, 4..5)), "{}", passed(rate, 4..5));
        assert_eq!(passed(rate, 11..12), 1_000);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        assert_eq!(Rate::per_second(1).problem(), None);
        assert!(Rate::per_second(0).problem().is_some());
        assert!(Rate::per_second(1_000_000_001).problem().is_some());
        assert!(Rate::per_second(1).burst(0).problem().is_some());
    }
}
