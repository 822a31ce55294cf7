//! The acceptor as the guard of takers that accept for themselves: it sleeps while they do, and accepts for those who
//! do not come.
//!
//! Owns who is told when a listener has something. Never takes a listener from a taker that comes.

use std::sync::Arc;

use super::acceptor::{Acceptor, Taken};
use super::desk::Met;
use super::threshold::Threshold;
use crate::admit::Stage;
use crate::gate::{Newcomer, Opening, Port, Summons};
use crate::observe::{Accepting, Phase};
use crate::tick::Tick;

/// So many looks in a row at which nobody else could be given those of a listener: then their own lane keeps them.
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

/// One who can be given what another leaves standing.
#[derive(Clone, Copy, Debug)]
struct Helper {
    lane: usize,
    /// So many at most.
    most: usize,
    nobody_waits: bool,
}

impl Acceptor {
    pub(super) fn is_takers(&self, index: usize) -> bool {
        self.posts.get(index).is_some_and(|post| post.told.is_takers())
    }

    /// When to look at the takers next. `None`: nobody is to be looked at, or the next newcomer tells.
    pub(super) fn next_look(&self) -> Option<Tick> {
        let accepts = self.posts.iter().any(|post| post.told.is_takers());
        // Where they do not accept, as in a drain, those in their rooms may still be given to others.
        let may_move = || self.desks.iter().any(|desk| desk.is_attended() && !desk.is_alone());
        self.vigil.next().filter(|_| accepts || may_move())
    }

    /// Looks whether takers come, and accepts where they do not.
    pub(super) fn keep_vigil(&mut self, now: Tick) {
        // No newcomer tells of one who has spoken, or whom a rate lets in.
        if self.vigil.is_asleep() && self.is_anybody_to_move(now) {
            self.vigil.rouse(now);
        }
        if self.vigil.is_due(now) {
            let waiting: Vec<_> = self.desks.iter().map(|desk| desk.waiting(&mut self.glances)).collect();
            let desks = self.desks.iter().zip(&waiting);
            let sights: Vec<_> = desks.map(|(desk, waiting)| desk.sight(waiting, now)).collect();
            let late = self.vigil.look(&sights, now);
            for (desk, listeners) in late.into_iter().filter_map(|desk| Some((desk, waiting.get(desk)?))) {
                self.help(desk, listeners, now);
            }
        }
        // Before the room is looked at: who is let in from here on tells, who was before is seen.
        let armed = self.vigil.is_asleep();
        self.desks.iter().for_each(|desk| desk.arm(armed));
        // It may have fallen asleep, or been roused in this turn.
        (0..self.posts.len()).for_each(|index| self.arrange(index));
    }

    /// Whether somebody can be taken and has not been yet, whom others could be given.
    pub(super) fn is_anybody_to_move(&self, now: Tick) -> bool {
        self.desks.iter().any(|desk| desk.line(now).somebody_waits)
    }

    /// A taker leaves people standing: whoever serves the same and comes is given them, those in its room first. Where
    /// nobody comes, its own lane keeps them.
    fn help(&mut self, desk: usize, listeners: &[usize], now: Tick) {
        self.core.gate.summon(desk);
        let is_alone = self.desks.get(desk).is_none_or(|desk| desk.is_alone());
        let mut helpers = self.helpers(desk, now);
        self.move_over(desk, &mut helpers, now);
        for &index in listeners {
            let is_in_vain = self.is_in_vain(index, &helpers);
            self.stand_in(desk, index, &mut helpers, now);
            for _ in 0..AT_ONCE {
                let keeps = (is_alone || is_in_vain) && self.is_takers(index);
                if !keeps || self.accept_batch(index, now) {
                    break;
                }
            }
        }
    }

    /// Whether nobody has been there lately who could be given those of a listener: nobody comes who serves its address.
    fn is_in_vain(&mut self, index: usize, helpers: &[Helper]) -> bool {
        let port = self.core.gate.ports().get(index).map(Arc::clone);
        let may = |helper: &Helper| port.as_ref().is_some_and(|port| self.serves(helper.lane, port));
        let is_anybody_there = helpers.iter().any(may);
        let Some(post) = self.posts.get_mut(index) else { return true };
        post.in_vain = if is_anybody_there { 0 } else { post.in_vain.saturating_add(1) };
        post.in_vain >= IN_VAIN
    }

    /// Those of its kind who come, and how many places they have ready. They take turns.
    fn helpers(&self, desk: usize, now: Tick) -> Vec<Helper> {
        let Some(kin) = self.desks.get(desk).map(|desk| desk.kin()) else { return Vec::new() };
        let is_attended = |lane: usize| self.desks.get(lane).is_some_and(|desk| desk.is_attended());
        let come = kin.filter(|&lane| lane != desk && is_attended(lane) && self.vigil.comes(lane));
        let helpers = come.map(|lane| {
            let Opening { most, nobody_waits } = self.core.gate.opening(lane, now);
            let most = if self.vigil.is_tried(lane) { most } else { most.min(1) };
            Helper { lane, most, nobody_waits }
        });
        let mut helpers: Vec<_> = helpers.filter(|helper| helper.most > 0).collect();
        let first = helpers.iter().position(|helper| helper.lane > self.stood_in).unwrap_or(0);
        helpers.rotate_left(first);
        helpers
    }

    fn gives(&mut self, helper: &mut Helper, connections: usize, now: Tick) {
        helper.most = helper.most.saturating_sub(connections);
        if connections > 0 {
            self.vigil.give(helper.lane, now);
            self.stood_in = helper.lane;
        }
    }

    /// Accepts from a listener whose taker is late, a batch for each who serves its address.
    fn stand_in(&mut self, desk: usize, index: usize, helpers: &mut [Helper], now: Tick) {
        let ports = self.core.gate.ports();
        let Some(port) = ports.get(index).filter(|port| port.lane == desk).map(Arc::clone) else { return };
        for helper in helpers.iter_mut().filter(|helper| helper.most > 0) {
            if !self.is_takers(index) || !self.serves(helper.lane, &port) {
                continue;
            }
            let Taken { accepted, is_all } = self.accept_batch_into(helper.lane, index, helper.most, now);
            self.gives(helper, accepted, now);
            if is_all {
                return;
            }
        }
    }

    /// Whoever stands in the room of a late taker goes over to others who serve all that it serves: it had been given
    /// them before it was known to be late, or had let them in itself.
    fn move_over(&mut self, desk: usize, helpers: &mut [Helper], now: Tick) {
        let core = Arc::clone(&self.core);
        let threshold = Threshold::of(&core.gate, None, now);
        for helper in helpers.iter_mut().filter(|helper| helper.nobody_waits) {
            let mut own = core.gate.ports().iter().filter(|port| port.lane == desk);
            if !own.all(|port| self.serves(helper.lane, port)) {
                continue;
            }
            let moved = core.gate.move_out(desk, helper.most.min(AT_ONCE), now);
            self.gives(helper, moved.len(), now);
            let newcomers = moved.into_iter().filter_map(|parked| threshold.look_again(parked, Stage::Room));
            // In the line where they stood nobody is silent.
            let mut newcomers = newcomers.map(Newcomer::who_spoke).collect();
            if let Some(taker) = core.gate.admit(helper.lane, &mut newcomers, Summons::Taker, now) {
                taker.wake();
            }
        }
        core.gate.tell_room();
    }

    /// Whether a lane has a listener at the address of this one.
    fn serves(&self, lane: usize, port: &Port) -> bool {
        let mut of_lane = self.core.gate.ports().iter().filter(|other| other.lane == lane);
        of_lane.any(|other| other.address == port.address)
    }

    /// Takes up what takers met.
    pub(super) fn hear_takers(&mut self) {
        for number in 0..self.desks.len() {
            let Some(desk) = self.desks.get(number).filter(|desk| desk.set().is_some()) else { continue };
            let Some(met) = desk.try_lock().map(|mut counter| counter.met()) else { continue };
            for (index, met, has_accepted) in met {
                if let Some(post) = self.posts.get_mut(index).filter(|_| has_accepted) {
                    post.trouble.is_over();
                }
                match met {
                    Met::Error(error) => self.meet(index, error),
                    Met::NoRoom => self.hold_back(index),
                    // It goes on, or is told in this turn that it does not.
                    Met::Halt => {}
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
        desk.open(index);
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
            (true, false) => desk.close(index),
            (false, true) => desk.open(index),
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
