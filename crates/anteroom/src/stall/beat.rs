//! The empty task: how late the runtime is, asked from outside.
//!
//! Owns the one question that is under way. A spawn from outside also wakes a worker that is idle, which
//! then looks after I/O and timers: the kick is nothing else. Never runs anything of the user's.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use tokio::runtime;

use crate::gate::Gate;
use crate::observe::record;

#[derive(Debug)]
pub(crate) struct Beat {
    began: Instant,
    /// When the question was sent that has not been answered, in nanoseconds since the beginning; 0: none.
    sent: AtomicU64,
    /// The runtime dropped a question instead of running it.
    is_gone: AtomicBool,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), sent: AtomicU64::new(0), is_gone: AtomicBool::new(false) }
    }

    /// Sends the empty task, unless one is on its way: a runtime that is stuck is given one, however long it
    /// lasts. Its delay is recorded at the gate when its turn comes. Says whether it was sent.
    pub(super) fn send(self: &Arc<Self>, runtime: &runtime::Handle, gate: &Arc<Gate>, now: Instant) -> bool {
        if self.sent.load(Acquire) != 0 {
            return false;
        }
        self.sent.store(self.nanos(now), Release);
        let question = Question { beat: Arc::clone(self), gate: Arc::clone(gate), is_answered: false };
        drop(runtime.spawn(async move { question.answer() }));
        true
    }

    /// Since when an empty task has been waiting for its turn. `None`: there is none.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let sent = self.sent.load(Acquire);
        (sent != 0).then(|| self.began + Duration::from_nanos(sent))
    }

    /// Another runtime is asked from now on.
    pub(crate) fn begin_anew(&self) {
        self.is_gone.store(false, Release);
    }

    pub(crate) fn is_runtime_gone(&self) -> bool {
        self.is_gone.load(Acquire)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

struct Question {
    beat: Arc<Beat>,
    gate: Arc<Gate>,
    is_answered: bool,
}

impl Question {
    fn answer(mut self) {
        self.is_answered = true;
        let sent = self.beat.sent.load(Acquire);
        let now = self.beat.nanos(Instant::now());
        record(self.gate.delays(), Duration::from_nanos(now.saturating_sub(sent)));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_answered {
            self.beat.is_gone.store(true, Release);
        }
        let _answered = self.beat.sent.swap(0, AcqRel);
    }
}
