//! The acceptor's side of the gate: arrivals, deadlines, hang-ups of the waiting, waking.
//!
//! Owns nothing of its own. Ends connections only by the verdict of `admit`, and always outside the
//! lock.

use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use anteroom_listener::{HungUp, PeerState};

use super::door::{Asleep, Door};
use super::register::OPEN_BIT;
use super::{AT_ONCE, Gate, Newcomer, Parked, State, WATCH_AFTER};
use crate::admit::{Admission, Arrival, Cause, Death, Judgement, Room, Stage, Token};
use crate::config::Refusal;
use crate::observe::Note;

/// How long one that was handed out may stay unread before it is taken for silent.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl Gate {
    /// Lets a batch of one lane in and wakes whoever takes there. Empties `newcomers`.
    pub(crate) fn admit(&self, lane: usize, newcomers: &mut Vec<Newcomer>, now: Instant) {
        let mut refused = Vec::new();
        let mut waker = None;
        {
            let mut state = self.lock();
            let abandoned = state.doors.get(lane).is_none_or(Door::is_abandoned);
            for Newcomer { parked, patience } in newcomers.drain(..) {
                if abandoned {
                    refused.push((parked, Cause::Closed));
                    continue;
                }
                match state.room.arrive(Arrival { lane, age: parked.age, patience, item: parked }, now) {
                    Admission::Waits => {}
                    Admission::WaitsInsteadOf(parked, cause) | Admission::Refused(parked, cause) => {
                        refused.push((parked, cause));
                    }
                }
            }
            let State { room, doors, .. } = &mut *state;
            if let Some(door) = doors.get_mut(lane) {
                match room.can_take(lane) {
                    true => waker = door.wake_from(Asleep::Arrival),
                    false if room.waiting_in(lane) > 0 => door.wait_for_place(),
                    false => {}
                }
            }
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        for (parked, cause) in refused {
            self.refuse(parked, cause, now);
        }
    }

    /// Everything that time brings: refuses who is overdue, watches who has begun to wait, and says
    /// when to come again.
    pub(crate) fn tend(&self, now: Instant) -> Option<Instant> {
        let mut overdue = Vec::new();
        loop {
            let mut state = self.lock();
            while overdue.len() < AT_ONCE {
                match state.room.overdue(now) {
                    Some(one) => overdue.push(one),
                    None => break,
                }
            }
            let full = overdue.len() >= AT_ONCE || self.watch_some(&mut state.room, now) >= AT_ONCE;
            let due = state.room.next_due();
            let watch = state.room.oldest_unwatched().map(|accepted| accepted + WATCH_AFTER);
            drop(state);
            for (parked, cause) in overdue.drain(..) {
                self.refuse(parked, cause, now);
            }
            if !full {
                return [due, watch].into_iter().flatten().min();
            }
        }
    }

    fn watch_some(&self, room: &mut Room<Parked>, now: Instant) -> usize {
        let Some(accepted_by) = now.checked_sub(WATCH_AFTER) else { return 0 };
        let mut watched = 0;
        while watched < AT_ONCE {
            let Some((token, parked)) = room.next_to_watch(accepted_by) else { break };
            // Where it cannot be watched, it is looked at when it is taken.
            let _unwatched = self.poller.watch_peer(&parked.stream, token.to_bits());
            watched += 1;
        }
        watched
    }

    /// The epoll set says that a peer has hung up.
    pub(crate) fn peer_hung_up(&self, token: u64, how: HungUp, now: Instant) {
        let key = Token::from_bits(token);
        if token & OPEN_BIT != 0 {
            self.open_peer_gone(key, how);
        } else {
            self.waiting_peer_gone(key, now);
        }
    }

    fn waiting_peer_gone(&self, token: Token, now: Instant) {
        let mut state = self.lock();
        let Some(parked) = state.room.waiting(token) else { return };
        let verdict = self.look(parked, now);
        if let Judgement::ServeUntil(patience) = verdict {
            state.room.lose_patience(token, patience);
        }
        if verdict.serves() {
            return;
        }
        let gone = state.room.leave(token);
        drop(state);
        if let Some(parked) = gone {
            self.end(parked, verdict, Stage::Room, now);
        }
    }

    /// Looks at the peer and judges.
    pub(super) fn look(&self, parked: &Parked, now: Instant) -> Judgement {
        // A look that the kernel refuses (it has no memory for it) tells nothing of the peer.
        let state = parked.stream.peer_state().unwrap_or(PeerState::Open);
        self.judge.judge(&parked.peer, state, parked.age.since_handshake(now))
    }

    /// Ends a connection that was judged not to be served.
    pub(crate) fn end(&self, parked: Parked, verdict: Judgement, stage: Stage, now: Instant) {
        match verdict {
            Judgement::Dead(death) => self.bury(parked, death, stage, now),
            Judgement::Refuse(cause) => self.refuse(parked, cause, now),
            Judgement::Serve | Judgement::ServeUntil(_) => {
                debug_assert!(false, "judged to be served, and ended");
                self.refuse(parked, Cause::Closed, now);
            }
        }
    }

    /// The connection's peer has gone: counted, closed, noted.
    fn bury(&self, parked: Parked, death: Death, stage: Stage, now: Instant) {
        let Parked { port: listener, peer, stream, age, .. } = parked;
        if let Some(port) = self.ports.get(listener) {
            port.ledger.dead(stage, death);
        }
        drop(stream);
        self.notes.leave_detail(Note::Dead { listener, stage, death, peer, age: age.since_handshake(now) });
    }

    /// The connection is refused: counted, reset or closed, noted.
    pub(crate) fn refuse(&self, parked: Parked, cause: Cause, now: Instant) {
        self.count_refused(&parked, cause);
        self.turn_out(parked, cause, now);
    }

    /// The first half of refusing, for takers: under the lock under which it left the room, so that
    /// the acceptor finds it counted when it finds nobody left.
    pub(super) fn count_refused(&self, parked: &Parked, cause: Cause) {
        if let Some(port) = self.ports.get(parked.port) {
            port.ledger.refused(cause);
        }
    }

    /// The second half, outside the lock.
    pub(super) fn turn_out(&self, parked: Parked, cause: Cause, now: Instant) {
        let Parked { port: listener, peer, stream, age, .. } = parked;
        match self.refusal {
            Refusal::Reset => stream.reset(),
            Refusal::Close => drop(stream),
        }
        self.notes.leave_detail(Note::Refused { listener, cause, peer, age: age.since_handshake(now) });
    }

    /// Wakes the takers that were called from inside the runtime, and those for whom a place has
    /// become free: the acceptor does so from outside, because a worker that wakes a task and then
    /// blocks keeps that task to itself.
    pub(crate) fn relay(&self) {
        let wakers: Vec<Waker> = {
            let mut state = self.lock();
            let State { room, doors, .. } = &mut *state;
            let place = |lane| room.can_take(lane);
            doors
                .iter_mut()
                .enumerate()
                .filter_map(|(lane, door)| {
                    door.answer().or_else(|| place(lane).then(|| door.wake_from(Asleep::Place)).flatten())
                })
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// No more arrivals: takers see the end when they have taken everybody.
    pub(crate) fn close_doors(&self) {
        let wakers: Vec<Waker> = self.lock().doors.iter_mut().filter_map(Door::close).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether every lane has handed out all that will ever come.
    pub(crate) fn is_exhausted(&self) -> bool {
        let state = self.lock();
        let mut doors = state.doors.iter().enumerate();
        doors.all(|(lane, door)| door.is_closed() && state.room.waiting_in(lane) == 0)
    }

    /// Whether a connection was handed out by an `Incoming` a moment ago and nobody has read from
    /// it: its request may be there, and its taker may close it unread when it is told to stop.
    pub(crate) fn is_anybody_unheard(&self, now: Instant) -> bool {
        let lately: Result<Vec<_>, _> = {
            let mut state = self.lock();
            let lately = state.open.iter_mut().filter(|(_, open)| now < open.since + HEARD_WITHIN);
            lately.map(|(_, open)| open.to_be_heard()).collect()
        };
        match lately {
            Ok(lately) => lately.into_iter().flatten().any(|wire| !wire.is_heard()),
            Err(_) => true,
        }
    }

    /// Whether nobody takes from `lane` any more. Asked in every turn, so it costs no lock as long as
    /// every lane has its taker.
    pub(crate) fn is_abandoned(&self, lane: usize) -> bool {
        self.abandoned.load(Ordering::Acquire) && self.lock().doors.get(lane).is_none_or(Door::is_abandoned)
    }

    /// Whether nothing waits, is open or runs.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.room.len() == 0 && state.room.open() == 0 && state.running == 0
    }

    /// From now on the acceptor is woken when somebody leaves.
    pub(crate) fn expect_the_end(&self) {
        self.ending.store(true, Ordering::Release);
    }
}
