//! What all parts of one server share, and what is done to it as a whole.
//!
//! Owns the settings in force. Never accepts, closes or cuts: the acceptor does that, by what stands here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime;

#[cfg(all(feature = "handover", target_os = "linux"))]
use super::estate::New;
use super::life::{Failure, Life};
use crate::admit::LaneRules;
use crate::config::{Config, ConfigError};
use crate::connection::{Hooks, Outlet};
use crate::gate::{Gate, Policy, Port};
use crate::observe::{
    Cost, Ledger, ListenerSnapshot, Note, Phase, Report, Snapshot, Stall, StallCause, distribution,
};
#[cfg(feature = "metrics")]
use crate::observe::{Timings, microseconds};
use crate::stall::{Board, Findings};
use crate::tick::Tick;

/// What acceptor, dispatchers, handles and the watch share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) gate: Arc<Gate>,
    pub(crate) life: Arc<Life>,
    pub(crate) settings: Settings,
    /// Which thread runs which handler. `None`: nobody looks.
    pub(crate) board: Option<Arc<Board>>,
    pub(crate) findings: Arc<Findings>,
    /// Where the handlers run: known from the start, or from the first connection that is taken.
    pub(crate) runtime: Mutex<Option<runtime::Handle>>,
}

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Settings {
    config: RwLock<Arc<Config>>,
    /// Held while somebody changes them, so that no change overwrites another.
    changing: Mutex<()>,
    /// How often they have been changed.
    changes: AtomicU64,
    lanes: Vec<LaneRules>,
    /// What the descriptor budget came to at the start.
    pub(crate) sockets: Option<usize>,
}

impl Settings {
    pub(crate) fn new(config: Config, lanes: Vec<LaneRules>, sockets: Option<usize>) -> Self {
        let config = RwLock::new(Arc::new(config));
        Self { config, changing: Mutex::new(()), changes: AtomicU64::new(0), lanes, sockets }
    }

    /// The settings, if they have been changed since the acceptor saw them.
    pub(crate) fn newer_than(&self, seen: &mut u64) -> Option<Arc<Config>> {
        let changes = self.changes.load(Ordering::Acquire);
        (std::mem::replace(seen, changes) != changes).then(|| self.current())
    }

    fn current(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Core {
    pub(crate) fn config(&self) -> Arc<Config> {
        self.settings.current()
    }

    pub(super) fn reconfigure(&self, change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let _one_at_a_time = self.settings.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.config();
        let mut next = (*current).clone();
        change(&mut next);
        current.check_change(&next, &self.settings.lanes)?;
        let sockets = self.settings.sockets;
        let (rules, policy) = (next.rules(sockets), Policy::of(&next, sockets));
        *self.settings.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.settings.changes.fetch_add(1, Ordering::Release);
        self.gate.reconfigure(rules, policy);
        Ok(())
    }

    /// How many turns the acceptor has done: who wakes it and sees this grow knows that it is alive.
    #[cfg(feature = "systemd")]
    pub(crate) fn acceptor_turns(&self) -> u64 {
        self.gate.turns()
    }

    pub(crate) fn drain(&self, within: Duration) {
        let began = self.life.drain(within);
        self.drain_began(began);
    }

    pub(crate) fn lame_duck(&self, within: Option<Duration>) {
        if self.life.lame_duck(within) {
            self.gate.notes().leave(Note::Phase(Phase::LameDuck));
        }
        // It keeps the time.
        self.gate.wake_acceptor();
    }

    pub(crate) fn shut_down(&self) {
        if self.life.phase() >= Phase::Draining {
            return;
        }
        match self.config().lame_duck {
            Duration::ZERO => self.drain(self.config().drain_within),
            within => self.lame_duck(Some(within)),
        }
    }

    pub(crate) fn cut_short(&self) {
        match self.life.phase() {
            Phase::Draining | Phase::Stopped => self.drain(Duration::ZERO),
            _ => self.drain(self.config().drain_within),
        }
    }

    /// The server was dropped: a drain, with its own time unless one was given.
    pub(crate) fn let_go(&self) {
        let began = self.life.wind_down(Some(self.config().drain_within));
        self.drain_began(began);
    }

    /// Nobody takes any more: the listeners are closed, and whoever was taken may take as long as they
    /// like.
    pub(crate) fn wind_down(&self) {
        let began = self.life.wind_down(None);
        self.drain_began(began);
    }

    /// Drains because of `failure`.
    pub(crate) fn fail(&self, failure: Failure) {
        let is_gone = matches!(failure, Failure::RuntimeGone);
        let began = self.life.fail(failure, self.config().drain_within);
        if began && is_gone && self.board.is_some() {
            self.tell_runtime_gone();
        }
        self.drain_began(began);
    }

    /// Begins to accept when the predecessor says so, and takes up who waits there.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn succeed(self: &Arc<Self>, predecessor: crate::handover::Predecessor) {
        let heir = New::of(Arc::clone(self));
        if let Err(error) = crate::handover::succeed(predecessor, Box::new(heir.clone()), None) {
            heir.give_up(Arc::new(error));
        }
    }

    /// At once, because the pulse may not get round to it before everything has ended.
    fn tell_runtime_gone(&self) {
        let occupancy = self.gate.occupancy();
        let cost = Cost { waiting: occupancy.waiting, open: occupancy.open, ..Cost::default() };
        let stall = Stall { cause: StallCause::RuntimeGone, lasted: Duration::ZERO, cost };
        self.findings.count(&stall.cause);
        self.findings.was(stall.clone(), Tick::now());
        self.gate.notes().leave(Note::Stall(Box::new(stall)));
    }

    fn drain_began(&self, began: bool) {
        if began {
            self.gate.notes().leave(Note::Phase(Phase::Draining));
        }
        self.gate.expect_the_end();
        self.gate.wake_acceptor();
    }

    /// What the connections of `lane` will share.
    pub(crate) fn outlet(&self, lane: usize, hooks: Hooks) -> Arc<Outlet> {
        Arc::new(Outlet {
            gate: Arc::clone(&self.gate),
            lane,
            draining: self.life.draining.clone(),
            board: self.board.clone(),
            hooks,
        })
    }

    /// The runtime whose delay is of interest from now on.
    pub(crate) fn serves_on(&self, runtime: runtime::Handle) {
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        self.findings.beat.begin_anew();
    }

    pub(crate) fn report(&self) -> Report {
        let mut sum = Report::default();
        for port in self.gate.ports() {
            sum += port.ledger.report();
        }
        sum
    }

    pub(crate) fn ledgers(&self) -> Vec<Arc<Ledger>> {
        self.gate.ports().iter().map(|port| Arc::clone(&port.ledger)).collect()
    }

    /// The distributions that belong to no listener.
    #[cfg(feature = "metrics")]
    pub(crate) fn timings(&self) -> Timings {
        let poll_time = self.board.as_ref().map_or_else(|| microseconds().load(), |board| board.poll_times());
        Timings { runtime_delay: self.gate.delays().load(), poll_time }
    }

    /// How long something has been waiting for its turn on the runtime, while somebody is there.
    fn runtime_late(&self, now: Tick) -> Option<Duration> {
        let pace = self.gate.pace();
        let summoned = pace.summoned.map(|since| now.since(since));
        let beat = self.findings.beat_late(now).filter(|_| pace.open > 0 || pace.waiting > 0);
        summoned.into_iter().chain(beat).max()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let phase = self.life.phase();
        let listeners: Vec<_> = self.gate.ports().iter().map(|port| listener(port)).collect();
        let mut report = Report::default();
        for listener in &listeners {
            report += listener.report.clone();
        }
        let occupancy = self.gate.occupancy();
        let now = Tick::now();
        let mut lanes = self.gate.lanes();
        if let Some(board) = &self.board {
            for (number, lane) in lanes.iter_mut().enumerate() {
                lane.slow_polls = board.slow_polls(number);
            }
        }
        Snapshot {
            phase,
            readiness: self.life.readiness(),
            paused: self.life.is_paused(),
            open: occupancy.open,
            waiting: occupancy.waiting,
            silent: occupancy.silent,
            farewells: occupancy.farewells,
            sources: occupancy.sources,
            oldest_wait: occupancy.oldest.map(|handshake| now.since(handshake)),
            stalls: self.findings.stalls(now),
            stalls_so_far: self.findings.counts(),
            runtime_delay: distribution(&self.gate.delays().load()),
            runtime_late: self.runtime_late(now),
            poll_time: self.board.as_ref().map(|board| distribution(&board.poll_times())).unwrap_or_default(),
            lanes,
            listeners,
            report,
            events_lost: self.gate.notes().lost(),
        }
    }
}

fn listener(port: &Port) -> ListenerSnapshot {
    let ledger = &port.ledger;
    let under_way = ledger.under_way();
    ListenerSnapshot {
        name: port.name.to_string(),
        address: (*port.address).clone(),
        accepting: port.accepting(),
        backlog: port.backlog(),
        queue: port.queue(),
        fenced: port.fenced(),
        report: ledger.report(),
        left_standing: ledger.left_standing_so_far(),
        handed_out: ledger.handed_out_so_far(),
        waiting: under_way.waiting,
        open: under_way.open,
        accept_errors: ledger.errors().collect(),
        kernel_wait: distribution(&ledger.kernel_wait.load()),
        room_wait: distribution(&ledger.room_wait.load()),
        handler_time: distribution(&ledger.handler_time.load()),
    }
}
