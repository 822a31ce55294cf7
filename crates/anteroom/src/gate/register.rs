//! The register of open connections: permits, tasks, and peers that go away.
//!
//! Owns nothing of its own. An end is counted here, once, whoever tells it first.

use std::cell::LazyCell;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use anteroom_listener::{HungUp, PeerAddr};

use super::door::{Asleep, Door};
#[cfg(feature = "test-util")]
use super::open::Whose;
use super::open::{CountedBy, Cut, Gone, Open, OpenKey, Task, Wire};
use super::{Gate, State};
use crate::admit::{Cause, Token};
use crate::observe::{Ending, Note};
use crate::tick::Tick;

/// Tokens of open connections in the epoll set carry this bit, those of waiting ones do not.
pub(super) const OPEN_BIT: u64 = 1 << 62;

impl State {
    pub(super) fn register(&mut self, open: Open) -> OpenKey {
        self.running += usize::from(open.runs());
        OpenKey(self.open.insert(open))
    }
}

impl Gate {
    /// The connection under `key` has its socket, and its task when it has one.
    pub(crate) fn attach(&self, key: OpenKey, wire: Weak<dyn Wire>, task: Option<Task>) {
        let late = {
            let mut state = self.lock_of(key.0);
            match state.open.get_mut(key.0) {
                Some(open) if !open.was_cut() => return open.attach(wire, task),
                // Everybody else was cut while `call` still ran, or this one has ended already.
                _ => Cut::new(wire, task.map(|task| task.abort)),
            }
        };
        late.act();
    }

    /// One part more holds the permit of `key`.
    pub(crate) fn hold_on(&self, key: OpenKey) {
        if let Some(open) = self.lock_of(key.0).open.get_mut(key.0) {
            open.hold_on();
        }
    }

    /// A part of `key` was dropped. With the last one its place is free.
    pub(crate) fn release(&self, key: OpenKey) {
        // The clock is read at most once, and for most not at all: the end of their task is what counts.
        let now = LazyCell::new(Tick::now);
        let mut state = self.lock_of(key.0);
        let State { room, doors, open, .. } = &mut *state;
        let Some(entry) = open.get_mut(key.0) else { return };
        if !entry.let_go() {
            return;
        }
        room.release(entry.place, || *now);
        let wakers = entry.release();
        if entry.counted_by == CountedBy::Permit {
            // Its taker may have noticed and dropped it, which is no end of its own.
            self.count(
                entry.whose.port,
                entry.ending(if entry.was_cut() { Ending::Cut } else { Ending::Done }),
                now.since(entry.since),
            );
        }
        if entry.is_over() {
            open.remove(key.0);
        }
        let wanted = is_place_wanted(doors);
        drop(state);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
        self.offer_place(wanted);
        self.tell_the_end();
    }

    /// The task of `key` has ended.
    pub(crate) fn task_ended(&self, key: OpenKey, ending: Ending, now: Tick) {
        let mut state = self.lock_of(key.0);
        let Some(entry) = state.open.get_mut(key.0).filter(|entry| entry.runs()) else { return };
        entry.end_task();
        self.count(entry.whose.port, entry.ending(ending), now.since(entry.since));
        if entry.is_over() {
            state.open.remove(key.0);
        }
        state.running -= 1;
        drop(state);
        self.tell_the_end();
    }

    /// The place and the task of a connection that nobody got, and that is counted elsewhere.
    pub(super) fn give_back(&self, key: OpenKey) {
        let now = Tick::now();
        let mut state = self.lock_of(key.0);
        let Some(entry) = state.open.remove(key.0) else { return };
        if entry.is_held() {
            state.room.release(entry.place, || now);
        }
        state.running -= usize::from(entry.runs());
        let wanted = is_place_wanted(&state.doors);
        drop(state);
        self.offer_place(wanted);
        self.tell_the_end();
    }

    /// A place is free, and wanted or not.
    fn offer_place(&self, wanted: bool) {
        if wanted {
            self.ask_to_relay();
        }
        self.tell_room();
    }

    /// Ends every open connection: tasks are aborted, sockets shut down.
    pub(crate) fn cut(&self) {
        for (_, mut state) in self.each_hall() {
            let cut: Vec<_> = state.open.iter_mut().map(|(_, open)| open.cut()).collect();
            drop(state);
            cut.into_iter().for_each(Cut::act);
        }
    }

    /// Counts as cut whoever has not ended even so (a handler that blocks its thread cannot be
    /// ended), and forgets it: what it tells later changes nothing.
    pub(crate) fn write_off(&self) {
        let now = Tick::now();
        for (_, mut state) in self.each_hall() {
            let mut wakers = Vec::new();
            let tokens: Vec<Token> = state.open.iter_mut().map(|(token, _)| token).collect();
            for token in tokens {
                let Some(mut entry) = state.open.remove(token) else { continue };
                if entry.is_held() {
                    state.room.release(entry.place, || now);
                }
                state.running -= usize::from(entry.runs());
                if entry.runs() || (entry.is_held() && entry.counted_by == CountedBy::Permit) {
                    self.count(entry.whose.port, Ending::Cut, entry.since.elapsed());
                }
                wakers.append(&mut entry.release());
            }
            drop(state);
            wakers.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    pub(super) fn open_peer_gone(&self, token: Token, how: HungUp) {
        let wakers = match self.lock_of(token).open.get_mut(token) {
            Some(open) => open.peer_gone(how),
            None => return,
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Ready when the peer of the open connection `key` has gone, or the connection itself. `number`
    /// is the asker's own, empty at first.
    pub(crate) fn poll_peer_gone(
        &self,
        key: OpenKey,
        wire: &Weak<dyn Wire>,
        number: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Gone> {
        // Its last hold may be this one: it is let go outside the lock.
        let wire = wire.upgrade();
        let start = {
            let mut state = self.lock_of(key.0);
            let Some(open) = state.open.get_mut(key.0) else { return Poll::Ready(Gone::Closed) };
            if let Poll::Ready(gone) = open.poll_gone(number, cx) {
                return Poll::Ready(gone);
            }
            wire.is_some() && open.start_watch()
        };
        if let Some(fd) = wire.as_ref().filter(|_| start).and_then(|wire| wire.fd()) {
            // Where the platform cannot watch, the future stays pending, as documented.
            let _unwatched = self.poller.watch_peer(fd, key.0.to_bits() | OPEN_BIT);
        }
        Poll::Pending
    }

    /// The asker of that number does not wait any more.
    pub(crate) fn forget_peer_gone(&self, key: OpenKey, number: u64) {
        let waker = self.lock_of(key.0).open.get_mut(key.0).and_then(|open| open.forget(number));
        drop(waker);
    }

    /// A handler refuses the connection that it was given: its end counts as that.
    pub(crate) fn refuse_open(&self, key: OpenKey, peer: PeerAddr, cause: Cause) {
        let known = self.lock_of(key.0).open.get_mut(key.0).map(|open| {
            open.refused = Some(cause);
            (open.whose.port, open.since)
        });
        if let Some((listener, since)) = known {
            self.notes.leave_detail(Note::Refused { listener, cause, peer, age: since.elapsed() });
        }
    }

    /// For tests without sockets: a place that nobody waited for.
    #[cfg(feature = "test-util")]
    pub(crate) fn pretend_open(&self) -> OpenKey {
        let (mut state, lane) = self.lock(0);
        let place = state.room.occupy(lane);
        let peer = PeerAddr::Tcp(([127, 0, 0, 1], 1).into());
        let whose = Whose { id: 0, port: 0, peer, span: None };
        state.register(Open::new(whose, place, CountedBy::Permit, Tick::now()))
    }

    /// For tests without sockets: the peer has gone.
    #[cfg(feature = "test-util")]
    pub(crate) fn pretend_gone(&self, key: OpenKey) {
        self.open_peer_gone(key.0, HungUp::HalfClosed);
    }

    /// Before the lock is let go: whoever sees that nothing is left under it finds it counted.
    fn count(&self, port: usize, ending: Ending, took: Duration) {
        if let Some(port) = self.ports.get(port) {
            port.ledger.ended(ending, took);
        }
    }

    pub(super) fn tell_the_end(&self) {
        if self.ending.load(Ordering::Acquire) {
            self.wake_acceptor();
        }
    }
}

/// Whether a taker sleeps until a place is free.
fn is_place_wanted(doors: &[Door]) -> bool {
    doors.iter().any(|door| door.sleeps_on(Asleep::Place))
}
