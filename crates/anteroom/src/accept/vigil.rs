//! Whether takers that accept for themselves do so in time.
//!
//! Owns how often to look, and what was seen at the last look. Never accepts: it names the listeners that are
//! left standing. While nobody comes at all it sleeps, and the first newcomer wakes it.

use std::time::{Duration, Instant};

/// Between two looks while connections come.
const TICK: Duration = Duration::from_millis(5);

/// Between two looks while somebody stands before a taker that has not come.
const SECOND_LOOK: Duration = Duration::from_millis(2);

/// After so long without a newcomer there is nothing to look at until the next one comes.
const REST: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next newcomer wakes it.
    Asleep,
    Awake {
        next: Instant,
        /// When somebody was last seen to come.
        moved: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Vigil {
    state: State,
    takers: Vec<Taker>,
}

/// What was seen of one taker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taker {
    turns: u64,
    /// Between the last two looks.
    has_come: bool,
    conduct: Conduct,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Conduct {
    #[default]
    Prompt,
    /// Somebody waits, and it has not come since the last look.
    Suspect,
    /// It has not come between two looks at which somebody waited, nor since.
    Late,
}

impl Taker {
    /// It has come so often by now, and somebody waits or not: whether it leaves them standing.
    fn look(&mut self, turns: u64, somebody_waits: bool) -> bool {
        self.has_come = std::mem::replace(&mut self.turns, turns) != turns;
        self.conduct = match self.conduct {
            _ if self.has_come => Conduct::Prompt,
            Conduct::Late => Conduct::Late,
            Conduct::Suspect if somebody_waits => Conduct::Late,
            _ if somebody_waits => Conduct::Suspect,
            _ => Conduct::Prompt,
        };
        self.conduct == Conduct::Late && somebody_waits
    }
}

/// One desk as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) turns: u64,
    pub(super) somebody_waits: bool,
}

impl Vigil {
    pub(super) fn new(desks: usize) -> Self {
        Self { state: State::Asleep, takers: vec![Taker::default(); desks] }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.state == State::Asleep
    }

    /// When to look next. `None`: when somebody comes.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.state {
            State::Asleep => None,
            State::Awake { next, .. } => Some(next),
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next().is_some_and(|next| next <= now)
    }

    /// Whether the taker of this desk was late at the last look.
    pub(super) fn is_late(&self, desk: usize) -> bool {
        self.takers.get(desk).is_some_and(|taker| taker.conduct == Conduct::Late)
    }

    /// Whether the taker of this desk came between the last two looks.
    pub(super) fn has_come(&self, desk: usize) -> bool {
        self.takers.get(desk).is_some_and(|taker| taker.has_come)
    }

    /// The first newcomer after a rest.
    pub(super) fn rouse(&mut self, now: Instant) {
        if self.is_asleep() {
            self.state = State::Awake { next: now + TICK, moved: now };
        }
    }

    /// A look at every desk, in their order: those whose taker is late are told, by their number.
    pub(super) fn look(&mut self, sights: &[Sight], now: Instant, late: &mut Vec<usize>) {
        let State::Awake { moved, .. } = &mut self.state else { return };
        let mut pause = TICK;
        for (desk, (taker, sight)) in self.takers.iter_mut().zip(sights).enumerate() {
            if taker.turns != sight.turns || sight.somebody_waits {
                *moved = now;
            }
            if taker.look(sight.turns, sight.somebody_waits) {
                late.push(desk);
            }
            if taker.conduct != Conduct::Prompt && sight.somebody_waits {
                pause = SECOND_LOOK;
            }
        }
        self.state = match *moved {
            moved if now.saturating_duration_since(moved) >= REST => State::Asleep,
            moved => State::Awake { next: now + pause, moved },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it was late at each of the looks.
    fn looks(sights: &[(u64, bool)]) -> Vec<bool> {
        let mut taker = Taker::default();
        sights.iter().map(|&(turns, waits)| taker.look(turns, waits)).collect()
    }

    #[test]
    fn one_who_comes_is_prompt_however_many_wait() {
        assert_eq!(looks(&[(1, true), (2, true), (3, true)]), [false; 3]);
    }

    #[test]
    fn one_who_does_not_come_is_late_at_the_second_look_and_at_once_from_then_on() {
        assert_eq!(looks(&[(0, true), (0, true), (0, false), (0, true)]), [false, true, false, true]);
    }

    #[test]
    fn one_who_comes_again_is_prompt_again() {
        assert_eq!(
            looks(&[(0, true), (0, true), (1, true), (1, true), (1, true)]),
            [false, true, false, false, true]
        );
    }

    #[test]
    fn nobody_who_waits_is_nobody_left_standing() {
        assert_eq!(looks(&[(0, false), (0, true), (0, false), (0, true)]), [false; 4]);
    }

    #[test]
    fn it_looks_sooner_at_a_suspect_and_sleeps_when_nobody_comes() {
        let now = Instant::now();
        let mut vigil = Vigil::new(1);
        let mut late = Vec::new();
        assert_eq!(vigil.next(), None);
        vigil.rouse(now);
        assert!(!vigil.is_due(now) && vigil.is_due(now + TICK));
        vigil.look(&[Sight { turns: 0, somebody_waits: true }], now, &mut late);
        assert_eq!((vigil.next(), late.len()), (Some(now + SECOND_LOOK), 0));
        vigil.look(&[Sight { turns: 0, somebody_waits: true }], now, &mut late);
        assert_eq!((vigil.next(), &late[..]), (Some(now + SECOND_LOOK), &[0][..]));
        let later = now + REST;
        vigil.look(&[Sight { turns: 1, somebody_waits: false }], later, &mut late);
        assert!(!vigil.is_asleep(), "somebody has just come");
        vigil.look(&[Sight { turns: 1, somebody_waits: false }], later + REST, &mut late);
        assert!(vigil.is_asleep());
    }
}
