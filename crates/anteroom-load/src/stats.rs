//! What several rounds say together.
//!
//! Owns: the median with its spread, and the ratio of two servers round by round.
//! Never: a mean. One disturbed round would move it.

use std::fmt;

/// The median of several rounds, with the least and the greatest beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
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
        Some(Self { median: f64::midpoint(lower, upper), least, greatest })
    }

    /// The ratios of `values` to `base`, round by round: noise that hits a whole round cancels.
    #[must_use]
    pub fn of_ratios(values: &[f64], base: &[f64]) -> Option<Self> {
        Self::of(values.iter().zip(base).map(|(value, base)| value / base))
    }
}

/// With the precision that the formatter asks for, one digit otherwise: `12.3 (11.9..14.0)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$} ({:.digits$}..{:.digits$})", self.median, self.least, self.greatest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        let spread = Spread::of([9.0, 1.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, greatest: 9.0 });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 100.0]).unwrap().median, 3.0);
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_median() {
        let calm = Spread::of([10.0, 11.0, 12.0, 13.0, 14.0]).unwrap();
        let disturbed = Spread::of([10.0, 11.0, 12.0, 13.0, 900.0]).unwrap();
        assert_eq!(calm.median, disturbed.median);
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
    fn a_spread_is_written_with_the_digits_asked_for() {
        let spread = Spread { median: 1.0, least: 0.5, greatest: 2.25 };
        assert_eq!(format!("{spread:.2}"), "1.00 (0.50..2.25)");
    }
}
