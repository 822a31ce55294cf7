//! Which of the things that are seen keep clients waiting, and who is to blame.
//!
//! Owns what was known of a suspect when it was first seen. Puts the evidence together from the board, the
//! gate and the kernel; what lasts long enough to be told is decided in `episodes.rs`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anteroom_listener::{AcceptErrorClass, Descriptors};

use super::board::{Board, Running};
use super::episodes::{Key, Seen};
use super::slot::Slot;
use super::stops::Stops;
use super::thread::{self, Clocks, Moment};
use crate::config::StallWatch;
use crate::gate::{Asleep, Doorway, Gate, Pace, Whose};
use crate::observe::{Accepting, Blame, Blamed, Cost, Doing, Part, StallCause};
use crate::tick::Tick;

/// Who has held a thread for less is not suspected, however late the runtime is, nor is a runtime that is late
/// by less.
const SUSPECT_AFTER: Duration = Duration::from_millis(20);

/// One moment told twice may differ by so much: it goes from the clock of the stamps to that of `Tick` each time.
const SAME_MOMENT: Duration = Duration::from_millis(1);

/// How often permits are looked through for those that have leaked, and for each that is open as much longer
/// that looking costs the same share of the time however many there are.
const LEAKS_EVERY: Duration = Duration::from_secs(1);
const LEAKS_AND_PER_OPEN: Duration = Duration::from_micros(500);

/// Something that runs for long, with its thread's clocks when that was first seen.
#[derive(Debug)]
struct Suspect {
    running: Running,
    began: Tick,
    clocks: Option<Clocks>,
}

/// The runtime is late.
#[derive(Debug)]
struct Late {
    /// Since when it is.
    since: Tick,
    threads: Vec<Known>,
    /// Since when nobody is seen to hold it. `None`: somebody is.
    unexplained: Option<Tick>,
}

/// A thread as it was when the runtime was first seen late.
#[derive(Debug)]
struct Known {
    slot: Weak<Slot>,
    clocks: Option<Clocks>,
    polled: u64,
}

impl Known {
    fn new(slot: Weak<Slot>) -> Self {
        let alive = slot.upgrade();
        let clocks = alive.as_ref().and_then(|slot| thread::clocks(slot.thread.id?));
        Self { slot, clocks, polled: alive.map_or(0, |slot| slot.polled()) }
    }

    /// How long it was kept waiting for a processor since.
    fn waited(&self) -> Option<Duration> {
        let now = thread::clocks(self.slot.upgrade()?.thread.id?)?;
        Some(now.since(&self.clocks?).runnable)
    }

    /// How long polls of handlers took on it since.
    fn polled(&self) -> Duration {
        let polled = self.slot.upgrade().map_or(0, |slot| slot.polled().wrapping_sub(self.polled));
        Duration::from_nanos(polled)
    }
}

#[derive(Debug)]
pub(super) struct Judge {
    gate: Arc<Gate>,
    board: Arc<Board>,
    suspects: Vec<Suspect>,
    late: Option<Late>,
    /// Nothing ran before: what began earlier is counted from here.
    anew: Tick,
    stops: Stops,
    paused_since: Option<Tick>,
    /// How often descriptors were missing, and since when.
    missing: u64,
    missing_since: Option<Tick>,
    missed: Tick,
    leaks: Option<Seen>,
    leaks_looked: Tick,
}

/// What the judge is told of this look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'a> {
    pub(super) now: Tick,
    pub(super) settings: &'a StallWatch,
    pub(super) pace: &'a Pace,
    /// Since when something has been waiting for its turn on the runtime.
    pub(super) late_since: Option<Tick>,
    pub(super) is_paused: bool,
}

impl Judge {
    pub(super) fn new(gate: Arc<Gate>, board: Arc<Board>, now: Tick) -> Self {
        let missing = missing_so_far(&gate);
        Self {
            gate,
            board,
            suspects: Vec::new(),
            late: None,
            anew: now,
            stops: Stops::default(),
            paused_since: None,
            missing,
            missing_since: None,
            missed: now,
            leaks: None,
            leaks_looked: now,
        }
    }

    /// The whole process did not run until now: nobody is to blame for that time.
    pub(super) fn begin_anew(&mut self, now: Tick) {
        self.anew = now;
        self.suspects.clear();
        self.late = None;
    }

    /// The whole process did not run for a while, and not for long.
    pub(super) fn stood_still(&mut self, lasted: Duration, ended: Tick) {
        self.stops.add(ended, lasted);
    }

    /// How much time has been had since then: what began before everything stood still counts from its end.
    pub(super) fn had_since(&self, since: Tick, now: Tick) -> Duration {
        let since = since.max(self.anew);
        now.since(since).saturating_sub(self.stops.since(since))
    }

    /// Somebody's time is being measured: it matters how much of it the process stood still.
    pub(super) fn measures(&self) -> bool {
        !self.suspects.is_empty() || self.late.is_some()
    }

    /// Keeps in mind who has been running for long. Cheap unless somebody new has.
    pub(super) fn suspect(&mut self, long: &[Running]) {
        let is_still = |suspect: &Suspect| long.iter().any(|running| running.is_same(&suspect.running));
        self.suspects.retain(is_still);
        for running in long {
            if !self.suspects.iter().any(|suspect| suspect.running.is_same(running)) {
                let clocks = running.thread().id.and_then(thread::clocks);
                let began = running.since();
                self.suspects.push(Suspect { running: running.clone(), began, clocks });
            }
        }
    }

    /// What keeps clients waiting, as it is seen at this look.
    pub(super) fn look(&mut self, bench: &Bench<'_>) -> Vec<Seen> {
        let mut seen = Vec::new();
        let late = bench.late_since;
        let delay = late.map_or(Duration::ZERO, |late| self.had_since(late, bench.now));
        // What is on its way is not late.
        self.know_late(late.filter(|_| delay >= SUSPECT_AFTER));
        match (self.held(bench, delay), &mut self.late) {
            (Some(held), late) => {
                late.iter_mut().for_each(|late| late.unexplained = None);
                seen.push(held);
            }
            (None, Some(late)) => seen.push(runtime_late(late, delay, bench.now)),
            (None, None) => {}
        }
        seen.extend(self.doorways(bench));
        seen.extend(self.descriptors(bench.now));
        seen.extend(self.paused(bench));
        seen.extend(self.leaked(bench));
        seen
    }

    // ------------------------------------------------------------ threads

    fn since(&self, suspect: &Suspect) -> Tick {
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
        let since = held.iter().map(|(suspect, _)| self.since(suspect)).min()?;
        // No two pieces of user code begin in the same nanosecond, on one thread surely, on two most likely.
        let who = held.iter().map(|(suspect, _)| suspect.running.since().nanos()).collect();
        let mut by: Vec<Blame> = held.into_iter().map(|(_, blame)| blame).collect();
        by.sort_by_key(|blame| std::cmp::Reverse(blame.lasted));
        Some(Seen { key: Key::Held, since, extent: by.len(), who, cause: StallCause::Held { by } })
    }

    /// Blames a suspect that has held its thread for `long` by itself: what its thread waited for a
    /// processor is not its doing, nor is what the process was stopped.
    fn blame<'a>(&self, suspect: &'a Suspect, long: Duration, now: Tick) -> Option<(&'a Suspect, Blame)> {
        let since = self.since(suspect);
        let elapsed = now.since(since);
        let had = self.had_since(since, now);
        if had < long {
            return None;
        }
        let id = suspect.running.thread().id;
        let moment = id.map_or(Moment::Unknown, thread::moment);
        let used = id.and_then(thread::clocks).zip(suspect.clocks).map(|(now, then)| now.since(&then));
        let own = match (&moment, used) {
            (Moment::Stopped, _) => Duration::ZERO,
            (Moment::Running, Some(used)) => used.cpu,
            (_, Some(used)) => had.saturating_sub(used.runnable),
            (_, None) => had,
        };
        // It may have come back while it was looked at.
        if own < long || !suspect.running.goes_on() {
            return None;
        }
        let doing = thread::doing(moment, used.map_or(Duration::ZERO, |used| used.cpu));
        Some((suspect, self.describe(&suspect.running, elapsed, doing)))
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

    /// The runtime is late since then, or is not: who does what on it meanwhile is compared with now.
    fn know_late(&mut self, since: Option<Tick>) {
        let known = self.late.take().filter(|known| since.is_some_and(|since| is_same(known.since, since)));
        self.late = known.or_else(|| {
            let threads = self.board.threads().into_iter().map(Known::new).collect();
            Some(Late { since: since?, threads, unexplained: None })
        });
    }

    // ------------------------------------------------------------ places

    fn doorways(&self, bench: &Bench<'_>) -> Vec<Seen> {
        if bench.pace.waiting == 0 {
            return Vec::new();
        }
        let doorways = self.gate.doorways();
        doorways.into_iter().filter_map(|doorway| self.doorway(doorway, bench.now)).collect()
    }

    /// It counts from when it was seen: whoever waits may have begun to for another reason.
    fn doorway(&self, doorway: Doorway, now: Tick) -> Option<Seen> {
        let Doorway { lane, open, is_wanted, asleep, is_full } = doorway;
        if !is_wanted {
            return None;
        }
        let ports = self.gate.ports().iter().filter(|port| port.lane == lane);
        let listeners = ports.map(|port| port.name.to_string()).collect();
        let (key, cause) = match asleep? {
            Asleep::Service => (Key::ServiceNotReady(lane), StallCause::ServiceNotReady { lane, listeners }),
            Asleep::Place if is_full => {
                (Key::LimitReached(lane), StallCause::LimitReached { lane, listeners, open })
            }
            Asleep::Place | Asleep::Arrival => return None,
        };
        Some(Seen { key, since: now, extent: 1, who: Vec::new(), cause })
    }

    fn leaked(&mut self, bench: &Bench<'_>) -> Option<Seen> {
        let open = u32::try_from(bench.pace.open).unwrap_or(u32::MAX);
        let every = LEAKS_EVERY.saturating_add(LEAKS_AND_PER_OPEN.saturating_mul(open));
        if bench.now.since(self.leaks_looked) >= every {
            self.leaks_looked = bench.now;
            let leaked = self.gate.leaked(bench.settings.leaked_after, bench.now);
            self.leaks = leaked.map(|leaked| Seen {
                key: Key::PermitsLeaked,
                since: bench.now.checked_sub(leaked.oldest).unwrap_or(bench.now),
                extent: leaked.permits,
                who: Vec::new(),
                cause: StallCause::PermitsLeaked { permits: leaked.permits, oldest: leaked.oldest },
            });
        }
        self.leaks.clone()
    }

    // ------------------------------------------------------------ accepting

    /// Descriptors were missing a moment ago: `accept` pauses for at most 100 ms after each failure. Where nobody
    /// comes any more, they are still missing until one can be had.
    fn descriptors(&mut self, now: Tick) -> Option<Seen> {
        let missing = missing_so_far(&self.gate);
        if missing != self.missing {
            self.missing = missing;
            self.missed = now;
            self.missing_since.get_or_insert(now);
        } else if now.since(self.missed) > 2 * LONGEST_PAUSE && is_one_left() {
            self.missing_since = None;
        }
        let since = self.missing_since?;
        let Descriptors { limit, open, .. } = Descriptors::of_process();
        let cause = StallCause::OutOfDescriptors { open, limit };
        Some(Seen { key: Key::OutOfDescriptors, since, extent: 1, who: Vec::new(), cause })
    }

    /// Since when they are.
    pub(super) fn missing_since(&self) -> Option<Tick> {
        self.missing_since
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
        Some(Seen { key: Key::Paused, since, extent: 1, who: Vec::new(), cause: StallCause::Paused })
    }

    /// What waiting has cost so far.
    pub(super) fn cost(&self, pace: &Pace, now: Tick) -> Cost {
        let depths = self.gate.ports().iter().filter_map(|port| port.queue()?.depth);
        Cost {
            waiting: pace.waiting,
            oldest_wait: pace.oldest.map(|oldest| now.since(oldest)),
            queued: depths.map(u64::from).reduce(|sum, depth| sum + depth),
            open: pace.open,
        }
    }
}

fn is_same(one: Tick, other: Tick) -> bool {
    one.since(other).max(other.since(one)) < SAME_MOMENT
}

/// The runtime is late and no handler holds it: something else does, or many handlers together, or there is no
/// processor for it. It counts from when nobody was seen: between two that hold it there is always a moment.
fn runtime_late(late: &mut Late, delay: Duration, now: Tick) -> Seen {
    let waited = late.threads.iter().filter_map(Known::waited).max();
    let in_polls = late.threads.iter().map(Known::polled).max().unwrap_or_default();
    let (who, cause) = match waited {
        Some(waited) if waited >= delay / 2 => {
            (1, StallCause::Starved { waited, pressure: None, throttled: None })
        }
        _ => (0, StallCause::RuntimeLate { delay, in_polls }),
    };
    let since = *late.unexplained.get_or_insert(now);
    Seen { key: Key::RuntimeLate, since, extent: 1, who: vec![who], cause }
}

/// Twice this, and descriptors are there again.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Given back at once: asked only after descriptors were missing.
fn is_one_left() -> bool {
    std::fs::File::open("/dev/null").is_ok()
}

/// How often a connection could not be had for want of descriptors.
fn missing_so_far(gate: &Gate) -> u64 {
    let errors = gate.ports().iter().flat_map(|port| port.ledger.errors());
    errors.filter(|(class, _)| *class == AcceptErrorClass::Descriptors).map(|(_, count)| count).sum()
}
