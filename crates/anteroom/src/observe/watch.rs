//! The watch: the thread that speaks, mostly asleep.
//!
//! Owns the calls of subscribers and recorders on behalf of the acceptor. When one of them blocks (a
//! log pipe that nobody reads), this thread waits and nothing else does; when one of them panics, it
//! goes on. It never decides.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::note::{Note, Notes};
#[cfg(feature = "metrics")]
use super::publish::Metrics;
use super::snapshot::{Accepting, ListenerSnapshot, Phase, Snapshot};
use super::speak::Speaker;
#[cfg(feature = "metrics")]
use super::stall_metrics::Timings;
use crate::tick::Tick;

/// How often samples are published: half of the promised second.
const PERIOD: Duration = Duration::from_millis(500);

/// The longest time between two samples, where somebody wakes the watch as soon as anything moves.
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(32);

/// What the watch looks at.
pub(crate) struct Subject {
    /// While nothing moves each sample is put off for twice as long as the one before, up to this. `None`:
    /// nobody says when something moves, and it is looked at all the time.
    pub(crate) longest_rest: Option<Duration>,
    pub(crate) notes: Arc<Notes>,
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics need whole histograms"))]
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    #[cfg(feature = "metrics")]
    pub(crate) timings: Box<dyn Fn() -> Timings + Send>,
    pub(crate) phase: Box<dyn Fn() -> Phase + Send>,
    pub(crate) snapshot: Box<dyn Fn() -> Snapshot + Send>,
}

/// Starts the thread. It ends by itself after it has published the stopped server.
pub(crate) fn start(subject: Subject) -> io::Result<()> {
    let notes = Arc::clone(&subject.notes);
    let speaker = Speaker::new(&(subject.snapshot)());
    let run = move || Watch::new(subject, speaker).run();
    let thread = std::thread::Builder::new().name("anteroom-watch".into()).spawn(run)?;
    notes.read_by(thread.thread().clone());
    Ok(())
}

struct Watch {
    subject: Subject,
    taken: VecDeque<Note>,
    speaker: Speaker,
    /// Of the last sample.
    marks: Marks,
    #[cfg(feature = "metrics")]
    publisher: Metrics,
}

impl Watch {
    fn new(subject: Subject, speaker: Speaker) -> Self {
        #[cfg(feature = "metrics")]
        let publisher = Metrics::new(&subject.ledgers);
        Self {
            subject,
            taken: VecDeque::new(),
            speaker,
            marks: Marks::default(),
            #[cfg(feature = "metrics")]
            publisher,
        }
    }

    fn run(mut self) {
        let mut sampled: Option<Tick> = None;
        let mut rest = PERIOD;
        loop {
            // Before the notes: the last one is left before this phase is entered.
            let phase = (self.subject.phase)();
            self.speak();
            if phase == Phase::Stopped {
                let _at_rest = self.sample();
                // What was noted while the sample was told: nobody else will speak of it.
                return self.speak();
            }
            if sampled.is_none_or(|then| then.elapsed() >= PERIOD) {
                sampled = Some(Tick::now());
                rest = if self.sample() { PERIOD } else { rest * 2 };
            }
            let longest = self.subject.longest_rest.unwrap_or(PERIOD);
            let due = rest.min(longest).saturating_sub(sampled.map_or(PERIOD, |then| then.elapsed()));
            let parked = Tick::now();
            std::thread::park_timeout(due);
            if parked.elapsed() < due {
                // Somebody has woken it: something moves.
                rest = PERIOD;
            }
        }
    }

    /// The note at which a subscriber panics is lost, those behind it are not.
    fn speak(&mut self) {
        self.subject.notes.take(&mut self.taken);
        while !self.taken.is_empty() {
            contained(|| {
                while let Some(note) = self.taken.pop_front() {
                    self.speaker.speak(note);
                }
            });
        }
    }

    /// A subscriber that panics does not keep the recorder from its sample, nor the other way round. Says
    /// whether anything moves.
    fn sample(&mut self) -> bool {
        let snapshot = (self.subject.snapshot)();
        contained(|| self.speaker.look(&snapshot));
        #[cfg(feature = "metrics")]
        contained(|| self.publisher.publish(&snapshot, &self.subject.ledgers, &(self.subject.timings)()));
        let marks = Marks::of(&snapshot);
        let moves = marks != self.marks || is_uneasy(&snapshot);
        self.marks = marks;
        moves
    }
}

/// What differs between two samples if anything has moved in between.
#[derive(Debug, Default, PartialEq, Eq)]
struct Marks {
    accepted: u64,
    handed_out: u64,
    open: usize,
    polls: u64,
    drops: u64,
}

impl Marks {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            accepted: snapshot.report.accepted,
            handed_out: snapshot.listeners.iter().map(|listener| listener.handed_out).sum(),
            open: snapshot.open,
            polls: snapshot.poll_time.count,
            drops: snapshot.listeners.iter().filter_map(|listener| listener.queue?.drops).sum(),
        }
    }
}

/// Something may change that nobody tells of: what stands in the kernel's queue is only seen by looking.
fn is_uneasy(snapshot: &Snapshot) -> bool {
    let stands = |listener: &ListenerSnapshot| {
        let depth = listener.queue.and_then(|queue| queue.depth);
        listener.accepting != Accepting::Yes || depth.is_some_and(|depth| depth > 0)
    };
    snapshot.phase != Phase::Serving
        || snapshot.waiting > 0
        || !snapshot.stalls.is_empty()
        || snapshot.listeners.iter().any(stands)
}

/// The panic hook has told of a panic; who speaks and publishes keeps counts that a panic leaves
/// whole, at worst with one event or sample less.
fn contained(act: impl FnOnce()) {
    let _told_by_the_hook = catch_unwind(AssertUnwindSafe(act));
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Keeps the targets that it hears, and panics at the first of them when it is told to.
    struct Ear {
        heard: Arc<Mutex<Vec<&'static str>>>,
        panics: AtomicUsize,
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
            self.heard.lock().unwrap().push(event.metadata().target());
            let panics = self.panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            assert!(!panics, "this panic is meant");
        }
    }

    fn nothing(phase: Phase) -> Snapshot {
        Snapshot {
            phase,
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
            listeners: Vec::new(),
            report: Default::default(),
            events_lost: 0,
        }
    }

    /// Runs a watch on this thread until it ends, and gives the targets of what was heard.
    fn heard(subject: Subject, panics: usize) -> Vec<&'static str> {
        let heard = Arc::default();
        let ear = Ear { heard: Arc::clone(&heard), panics: AtomicUsize::new(panics) };
        let speaker = Speaker::new(&nothing(Phase::Serving));
        tracing::subscriber::with_default(ear, || Watch::new(subject, speaker).run());
        Arc::into_inner(heard).unwrap().into_inner().unwrap()
    }

    #[test]
    fn the_last_notes_are_spoken_before_the_watch_ends() {
        let notes = Arc::new(Notes::default());
        notes.leave(Note::Paused);
        let late = Arc::clone(&notes);
        let subject = Subject {
            longest_rest: None,
            notes,
            ledgers: Vec::new(),
            #[cfg(feature = "metrics")]
            timings: Box::new(Timings::none),
            phase: Box::new(|| Phase::Stopped),
            snapshot: Box::new(move || {
                late.leave(Note::Resumed);
                nothing(Phase::Stopped)
            }),
        };
        assert_eq!(heard(subject, 0), ["anteroom::paused", "anteroom::resumed"]);
    }

    #[test]
    fn a_stopped_server_is_sampled_in_the_round_that_sees_it() {
        let notes = Arc::new(Notes::default());
        notes.read_by(std::thread::current());
        let waker = Arc::clone(&notes);
        let rounds = Arc::new(AtomicUsize::new(0));
        let samples = Arc::new(AtomicUsize::new(0));
        let (round, sampled) = (Arc::clone(&rounds), Arc::clone(&samples));
        let subject = Subject {
            longest_rest: None,
            notes,
            ledgers: Vec::new(),
            #[cfg(feature = "metrics")]
            timings: Box::new(Timings::none),
            // Woken at each round, so that the second comes before a sample is due again.
            phase: Box::new(move || {
                waker.wake();
                if round.fetch_add(1, SeqCst) == 0 { Phase::Serving } else { Phase::Stopped }
            }),
            snapshot: Box::new(move || {
                sampled.fetch_add(1, SeqCst);
                nothing(Phase::Stopped)
            }),
        };
        heard(subject, 0);
        assert_eq!((rounds.load(SeqCst), samples.load(SeqCst)), (2, 2));
    }

    /// Panics whatever it is told.
    #[cfg(feature = "metrics")]
    struct Panicky;

    #[cfg(feature = "metrics")]
    impl metrics::Recorder for Panicky {
        fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {
            panic!("this panic is meant");
        }

        fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
        fn describe_histogram(
            &self,
            _: metrics::KeyName,
            _: Option<metrics::Unit>,
            _: metrics::SharedString,
        ) {
        }

        fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
            metrics::Counter::noop()
        }

        fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
            metrics::Gauge::noop()
        }

        fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn a_recorder_that_panics_keeps_nobody_from_speaking() {
        let notes = Arc::new(Notes::default());
        let late = Arc::clone(&notes);
        let subject = Subject {
            longest_rest: None,
            notes,
            ledgers: Vec::new(),
            #[cfg(feature = "metrics")]
            timings: Box::new(Timings::none),
            phase: Box::new(|| Phase::Stopped),
            snapshot: Box::new(move || {
                late.leave(Note::Resumed);
                nothing(Phase::Stopped)
            }),
        };
        let heard = metrics::with_local_recorder(&Panicky, || heard(subject, 0));
        assert_eq!(heard, ["anteroom::resumed"]);
    }

    #[test]
    fn a_subscriber_that_panics_does_not_end_the_watch() {
        let notes = Arc::new(Notes::default());
        for note in [Note::Paused, Note::Resumed, Note::ReserveRegained] {
            notes.leave(note);
        }
        let subject = Subject {
            longest_rest: None,
            notes,
            ledgers: Vec::new(),
            #[cfg(feature = "metrics")]
            timings: Box::new(Timings::none),
            phase: Box::new(|| Phase::Stopped),
            snapshot: Box::new(|| Snapshot { events_lost: 3, ..nothing(Phase::Stopped) }),
        };
        let all = ["anteroom::paused", "anteroom::resumed", "anteroom::reserve", "anteroom::events_lost"];
        assert_eq!(heard(subject, all.len()), all);
    }
}
