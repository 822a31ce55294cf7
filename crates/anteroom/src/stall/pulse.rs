//! The pulse: the thread that looks from outside, mostly asleep.
//!
//! Owns its pace, the kick and readiness. It looks every few milliseconds while anything moves, once in a
//! while when nothing does. Calls no subscriber, no recorder and no handler; whatever those do, it goes on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{self, RuntimeFlavor};

use super::board::{Board, Look};
use super::episodes::{Episodes, Told};
use super::findings::Findings;
use super::judge::{Bench, Judge};
use super::machine::Machine;
use super::standing::Standing;
use super::steady::{Delays, Steady};
use super::thread::{self, Clocks};
use crate::config::{Kick, StallWatch};
use crate::gate::{Gate, Pace};
use crate::observe::{Accepting, Cost, Note, Part, Phase, Stall, StallCause, Unready};
use crate::tick::Tick;

/// Between two looks while anything moves, and between two kicks.
const TICK: Duration = Duration::from_millis(10);

/// What runs for longer than this may have left nobody who looks after I/O and timers.
const LONG: Duration = Duration::from_millis(5);

/// After the last movement it goes on looking every tick for so long: a server with little to do does not
/// pay a wake-up for each connection.
const LINGER: Duration = Duration::from_millis(200);

/// Between two looks while somebody waits, or something else may become a stall.
const UNEASY: Duration = Duration::from_millis(100);

/// Between two looks while nothing moves. With the empty task at each of them, by which two workers wake, and
/// the look for its answer, a server whose connections are all idle wakes less than twice a second.
const IDLE: Duration = Duration::from_millis(2200);

/// Woken so much later than it meant to, the process may have been stopped.
const NOTICED: Duration = Duration::from_millis(20);

/// The empty task is not sent more often, unless it is to wake somebody.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// A close look, with the kernel's files, is not taken more often.
const JUDGE_EVERY: Duration = Duration::from_millis(50);

/// The server as the pulse sees it.
pub(crate) trait Watched: Send {
    fn phase(&self) -> Phase;
    fn is_paused(&self) -> bool;
    fn settings(&self) -> StallWatch;
    /// The runtime that serves, once it is known.
    fn runtime(&self) -> Option<runtime::Handle>;
    /// It does not keep up, or does again.
    fn falls_behind(&self, why: Option<Unready>);
}

/// What the pulse looks at, and where it leaves what it finds.
pub(crate) struct Subject {
    pub(crate) server: Box<dyn Watched>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) board: Arc<Board>,
    pub(crate) findings: Arc<Findings>,
}

/// Starts the thread. It ends by itself when the server has stopped.
pub(crate) fn start(subject: Subject) -> io::Result<()> {
    let board = Arc::clone(&subject.board);
    let run = move || Pulse::new(subject).run();
    let thread = std::thread::Builder::new().name("anteroom-pulse".into()).spawn(run)?;
    board.watched_by(thread.thread().clone());
    Ok(())
}

struct Pulse {
    subject: Subject,
    judge: Judge,
    episodes: Episodes,
    steady: Steady,
    standing: Standing,
    /// Since when somebody is there whom nobody accepts.
    unaccepted: Option<Tick>,
    moved: Tick,
    /// As it left the board: whoever enters something is to wake it.
    is_asleep: bool,
    /// Since when somebody is there.
    occupied: Option<Tick>,
    /// How much had been entered, and how often a taker come, at the last look.
    entered: u64,
    summons: u64,
    sent: Tick,
    judged: Tick,
    /// This thread's clocks and the machine's, a while ago: what a gap was spent with.
    before: (Option<Clocks>, Machine, Tick),
    own_id: Option<u32>,
}

impl Pulse {
    fn new(subject: Subject) -> Self {
        let now = Tick::now();
        let own_id = thread::own_id();
        Self {
            judge: Judge::new(Arc::clone(&subject.gate), Arc::clone(&subject.board), now),
            episodes: Episodes::default(),
            steady: Steady::default(),
            standing: Standing::default(),
            unaccepted: None,
            moved: now,
            is_asleep: false,
            occupied: None,
            entered: 0,
            summons: 0,
            sent: now,
            judged: now,
            before: (own_id.and_then(thread::clocks), Machine::now(), now),
            own_id,
            subject,
        }
    }

    fn run(mut self) {
        let mut due = Tick::now();
        loop {
            let now = Tick::now();
            let settings = self.subject.server.settings();
            self.look_back(now.since(due), now, &settings);
            if self.subject.server.phase() == Phase::Stopped {
                let told = self.episodes.end(Cost::default(), now);
                self.tell(told);
                self.subject.findings.are(Vec::new());
                return;
            }
            self.subject.board.call_slow(settings.slow_poll);
            let look = self.subject.board.look(Tick::now(), LONG);
            let pace = self.subject.gate.pace();
            self.notice(&look, &pace, now);
            self.beat(&look, &pace, now, &settings);
            self.judge.suspect(&look.long);
            self.judge(&look, &pace, now, &settings);
            due = self.rest(&look, &pace, now);
        }
    }

    // ------------------------------------------------------------ the pace

    /// Sleeps until there may be something to see. Gives the time at which it meant to wake.
    fn rest(&mut self, look: &Look, pace: &Pace, now: Tick) -> Tick {
        let board = &self.subject.board;
        let busy = !look.long.is_empty() || now.since(self.moved) < LINGER;
        let uneasy = pace.waiting > 0
            || pace.summoned.is_some()
            || self.episodes.is_uneasy()
            || self.steady.behind().is_some()
            || self.unaccepted.is_some()
            || self.subject.findings.beat.waiting_since().is_some()
            || self.subject.server.is_paused();
        let until = if busy {
            board.wake_up();
            self.is_asleep = false;
            // Whoever has just begun is looked at as soon as it is long.
            let first = look.next;
            first.map_or(now + TICK, |first| first.min(now + TICK))
        } else {
            let was_asleep = board.fall_asleep();
            if self.is_asleep && !was_asleep {
                // Somebody has stirred since the look: they are looked after.
                self.moved = now;
            }
            self.is_asleep = true;
            // Whoever did not see this yet has entered something by the next look: no fence is needed
            // where things are entered.
            match was_asleep {
                false => now + TICK,
                true if uneasy => now + UNEASY,
                true => now + IDLE,
            }
        };
        // What it did itself was no sleep.
        let slept = Tick::now();
        let until = until.max(slept + Duration::from_micros(500));
        std::thread::park_timeout(until.since(slept));
        until
    }

    /// Whether anything has moved since the last look. The watch is woken when it begins to.
    fn notice(&mut self, look: &Look, pace: &Pace, now: Tick) {
        let was_still = now.since(self.moved) >= LINGER;
        let stirred = self.is_asleep && !self.subject.board.is_asleep();
        self.is_asleep &= !stirred;
        let is_occupied = pace.open > 0 || pace.waiting > 0;
        self.occupied = is_occupied.then(|| self.occupied.unwrap_or(now));
        if look.entered != self.entered || pace.summons != self.summons || stirred {
            self.moved = now;
            self.entered = look.entered;
            if was_still {
                self.subject.gate.notes().wake();
            }
        }
    }

    // ------------------------------------------------------------ the empty task

    /// Asks the runtime how late it is, and wakes a worker by it. Each taker that was woken has asked already.
    fn beat(&mut self, look: &Look, pace: &Pace, now: Tick, settings: &StallWatch) {
        let dispatched = std::mem::replace(&mut self.summons, pace.summons) != pace.summons;
        if dispatched {
            self.sent = now;
        }
        if dispatched || self.occupied.is_none() || self.subject.findings.beat.is_runtime_gone() {
            return;
        }
        let Some(runtime) = self.subject.server.runtime() else { return };
        let is_multi_thread = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        let kicks = settings.kick == Kick::IdleWorkers && is_multi_thread && !look.long.is_empty();
        let is_still = now.since(self.moved) >= 2 * LINGER;
        let every =
            if is_still && pace.waiting == 0 && self.steady.behind().is_none() { IDLE } else { BEAT_EVERY };
        // A little early is better than a tick late.
        let is_time = now.since(self.sent) + TICK >= every;
        if (kicks || is_time) && self.subject.findings.beat.send(&runtime, &self.subject.gate, now) {
            self.sent = now;
        }
    }

    // ------------------------------------------------------------ what is found

    fn judge(&mut self, look: &Look, pace: &Pace, now: Tick, settings: &StallWatch) {
        // A runtime that is late keeps nobody waiting while nobody is there.
        let beat = self.subject.findings.beat.waiting_since().zip(self.occupied);
        let beat = beat.map(|(sent, occupied)| sent.max(occupied));
        let late_since = beat.into_iter().chain(pace.summoned).min();
        let is_time = now.since(self.judged) >= JUDGE_EVERY;
        if is_time {
            self.unaccepted = self.unaccepted(look, now);
        }
        self.readiness(pace, late_since, now, settings);
        if !is_time {
            return;
        }
        self.judged = now;
        let is_paused = self.subject.server.is_paused();
        let bench = Bench { now, settings, pace, late_since, is_paused };
        let seen = self.judge.look(&bench);
        let is_bad = !seen.is_empty() || self.episodes.is_uneasy();
        let cost = if is_bad { self.judge.cost(pace, now) } else { Default::default() };
        let told = self.episodes.look(seen, settings.threshold, cost, now);
        self.tell(told);
        self.subject.findings.are(self.episodes.current(now, cost));
    }

    /// Somebody is in the kernel's queue of a listener that is to accept, or in the filter, and nobody is accepted;
    /// or whoever comes is closed for want of a descriptor.
    fn unaccepted(&mut self, look: &Look, now: Tick) -> Option<Tick> {
        if self.subject.server.phase() != Phase::Serving {
            self.standing = Standing::default();
            return None;
        }
        let listeners = self.subject.gate.ports().iter().map(|port| {
            let is_to_accept = matches!(port.accepting(), Accepting::Yes | Accepting::AfterError);
            let depth = || port.queue().and_then(|queue| queue.depth);
            (port.ledger.report().accepted, is_to_accept && depth().is_some_and(|depth| depth > 0))
        });
        let queued = self.standing.look(listeners, now);
        let filter = look.long.iter().filter(|running| running.work().part == Part::Filter);
        let filter = filter.map(|running| running.since());
        queued.into_iter().chain(filter).chain(self.judge.missing_since()).min()
    }

    fn tell(&self, told: Vec<Told>) {
        for told in told {
            if let Told::Begun(stall) = &told {
                self.subject.findings.count(&stall.cause);
            }
            self.subject.gate.notes().leave(match told {
                Told::Begun(stall) | Told::Grown(stall) => Note::Stall(Box::new(stall)),
                Told::Over { cause, lasted } => Note::StallOver { cause, lasted },
            });
        }
    }

    fn readiness(&mut self, pace: &Pace, late_since: Option<Tick>, now: Tick, settings: &StallWatch) {
        let age =
            |since: Option<Tick>| since.map_or(Duration::ZERO, |since| self.judge.had_since(since, now));
        let delays = Delays {
            oldest_wait: age(pace.oldest),
            standing: age(self.unaccepted),
            runtime: age(late_since),
        };
        if self.steady.look(delays, settings.unready_after, now) {
            let behind = self.steady.behind();
            // Whoever waits for it may have a waker of their own making: its panic is not to end the watch.
            let tell = AssertUnwindSafe(|| self.subject.server.falls_behind(behind));
            let _their_panic_is_told_by_the_hook = catch_unwind(tell);
            self.subject.gate.notes().leave(Note::KeepsUp(behind));
        }
    }

    /// Woken long after it was time: the process was stopped, or kept waiting for a processor.
    fn look_back(&mut self, gap: Duration, now: Tick, settings: &StallWatch) {
        let own = || self.own_id.and_then(thread::clocks);
        let (clocks, machine, then) = &self.before;
        if gap < settings.threshold.max(NOTICED) {
            if gap >= NOTICED {
                let clocks = std::mem::replace(&mut self.before.0, own());
                let waited = self.before.0.zip(clocks).map(|(after, before)| after.since(&before).runnable);
                self.judge.stood_still(gap.saturating_sub(waited.unwrap_or_default()), now);
            } else if now.since(*then) >= BEAT_EVERY {
                self.before = (own(), Machine::now(), now);
            } else if self.judge.measures() {
                self.before.0 = own();
            }
            return;
        }
        let after = (own(), Machine::now(), now);
        let waited = after.0.zip(*clocks).map(|(after, before)| after.since(&before).runnable);
        let since = after.1.since(machine);
        let cause = match waited {
            Some(waited) if waited >= gap / 2 => {
                StallCause::Starved { waited, pressure: since.pressure, throttled: since.throttled }
            }
            // Where nobody tells how long threads waited: a process that was stopped has used nothing.
            None if since.cpu.is_some_and(|used| used >= gap / 10) => {
                StallCause::Starved { waited: gap, pressure: since.pressure, throttled: since.throttled }
            }
            _ => StallCause::ProcessStopped { during: gap },
        };
        self.before = after;
        let cost = self.judge.cost(&self.subject.gate.pace(), now);
        let stall = Stall { cause, lasted: gap, cost };
        self.subject.findings.count(&stall.cause);
        self.subject.findings.was(stall.clone(), now);
        self.subject.gate.notes().leave(Note::Stall(Box::new(stall)));
        self.judge.begin_anew(now);
    }
}
