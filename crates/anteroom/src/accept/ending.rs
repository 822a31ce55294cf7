//! How an acceptor ends: newcomers fenced off, the queues emptied until they are quiet, the listeners
//! closed, the last connections waited for, cut, or written off.
//!
//! Owns the steps of a drain. Never decides that there is one.

use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::{Fence, Handshakes, Queue};

use super::acceptor::{Acceptor, Next, earliest};
use crate::gate::Port;
use crate::observe::{Note, Phase};
use crate::tick::Tick;

/// How long those that were cut at the deadline have to end.
const GRACE: Duration = Duration::from_millis(250);

/// A read wakes nobody here: how often to look whether the last who were handed out have been read
/// from.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A handover that ends wakes the acceptor; until then it looks now and then.
const UNDECIDED: Duration = Duration::from_secs(1);

/// Between two questions for handshakes that are under way: at first, and at most. Each costs a walk over
/// the host's connections.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How far one listener has come towards its close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    NotYet,
    /// Nobody new comes in. It is closed when its queue is empty and no handshake is under way.
    Fenced {
        since: Tick,
        /// When to ask again for handshakes, and how long after that.
        ask: Tick,
        pause: Duration,
    },
    /// Newcomers never stop: so many more are accepted before it is closed all the same.
    Open {
        left: usize,
    },
}

impl Leaving {
    pub(super) fn accepted(&mut self, connections: usize) {
        if let Self::Open { left } = self {
            *left = left.saturating_sub(connections);
        }
    }
}

/// How far a drain has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    NotYet,
    /// The listeners are closed.
    Closed,
    /// What was still open has been cut, and is written off at this time.
    Cut(Tick),
}

impl Acceptor {
    /// Carries a drain on. `None` while there is none.
    pub(super) fn drain(&mut self, now: Tick) -> Option<Next> {
        self.close_abandoned();
        if self.core.life.phase() < Phase::Draining {
            if self.posts.iter().any(|post| !post.closed) {
                return None;
            }
            self.core.wind_down();
        }
        self.core.gate.expect_the_end();
        if self.ending == Ending::NotYet {
            if let Some(again) = self.empty_queues(now) {
                return Some(Next::Sleep(Some(again)));
            }
            let deadline = self.core.life.deadline();
            // Who was given to a successor may come back, and is to find its taker.
            let may_come_back = self.core.gate.is_passage_open() || !self.core.gate.is_nobody_abroad();
            if may_come_back && deadline.is_none_or(|deadline| deadline > now) {
                return Some(Next::Sleep(deadline));
            }
            // Who stands before a taker that does not come may go over to another while it is there.
            let look = self.next_look().filter(|_| self.is_anybody_to_move(now));
            if look.is_some() && deadline.is_none_or(|deadline| deadline > now) {
                return Some(Next::Sleep(earliest([look, deadline])));
            }
            self.core.gate.close_doors();
            self.ending = Ending::Closed;
        }
        let unheard = self.exhaust(now);
        if self.core.gate.is_idle() {
            self.finish();
            return Some(Next::Over);
        }
        match self.meet_deadline(now) {
            Some(Next::Sleep(end)) => Some(Next::Sleep(earliest([end, unheard]))),
            over => over,
        }
    }

    /// Tells the takers' loops to stop once everybody has been handed out and read from. `Some`: when
    /// to look again whether the last have been read from.
    fn exhaust(&self, now: Tick) -> Option<Tick> {
        let core = &self.core;
        if core.life.exhausted.is_cancelled() || !core.gate.is_exhausted() {
            return None;
        }
        if core.gate.is_anybody_unheard(now) {
            return Some(now + LOOK_AGAIN_AFTER);
        }
        core.life.exhausted.cancel();
        None
    }

    fn meet_deadline(&mut self, now: Tick) -> Option<Next> {
        let deadline = self.core.life.deadline();
        match self.ending {
            Ending::Cut(until) if until <= now || self.core.life.is_hurried() => {
                self.core.gate.write_off();
                self.finish();
                Some(Next::Over)
            }
            Ending::Cut(until) => Some(Next::Sleep(Some(until))),
            _ if deadline.is_some_and(|deadline| deadline <= now) => {
                self.core.gate.abandon_all();
                self.core.gate.cut();
                self.ending = Ending::Cut(now + GRACE);
                Some(Next::Sleep(Some(now + GRACE)))
            }
            _ => Some(Next::Sleep(deadline)),
        }
    }

    /// A lame duck begins its drain when its time is over. Says when that is.
    pub(super) fn lame_duck(&self, now: Tick) -> Option<Tick> {
        if self.core.life.phase() != Phase::LameDuck {
            return None;
        }
        let until = self.core.life.lame_duck_until()?;
        if until <= now {
            self.core.drain(self.config.drain_within);
        }
        Some(until)
    }

    /// Empties each queue, and closes each listener that is quiet. Says when to come again, if any is
    /// still open.
    fn empty_queues(&mut self, now: Tick) -> Option<Tick> {
        let deadline = self.core.life.deadline();
        let mut again = None;
        for index in 0..self.posts.len() {
            if let Some(next) = self.leave(index, now, deadline) {
                again = earliest([again, Some(next), deadline]);
            }
        }
        again
    }

    /// One step of one listener towards its close. `Some`: it is still open, and this is when to come
    /// again.
    fn leave(&mut self, index: usize, now: Tick, deadline: Option<Tick>) -> Option<Tick> {
        let core = Arc::clone(&self.core);
        let port = core.gate.ports().get(index)?;
        let post = self.posts.get(index).filter(|post| !post.closed)?;
        if self.lives_on(port) {
            self.close(index);
            return None;
        }
        let overdue = deadline.is_some_and(|deadline| deadline <= now);
        if let Some(resumes) = post.resumes.filter(|_| !overdue) {
            return Some(resumes);
        }
        if core.life.is_exchanging() && !overdue {
            // A successor may take the socket, or give it back: only then it can be told whether to fence it.
            let is_empty = core.life.is_held() || self.empty(index, port, now);
            return Some(if is_empty { now + UNDECIDED } else { now });
        }
        if post.leaving == Leaving::NotYet {
            self.begin_to_leave(index, port, now);
        }
        if !self.empty(index, port, now) && !overdue {
            let leaving = self.posts.get(index)?.leaving;
            if leaving != (Leaving::Open { left: 0 }) {
                return Some(self.posts.get(index)?.resumes.unwrap_or(now));
            }
        } else if let Some(again) = self.not_quiet_before(index, port, now).filter(|_| !overdue) {
            return Some(again);
        }
        self.close(index);
        None
    }

    /// Whether another process accepts from the same socket, so that it is closed and not drained.
    fn lives_on(&self, port: &Port) -> bool {
        self.core.life.is_handed_over() && !port.is_left_behind()
    }

    /// Accepts a batch of what is queued; says whether that was all.
    fn empty(&mut self, index: usize, port: &Port, now: Tick) -> bool {
        // A listener whose depth is not told is empty when a batch finds it so.
        let is_empty = || port.listener().is_none_or(|listener| listener.depth() == Some(0));
        self.accept_batch(index, now) || is_empty()
    }

    /// Fences newcomers off where that can be done, and may: who shares the socket would lose them.
    fn begin_to_leave(&mut self, index: usize, port: &Port, now: Tick) {
        let fence = port.fence();
        let notes = self.core.gate.notes();
        let leaving = match fence {
            Ok(Fence::Set) => {
                notes.leave(Note::Fenced { listener: index });
                Leaving::Fenced { since: now, ask: now, pause: ASK_AGAIN.0 }
            }
            Err(error) => {
                notes.leave(Note::NotFenced { listener: index, error });
                Leaving::Open { left: most_in(port.queue()) }
            }
            Ok(_) => Leaving::Open { left: most_in(port.queue()) },
        };
        if let Some(post) = self.posts.get_mut(index) {
            post.leaving = leaving;
        }
    }

    /// Its queue was found empty: whether somebody may still come into it, and when to look again. A
    /// handshake that ends moves into the queue, so they are asked for first, and the queue is looked at
    /// once more.
    fn not_quiet_before(&mut self, index: usize, port: &Port, now: Tick) -> Option<Tick> {
        let post = self.posts.get_mut(index)?;
        let Leaving::Fenced { since, ask, pause } = &mut post.leaving else { return None };
        if *ask > now {
            return Some(*ask);
        }
        let listener = port.listener()?;
        let (within, round_trip) = (self.config.handshakes_within, self.config.round_trip);
        let (known, over) = match listener.handshakes() {
            Handshakes::UnderWay(0) => (0, now),
            Handshakes::AtLeast(0) => (0, *since + round_trip),
            Handshakes::UnderWay(known) | Handshakes::AtLeast(known) => {
                (known, *since + within + listener.deferral())
            }
            _ => (0, *since + round_trip + listener.deferral()),
        };
        if over <= now {
            if known == 0 {
                return if self.empty(index, port, now) { None } else { Some(now) };
            }
            let after = now.since(*since);
            self.core.gate.notes().leave(Note::NotQuiet { listener: index, after });
            return None;
        }
        *ask = over.min(now + *pause);
        *pause = (*pause * 2).min(ASK_AGAIN.1);
        Some(*ask)
    }

    /// Nobody takes from this lane any more: its listeners are closed, their queues with them.
    fn close_abandoned(&mut self) {
        let core = Arc::clone(&self.core);
        for (index, port) in core.gate.ports().iter().enumerate() {
            let open = self.posts.get(index).is_some_and(|post| !post.closed);
            if open && core.gate.is_abandoned(port.lane) {
                self.close(index);
            }
        }
    }

    pub(super) fn close(&mut self, index: usize) {
        let core = Arc::clone(&self.core);
        let desk = self.desk_of(index);
        let (Some(port), Some(post)) = (core.gate.ports().get(index), self.posts.get_mut(index)) else {
            return;
        };
        if !std::mem::replace(&mut post.closed, true) {
            if let Some(desk) = &desk {
                desk.close(index);
            }
            if let Some(listener) = port.listener() {
                // Somebody else may share the socket: it would stay in the set, and nobody could take
                // it out any more.
                let _not_in_it = core.gate.poller().remove_listener(&listener);
                if let Some(set) = desk.as_ref().and_then(|desk| desk.set()) {
                    let _not_in_it = set.remove_listener(&listener);
                }
            }
            port.close();
            core.gate.notes().leave(match self.lives_on(port) {
                true => Note::HandedOver { listener: index },
                false => Note::ListenerClosed { listener: index, fenced: port.fenced() },
            });
        }
    }

    pub(super) fn finish(&mut self) {
        self.over = true;
        self.core.gate.seal_passage(Tick::now());
        self.core.gate.end_farewells();
        self.core.gate.close_doors();
        self.core.gate.notes().leave(Note::Phase(Phase::Stopped));
        self.core.life.finish(self.core.report());
        self.core.gate.notes().wake();
    }
}

/// One whole queue: as deep as it may be, and a batch for those under way.
fn most_in(queue: Option<Queue>) -> usize {
    let limit = queue.and_then(|queue| queue.limit).unwrap_or(u32::from(u16::MAX));
    limit as usize + 1
}
