//! Whoever stands before one taker, for a guard that looks whether it comes for them.
//!
//! Owns nothing. Whoever is moved out belongs to the caller, who lets them in elsewhere in the same turn.

use super::door::Asleep;
use super::{Gate, Parked};
use crate::tick::Tick;

/// Those who stand in the room of one lane, and its taker, as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// How often the taker has asked for somebody.
    pub(crate) asks: u64,
    /// Somebody can be taken. Nobody waits for a taker that waits for its service.
    pub(crate) somebody_waits: bool,
    /// The taker has taken everybody, and sleeps until somebody comes.
    pub(crate) is_eager: bool,
}

/// What a lane can have of others' people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    /// So many, for whom places stand ready.
    pub(crate) most: usize,
    pub(crate) nobody_waits: bool,
}

impl Gate {
    pub(crate) fn line(&self, lane: usize, now: Tick) -> Line {
        let (state, inside) = self.lock(lane);
        let Some(door) = state.doors.get(inside) else { return Line::default() };
        let is_empty = state.room.waiting_in(inside) == 0;
        Line {
            asks: door.asks(),
            somebody_waits: state.room.can_take(inside, now) && !door.sleeps_on(Asleep::Service),
            is_eager: is_empty && door.sleeps_on(Asleep::Arrival),
        }
    }

    /// Where no more arrivals are expected, nobody is let in.
    pub(crate) fn opening(&self, lane: usize, now: Tick) -> Opening {
        let (state, inside) = self.lock(lane);
        if state.doors.get(inside).is_none_or(|door| door.is_closed()) {
            return Opening::default();
        }
        let room = &state.room;
        Opening { most: room.ready(inside, now), nobody_waits: room.waiting_in(inside) == 0 }
    }

    /// Wakes the taker of `lane`, though nobody may be left for it when it comes: that it comes is to be seen.
    pub(crate) fn summon(&self, lane: usize) {
        let taker = {
            let (mut state, inside) = self.lock(lane);
            state.doors.get_mut(inside).and_then(|door| door.wake_from(Asleep::Arrival))
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Takes up to `most` of those who wait out of `lane`, the oldest first. Those who wait for its service, or for
    /// their source to have less, stay.
    pub(crate) fn move_out(&self, lane: usize, most: usize, now: Tick) -> Vec<Parked> {
        let moved: Vec<_> = {
            let (mut state, inside) = self.lock(lane);
            if state.doors.get(inside).is_none_or(|door| door.sleeps_on(Asleep::Service)) {
                return Vec::new();
            }
            std::iter::from_fn(|| state.room.move_out(inside, now)).take(most).collect()
        };
        for parked in &moved {
            // Most are not in the set.
            let _unwatched = self.poller.unwatch_peer(&parked.stream);
        }
        moved
    }
}
