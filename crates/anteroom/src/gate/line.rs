//! Whoever stands in the room of one lane, for a guard that looks whether its taker comes for them.
//!
//! Owns nothing. Whoever is moved out belongs to the caller, who lets them in elsewhere in the same turn.

use std::time::Instant;

use super::door::Asleep;
use super::{Gate, Parked};

/// Those who stand in one place, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// How often somebody has come for them.
    pub(crate) turns: u64,
    pub(crate) somebody_waits: bool,
}

impl Gate {
    /// Whoever can be taken from `lane`. Nobody waits for a taker that waits for its service.
    pub(crate) fn line(&self, lane: usize, now: Instant) -> Line {
        let (state, inside) = self.lock(lane);
        let Some(door) = state.doors.get(inside) else { return Line::default() };
        let somebody_waits = state.room.can_take(inside, now) && !door.sleeps_on(Asleep::Service);
        Line { turns: door.turns(), somebody_waits }
    }

    /// How many may be moved into `lane`: where somebody waits, nobody.
    pub(crate) fn space(&self, lane: usize) -> usize {
        let (state, inside) = self.lock(lane);
        if state.room.waiting_in(inside) > 0 { 0 } else { state.room.free_to_wait(inside) }
    }

    /// Takes up to `most` of those who wait out of `lane`, the oldest first.
    pub(crate) fn move_out(&self, lane: usize, most: usize, now: Instant) -> Vec<Parked> {
        let moved: Vec<_> = {
            let (mut state, inside) = self.lock(lane);
            std::iter::from_fn(|| state.room.move_out(inside, now)).take(most).collect()
        };
        for parked in &moved {
            // Most are not in the set.
            let _unwatched = self.poller.unwatch_peer(&parked.stream);
        }
        moved
    }
}
