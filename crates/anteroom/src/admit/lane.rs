//! One lane: who waits in it, who is still silent, how many are open, and how many more may be.
//!
//! Owns the counts and orders of one service's connections. Never owns the connections.

use super::arena::{Arena, Token};
use super::line::{Line, Linked};
use super::order::Law;
use super::rate::Meter;
use super::rules::{LaneRules, Rules, WhenFull};
use super::share::Sources;

#[derive(Debug)]
pub(super) struct Lane {
    own: LaneRules,
    /// Who waits for the service.
    pub(super) waiting: Line,
    /// Who has not sent its first byte.
    pub(super) silent: Line,
    /// The oldest that waits and is not watched yet. Those behind it are not watched either: watching
    /// goes in the order of arrival.
    unwatched: Option<Token>,
    /// Places taken.
    pub(super) open: usize,
    pub(super) law: Law,
    /// The order has changed, and nobody has been told.
    pub(super) is_reordered: bool,
    /// How fast connections are handed out.
    pub(super) meter: Meter,
    pub(super) sources: Sources,
}

impl Lane {
    pub(super) fn new(own: LaneRules, most_sources: usize) -> Self {
        Self {
            own,
            waiting: Line::default(),
            silent: Line::default(),
            unwatched: None,
            open: 0,
            law: Law::default(),
            is_reordered: false,
            meter: Meter::default(),
            sources: Sources::new(most_sources),
        }
    }

    /// Sockets: open, waiting and silent.
    pub(super) fn held(&self) -> usize {
        self.open + self.waiting.len() + self.silent.len()
    }

    /// Of what was set aside for this lane, what it does not use.
    pub(super) fn unused(&self) -> usize {
        self.own.set_aside.unwrap_or(0).saturating_sub(self.held())
    }

    fn max_connections(&self, rules: &Rules) -> Option<usize> {
        self.own.max_connections.or(rules.max_connections)
    }

    fn max_waiting(&self, rules: &Rules) -> usize {
        self.own.max_waiting.unwrap_or(rules.max_waiting)
    }

    /// Places that stand ready. Without a limit on them none does: nobody knows how many the service
    /// will take.
    fn ready(&self, rules: &Rules) -> usize {
        self.max_connections(rules).map_or(0, |places| places.saturating_sub(self.open))
    }

    pub(super) fn has_place(&self, rules: &Rules) -> bool {
        self.max_connections(rules).is_none_or(|places| self.open < places)
    }

    /// How many may wait.
    fn waiting_limit(&self, rules: &Rules) -> usize {
        self.ready(rules).saturating_add(self.max_waiting(rules))
    }

    /// How many wait beyond those for whom a place stands ready.
    pub(super) fn queued(&self, rules: &Rules) -> usize {
        self.waiting.len().saturating_sub(self.ready(rules))
    }

    pub(super) fn is_waiting_full(&self, rules: &Rules) -> bool {
        self.waiting.len() >= self.waiting_limit(rules)
    }

    pub(super) fn is_silent_full(&self, rules: &Rules) -> bool {
        rules.first_byte.is_some_and(|stage| self.silent.len() >= stage.max_silent)
    }

    /// Places, open, waiting or silent, that are free. `None`: there is no end of them.
    pub(super) fn free(&self, rules: &Rules) -> Option<usize> {
        let silent = rules.first_byte.map_or(0, |stage| stage.max_silent);
        let places = self.max_connections(rules)?.saturating_add(self.max_waiting(rules));
        Some(places.saturating_add(silent).saturating_sub(self.held()))
    }

    /// How many more may be accepted for this lane without anybody being refused for it. `sockets` is
    /// what the process can spare.
    pub(super) fn vacancies(&self, rules: &Rules, sockets: usize) -> usize {
        if rules.when_full == WhenFull::RefuseOldest {
            return usize::MAX;
        }
        // Each who is silent may speak, and wait.
        let standing = self.waiting.len() + self.silent.len();
        let silent = rules.first_byte.map_or(usize::MAX, |stage| stage.max_silent);
        let room = self.waiting_limit(rules).saturating_sub(standing);
        let room = room.min(silent.saturating_sub(self.silent.len())).min(sockets);
        // One is always in hand: it is by its age that those behind it in the kernel are known.
        if standing == 0 { room.max(1) } else { room }
    }

    /// Puts one behind those who wait.
    pub(super) fn queue<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        self.waiting.push(arena, token);
        self.unwatched = self.unwatched.or(Some(token));
    }

    /// Takes one out of those who wait.
    pub(super) fn unqueue<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        let newer = self.waiting.unlink(arena, token);
        if self.unwatched == Some(token) {
            self.unwatched = newer;
        }
    }

    pub(super) fn unwatched(&self) -> Option<Token> {
        self.unwatched
    }

    /// The oldest unwatched one is watched from now on.
    pub(super) fn advance_watch<T: Linked>(&mut self, arena: &Arena<T>) {
        self.unwatched = self.unwatched.and_then(|token| Line::newer_than(arena, token));
    }
}
