//! The metrics of stalls, of the runtime's delay and of polls.
//!
//! Owns what was already published of them.

use std::collections::HashMap;

use histogram::Histogram;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::growth::{growth, more};
use super::ledger::empty_copy;
use super::snapshot::Snapshot;

/// The distributions that belong to no listener, in microseconds.
#[derive(Debug)]
pub(crate) struct Timings {
    pub(crate) runtime_delay: Histogram,
    pub(crate) poll_time: Histogram,
}

impl Timings {
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { runtime_delay: empty_copy(), poll_time: empty_copy() }
    }
}

#[derive(Debug)]
pub(super) struct StallMetrics {
    /// By cause.
    stalls: HashMap<&'static str, u64>,
    /// By lane.
    slow_polls: HashMap<usize, u64>,
    runtime_delay: Histogram,
    poll_time: Histogram,
}

impl StallMetrics {
    pub(super) fn new() -> Self {
        Self {
            stalls: HashMap::new(),
            slow_polls: HashMap::new(),
            runtime_delay: empty_copy(),
            poll_time: empty_copy(),
        }
    }

    /// Causes that have never been seen are there from the start, at 0.
    pub(super) fn publish(&mut self, snapshot: &Snapshot, timings: &Timings) {
        describe();
        gauge!("anteroom_ready").set(u8::from(snapshot.readiness.is_ready()));
        let late = snapshot.runtime_late.unwrap_or_default();
        gauge!("anteroom_runtime_late_seconds").set(late.as_secs_f64());
        for (cause, told) in &snapshot.stalls_so_far {
            let lasts = snapshot.stalls.iter().any(|stall| stall.cause.label() == *cause);
            gauge!("anteroom_stalled", "cause" => *cause).set(u8::from(lasts));
            let new = growth(self.stalls.entry(cause).or_default(), *told);
            counter!("anteroom_stalls_total", "cause" => *cause).increment(new);
        }
        for (number, lane) in snapshot.lanes.iter().enumerate() {
            let new = growth(self.slow_polls.entry(number).or_default(), lane.slow_polls);
            counter!("anteroom_slow_polls_total", "lane" => number.to_string()).increment(new);
        }
        let Timings { runtime_delay, poll_time } = timings;
        more(runtime_delay.clone(), &mut self.runtime_delay, &histogram!("anteroom_runtime_delay_seconds"));
        more(poll_time.clone(), &mut self.poll_time, &histogram!("anteroom_poll_seconds"));
    }
}

fn describe() {
    describe_gauge!("anteroom_ready", "1 while clients are to be sent here.");
    describe_gauge!(
        "anteroom_runtime_late_seconds",
        Unit::Seconds,
        "How long something has been waiting for its turn on the runtime."
    );
    describe_gauge!("anteroom_stalled", "1 while clients are kept waiting for this cause.");
    describe_counter!("anteroom_stalls_total", Unit::Count, "Stalls that were told, by cause.");
    describe_counter!(
        "anteroom_slow_polls_total",
        Unit::Count,
        "Polls of handlers and services that took longer than slow_poll."
    );
    describe_histogram!(
        "anteroom_runtime_delay_seconds",
        Unit::Seconds,
        "How late the runtime ran what was ready."
    );
    describe_histogram!("anteroom_poll_seconds", Unit::Seconds, "Time of one poll of a handler.");
}
