//! Who leaves the room without having been served: by deadline, or because the peer has gone.

use std::time::Duration;

use super::Room;
use crate::admit::arena::Token;
use crate::admit::cause::Cause;
use crate::admit::lane::{Lane, Row};
use crate::tick::Tick;

impl<T> Room<T> {
    /// Takes one out whose peer has left.
    pub(crate) fn leave(&mut self, token: Token, now: Tick) -> Option<T> {
        self.end(token, now)
    }

    /// The entry under `token`, if it is still in the room.
    pub(crate) fn standing(&self, token: Token) -> Option<&T> {
        self.entries.get(token).map(|entry| &entry.item)
    }

    pub(crate) fn standing_mut(&mut self, token: Token) -> Option<&mut T> {
        self.entries.get_mut(token).map(|entry| &mut entry.item)
    }

    /// The peer has closed after sending: past `patience` it is refused as probably left.
    pub(crate) fn lose_patience(&mut self, token: Token, patience: Duration) {
        self.unmark(token);
        let Some(entry) = self.entries.get_mut(token) else { return };
        entry.patience = Some(patience);
        self.mark(token);
    }

    /// One whose time is over at `now`; call until `None`.
    pub(crate) fn overdue(&mut self, now: Tick) -> Option<(T, Cause)> {
        let (token, cause) = self.first_overdue(now)?;
        self.end(token, now).map(|item| (item, cause))
    }

    fn first_overdue(&mut self, now: Tick) -> Option<(Token, Cause)> {
        if let Some(&(due, token)) = self.special.first() {
            if due <= now {
                let cause = self.entries.get(token).map_or(Cause::TooOld, |entry| entry.due(&self.rules).1);
                return Some((token, cause));
            }
        }
        for lane in 0..self.lanes.len() {
            self.look(lane, now);
            let first = self.lanes.get(lane).and_then(|lane| self.first_due(lane));
            if let Some((_, token, cause)) = first.filter(|&(due, ..)| due <= now) {
                return Some((token, cause));
            }
        }
        None
    }

    /// Who is the first of a lane to be refused, when, and for what; but for the special ones, except
    /// that they too are hopeless in overload.
    pub(super) fn first_due(&self, lane: &Lane) -> Option<(Tick, Token, Cause)> {
        let head = |token: Option<Token>| {
            let (due, cause) = self.entries.get(token?)?.due(&self.rules);
            Some((due, token?, cause))
        };
        let hopeless = lane.law.give_up(self.rules.order).and_then(|give_up| {
            let (since, token) = self.first_of(lane)?;
            Some((since + give_up, token, Cause::Hopeless))
        });
        let mut first = head(lane.waiting.oldest());
        for other in [hopeless, head(lane.silent.oldest())].into_iter().flatten() {
            if first.is_none_or(|(first, ..)| other.0 < first) {
                first = Some(other);
            }
        }
        first
    }

    /// When there is something to do: [`Room::overdue`] has somebody or is to look at the order, or
    /// [`Room::next_to_watch`] has somebody, of those who were accepted `watch_after` before.
    pub(crate) fn next_event(&self, watch_after: Duration) -> Option<Tick> {
        let mut first = self.special.first().map(|&(due, _)| due);
        let mut consider = |event: Option<Tick>| {
            if let Some(event) = event {
                first = Some(first.map_or(event, |first| first.min(event)));
            }
        };
        for lane in &self.lanes {
            consider(self.first_due(lane).map(|(due, ..)| due));
            let oldest = self.first_of(lane).map(|(since, _)| since);
            consider(lane.law.next_look(self.rules.order, oldest));
            for row in Row::ALL {
                let Some(token) = lane.unwatched(row) else { continue };
                // One that has gone is to be forgotten at once.
                let unwatched = self.entries.get(token);
                consider(Some(unwatched.map_or(self.start, |entry| entry.accepted + watch_after)));
            }
        }
        first.filter(|first| *first != Tick::NEVER)
    }

    /// Takes out whoever stands longest in `lane`, without a place: for a lane that nobody serves.
    pub(crate) fn turn_away(&mut self, lane: usize, now: Tick) -> Option<T> {
        let lane = self.lanes.get(lane)?;
        let token = lane.first_to_go().or(lane.silent.oldest())?;
        self.end(token, now)
    }

    /// Takes out whoever waits longest in the line of `lane`, without a place: for another lane. The silent, and those
    /// who stand back, are not in it.
    pub(crate) fn move_out(&mut self, lane: usize, now: Tick) -> Option<T> {
        let token = self.lanes.get(lane)?.waiting.oldest()?;
        self.end(token, now)
    }

    /// One that has waited since `accepted_by` or longer and that nobody watches for a hang-up: it
    /// counts as watched from now on. Call until `None`. The silent are watched from the beginning.
    pub(crate) fn next_to_watch(&mut self, accepted_by: Tick) -> Option<(Token, &T)> {
        let token = (0..self.lanes.len())
            .flat_map(|lane| Row::ALL.map(|row| (lane, row)))
            .find_map(|(lane, row)| self.unwatched(lane, row, accepted_by))?;
        let entry = self.entries.get_mut(token)?;
        entry.is_watched = true;
        Some((token, &entry.item))
    }

    /// The first of a row who was accepted by then and is not watched; those before it who have gone, or
    /// are watched already, are passed over for good.
    fn unwatched(&mut self, lane: usize, row: Row, accepted_by: Tick) -> Option<Token> {
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
}
