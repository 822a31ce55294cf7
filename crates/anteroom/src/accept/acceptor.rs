//! One acceptor's turns: look at the kernel, accept a batch from each ready listener, let the gate
//! decide, keep time, and carry a drain to its end.
//!
//! Owns every accepted socket from `accept` to the gate. Runs on a thread or in a task, which it
//! does not know.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use anteroom_listener::{AcceptErrorClass, Accepted, Batch, BatchEnd, Classified, Event, Events};

use super::ending::{Ending, Leaving};
use super::filter::Filter;
use super::reserve::Reserve;
use super::rota::Rota;
use super::threshold::Threshold;
use super::trouble::{Reaction, Trouble};
use crate::admit::{Age, Cause, WhenFull};
use crate::config::{Config, OutOfDescriptors};
use crate::gate::{Gate, Newcomer, Parked, Port};
use crate::lifecycle::{AcceptError, Core, Failure};
use crate::observe::{Accepting, Note, Phase};

/// Errors to be met before the real `accept` is asked: for tests of a program's own behaviour.
#[cfg(feature = "test-util")]
pub(crate) type Faults = Box<dyn FnMut() -> Option<io::Error> + Send>;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// What an acceptor is made of.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) filter: Option<Filter>,
    #[cfg(feature = "test-util")]
    pub(crate) faults: Option<Faults>,
}

/// One listener's state on the acceptor.
#[derive(Debug)]
pub(super) struct Post {
    trouble: Trouble,
    /// The kernel is not asked before this time.
    pub(super) resumes: Option<Instant>,
    /// Unless it is, the epoll set is not asked about this listener.
    accepting: Accepting,
    pub(super) closed: bool,
    /// The lane has no room: what comes is left in the kernel.
    held_back: bool,
    pub(super) leaving: Leaving,
}

impl Post {
    fn new() -> Self {
        Self {
            trouble: Trouble::default(),
            resumes: None,
            accepting: Accepting::Yes,
            closed: false,
            held_back: false,
            leaving: Leaving::NotYet,
        }
    }
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Sleep until the kernel has something, or until this time.
    Sleep(Option<Instant>),
    /// Everything has ended.
    Over,
}

pub(crate) struct Acceptor {
    pub(super) core: Arc<Core>,
    /// As it was at the beginning of this turn.
    pub(super) config: Arc<Config>,
    /// How often the settings had been changed by then.
    settings_seen: u64,
    pub(super) posts: Vec<Post>,
    rota: Rota,
    reserve: Reserve,
    reserve_missed: bool,
    filter: Option<Filter>,
    #[cfg(feature = "test-util")]
    faults: Option<Faults>,
    pub(super) ending: Ending,
    next_id: u64,
    events: Events,
    turns: Vec<usize>,
    batch: Batch,
    newcomers: Vec<Newcomer>,
    pub(super) over: bool,
}

impl Acceptor {
    /// # Errors
    /// The reserve descriptor cannot be opened, or a listener not be put into the epoll set.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let core = parts.core;
        let ports = core.gate.ports();
        for (index, port) in ports.iter().enumerate() {
            if let Some(listener) = port.listener() {
                core.gate.poller().add_listener(&listener, index as u64)?;
            }
        }
        Ok(Self {
            posts: ports.iter().map(|_| Post::new()).collect(),
            rota: Rota::new(ports.len()),
            reserve: Reserve::new()?,
            reserve_missed: false,
            filter: parts.filter,
            #[cfg(feature = "test-util")]
            faults: parts.faults,
            ending: Ending::NotYet,
            next_id: 0,
            events: Events::with_capacity(EVENTS),
            turns: Vec::new(),
            batch: Batch::new(),
            newcomers: Vec::new(),
            over: false,
            config: core.config(),
            settings_seen: 0,
            core,
        })
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.core.gate
    }

    /// Waits for the kernel until `until` (`None`: as long as it takes), then does one turn. Says
    /// what to do next, and whether the kernel had something.
    pub(super) fn turn(&mut self, until: Option<Instant>) -> (Next, bool) {
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let gate = Arc::clone(&self.core.gate);
        let waited = gate.poller().wait(&mut self.events, timeout);
        let now = Instant::now();
        if let Err(error) = waited {
            self.broken(0, error);
        }
        let mut busy = false;
        for event in self.events.iter() {
            busy = true;
            match event {
                Event::Listener(index) => {
                    self.rota.mark_ready(usize::try_from(index).unwrap_or(usize::MAX));
                }
                Event::Peer { token, how } => gate.peer_hung_up(token, how, now),
                Event::Bytes { token } => gate.peer_spoke(token, now),
                Event::Woken => {}
            }
        }
        gate.count_turn();
        if let Some(board) = &self.core.board {
            board.stir();
        }
        self.obey(now);
        self.take_up(now);
        self.round(now);
        gate.relay(now);
        let due = gate.tend(now);
        let duck = self.lame_duck(now);
        let next = match self.drain(now) {
            Some(Next::Over) => Next::Over,
            Some(Next::Sleep(end)) => Next::Sleep(earliest([due, end, self.next_resume()])),
            None => Next::Sleep(earliest([due, duck, self.next_resume()])),
        };
        (next, busy)
    }

    // ------------------------------------------------------------ accepting

    /// One batch from each ready listener.
    fn round(&mut self, now: Instant) {
        let mut turns = std::mem::take(&mut self.turns);
        self.rota.round(&mut turns);
        for &index in &turns {
            let listens =
                self.posts.get(index).is_some_and(|post| !post.closed && post.accepting == Accepting::Yes);
            if listens {
                self.accept_batch(index, now);
            }
        }
        self.turns = turns;
    }

    /// Accepts from one listener as much as one turn allows, and lets it in. Says whether its queue
    /// is known to be empty now.
    pub(super) fn accept_batch(&mut self, index: usize, now: Instant) -> bool {
        let core = Arc::clone(&self.core);
        let Some(port) = core.gate.ports().get(index) else { return true };
        let vacancies = self.vacancies(port);
        if vacancies == 0 {
            self.hold_back(index);
            return false;
        }
        // A batch is accepted before it is decided on: until then its sockets are beyond the budget.
        let beyond = self.core.settings.sockets.map_or(usize::MAX, |sockets| (sockets / 8).max(1));
        let batch = self.config.batch.min(vacancies).min(beyond);
        let end = {
            let Some(listener) = port.listener() else { return true };
            // The depth costs less than the `accept` that would find the queue empty.
            let most = match listener.depth() {
                Some(depth) if depth > 0 => batch.min(depth as usize),
                Some(_) => 1,
                None => batch,
            };
            #[cfg(feature = "test-util")]
            {
                let faults = &mut self.faults;
                self.batch.fill(most, || match faults.as_mut().and_then(|faults| faults()) {
                    Some(error) => Err(error),
                    None => listener.accept(),
                })
            }
            #[cfg(not(feature = "test-util"))]
            self.batch.fill(most, || listener.accept())
        };
        let accepted = self.batch.len();
        if accepted > 0 {
            port.ledger.accepted(accepted);
            self.let_in(index, port.lane, now);
            if let Some(post) = self.posts.get_mut(index) {
                post.trouble.is_over();
                post.leaving.accepted(accepted);
            }
        }
        match end {
            BatchEnd::Empty => true,
            BatchEnd::Error(error) => {
                self.meet(index, error);
                false
            }
            _ => false,
        }
    }

    /// Judges a batch and gives it to the gate.
    fn let_in(&mut self, index: usize, lane: usize, now: Instant) {
        let core = Arc::clone(&self.core);
        let gate = &core.gate;
        let Some(port) = gate.ports().get(index) else { return };
        let mut threshold = Threshold::of(gate, &mut self.filter, now);
        for Classified { stream, peer, state, kernel_wait, unread, .. } in self.batch.classify() {
            let id = self.next_id;
            self.next_id += 1;
            if let Some(wait) = kernel_wait {
                port.ledger.kernel_waited(wait);
            }
            let age = Age::accepted(now, kernel_wait);
            let parked = Parked { id, port: index, stream, peer, kernel_wait, age };
            self.newcomers.extend(threshold.cross(parked, state, unread));
        }
        if !self.newcomers.is_empty() {
            gate.admit(lane, &mut self.newcomers, now);
        }
    }

    /// Lets in who comes from a predecessor, or back from a successor.
    fn take_up(&mut self, now: Instant) {
        let core = Arc::clone(&self.core);
        let gate = &core.gate;
        let arriving = gate.arrivals();
        let came = arriving.len();
        if came == 0 {
            return;
        }
        let threshold = Threshold::of(gate, &mut self.filter, now);
        for Parked { port: index, stream, peer, kernel_wait, age, .. } in arriving {
            let Some(port) = gate.ports().get(index) else { continue };
            let mut accepted = Some(Accepted::new(stream, peer));
            self.batch.fill(1, || accepted.take().ok_or_else(|| io::ErrorKind::WouldBlock.into()));
            for Classified { stream, peer, state, unread, .. } in self.batch.classify() {
                let id = self.next_id;
                self.next_id += 1;
                let parked = Parked { id, port: index, stream, peer, kernel_wait, age };
                self.newcomers.extend(threshold.look(parked, state, unread));
            }
            gate.admit(port.lane, &mut self.newcomers, now);
        }
        gate.let_in(came);
    }

    // ------------------------------------------------------------ errors

    fn meet(&mut self, index: usize, error: io::Error) {
        let class = AcceptErrorClass::of(&error);
        let core = Arc::clone(&self.core);
        if let Some(port) = core.gate.ports().get(index) {
            port.ledger.accept_error(class);
        }
        let Some(post) = self.posts.get_mut(index) else { return };
        let reaction = match post.trouble.meet(class, self.config.pause) {
            Reaction::ShedAndPause(_) if self.config.out_of_descriptors == OutOfDescriptors::Fail => {
                Reaction::GiveUp
            }
            reaction => reaction,
        };
        let pause = match reaction {
            Reaction::GiveUp => return self.broken(index, error),
            Reaction::GoOn => None,
            Reaction::Pause(pause) => {
                self.pause_until(index, Instant::now() + pause);
                Some(pause)
            }
            Reaction::ShedAndPause(pause) => {
                self.shed(index);
                self.pause_until(index, Instant::now() + pause);
                Some(pause)
            }
        };
        core.gate.notes().leave(Note::AcceptError { listener: index, class, error, pause });
    }

    /// Accepts one connection on the reserve descriptor and refuses it.
    fn shed(&mut self, index: usize) {
        let core = Arc::clone(&self.core);
        let Some(port) = core.gate.ports().get(index) else { return };
        // During a drain nobody is behind them for whom the queue would have to move.
        if core.life.phase() >= Phase::Draining || !self.reserve.lend() {
            return;
        }
        let accepted = port.listener().map(|listener| listener.accept());
        if let Some(Ok(Accepted { stream, peer, .. })) = accepted {
            port.ledger.accepted(1);
            let now = Instant::now();
            let kernel_wait = stream.kernel_wait();
            let age = Age::accepted(now, kernel_wait);
            let id = self.next_id;
            self.next_id += 1;
            core.gate.expel(
                Parked { id, port: index, stream, peer, kernel_wait, age },
                Cause::Resources,
                now,
            );
        }
        self.regain_reserve();
    }

    fn regain_reserve(&mut self) {
        let held = self.reserve.regain();
        if held == self.reserve_missed {
            self.reserve_missed = !held;
            self.core.gate.notes().leave(if held { Note::ReserveRegained } else { Note::ReserveLost });
        }
    }

    /// The listener is of no use any more: the server drains and ends with an error.
    fn broken(&mut self, index: usize, error: io::Error) {
        let core = Arc::clone(&self.core);
        let name = core.gate.ports().get(index).map_or_else(|| "?".into(), |port| Arc::clone(&port.name));
        let told = io::Error::new(error.kind(), error.to_string());
        core.gate.notes().leave(Note::ListenerFailed { listener: index, error });
        self.close(index);
        core.fail(Failure::Listener(AcceptError { listener: name, source: Arc::new(told) }));
    }

    // ------------------------------------------------------------ pausing

    /// Takes up the wishes of the handles, and posts whose pause is over.
    fn obey(&mut self, now: Instant) {
        if let Some(config) = self.core.settings.newer_than(&mut self.settings_seen) {
            self.config = config;
        }
        // A drain empties the queue, paused or not.
        let paused = self.core.life.is_paused() && self.core.life.phase() < Phase::Draining;
        let held = self.core.life.is_held();
        if !self.reserve.is_held()
            && (self.reserve_missed || self.next_resume().is_some_and(|next| next <= now))
        {
            self.regain_reserve();
        }
        for index in 0..self.posts.len() {
            self.let_on(index);
            let Some(post) = self.posts.get_mut(index) else { continue };
            if post.resumes.is_some_and(|resumes| resumes <= now) {
                post.resumes = None;
            }
            let accepting = match post {
                _ if held => Accepting::Elsewhere,
                _ if paused => Accepting::Paused,
                Post { resumes: Some(_), .. } => Accepting::AfterError,
                Post { held_back: true, .. } => Accepting::ServiceFull,
                _ => Accepting::Yes,
            };
            if accepting != post.accepting && !post.closed {
                self.switch(index, accepting);
            }
        }
    }

    fn pause_until(&mut self, index: usize, until: Instant) {
        if let Some(post) = self.posts.get_mut(index) {
            post.resumes = Some(until);
        }
        self.switch(index, Accepting::AfterError);
    }

    /// How many more may be accepted for the lane of a listener. A drain takes what is there.
    fn vacancies(&self, port: &Port) -> usize {
        let is_bounded = self.config.when_full == WhenFull::BackPressure;
        match is_bounded && self.core.life.phase() < Phase::Draining {
            true => self.core.gate.vacancies(port.lane),
            false => usize::MAX,
        }
    }

    /// Leaves what comes in the kernel until the lane has room.
    fn hold_back(&mut self, index: usize) {
        if let Some(post) = self.posts.get_mut(index) {
            post.held_back = true;
        }
        self.switch(index, Accepting::ServiceFull);
    }

    /// Looks whether the lane of a listener that was held back has room.
    fn let_on(&mut self, index: usize) {
        if !self.posts.get(index).is_some_and(|post| post.held_back) {
            return;
        }
        let core = Arc::clone(&self.core);
        if core.gate.ports().get(index).is_none_or(|port| self.vacancies(port) == 0) {
            return;
        }
        if let Some(post) = self.posts.get_mut(index) {
            post.held_back = false;
        }
    }

    /// Tells the epoll set whether to look at this listener.
    fn switch(&mut self, index: usize, accepting: Accepting) {
        let core = Arc::clone(&self.core);
        let (Some(port), Some(post)) = (core.gate.ports().get(index), self.posts.get_mut(index)) else {
            return;
        };
        let Some(listener) = port.listener() else { return };
        let was_on = std::mem::replace(&mut post.accepting, accepting) == Accepting::Yes;
        port.accepts(accepting);
        let poller = core.gate.poller();
        let switched = match (was_on, accepting == Accepting::Yes) {
            (true, false) => poller.pause_listener(&listener, index as u64),
            (false, true) => poller.resume_listener(&listener, index as u64),
            _ => Ok(()),
        };
        drop(listener);
        if let Err(error) = switched {
            self.broken(index, error);
        }
    }

    fn next_resume(&self) -> Option<Instant> {
        let posts = self.posts.iter().filter(|post| !post.closed).filter_map(|post| post.resumes).min();
        let reserve = self.reserve_missed.then(|| Instant::now() + self.config.pause);
        earliest([posts, reserve])
    }
}

impl Drop for Acceptor {
    /// Dropped before its end: the runtime that hosted it as a task is gone, or it panicked.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        for index in 0..self.posts.len() {
            self.close(index);
        }
        self.core.fail(Failure::RuntimeGone);
        self.core.gate.abandon_all();
        self.core.gate.cut();
        self.core.gate.write_off();
        self.finish();
    }
}

pub(super) fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}
