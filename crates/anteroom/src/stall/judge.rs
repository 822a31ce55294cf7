//! Which of the things that are seen keep clients waiting, and who is to blame.
//!
//! Owns what was known of a suspect when it was first seen. Puts the evidence together from the board, the
//! gate and the kernel; what lasts long enough to be told is decided in `episodes.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_listener::{AcceptErrorClass, Descriptors};

use super::board::{Board, Running};
use super::episodes::{Key, Seen};
use super::thread::{self, Clocks, Moment};
use crate::admit::Cause;
use crate::config::StallWatch;
use crate::gate::{Asleep, Doorway, Gate, Pace, Whose};
use crate::observe::{Accepting, Blame, Blamed, Cost, Doing, Part, StallCause};

/// Who has held a thread for less is not suspected, however late the runtime is, nor is a runtime that is late
/// by less.
const SUSPECT_AFTER: Duration = Duration::from_millis(20);

/// How often permits are looked through for those that have leaked, and for each that is open as much longer
/// that looking costs the same share of the time however many there are.
const LEAKS_EVERY: Duration = Duration::from_secs(1);
const LEAKS_AND_PER_OPEN: Duration = Duration::from_micros(500);

/// Something that runs for long, with its thread's clocks when that was first seen.
#[derive(Debug)]
struct Suspect {
    running: Running,
    began: Instant,
    clocks: Option<Clocks>,
}

/// Everybody's clocks, when the runtime was first seen late.
#[derive(Debug)]
struct Late {
    since: Instant,
    clocks: Vec<(u32, Clocks)>,
}

#[derive(Debug)]
pub(super) struct Judge {
    gate: Arc<Gate>,
    board: Arc<Board>,
    suspects: Vec<Suspect>,
    late: Option<Late>,
    /// Nothing ran before: what began earlier is counted from here.
    anew: Instant,
    paused_since: Option<Instant>,
    /// How often descriptors were missing, and since when.
    missing: u64,
    missing_since: Option<Instant>,
    missed: Instant,
    leaks: Option<Seen>,
    leaks_looked: Instant,
}

/// What the judge is told of this look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'a> {
    pub(super) now: Instant,
    pub(super) settings: &'a StallWatch,
    pub(super) pace: &'a Pace,
    /// Since when something has been waiting for its turn on the runtime.
    pub(super) late_since: Option<Instant>,
    pub(super) is_paused: bool,
}

impl Judge {
    pub(super) fn new(gate: Arc<Gate>, board: Arc<Board>, now: Instant) -> Self {
        let missing = missing_so_far(&gate);
        Self {
            gate,
            board,
            suspects: Vec::new(),
            late: None,
            anew: now,
            paused_since: None,
            missing,
            missing_since: None,
            missed: now,
            leaks: None,
            leaks_looked: now,
        }
    }

    /// The whole process did not run until now: nobody is to blame for that time.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.anew = now;
        self.suspects.clear();
        self.late = None;
    }

    /// What began before everything stood still counts from its end.
    pub(super) fn not_before_anew(&self, since: Instant) -> Instant {
        since.max(self.anew)
    }

    /// Keeps in mind who has been running for long. Cheap unless somebody new has.
    pub(super) fn suspect(&mut self, long: &[Running]) {
        let is_still = |suspect: &Suspect| long.iter().any(|running| running.is_same(&suspect.running));
        self.suspects.retain(is_still);
        for running in long {
            if !self.suspects.iter().any(|suspect| suspect.running.is_same(running)) {
                let clocks = running.thread().id.and_then(thread::clocks);
                let began = running.since().instant();
                self.suspects.push(Suspect { running: running.clone(), began, clocks });
            }
        }
    }

    /// What keeps clients waiting, as it is seen at this look.
    pub(super) fn look(&mut self, bench: &Bench<'_>) -> Vec<Seen> {
        let mut seen = Vec::new();
        let late = bench.late_since.map(|since| since.max(self.anew));
        let delay = late.map_or(Duration::ZERO, |late| bench.now.saturating_duration_since(late));
        match self.held(bench, delay) {
            Some(held) => seen.push(held),
            // What is on its way is not late.
            None if delay < SUSPECT_AFTER => {}
            None => seen.extend(late.map(|late| self.runtime_late(late, bench.now))),
        }
        seen.extend(self.doorways(bench));
        seen.extend(self.descriptors(bench.now));
        seen.extend(self.paused(bench));
        seen.extend(self.leaked(bench));
        seen
    }

    // ------------------------------------------------------------ threads

    fn since(&self, suspect: &Suspect) -> Instant {
        suspect.began.max(self.anew)
    }

    fn held(&self, bench: &Bench<'_>, delay: Duration) -> Option<Seen> {
        // While the runtime is late by as much, shorter ones are to blame together.
        let long = match delay >= bench.settings.threshold {
            true => SUSPECT_AFTER,
            false => bench.settings.threshold,
        };
        let held: Vec<_> =
            self.suspects.iter().filter_map(|suspect| self.blame(suspect, long, bench.now)).collect();
        let since = held.iter().map(|(since, _)| *since).min()?;
        let mut by: Vec<Blame> = held.into_iter().map(|(_, blame)| blame).collect();
        by.sort_by_key(|blame| std::cmp::Reverse(blame.lasted));
        Some(Seen { key: Key::Held, since, extent: by.len(), cause: StallCause::Held { by } })
    }

    /// Blames a suspect that has held its thread for `long` by itself: what its thread waited for a
    /// processor is not its doing, nor is what the process was stopped.
    fn blame(&self, suspect: &Suspect, long: Duration, now: Instant) -> Option<(Instant, Blame)> {
        let since = self.since(suspect);
        let elapsed = now.saturating_duration_since(since);
        if elapsed < long {
            return None;
        }
        let id = suspect.running.thread().id;
        let moment = id.map_or(Moment::Unknown, thread::moment);
        let used = id.and_then(thread::clocks).zip(suspect.clocks).map(|(now, then)| now.since(&then));
        let own = match (&moment, used) {
            (Moment::Stopped, _) => Duration::ZERO,
            (Moment::Running, Some(used)) => used.cpu,
            (_, Some(used)) => elapsed.saturating_sub(used.runnable),
            (_, None) => elapsed,
        };
        // It may have come back while it was looked at.
        if own < long || !suspect.running.goes_on() {
            return None;
        }
        let doing = thread::doing(moment, used.map_or(Duration::ZERO, |used| used.cpu));
        Some((since, self.describe(&suspect.running, elapsed, doing)))
    }

    fn describe(&self, running: &Running, lasted: Duration, doing: Doing) -> Blame {
        let work = running.work();
        let whose = self.gate.whose(work.key);
        let ports = self.gate.ports().iter().enumerate();
        let is_concerned = |port: usize, lane: usize| match (work.part, whose) {
            (_, Some(Whose { port: own, .. })) => port == own,
            (Part::Filter, None) => port == work.of,
            (_, None) => lane == work.of,
        };
        let concerned = ports.filter(|(number, port)| is_concerned(*number, port.lane));
        Blame {
            part: work.part,
            lasted,
            thread: running.thread().clone(),
            doing,
            connection: whose.map(|Whose { id, peer, span, .. }| Blamed {
                id,
                peer,
                span,
                span_id: (work.span != 0).then(|| tracing::span::Id::from_u64(work.span)),
            }),
            listeners: concerned.map(|(_, port)| port.name.to_string()).collect(),
        }
    }

    /// The runtime is late and no handler holds it: something else does, or there is no processor for it.
    fn runtime_late(&mut self, late: Instant, now: Instant) -> Seen {
        if self.late.as_ref().is_none_or(|known| known.since != late) {
            let clocks = |id| Some((id, thread::clocks(id)?));
            let clocks = self.board.threads().into_iter().filter_map(clocks).collect();
            self.late = Some(Late { since: late, clocks });
        }
        let delay = now.saturating_duration_since(late);
        let clocks = self.late.iter().flat_map(|late| &late.clocks);
        let waited = clocks.filter_map(|(id, then)| Some(thread::clocks(*id)?.since(then).runnable)).max();
        match waited {
            Some(waited) if waited >= delay / 2 => Seen {
                key: Key::Starved,
                since: late,
                extent: 1,
                cause: StallCause::Starved { waited, pressure: None, throttled: None },
            },
            _ => Seen {
                key: Key::RuntimeLate,
                since: late,
                extent: 1,
                cause: StallCause::RuntimeLate { delay },
            },
        }
    }

    // ------------------------------------------------------------ places

    fn doorways(&self, bench: &Bench<'_>) -> Vec<Seen> {
        if bench.pace.waiting == 0 {
            return Vec::new();
        }
        let doorways = self.gate.doorways();
        doorways.into_iter().filter_map(|doorway| self.doorway(doorway)).collect()
    }

    fn doorway(&self, doorway: Doorway) -> Option<Seen> {
        let Doorway { lane, open, oldest, asleep, is_full } = doorway;
        let since = oldest?.max(self.anew);
        let ports = self.gate.ports().iter().filter(|port| port.lane == lane);
        let listeners = ports.map(|port| port.name.to_string()).collect();
        let (key, cause) = match asleep? {
            Asleep::Service => (Key::ServiceNotReady(lane), StallCause::ServiceNotReady { lane, listeners }),
            Asleep::Place if is_full => {
                (Key::LimitReached(lane), StallCause::LimitReached { lane, listeners, open })
            }
            Asleep::Place | Asleep::Arrival => return None,
        };
        Some(Seen { key, since, extent: 1, cause })
    }

    fn leaked(&mut self, bench: &Bench<'_>) -> Option<Seen> {
        let open = u32::try_from(bench.pace.open).unwrap_or(u32::MAX);
        let every = LEAKS_EVERY.saturating_add(LEAKS_AND_PER_OPEN.saturating_mul(open));
        if bench.now.saturating_duration_since(self.leaks_looked) >= every {
            self.leaks_looked = bench.now;
            let leaked = self.gate.leaked(bench.settings.leaked_after, bench.now);
            self.leaks = leaked.map(|leaked| Seen {
                key: Key::PermitsLeaked,
                since: bench.now.checked_sub(leaked.oldest).unwrap_or(bench.now),
                extent: leaked.permits,
                cause: StallCause::PermitsLeaked { permits: leaked.permits, oldest: leaked.oldest },
            });
        }
        self.leaks.clone()
    }

    // ------------------------------------------------------------ accepting

    /// Descriptors were missing a moment ago: `accept` pauses for at most 100 ms after each failure.
    fn descriptors(&mut self, now: Instant) -> Option<Seen> {
        let missing = missing_so_far(&self.gate);
        if missing != self.missing {
            self.missing = missing;
            self.missed = now;
            self.missing_since.get_or_insert(now);
        } else if now.saturating_duration_since(self.missed) > 2 * LONGEST_PAUSE {
            self.missing_since = None;
        }
        let since = self.missing_since?;
        let Descriptors { limit, open, .. } = Descriptors::of_process();
        let cause = StallCause::OutOfDescriptors { open, limit };
        Some(Seen { key: Key::OutOfDescriptors, since, extent: 1, cause })
    }

    /// Paused is a stall as soon as somebody waits for its end in the kernel's queue.
    fn paused(&mut self, bench: &Bench<'_>) -> Option<Seen> {
        let mut ports = self.gate.ports().iter().filter(|port| port.accepting() == Accepting::Paused);
        let stands = bench.is_paused
            && ports.any(|port| port.queue().and_then(|queue| queue.depth).is_some_and(|depth| depth > 0));
        if !stands {
            self.paused_since = None;
            return None;
        }
        let since = *self.paused_since.get_or_insert(bench.now);
        Some(Seen { key: Key::Paused, since, extent: 1, cause: StallCause::Paused })
    }

    /// What waiting has cost so far.
    pub(super) fn cost(&self, pace: &Pace, now: Instant) -> Cost {
        let depths = self.gate.ports().iter().filter_map(|port| port.queue()?.depth);
        Cost {
            waiting: pace.waiting,
            oldest_wait: pace.oldest.map(|oldest| now.saturating_duration_since(oldest)),
            queued: depths.map(u64::from).reduce(|sum, depth| sum + depth),
            open: pace.open,
        }
    }
}

/// Twice this, and descriptors are there again.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How often a connection could not be had, or kept, for want of descriptors.
fn missing_so_far(gate: &Gate) -> u64 {
    let of_port = |port: &Arc<crate::gate::Port>| {
        let failed = port.ledger.errors().filter(|(class, _)| *class == AcceptErrorClass::Descriptors);
        let failed: u64 = failed.map(|(_, count)| count).sum();
        failed + port.ledger.refused_so_far(Cause::Resources)
    };
    gate.ports().iter().map(of_port).sum()
}
