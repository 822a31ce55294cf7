//! The waiting room: who stands in it, since when, until when, and who may go in next.
//!
//! Owns every waiting entry, the number of places taken, and every deadline. Never reads a clock,
//! touches a socket, wakes anybody or counts: it returns what is to be done.
//!
//! No step searches: an arrival, a departure and a refusal cost the same however many wait.

mod arrival;
mod ending;
mod taking;

pub(crate) use self::taking::Turn;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::admit::arena::{Arena, Token};
use crate::admit::cause::Cause;
use crate::admit::early::Dice;
use crate::admit::lane::Lane;
use crate::admit::line::{Linked, Links};
use crate::admit::rules::{LaneRules, Rules};
use crate::admit::share::MOST_SOURCES;
use crate::tick::Tick;

/// When a connection's handshake ended, and when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) handshake: Tick,
    pub(crate) accepted: Tick,
}

impl Age {
    /// Of a connection that is accepted now and has waited in the kernel for so long, if that is known.
    pub(crate) fn accepted(now: Tick, kernel_wait: Option<Duration>) -> Self {
        let handshake = kernel_wait.and_then(|wait| now.checked_sub(wait)).unwrap_or(now);
        Self { handshake, accepted: now }
    }

    pub(crate) fn since_handshake(&self, now: Tick) -> Duration {
        now.since(self.handshake)
    }
}

/// Whether a client has sent anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Silent,
    Spoke,
    /// It spoke and closed its side: past this age it is refused as probably left.
    SpokeAndClosed(Duration),
}

/// A connection that asks to wait.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    pub(crate) lane: usize,
    pub(crate) age: Age,
    /// Where it comes from; `None` for those who have no source.
    pub(crate) from: Option<IpAddr>,
    pub(crate) voice: Voice,
    /// It was let in before, into another lane: its source is not asked, though it counts.
    pub(crate) is_moved: bool,
    pub(crate) item: T,
}

/// The room's answer to an [`Arrival`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<T> {
    Waits,
    /// It waits, and another one is refused for it.
    WaitsInsteadOf(T, Cause),
    /// It stays outside until it speaks, under this name; somebody may be refused for it.
    Silent(Token, Option<(T, Cause)>),
    Refused(T, Cause),
}

/// A place that was taken: to be given back with [`Room::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: usize,
    source: Option<Token>,
}

/// The room's answer to somebody who can serve one more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take<T> {
    /// Hand this one out: a place is taken for it.
    Ready {
        item: T,
        place: Place,
        /// It was given out by [`Room::next_to_watch`], or was silent: somebody watches its socket.
        is_watched: bool,
    },
    /// This one is past its time: refuse it, and ask again.
    Late(T, Cause),
    /// Nobody waits in this lane.
    Empty,
    /// Somebody waits, but no more may be handed out at the moment.
    NoPlace,
}

/// What one does in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waits,
    /// It waits behind all others until its source has fewer of the open places.
    Back,
    Silent,
}

#[derive(Debug)]
struct Entry<T> {
    /// What its wait is counted from: the handshake, or the first byte of one who was silent.
    since: Tick,
    accepted: Tick,
    patience: Option<Duration>,
    source: Option<Token>,
    links: Links,
    lane: u32,
    standing: Standing,
    /// It is due before somebody who stands before it, so it is in [`Room::special`].
    is_special: bool,
    is_watched: bool,
    item: T,
}

impl<T> Linked for Entry<T> {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl<T> Entry<T> {
    /// When it is refused, and for what.
    fn due(&self, rules: &Rules) -> (Tick, Cause) {
        if self.standing == Standing::Silent {
            let within = rules.first_byte.map_or(Duration::ZERO, |stage| stage.within);
            return (self.since + within, Cause::Silent);
        }
        match self.patience {
            Some(patience) if patience < rules.max_wait => (self.since + patience, Cause::ProbablyLeft),
            _ => (self.since + rules.max_wait, Cause::TooOld),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Room<T> {
    rules: Rules,
    lanes: Vec<Lane>,
    entries: Arena<Entry<T>>,
    /// Those whose turn to be refused is not that of their place in their line: clients that sent and
    /// closed, those from another listener's queue, and those who stand back.
    special: BTreeSet<(Tick, Token)>,
    /// Rates and ramps are counted from it.
    start: Tick,
    dice: Dice,
}

impl<T> Room<T> {
    #[cfg(any(test, feature = "simulate"))]
    pub(crate) fn new(lanes: &[LaneRules], rules: Rules, start: Tick, seed: u64) -> Self {
        Self::numbered(0, lanes, lanes.len(), rules, start, seed)
    }

    /// One of several, of which every token says in which it is. So many lanes there are in all of them.
    pub(crate) fn numbered(
        number: usize,
        lanes: &[LaneRules],
        in_all: usize,
        rules: Rules,
        start: Tick,
        seed: u64,
    ) -> Self {
        let most_sources = (MOST_SOURCES / in_all.max(1)).max(1);
        let mut lanes: Vec<_> = lanes.iter().map(|&own| Lane::new(own, most_sources)).collect();
        Lane::set_aside(&mut lanes, rules.descriptors);
        Self {
            rules,
            lanes,
            entries: Arena::numbered(number),
            special: BTreeSet::new(),
            start,
            dice: Dice::new(seed),
        }
    }

    /// From now on these rules hold. Nobody is thrown out for it: who is beyond a bound that has become
    /// smaller stays, and nobody takes the place.
    pub(crate) fn set_rules(&mut self, rules: Rules, now: Tick) {
        self.rules = rules;
        let at = now.nanos_since(self.start);
        Lane::set_aside(&mut self.lanes, self.rules.descriptors);
        for lane in &mut self.lanes {
            lane.adopt(&self.rules, at);
        }
        let special = self.entries.iter().filter(|(_, entry)| entry.is_special);
        self.special = special.map(|(token, entry)| (entry.due(&self.rules).0, token)).collect();
        if self.rules.first_byte.is_none() {
            for lane in 0..self.lanes.len() {
                while let Some(token) = self.lanes.get(lane).and_then(|lane| lane.silent.oldest()) {
                    self.stand_up(token, now);
                }
            }
        }
        for lane in 0..self.lanes.len() {
            self.look(lane, now);
        }
    }

    /// Places taken, over all lanes.
    pub(crate) fn open(&self) -> usize {
        self.lanes.iter().map(|lane| lane.open).sum()
    }

    /// Places of a lane that are taken.
    pub(crate) fn open_in(&self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.open)
    }

    /// Whether a lane serves the newest first at the moment.
    pub(crate) fn is_newest_first(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.law.is_newest_first())
    }

    /// Connections in the room, waiting or silent, over all lanes.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of them, those that have not sent their first byte.
    pub(crate) fn silent(&self) -> usize {
        self.lanes.iter().map(|lane| lane.silent.len()).sum()
    }

    /// Sources that are known, over all lanes.
    pub(crate) fn sources(&self) -> usize {
        self.lanes.iter().map(|lane| lane.sources.len()).sum()
    }

    pub(crate) fn waiting_in(&self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, Lane::queued)
    }

    /// Connections of a lane in the room, waiting or silent.
    pub(crate) fn standing_in(&self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.queued() + lane.silent.len())
    }

    /// How many more may be accepted for a lane without anybody being refused for it; see
    /// [`WhenFull::BackPressure`].
    pub(crate) fn vacancies(&self, lane: usize) -> usize {
        let sockets = self.spare_sockets(lane).unwrap_or(usize::MAX);
        self.lanes.get(lane).map_or(0, |lane| lane.vacancies(&self.rules, sockets))
    }

    /// How many more a lane has places for that stand ready, beyond those who wait, nobody being refused for it. Where
    /// a rate is used up it has none.
    pub(crate) fn ready(&self, lane: usize, now: Tick) -> usize {
        let Some(of) = self.lanes.get(lane) else { return 0 };
        let at = now.nanos_since(self.start);
        if self.rules.accept_rate.is_some_and(|rate| !of.meter.is_free(&rate, at)) {
            return 0;
        }
        let sockets = self.spare_sockets(lane).unwrap_or(usize::MAX);
        let room = of.free_to_wait(&self.rules).min(of.vacancies(&self.rules, sockets)).min(sockets);
        room.min(of.unclaimed(&self.rules))
    }

    /// When the first in any line began to wait, or the oldest of the silent to be silent. Nobody who stands back
    /// counts.
    pub(crate) fn oldest(&self) -> Option<Tick> {
        let silent =
            self.lanes.iter().filter_map(|lane| Some(self.entries.get(lane.silent.oldest()?)?.since));
        let waiting = (0..self.lanes.len()).filter_map(|lane| self.first_in_line(lane));
        waiting.chain(silent).min()
    }

    /// When the handshake of the one was that has waited longest in the line of `lane`. Those who stand back are
    /// not in it: that one source wants more than its share keeps nobody else waiting.
    pub(crate) fn first_in_line(&self, lane: usize) -> Option<Tick> {
        let token = self.lanes.get(lane)?.waiting.oldest()?;
        Some(self.entries.get(token)?.since)
    }

    /// Lanes whose order has changed since the last call, and whether it is newest first now.
    pub(crate) fn reordered(&mut self) -> impl Iterator<Item = (usize, bool)> {
        let lanes = self.lanes.iter_mut().enumerate();
        lanes.filter(|(_, lane)| lane.is_reordered).map(|(number, lane)| {
            lane.is_reordered = false;
            (number, lane.law.is_newest_first())
        })
    }

    /// Looks how long the oldest of a lane has waited, for the law of its order.
    fn look(&mut self, lane: usize, now: Tick) {
        let oldest = self.lanes.get(lane).and_then(|lane| self.first_of(lane)).map(|(since, _)| since);
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        lane.is_reordered |= lane.law.look(self.rules.order, oldest, now);
    }

    /// Who has waited longest in a lane, standing back or not, and since when.
    fn first_of(&self, lane: &Lane) -> Option<(Tick, Token)> {
        let head = lane.waiting.oldest().and_then(|token| Some((self.entries.get(token)?.since, token)));
        match lane.apart.first() {
            Some(&apart) if head.is_none_or(|head| apart.0 < head.0) => Some(apart),
            _ => head,
        }
    }

    /// Takes one out for good: its source gets back what it held.
    fn end(&mut self, token: Token, now: Tick) -> Option<T> {
        let entry = self.remove(token)?;
        if let (Some(source), Some(lane)) = (entry.source, self.lanes.get_mut(entry.lane as usize)) {
            lane.sources.let_go(source, || now.nanos_since(self.start));
        }
        Some(entry.item)
    }

    fn remove(&mut self, token: Token) -> Option<Entry<T>> {
        self.unmark(token);
        let entry = self.entries.get(token)?;
        let (lane, standing, source) = (entry.lane as usize, entry.standing, entry.source);
        if let Some(lane) = self.lanes.get_mut(lane) {
            match standing {
                Standing::Waits => lane.unqueue(&mut self.entries, token),
                Standing::Back => {
                    if let Some(source) = source {
                        lane.unback(&mut self.entries, token, source);
                    }
                }
                Standing::Silent => lane.unhush(&mut self.entries, token, source),
            }
        }
        self.entries.remove(token)
    }

    /// When one is refused, and for what: by what it is, or by the order of its lane.
    fn due(&self, entry: &Entry<T>) -> (Tick, Cause) {
        let own = entry.due(&self.rules);
        if entry.standing == Standing::Silent {
            return own;
        }
        let give_up = self.give_up(entry.lane as usize).map(|age| (entry.since + age, Cause::Hopeless));
        give_up.filter(|hopeless| hopeless.0 < own.0).unwrap_or(own)
    }

    /// The age at which who waits in a lane is hopeless, if it is at all.
    fn give_up(&self, lane: usize) -> Option<Duration> {
        self.lanes.get(lane)?.law.give_up(self.rules.order)
    }

    /// From now on its deadline is looked up, not read off its place in its line.
    fn mark(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(token) else { return };
        entry.is_special = true;
        self.special.insert((entry.due(&self.rules).0, token));
        let lane = self.lanes.get_mut(entry.lane as usize).filter(|_| entry.standing != Standing::Silent);
        if let Some(lane) = lane {
            lane.apart.insert((entry.since, token));
        }
    }

    /// The inverse of [`Room::mark`]; to be called before anything changes on which the deadline depends.
    fn unmark(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(token).filter(|entry| entry.is_special) else { return };
        entry.is_special = false;
        self.special.remove(&(entry.due(&self.rules).0, token));
        if let Some(lane) = self.lanes.get_mut(entry.lane as usize) {
            lane.apart.remove(&(entry.since, token));
        }
    }
}

#[cfg(test)]
mod tests;
