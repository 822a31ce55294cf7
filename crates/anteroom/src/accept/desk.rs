//! Where the connections of one lane are let in: by the acceptor, or by whoever takes from that lane.
//!
//! Owns every socket from `accept` to the gate, and the buffers of a batch. Never decides when to accept, and leaves
//! what an error leads to to the acceptor.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use anteroom_listener::{AcceptErrorClass, Batch, BatchEnd, Classified, Event, Events, Listener, Poller};

use super::filter::Filter;
use super::threshold::Threshold;
use super::vigil::Sight;
use crate::admit::{Age, WhenFull};
use crate::config::Config;
use crate::gate::{Line, Newcomer, Parked, Summons};
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
}

/// One lane's.
pub(crate) struct Desk {
    pub(super) office: Arc<Office>,
    lane: usize,
    /// Lanes whose takers do the same, its own among them: each of them can serve whom this one leaves standing.
    kin: Range<usize>,
    counter: Mutex<Counter>,
    /// Where a taker sleeps for its listeners. `None`: only the acceptor accepts.
    set: Option<Poller>,
    /// A taker sleeps on the set, and comes when there is something.
    attended: AtomicBool,
    /// The acceptor sleeps without an end: whoever lets somebody in tells it, because it keeps the time of those who
    /// wait.
    armed: AtomicBool,
    /// How often it has come.
    turns: AtomicU64,
}

/// What whoever works at a desk has to hold.
pub(super) struct Counter {
    config: Arc<Config>,
    settings_seen: u64,
    batch: Batch,
    newcomers: Vec<Newcomer>,
    /// The listeners from which the taker may accept, by their number.
    open: Vec<usize>,
    /// For each listener what its queue was like lately.
    queues: Vec<Lately>,
    /// What a taker met, for the acceptor to deal with, and whether it had accepted anybody before.
    met: Vec<(usize, Met)>,
    has_accepted: bool,
}

/// So many turns in a row that found one connection, and the next is taken to find one as well.
const ALONE: u8 = 2;

/// One listener's queue, as it was seen in the last turns.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    /// Since when everybody has come who may stand in it.
    swept: Option<Tick>,
    /// Turns in a row that found no more than one.
    alone: u8,
}

impl Lately {
    /// It was seen empty, or emptied of who stood in it at that time.
    fn sweep(&mut self, at: Tick) {
        self.swept = Some(at);
    }

    /// So many were found in a turn, and perhaps more.
    fn found(&mut self, connections: usize, is_all: bool) {
        self.alone = if is_all && connections <= 1 { self.alone.saturating_add(1) } else { 0 };
    }

    fn comes_alone(&self) -> bool {
        self.alone >= ALONE
    }
}

impl Desk {
    pub(crate) fn new(office: Arc<Office>, lane: usize, kin: Range<usize>, set: Option<Poller>) -> Self {
        let counter = Counter {
            config: office.core.config(),
            settings_seen: 0,
            batch: Batch::new(),
            newcomers: Vec::new(),
            open: Vec::new(),
            queues: vec![Lately::default(); office.core.gate.ports().len()],
            met: Vec::new(),
            has_accepted: false,
        };
        Self {
            office,
            lane,
            kin,
            counter: Mutex::new(counter),
            set,
            attended: AtomicBool::new(false),
            armed: AtomicBool::new(false),
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

    /// The taker's turn: a batch from each of its listeners. Says how many were accepted, and whether there may be more.
    pub(super) fn take_turn(&self, now: Tick) -> (usize, bool) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let mut counter = self.lock();
        if !self.office.core.life.lets_in() {
            return (0, false);
        }
        let (mut sum, mut more, mut met) = (0, false, None);
        // Another one is first in each turn.
        if counter.open.len() > 1 {
            counter.open.rotate_left(1);
        }
        for place in (0..counter.open.len()).rev() {
            let Some(&index) = counter.open.get(place) else { continue };
            match counter.accept(&self.office, index, self.lane, usize::MAX, Summons::Nobody, now) {
                Served::Batch(accepted, end) => {
                    sum += accepted;
                    counter.has_accepted |= accepted > 0;
                    match end {
                        BatchEnd::Empty => {}
                        BatchEnd::Error(error) => met = Some(Met::Error(error)),
                        _ => more = true,
                    }
                }
                Served::NoRoom => met = Some(Met::NoRoom),
            }
            if let Some(met) = met.take() {
                counter.open.swap_remove(place);
                counter.met.push((index, met));
            }
        }
        let is_to_be_heard = !counter.met.is_empty() || (sum > 0 && self.armed.load(Ordering::SeqCst));
        drop(counter);
        if is_to_be_heard {
            // Not before: it only tries the lock.
            self.office.core.gate.wake_acceptor();
        }
        (sum, more)
    }
}

impl Counter {
    /// The taker may accept from this listener.
    pub(super) fn open(&mut self, index: usize) {
        if !self.open.contains(&index) {
            self.open.push(index);
        }
    }

    /// The taker may not accept from this listener any more.
    pub(super) fn close(&mut self, index: usize) {
        self.open.retain(|open| *open != index);
    }

    /// What takers met since the last time, and whether they had accepted anybody before.
    pub(super) fn met(&mut self) -> (Vec<(usize, Met)>, bool) {
        (std::mem::take(&mut self.met), std::mem::take(&mut self.has_accepted))
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
        // A batch is accepted before it is decided on: until then its sockets are beyond the budget.
        let beyond = core.settings.sockets.map_or(usize::MAX, |sockets| (sockets / 8).max(1));
        let batch = self.config.batch.min(vacancies).min(beyond).min(most);
        let Some(listener) = port.listener() else { return Served::Batch(0, BatchEnd::Empty) };
        let Some(queue) = self.queues.get_mut(index) else { return Served::Batch(0, BatchEnd::Empty) };
        // The look at one who is taken to come alone tells whether it was so. The depth costs more than that, and less
        // than the `accept` that would find the queue empty.
        let comes_alone = summons == Summons::Nobody && queue.comes_alone();
        let depth = if comes_alone { None } else { listener.depth().map(|depth| depth as usize) };
        let most = match (depth, summons) {
            // A readiness that others have used up.
            (Some(0), Summons::Nobody) => {
                queue.sweep(now);
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
        if let Some(queue) = self.queues.get_mut(index) {
            let is_all = matches!(end, BatchEnd::Empty);
            queue.found(accepted, is_all);
            if is_all {
                queue.sweep(now);
            }
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
        let swept = self.queues.get(index).and_then(|queue| queue.swept);
        let longest = swept.map(|swept| now.since(swept));
        let gate = &office.core.gate;
        let port = gate.ports().get(index)?;
        let ids = office.ids(self.batch.len())..;
        let mut filter =
            office.filter.as_ref().map(|filter| filter.lock().unwrap_or_else(PoisonError::into_inner));
        // Whoever held the filter may have held it for long.
        let now = if filter.is_some() { Tick::now() } else { now };
        let mut threshold = Threshold::of(gate, filter.as_deref_mut(), now);
        let looked = match &listener {
            Some(listener) => self.batch.classify_at(listener, longest),
            None => self.batch.classify_within(longest),
        };
        drop(listener);
        let is_anybody_left = looked.is_anybody_left();
        for (id, one) in ids.zip(looked) {
            let Classified { stream, peer, state, kernel_wait, unread, .. } = one;
            if let Some(wait) = kernel_wait {
                port.ledger.kernel_waited(wait);
            }
            let age = Age::accepted(now, kernel_wait);
            let parked = Parked { id, port: index, stream, peer, kernel_wait, age };
            self.newcomers.extend(threshold.cross(parked, state, unread));
        }
        if !self.newcomers.is_empty() {
            gate.admit(lane, &mut self.newcomers, summons, now);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_alone_twice_is_taken_to_come_alone_until_two_come_together() {
        let mut queue = Lately::default();
        let mut after = |connections, is_all| {
            queue.found(connections, is_all);
            queue.comes_alone()
        };
        assert_eq!([after(1, true), after(1, true), after(0, true)], [false, true, true]);
        assert_eq!([after(1, false), after(1, true), after(1, true)], [false, false, true], "one was left");
        assert_eq!([after(2, true), after(1, true), after(1, true)], [false, false, true]);
    }
}
