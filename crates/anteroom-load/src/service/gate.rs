//! What makes every handler block its worker, until it is opened.
//!
//! Owns: the block.
//! Never: async. The point is that the worker is gone.

use crate::measure::now;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    blocked: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    Shut,
}

impl Gate {
    pub(super) fn shut(&self) {
        self.state().way = Way::Shut;
    }

    /// Everybody goes on; gives the moment.
    pub(super) fn open(&self) -> Duration {
        let moment = now();
        self.state().way = Way::Open;
        self.changed.notify_all();
        moment
    }

    pub(super) fn blocked(&self) -> usize {
        self.state().blocked
    }

    /// Blocks this thread while the gate is shut.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        if state.way == Way::Open {
            return;
        }
        state.blocked += 1;
        while state.way == Way::Shut {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.blocked -= 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
