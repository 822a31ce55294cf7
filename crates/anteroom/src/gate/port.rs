//! One listener as the whole server sees it.
//!
//! Owns the listening socket until it is closed, its name and its ledger. The acceptor accepts from
//! it; everybody else only reads its queue.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anteroom_listener::{Address, Backlog, BindError, Census, Fence, Listener, Queue};

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
    fence: Mutex<Option<FenceCount>>,
    /// A successor that has the other listeners does not continue this one.
    left_behind: AtomicBool,
}

/// The kernel counts what a fence drops among the drops of the listener.
#[derive(Clone, Copy, Debug)]
struct FenceCount {
    /// When it was set.
    before: u64,
    /// When the listener was closed, or at the last look.
    last: u64,
}

impl FenceCount {
    fn dropped(self) -> u64 {
        self.last.saturating_sub(self.before)
    }
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
            fence: Mutex::new(None),
            left_behind: AtomicBool::new(false),
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
        let mut queue = self.listener()?.queue();
        if let (Some(fence), Some(drops)) = (&mut *self.lock_fence(), &mut queue.drops) {
            fence.last = *drops;
            *drops = fence.before;
        }
        Some(queue)
    }

    /// Lets nobody new in, and counts apart whom that turns away.
    pub(crate) fn fence(&self) -> io::Result<Fence> {
        let Some(listener) = self.listener() else { return Ok(Fence::Shared) };
        let before = listener.queue().drops;
        let fence = listener.fence()?;
        if let (Fence::Set, Some(before)) = (fence, before) {
            *self.lock_fence() = Some(FenceCount { before, last: before });
        }
        Ok(fence)
    }

    /// SYNs that its fence has dropped so far. `None` where there is, or was, none.
    pub(crate) fn fenced(&self) -> Option<u64> {
        (*self.lock_fence()).map(FenceCount::dropped)
    }

    pub(crate) fn is_left_behind(&self) -> bool {
        self.left_behind.load(Ordering::Acquire)
    }

    /// The successor does not continue it: a drain deals with it as if there were none.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn leave_behind(&self) {
        self.left_behind.store(true, Ordering::Release);
    }

    fn lock_fence(&self) -> MutexGuard<'_, Option<FenceCount>> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
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
        // The last look at what its fence has dropped.
        let _last = self.fenced().and_then(|_| self.queue());
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(listener);
    }
}
