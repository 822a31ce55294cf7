//! Notes and samples in words: the events of `docs/events.md`.
//!
//! Owns the texts, the levels and the rate of warnings. Runs on the watch's thread only.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anteroom_listener::{AcceptErrorClass, Address, Backlog};
use tracing::{debug, error, info, warn};

use super::note::Note;
use super::snapshot::Snapshot;
use crate::admit::Cause;

/// At most one warning of a kind in this time; those between are counted into the next.
const WARNING_EVERY: Duration = Duration::from_secs(1);

/// What a rate of warnings is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    AcceptError(usize, AcceptErrorClass),
    FilterSlow,
    Count(Count),
}

/// A count that is spoken of when it has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Count {
    /// Of a listener, by the position of the cause.
    Refused(usize, usize),
    Drops(usize),
    Lost,
}

#[derive(Debug, Default)]
struct Rate {
    last: Option<Instant>,
    held_back: u64,
}

pub(crate) struct Speaker {
    listeners: Vec<String>,
    rates: HashMap<Kind, Rate>,
    spoken: HashMap<Count, u64>,
}

impl Speaker {
    pub(crate) fn new(first: &Snapshot) -> Self {
        let listeners = first.listeners.iter().map(|listener| listener.name.clone()).collect();
        Self { listeners, rates: HashMap::new(), spoken: HashMap::new() }
    }

    pub(crate) fn speak(&mut self, note: Note) {
        match note {
            Note::Dead { listener, stage, death, peer, age } => {
                let listener = self.name(listener);
                debug!(target: "anteroom::dead_on_arrival", listener, %peer, kind = death.label(), stage = stage.label(), ?age,
                    "the peer had gone before it could be served");
            }
            Note::Refused { listener, cause, peer, age } => {
                let listener = self.name(listener);
                debug!(target: "anteroom::refused", listener, %peer, %cause, ?age, "connection refused");
            }
            Note::AcceptError { listener, class, error, pause } => {
                if let Some(also) = self.rate(Kind::AcceptError(listener, class)) {
                    let listener = self.name(listener);
                    warn!(target: "anteroom::accept_error", listener, class = class.name(), %error, ?pause, also,
                        "accept failed");
                }
            }
            Note::Listening { address, listener, backlog } => self.listening(&address, listener, backlog),
            Note::ReserveLost => {
                warn!(target: "anteroom::reserve", "the reserve descriptor was lost to another thread; trying to regain it");
            }
            Note::ReserveRegained => info!(target: "anteroom::reserve", "the reserve descriptor is back"),
            Note::FilterSlow { listener, took } => {
                if let Some(also) = self.rate(Kind::FilterSlow) {
                    let listener = self.name(listener);
                    warn!(target: "anteroom::filter", listener, ?took, also, "the admission filter holds up accepting");
                }
            }
            Note::FilterPanicked { listener } => {
                let listener = self.name(listener);
                error!(target: "anteroom::filter", listener, "the admission filter panicked; the connection was refused");
            }
            Note::ListenerClosed { listener } => {
                let listener = self.name(listener);
                info!(target: "anteroom::listener_closed", listener, "its queue was emptied and the listener closed");
            }
            Note::ListenerFailed { listener, error } => {
                let listener = self.name(listener);
                error!(target: "anteroom::listener_failed", listener, %error, "the listener is broken");
            }
            Note::Phase(phase) => info!(target: "anteroom::phase", phase = phase.label(), "phase"),
            Note::Paused => info!(target: "anteroom::paused", "accepting is paused; the kernel queues"),
            Note::Resumed => info!(target: "anteroom::resumed", "accepting goes on"),
        }
    }

    fn listening(&self, address: &Address, listener: usize, backlog: Backlog) {
        let Backlog { requested, effective, .. } = backlog;
        let listener = self.name(listener);
        info!(target: "anteroom::listening", listener, %address, requested, effective, "listening");
        if backlog.is_clamped() {
            warn!(target: "anteroom::backlog", listener, requested, effective,
                "the kernel granted a smaller backlog than requested: raise net.core.somaxconn, then the backlog");
        }
    }

    /// Says what samples show: refusals, drops of a listener, and notes that were lost.
    pub(crate) fn look(&mut self, snapshot: &Snapshot) {
        for (index, listener) in snapshot.listeners.iter().enumerate() {
            let refused = listener.report.refused.by_cause();
            for (position, (cause, refused)) in Cause::ALL.into_iter().zip(refused).enumerate() {
                let new = self.new_since(Count::Refused(index, position), refused);
                if new > 0 {
                    warn!(target: "anteroom::refusing", listener = listener.name, cause = cause.label(), new,
                        "connections are being refused");
                }
            }
            let Some(queue) = listener.queue else { continue };
            let new = self.new_since(Count::Drops(index), queue.drops.unwrap_or(0));
            if new > 0 {
                warn!(target: "anteroom::dropped", listener = listener.name, new, depth = queue.depth, limit = queue.limit,
                    "the kernel dropped segments of this listener: its accept queue was full, or a filter refused them");
            }
        }
        let new = self.new_since(Count::Lost, snapshot.events_lost);
        if new > 0 {
            warn!(target: "anteroom::events_lost", new, "the subscriber is slower than the events; counts are complete");
        }
    }

    /// What has come since this count was last spoken of: 0 also when it is too early to speak again.
    fn new_since(&mut self, count: Count, now: u64) -> u64 {
        let spoken = self.spoken.get(&count).copied().unwrap_or(0);
        if now <= spoken || self.rate(Kind::Count(count)).is_none() {
            return 0;
        }
        self.spoken.insert(count, now);
        now - spoken
    }

    fn name(&self, listener: usize) -> &str {
        self.listeners.get(listener).map_or("?", String::as_str)
    }

    /// `Some(held back since)` when it is time to speak of this kind again.
    fn rate(&mut self, kind: Kind) -> Option<u64> {
        let rate = self.rates.entry(kind).or_default();
        let now = Instant::now();
        if rate.last.is_some_and(|last| now - last < WARNING_EVERY) {
            rate.held_back += 1;
            return None;
        }
        rate.last = Some(now);
        Some(std::mem::take(&mut rate.held_back))
    }
}
