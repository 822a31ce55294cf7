//! Notes and samples in words: the events of `docs/events.md`.
//!
//! Owns the texts, the levels and the rate of warnings. Runs on the watch's thread only.

use std::collections::HashMap;
use std::time::Duration;

use anteroom_listener::{AcceptErrorClass, Address, Backlog};
use tracing::{debug, error, info, warn};

use super::note::Note;
use super::snapshot::{Accepting, ListenerSnapshot, Snapshot};
use super::stall::{Cost, Stall, StallCause};
use crate::admit::Cause;
use crate::tick::Tick;

/// At most one warning of a kind in this time; those between are counted into the next.
const WARNING_EVERY: Duration = Duration::from_secs(1);

/// What a rate of warnings is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    AcceptError(usize, AcceptErrorClass),
    FilterSlow,
    FilterPanicked,
    /// The queue of a listener.
    Standing(usize),
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
    last: Option<Tick>,
    held_back: u64,
}

pub(crate) struct Speaker {
    listeners: Vec<String>,
    rates: HashMap<Kind, Rate>,
    spoken: HashMap<Count, u64>,
    /// By listener, if its queue was not empty at the last look: whether it accepted, and how many it had.
    standing: HashMap<usize, Option<(Accepting, u64)>>,
}

impl Speaker {
    /// What an adopted listener had dropped by the time of the `first` look is not new.
    pub(crate) fn new(first: &Snapshot) -> Self {
        let listeners = first.listeners.iter().map(|listener| listener.name.clone()).collect();
        let drops = first.listeners.iter().map(|listener| listener.queue.and_then(|queue| queue.drops));
        let old = drops.enumerate().filter_map(|(index, drops)| Some((Count::Drops(index), drops?)));
        Self { listeners, rates: HashMap::new(), spoken: old.collect(), standing: HashMap::new() }
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
            Note::ReusePort { listener, members } => {
                let listener = self.name(listener);
                warn!(target: "anteroom::reuse_port", listener, members,
                    "a restart costs clients: a listener of this group that is killed resets its queue, and while one is \
                     drained it keeps its part of the newcomers waiting for their next SYN, a second or more; set \
                     net.ipv4.tcp_migrate_req=1, or hand the socket over");
            }
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
                if let Some(also) = self.rate(Kind::FilterPanicked) {
                    let listener = self.name(listener);
                    error!(target: "anteroom::filter", listener, also, "the admission filter panicked; the connection was refused");
                }
            }
            Note::Fenced { listener } => {
                let listener = self.name(listener);
                info!(target: "anteroom::fence", listener, "newcomers are fenced off; who is queued comes in");
            }
            Note::NotFenced { listener, error } => {
                let listener = self.name(listener);
                warn!(target: "anteroom::fence", listener, %error,
                    "the kernel takes no fence here: whoever comes at the moment of the close is reset");
            }
            Note::NotQuiet { listener, after } => {
                let listener = self.name(listener);
                warn!(target: "anteroom::fence", listener, ?after,
                    "handshakes were still under way when their time was over; they are reset");
            }
            Note::ListenerClosed { listener, fenced } => {
                let listener = self.name(listener);
                info!(target: "anteroom::listener_closed", listener, fenced, "its queue was emptied and the listener closed");
            }
            Note::HandedOver { listener } => {
                let listener = self.name(listener);
                info!(target: "anteroom::handed_over", listener, "its queue is another process's");
            }
            Note::ListenerFailed { listener, error } => {
                let listener = self.name(listener);
                error!(target: "anteroom::listener_failed", listener, %error, "the listener is broken");
            }
            #[cfg(all(feature = "handover", target_os = "linux"))]
            Note::HandoverFailed { error } => {
                error!(target: "anteroom::handover_failed", error, "the handover failed; the old server serves on");
            }
            Note::Stall(stall) => stalled(&stall),
            Note::StallOver { cause, lasted } => {
                info!(target: "anteroom::stall_over", cause, ?lasted, "the stall is over");
            }
            Note::KeepsUp(Some(why)) => {
                warn!(target: "anteroom::readiness", ready = false, why = why.label(), "not ready: the server does not keep up");
            }
            Note::KeepsUp(None) => info!(target: "anteroom::readiness", ready = true, "ready again"),
            Note::Phase(phase) => info!(target: "anteroom::phase", phase = phase.label(), "phase"),
            Note::Paused => info!(target: "anteroom::paused", "accepting is paused; the kernel queues"),
            Note::Resumed => info!(target: "anteroom::resumed", "accepting goes on"),
            Note::Order { lane, newest_first: true } => {
                warn!(target: "anteroom::order", lane, newest_first = true,
                "more comes than is served: newest first, and the hopeless are refused")
            }
            Note::Order { lane, newest_first: false } => {
                info!(target: "anteroom::order", lane, newest_first = false,
                "the service keeps up: in the order of arrival again")
            }
            Note::FewDescriptors { sockets } => warn!(target: "anteroom::descriptors", sockets,
                "more connections are allowed than descriptors are left for: raise RLIMIT_NOFILE, or allow fewer"),
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
            self.look_at_queue(index, listener);
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

    /// Says when connections stand in the kernel's queue, and why: because the service is full or
    /// accepting is paused, as distinct from nobody calling `accept`.
    fn look_at_queue(&mut self, index: usize, listener: &ListenerSnapshot) {
        let depth = listener.queue.and_then(|queue| queue.depth).unwrap_or(0);
        let now = (depth > 0).then_some((listener.accepting, listener.report.accepted));
        let before = std::mem::replace(self.standing.entry(index).or_default(), now);
        let (Some((accepting, accepted)), Some((accepting_before, accepted_before))) = (now, before) else {
            return;
        };
        // Where it accepts, a queue that is not empty at two looks may be two queues.
        let stands =
            accepting == accepting_before && (accepting != Accepting::Yes || accepted == accepted_before);
        if stands && self.rate(Kind::Standing(index)).is_some() {
            warn!(target: "anteroom::standing", listener = listener.name, because = accepting.because(), depth,
                "connections stand in the kernel's queue");
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
        let now = Tick::now();
        if rate.last.is_some_and(|last| now.since(last) < WARNING_EVERY) {
            rate.held_back += 1;
            return None;
        }
        rate.last = Some(now);
        Some(std::mem::take(&mut rate.held_back))
    }
}

/// One event for the stall, and one in the span of each connection that is to blame.
fn stalled(stall: &Stall) {
    let Stall { cause, lasted, cost } = stall;
    let Cost { waiting, oldest_wait, queued, open } = *cost;
    let oldest_wait = oldest_wait.map(tracing::field::debug);
    warn!(target: "anteroom::stall", cause = cause.label(), ?lasted, waiting, oldest_wait, queued, open,
        advice = cause.advice(), "{cause}");
    let StallCause::Held { by } = cause else { return };
    for blame in by {
        let thread = &blame.thread;
        let connection = blame.connection.as_ref();
        let span = connection.and_then(|connection| connection.span_id.clone());
        warn!(target: "anteroom::blame", parent: span, part = blame.part.label(), listener = blame.listeners.first(),
            connection = connection.map(|connection| connection.id),
            peer = connection.map(|connection| tracing::field::display(connection.peer)),
            thread = thread.name, thread_id = thread.id, lasted = ?blame.lasted, doing = %blame.doing,
            "user code holds a thread");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::super::snapshot::{Distribution, Phase};
    use super::*;

    /// Keeps the target of each event with its numbers.
    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<String>>>);

    struct Numbers(String);

    impl Visit for Numbers {
        fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

        fn record_u64(&mut self, field: &Field, value: u64) {
            if matches!(field.name(), "new" | "also") {
                self.0 = format!("{} {} {value}", self.0, field.name());
            }
        }
    }

    impl Subscriber for Ear {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut numbers = Numbers(event.metadata().target().to_owned());
            event.record(&mut numbers);
            self.0.lock().unwrap().push(numbers.0);
        }
    }

    fn heard(speak: impl FnOnce()) -> Vec<String> {
        let ear = Ear::default();
        tracing::subscriber::with_default(ear.clone(), speak);
        Arc::into_inner(ear.0).unwrap().into_inner().unwrap()
    }

    fn dropped(drops: u64) -> Snapshot {
        let listener = anteroom_listener::Listener::bind("127.0.0.1:0").unwrap();
        let mut queue = listener.queue();
        queue.drops = Some(drops);
        let one = ListenerSnapshot {
            name: "adopted".to_owned(),
            address: listener.local_addr().clone(),
            accepting: Accepting::Yes,
            backlog: listener.backlog(),
            queue: Some(queue),
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
        Snapshot {
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
            lanes: Vec::new(),
            listeners: vec![one],
            report: Default::default(),
            events_lost: 0,
        }
    }

    #[test]
    fn what_was_dropped_before_the_first_look_is_not_told_as_new() {
        let mut speaker = Speaker::new(&dropped(40));
        let told = heard(|| {
            speaker.look(&dropped(40));
            speaker.look(&dropped(42));
        });
        assert_eq!(told, ["anteroom::dropped new 2"]);
    }

    #[test]
    fn a_filter_that_always_panics_is_told_once_in_a_second_with_the_number() {
        let mut speaker = Speaker::new(&dropped(0));
        let told = heard(|| {
            for _ in 0..5 {
                speaker.speak(Note::FilterPanicked { listener: 0 });
            }
            // As if the second were over.
            let rate = speaker.rates.get_mut(&Kind::FilterPanicked).unwrap();
            rate.last = None;
            speaker.speak(Note::FilterPanicked { listener: 0 });
        });
        assert_eq!(told, ["anteroom::filter also 0", "anteroom::filter also 4"]);
    }
}
