//! The counts of one listener.
//!
//! Owns the atomics that the acceptor and the connections write. Each connection that was accepted
//! is entered exactly once more, at its end, so that the sums meet. Never formats or publishes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anteroom_listener::AcceptErrorClass;
use histogram::AtomicHistogram;
#[cfg(feature = "metrics")]
use histogram::Histogram;

use super::report::{DeadOnArrival, Deaths, Refused, Report, Served};
use crate::admit::{Cause, Death, Stage};
use crate::tick::nanos;

/// How a handed-out connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    Panicked,
    Cut,
    Refused(Cause),
}

/// The connections of one listener that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    pub(crate) waiting: u64,
    pub(crate) open: u64,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    accepted: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    cut: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
    /// Those of the refused that had been handed out.
    refused_after_hand_over: AtomicU64,
    dead: [[AtomicU64; Death::ALL.len()]; Stage::ALL.len()],
    errors: Vec<AtomicU64>,
    left_standing: AtomicU64,
    handed_out: AtomicU64,
    handed_over: AtomicU64,
    /// All in microseconds.
    pub(crate) kernel_wait: AtomicHistogram,
    pub(crate) room_wait: AtomicHistogram,
    pub(crate) handler_time: AtomicHistogram,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            refused: Default::default(),
            refused_after_hand_over: AtomicU64::new(0),
            dead: Default::default(),
            errors: AcceptErrorClass::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            left_standing: AtomicU64::new(0),
            handed_out: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            kernel_wait: microseconds(),
            room_wait: microseconds(),
            handler_time: microseconds(),
        }
    }

    pub(crate) fn accepted(&self, connections: usize) {
        self.accepted.fetch_add(connections as u64, Relaxed);
    }

    pub(crate) fn dead(&self, stage: Stage, death: Death) {
        if let Some(count) = self.dead.get(stage as usize).and_then(|kinds| kinds.get(death.index())) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn refused(&self, cause: Cause) {
        if let Some(count) = self.refused.get(cause.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A connection that was counted as handed out is refused after all.
    pub(crate) fn refused_after_hand_over(&self, cause: Cause) {
        self.refused_after_hand_over.fetch_add(1, Relaxed);
        self.refused(cause);
    }

    pub(crate) fn accept_error(&self, class: AcceptErrorClass) {
        let index = AcceptErrorClass::ALL.iter().position(|&listed| listed == class);
        if let Some(count) = index.and_then(|index| self.errors.get(index)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Whoever was to accept these did not come, and the acceptor did.
    pub(crate) fn left_standing(&self, connections: usize) {
        self.left_standing.fetch_add(connections as u64, Relaxed);
    }

    pub(crate) fn left_standing_so_far(&self) -> u64 {
        self.left_standing.load(Relaxed)
    }

    /// A connection leaves the room for a handler.
    pub(crate) fn handed_out(&self, room_wait: Duration) {
        self.handed_out.fetch_add(1, Relaxed);
        record(&self.room_wait, room_wait);
    }

    /// A waiting connection is the successor's.
    pub(crate) fn handed_over(&self) {
        self.handed_over.fetch_add(1, Relaxed);
    }

    /// A handed-out connection has ended.
    pub(crate) fn ended(&self, ending: Ending, handler_time: Duration) {
        record(&self.handler_time, handler_time);
        match ending {
            Ending::Done => &self.done,
            Ending::Failed => &self.failed,
            Ending::Panicked => &self.panicked,
            Ending::Cut => &self.cut,
            Ending::Refused(cause) => return self.refused_after_hand_over(cause),
        }
        .fetch_add(1, Relaxed);
    }

    /// By class, those that can occur: an empty queue and a signal end or repeat a batch, and are no
    /// errors to count.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (AcceptErrorClass, u64)> {
        let all =
            AcceptErrorClass::ALL.iter().copied().zip(self.errors.iter().map(|count| count.load(Relaxed)));
        all.filter(|(class, _)| !matches!(class, AcceptErrorClass::Empty | AcceptErrorClass::Interrupted))
    }

    pub(crate) fn handed_out_so_far(&self) -> u64 {
        self.handed_out.load(Relaxed)
    }

    /// Who waits and who is open, from the counts alone: no lock of the hot path knows listeners apart.
    ///
    /// Ends are read before beginnings, and no difference goes below zero: the counts move between
    /// the reads.
    pub(crate) fn under_way(&self) -> UnderWay {
        let refused_open = self.refused_after_hand_over.load(Relaxed);
        let refused: u64 = self.refused.iter().map(|count| count.load(Relaxed)).sum();
        let dead: u64 = self.dead.iter().flatten().map(|count| count.load(Relaxed)).sum();
        let served: u64 = [&self.done, &self.failed, &self.panicked, &self.cut]
            .iter()
            .map(|count| count.load(Relaxed))
            .sum();
        let handed_over = self.handed_over.load(Relaxed);
        let handed_out = self.handed_out.load(Relaxed);
        let accepted = self.accepted.load(Relaxed);
        let never_handed_out = dead + handed_over + refused.saturating_sub(refused_open);
        UnderWay {
            waiting: accepted.saturating_sub(handed_out).saturating_sub(never_handed_out),
            open: handed_out.saturating_sub(served).saturating_sub(refused_open),
        }
    }

    /// Ends are read before beginnings, so that what is still under way never comes out negative.
    pub(crate) fn report(&self) -> Report {
        let deaths = |stage: Stage| {
            let count = |death: Death| {
                self.dead
                    .get(stage as usize)
                    .and_then(|kinds| kinds.get(death.index()))
                    .map_or(0, |count| count.load(Relaxed))
            };
            Deaths { silent: count(Death::Silent), gone: count(Death::Gone), reset: count(Death::Reset) }
        };
        let refused = |cause: Cause| self.refused.get(cause.index()).map_or(0, |count| count.load(Relaxed));
        let served = Served {
            done: self.done.load(Relaxed),
            failed: self.failed.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            cut: self.cut.load(Relaxed),
        };
        let refused = Refused {
            full: refused(Cause::Full),
            too_old: refused(Cause::TooOld),
            probably_left: refused(Cause::ProbablyLeft),
            denied: refused(Cause::Denied),
            closed: refused(Cause::Closed),
            resources: refused(Cause::Resources),
            hopeless: refused(Cause::Hopeless),
            share: refused(Cause::Share),
            rate: refused(Cause::Rate),
            early: refused(Cause::Early),
            silent: refused(Cause::Silent),
            user: refused(Cause::User("")),
        };
        let dead_on_arrival = DeadOnArrival { in_queue: deaths(Stage::Queue), in_room: deaths(Stage::Room) };
        let handed_over = self.handed_over.load(Relaxed);
        Report { served, refused, dead_on_arrival, handed_over, accepted: self.accepted.load(Relaxed) }
    }
}

/// Buckets of 3 % width up to 2^42 µs, which is 50 days.
pub(crate) fn microseconds() -> AtomicHistogram {
    let config = histogram::Config::new(5, 42);
    #[expect(clippy::expect_used, reason = "the two constants are valid, a test makes one")]
    AtomicHistogram::with_config(&config.expect("5 bits below 42"))
}

/// Longer than the last bucket: not recorded, there is no server that waits 50 days.
fn record(histogram: &AtomicHistogram, value: Duration) {
    record_nanos(histogram, nanos(value));
}

/// As [`record`], from nanoseconds.
pub(crate) fn record_nanos(histogram: &AtomicHistogram, nanos: u64) {
    let _out_of_range = histogram.increment(nanos / 1000);
}

/// A copy with the same buckets.
#[cfg(feature = "metrics")]
pub(crate) fn empty_copy() -> Histogram {
    microseconds().load()
}

impl Ledger {
    pub(crate) fn kernel_waited(&self, wait: Duration) {
        record(&self.kernel_wait, wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_entered_once_and_the_sums_meet() {
        let ledger = Ledger::new();
        ledger.accepted(22);
        for cause in Cause::ALL {
            ledger.refused(cause);
        }
        for stage in Stage::ALL {
            for death in Death::ALL {
                ledger.dead(stage, death);
            }
        }
        for ending in [Ending::Done, Ending::Failed, Ending::Panicked] {
            ledger.ended(ending, Duration::from_millis(1));
        }
        ledger.ended(Ending::Refused(Cause::User("why")), Duration::ZERO);
        let report = ledger.report();
        assert_eq!(report.refused.total(), 13);
        assert_eq!(report.refused.user, 2);
        assert_eq!(report.dead_on_arrival.total(), 6);
        assert_eq!(report.served.total(), 3);
        assert!(report.is_balanced(), "{report}");
    }

    #[test]
    fn what_is_no_error_has_no_count() {
        let ledger = Ledger::new();
        ledger.accept_error(AcceptErrorClass::Memory);
        let told: Vec<_> = ledger.errors().collect();
        assert_eq!(told.len(), AcceptErrorClass::ALL.len() - 2);
        assert!(told.contains(&(AcceptErrorClass::Memory, 1)));
        for class in [AcceptErrorClass::Empty, AcceptErrorClass::Interrupted] {
            assert!(!told.iter().any(|(told, _)| *told == class), "{class:?}");
        }
    }

    #[test]
    fn who_waits_and_who_is_open_follows_from_the_counts() {
        let ledger = Ledger::new();
        let told = || (ledger.under_way().waiting, ledger.under_way().open);
        ledger.accepted(10);
        assert_eq!(told(), (10, 0));
        ledger.refused(Cause::Full);
        ledger.dead(Stage::Room, Death::Gone);
        assert_eq!(told(), (8, 0));
        for _ in 0..5 {
            ledger.handed_out(Duration::ZERO);
        }
        assert_eq!(told(), (3, 5));
        ledger.ended(Ending::Done, Duration::ZERO);
        ledger.ended(Ending::Cut, Duration::ZERO);
        assert_eq!(told(), (3, 3));
        ledger.ended(Ending::Refused(Cause::User("why")), Duration::ZERO);
        assert_eq!(told(), (3, 2), "a handler's refusal ends what was open");
        ledger.refused_after_hand_over(Cause::Resources);
        assert_eq!(told(), (3, 1), "it did not wait any more");
        ledger.ended(Ending::Failed, Duration::ZERO);
        ledger.ended(Ending::Failed, Duration::ZERO);
        assert_eq!(told(), (3, 0), "never below zero");
    }
}
