//! The waiting room: who stands in it, since when, until when, and who may go in next.
//!
//! Owns every waiting entry, the number of places taken, and every deadline. Never reads a clock,
//! touches a socket, wakes anybody or counts: it returns what is to be done.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::arena::{Arena, Token};
use super::cause::Cause;
use super::line::{Line, Linked, Links};

/// The bounds of each lane: none takes what is another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Places: connections that may be handed out at the same time.
    pub(crate) max_connections: usize,
    /// Connections that may wait at the same time.
    pub(crate) max_waiting: usize,
    /// Age at which a waiting connection is refused, counted from its handshake.
    pub(crate) max_wait: Duration,
}

/// When a connection's handshake ended, and when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) handshake: Instant,
    pub(crate) accepted: Instant,
}

impl Age {
    /// Of a connection that is accepted now and has waited in the kernel for so long, if that is known.
    pub(crate) fn accepted(now: Instant, kernel_wait: Option<Duration>) -> Self {
        let handshake = kernel_wait.and_then(|wait| now.checked_sub(wait)).unwrap_or(now);
        Self { handshake, accepted: now }
    }

    pub(crate) fn since_handshake(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.handshake)
    }
}

/// A connection that asks to wait.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    pub(crate) lane: usize,
    pub(crate) age: Age,
    /// Past this age it is refused as probably left (its peer has closed after sending).
    pub(crate) patience: Option<Duration>,
    pub(crate) item: T,
}

/// The room's answer to an [`Arrival`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<T> {
    Waits,
    /// It waits, and the one that has waited longest is refused for it.
    WaitsInsteadOf(T, Cause),
    Refused(T, Cause),
}

/// The room's answer to somebody who can serve one more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take<T> {
    /// Hand this one out: a place is taken for it.
    Ready(T),
    /// This one is past its time: refuse it, and ask again.
    Late(T, Cause),
    /// Nobody waits in this lane.
    Empty,
    /// Somebody waits, but every place of the lane is taken.
    NoPlace,
}

#[derive(Debug)]
struct Entry<T> {
    lane: usize,
    age: Age,
    due: Instant,
    /// What the entry is refused for when `due` has come.
    due_cause: Cause,
    watched: bool,
    links: Links,
    item: T,
}

impl<T> Linked for Entry<T> {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn is_watched(&self) -> bool {
        self.watched
    }
}

#[derive(Debug)]
pub(crate) struct Room<T> {
    limits: Limits,
    lanes: Vec<Lane>,
    entries: Arena<Entry<T>>,
    /// Every waiting entry, by the time at which it is refused.
    due: BTreeSet<(Instant, Token)>,
}

#[derive(Debug, Default)]
struct Lane {
    line: Line,
    /// Places taken.
    open: usize,
}

impl<T> Room<T> {
    pub(crate) fn new(lanes: usize, limits: Limits) -> Self {
        Self {
            limits,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            entries: Arena::new(),
            due: BTreeSet::new(),
        }
    }

    /// Places taken, over all lanes.
    pub(crate) fn open(&self) -> usize {
        self.lanes.iter().map(|lane| lane.open).sum()
    }

    /// Connections waiting, over all lanes.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn waiting_in(&self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.line.len())
    }

    /// Whether a [`Room::take`] on this lane could hand somebody out.
    pub(crate) fn can_take(&self, lane: usize) -> bool {
        self.lanes
            .get(lane)
            .is_some_and(|lane| lane.line.len() > 0 && lane.open < self.limits.max_connections)
    }

    /// When the oldest of all was accepted.
    pub(crate) fn oldest(&self) -> Option<Age> {
        self.lanes
            .iter()
            .filter_map(|lane| Some(self.entries.get(lane.line.oldest()?)?.age))
            .min_by_key(|age| age.handshake)
    }

    /// Lets a connection wait. A full lane refuses the one that has waited longest in it: the oldest
    /// is the likeliest to have given up.
    pub(crate) fn arrive(&mut self, arrival: Arrival<T>, now: Instant) -> Admission<T> {
        let Arrival { lane, age, patience, item } = arrival;
        let (due, due_cause) = self.due(age, patience);
        if due <= now {
            return Admission::Refused(item, due_cause);
        }
        let Some(waiting) = self.lanes.get(lane).map(|lane| lane.line.len()) else {
            return Admission::Refused(item, Cause::Closed);
        };
        let evicted = if waiting >= self.limits.max_waiting { self.turn_away(lane) } else { None };
        let links = Links::default();
        let entry = Entry { lane, age, due, due_cause, watched: false, links, item };
        let token = self.entries.insert(entry);
        self.due.insert((due, token));
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.line.push(&mut self.entries, token);
        }
        match evicted {
            None => Admission::Waits,
            Some(item) => Admission::WaitsInsteadOf(item, Cause::Full),
        }
    }

    /// The next of `lane`, oldest first.
    pub(crate) fn take(&mut self, lane: usize, now: Instant) -> Take<T> {
        let Some(of) = self.lanes.get(lane) else { return Take::Empty };
        let Some(token) = of.line.oldest() else { return Take::Empty };
        if of.open >= self.limits.max_connections {
            return Take::NoPlace;
        }
        let Some(entry) = self.remove_entry(token) else { return Take::Empty };
        if entry.due <= now {
            return Take::Late(entry.item, entry.due_cause);
        }
        self.occupy(lane);
        Take::Ready(entry.item)
    }

    /// Takes a place of `lane`.
    pub(crate) fn occupy(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.open += 1;
        }
    }

    /// Gives a place of `lane` back.
    pub(crate) fn release(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            debug_assert!(lane.open > 0, "a place was freed twice");
            lane.open = lane.open.saturating_sub(1);
        }
    }

    /// Takes one out whose peer has left.
    pub(crate) fn leave(&mut self, token: Token) -> Option<T> {
        self.remove_entry(token).map(|entry| entry.item)
    }

    /// The entry under `token`, if it still waits.
    pub(crate) fn waiting(&self, token: Token) -> Option<&T> {
        self.entries.get(token).map(|entry| &entry.item)
    }

    /// The peer has closed after sending: past `patience` it is refused as probably left.
    pub(crate) fn lose_patience(&mut self, token: Token, patience: Duration) {
        let Some(age) = self.entries.get(token).map(|entry| entry.age) else { return };
        let (due, due_cause) = self.due(age, Some(patience));
        let Some(entry) = self.entries.get_mut(token) else { return };
        self.due.remove(&(entry.due, token));
        entry.due = due;
        entry.due_cause = due_cause;
        self.due.insert((due, token));
    }

    /// One whose time is over at `now`; call until `None`.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(T, Cause)> {
        let &(due, token) = self.due.first()?;
        if due > now {
            return None;
        }
        self.remove_entry(token).map(|entry| (entry.item, entry.due_cause))
    }

    /// When [`Room::overdue`] will have something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(due, _)| due)
    }

    /// One that has waited since `accepted_by` or longer and that nobody watches for a hang-up: it
    /// counts as watched from now on. Call until `None`.
    pub(crate) fn next_to_watch(&mut self, accepted_by: Instant) -> Option<(Token, &T)> {
        let is_due = |line: &Line| {
            let oldest = line.unwatched().and_then(|token| self.entries.get(token));
            oldest.is_some_and(|entry| entry.age.accepted <= accepted_by)
        };
        let line = self.lanes.iter_mut().map(|lane| &mut lane.line).find(|line| is_due(line))?;
        let token = line.unwatched()?;
        line.advance_watch(&mut self.entries);
        let entry = self.entries.get_mut(token)?;
        entry.watched = true;
        Some((token, &entry.item))
    }

    /// When the oldest that nobody watches was accepted.
    pub(crate) fn oldest_unwatched(&self) -> Option<Instant> {
        let oldest = |lane: &Lane| Some(self.entries.get(lane.line.unwatched()?)?.age.accepted);
        self.lanes.iter().filter_map(oldest).min()
    }

    /// Takes out whoever waits longest in `lane`, without a place: for a lane that nobody serves.
    pub(crate) fn turn_away(&mut self, lane: usize) -> Option<T> {
        let token = self.lanes.get(lane)?.line.oldest()?;
        self.remove_entry(token).map(|entry| entry.item)
    }

    fn due(&self, age: Age, patience: Option<Duration>) -> (Instant, Cause) {
        match patience {
            Some(patience) if patience < self.limits.max_wait => {
                (later(age.handshake, patience), Cause::ProbablyLeft)
            }
            _ => (later(age.handshake, self.limits.max_wait), Cause::TooOld),
        }
    }

    fn remove_entry(&mut self, token: Token) -> Option<Entry<T>> {
        let (lane, due) = self.entries.get(token).map(|entry| (entry.lane, entry.due))?;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.line.unlink(&mut self.entries, token);
        }
        self.due.remove(&(due, token));
        self.entries.remove(token)
    }
}

/// Where "for ever" was asked for, a century stands for it: an `Instant` has an end.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

fn later(start: Instant, by: Duration) -> Instant {
    start.checked_add(by.min(FOR_EVER)).unwrap_or(start)
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
