//! One listener as the whole server sees it.
//!
//! Owns the listening socket until it is closed, its name and its ledger. The acceptor accepts from
//! it; everybody else only reads its queue.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use anteroom_listener::{Address, Backlog, BindError, Census, Listener, Queue};

use crate::observe::Ledger;

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: Arc<str>,
    pub(crate) address: Arc<Address>,
    pub(crate) lane: usize,
    pub(crate) ledger: Arc<Ledger>,
    backlog: Backlog,
    /// Read for the length of one batch or one sample, written once, to close it.
    listener: RwLock<Option<Listener>>,
}

impl Port {
    pub(crate) fn new(listener: Listener, lane: usize) -> Self {
        Self {
            name: listener.name().into(),
            address: Arc::new(listener.local_addr().clone()),
            lane,
            ledger: Arc::new(Ledger::new()),
            backlog: listener.backlog(),
            listener: RwLock::new(Some(listener)),
        }
    }

    /// The open listener, or `None` once it is closed.
    pub(crate) fn listener(&self) -> RwLockReadGuard<'_, Option<Listener>> {
        self.listener.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.listener().as_ref().map_or(self.backlog, Listener::backlog)
    }

    /// The accept queue now. `None` once the listener is closed.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.listener().as_ref().map(Listener::queue)
    }

    /// See [`Listener::census`]. `None` also once the listener is closed.
    pub(crate) fn census(&self) -> io::Result<Option<Census>> {
        self.listener().as_ref().map_or(Ok(None), Listener::census)
    }

    /// See [`Listener::set_backlog`]. `None` once the listener is closed.
    pub(crate) fn set_backlog(&self, backlog: u32) -> Option<Result<Backlog, BindError>> {
        self.listener().as_ref().map(|listener| listener.set_backlog(backlog))
    }

    /// Closes the listener. What is in its queue is reset by the kernel.
    pub(crate) fn close(&self) {
        let listener = self.listener.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(listener);
    }
}
