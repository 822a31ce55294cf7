//! What several rounds say together.
//!
//! Owns: the median with its spread and its interval, and the ratio of two servers round by round.
//! Never: a mean, or a distribution that is taken for granted. One disturbed round would move the one, and
//! what disturbs a machine does not obey the other.

use std::fmt;

/// How sure an interval is at least.
const SURE: f64 = 0.95;

/// Rounds without which no interval is so sure: with five, the median lies outside of all of them once in 16
/// times.
pub const LEAST_ROUNDS: u16 = 6;

/// The median of several rounds, with the least and the greatest beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Where the median of endlessly many rounds would lie; `None` with less than [`LEAST_ROUNDS`].
    pub interval: Option<Interval>,
}

/// Where a median lies with a probability of at least 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub from: f64,
    /// The upper bound.
    pub to: f64,
}

impl Spread {
    /// Of the finite ones among `values`; `None` when there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let least = *values.first()?;
        let greatest = *values.last()?;
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, greatest, interval: Interval::of(&values) })
    }

    /// The ratios of `values` to `base`, round by round: noise that hits a whole round cancels.
    #[must_use]
    pub fn of_ratios(values: &[f64], base: &[f64]) -> Option<Self> {
        Self::of(values.iter().zip(base).map(|(value, base)| value / base))
    }
}

impl Interval {
    /// Each round lies above the true median or below it, as a coin falls. So the true median lies between the
    /// k-th least and the k-th greatest unless less than k of all coins fell on one side (the sign test; H. A.
    /// David, H. N. Nagaraja, "Order Statistics", 2003, 7.1). Taken is the greatest k that is sure enough.
    fn of(sorted: &[f64]) -> Option<Self> {
        let cut = outside(sorted.len());
        let last = sorted.len().checked_sub(cut)?;
        Some(Self { from: *sorted.get(cut.checked_sub(1)?)?, to: *sorted.get(last)? })
    }
}

/// The greatest k for which fewer than k of `count` coins fall on one of the sides with a chance of 5 % at most.
fn outside(count: usize) -> usize {
    let tosses = count as f64;
    // The chance of exactly so many heads, by its logarithm: it is too small for a number where there are many.
    let mut chance = -tosses * std::f64::consts::LN_2;
    let mut less = 0.0;
    for heads in 0..count {
        less += 2.0 * chance.exp();
        if less > 1.0 - SURE {
            return heads;
        }
        chance += ((tosses - heads as f64) / (heads as f64 + 1.0)).ln();
    }
    0
}

/// With the precision that the formatter asks for, one digit otherwise: `12.3 (11.9..14.0)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$} ({:.digits$}..{:.digits$})", self.median, self.least, self.greatest)
    }
}

/// As [`Spread`] is written, in brackets of its own: `[11.9, 14.0]`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "[{:.digits$}, {:.digits$}]", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        let spread = Spread::of([9.0, 1.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, greatest: 9.0, interval: None });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 100.0]).unwrap().median, 3.0);
    }

    #[test]
    fn one_disturbed_round_moves_neither_the_median_nor_its_interval() {
        let calm = Spread::of((0..20).map(f64::from)).unwrap();
        let disturbed = Spread::of((0..19).map(f64::from).chain([900.0])).unwrap();
        assert_eq!((calm.median, calm.interval), (disturbed.median, disturbed.interval));
    }

    #[test]
    fn nothing_measured_has_no_median() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn ratios_pair_the_same_round() {
        // Both servers were twice as slow in the second round: the ratio does not see it.
        let ratio = Spread::of_ratios(&[11.0, 22.0, 11.0], &[10.0, 20.0, 10.0]).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9);
        assert!((ratio.greatest - ratio.least).abs() < 1e-9);
    }

    #[test]
    fn an_interval_is_that_of_the_tables_of_the_sign_test() {
        // The k of the tables, for 95 %.
        for (count, k) in [(0, 0), (5, 0), (6, 1), (8, 1), (9, 2), (20, 6), (40, 14), (100, 40)] {
            assert_eq!(outside(count), k, "{count}");
        }
        let interval = Spread::of((1..=20).map(f64::from)).unwrap().interval.unwrap();
        assert_eq!((interval.from, interval.to), (6.0, 15.0));
        assert_eq!(Spread::of([1.0; 5]).unwrap().interval, None);
        assert!(outside(100_000) > 49_000, "also of very many");
    }

    #[test]
    fn an_interval_of_many_runs_holds_the_median_in_at_least_95_of_100() {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut held = 0;
        for _ in 0..4_000 {
            // As skewed as latencies are; the median is 1.
            let run = Spread::of((0..20).map(|_| 1.0 / (2.0 * (1.0 - uniform())).max(1e-9))).unwrap();
            held +=
                usize::from(run.interval.is_some_and(|interval| interval.from <= 1.0 && 1.0 <= interval.to));
        }
        assert!((3_780..3_900).contains(&held), "{held} of 4000");
    }

    #[test]
    fn a_spread_is_written_with_the_digits_asked_for() {
        let interval = Interval { from: 0.75, to: 1.25 };
        let spread = Spread { median: 1.0, least: 0.5, greatest: 2.25, interval: Some(interval) };
        assert_eq!(format!("{spread:.2} {interval:.2}"), "1.00 (0.50..2.25) [0.75, 1.25]");
    }
}
