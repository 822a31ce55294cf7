//! One acceptor's turns: look at the kernel, accept a batch from each ready listener, let the gate
//! decide, keep time, and carry a drain to its end.
//!
//! Owns every accepted socket from `accept` to the gate. Runs on a thread or in a task, which it
//! does not know.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::{AcceptErrorClass, Accepted, BatchEnd, Event, Events};

use super::desk::{Desk, Office, Served, vacancies};
use super::ending::{Ending, Leaving};
use super::gather::Gather;
use super::guard::Told;
use super::reserve::Reserve;
use super::rota::Rota;
use super::threshold::Threshold;
use super::trouble::{Reaction, Trouble};
use super::vigil::Vigil;
use crate::admit::{Age, Cause, Stage};
use crate::config::{Config, OutOfDescriptors};
use crate::gate::{Gate, Parked, Summons};
use crate::lifecycle::{AcceptError, Core, Failure};
use crate::observe::{Accepting, Note, Phase};
use crate::tick::Tick;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// One listener's state on the acceptor.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) trouble: Trouble,
    /// The kernel is not asked before this time.
    pub(super) resumes: Option<Tick>,
    /// Unless it is, the epoll set is not asked about this listener.
    pub(super) accepting: Accepting,
    pub(super) closed: bool,
    /// The lane has no room: what comes is left in the kernel.
    held_back: bool,
    /// Where its connections are let in.
    desk: usize,
    /// Which sets are asked about it.
    pub(super) told: Told,
    pub(super) leaving: Leaving,
    /// At so many looks in a row nobody could be given those whom its taker leaves standing.
    pub(super) in_vain: u32,
}

impl Post {
    fn new(desk: usize) -> Self {
        Self {
            trouble: Trouble::default(),
            resumes: None,
            accepting: Accepting::Yes,
            closed: false,
            held_back: false,
            desk,
            told: Told::Acceptor,
            leaving: Leaving::NotYet,
            in_vain: 0,
        }
    }
}

/// What came of one batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) accepted: usize,
    /// The queue is known to be empty now.
    pub(super) is_all: bool,
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Sleep until the kernel has something, or until this time.
    Sleep(Option<Tick>),
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
    /// One for each lane.
    pub(super) desks: Vec<Arc<Desk>>,
    pub(super) office: Arc<Office>,
    pub(super) vigil: Vigil,
    pub(super) glances: Events,
    /// The lane that was last given what another had left standing.
    pub(super) stood_in: usize,
    rota: Rota,
    gather: Gather,
    reserve: Reserve,
    reserve_missed: bool,
    pub(super) ending: Ending,
    events: Events,
    turns: Vec<usize>,
    pub(super) over: bool,
}

impl Acceptor {
    /// # Errors
    /// The reserve descriptor cannot be opened, or a listener not be put into the epoll set.
    pub(crate) fn new(office: Arc<Office>, desks: Vec<Arc<Desk>>) -> io::Result<Self> {
        let core = Arc::clone(&office.core);
        let ports = core.gate.ports();
        for (index, port) in ports.iter().enumerate() {
            if let Some(listener) = port.listener() {
                core.gate.poller().add_listener(&listener, index as u64)?;
                if let Some(set) = desks.get(port.lane).and_then(|desk| desk.set()) {
                    set.add_listener(&listener, index as u64)?;
                    set.pause_listener(&listener, index as u64)?;
                }
            }
        }
        Ok(Self {
            posts: ports.iter().map(|port| Post::new(port.lane)).collect(),
            vigil: Vigil::new(desks.len()),
            glances: Events::with_capacity(EVENTS),
            stood_in: 0,
            office,
            desks,
            rota: Rota::new(ports.len()),
            gather: Gather::new(Tick::now()),
            reserve: Reserve::new()?,
            reserve_missed: false,
            ending: Ending::NotYet,
            events: Events::with_capacity(EVENTS),
            turns: Vec::new(),
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
    pub(super) fn turn(&mut self, until: Option<Tick>) -> (Next, bool) {
        let timeout = until.map(|until| until.since(Tick::now()));
        let gate = Arc::clone(&self.core.gate);
        let waited = gate.poller().wait(&mut self.events, timeout);
        let now = Tick::now();
        if let Err(error) = waited {
            self.broken(0, error);
        }
        let mut busy = false;
        for event in self.events.iter() {
            busy = true;
            match event {
                Event::Listener(index) => {
                    let index = usize::try_from(index).unwrap_or(usize::MAX);
                    match self.is_takers(index) {
                        // It is the taker's turn, whose promptness is to be seen.
                        true => self.vigil.rouse(now),
                        false => self.rota.mark_ready(index),
                    }
                }
                Event::Peer { token, how } => gate.peer_hung_up(token, how, now),
                Event::Bytes { token } => gate.peer_spoke(token, now),
                Event::Woken => {}
            }
        }
        for desk in &self.desks {
            // By a taker that was faster than the listener's own event. Asked of each, or it would be found later.
            if desk.was_roused() {
                self.vigil.rouse(now);
            }
        }
        gate.count_turn();
        if let Some(board) = &self.core.board {
            board.stir();
        }
        self.obey(now);
        self.take_up(now);
        self.round(now);
        self.keep_vigil(now);
        gate.relay(now);
        let due = gate.tend(now);
        let duck = self.lame_duck(now);
        let next = match self.drain(now) {
            Some(Next::Over) => Next::Over,
            Some(Next::Sleep(end)) => Next::Sleep(earliest([due, end, self.next_resume()])),
            None => Next::Sleep(earliest([due, duck, self.next_resume(), self.next_look()])),
        };
        (next, busy)
    }

    /// How long a thread is to wait before the next turn, so that several come in it.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let pause = self.gather.pause();
        pause.filter(|_| self.core.life.phase() == Phase::Serving)
    }

    // ------------------------------------------------------------ accepting

    /// One batch from each ready listener.
    fn round(&mut self, now: Tick) {
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

    /// Accepts from one listener as much as one turn allows, and lets it into its lane. Says whether its
    /// queue is known to be empty now.
    pub(super) fn accept_batch(&mut self, index: usize, now: Tick) -> bool {
        let lane = self.posts.get(index).map_or(0, |post| post.desk);
        self.accept_batch_into(lane, index, usize::MAX, now).is_all
    }

    /// The same, no more than so many, into any lane.
    pub(super) fn accept_batch_into(&mut self, lane: usize, index: usize, most: usize, now: Tick) -> Taken {
        let nobody = Taken { accepted: 0, is_all: false };
        let Some(desk) = self.desk_of(index) else { return Taken { is_all: true, ..nobody } };
        // A taker may be held up in the filter, at this desk or another: that is not to hold up this thread.
        let is_takers = self.is_takers(index);
        if is_takers && !self.office.is_filter_free() {
            return nobody;
        }
        let counter = if is_takers { desk.try_lock() } else { Some(desk.lock()) };
        let Some(mut counter) = counter else { return nobody };
        let served = counter.accept(&self.office, index, lane, most, Summons::Taker, now);
        let taker = counter.taker();
        drop(counter);
        if let Some(taker) = taker {
            taker.wake();
        }
        let (accepted, end) = match served {
            Served::Batch(accepted, end) => (accepted, end),
            Served::NoRoom => {
                // Another lane's room is not this listener's.
                if self.posts.get(index).is_some_and(|post| post.desk == lane) {
                    self.hold_back(index);
                }
                return nobody;
            }
        };
        match self.core.gate.ports().get(index).filter(|_| self.is_takers(index)) {
            Some(port) => port.ledger.left_standing(accepted),
            None => self.gather.count(accepted, matches!(end, BatchEnd::Empty), now),
        }
        if let Some(post) = self.posts.get_mut(index).filter(|_| accepted > 0) {
            post.trouble.is_over();
            post.leaving.accepted(accepted);
        }
        let is_all = matches!(end, BatchEnd::Empty);
        if let BatchEnd::Error(error) = end {
            self.meet(index, error);
        }
        Taken { accepted, is_all }
    }

    pub(super) fn desk_of(&self, index: usize) -> Option<Arc<Desk>> {
        self.desks.get(self.posts.get(index)?.desk).map(Arc::clone)
    }

    /// Lets in who comes from a predecessor, or back from a successor.
    fn take_up(&mut self, now: Tick) {
        let core = Arc::clone(&self.core);
        let gate = &core.gate;
        let arriving = gate.arrivals();
        let came = arriving.len();
        if came == 0 {
            return;
        }
        let threshold = Threshold::of(gate, None, now);
        for mut parked in arriving {
            let Some(port) = gate.ports().get(parked.port) else { continue };
            parked.id = self.office.ids(1);
            let mut newcomers = threshold.look_again(parked, Stage::Queue).into_iter().collect();
            if let Some(taker) = gate.admit(port.lane, &mut newcomers, Summons::Taker, now) {
                taker.wake();
            }
        }
        gate.let_in(came);
    }

    // ------------------------------------------------------------ errors

    pub(super) fn meet(&mut self, index: usize, error: io::Error) {
        let class = AcceptErrorClass::of(&error);
        let core = Arc::clone(&self.core);
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
                self.pause_until(index, Tick::now() + pause);
                Some(pause)
            }
            Reaction::ShedAndPause(pause) => {
                self.shed(index);
                self.pause_until(index, Tick::now() + pause);
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
            let now = Tick::now();
            let kernel_wait = stream.kernel_wait();
            let age = Age::accepted(now, kernel_wait);
            core.gate.expel(
                Parked { id: self.office.ids(1), port: index, stream, peer, kernel_wait, age },
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
    pub(super) fn broken(&mut self, index: usize, error: io::Error) {
        let core = Arc::clone(&self.core);
        let name = core.gate.ports().get(index).map_or_else(|| "?".into(), |port| Arc::clone(&port.name));
        let told = io::Error::new(error.kind(), error.to_string());
        core.gate.notes().leave(Note::ListenerFailed { listener: index, error });
        self.close(index);
        core.fail(Failure::Listener(AcceptError { listener: name, source: Arc::new(told) }));
    }

    // ------------------------------------------------------------ pausing

    /// Takes up the wishes of the handles, and posts whose pause is over.
    fn obey(&mut self, now: Tick) {
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
        self.hear_takers();
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

    fn pause_until(&mut self, index: usize, until: Tick) {
        if let Some(post) = self.posts.get_mut(index) {
            post.resumes = Some(until);
        }
        self.switch(index, Accepting::AfterError);
    }

    /// Leaves what comes in the kernel until the lane has room.
    pub(super) fn hold_back(&mut self, index: usize) {
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
        if core.gate.ports().get(index).is_none_or(|port| vacancies(&core, &self.config, port.lane) == 0) {
            return;
        }
        if let Some(post) = self.posts.get_mut(index) {
            post.held_back = false;
        }
    }

    /// From now on it is accepted from this listener, or not.
    fn switch(&mut self, index: usize, accepting: Accepting) {
        if let Some(post) = self.posts.get_mut(index) {
            post.accepting = accepting;
        }
        self.arrange(index);
        if let Some(port) = self.core.gate.ports().get(index) {
            port.accepts(accepting);
        }
    }

    fn next_resume(&self) -> Option<Tick> {
        let posts = self.posts.iter().filter(|post| !post.closed).filter_map(|post| post.resumes).min();
        let reserve = self.reserve_missed.then(|| Tick::now() + self.config.pause);
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

pub(super) fn earliest<const N: usize>(times: [Option<Tick>; N]) -> Option<Tick> {
    times.into_iter().flatten().min()
}
