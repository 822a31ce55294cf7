//! Samples as metrics: the names of `docs/events.md`, by Prometheus' conventions.
//!
//! Owns the names and what was already published of the histograms. Runs on the watch's thread only.

use std::sync::Arc;

use histogram::{AtomicHistogram, Histogram};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::ledger::{Ledger, empty_copy};
use super::report::Deaths;
use super::snapshot::{ListenerSnapshot, Snapshot};
use crate::admit::Cause;

/// The histograms as they were published last.
struct Published {
    kernel_wait: Histogram,
    room_wait: Histogram,
    handler_time: Histogram,
}

pub(super) struct Publisher {
    published: Vec<Published>,
}

impl Publisher {
    pub(super) fn new(ledgers: &[Arc<Ledger>]) -> Self {
        let empty =
            || Published { kernel_wait: empty_copy(), room_wait: empty_copy(), handler_time: empty_copy() };
        Self { published: ledgers.iter().map(|_| empty()).collect() }
    }

    /// Everything anew: a recorder may have been installed since.
    pub(super) fn publish(&mut self, snapshot: &Snapshot, ledgers: &[Arc<Ledger>]) {
        describe();
        gauge!("anteroom_oldest_wait_seconds").set(snapshot.oldest_wait.unwrap_or_default().as_secs_f64());
        counter!("anteroom_events_lost_total").absolute(snapshot.events_lost);
        for ((listener, ledger), published) in snapshot.listeners.iter().zip(ledgers).zip(&mut self.published)
        {
            counts(listener);
            under_way(listener);
            queue(listener);
            let name = &listener.name;
            more(
                &ledger.kernel_wait,
                &mut published.kernel_wait,
                &histogram!("anteroom_kernel_wait_seconds", "listener" => name.clone()),
            );
            more(
                &ledger.room_wait,
                &mut published.room_wait,
                &histogram!("anteroom_room_wait_seconds", "listener" => name.clone()),
            );
            more(
                &ledger.handler_time,
                &mut published.handler_time,
                &histogram!("anteroom_handler_seconds", "listener" => name.clone()),
            );
        }
    }
}

fn counts(listener: &ListenerSnapshot) {
    let name = &listener.name;
    let report = &listener.report;
    counter!("anteroom_accepted_total", "listener" => name.clone()).absolute(report.accepted);
    counter!("anteroom_handed_out_total", "listener" => name.clone()).absolute(listener.handed_out);
    let served = &report.served;
    for (outcome, count) in
        [("done", served.done), ("failed", served.failed), ("panicked", served.panicked), ("cut", served.cut)]
    {
        counter!("anteroom_served_total", "listener" => name.clone(), "outcome" => outcome).absolute(count);
    }
    for (cause, count) in Cause::ALL.into_iter().zip(report.refused.by_cause()) {
        counter!("anteroom_refused_total", "listener" => name.clone(), "cause" => cause.label())
            .absolute(count);
    }
    for (stage, deaths) in
        [("queue", &report.dead_on_arrival.in_queue), ("room", &report.dead_on_arrival.in_room)]
    {
        let Deaths { silent, gone, reset } = *deaths;
        for (kind, count) in [("silent", silent), ("gone", gone), ("reset", reset)] {
            counter!("anteroom_dead_on_arrival_total", "listener" => name.clone(), "stage" => stage, "kind" => kind)
                .absolute(count);
        }
    }
    for &(class, count) in &listener.accept_errors {
        counter!("anteroom_accept_errors_total", "listener" => name.clone(), "class" => class.name())
            .absolute(count);
    }
}

fn under_way(listener: &ListenerSnapshot) {
    let name = &listener.name;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_waiting_connections", "listener" => name.clone()).set(listener.waiting as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_open_connections", "listener" => name.clone()).set(listener.open as f64);
}

/// What the kernel does not tell is not published, rather than as zero.
fn queue(listener: &ListenerSnapshot) {
    let name = &listener.name;
    let Some(queue) = listener.queue else { return };
    if let Some(depth) = queue.depth {
        gauge!("anteroom_accept_queue_depth", "listener" => name.clone()).set(depth);
    }
    if let Some(limit) = queue.limit {
        gauge!("anteroom_accept_queue_limit", "listener" => name.clone()).set(limit);
    }
    if let Some(drops) = queue.drops {
        counter!("anteroom_accept_queue_drops_total", "listener" => name.clone()).absolute(drops);
    }
}

/// Records what came since the last time, each value as the end of its bucket.
fn more(now: &AtomicHistogram, published: &mut Histogram, into: &metrics::Histogram) {
    let now = now.load();
    for (bucket, before) in now.iter().zip(published.iter()) {
        let new = bucket.count().saturating_sub(before.count());
        if new > 0 {
            #[expect(clippy::cast_precision_loss, reason = "microseconds below 2^42")]
            into.record_many(bucket.end() as f64 / 1e6, usize::try_from(new).unwrap_or(usize::MAX));
        }
    }
    *published = now;
}

fn describe() {
    describe_counter!("anteroom_accepted_total", Unit::Count, "Connections that accept returned.");
    describe_counter!(
        "anteroom_handed_out_total",
        Unit::Count,
        "Connections that left the waiting room for a handler."
    );
    describe_counter!(
        "anteroom_served_total",
        Unit::Count,
        "Handed-out connections that have ended, by outcome."
    );
    describe_counter!(
        "anteroom_refused_total",
        Unit::Count,
        "Connections refused while their peer was there, by cause."
    );
    describe_counter!(
        "anteroom_dead_on_arrival_total",
        Unit::Count,
        "Connections whose peer had gone before they could be served."
    );
    describe_counter!("anteroom_accept_errors_total", Unit::Count, "Errors of accept, by class.");
    describe_counter!(
        "anteroom_accept_queue_drops_total",
        Unit::Count,
        "Segments that the kernel dropped at this listener."
    );
    describe_counter!(
        "anteroom_events_lost_total",
        Unit::Count,
        "Events that the subscriber was too slow for."
    );
    describe_gauge!("anteroom_accept_queue_depth", Unit::Count, "Connections in the kernel's accept queue.");
    describe_gauge!("anteroom_accept_queue_limit", Unit::Count, "The backlog that the kernel granted.");
    describe_gauge!("anteroom_waiting_connections", Unit::Count, "Connections in the waiting room.");
    describe_gauge!("anteroom_open_connections", Unit::Count, "Connections handed out that have not ended.");
    describe_gauge!(
        "anteroom_oldest_wait_seconds",
        Unit::Seconds,
        "Age of the oldest waiting connection since its handshake."
    );
    describe_histogram!(
        "anteroom_kernel_wait_seconds",
        Unit::Seconds,
        "From the end of the handshake to accept."
    );
    describe_histogram!("anteroom_room_wait_seconds", Unit::Seconds, "Time in the waiting room.");
    describe_histogram!(
        "anteroom_handler_seconds",
        Unit::Seconds,
        "From the hand-over to the end of the handler."
    );
}
