//! What has been found: the stalls of the moment, and how late the runtime is.
//!
//! Owns the list that snapshots show. Never looks for anything itself.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::beat::Beat;
use crate::observe::{Stall, StallCause};
use crate::tick::Tick;

/// What can only be told afterwards is shown for so long.
const SHOWN_FOR: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) beat: Arc<Beat>,
    stalls: Mutex<Stalls>,
    /// How many were told, by cause.
    counts: [AtomicU64; StallCause::LABELS.len()],
}

#[derive(Debug, Default)]
struct Stalls {
    current: Vec<Stall>,
    /// With the time until which they are shown.
    past: Vec<(Stall, Tick)>,
}

impl Stalls {
    fn forget(&mut self, now: Tick) {
        self.past.retain(|(_, until)| *until > now);
    }
}

impl Findings {
    pub(crate) fn new() -> Self {
        Self { beat: Arc::new(Beat::new()), stalls: Mutex::default(), counts: Default::default() }
    }

    /// What keeps clients waiting now, and what did a moment ago.
    pub(crate) fn stalls(&self, now: Tick) -> Vec<Stall> {
        let mut stalls = self.lock();
        stalls.forget(now);
        let past = stalls.past.iter().map(|(stall, _)| stall);
        stalls.current.iter().chain(past).cloned().collect()
    }

    pub(super) fn are(&self, current: Vec<Stall>) {
        self.lock().current = current;
    }

    /// It is over already.
    pub(crate) fn was(&self, stall: Stall, now: Tick) {
        let mut stalls = self.lock();
        stalls.forget(now);
        stalls.past.push((stall, now + SHOWN_FOR));
    }

    /// One more has been told.
    pub(crate) fn count(&self, cause: &StallCause) {
        let number = StallCause::LABELS.iter().position(|label| *label == cause.label());
        if let Some(count) = number.and_then(|number| self.counts.get(number)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        StallCause::LABELS.into_iter().zip(counts).collect()
    }

    /// For how long an empty task has been waiting for its turn.
    pub(crate) fn beat_late(&self, now: Tick) -> Option<Duration> {
        self.beat.waiting_since().map(|since| now.since(since))
    }

    fn lock(&self) -> MutexGuard<'_, Stalls> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
