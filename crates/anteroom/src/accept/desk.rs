//! Where the connections of one lane are let in: by the acceptor, or by whoever takes from that lane.
//!
//! Owns every socket from `accept` to the gate, and the buffers of a batch. Never decides when to accept, and leaves
//! what an error leads to to the acceptor.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use anteroom_listener::{
    AcceptErrorClass, Batch, BatchEnd, Classified, Event, Events, Listener, PeerState, Poller, Unread,
};

use super::filter::Filter;
use super::threshold::Threshold;
use super::vigil::Sight;
use super::window::Window;
use crate::admit::{Age, WhenFull};
use crate::config::Config;
use crate::gate::{Doorstep, Line, Newcomer, Parked, Summons};
use crate::lifecycle::Core;
use crate::observe::Phase;
use crate::tick::Tick;

/// Errors to be met before the real `accept` is asked: for tests of a program's own behaviour.
#[cfg(feature = "test-util")]
pub(crate) type Faults = Box<dyn FnMut() -> Option<io::Error> + Send>;

/// What all desks of a server have in common.
pub(crate) struct Office {
    pub(crate) core: Arc<Core>,
    pub(crate) filter: Option<Mutex<Filter>>,
    #[cfg(feature = "test-util")]
    pub(crate) faults: Option<Mutex<Faults>>,
    next_id: AtomicU64,
}

impl Office {
    pub(crate) fn new(core: Arc<Core>, filter: Option<Filter>) -> Self {
        Self {
            core,
            filter: filter.map(Mutex::new),
            #[cfg(feature = "test-util")]
            faults: None,
            next_id: AtomicU64::new(0),
        }
    }

    /// Nobody is asked by the filter at this moment, if there is one.
    pub(super) fn is_filter_free(&self) -> bool {
        self.filter.as_ref().is_none_or(|filter| !matches!(filter.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// So many numbers in a row that nobody else has: the first of them.
    pub(super) fn ids(&self, connections: usize) -> u64 {
        self.next_id.fetch_add(connections as u64, Ordering::Relaxed)
    }
}

/// What came of one batch.
#[derive(Debug)]
pub(super) enum Served {
    /// The lane has no room: what comes is to stay in the kernel.
    NoRoom,
    /// So many were accepted.
    Batch(usize, BatchEnd),
}

/// What stopped a taker, for the acceptor to deal with.
#[derive(Debug)]
pub(super) enum Met {
    Error(io::Error),
    NoRoom,
    /// Takers were not to accept at that moment.
    Halt,
}

/// What came of a taker's turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) accepted: usize,
    /// There may be more.
    pub(super) more: bool,
    /// When the user's code was last run in it, or it began.
    pub(super) at: Tick,
}

/// One lane's.
pub(crate) struct Desk {
    pub(super) office: Arc<Office>,
    lane: usize,
    /// Lanes whose takers do the same, its own among them: each of them can serve whom this one leaves standing.
    kin: Range<usize>,
    counter: Mutex<Counter>,
    /// The listeners from which the taker may accept, by their number. Nobody who holds this waits for anything.
    open: Mutex<Vec<usize>>,
    /// Where a taker sleeps for its listeners. `None`: only the acceptor accepts.
    set: Option<Poller>,
    /// A taker sleeps on the set, and comes when there is something.
    attended: AtomicBool,
    /// The acceptor sleeps without an end: whoever lets somebody in tells it, because it keeps the time of those who
    /// wait.
    armed: AtomicBool,
    /// While it slept so, somebody was let in.
    roused: AtomicBool,
    /// How often it has come.
    turns: AtomicU64,
}

/// What whoever works at a desk has to hold.
pub(super) struct Counter {
    config: Arc<Config>,
    settings_seen: u64,
    batch: Batch,
    looked: Vec<(Parked, PeerState, Unread)>,
    newcomers: Vec<Newcomer>,
    /// Whoever is to be woken for the newcomers, outside the lock.
    taker: Option<Waker>,
    windows: Vec<Window>,
    /// The listeners of this turn.
    turn: Vec<usize>,
}

impl Desk {
    pub(crate) fn new(office: Arc<Office>, lane: usize, kin: Range<usize>, set: Option<Poller>) -> Self {
        let counter = Counter {
            config: office.core.config(),
            settings_seen: 0,
            batch: Batch::new(),
            looked: Vec::new(),
            newcomers: Vec::new(),
            taker: None,
            windows: office.core.gate.ports().iter().map(|_| Window::default()).collect(),
            turn: Vec::new(),
        };
        Self {
            office,
            lane,
            kin,
            counter: Mutex::new(counter),
            open: Mutex::default(),
            set,
            attended: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            roused: AtomicBool::new(false),
            turns: AtomicU64::new(0),
        }
    }

    pub(crate) fn lane(&self) -> usize {
        self.lane
    }

    pub(super) fn kin(&self) -> Range<usize> {
        self.kin.clone()
    }

    /// Nobody else can serve those who come to its lane.
    pub(super) fn is_alone(&self) -> bool {
        self.kin.len() == 1
    }

    /// What a taker sleeps on, if there is anything for it.
    pub(super) fn set(&self) -> Option<&Poller> {
        self.set.as_ref()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: somebody is at work there.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Counter>> {
        match self.counter.try_lock() {
            Ok(counter) => Some(counter),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether somebody of its lane can be taken.
    pub(super) fn poll_someone(&self, turn_came: Option<Tick>, cx: &mut Context<'_>) -> Poll<Doorstep> {
        self.office.core.gate.poll_someone(self.lane, turn_came, cx)
    }

    /// Whether there is a taker who comes by itself.
    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// A taker will come by itself from now on, or will not any more: the acceptor has to know.
    pub(super) fn attend(&self, attended: bool) {
        if self.attended.swap(attended, Ordering::AcqRel) != attended {
            self.office.core.gate.wake_acceptor();
        }
    }

    /// Whether whoever lets somebody in has to tell the acceptor.
    pub(super) fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::SeqCst);
    }

    /// What a vigil sees of it, with those of its listeners that have something.
    pub(super) fn sight(&self, waiting: &[usize], now: Tick) -> Sight {
        let Line { asks, somebody_waits, is_eager } = self.line(now);
        let accepts = self.turns.load(Ordering::Relaxed);
        Sight { accepts, asks, somebody_waits: somebody_waits || !waiting.is_empty(), is_eager }
    }

    /// Those of its room whom others could be given: nobody, where it is alone.
    pub(super) fn line(&self, now: Tick) -> Line {
        if self.is_alone() { Line::default() } else { self.office.core.gate.line(self.lane, now) }
    }

    /// The listeners that have something, of those that the taker is to look after.
    pub(super) fn waiting(&self, events: &mut Events) -> Vec<usize> {
        let Some(set) = &self.set else { return Vec::new() };
        if set.wait(events, Some(std::time::Duration::ZERO)).is_err() {
            return Vec::new();
        }
        let listeners = events.iter().filter_map(|event| match event {
            Event::Listener(index) => usize::try_from(index).ok(),
            _ => None,
        });
        listeners.collect()
    }

    /// The taker may accept from this listener.
    pub(super) fn open(&self, index: usize) {
        let mut open = self.lock_open();
        if !open.contains(&index) {
            open.push(index);
        }
    }

    /// The taker does not accept from this listener any more: waits until it has left the counter.
    pub(super) fn close(&self, index: usize) {
        self.lock_open().retain(|open| *open != index);
        drop(self.lock());
    }

    fn lock_open(&self) -> MutexGuard<'_, Vec<usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody was let in while the acceptor slept, since this was last asked.
    pub(super) fn was_roused(&self) -> bool {
        self.roused.swap(false, Ordering::AcqRel)
    }

    /// The taker's turn: a batch from each of its listeners.
    pub(super) fn take_turn(&self, now: Tick) -> Turn {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn { accepted: 0, more: false, at: now };
        let mut counter = self.lock();
        let mut listeners = std::mem::take(&mut counter.turn);
        {
            let mut open = self.lock_open();
            // Another one is first in each turn.
            if open.len() > 1 {
                open.rotate_left(1);
            }
            listeners.extend(open.iter().rev());
        }
        for index in listeners.drain(..) {
            let met = match self.office.core.life.lets_in() {
                false => Some(Met::Halt),
                true => {
                    match counter.accept(&self.office, index, self.lane, usize::MAX, Summons::Nobody, now) {
                        Served::Batch(accepted, end) => {
                            turn.accepted += accepted;
                            counter.window(index).has_accepted |= accepted > 0;
                            turn.more |= matches!(end, BatchEnd::Full);
                            if let BatchEnd::Error(error) = end { Some(Met::Error(error)) } else { None }
                        }
                        Served::NoRoom => Some(Met::NoRoom),
                    }
                }
            };
            if let Some(met) = met {
                counter.window(index).met = Some(met);
                self.lock_open().retain(|open| *open != index);
            }
        }
        counter.turn = listeners;
        // Also what was met before, and nobody has heard.
        let has_met = counter.windows.iter().any(|window| window.met.is_some());
        drop(counter);
        if turn.accepted > 0 && self.office.filter.is_some() {
            turn.at = Tick::now();
        }
        let is_roused = turn.accepted > 0 && self.armed.load(Ordering::SeqCst);
        if is_roused {
            self.roused.store(true, Ordering::Release);
        }
        if has_met || is_roused {
            // Not before: it only tries the lock.
            self.office.core.gate.wake_acceptor();
        }
        turn
    }
}

impl Counter {
    /// What takers met since the last time, and whether they had accepted anybody before.
    pub(super) fn met(&mut self) -> Vec<(usize, Met, bool)> {
        let windows = self.windows.iter_mut().enumerate();
        let met = windows.filter_map(|(index, window)| {
            Some((index, window.met.take()?, std::mem::take(&mut window.has_accepted)))
        });
        met.collect()
    }

    /// Whoever is to be woken for those that were let in: outside the lock.
    pub(super) fn taker(&mut self) -> Option<Waker> {
        self.taker.take()
    }

    #[expect(clippy::indexing_slicing, reason = "one for each listener of the server")]
    fn window(&mut self, index: usize) -> &mut Window {
        &mut self.windows[index]
    }

    /// Accepts from one listener as much as one turn allows, and lets it into a lane.
    pub(super) fn accept(
        &mut self,
        office: &Office,
        index: usize,
        lane: usize,
        most: usize,
        summons: Summons,
        now: Tick,
    ) -> Served {
        let core = &office.core;
        if let Some(config) = core.settings.newer_than(&mut self.settings_seen) {
            self.config = config;
        }
        let Some(port) = core.gate.ports().get(index) else { return Served::Batch(0, BatchEnd::Empty) };
        let vacancies = vacancies(core, &self.config, lane);
        if vacancies == 0 {
            return Served::NoRoom;
        }
        // A batch is accepted before it is decided on: until then its sockets are beyond the budget, at every desk.
        let beyond =
            core.settings.sockets.map_or(usize::MAX, |sockets| (sockets / 8 / core.gate.desks()).max(1));
        let batch = self.config.batch.min(vacancies).min(beyond).min(most);
        let Some(listener) = port.listener() else { return Served::Batch(0, BatchEnd::Empty) };
        let window = self.window(index);
        // The look at one who is taken to come alone tells whether it was so. The depth costs more than that, and less
        // than the `accept` that would find the queue empty.
        let comes_alone = summons == Summons::Nobody && window.comes_alone();
        let depth = if comes_alone { None } else { listener.depth().map(|depth| depth as usize) };
        let most = match (depth, summons) {
            // A readiness that others have used up.
            (Some(0), Summons::Nobody) => {
                window.sweep(now);
                return Served::Batch(0, BatchEnd::Empty);
            }
            (Some(depth), _) => batch.min(depth.max(1)),
            (None, _) if comes_alone => 1,
            (None, _) => batch,
        };
        #[cfg(feature = "test-util")]
        let mut faults =
            office.faults.as_ref().map(|faults| faults.lock().unwrap_or_else(PoisonError::into_inner));
        let end = self.batch.fill(most, || {
            #[cfg(feature = "test-util")]
            if let Some(error) = faults.as_mut().and_then(|faults| faults()) {
                return Err(error);
            }
            listener.accept()
        });
        let accepted = self.batch.len();
        let mut is_anybody_left = depth.map(|depth| depth > accepted);
        if accepted > 0 {
            port.ledger.accepted(accepted);
            let listener = comes_alone.then_some(listener);
            is_anybody_left = self.let_in(office, index, lane, summons, listener).or(is_anybody_left);
        }
        let end = match end {
            BatchEnd::Full if is_anybody_left == Some(false) => BatchEnd::Empty,
            end => end,
        };
        let is_all = matches!(end, BatchEnd::Empty);
        self.window(index).found(accepted, is_all);
        if is_all {
            self.window(index).sweep(now);
        }
        if let BatchEnd::Error(error) = &end {
            port.ledger.accept_error(AcceptErrorClass::of(error));
        }
        Served::Batch(accepted, end)
    }

    /// Judges a batch and gives it to the gate. Says whether anybody is left in the queue of `listener`, if it is asked.
    fn let_in(
        &mut self,
        office: &Office,
        index: usize,
        lane: usize,
        summons: Summons,
        listener: Option<Arc<Listener>>,
    ) -> Option<bool> {
        // After the last was accepted, whatever has held this thread up meanwhile.
        let now = Tick::now();
        // Nobody of it came before its queue was swept.
        let longest = self.window(index).swept.map(|swept| now.since(swept));
        let gate = &office.core.gate;
        let port = gate.ports().get(index)?;
        let looked = match &listener {
            Some(listener) => self.batch.classify_at(listener, longest),
            None => self.batch.classify_within(longest),
        };
        drop(listener);
        let is_anybody_left = looked.is_anybody_left();
        // Before the filter: whom it holds up has not waited in the kernel.
        for (id, one) in (office.ids(looked.len())..).zip(looked) {
            let Classified { stream, peer, state, kernel_wait, unread, .. } = one;
            if let Some(wait) = kernel_wait {
                port.ledger.kernel_waited(wait);
            }
            let age = Age::accepted(now, kernel_wait);
            self.looked.push((Parked { id, port: index, stream, peer, kernel_wait, age }, state, unread));
        }
        let mut filter =
            office.filter.as_ref().map(|filter| filter.lock().unwrap_or_else(PoisonError::into_inner));
        let mut threshold = Threshold::of(gate, filter.as_deref_mut(), now);
        for (parked, state, unread) in self.looked.drain(..) {
            self.newcomers.extend(threshold.cross(parked, state, unread));
        }
        drop(filter);
        if !self.newcomers.is_empty() {
            // The filter may have taken long.
            let now = if office.filter.is_some() { Tick::now() } else { now };
            self.taker = gate.admit(lane, &mut self.newcomers, summons, now);
        }
        is_anybody_left
    }
}

/// How many more may be accepted for a lane. A drain takes what is there.
pub(super) fn vacancies(core: &Core, config: &Config, lane: usize) -> usize {
    let is_bounded = config.when_full == WhenFull::BackPressure;
    match is_bounded && core.life.phase() < Phase::Draining {
        true => core.gate.vacancies(lane),
        false => usize::MAX,
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("lane", &self.lane).finish_non_exhaustive()
    }
}
