//! What a run came to.
//!
//! Owns: the counts.
//! Never: a sentence about them.

use std::{collections::BTreeMap, time::Duration};

/// What became of the clients of one crowd who came in the measured time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many came.
    pub came: u64,
    /// How many were answered while they were there, or had the place they wanted.
    pub answered: u64,
    /// How many left before they were answered.
    pub gave_up: u64,
    /// How many were refused, by the label of the cause.
    pub refused: BTreeMap<&'static str, u64>,
    /// From the coming of each answered client to its answer, in order.
    pub took: Vec<Duration>,
    /// Services that ended in the measured time.
    pub services: u64,
    /// Of them, those whose client had left before.
    pub wasted: u64,
    /// The whole time, the measured and the rest, in slots.
    pub slots: Vec<Slot>,
}

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Clients who came in it.
    pub came: u64,
    /// Of them, those who were answered, whenever.
    pub answered: u64,
    /// Places that the crowd had taken at its end.
    pub open: u64,
}

impl Slot {
    /// The share of its clients who were answered; 1 where nobody came.
    #[must_use]
    pub fn success(&self) -> f64 {
        share(self.answered, self.came).unwrap_or(1.0)
    }
}

impl Outcome {
    /// The share of the clients who were answered; 1 where nobody came.
    #[must_use]
    pub fn success(&self) -> f64 {
        share(self.answered, self.came).unwrap_or(1.0)
    }

    /// The share of the services that ended for somebody who had left; 0 without any.
    #[must_use]
    pub fn waste(&self) -> f64 {
        share(self.wasted, self.services).unwrap_or(0.0)
    }

    /// The time that this share of the answered clients had its answer within. `None`: nobody had one.
    #[must_use]
    pub fn took(&self, share: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a position among some millions")]
        let position = self.took.len() as f64 * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded down, above 0")]
        let position = position as usize;
        self.took.get(position.min(self.took.len().checked_sub(1)?)).copied()
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 clients")]
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_good_ones_and_nobodys_wait_is_none() {
        let nothing = Outcome::default();
        assert_eq!((nothing.success(), nothing.waste(), nothing.took(0.99)), (1.0, 0.0, None));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let took = (1..=100).map(Duration::from_secs).collect();
        let outcome = Outcome { took, ..Outcome::default() };
        assert_eq!(outcome.took(0.5), Some(Duration::from_secs(51)));
        assert_eq!(outcome.took(0.99), Some(Duration::from_secs(100)));
        assert_eq!(outcome.took(1.0), Some(Duration::from_secs(100)));
    }
}
