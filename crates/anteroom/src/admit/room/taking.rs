//! Who goes in next, and the places.
//!
//! A place, a turn of the rate and the connection they are for are taken in one step or not at all.

use std::time::{Duration, Instant};

use super::{Place, Room, Take};
use crate::admit::arena::Token;
use crate::admit::lane::{Change, Lane};
use crate::admit::line::Line;

impl<T> Room<T> {
    /// Whether a [`Room::take`] on this lane could hand somebody out.
    pub(crate) fn can_take(&self, lane: usize, now: Instant) -> bool {
        let at = self.since_start(now);
        self.lanes.get(lane).is_some_and(|lane| {
            self.has_somebody(lane)
                && lane.has_place(&self.rules)
                && self.free_at(lane).is_none_or(|free| free <= at)
        })
    }

    fn has_somebody(&self, lane: &Lane) -> bool {
        lane.waiting.len() > 0 || lane.called_back(&self.rules).is_some()
    }

    /// When somebody may be handed out for whom there is a place already: only a rate is in the way.
    pub(crate) fn rate_allows(&self, lane: usize) -> Option<Instant> {
        let lane = self.lanes.get(lane)?;
        let free = self.free_at(lane).filter(|_| self.has_somebody(lane) && lane.has_place(&self.rules))?;
        self.start.checked_add(Duration::from_nanos(free))
    }

    /// When the rate lets the next one in, after the start. `None`: there is no rate.
    fn free_at(&self, lane: &Lane) -> Option<u64> {
        self.rules.accept_rate.map(|rate| lane.meter.free_at(&rate))
    }

    /// The next of `lane`, in the order of the hour.
    pub(crate) fn take(&mut self, lane: usize, now: Instant) -> Take<T> {
        self.look(lane, now);
        if !self.can_take(lane, now) {
            return if self.waiting_in(lane) > 0 { Take::NoPlace } else { Take::Empty };
        }
        let Some(token) = self.next(lane) else { return Take::NoPlace };
        let Some(entry) = self.entries.get(token) else { return Take::Empty };
        let (due, cause) = self.due(entry);
        if due <= now {
            return self.end(token, now).map_or(Take::Empty, |item| Take::Late(item, cause));
        }
        let Some(entry) = self.remove(token) else { return Take::Empty };
        let at = self.since_start(now);
        if let Some(of) = self.lanes.get_mut(lane) {
            of.count_open(entry.source, Change::Taken);
            if let Some(rate) = &self.rules.accept_rate {
                of.meter.pass(rate, at);
            }
        }
        self.look(lane, now);
        let place = Place { lane, source: entry.source };
        Take::Ready { item: entry.item, place, is_watched: entry.is_watched }
    }

    /// Who is to go in next. Those whose source has its share of the places stand back, each once.
    fn next(&mut self, lane: usize) -> Option<Token> {
        loop {
            let of = self.lanes.get(lane)?;
            let newest_first = of.law.is_newest_first();
            let end = |line: &Line| if newest_first { line.newest() } else { line.oldest() };
            let called_back = of.called_back(&self.rules).and_then(end);
            let Some(token) = end(&of.waiting) else { return called_back };
            let source = self.entries.get(token)?.source;
            if of.may_open(&self.rules, source) {
                return called_back.filter(|&back| self.goes_before(back, token, lane)).or(Some(token));
            }
            self.stand_back(token);
        }
    }

    /// Whether one who is called back goes before the first who waits. If it always did, a source that
    /// has its share and keeps coming would have every place that it gives back, and others none.
    fn goes_before(&self, back: Token, waits: Token, lane: usize) -> bool {
        let since = |token| self.entries.get(token).map(|entry| entry.since);
        let newest_first = self.lanes.get(lane).is_some_and(|lane| lane.law.is_newest_first());
        if newest_first { since(back) > since(waits) } else { since(back) < since(waits) }
    }

    /// Takes a place of `lane` for somebody who did not wait.
    #[cfg(feature = "test-util")]
    pub(crate) fn occupy(&mut self, lane: usize) -> Place {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.count_open(None, Change::Taken);
        }
        Place { lane, source: None }
    }

    /// Gives a place back.
    pub(crate) fn release(&mut self, place: Place, now: Instant) {
        let at = self.since_start(now);
        let Some(lane) = self.lanes.get_mut(place.lane) else { return };
        lane.count_open(place.source, Change::GivenBack);
        if let Some(source) = place.source {
            lane.sources.let_go(source, at);
        }
    }
}
