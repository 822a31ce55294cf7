//! One open connection in the gate's register.
//!
//! Owns what is needed to count its end once, to cut it, and to tell that its peer has gone. Never
//! keeps the socket alive.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anteroom_listener::HungUp;
use tokio::task::AbortHandle;

use crate::admit::Token;

/// Names an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenKey(pub(super) Token);

/// The socket of an open connection, as far as the register needs it.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// `None` for a connection without a descriptor.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether a read has come back since it was handed out.
    fn is_heard(&self) -> bool;
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

#[derive(Debug)]
pub(super) struct Open {
    pub(super) port: usize,
    pub(super) since: Instant,
    pub(super) counted_by: CountedBy,
    /// The permit has not been dropped.
    held: bool,
    /// The task has not ended.
    runs: bool,
    /// It was ended by the server: whoever holds it and notices has not ended it.
    cut: bool,
    task: Option<AbortHandle>,
    wire: Option<Weak<dyn Wire>>,
    gone: Option<Gone>,
    watched: bool,
    waiting: Vec<Waker>,
}

impl Open {
    pub(super) fn new(port: usize, counted_by: CountedBy, since: Instant) -> Self {
        Self {
            port,
            since,
            counted_by,
            held: true,
            runs: counted_by == CountedBy::Task,
            cut: false,
            task: None,
            wire: None,
            gone: None,
            watched: false,
            waiting: Vec::new(),
        }
    }

    pub(super) fn attach(&mut self, wire: Weak<dyn Wire>, task: Option<AbortHandle>) {
        self.wire = Some(wire);
        self.task = task;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether somebody who took it from an `Incoming` has yet to read from it.
    pub(super) fn is_unheard(&self) -> bool {
        let wire = self.wire.as_ref();
        self.counted_by == CountedBy::Permit
            && self.held
            && wire.is_none_or(|wire| wire.upgrade().is_some_and(|wire| !wire.is_heard()))
    }

    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// The permit was dropped: nobody can be told any more that the peer has gone.
    pub(super) fn release(&mut self) -> Vec<Waker> {
        self.held = false;
        self.gone.get_or_insert(Gone::Closed);
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// Whether the task had been running.
    pub(super) fn end_task(&mut self) -> bool {
        self.task = None;
        std::mem::take(&mut self.runs)
    }

    pub(super) fn is_over(&self) -> bool {
        !self.held && !self.runs
    }

    pub(super) fn peer_gone(&mut self, how: HungUp) -> Vec<Waker> {
        let how = match how {
            HungUp::HalfClosed => Gone::HalfClosed,
            HungUp::Closed | HungUp::Reset => Gone::Reset,
        };
        // A half-close may be followed by a reset: the first to be told stays.
        self.gone.get_or_insert(how);
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<Gone> {
        if let Some(gone) = self.gone {
            return Poll::Ready(gone);
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
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
