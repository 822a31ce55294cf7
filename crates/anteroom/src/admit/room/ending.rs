//! Who leaves the room without having been served: by deadline, or because the peer has gone.

use std::time::{Duration, Instant};

use super::{Room, later};
use crate::admit::arena::Token;
use crate::admit::cause::Cause;
use crate::admit::lane::Row;

impl<T> Room<T> {
    /// Takes one out whose peer has left.
    pub(crate) fn leave(&mut self, token: Token, now: Instant) -> Option<T> {
        self.end(token, now)
    }

    /// The entry under `token`, if it is still in the room.
    pub(crate) fn standing(&self, token: Token) -> Option<&T> {
        self.entries.get(token).map(|entry| &entry.item)
    }

    /// The peer has closed after sending: past `patience` it is refused as probably left.
    pub(crate) fn lose_patience(&mut self, token: Token, patience: Duration) {
        self.unmark(token);
        let Some(entry) = self.entries.get_mut(token) else { return };
        entry.patience = Some(patience);
        self.mark(token);
    }

    /// One whose time is over at `now`; call until `None`.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(T, Cause)> {
        let (token, cause) = self.first_overdue(now)?;
        self.end(token, now).map(|item| (item, cause))
    }

    fn first_overdue(&mut self, now: Instant) -> Option<(Token, Cause)> {
        if let Some(&(due, token)) = self.special.first() {
            if due <= now {
                let cause = self.entries.get(token).map_or(Cause::TooOld, |entry| entry.due(&self.rules).1);
                return Some((token, cause));
            }
        }
        for lane in 0..self.lanes.len() {
            self.look(lane, now);
            let head = self.heads(lane).find(|&(_, due, _)| due <= now);
            if let Some((token, _, cause)) = head {
                return Some((token, cause));
            }
        }
        None
    }

    /// Who is the first to be refused in each line of a lane, when, and for what.
    fn heads(&self, lane: usize) -> impl Iterator<Item = (Token, Instant, Cause)> {
        let give_up = self.give_up(lane);
        let lane = self.lanes.get(lane);
        let head = |token: Option<Token>| {
            let (due, cause) = self.entries.get(token?)?.due(&self.rules);
            Some((token?, due, cause))
        };
        let waiting = lane.and_then(|lane| lane.waiting.oldest());
        let apart = lane.and_then(|lane| Some(lane.apart.first()?.1));
        let hopeless = |token: Option<Token>| {
            let entry = self.entries.get(token?)?;
            Some((token?, later(entry.since, give_up?), Cause::Hopeless))
        };
        let silent = lane.and_then(|lane| lane.silent.oldest());
        [head(waiting), hopeless(waiting), hopeless(apart), head(silent)].into_iter().flatten()
    }

    /// When [`Room::overdue`] is to be asked again: it may have something then, and has nothing before.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let heads = (0..self.lanes.len()).flat_map(|lane| self.heads(lane)).map(|(_, due, _)| due);
        let looks = self.lanes.iter().filter_map(|lane| {
            let oldest = self.entries.get(lane.waiting.oldest()?)?.since;
            lane.law.next_look(self.rules.order, oldest)
        });
        heads.chain(looks).chain(self.special.first().map(|&(due, _)| due)).min()
    }

    /// Takes out whoever stands longest in `lane`, without a place: for a lane that nobody serves.
    pub(crate) fn turn_away(&mut self, lane: usize, now: Instant) -> Option<T> {
        let lane = self.lanes.get(lane)?;
        let token = lane.first_to_go().or(lane.silent.oldest())?;
        self.end(token, now)
    }

    /// One that has waited since `accepted_by` or longer and that nobody watches for a hang-up: it
    /// counts as watched from now on. Call until `None`. The silent are watched from the beginning.
    pub(crate) fn next_to_watch(&mut self, accepted_by: Instant) -> Option<(Token, &T)> {
        let token = (0..self.lanes.len())
            .flat_map(|lane| Row::ALL.map(|row| (lane, row)))
            .find_map(|(lane, row)| self.unwatched(lane, row, accepted_by))?;
        let entry = self.entries.get_mut(token)?;
        entry.is_watched = true;
        Some((token, &entry.item))
    }

    /// The first of a row who was accepted by then and is not watched; those before it who have gone, or
    /// are watched already, are passed over for good.
    fn unwatched(&mut self, lane: usize, row: Row, accepted_by: Instant) -> Option<Token> {
        let lane = self.lanes.get_mut(lane)?;
        while let Some(token) = lane.unwatched(row) {
            let unwatched = self.entries.get(token).filter(|entry| !entry.is_watched);
            if unwatched.is_some_and(|entry| entry.accepted > accepted_by) {
                return None;
            }
            let found = unwatched.map(|_| token);
            lane.advance_watch(&self.entries, row);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// When the oldest that nobody watches was accepted.
    pub(crate) fn oldest_unwatched(&self) -> Option<Instant> {
        let rows = self.lanes.iter().flat_map(|lane| Row::ALL.map(|row| lane.unwatched(row)));
        rows.filter_map(|token| Some(self.entries.get(token?)?.accepted)).min()
    }
}
