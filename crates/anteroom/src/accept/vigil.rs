//! Whether takers that accept for themselves do so in time.
//!
//! Owns how often to look, and what was seen at the last look. Never accepts, nor moves anybody: it names the desks
//! whose takers leave somebody standing. While nobody comes at all it sleeps, and the first newcomer wakes it.

use crate::tick::Tick;
use std::time::Duration;

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
        next: Tick,
        /// When somebody was last seen to come.
        moved: Tick,
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
    accepts: u64,
    asks: u64,
    /// Between the last two looks.
    has_come: bool,
    is_eager: bool,
    conduct: Conduct,
    /// It was given somebody in another's place, and has come for them.
    is_tried: bool,
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
    /// Whether it leaves somebody standing.
    fn look(&mut self, sight: Sight) -> bool {
        let Sight { accepts, asks, somebody_waits, is_eager } = sight;
        self.has_come = (self.accepts, self.asks) != (accepts, asks);
        (self.accepts, self.asks, self.is_eager) = (accepts, asks, is_eager);
        self.is_tried &= self.has_come || is_eager;
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

/// One desk and its taker as they are now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// How often the taker has come to accept.
    pub(super) accepts: u64,
    /// How often it has asked for somebody, where others could be given them.
    pub(super) asks: u64,
    /// In the kernel's queue, or in the room where somebody else could be given them.
    pub(super) somebody_waits: bool,
    /// It has taken everybody, and sleeps until somebody comes.
    pub(super) is_eager: bool,
}

impl Vigil {
    pub(super) fn new(desks: usize) -> Self {
        Self { state: State::Asleep, takers: vec![Taker::default(); desks] }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.state == State::Asleep
    }

    /// When to look next. `None`: when somebody comes.
    pub(super) fn next(&self) -> Option<Tick> {
        match self.state {
            State::Asleep => None,
            State::Awake { next, .. } => Some(next),
        }
    }

    pub(super) fn is_due(&self, now: Tick) -> bool {
        self.next().is_some_and(|next| next <= now)
    }

    /// Whether the taker of this desk comes for others, or waits for somebody to come for.
    pub(super) fn comes(&self, desk: usize) -> bool {
        let taker = self.takers.get(desk).filter(|taker| taker.conduct != Conduct::Late);
        taker.is_some_and(|taker| taker.has_come || taker.is_eager)
    }

    /// Whether it has come for whom it was given in another's place. That one comes is not to be seen while nobody
    /// stands before it: the first whom it is given shows it.
    pub(super) fn is_tried(&self, desk: usize) -> bool {
        self.takers.get(desk).is_some_and(|taker| taker.is_tried || taker.has_come)
    }

    /// It is given somebody in another's place: to be looked at soon.
    pub(super) fn give(&mut self, desk: usize, now: Tick) {
        if let Some(taker) = self.takers.get_mut(desk) {
            (taker.is_tried, taker.is_eager) = (true, false);
        }
        if let State::Awake { next, .. } = &mut self.state {
            *next = now + SECOND_LOOK;
        }
    }

    /// The first newcomer after a rest.
    pub(super) fn rouse(&mut self, now: Tick) {
        if self.is_asleep() {
            self.state = State::Awake { next: now + TICK, moved: now };
        }
    }

    /// A look at every desk, in their order. Gives the numbers of those whose takers leave somebody standing.
    pub(super) fn look(&mut self, sights: &[Sight], now: Tick) -> Vec<usize> {
        let mut late = Vec::new();
        let State::Awake { moved, .. } = &mut self.state else { return late };
        let mut pause = TICK;
        for (desk, (taker, sight)) in self.takers.iter_mut().zip(sights).enumerate() {
            if taker.accepts != sight.accepts || sight.somebody_waits {
                *moved = now;
            }
            if taker.look(*sight) {
                late.push(desk);
            }
            if taker.conduct != Conduct::Prompt && sight.somebody_waits {
                pause = SECOND_LOOK;
            }
        }
        self.state = match *moved {
            moved if now.since(moved) >= REST => State::Asleep,
            moved => State::Awake { next: now + pause, moved },
        };
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(accepts: u64, somebody_waits: bool) -> Sight {
        Sight { accepts, somebody_waits, ..Sight::default() }
    }

    /// Whether it was late at each of the looks.
    fn looks(sights: &[(u64, bool)]) -> Vec<bool> {
        let mut taker = Taker::default();
        sights.iter().map(|&(accepts, waits)| taker.look(sight(accepts, waits))).collect()
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
        let (now, nobody) = (Tick::now(), Vec::<usize>::new());
        let mut vigil = Vigil::new(1);
        assert_eq!(vigil.next(), None);
        vigil.rouse(now);
        assert!(!vigil.is_due(now) && vigil.is_due(now + TICK));
        assert_eq!(vigil.look(&[sight(0, true)], now), nobody);
        assert_eq!(vigil.next(), Some(now + SECOND_LOOK));
        assert_eq!(vigil.look(&[sight(0, true)], now), [0]);
        assert_eq!(vigil.next(), Some(now + SECOND_LOOK), "they stand there as yet");
        assert_eq!(vigil.look(&[sight(0, false)], now), nobody);
        assert_eq!(vigil.next(), Some(now + TICK));
        vigil.give(0, now);
        assert_eq!(vigil.next(), Some(now + SECOND_LOOK));
        let later = now + REST;
        assert_eq!(vigil.look(&[sight(1, false)], later), nobody);
        assert!(!vigil.is_asleep(), "somebody has just come");
        let asks = Sight { asks: 1, ..sight(1, false) };
        assert_eq!(vigil.look(&[asks], later + REST), nobody);
        assert!(vigil.is_asleep(), "a taker that only asks wakes nobody");
    }

    #[test]
    fn one_who_comes_back_to_nobody_is_not_late_any_more() {
        let now = Tick::now();
        let mut vigil = Vigil::new(2);
        vigil.rouse(now);
        for _ in 0..2 {
            vigil.look(&[sight(3, true), sight(0, false)], now);
        }
        vigil.look(&[sight(3, false), sight(0, false)], now);
        assert!(!vigil.comes(0), "others had whom it let stand");
        vigil.look(&[Sight { asks: 1, ..sight(3, false) }, sight(0, false)], now);
        assert!(vigil.comes(0));
    }

    #[test]
    fn one_who_waits_for_somebody_is_tried_before_it_is_trusted() {
        let now = Tick::now();
        let eager = Sight { is_eager: true, ..sight(0, false) };
        let mut vigil = Vigil::new(1);
        vigil.rouse(now);
        vigil.look(&[eager], now);
        assert!(vigil.comes(0) && !vigil.is_tried(0));
        vigil.give(0, now);
        vigil.look(&[eager], now);
        assert!(vigil.comes(0) && vigil.is_tried(0), "it has taken them");
        vigil.look(&[sight(0, true)], now);
        assert!(!vigil.comes(0) && !vigil.is_tried(0), "it does not take the next");
    }
}
