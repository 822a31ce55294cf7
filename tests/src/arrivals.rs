//! Clients that come at a fixed rate until they are told to stop: each connects, sends a byte, and waits
//! for the first byte of the answer.
//!
//! Owns their thread. Never slows down, whatever the server does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anteroom_load::client::{Ending, Hearing, Latencies, Leaving, Schedule, Visit, Visitor, Visitors, tally};
use anteroom_load::measure::now;

/// Whom nobody answers for so long counts as a failure: more than a lost SYN costs, and far more than a
/// busy machine does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A day: it is stopped before.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How often it looks whether it is to stop, where nobody comes.
const LOOK: Duration = Duration::from_millis(10);

/// They come.
pub struct Arrivals {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Visit>>>,
}

impl Arrivals {
    /// From now on, so many a second.
    #[must_use]
    pub fn begin(target: SocketAddr, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || come(target, Schedule::new(rate, LONGEST), &told));
        Self { stop, thread: Some(thread) }
    }

    /// Nobody comes any more; what became of everybody who came.
    ///
    /// # Panics
    /// When the clients themselves could not work.
    #[must_use]
    pub fn end(mut self) -> Came {
        self.stop.store(true, Ordering::Release);
        let visits = self.thread.take().expect("it ends once").join().expect("the clients work");
        Came { visits }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

fn come(target: SocketAddr, schedule: Schedule, stop: &AtomicBool) -> Vec<Visit> {
    let visitor = Visitor {
        target,
        source: None,
        request: Arc::from(&b"x"[..]),
        hearing: Hearing::FirstByte,
        leaving: Leaving::SendAndClose,
        patience: PATIENCE,
    };
    let mut here = Visitors::new().expect("an epoll set");
    let mut visits = Vec::new();
    let (begin, mut came) = (now(), 0);
    loop {
        let stopped = stop.load(Ordering::Acquire);
        if stopped && here.present() == 0 {
            return visits;
        }
        let due = if stopped { came } else { schedule.due(now().saturating_sub(begin)) };
        while came < due {
            here.arrive(visitor.clone(), begin + schedule.intended(came));
            came += 1;
        }
        let next = if stopped { now() + LOOK } else { begin + schedule.intended(came) };
        here.wait(next.min(now() + LOOK)).expect("waiting works");
        visits.extend(here.take_ended());
    }
}

/// Everybody who came.
pub struct Came {
    /// One record each, in the order of their ends.
    pub visits: Vec<Visit>,
}

impl Came {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.visits.len() as u64
    }

    /// Those who were not answered.
    pub fn failed(&self) -> impl Iterator<Item = &Visit> {
        self.visits.iter().filter(|visit| visit.ending != Ending::Answered)
    }

    /// Within which time this share of them had the first byte, counted from the begin of connecting.
    ///
    /// # Panics
    /// Never: the range of the distribution stands.
    #[must_use]
    pub fn within(&self, percent: f64) -> Duration {
        let mut took = Latencies::new().expect("a distribution");
        for visit in self.visits.iter().filter(|visit| visit.ending == Ending::Answered) {
            took.record(visit.took());
        }
        took.percentile(percent)
    }

    /// The processes that answered.
    #[must_use]
    pub fn answered_by(&self) -> std::collections::BTreeSet<u32> {
        let heard = self.visits.iter().filter_map(|visit| visit.heard.first_chunk());
        heard.map(|bytes| u32::from_le_bytes(*bytes)).collect()
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} came: {}; ", self.count(), tally(&self.visits))?;
        let [half, most, nearly_all, all] = [50.0, 99.0, 99.9, 100.0].map(|percent| self.within(percent));
        write!(f, "p50 {half:?}, p99 {most:?}, p99.9 {nearly_all:?}, max {all:?}")
    }
}

impl fmt::Debug for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
