//! Halls: what is behind one lock. All lanes share one, unless each is served by a core of its own.
//!
//! Owns the locks, and which lane is in which hall. Never holds two of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::door::Door;
use super::open::Open;
use super::{Gate, Parked};
use crate::admit::{Arena, LaneRules, MOST_ARENAS, Room, Rules, Token};
use crate::tick::Tick;

/// In a line of memory of its own: cores that look into different halls do not disturb one another.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Hall {
    state: Mutex<State>,
    /// Of the descriptors, what no other hall takes.
    set_aside: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) room: Room<Parked>,
    pub(super) doors: Vec<Door>,
    pub(super) open: Arena<Open>,
    /// Tasks that have not ended.
    pub(super) running: usize,
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many halls for these lanes, which are dealt out in turn.
    pub(super) fn build(halls: usize, lanes: &[LaneRules], rules: &Rules, seed: u64) -> Box<[Self]> {
        let halls = halls.clamp(1, lanes.len().clamp(1, MOST_ARENAS));
        let build = |number| {
            let (all, lanes) = (lanes, lanes.iter().skip(number).step_by(halls).copied().collect::<Vec<_>>());
            let set_aside = aside(&lanes);
            let rules = part(rules.clone(), halls, set_aside, aside(all));
            let room = Room::numbered(
                number,
                &lanes,
                all.len(),
                rules,
                Tick::now(),
                seed.wrapping_add(number as u64),
            );
            let doors = lanes.iter().map(|_| Door::default()).collect();
            let state = Mutex::new(State { room, doors, open: Arena::numbered(number), running: 0 });
            Self { state, set_aside }
        };
        (0..halls).map(build).collect()
    }
}

/// What lanes have set aside.
fn aside(lanes: &[LaneRules]) -> usize {
    lanes.iter().filter_map(|lane| lane.set_aside).fold(0, usize::saturating_add)
}

/// The descriptors are dealt out too: each hall has what was set aside in it, and an equal part of the rest.
fn part(mut rules: Rules, halls: usize, own: usize, all: usize) -> Rules {
    let deal = |sockets: usize| match sockets.checked_sub(all) {
        Some(rest) => own + rest / halls,
        // More is set aside than there is: it is had in proportion.
        None => usize::try_from(own as u128 * sockets as u128 / all as u128).unwrap_or(sockets),
    };
    rules.descriptors = rules.descriptors.map(|sockets| deal(sockets).max(1));
    rules
}

impl Gate {
    /// The hall of a lane, and which of its lanes that is.
    pub(super) fn lock(&self, lane: usize) -> (MutexGuard<'_, State>, usize) {
        let halls = self.halls.len();
        (self.hall(lane % halls), lane / halls)
    }

    /// The hall in which a token names something.
    pub(super) fn lock_of(&self, token: Token) -> MutexGuard<'_, State> {
        self.hall(token.arena())
    }

    /// One hall after another.
    pub(super) fn each_hall(&self) -> impl Iterator<Item = (Which, MutexGuard<'_, State>)> {
        let halls = self.halls.len();
        self.halls.iter().enumerate().map(move |(number, hall)| (Which { number, halls }, hall.lock()))
    }

    /// These rules, as far as they are of this hall.
    pub(super) fn rules_of(&self, which: Which, rules: &Rules) -> Rules {
        let all = self.halls.iter().map(|hall| hall.set_aside).fold(0, usize::saturating_add);
        let own = self.halls.get(which.number).map_or(0, |hall| hall.set_aside);
        part(rules.clone(), self.halls.len(), own, all)
    }

    /// A number that no hall has comes from nowhere: a token of another server would find nothing in the first.
    #[expect(clippy::indexing_slicing, reason = "there is always a first")]
    fn hall(&self, number: usize) -> MutexGuard<'_, State> {
        self.halls.get(number).unwrap_or(&self.halls[0]).lock()
    }
}

/// Which hall it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    number: usize,
    halls: usize,
}

impl Which {
    /// The number that a lane of this hall has among all.
    pub(super) fn lane(self, inside: usize) -> usize {
        inside * self.halls + self.number
    }
}
