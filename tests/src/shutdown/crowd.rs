//! All clients of one round.
//!
//! Owns their tasks and the cue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arrivals::Arrivals;
use super::client::{Cue, play};
use super::{Dialect, Outcome, Part, Tally, Target};
use crate::waiting::becomes;

/// The clients of one round. They go to the targets in turn.
#[derive(Debug)]
pub struct Crowd {
    targets: Vec<Target>,
    stage: Stage,
    clients: JoinSet<Played>,
    /// How many came but for the arrivals.
    came: usize,
    arrivals: Option<Arrivals>,
}

/// What a client did, how it ended, and when it was connected.
pub(super) type Played = (Part, Outcome, Option<Instant>);

/// What the clients share.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    dialect: Dialect,
    cue: watch::Sender<Option<Instant>>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    came: AtomicU64,
    connected: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
}

impl Crowd {
    /// Nobody, as yet.
    #[must_use]
    pub fn new(targets: Vec<Target>, dialect: Dialect) -> Self {
        let stage = Stage { dialect, cue: watch::Sender::new(None), seen: Arc::default() };
        Self { targets, stage, clients: JoinSet::new(), came: 0, arrivals: None }
    }

    /// One more. In a runtime.
    ///
    /// # Panics
    /// When there are no targets.
    pub fn come(&mut self, part: Part) {
        let target = self.targets[self.came % self.targets.len()].clone();
        self.came += 1;
        self.clients.spawn(self.stage.play(part, target));
    }

    /// Waits until each who has come so far is connected.
    ///
    /// # Panics
    /// When that takes so long that it never will be.
    pub async fn is_connected(&self) {
        becomes("everybody is connected", || self.connected() == self.came as u64).await;
    }

    /// From now on so many come in a second, who ask as soon as they are connected.
    pub fn keep_coming(&mut self, per_second: u32) {
        self.arrivals = Some(Arrivals::begin(self.targets.clone(), self.stage.clone(), per_second));
    }

    /// How many have come so.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrivals.as_ref().map_or(0, Arrivals::arrived)
    }

    /// They come no more.
    pub fn stop_coming(&self) {
        self.arrivals.iter().for_each(Arrivals::stop);
    }

    /// The server has been told to stop.
    pub fn give_cue(&self) {
        self.stage.cue.send_replace(Some(Instant::now()));
    }

    /// How many have had their `connect` succeed so far.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.stage.seen.connected.load(Ordering::Acquire)
    }

    /// How many were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.stage.seen.refused.load(Ordering::Acquire)
    }

    /// How many have not come to an end.
    #[must_use]
    pub fn present(&self) -> u64 {
        let seen = &self.stage.seen;
        // In this order, so that nobody has ended who has not come.
        let ended = seen.ended.load(Ordering::Acquire);
        seen.came.load(Ordering::Acquire) - ended
    }

    /// Waits for everybody's outcome.
    ///
    /// # Panics
    /// When a client could not do its part.
    pub async fn end(self) -> Tally {
        let cue = *self.stage.cue.borrow();
        let mut played = self.clients.join_all().await;
        if let Some(arrivals) = self.arrivals {
            played.extend(arrivals.end().await);
        }
        let mut tally = Tally::default();
        for (part, outcome, connected) in played {
            tally.note(part, outcome, &relative(connected, cue));
        }
        tally
    }
}

impl Stage {
    pub(super) fn play(&self, part: Part, target: Target) -> impl Future<Output = Played> + Send + 'static {
        let (dialect, cue, seen) = (self.dialect, Cue(self.cue.subscribe()), Arc::clone(&self.seen));
        seen.came.fetch_add(1, Ordering::AcqRel);
        async move {
            let mut since = None;
            let connected = || {
                since = Some(Instant::now());
                seen.connected.fetch_add(1, Ordering::AcqRel);
            };
            let outcome = play(part, target, dialect, cue, connected).await;
            if outcome == Outcome::Refused {
                seen.refused.fetch_add(1, Ordering::AcqRel);
            }
            seen.ended.fetch_add(1, Ordering::AcqRel);
            (part, outcome, since)
        }
    }
}

fn relative(moment: Option<Instant>, to: Option<Instant>) -> String {
    let told = |time: Duration, side: &str| format!("{time:?} {side} the cue");
    match moment.zip(to) {
        None => "never".to_owned(),
        Some((moment, cue)) if moment < cue => told(cue - moment, "before"),
        Some((moment, cue)) => told(moment - cue, "after"),
    }
}
