//! A distribution of durations.
//!
//! Owns: recording and reading percentiles, with three significant digits from 1 µs to 100 s.
//! Never: forgets a long one; what is longer than the range is recorded as the range's end.

use hdrhistogram::Histogram;
use std::{fmt, io, time::Duration};

const LONGEST: Duration = Duration::from_secs(100);

/// Recorded durations.
pub struct Latencies {
    nanos: Histogram<u64>,
}

impl Latencies {
    /// Empty.
    ///
    /// # Errors
    ///
    /// Never with the range as it stands; the histogram's own checks are passed on.
    pub fn new() -> io::Result<Self> {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let nanos = Histogram::new_with_bounds(1_000, longest, 3).map_err(io::Error::other)?;
        Ok(Self { nanos })
    }

    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        self.nanos.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds all of another distribution.
    ///
    /// # Errors
    ///
    /// Never with the range as it stands; the histogram's own checks are passed on.
    pub fn absorb(&mut self, other: &Self) -> io::Result<()> {
        self.nanos.add(&other.nanos).map_err(io::Error::other)
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// The duration under which `percent` of the recorded lie. Zero when nothing was recorded.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.nanos.value_at_percentile(percent))
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_with_three_digits() {
        let mut latencies = Latencies::new().unwrap();
        for millis in 1..=1_000 {
            latencies.record(Duration::from_millis(millis));
        }
        let median = latencies.percentile(50.0).as_secs_f64();
        assert!((median - 0.5).abs() < 0.001, "{median}");
        let late = latencies.percentile(99.9).as_secs_f64();
        assert!((late - 0.999).abs() < 0.002, "{late}");
    }

    #[test]
    fn two_distributions_make_one() {
        let mut all = Latencies::new().unwrap();
        for millis in [1, 9] {
            let mut some = Latencies::new().unwrap();
            some.record(Duration::from_millis(millis));
            all.absorb(&some).unwrap();
        }
        assert_eq!(all.count(), 2);
        assert!(all.percentile(100.0) >= Duration::from_millis(9));
        assert!(all.percentile(50.0) < Duration::from_millis(2));
    }

    #[test]
    fn what_is_beyond_the_range_still_counts() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_secs(4_000));
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentile(50.0) >= LONGEST);
    }
}
