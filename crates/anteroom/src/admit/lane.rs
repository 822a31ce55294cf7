//! One lane: who waits in it, who is still silent, how many are open, and how many more may be.
//!
//! Owns the counts and orders of one service's connections. Never owns the connections.

use crate::tick::Tick;
use std::collections::{BTreeSet, VecDeque};

use super::arena::{Arena, Token};
use super::line::{Line, Linked};
use super::order::Law;
use super::rate::Meter;
use super::rules::{LaneRules, Rules, WhenFull};
use super::share::Sources;

/// What happens to a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Taken,
    GivenBack,
}

impl Change {
    fn apply(self, open: usize) -> usize {
        match self {
            Self::Taken => open + 1,
            Self::GivenBack => {
                debug_assert!(open > 0, "a place was given back twice");
                open.saturating_sub(1)
            }
        }
    }
}

/// Those who are to be watched, in two orders of arrival: neither may keep the other from it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row {
    Waiting,
    Back,
}

impl Row {
    pub(super) const ALL: [Self; 2] = [Self::Waiting, Self::Back];
}

/// Whether somebody joined a line in the order in which it is served by its deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    InOrder,
    OutOfOrder,
}

/// Compares with the latest of all, not with the last: the last may itself be out of order.
fn join(latest: &mut Option<Tick>, line: &Line, since: Tick) -> Ordered {
    match *latest {
        Some(latest) if line.len() > 0 && since < latest => Ordered::OutOfOrder,
        _ => {
            *latest = Some(since);
            Ordered::InOrder
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    own: LaneRules,
    /// Sockets that no other lane takes.
    set_aside: usize,
    /// Who waits for the service.
    pub(super) waiting: Line,
    /// The latest time from which a wait counts, of those that have joined `waiting` since it was empty.
    waiting_latest: Option<Tick>,
    /// Who has not sent its first byte.
    pub(super) silent: Line,
    /// As `waiting_latest`, of the silent.
    silent_latest: Option<Tick>,
    /// Sources of which somebody stands back, by the number of places that they have.
    back: BTreeSet<(u32, Token)>,
    /// How many stand back.
    back_len: usize,
    /// Of those who wait, whose place does not tell how long: since when, and who.
    pub(super) apart: BTreeSet<(Tick, Token)>,
    /// Who stood back before it was watched. Some may have gone.
    back_unwatched: VecDeque<Token>,
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
            set_aside: 0,
            waiting: Line::default(),
            waiting_latest: None,
            silent: Line::default(),
            silent_latest: None,
            back: BTreeSet::new(),
            back_len: 0,
            apart: BTreeSet::new(),
            back_unwatched: VecDeque::new(),
            unwatched: None,
            open: 0,
            law: Law::default(),
            is_reordered: false,
            meter: Meter::default(),
            sources: Sources::new(most_sources),
        }
    }

    /// From now on these rules hold.
    pub(super) fn adopt(&mut self, rules: &Rules, at: u64) {
        if let Some(rate) = &rules.accept_rate {
            self.meter.adopt(rate, at);
        }
        if let Some(rate) = &rules.share.per_second {
            self.sources.adopt(rate, at);
        }
    }

    /// Sockets: open, waiting and silent.
    pub(super) fn held(&self) -> usize {
        self.open + self.queued() + self.silent.len()
    }

    /// How many wait, those that stand back included.
    pub(super) fn queued(&self) -> usize {
        self.waiting.len() + self.back_len
    }

    /// Of what was set aside for this lane, what it does not use.
    pub(super) fn unused(&self) -> usize {
        self.set_aside.saturating_sub(self.held())
    }

    /// What the lanes want to have set aside, in proportion where there is less than they want together.
    pub(super) fn set_aside(lanes: &mut [Self], sockets: Option<usize>) {
        let wanted = |lane: &Self| lane.own.set_aside.unwrap_or(0);
        let all = lanes.iter().map(wanted).fold(0, usize::saturating_add);
        for lane in lanes {
            let wants = wanted(lane);
            lane.set_aside = match sockets {
                Some(sockets) if all > sockets => {
                    let part = wants as u128 * sockets as u128 / all as u128;
                    usize::try_from(part).unwrap_or(sockets)
                }
                _ => wants,
            };
        }
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

    /// Places that nobody who waits will have. Where there is no limit there is no end of them.
    pub(super) fn unclaimed(&self, rules: &Rules) -> usize {
        let taken = self.open + self.queued();
        self.max_connections(rules).map_or(usize::MAX, |places| places.saturating_sub(taken))
    }

    pub(super) fn has_place(&self, rules: &Rules) -> bool {
        self.max_connections(rules).is_none_or(|places| self.open < places)
    }

    /// How many may wait.
    fn waiting_limit(&self, rules: &Rules) -> usize {
        self.ready(rules).saturating_add(self.max_waiting(rules))
    }

    /// How many wait beyond those for whom a place stands ready.
    pub(super) fn in_excess(&self, rules: &Rules) -> usize {
        self.queued().saturating_sub(self.ready(rules))
    }

    /// Places to wait that are free.
    #[inline]
    pub(super) fn free_to_wait(&self, rules: &Rules) -> usize {
        self.waiting_limit(rules).saturating_sub(self.queued())
    }

    /// Places to be silent that are free.
    pub(super) fn free_to_be_silent(&self, rules: &Rules) -> usize {
        rules.first_byte.map_or(0, |stage| stage.max_silent.saturating_sub(self.silent.len()))
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
        let standing = self.queued() + self.silent.len();
        let silent = rules.first_byte.map_or(usize::MAX, |stage| stage.max_silent);
        let room = self.waiting_limit(rules).saturating_sub(standing);
        let room = room.min(silent.saturating_sub(self.silent.len())).min(sockets);
        // One is always in hand: it is by its age that those behind it in the kernel are known.
        if standing == 0 { room.max(1) } else { room }
    }

    /// Whether a source may have another open place; see [`Share::alpha`](super::share::Share).
    #[inline]
    pub(super) fn may_open(&self, rules: &Rules, source: Option<Token>) -> bool {
        let (Some(alpha), Some(places)) = (rules.share.alpha, self.max_connections(rules)) else {
            return true;
        };
        let free = places.saturating_sub(self.open);
        source.is_none_or(|source| self.sources.open(source) as usize <= free.saturating_mul(alpha as usize))
    }

    /// Those who stood back and need not any more: of the source with the fewest places, if it may
    /// have another.
    #[inline]
    pub(super) fn called_back(&self, rules: &Rules) -> Option<&Line> {
        let &(_, source) = self.back.first()?;
        self.sources.back(source).filter(|_| self.may_open(rules, Some(source)))
    }

    /// Who goes first when somebody has to: of the source with the most places, of those who stand
    /// back; else who has waited longest.
    pub(super) fn first_to_go(&self) -> Option<Token> {
        let most = self.back.last().and_then(|&(_, source)| self.sources.back(source)?.oldest());
        most.or(self.waiting.oldest())
    }

    /// Somebody of this source already stands back: who comes after it does, too.
    pub(super) fn stands_back(&self, source: Option<Token>) -> bool {
        let source = source.filter(|_| self.back_len > 0);
        let back = source.and_then(|source| self.sources.back(source));
        back.is_some_and(|line| line.len() > 0)
    }

    /// Puts one among those of its source who stand back.
    pub(super) fn put_back<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token, source: Token) {
        let Some(line) = self.sources.back_mut(source) else { return };
        line.push(arena, token);
        self.back.insert((self.sources.open(source), source));
        self.back_len += 1;
        self.back_unwatched.push_back(token);
    }

    /// Takes one out of those of its source who stand back.
    pub(super) fn unback<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token, source: Token) {
        let Some(line) = self.sources.back_mut(source) else { return };
        line.unlink(arena, token);
        self.back_len -= 1;
        if line.len() == 0 {
            self.back.remove(&(self.sources.open(source), source));
        }
    }

    /// A place is taken, or given back.
    #[inline]
    pub(super) fn count_open(&mut self, source: Option<Token>, change: Change) {
        self.open = change.apply(self.open);
        let Some(source) = source else { return };
        let Some((before, now)) = self.sources.change_open(source, |open| change.apply(open)) else { return };
        if self.back_len > 0 && self.back.remove(&(before, source)) {
            self.back.insert((now, source));
        }
    }

    /// Puts one behind those who wait, whose wait counts from `since`. Says whether everybody before it
    /// counts from then or earlier: those who do are in the order of their deadlines.
    #[inline]
    pub(super) fn queue<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token, since: Tick) -> Ordered {
        let ordered = join(&mut self.waiting_latest, &self.waiting, since);
        self.waiting.push(arena, token);
        self.unwatched = self.unwatched.or(Some(token));
        ordered
    }

    /// Puts one behind those who are silent; as [`Lane::queue`].
    pub(super) fn hush<T: Linked>(
        &mut self,
        arena: &mut Arena<T>,
        token: Token,
        since: Tick,
        source: Option<Token>,
    ) -> Ordered {
        let ordered = join(&mut self.silent_latest, &self.silent, since);
        self.silent.push(arena, token);
        self.count_silent(source, Change::Taken);
        ordered
    }

    /// Takes one out of those who are silent.
    pub(super) fn unhush<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token, source: Option<Token>) {
        self.silent.unlink(arena, token);
        self.count_silent(source, Change::GivenBack);
    }

    fn count_silent(&mut self, source: Option<Token>, change: Change) {
        if let Some(source) = source {
            self.sources.change_silent(source, |silent| change.apply(silent));
        }
    }

    /// Takes one out of those who wait.
    #[inline]
    pub(super) fn unqueue<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        let newer = self.waiting.unlink(arena, token);
        if self.unwatched == Some(token) {
            self.unwatched = newer;
        }
    }

    /// The next of a row that is to be watched. It may have gone.
    pub(super) fn unwatched(&self, row: Row) -> Option<Token> {
        match row {
            Row::Waiting => self.unwatched,
            Row::Back => self.back_unwatched.front().copied(),
        }
    }

    /// That one is watched from now on, or has gone.
    pub(super) fn advance_watch<T: Linked>(&mut self, arena: &Arena<T>, row: Row) {
        match row {
            Row::Waiting => {
                self.unwatched = self.unwatched.and_then(|token| Line::newer_than(arena, token));
            }
            Row::Back => {
                self.back_unwatched.pop_front();
            }
        }
    }
}

#[cfg(test)]
impl Lane {
    /// Whether nothing is left of anybody.
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.held() == 0 && self.unwatched.is_none() && self.back_unwatched.is_empty();
        nobody && self.back.is_empty() && self.apart.is_empty()
    }
}
