//! All clients of one round.
//!
//! Owns their tasks, the cue, and the pace of those who come all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anteroom_load::client::Schedule;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::{Cue, play};
use super::{Dialect, Outcome, Part, Tally, Target};
use crate::waiting::becomes;

/// Who comes all the time comes so long at most: longer than any round.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Between two looks whether the next are due.
const BEAT: Duration = Duration::from_millis(1);

/// The clients of one round. They go to the targets in turn.
#[derive(Debug)]
pub struct Crowd {
    targets: Vec<Target>,
    dialect: Dialect,
    cue: watch::Sender<Option<Instant>>,
    seen: Arc<Seen>,
    clients: JoinSet<(Part, Outcome, Option<Instant>)>,
    came: u64,
    /// How many came at their pace.
    arrived: u64,
    since: Option<Instant>,
    pace: Schedule,
}

#[derive(Debug, Default)]
struct Seen {
    connected: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
}

impl Crowd {
    /// Nobody, as yet. In a runtime.
    #[must_use]
    pub fn new(targets: Vec<Target>, dialect: Dialect, per_second: u32) -> Self {
        Self {
            targets,
            dialect,
            cue: watch::Sender::new(None),
            seen: Arc::default(),
            clients: JoinSet::new(),
            came: 0,
            arrived: 0,
            since: None,
            pace: Schedule::new(per_second, LONGEST),
        }
    }

    /// One more.
    ///
    /// # Panics
    /// When there are no targets.
    pub fn come(&mut self, part: Part) {
        let turn = usize::try_from(self.came).unwrap_or(0) % self.targets.len();
        let target = self.targets[turn].clone();
        self.came += 1;
        let (dialect, cue) = (self.dialect, Cue(self.cue.subscribe()));
        let seen = Arc::clone(&self.seen);
        self.clients.spawn(async move {
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
        });
    }

    /// Waits until each who has come so far is connected.
    ///
    /// # Panics
    /// When that takes so long that it never will be.
    pub async fn is_connected(&self) {
        becomes("everybody is connected", || self.connected() == self.came).await;
    }

    /// More of them come at their pace, until it is `enough`, which is told how many have come so.
    pub async fn arrive_until(&mut self, mut enough: impl FnMut(&Self, u64) -> bool) {
        let since = *self.since.get_or_insert_with(Instant::now);
        while !enough(self, self.arrived) {
            let due = self.pace.due(since.elapsed());
            while self.arrived < due {
                self.come(Part::Quick);
                self.arrived += 1;
            }
            sleep(BEAT).await;
        }
    }

    /// The server has been told to stop.
    pub fn give_cue(&self) {
        self.cue.send_replace(Some(Instant::now()));
    }

    /// How many have had their `connect` succeed so far.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.seen.connected.load(Ordering::Acquire)
    }

    /// How many were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::Acquire)
    }

    /// How many have not come to an end.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.came - self.seen.ended.load(Ordering::Acquire)
    }

    /// Waits for everybody's outcome.
    ///
    /// # Panics
    /// When a client could not do its part.
    pub async fn end(mut self) -> Tally {
        let cue = *self.cue.borrow();
        let mut tally = Tally::default();
        while let Some(ended) = self.clients.join_next().await {
            let (part, outcome, connected) = ended.expect("a client plays its part");
            tally.note(part, outcome, &relative(connected, cue));
        }
        tally
    }
}

fn relative(moment: Option<Instant>, to: Option<Instant>) -> String {
    match moment.zip(to) {
        None => "never".to_owned(),
        Some((moment, cue)) if moment < cue => format!("{:?} before the cue", cue - moment),
        Some((moment, cue)) => format!("{:?} after the cue", moment - cue),
    }
}
