//! Who goes in next, and the places.
//!
//! A place, a turn of the rate and the connection they are for are taken in one step or not at all.

use std::time::{Duration, Instant};

use super::{Place, Room, Take};
use crate::admit::lane::Lane;

impl<T> Room<T> {
    /// Whether a [`Room::take`] on this lane could hand somebody out.
    pub(crate) fn can_take(&self, lane: usize, now: Instant) -> bool {
        let at = self.since_start(now);
        self.lanes.get(lane).is_some_and(|lane| {
            lane.waiting.len() > 0
                && lane.has_place(&self.rules)
                && self.free_at(lane).is_none_or(|free| free <= at)
        })
    }

    /// When somebody may be handed out for whom there is a place already: only a rate is in the way.
    pub(crate) fn rate_allows(&self, lane: usize) -> Option<Instant> {
        let lane = self.lanes.get(lane)?;
        let free = self.free_at(lane).filter(|_| lane.waiting.len() > 0 && lane.has_place(&self.rules))?;
        self.start.checked_add(Duration::from_nanos(free))
    }

    /// When the rate lets the next one in, after the start. `None`: there is no rate.
    fn free_at(&self, lane: &Lane) -> Option<u64> {
        self.rules.accept_rate.map(|rate| lane.meter.free_at(&rate))
    }

    /// The next of `lane`, in the order of the hour.
    pub(crate) fn take(&mut self, lane: usize, now: Instant) -> Take<T> {
        self.look(lane, now);
        let Some(of) = self.lanes.get(lane) else { return Take::Empty };
        let next = if of.law.is_newest_first() { of.waiting.newest() } else { of.waiting.oldest() };
        let Some(token) = next else { return Take::Empty };
        if !self.can_take(lane, now) {
            return Take::NoPlace;
        }
        let Some(entry) = self.entries.get(token) else { return Take::Empty };
        let (due, cause) = entry.due(&self.rules);
        if due <= now {
            return self.end(token, now).map_or(Take::Empty, |item| Take::Late(item, cause));
        }
        let Some(entry) = self.remove(token) else { return Take::Empty };
        let at = self.since_start(now);
        if let Some(of) = self.lanes.get_mut(lane) {
            of.open += 1;
            if let Some(rate) = &self.rules.accept_rate {
                of.meter.pass(rate, at);
            }
        }
        self.look(lane, now);
        let place = Place { lane, source: entry.source };
        Take::Ready { item: entry.item, place, is_watched: entry.is_watched }
    }

    /// Takes a place of `lane` for somebody who did not wait.
    #[cfg(feature = "test-util")]
    pub(crate) fn occupy(&mut self, lane: usize) -> Place {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.open += 1;
        }
        Place { lane, source: None }
    }

    /// Gives a place back.
    pub(crate) fn release(&mut self, place: Place, now: Instant) {
        let at = self.since_start(now);
        let Some(lane) = self.lanes.get_mut(place.lane) else { return };
        debug_assert!(lane.open > 0, "a place was freed twice");
        lane.open = lane.open.saturating_sub(1);
        if let Some(source) = place.source {
            lane.sources.let_go(source, at);
        }
    }
}
