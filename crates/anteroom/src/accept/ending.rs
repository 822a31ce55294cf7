//! How an acceptor ends: the queues emptied, the listeners closed, the last connections waited for,
//! cut, or written off.
//!
//! Owns the steps of a drain. Never decides that there is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_listener::Queue;

use super::acceptor::{Acceptor, Next, earliest};
use crate::observe::{Note, Phase};

/// How long those that were cut at the deadline have to end.
const GRACE: Duration = Duration::from_millis(250);

/// A read wakes nobody here: how often to look whether the last who were handed out have been read
/// from.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// How far a drain has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    NotYet,
    /// The listeners are closed.
    Closed,
    /// What was still open has been cut, and is written off at this time.
    Cut(Instant),
}

impl Acceptor {
    /// Carries a drain on. `None` while there is none.
    pub(super) fn drain(&mut self, now: Instant) -> Option<Next> {
        self.close_abandoned();
        if self.core.life.phase() < Phase::Draining {
            if self.posts.iter().any(|post| !post.closed) {
                return None;
            }
            self.core.wind_down();
        }
        self.core.gate.expect_the_end();
        if self.ending == Ending::NotYet {
            self.empty_queues(now);
            let open = self.posts.iter().filter(|post| !post.closed);
            if let Some(again) = open.map(|post| post.resumes.unwrap_or(now)).min() {
                return Some(Next::Sleep(Some(again)));
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
    fn exhaust(&self, now: Instant) -> Option<Instant> {
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

    fn meet_deadline(&mut self, now: Instant) -> Option<Next> {
        let deadline = self.core.life.deadline();
        match self.ending {
            Ending::Cut(until) if until <= now => {
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

    /// Accepts what the kernel has queued, and closes each listener whose queue is empty. Without a
    /// fence newcomers never stop, so one whole queue beyond the first look is the bound.
    fn empty_queues(&mut self, now: Instant) {
        for index in 0..self.posts.len() {
            let core = Arc::clone(&self.core);
            let Some(port) = core.gate.ports().get(index) else { continue };
            let Some(post) = self.posts.get_mut(index) else { continue };
            let overdue = self.core.life.deadline().is_some_and(|deadline| deadline <= now);
            if post.closed || (post.resumes.is_some() && !overdue) {
                continue;
            }
            let left = *post.left.get_or_insert_with(|| most_in(port.queue()));
            // A listener whose depth is not told is empty when a batch finds it so.
            let is_empty = || port.listener().is_none_or(|listener| listener.depth() == Some(0));
            let emptied = self.accept_batch(index, now) || is_empty();
            if emptied || left == 0 || overdue {
                self.close(index);
            }
        }
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
        let (Some(port), Some(post)) = (core.gate.ports().get(index), self.posts.get_mut(index)) else {
            return;
        };
        if !std::mem::replace(&mut post.closed, true) {
            if let Some(listener) = port.listener() {
                // Somebody else may share the socket: it would stay in the set, and nobody could take
                // it out any more.
                let _not_in_it = core.gate.poller().remove_listener(&listener);
            }
            port.close();
            core.gate.notes().leave(Note::ListenerClosed { listener: index });
        }
    }

    pub(super) fn finish(&mut self) {
        self.over = true;
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
