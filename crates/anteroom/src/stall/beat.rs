//! The empty task: how late the runtime is, asked from outside.
//!
//! Owns the one question that is under way. A spawn from outside also wakes a worker that is idle, which
//! then looks after I/O and timers: the kick is nothing else. Never runs anything of the user's.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::runtime;

use crate::gate::Gate;
use crate::observe::record_nanos;
use crate::tick::Tick;

#[derive(Debug)]
pub(crate) struct Beat {
    /// When the question was sent that has not been answered, in a tick's nanoseconds; 0: none.
    sent: AtomicU64,
    /// The runtime dropped a question instead of running it.
    is_gone: AtomicBool,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self { sent: AtomicU64::new(0), is_gone: AtomicBool::new(false) }
    }

    /// Sends the empty task, unless one is on its way: a runtime that is stuck is given one, however long it
    /// lasts. Its delay is recorded at the gate when its turn comes. Says whether it was sent.
    pub(super) fn send(self: &Arc<Self>, runtime: &runtime::Handle, gate: &Arc<Gate>, now: Tick) -> bool {
        if self.sent.load(Acquire) != 0 {
            return false;
        }
        self.sent.store(now.nanos(), Release);
        let question = Question { beat: Arc::clone(self), gate: Arc::clone(gate), is_answered: false };
        drop(runtime.spawn(async move { question.answer() }));
        true
    }

    /// Since when an empty task has been waiting for its turn. `None`: there is none.
    pub(super) fn waiting_since(&self) -> Option<Tick> {
        let sent = self.sent.load(Acquire);
        (sent != 0).then(|| Tick::from_nanos(sent))
    }

    /// Another runtime is asked from now on.
    pub(crate) fn begin_anew(&self) {
        self.is_gone.store(false, Release);
    }

    pub(crate) fn is_runtime_gone(&self) -> bool {
        self.is_gone.load(Acquire)
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
        let sent = Tick::from_nanos(self.beat.sent.load(Acquire));
        record_nanos(self.gate.delays(), Tick::now().nanos_since(sent));
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
