//! The acceptor's side of the gate: arrivals, deadlines, hang-ups of the waiting, waking.
//!
//! Owns nothing of its own. Ends connections only by the verdict of `admit`, and always outside the
//! lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use anteroom_listener::{HungUp, PeerState, Stream};

use super::door::{Asleep, Door};
use super::farewell::{Bidden, FAREWELL_BIT};
use super::hall::Which;
use super::register::OPEN_BIT;
use super::{AT_ONCE, Gate, Newcomer, Parked, Policy, State, Summons, WATCH_AFTER};
use crate::admit::{Admission, Arrival, Cause, Death, Judgement, Room, Rules, Stage, Token, Turn};
use crate::config::{AcceptOn, Refusal};
use crate::observe::Note;
use crate::tick::Tick;

/// How long one that was handed out may stay unread before it is taken for silent.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl State {
    /// The waker of the taker of a lane, if there is somebody for it now, or never will be again.
    fn wake_taker(&mut self, lane: usize, now: Tick) -> Option<Waker> {
        let Self { room, doors, .. } = self;
        let door = doors.get_mut(lane)?;
        if room.can_take(lane, now) {
            // Those who slept for a place may have waited for one that the others could not have.
            return door.wake_from(Asleep::Arrival).or_else(|| door.wake_from(Asleep::Place));
        }
        if door.is_closed() && room.standing_in(lane) == 0 {
            return door.close();
        }
        if room.waiting_in(lane) > 0 {
            door.wait_for_place();
        }
        None
    }

    fn wake_takers(&mut self, now: Tick) -> impl Iterator<Item = Waker> {
        (0..self.doors.len()).filter_map(move |lane| self.wake_taker(lane, now))
    }

    /// When a rate lets somebody in whose taker sleeps until then.
    fn next_by_rate(&self) -> Option<Tick> {
        let asleep = self.doors.iter().enumerate().filter(|(_, door)| door.sleeps_on(Asleep::Place));
        let turns = asleep.map(|(lane, _)| self.room.turn(lane));
        turns.filter_map(|turn| if let Turn::From(then) = turn { Some(then) } else { None }).min()
    }
}

impl Gate {
    /// Lets a batch of one lane in. Empties `newcomers`. Gives the waker of whoever takes there, if they are to be woken:
    /// it may run anything.
    #[must_use = "whoever takes there sleeps on"]
    pub(crate) fn admit(
        &self,
        lane: usize,
        newcomers: &mut Vec<Newcomer>,
        summons: Summons,
        now: Tick,
    ) -> Option<Waker> {
        let mut refused = Vec::new();
        let waker = {
            let (mut state, lane) = self.lock(lane);
            let abandoned = state.doors.get(lane).is_none_or(Door::is_abandoned);
            for Newcomer { parked, from, voice, is_moved } in newcomers.drain(..) {
                if abandoned {
                    refused.push((parked, Cause::Closed));
                    continue;
                }
                let age = parked.age;
                match state.room.arrive(Arrival { lane, age, from, voice, is_moved, item: parked }, now) {
                    Admission::Waits => {}
                    Admission::WaitsInsteadOf(parked, cause) | Admission::Refused(parked, cause) => {
                        refused.push((parked, cause));
                    }
                    Admission::Silent(token, evicted) => {
                        refused.extend(evicted);
                        refused.extend(self.listen_to(&mut state.room, token, now));
                    }
                }
            }
            match summons {
                Summons::Taker => state.wake_taker(lane, now),
                Summons::Nobody => None,
            }
        };
        for (parked, cause) in refused {
            self.refuse(parked, cause, now);
        }
        waker
    }

    /// Watches for the first byte of a silent one. Where it cannot be watched it need not speak first.
    fn listen_to(&self, room: &mut Room<Parked>, token: Token, now: Tick) -> Option<(Parked, Cause)> {
        let watched =
            room.standing(token).map(|parked| self.poller.watch_bytes(&parked.stream, token.to_bits()));
        match watched {
            Some(Err(_)) => room.speak(token, now),
            Some(Ok(())) | None => None,
        }
    }

    /// The epoll set says that bytes have come.
    pub(crate) fn peer_spoke(&self, token: u64, now: Tick) {
        let Some(key) = Token::from_bits(token) else { return };
        if token & FAREWELL_BIT != 0 {
            return self.farewells.stir(key);
        }
        let mut state = self.lock_of(key);
        let refused = self.hear(&mut state.room, key, now);
        let wakers: Vec<_> = state.wake_takers(now).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if let Some((parked, cause)) = refused {
            self.refuse(parked, cause, now);
            self.tell_room();
        }
    }

    /// One who was silent has spoken; nothing happens to others. It is watched anew, for its hang-up
    /// alone, if it has to wait.
    fn hear(&self, room: &mut Room<Parked>, token: Token, now: Tick) -> Option<(Parked, Cause)> {
        let parked = room.standing(token).filter(|_| room.is_silent(token))?;
        let _gone_already = self.poller.unwatch_peer(&parked.stream);
        if let Some(parked) = room.standing_mut(token) {
            parked.age.handshake = now;
        }
        room.speak(token, now)
    }

    /// Everything that time brings: refuses who is overdue, watches who has begun to wait, and says
    /// when to come again.
    pub(crate) fn tend(&self, now: Tick) -> Option<Tick> {
        let farewell = self.farewells.tend(now);
        self.each_hall().filter_map(|(which, state)| self.tend_hall(which, state, now)).chain(farewell).min()
    }

    fn tend_hall<'a>(&'a self, which: Which, mut state: MutexGuard<'a, State>, now: Tick) -> Option<Tick> {
        let event = state.room.next_event(WATCH_AFTER);
        if event.is_none_or(|event| event > now) {
            let rate = state.next_by_rate();
            if rate.is_some() {
                self.to_relay.store(true, Ordering::Release);
            }
            let reordered: Vec<_> = state.room.reordered().collect();
            drop(state);
            for (lane, newest_first) in reordered {
                self.notes.leave(Note::Order { lane: which.lane(lane), newest_first });
            }
            return event.into_iter().chain(rate).min();
        }
        let overdue: Vec<_> = std::iter::from_fn(|| state.room.overdue(now)).take(AT_ONCE).collect();
        self.watch_some(&mut state.room, now);
        let wakers: Vec<_> = state.wake_takers(now).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if !overdue.is_empty() {
            self.tell_room();
        }
        for (parked, cause) in overdue {
            self.refuse(parked, cause, now);
        }
        // Those who come are not to wait until everybody has been refused, in this hall and in the others.
        Some(now)
    }

    fn watch_some(&self, room: &mut Room<Parked>, now: Tick) {
        let Some(accepted_by) = now.checked_sub(WATCH_AFTER) else { return };
        for _ in 0..AT_ONCE {
            let Some((token, parked)) = room.next_to_watch(accepted_by) else { break };
            // Where it cannot be watched, it is looked at when it is taken.
            let _unwatched = self.poller.watch_peer(&parked.stream, token.to_bits());
        }
    }

    /// The epoll set says that a peer has hung up.
    pub(crate) fn peer_hung_up(&self, token: u64, how: HungUp, now: Tick) {
        let Some(key) = Token::from_bits(token) else { return };
        if token & OPEN_BIT != 0 {
            self.open_peer_gone(key, how);
        } else if token & FAREWELL_BIT != 0 {
            self.farewells.stir(key);
        } else {
            self.waiting_peer_gone(key, now);
        }
    }

    fn waiting_peer_gone(&self, token: Token, now: Tick) {
        let mut state = self.lock_of(token);
        let Some(parked) = state.room.standing(token) else { return };
        // The patience with one who was silent begins when it speaks.
        let age = if state.room.is_silent(token) { Duration::ZERO } else { parked.age.since_handshake(now) };
        let verdict = self.look_at(parked, age);
        let gone = if verdict.serves() {
            // One who was silent until now has spoken before it closed.
            let refused = self.hear(&mut state.room, token, now);
            if let Judgement::ServeUntil(patience) = verdict {
                state.room.lose_patience(token, patience);
            }
            refused.map(|(parked, cause)| (parked, Judgement::Refuse(cause)))
        } else {
            state.room.leave(token, now).map(|parked| (parked, verdict))
        };
        let wakers: Vec<_> = state.wake_takers(now).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if let Some((parked, verdict)) = gone {
            self.end(parked, verdict, Stage::Room, now);
        }
        self.tell_room();
    }

    /// Looks at the peer and judges.
    pub(super) fn look(&self, parked: &Parked, now: Tick) -> Judgement {
        self.look_at(parked, parked.age.since_handshake(now))
    }

    fn look_at(&self, parked: &Parked, age: Duration) -> Judgement {
        // A look that the kernel refuses (it has no memory for it) tells nothing of the peer.
        let state = parked.stream.peer_state().unwrap_or(PeerState::Open);
        self.policy().judge.judge(&parked.peer, state, age)
    }

    /// Ends a connection that was judged not to be served.
    pub(crate) fn end(&self, parked: Parked, verdict: Judgement, stage: Stage, now: Tick) {
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
    fn bury(&self, parked: Parked, death: Death, stage: Stage, now: Tick) {
        let Parked { port: listener, peer, stream, age, .. } = parked;
        if let Some(port) = self.ports.get(listener) {
            port.ledger.dead(stage, death);
        }
        drop(stream);
        self.notes.leave_detail(Note::Dead { listener, stage, death, peer, age: age.since_handshake(now) });
    }

    /// The connection is refused: counted, reset or closed, noted.
    pub(crate) fn refuse(&self, parked: Parked, cause: Cause, now: Tick) {
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
    pub(super) fn turn_out(&self, parked: Parked, cause: Cause, now: Tick) {
        let policy = self.policy();
        self.send_away(parked, cause, now, |stream| match &policy.refusal {
            Refusal::Close => drop(stream),
            Refusal::Reply(reply) if cause.is_answered() => {
                let Policy { farewell, farewells, .. } = *policy;
                match self.farewells.bid(&self.poller, stream, reply, farewell, farewells, now) {
                    Bidden::Goodbye => {}
                    Bidden::FirstToBeLetGo => self.wake_acceptor(),
                    Bidden::Refused(stream) => stream.reset(),
                }
            }
            Refusal::Reply(_) | Refusal::Reset => stream.reset(),
        });
    }

    /// The connection is refused, and its descriptor is free at the return: nobody reads a reply.
    pub(crate) fn expel(&self, parked: Parked, cause: Cause, now: Tick) {
        self.count_refused(&parked, cause);
        self.send_away(parked, cause, now, Stream::reset);
    }

    fn send_away(&self, parked: Parked, cause: Cause, now: Tick, close: impl FnOnce(Stream)) {
        let Parked { port: listener, peer, stream, age, .. } = parked;
        close(stream);
        self.notes.leave_detail(Note::Refused { listener, cause, peer, age: age.since_handshake(now) });
    }

    /// Wakes the takers that were called from inside the runtime, and those for whom a place has
    /// become free: the acceptor does so from outside, because a worker that wakes a task and then
    /// blocks keeps that task to itself.
    pub(crate) fn relay(&self, now: Tick) {
        if !self.to_relay.swap(false, Ordering::AcqRel) {
            return;
        }
        for (_, mut state) in self.each_hall() {
            let State { room, doors, .. } = &mut *state;
            let place = |lane| room.can_take(lane, now);
            let wakers = doors.iter_mut().enumerate().filter_map(|(lane, door)| {
                door.answer().or_else(|| place(lane).then(|| door.wake_from(Asleep::Place)).flatten())
            });
            let wakers: Vec<Waker> = wakers.collect();
            if state.next_by_rate().is_some() {
                self.to_relay.store(true, Ordering::Release);
            }
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// The acceptor is to see which takers it has to wake.
    pub(super) fn ask_to_relay(&self) {
        self.to_relay.store(true, Ordering::Release);
        match self.accept_on {
            AcceptOn::Taker | AcceptOn::Thread => self.wake_acceptor(),
            AcceptOn::Task => self.relay(Tick::now()),
        }
    }

    /// No more arrivals: takers see the end when they have taken everybody.
    pub(crate) fn close_doors(&self) {
        for (_, mut state) in self.each_hall() {
            let wakers: Vec<Waker> = state.doors.iter_mut().filter_map(Door::close).collect();
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether every lane has handed out all that will ever come.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.each_hall().all(|(_, state)| {
            let mut doors = state.doors.iter().enumerate();
            doors.all(|(lane, door)| door.is_closed() && state.room.standing_in(lane) == 0)
        })
    }

    /// Whether a connection was handed out by an `Incoming` a moment ago and nobody has read from
    /// it: its request may be there, and its taker may close it unread when it is told to stop.
    pub(crate) fn is_anybody_unheard(&self, now: Tick) -> bool {
        self.each_hall().any(|(_, mut state)| {
            let lately = state.open.iter_mut().filter(|(_, open)| now < open.since + HEARD_WITHIN);
            let lately: Result<Vec<_>, _> = lately.map(|(_, open)| open.to_be_heard()).collect();
            drop(state);
            match lately {
                Ok(lately) => lately.into_iter().flatten().any(|wire| !wire.is_heard()),
                Err(_) => true,
            }
        })
    }

    /// Whether nobody takes from `lane` any more. Asked in every turn, so it costs no lock as long as
    /// every lane has its taker.
    pub(crate) fn is_abandoned(&self, lane: usize) -> bool {
        if !self.abandoned.load(Ordering::Acquire) {
            return false;
        }
        let (state, lane) = self.lock(lane);
        state.doors.get(lane).is_none_or(Door::is_abandoned)
    }

    /// Whether nothing waits, is open, runs, or is on its way to another server.
    pub(crate) fn is_idle(&self) -> bool {
        let mut halls = self.each_hall();
        let is_empty =
            halls.all(|(_, state)| state.room.len() == 0 && state.room.open() == 0 && state.running == 0);
        is_empty && self.farewells.len() == 0 && self.is_nobody_abroad()
    }

    /// Nobody keeps time any more.
    pub(crate) fn end_farewells(&self) {
        self.farewells.close();
    }

    /// How many more may be accepted for a lane. Where that is none, the acceptor is woken when it has
    /// changed.
    pub(crate) fn vacancies(&self, lane: usize) -> usize {
        let (state, lane) = self.lock(lane);
        let vacancies = state.room.vacancies(lane);
        if vacancies == 0 {
            self.holding_back.store(true, Ordering::Release);
        }
        vacancies
    }

    /// Somebody has left the room, or a place: the acceptor may be waiting for that.
    pub(crate) fn tell_room(&self) {
        if self.holding_back.load(Ordering::Acquire) && self.holding_back.swap(false, Ordering::AcqRel) {
            self.wake_acceptor();
        }
    }

    /// From now on these rules hold, and this policy, for everybody at once.
    pub(crate) fn reconfigure(&self, rules: Rules, policy: Policy) {
        let now = Tick::now();
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        for (which, mut state) in self.each_hall() {
            state.room.set_rules(self.rules_of(which, &rules), now);
            let wakers: Vec<_> = state.wake_takers(now).collect();
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
        // There may be new deadlines, and new room.
        self.wake_acceptor();
    }

    /// From now on the acceptor is woken when somebody leaves.
    pub(crate) fn expect_the_end(&self) {
        self.ending.store(true, Ordering::Release);
    }
}
