//! Samples as metrics: the names of `docs/events.md`, by Prometheus' conventions.
//!
//! Owns the names and what was already published of counters and histograms. Runs on the watch's
//! thread only.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;

use histogram::Histogram;
use metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    with_recorder,
};

use super::growth::{growth, more};
use super::ledger::{Ledger, empty_copy};
use super::report::Deaths;
use super::snapshot::{LaneSnapshot, ListenerSnapshot, Snapshot};
use super::stall_metrics::{StallMetrics, Timings};
use crate::admit::Cause;

/// Where the recorder stands: another one has been told nothing yet.
type RecorderAddress = usize;

#[derive(Debug)]
pub(crate) struct Metrics {
    recorder: RecorderAddress,
    events_lost: u64,
    stalls: StallMetrics,
    listeners: Vec<Published>,
}

impl Metrics {
    pub(crate) fn new(ledgers: &[Arc<Ledger>]) -> Self {
        let listeners = ledgers.iter().map(|_| Published::nothing()).collect();
        Self { recorder: recorder_address(), events_lost: 0, stalls: StallMetrics::new(), listeners }
    }

    /// Counters as what they have grown by: a second server of this process that has listeners of the
    /// same names adds to them.
    pub(crate) fn publish(&mut self, snapshot: &Snapshot, ledgers: &[Arc<Ledger>], timings: &Timings) {
        // What was told to nobody, before a recorder was installed, is told to it from the beginning.
        if self.recorder != recorder_address() {
            *self = Self::new(ledgers);
        }
        describe();
        gauge!("anteroom_oldest_wait_seconds").set(snapshot.oldest_wait.unwrap_or_default().as_secs_f64());
        room(snapshot);
        self.stalls.publish(snapshot, timings);
        for (number, lane) in snapshot.lanes.iter().enumerate() {
            order(number, *lane);
        }
        counter!("anteroom_events_lost_total").increment(growth(&mut self.events_lost, snapshot.events_lost));
        for ((listener, ledger), published) in snapshot.listeners.iter().zip(ledgers).zip(&mut self.listeners)
        {
            published.counts(listener);
            under_way(listener);
            published.queue(listener);
            published.waits(&listener.name, ledger);
        }
    }
}

/// What was published of one listener.
#[derive(Debug)]
struct Published {
    /// By name, and by the labels beside the listener's.
    counts: HashMap<(&'static str, Labels), u64>,
    /// The last depth that was told of the queue.
    depth: Option<u32>,
    kernel_wait: Histogram,
    room_wait: Histogram,
    handler_time: Histogram,
}

/// The labels of a counter beside the listener's: none has more than two.
type Labels = [Option<(&'static str, &'static str)>; 2];

impl Published {
    fn nothing() -> Self {
        Self {
            counts: HashMap::new(),
            depth: None,
            kernel_wait: empty_copy(),
            room_wait: empty_copy(),
            handler_time: empty_copy(),
        }
    }

    fn counts(&mut self, listener: &ListenerSnapshot) {
        let of = &listener.name;
        let report = &listener.report;
        self.count("anteroom_accepted_total", of, [None, None], report.accepted);
        self.count("anteroom_left_standing_total", of, [None, None], listener.left_standing);
        self.count("anteroom_handed_out_total", of, [None, None], listener.handed_out);
        let served = &report.served;
        for (outcome, count) in [
            ("done", served.done),
            ("failed", served.failed),
            ("panicked", served.panicked),
            ("cut", served.cut),
        ] {
            self.count("anteroom_served_total", of, [Some(("outcome", outcome)), None], count);
        }
        for (cause, count) in Cause::ALL.into_iter().zip(report.refused.by_cause()) {
            self.count("anteroom_refused_total", of, [Some(("cause", cause.label())), None], count);
        }
        for (stage, deaths) in
            [("queue", &report.dead_on_arrival.in_queue), ("room", &report.dead_on_arrival.in_room)]
        {
            let Deaths { silent, gone, reset } = *deaths;
            for (kind, count) in [("silent", silent), ("gone", gone), ("reset", reset)] {
                let labels = [Some(("stage", stage)), Some(("kind", kind))];
                self.count("anteroom_dead_on_arrival_total", of, labels, count);
            }
        }
        self.count("anteroom_handed_over_total", of, [None, None], report.handed_over);
        for &(class, count) in &listener.accept_errors {
            self.count("anteroom_accept_errors_total", of, [Some(("class", class.name())), None], count);
        }
    }

    /// What the kernel does not tell is not published, rather than as zero.
    fn queue(&mut self, listener: &ListenerSnapshot) {
        let name = &listener.name;
        // A closed listener has no queue any more: its last depth would stand for ever.
        self.depth = listener.queue.map_or(self.depth.and(Some(0)), |queue| queue.depth);
        if let Some(depth) = self.depth {
            gauge!("anteroom_accept_queue_depth", "listener" => name.clone()).set(depth);
        }
        if let Some(fenced) = listener.fenced {
            self.count("anteroom_fenced_total", name, [None, None], fenced);
        }
        let Some(queue) = listener.queue else { return };
        if let Some(limit) = queue.limit {
            gauge!("anteroom_accept_queue_limit", "listener" => name.clone()).set(limit);
        }
        if let Some(drops) = queue.drops {
            self.count("anteroom_accept_queue_drops_total", name, [None, None], drops);
        }
    }

    fn waits(&mut self, name: &str, ledger: &Ledger) {
        let labels = || [Label::new("listener", name.to_owned())].to_vec();
        more(
            ledger.kernel_wait.load(),
            &mut self.kernel_wait,
            &histogram!("anteroom_kernel_wait_seconds", labels()),
        );
        more(
            ledger.room_wait.load(),
            &mut self.room_wait,
            &histogram!("anteroom_room_wait_seconds", labels()),
        );
        more(
            ledger.handler_time.load(),
            &mut self.handler_time,
            &histogram!("anteroom_handler_seconds", labels()),
        );
    }

    /// A counter that has not grown is published too: a zero that is there is an answer.
    fn count(&mut self, name: &'static str, listener: &str, labels: Labels, now: u64) {
        let new = growth(self.counts.entry((name, labels)).or_default(), now);
        let further = labels.into_iter().flatten().map(|(key, value)| Label::from_static_parts(key, value));
        let all: Vec<_> = [Label::new("listener", listener.to_owned())].into_iter().chain(further).collect();
        counter!(name, all).increment(new);
    }
}

fn recorder_address() -> RecorderAddress {
    with_recorder(|recorder| ptr::from_ref(recorder).cast::<()>().addr())
}

fn room(snapshot: &Snapshot) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_silent_connections").set(snapshot.silent as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_farewell_connections").set(snapshot.farewells as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_sources").set(snapshot.sources as f64);
}

fn order(number: usize, lane: LaneSnapshot) {
    gauge!("anteroom_newest_first", "lane" => number.to_string()).set(u8::from(lane.newest_first));
}

fn under_way(listener: &ListenerSnapshot) {
    let name = &listener.name;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_waiting_connections", "listener" => name.clone()).set(listener.waiting as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("anteroom_open_connections", "listener" => name.clone()).set(listener.open as f64);
}

fn describe() {
    describe_counter!("anteroom_accepted_total", Unit::Count, "Connections that accept returned.");
    describe_counter!(
        "anteroom_left_standing_total",
        Unit::Count,
        "Connections that the acceptor's thread accepted for a taker that did not come."
    );
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
    describe_counter!("anteroom_fenced_total", Unit::Count, "SYNs that the fence of a drain has dropped.");
    describe_counter!(
        "anteroom_handed_over_total",
        Unit::Count,
        "Waiting connections that were passed on to a successor."
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
    describe_gauge!(
        "anteroom_silent_connections",
        Unit::Count,
        "Connections that have not sent their first byte, outside the service."
    );
    describe_gauge!(
        "anteroom_farewell_connections",
        Unit::Count,
        "Refused connections that are reading their reply."
    );
    describe_gauge!(
        "anteroom_sources",
        Unit::Count,
        "Sources that hold a connection, in each lane by itself."
    );
    describe_gauge!(
        "anteroom_newest_first",
        "1 while a lane serves the newest first, 0 in the order of arrival."
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use anteroom_listener::Listener;
    use metrics::{Counter, Gauge, Key, KeyName, Metadata, Recorder, SharedString, with_local_recorder};

    use super::super::snapshot::{Distribution, Phase};
    use super::*;

    /// Keeps counters as a recorder does, and gauges as bits.
    #[derive(Debug, Default)]
    struct Kept(Mutex<HashMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn value(&self, name: &str) -> Arc<AtomicU64> {
            Arc::clone(self.0.lock().unwrap().entry(name.to_owned()).or_default())
        }

        fn told(&self, name: &str) -> u64 {
            self.value(name).load(Relaxed)
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.value(key.name()))
        }

        /// A gauge of a lane is kept under its name and the lane's number.
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let lane = key.labels().find(|label| label.key() == "lane");
            let name = lane.map_or(key.name().to_owned(), |lane| format!("{} {}", key.name(), lane.value()));
            Gauge::from_arc(self.value(&name))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }

    const ACCEPTED: &str = "anteroom_accepted_total";

    /// A server with one listener.
    struct Told {
        publisher: Metrics,
        snapshot: Snapshot,
        ledgers: Vec<Arc<Ledger>>,
    }

    impl Told {
        fn new() -> Self {
            let listener = Listener::bind("127.0.0.1:0").unwrap();
            let ledgers = vec![Arc::new(Ledger::new())];
            let one = ListenerSnapshot {
                name: "public".to_owned(),
                address: listener.local_addr().clone(),
                accepting: crate::observe::Accepting::Yes,
                backlog: listener.backlog(),
                queue: Some(listener.queue()),
                fenced: None,
                report: Default::default(),
                left_standing: 0,
                handed_out: 0,
                waiting: 0,
                open: 0,
                accept_errors: Vec::new(),
                kernel_wait: Distribution::default(),
                room_wait: Distribution::default(),
                handler_time: Distribution::default(),
            };
            let snapshot = Snapshot {
                phase: Phase::Serving,
                readiness: crate::observe::Readiness::Ready,
                paused: false,
                open: 0,
                waiting: 0,
                silent: 0,
                farewells: 0,
                sources: 0,
                oldest_wait: None,
                stalls: Vec::new(),
                stalls_so_far: Vec::new(),
                runtime_delay: Default::default(),
                runtime_late: None,
                poll_time: Default::default(),
                lanes: vec![LaneSnapshot::default(); 2],
                listeners: vec![one],
                report: Default::default(),
                events_lost: 0,
            };
            Self { publisher: Metrics::new(&ledgers), snapshot, ledgers }
        }

        fn accepted(&mut self, accepted: u64, to: &Kept) {
            self.snapshot.listeners[0].report.accepted = accepted;
            self.publish(to);
        }

        fn publish(&mut self, to: &Kept) {
            with_local_recorder(to, || {
                self.publisher.publish(&self.snapshot, &self.ledgers, &Timings::none())
            });
        }
    }

    #[test]
    fn a_second_server_with_the_same_names_adds_up() {
        let kept = Kept::default();
        let (mut first, mut second) = (Told::new(), Told::new());
        first.accepted(5, &kept);
        first.accepted(7, &kept);
        second.accepted(3, &kept);
        assert_eq!(kept.told(ACCEPTED), 10);
        second.accepted(3, &kept);
        assert_eq!(kept.told(ACCEPTED), 10);
    }

    #[test]
    fn a_recorder_that_comes_later_is_told_everything() {
        let mut server = Told::new();
        let (early, late) = (Kept::default(), Kept::default());
        server.accepted(5, &early);
        server.accepted(7, &late);
        assert_eq!((early.told(ACCEPTED), late.told(ACCEPTED)), (5, 7));
    }

    #[test]
    fn who_is_in_the_room_and_each_lanes_order_are_told_as_they_are_now() {
        let kept = Kept::default();
        let mut server = Told::new();
        let gauge = |name: &str| f64::from_bits(kept.told(name)).to_string();
        server.snapshot.silent = 3;
        server.snapshot.farewells = 2;
        server.snapshot.sources = 5;
        server.snapshot.lanes[1].newest_first = true;
        server.publish(&kept);
        assert_eq!(gauge("anteroom_silent_connections"), "3");
        assert_eq!(gauge("anteroom_farewell_connections"), "2");
        assert_eq!(gauge("anteroom_sources"), "5");
        assert_eq!(
            (gauge("anteroom_newest_first 0"), gauge("anteroom_newest_first 1")),
            ("0".into(), "1".into())
        );
        server.snapshot.silent = 0;
        server.snapshot.lanes[1].newest_first = false;
        server.publish(&kept);
        assert_eq!(
            (gauge("anteroom_silent_connections"), gauge("anteroom_newest_first 1")),
            ("0".into(), "0".into())
        );
    }

    #[test]
    fn a_closed_listener_has_nobody_queued() {
        let kept = Kept::default();
        let mut server = Told::new();
        let queue = server.snapshot.listeners[0].queue.as_mut().unwrap();
        queue.depth = Some(3);
        server.publish(&kept);
        assert_eq!(f64::from_bits(kept.told("anteroom_accept_queue_depth")).to_string(), "3");
        server.snapshot.listeners[0].queue = None;
        server.publish(&kept);
        assert_eq!(f64::from_bits(kept.told("anteroom_accept_queue_depth")).to_string(), "0");
    }

    #[test]
    fn a_count_that_wrapped_goes_on() {
        let mut published = 10;
        assert_eq!((growth(&mut published, 12), growth(&mut published, 1), published), (2, 1, 1));
    }
}
