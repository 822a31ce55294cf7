//! The watch: the thread that speaks, mostly asleep.
//!
//! Owns the calls of subscribers and recorders on behalf of the acceptor. When one of them blocks (a
//! log pipe that nobody reads), this thread waits and nothing else does. It never decides.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::note::Notes;
use super::snapshot::{Phase, Snapshot};
use super::speak::Speaker;

/// How often samples are published: half of the promised second.
const PERIOD: Duration = Duration::from_millis(500);

/// What the watch looks at.
pub(crate) struct Subject {
    pub(crate) notes: Arc<Notes>,
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    pub(crate) snapshot: Box<dyn Fn() -> Snapshot + Send>,
}

/// Starts the thread. It ends by itself after it has published the stopped server.
pub(crate) fn start(subject: Subject) -> io::Result<()> {
    let notes = Arc::clone(&subject.notes);
    let thread = std::thread::Builder::new().name("anteroom-watch".into()).spawn(move || run(&subject))?;
    notes.read_by(thread.thread().clone());
    Ok(())
}

fn run(subject: &Subject) {
    let mut notes = VecDeque::new();
    let mut speaker = Speaker::new((subject.snapshot)().listeners.iter().map(|l| l.name.clone()).collect());
    #[cfg(feature = "metrics")]
    let mut publisher = super::publish::Publisher::new(&subject.ledgers);
    let mut published: Option<Instant> = None;
    loop {
        subject.notes.take(&mut notes);
        let spoke = !notes.is_empty();
        for note in notes.drain(..) {
            speaker.speak(note);
        }
        let now = Instant::now();
        if published.is_none_or(|then| now - then >= PERIOD) {
            published = Some(now);
            let snapshot = (subject.snapshot)();
            speaker.look(&snapshot);
            #[cfg(feature = "metrics")]
            publisher.publish(&snapshot, &subject.ledgers);
            if snapshot.phase == Phase::Stopped && !spoke {
                return;
            }
        }
        let next = published.map_or(PERIOD, |then| (then + PERIOD).saturating_duration_since(Instant::now()));
        std::thread::park_timeout(next);
    }
}
