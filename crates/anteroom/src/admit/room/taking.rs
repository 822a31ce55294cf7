//! Who goes in next, and the places.
//!
//! A place, a turn of the rate and the connection they are for are taken in one step or not at all.

use std::time::Duration;

use super::{Place, Room, Take};
use crate::admit::arena::Token;
use crate::admit::lane::Change;
use crate::admit::line::Line;
use crate::tick::Tick;

/// How many may be told to stand back in one take, which is one hold of the gate's lock.
const BACK_AT_ONCE: usize = 64;

/// When somebody can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    /// From then on: there is a place, and only the rate is in the way.
    From(Tick),
    /// When somebody comes, or a place is given back.
    NotYet,
}

impl Turn {
    pub(crate) fn has_come(self, now: Tick) -> bool {
        match self {
            Self::Now => true,
            Self::From(then) => then <= now,
            Self::NotYet => false,
        }
    }
}

impl<T> Room<T> {
    /// Whether a [`Room::take`] on this lane could hand somebody out.
    pub(crate) fn turn(&self, lane: usize) -> Turn {
        let Some(lane) = self.lanes.get(lane) else { return Turn::NotYet };
        let has_somebody = lane.waiting.len() > 0 || lane.called_back(&self.rules).is_some();
        if !has_somebody || !lane.has_place(&self.rules) {
            return Turn::NotYet;
        }
        match &self.rules.accept_rate {
            None => Turn::Now,
            Some(rate) => {
                let free = self.start + Duration::from_nanos(lane.meter.free_at(rate));
                if free == Tick::NEVER { Turn::NotYet } else { Turn::From(free) }
            }
        }
    }

    pub(crate) fn can_take(&self, lane: usize, now: Tick) -> bool {
        self.turn(lane).has_come(now)
    }

    /// The next of `lane`, in the order of the hour.
    pub(crate) fn take(&mut self, lane: usize, now: Tick) -> Take<T> {
        if !self.can_take(lane, now) {
            return if self.waiting_in(lane) > 0 { Take::NoPlace } else { Take::Empty };
        }
        self.look(lane, now);
        let Some(token) = self.next(lane) else { return Take::NoPlace };
        let Some(entry) = self.entries.get(token) else { return Take::Empty };
        let (due, cause) = self.due(entry);
        if due <= now {
            return self.end(token, now).map_or(Take::Empty, |item| Take::Late(item, cause));
        }
        let Some(entry) = self.remove(token) else { return Take::Empty };
        if let Some(of) = self.lanes.get_mut(lane) {
            of.count_open(entry.source, Change::Taken);
            if let Some(rate) = &self.rules.accept_rate {
                of.meter.pass(rate, now.nanos_since(self.start));
            }
        }
        if self.lanes.get(lane).is_some_and(|lane| lane.law.is_newest_first()) {
            // It may have been the last: the way back to the order of arrival begins now.
            self.look(lane, now);
        }
        let place = Place { lane, source: entry.source };
        Take::Ready { item: entry.item, place, is_watched: entry.is_watched }
    }

    /// Who is to go in next. Those whose source has its share of the places stand back, each once.
    fn next(&mut self, lane: usize) -> Option<Token> {
        for _ in 0..BACK_AT_ONCE {
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
        // Whoever takes asks again.
        None
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

    /// Gives a place back. The time is asked for only if it matters.
    pub(crate) fn release(&mut self, place: Place, now: impl Fn() -> Tick) {
        let Some(lane) = self.lanes.get_mut(place.lane) else { return };
        lane.count_open(place.source, Change::GivenBack);
        if let Some(source) = place.source {
            let start = self.start;
            lane.sources.let_go(source, || now().nanos_since(start));
        }
    }
}
