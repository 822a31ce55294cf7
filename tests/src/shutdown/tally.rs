//! How the clients of a round, or of many, ended.
//!
//! Owns the counts and the list of the lost.

use std::fmt;
use std::ops::AddAssign;

use super::{Outcome, Part};

/// The counts, and who was lost.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: [u64; Outcome::ALL.len()],
    /// What they did, when they were connected before or after the cue, and how they ended.
    lost: Vec<String>,
}

impl Tally {
    pub(super) fn note(&mut self, part: Part, outcome: Outcome, connected: &str) {
        for (count, kind) in self.counts.iter_mut().zip(Outcome::ALL) {
            *count += u64::from(kind == outcome);
        }
        if outcome.is_lost() {
            self.lost.push(format!("{part:?}, connected {connected}: {outcome:?}"));
        }
    }

    /// How many ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.sum(|kind| kind == outcome)
    }

    /// How many had their `connect` succeed.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.sum(Outcome::had_connected)
    }

    /// How many had it succeed and got nothing for it.
    #[must_use]
    pub fn unserved(&self) -> u64 {
        self.sum(Outcome::is_lost)
    }

    /// Each of these.
    #[must_use]
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    fn sum(&self, counts: impl Fn(Outcome) -> bool) -> u64 {
        let of_each = self.counts.iter().zip(Outcome::ALL);
        of_each.filter(|(_, kind)| counts(*kind)).map(|(count, _)| count).sum()
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.lost.extend_from_slice(&other.lost);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connected {}", self.connected())?;
        for (count, kind) in self.counts.iter().zip(Outcome::ALL).filter(|(count, _)| **count > 0) {
            write!(f, ", {kind:?} {count}")?;
        }
        Ok(())
    }
}
