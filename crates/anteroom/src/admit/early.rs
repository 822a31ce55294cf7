//! Refusing some before all have to be refused: the further from the threshold, the likelier.
//!
//! Owns the chance and the dice. The dice are seeded, so that a history can be played again.

/// Refuses newcomers at random between two numbers of waiting connections, as `MaxStartups` of
/// `sshd_config(5)` does: a flood that fills the room then never quite shuts the others out.
///
/// # Examples
/// ```
/// // From 10 waiting on three in ten are refused, from 100 on all; in between ever more.
/// let early = anteroom::EarlyRefusal::between(10, 100).percent(30);
/// assert_eq!((early.from, early.percent, early.full), (10, 30, 100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct EarlyRefusal {
    /// From so many waiting connections on, those left out for whom a place is free.
    pub from: usize,
    /// The chance at that number, in percent; it grows evenly up to `full`.
    pub percent: u8,
    /// From so many on all are refused.
    pub full: usize,
}

/// Chances are counted in parts of this.
const CERTAIN: u64 = 1 << 32;

impl EarlyRefusal {
    /// From none at `from` to all at `full`.
    #[must_use]
    pub const fn between(from: usize, full: usize) -> Self {
        Self { from, percent: 0, full }
    }

    /// Begins with this chance.
    #[must_use]
    pub const fn percent(mut self, percent: u8) -> Self {
        self.percent = percent;
        self
    }

    fn chance(&self, waiting: usize) -> u64 {
        if waiting < self.from {
            return 0;
        }
        if waiting >= self.full {
            return CERTAIN;
        }
        let first = CERTAIN * u64::from(self.percent) / 100;
        let width = (self.full - self.from) as u64;
        first + (CERTAIN - first) / width * (waiting - self.from) as u64
    }

    /// Whether the next one is refused.
    pub(crate) fn refuses(&self, waiting: usize, dice: &mut Dice) -> bool {
        match self.chance(waiting) {
            0 => false,
            chance => dice.roll() < chance,
        }
    }
}

/// Random enough to be fair, and the same again from the same seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below [`CERTAIN`].
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_grows_from_the_first_number_to_the_second() {
        let early = EarlyRefusal::between(10, 30).percent(20);
        let mut dice = Dice::new(1);
        let mut refused = |waiting| (0..10_000).filter(|_| early.refuses(waiting, &mut dice)).count();
        assert_eq!(refused(9), 0);
        assert!((1_800..2_200).contains(&refused(10)));
        assert!((5_800..6_200).contains(&refused(20)));
        assert_eq!(refused(30), 10_000);
    }

    #[test]
    fn two_equal_numbers_are_a_plain_limit() {
        let early = EarlyRefusal::between(5, 5);
        let mut dice = Dice::new(1);
        assert!(!early.refuses(4, &mut dice) && early.refuses(5, &mut dice));
    }
}
