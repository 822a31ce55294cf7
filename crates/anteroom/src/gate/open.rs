//! One open connection in the gate's register.
//!
//! Owns what is needed to count its end once, to cut it, and to tell that its peer has gone. Never
//! keeps the socket alive.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anteroom_listener::{HungUp, PeerAddr};
use tokio::task::AbortHandle;

use crate::admit::{Cause, Place, Token};
use crate::observe::Ending;
use crate::tick::Tick;

/// Names an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenKey(pub(super) Token);

impl OpenKey {
    /// Never 0.
    pub(crate) fn to_bits(self) -> u64 {
        self.0.to_bits()
    }
}

/// The socket of an open connection, as far as the register needs it.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// `None` for a connection without a descriptor.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether a read has come back since it was handed out.
    fn is_heard(&self) -> bool;
}

/// The task of a connection.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) abort: AbortHandle,
    /// The name of the span in which it runs, if anybody listens.
    pub(crate) span: Option<&'static str>,
}

/// Whose end is the end of the connection in the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedBy {
    /// The handler's task, which knows how it went.
    Task,
    /// The permit: nobody tells more of a connection that was taken from an `Incoming`.
    Permit,
}

/// How a peer went away, or that this side was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gone {
    /// It closed its sending side. On TCP a client that has left looks the same as one that
    /// half-closed and still reads.
    HalfClosed,
    /// It reset the connection, or closed it fully where the kernel tells so.
    Reset,
    /// This side closed the connection first; the peer was not seen to go.
    Closed,
}

/// A connection that has left the room and has no socket yet.
#[derive(Debug)]
pub(super) struct OnItsWay;

/// Who an open connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose {
    pub(crate) id: u64,
    pub(crate) port: usize,
    pub(crate) peer: PeerAddr,
    /// The name of the span of its handler, if anybody listens.
    pub(crate) span: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) whose: Whose,
    pub(super) place: Place,
    pub(super) since: Tick,
    pub(super) counted_by: CountedBy,
    /// Parts that hold the permit.
    holders: u32,
    /// Its handler has refused it.
    pub(super) refused: Option<Cause>,
    /// The task has not ended.
    runs: bool,
    /// When it was first found that nothing of the connection is left but the permit.
    outlived: Option<Tick>,
    /// It was ended by the server: whoever holds it and notices has not ended it.
    cut: bool,
    task: Option<AbortHandle>,
    wire: Option<Weak<dyn Wire>>,
    gone: Option<Gone>,
    watched: bool,
    /// Whoever awaits that the peer goes, by the number that each was given.
    waiting: Vec<(u64, Waker)>,
    next_waiting: u64,
}

impl Open {
    pub(super) fn new(whose: Whose, place: Place, counted_by: CountedBy, since: Tick) -> Self {
        Self {
            whose,
            place,
            since,
            counted_by,
            holders: 1,
            refused: None,
            runs: counted_by == CountedBy::Task,
            outlived: None,
            cut: false,
            task: None,
            wire: None,
            gone: None,
            watched: false,
            waiting: Vec::new(),
            next_waiting: 0,
        }
    }

    pub(super) fn attach(&mut self, wire: Weak<dyn Wire>, task: Option<Task>) {
        self.wire = Some(wire);
        if let Some(Task { abort, span }) = task {
            self.task = Some(abort);
            self.whose.span = span;
        }
    }

    /// How long the permit has been known to be held beyond the end of its connection, if that is `long` or more: its
    /// task has come back, and its socket is closed or its peer gone. With the socket where the peer only says no
    /// more, and may go on to listen; to be dropped outside the lock.
    pub(super) fn leaked_for(
        &mut self,
        long: Duration,
        now: Tick,
    ) -> Option<(Duration, Option<Arc<dyn Wire>>)> {
        let is_closed = self.wire.as_ref().is_some_and(|wire| wire.strong_count() == 0);
        let is_left = self.counted_by == CountedBy::Task && self.gone.is_some();
        if !self.is_held() || self.runs || !(is_closed || is_left) {
            return None;
        }
        let since = *self.outlived.get_or_insert(now);
        let held = now.since(since);
        if held < long {
            return None;
        }
        let may_listen = self.wire.as_ref().filter(|_| self.gone == Some(Gone::HalfClosed));
        Some((held, may_listen.and_then(Weak::upgrade)))
    }

    /// The socket of one that has outlived its task, if nobody watches yet whether its peer leaves. To be
    /// dropped outside the lock.
    pub(super) fn take_unwatched(&mut self) -> Option<Arc<dyn Wire>> {
        if self.counted_by == CountedBy::Permit || self.runs || !self.is_held() || self.watched {
            return None;
        }
        let wire = self.wire.as_ref()?.upgrade()?;
        self.watched = true;
        Some(wire)
    }

    pub(super) fn is_held(&self) -> bool {
        self.holders > 0
    }

    pub(super) fn hold_on(&mut self) {
        self.holders += 1;
    }

    /// Whether that was the last part that held the permit.
    pub(super) fn let_go(&mut self) -> bool {
        let was_held = self.is_held();
        self.holders = self.holders.saturating_sub(1);
        was_held && !self.is_held()
    }

    /// How it ended: as its task or its permit says, unless it was refused.
    pub(super) fn ending(&self, told: Ending) -> Ending {
        match self.refused {
            Some(cause) if told != Ending::Panicked => Ending::Refused(cause),
            _ => told,
        }
    }

    /// The socket, if somebody who took it from an `Incoming` may have yet to read from it. It may be
    /// the last hold on the socket: to be dropped outside the lock.
    /// `Err`: it is on its way to its taker.
    pub(super) fn to_be_heard(&self) -> Result<Option<Arc<dyn Wire>>, OnItsWay> {
        match &self.wire {
            _ if self.counted_by == CountedBy::Task || !self.is_held() => Ok(None),
            Some(wire) => Ok(wire.upgrade()),
            None => Err(OnItsWay),
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// The permit was dropped: nobody can be told any more that the peer has gone.
    pub(super) fn release(&mut self) -> Vec<(u64, Waker)> {
        self.holders = 0;
        self.gone.get_or_insert(Gone::Closed);
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    pub(super) fn end_task(&mut self) {
        self.task = None;
        self.runs = false;
    }

    pub(super) fn is_over(&self) -> bool {
        !self.is_held() && !self.runs
    }

    pub(super) fn peer_gone(&mut self, how: HungUp) -> Vec<(u64, Waker)> {
        let how = match how {
            HungUp::HalfClosed => Gone::HalfClosed,
            HungUp::Closed | HungUp::Reset => Gone::Reset,
        };
        // A half-close may be followed by a reset: the first to be told stays.
        self.gone.get_or_insert(how);
        std::mem::take(&mut self.waiting)
    }

    /// `number` is the waiting one's own, given at its first poll.
    pub(super) fn poll_gone(&mut self, number: &mut Option<u64>, cx: &Context<'_>) -> Poll<Gone> {
        if let Some(gone) = self.gone {
            return Poll::Ready(gone);
        }
        let number = *number.get_or_insert_with(|| {
            self.next_waiting += 1;
            self.next_waiting
        });
        match self.waiting.iter_mut().find(|(known, _)| *known == number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.waiting.push((number, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// One of those who wait for the peer to go does not wait any more.
    pub(super) fn forget(&mut self, number: u64) -> Option<Waker> {
        let place = self.waiting.iter().position(|(known, _)| *known == number)?;
        Some(self.waiting.swap_remove(place).1)
    }

    /// Whether the watch has still to be set.
    pub(super) fn start_watch(&mut self) -> bool {
        !std::mem::replace(&mut self.watched, true)
    }

    /// What ends this connection, to be done outside the lock.
    pub(super) fn cut(&mut self) -> Cut {
        self.cut = true;
        Cut { task: self.task.clone(), wire: self.wire.clone() }
    }
}

/// The means to end a connection that somebody else holds.
#[derive(Debug)]
pub(super) struct Cut {
    task: Option<AbortHandle>,
    wire: Option<Weak<dyn Wire>>,
}

impl Cut {
    pub(super) fn new(wire: Weak<dyn Wire>, task: Option<AbortHandle>) -> Self {
        Self { task, wire: Some(wire) }
    }

    pub(super) fn act(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        let wire = self.wire.and_then(|wire| wire.upgrade());
        if let Some(fd) = wire.as_ref().and_then(|wire| wire.fd()) {
            // A socket that its peer has reset meanwhile is as ended as it can be.
            let _gone_already = anteroom_listener::shut_down(fd);
        }
    }
}
