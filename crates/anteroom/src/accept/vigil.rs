//! Whether takers that accept for themselves do so in time.
//!
//! Owns how often to look, and what was seen at the last look. Never accepts, nor moves anybody: it names the desks
//! whose takers leave somebody standing. While nobody comes at all it sleeps, and the first newcomer wakes it.

use std::time::{Duration, Instant};

use crate::gate::Line;

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
    queue: Diligence,
    room: Diligence,
}

/// Whether a taker comes for those who stand in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Diligence {
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

impl Diligence {
    /// Whether it leaves somebody standing.
    fn look(&mut self, Line { turns, somebody_waits }: Line) -> bool {
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
    /// In the kernel.
    pub(super) queue: Line,
    /// In the waiting room. Nobody waits there where nobody else could be given them.
    pub(super) room: Line,
}

/// The desks that leave somebody standing, by their number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) queues: Vec<usize>,
    pub(super) rooms: Vec<usize>,
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
        self.takers.get(desk).is_some_and(|Taker { queue, room }| {
            queue.conduct == Conduct::Late || room.conduct == Conduct::Late
        })
    }

    /// Whether the taker of this desk came between the last two looks.
    pub(super) fn has_come(&self, desk: usize) -> bool {
        self.takers.get(desk).is_some_and(|taker| taker.queue.has_come)
    }

    /// The first newcomer after a rest.
    pub(super) fn rouse(&mut self, now: Instant) {
        if self.is_asleep() {
            self.state = State::Awake { next: now + TICK, moved: now };
        }
    }

    /// A look at every desk, in their order.
    pub(super) fn look(&mut self, sights: &[Sight], now: Instant) -> Late {
        let mut late = Late::default();
        let State::Awake { moved, .. } = &mut self.state else { return late };
        let mut pause = TICK;
        for (desk, (taker, sight)) in self.takers.iter_mut().zip(sights).enumerate() {
            let queue = (&mut taker.queue, sight.queue, &mut late.queues);
            let room = (&mut taker.room, sight.room, &mut late.rooms);
            for (diligence, line, late) in [queue, room] {
                if diligence.turns != line.turns || line.somebody_waits {
                    *moved = now;
                }
                if diligence.look(line) {
                    late.push(desk);
                }
                if diligence.conduct != Conduct::Prompt && line.somebody_waits {
                    pause = SECOND_LOOK;
                }
            }
        }
        self.state = match *moved {
            moved if now.saturating_duration_since(moved) >= REST => State::Asleep,
            moved => State::Awake { next: now + pause, moved },
        };
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it was late at each of the looks.
    fn looks(lines: &[(u64, bool)]) -> Vec<bool> {
        let mut diligence = Diligence::default();
        let line = |&(turns, somebody_waits)| Line { turns, somebody_waits };
        lines.iter().map(|seen| diligence.look(line(seen))).collect()
    }

    fn queue(turns: u64, somebody_waits: bool) -> [Sight; 1] {
        [Sight { queue: Line { turns, somebody_waits }, room: Line::default() }]
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
        let (nobody, first) = (Late::default(), Late { queues: vec![0], rooms: Vec::new() });
        assert_eq!(vigil.next(), None);
        vigil.rouse(now);
        assert!(!vigil.is_due(now) && vigil.is_due(now + TICK));
        assert_eq!(vigil.look(&queue(0, true), now), nobody);
        assert_eq!(vigil.next(), Some(now + SECOND_LOOK));
        assert_eq!(vigil.look(&queue(0, true), now), first);
        assert_eq!(vigil.next(), Some(now + SECOND_LOOK));
        let later = now + REST;
        assert_eq!(vigil.look(&queue(1, false), later), nobody);
        assert!(!vigil.is_asleep(), "somebody has just come");
        assert_eq!(vigil.look(&queue(1, false), later + REST), nobody);
        assert!(vigil.is_asleep());
    }

    #[test]
    fn one_who_lets_somebody_stand_in_the_room_is_late_though_nobody_stands_in_the_queue() {
        let now = Instant::now();
        let mut vigil = Vigil::new(1);
        vigil.rouse(now);
        let room = |turns| [Sight { queue: Line::default(), room: Line { turns, somebody_waits: true } }];
        assert_eq!(vigil.look(&room(3), now), Late::default());
        assert_eq!(vigil.look(&room(3), now), Late::default());
        assert_eq!(vigil.look(&room(3), now), Late { queues: Vec::new(), rooms: vec![0] });
        assert!(vigil.is_late(0) && !vigil.has_come(0));
        assert_eq!(vigil.look(&room(4), now), Late::default(), "it has taken somebody");
        assert!(!vigil.is_late(0));
    }
}
