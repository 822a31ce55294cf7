//! The acceptor as the guard of takers that accept for themselves: it sleeps while they do, and accepts for those who
//! do not come.
//!
//! Owns who is told when a listener has something. Never takes a listener from a taker that comes.

use std::sync::Arc;
use std::time::Instant;

use super::acceptor::Acceptor;
use super::desk::Met;
use super::threshold::Threshold;
use crate::gate::Summons;
use crate::observe::{Accepting, Phase};

/// So many looks in a row at which nobody else could be given anybody: then their own lane keeps them.
const IN_VAIN: u32 = 3;

/// Batches for one who is late before others have their turn, or people moved to another at once.
const AT_ONCE: usize = 16;

/// Who is told when a listener has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nobody,
    Acceptor,
    /// The acceptor looks now and then whether the taker comes.
    Taker,
    /// Nobody has come for a while: the acceptor is told too, and looks from then on.
    Both,
}

impl Told {
    fn is_takers(self) -> bool {
        matches!(self, Self::Taker | Self::Both)
    }

    fn is_acceptors(self) -> bool {
        matches!(self, Self::Acceptor | Self::Both)
    }
}

impl Acceptor {
    pub(super) fn is_takers(&self, index: usize) -> bool {
        self.posts.get(index).is_some_and(|post| post.told.is_takers())
    }

    /// When to look at the takers next. `None`: nobody is to be looked at, or the next newcomer tells.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.vigil.next().filter(|_| self.posts.iter().any(|post| post.told.is_takers()))
    }

    /// Looks whether takers come, and accepts where they do not.
    pub(super) fn keep_vigil(&mut self, now: Instant) {
        if self.vigil.is_due(now) {
            let waiting: Vec<_> = self.desks.iter().map(|desk| desk.waiting(&mut self.glances)).collect();
            let desks = self.desks.iter().zip(&waiting);
            let sights: Vec<_> = desks.map(|(desk, waiting)| desk.sight(waiting, now)).collect();
            let late = self.vigil.look(&sights, now);
            for desk in late.rooms {
                self.move_over(desk, now);
            }
            for (desk, listeners) in
                late.queues.into_iter().filter_map(|desk| Some((desk, waiting.get(desk)?)))
            {
                for &index in listeners {
                    self.stand_in(desk, index, now);
                }
            }
        }
        // Before the room is looked at: who is let in from here on tells, who was before is seen.
        let armed = self.vigil.is_asleep();
        self.desks.iter().for_each(|desk| desk.arm(armed));
        // It may have fallen asleep, or been roused in this turn.
        (0..self.posts.len()).for_each(|index| self.arrange(index));
    }

    /// Empties the queue of a listener whose taker is late: for the takers of the same kind that come, a batch for
    /// each, or, where none does, into the room of its own lane.
    fn stand_in(&mut self, desk: usize, index: usize, now: Instant) {
        if !self.office.is_filter_free() {
            return;
        }
        let eager = self.eager_kin(desk, index);
        let is_alone = self.desks.get(desk).is_none_or(|desk| desk.is_alone());
        if let Some(looks) = self.in_vain.get_mut(desk) {
            *looks = if eager.is_empty() { *looks + 1 } else { 0 };
            if !is_alone && eager.is_empty() && *looks < IN_VAIN {
                return;
            }
        }
        if eager.is_empty() {
            for _ in 0..AT_ONCE {
                if !self.is_takers(index) || self.accept_batch(index, now) {
                    return;
                }
            }
        }
        for lane in eager {
            // The first shows whether it comes, which is not to be seen of one before whom nobody stands.
            let comes = self.has_come.get_mut(lane).is_some_and(|has_come| std::mem::replace(has_come, true));
            self.stood_in = lane;
            let most = if comes { usize::MAX } else { 1 };
            if !self.is_takers(index) || self.accept_batch_into(lane, index, most, now) {
                return;
            }
        }
    }

    /// Whoever stands in the room of a taker that does not come goes over to one that does: a stuck shard had been
    /// given them before it was known to be stuck, or had accepted them itself.
    fn move_over(&mut self, desk: usize, now: Instant) {
        if self.core.life.phase() >= Phase::Draining {
            return;
        }
        let core = Arc::clone(&self.core);
        let Some(index) = core.gate.ports().iter().position(|port| port.lane == desk) else { return };
        let threshold = Threshold::of(&core.gate, None, now);
        for lane in self.eager_kin(desk, index) {
            let has_come = self.has_come.get(lane).is_some_and(|has_come| *has_come);
            let most = core.gate.space(lane).min(if has_come { AT_ONCE } else { 1 });
            let moved = core.gate.move_out(desk, most, now).into_iter();
            let mut newcomers = moved.filter_map(|parked| threshold.look_again(parked)).collect();
            core.gate.admit(lane, &mut newcomers, Summons::Taker, now);
        }
        core.gate.tell_room();
    }

    /// Those who serve the same address, and have just come for others, or have taken everybody whom they were given and
    /// wait for more; they take turns.
    fn eager_kin(&mut self, desk: usize, index: usize) -> Vec<usize> {
        let core = Arc::clone(&self.core);
        let (Some(kin), Some(port)) =
            (self.desks.get(desk).map(|desk| desk.kin()), core.gate.ports().get(index))
        else {
            return Vec::new();
        };
        let is_same = |lane| {
            let mut of_lane = core.gate.ports().iter().filter(move |other| other.lane == lane);
            of_lane.any(|other| other.address == port.address)
        };
        let mut eager = Vec::new();
        for lane in kin.filter(|&lane| lane != desk) {
            let is_served = self.desks.get(lane).is_some_and(|desk| desk.is_attended());
            let comes = self.vigil.has_come(lane);
            let may_come = is_served && !self.vigil.is_late(lane) && is_same(lane);
            if may_come && (comes || core.gate.is_eager(lane)) {
                eager.push(lane);
            }
            if let Some(has_come) = self.has_come.get_mut(lane) {
                *has_come = comes || (*has_come && eager.last() == Some(&lane));
            }
        }
        let first = eager.iter().position(|&lane| lane > self.stood_in).unwrap_or(0);
        eager.rotate_left(first);
        eager
    }

    /// Takes up what takers met.
    pub(super) fn hear_takers(&mut self) {
        for number in 0..self.desks.len() {
            let Some(desk) = self.desks.get(number).filter(|desk| desk.set().is_some()) else { continue };
            let Some((met, has_accepted)) = desk.try_lock().map(|mut counter| counter.met()) else {
                continue;
            };
            for (index, met) in met {
                if let Some(post) = self.posts.get_mut(index).filter(|_| has_accepted) {
                    post.trouble.is_over();
                }
                match met {
                    Met::Error(error) => self.meet(index, error),
                    Met::NoRoom => self.hold_back(index),
                }
                self.let_taker_on(index);
            }
        }
    }

    /// A taker has stopped by itself, and nothing speaks against its going on.
    fn let_taker_on(&mut self, index: usize) {
        let core = Arc::clone(&self.core);
        let listener = core.gate.ports().get(index).and_then(|port| port.listener());
        let (Some(desk), Some(listener), true) = (self.desk_of(index), listener, self.is_takers(index))
        else {
            return;
        };
        desk.lock().open(index);
        // Whoever stands in the queue is told of once more.
        let told = desk.set().map_or(Ok(()), |set| set.resume_listener(&listener, index as u64));
        drop(listener);
        if let Err(error) = told {
            self.broken(index, error);
        }
    }

    /// Tells the two sets who is to look at this listener.
    pub(super) fn arrange(&mut self, index: usize) {
        let (core, desk) = (Arc::clone(&self.core), self.desk_of(index));
        let (Some(desk), Some(port), Some(post)) =
            (desk, core.gate.ports().get(index), self.posts.get_mut(index))
        else {
            return;
        };
        let is_open = post.accepting == Accepting::Yes && !post.closed;
        let by_taker = desk.is_attended() && core.life.phase() < Phase::Draining;
        let now = match (is_open, by_taker) {
            (false, _) => Told::Nobody,
            (true, false) => Told::Acceptor,
            (true, true) if self.vigil.is_asleep() => Told::Both,
            (true, true) => Told::Taker,
        };
        let before = std::mem::replace(&mut post.told, now);
        if now == before {
            return;
        }
        let Some(listener) = port.listener() else { return };
        match (before.is_takers(), now.is_takers()) {
            (true, false) => desk.lock().close(index),
            (false, true) => desk.lock().open(index),
            _ => {}
        }
        let taker = (desk.set(), before.is_takers(), now.is_takers());
        let acceptor = (Some(core.gate.poller()), before.is_acceptors(), now.is_acceptors());
        let mut switched = Ok(());
        for (set, was_told, is_told) in [taker, acceptor] {
            let Some(set) = set.filter(|_| was_told != is_told) else { continue };
            switched = switched.and(match is_told {
                true => set.resume_listener(&listener, index as u64),
                false => set.pause_listener(&listener, index as u64),
            });
        }
        drop(listener);
        if let Err(error) = switched {
            self.broken(index, error);
        }
    }
}
