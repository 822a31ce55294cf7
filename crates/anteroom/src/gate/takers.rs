//! The takers' side of the gate: dispatchers and [`Incoming`](crate::Incoming).
//!
//! Owns nothing of its own. A place and the connection it was taken for leave the room in one step.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::door::{Asleep, Door, Doorstep};
use super::open::{Open, Whose};
use super::{AT_ONCE, CountedBy, Gate, HandOver, State};
use crate::admit::{Cause, Stage, Take, Turn};
use crate::observe::record_nanos;
use crate::tick::Tick;

/// One that has waited longer than this is looked at once more when it is taken.
pub(crate) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

impl Gate {
    /// Ready when somebody can be taken from `lane`, or when its end has come.
    ///
    /// A taker that does nothing but take says when its turn on the runtime came: how long that took since it
    /// was woken is a sample of the runtime's delay.
    pub(crate) fn poll_someone(
        &self,
        lane: usize,
        turn_came: Option<Tick>,
        cx: &mut Context<'_>,
    ) -> Poll<Doorstep> {
        let (mut state, lane) = self.lock(lane);
        let State { room, doors, .. } = &mut *state;
        let Some(door) = doors.get_mut(lane) else { return Poll::Ready(Doorstep::End) };
        door.ask();
        let waited = turn_came.and_then(|now| Some(now.nanos_since(door.comes_promptly()?)));
        if let Some(waited) = waited {
            self.delays.summons.fetch_add(1, Ordering::Relaxed);
            record_nanos(&self.delays.histogram, waited);
        }
        let turn = room.turn(lane);
        if turn == Turn::Now || (turn != Turn::NotYet && turn.has_come(Tick::now())) {
            return Poll::Ready(Doorstep::Someone);
        }
        if room.standing_in(lane) == 0 && door.is_closed() {
            return Poll::Ready(Doorstep::End);
        }
        let somebody_waits = room.waiting_in(lane) > 0;
        door.sleep(cx.waker(), if somebody_waits { Asleep::Place } else { Asleep::Arrival });
        if turn != Turn::NotYet {
            // It is the acceptor who keeps time.
            self.to_relay.store(true, Ordering::Release);
            self.wake_acceptor();
        }
        Poll::Pending
    }

    /// The service of `lane` is not ready: sleep until it rings. Ready when it has rung meanwhile.
    pub(crate) fn poll_ring(&self, lane: usize, cx: &Context<'_>) -> Poll<()> {
        let (mut state, lane) = self.lock(lane);
        let Some(door) = state.doors.get_mut(lane) else { return Poll::Ready(()) };
        if door.was_rung() {
            return Poll::Ready(());
        }
        door.sleep(cx.waker(), Asleep::Service);
        Poll::Pending
    }

    /// The next of `lane` who is still there, with a place. Who has left meanwhile is counted and
    /// closed on the way.
    pub(crate) fn take(&self, lane: usize, counted_by: CountedBy) -> Option<HandOver<'_>> {
        loop {
            let (mut state, inside) = self.lock(lane);
            let now = Tick::now();
            let (parked, place, is_watched) = match state.room.take(inside, now) {
                Take::Ready { item, place, is_watched } => (item, place, is_watched),
                Take::Late(parked, cause) => {
                    self.count_refused(&parked, cause);
                    drop(state);
                    self.turn_out(parked, cause, now);
                    self.tell_room();
                    continue;
                }
                Take::Empty | Take::NoPlace => return None,
            };
            let Some(port) = self.ports.get(parked.port) else { continue };
            let whose = Whose { id: parked.id, port: parked.port, peer: parked.peer, span: None };
            let key = state.register(Open::new(whose, place, counted_by, now));
            drop(state);
            let room_wait = now.since(parked.age.accepted);
            if is_watched {
                // The watch may have failed: then it is not in the set.
                let _unwatched = self.poller.unwatch_peer(&parked.stream);
            }
            if room_wait >= LOOK_AGAIN_AFTER {
                let verdict = self.look(&parked, now);
                if !verdict.serves() {
                    self.end(parked, verdict, Stage::Room, now);
                    self.give_back(key);
                    continue;
                }
            }
            port.ledger.handed_out(room_wait);
            self.tell_the_end();
            self.tell_room();
            return Some(HandOver { parked, port, key, room_wait });
        }
    }

    /// Nobody takes from `lane` any more: who waits there is refused, and so is who comes.
    pub(crate) fn abandon(&self, lane: usize) {
        let now = Tick::now();
        let taker = {
            let (mut state, lane) = self.lock(lane);
            state.doors.get_mut(lane).and_then(Door::abandon)
        };
        self.abandoned.store(true, Ordering::Release);
        if let Some(taker) = taker {
            taker.wake();
        }
        loop {
            let refused: Vec<_> = {
                let (mut state, lane) = self.lock(lane);
                let turned_away = std::iter::from_fn(|| state.room.turn_away(lane, now)).take(AT_ONCE);
                turned_away.inspect(|parked| self.count_refused(parked, Cause::Closed)).collect()
            };
            if refused.is_empty() {
                break;
            }
            for parked in refused {
                self.turn_out(parked, Cause::Closed, now);
            }
        }
        self.wake_acceptor();
    }

    /// Nobody takes from any lane any more.
    pub(crate) fn abandon_all(&self) {
        for lane in 0..self.lanes {
            self.abandon(lane);
        }
    }

    /// The service of `lane` may be ready: its taker is to be woken, from outside the runtime
    /// where there is an outside.
    pub(crate) fn ring(&self, lane: usize) {
        let (mut state, inside) = self.lock(lane);
        if let Some(door) = state.doors.get_mut(inside) {
            door.ring();
        }
        drop(state);
        self.ask_to_relay();
    }
}
