//! One listener as the whole server sees it.
//!
//! Owns the listening socket until it is closed, its name and its ledger. The acceptor accepts from
//! it; everybody else only reads its queue.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anteroom_listener::{Address, Backlog, BindError, Census, Listener, Queue};

use crate::observe::{Accepting, Ledger};

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: Arc<str>,
    pub(crate) address: Arc<Address>,
    pub(crate) lane: usize,
    pub(crate) ledger: Arc<Ledger>,
    backlog: Backlog,
    /// An [`Accepting`], by its position.
    accepting: AtomicU8,
    /// Taken out to close it. Who looks at it holds it for the length of one look, without the lock:
    /// a question to the kernel that takes long must not make the acceptor wait.
    listener: Mutex<Option<Arc<Listener>>>,
}

impl Port {
    pub(crate) fn new(listener: Listener, lane: usize) -> Self {
        Self {
            name: listener.name().into(),
            address: Arc::new(listener.local_addr().clone()),
            lane,
            ledger: Arc::new(Ledger::new()),
            backlog: listener.backlog(),
            accepting: AtomicU8::new(Accepting::Yes as u8),
            listener: Mutex::new(Some(Arc::new(listener))),
        }
    }

    /// The acceptor says whether it accepts.
    pub(crate) fn accepts(&self, accepting: Accepting) {
        self.accepting.store(accepting as u8, Ordering::Relaxed);
    }

    pub(crate) fn accepting(&self) -> Accepting {
        let position = usize::from(self.accepting.load(Ordering::Relaxed));
        Accepting::ALL.get(position).copied().unwrap_or(Accepting::Closed)
    }

    /// The open listener, or `None` once it is closed.
    pub(crate) fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.listener().map_or(self.backlog, |listener| listener.backlog())
    }

    /// The accept queue now. `None` once the listener is closed.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.listener().map(|listener| listener.queue())
    }

    /// See [`Listener::census`]. `None` also once the listener is closed.
    pub(crate) fn census(&self) -> io::Result<Option<Census>> {
        self.listener().map_or(Ok(None), |listener| listener.census())
    }

    /// See [`Listener::set_backlog`]. `None` once the listener is closed.
    pub(crate) fn set_backlog(&self, backlog: u32) -> Option<Result<Backlog, BindError>> {
        self.listener().map(|listener| listener.set_backlog(backlog))
    }

    /// Closes the listener. What is in its queue is reset by the kernel.
    pub(crate) fn close(&self) {
        self.accepts(Accepting::Closed);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(listener);
    }
}
