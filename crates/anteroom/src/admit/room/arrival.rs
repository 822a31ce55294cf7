//! Who is let into the room, and who has to go for it.
//!
//! Owns the order in which the limits are asked: each is asked before anything is changed, so that no
//! limit holds what another one refuses.

use std::net::IpAddr;

use super::{Admission, Arrival, Entry, Room, Standing, Voice};
use crate::admit::arena::Token;
use crate::admit::cause::Cause;
use crate::admit::lane::{Lane, Ordered};
use crate::admit::line::Links;
use crate::admit::prefix::SourceKey;
use crate::admit::rules::{Rules, WhenFull};
use crate::admit::share::Has;
use crate::tick::Tick;

/// What a source has of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// It may have more.
    MayTake,
    /// It has what the formula gives it.
    HasPart,
    /// It has as many as a source may have.
    HasNumber,
}

impl<T> Room<T> {
    /// Lets a connection wait, or not.
    pub(crate) fn arrive(&mut self, arrival: Arrival<T>, now: Tick) -> Admission<T> {
        let Arrival { lane, age, from, voice, is_moved, item } = arrival;
        let at = now.nanos_since(self.start);
        let standing = match voice {
            Voice::Silent if self.rules.first_byte.is_some() => Standing::Silent,
            _ => Standing::Waits,
        };
        let patience = match voice {
            Voice::SpokeAndClosed(patience) => Some(patience),
            Voice::Silent | Voice::Spoke => None,
        };
        let mut entry = Entry {
            since: age.handshake,
            accepted: now,
            patience,
            source: None,
            links: Links::default(),
            lane: u32::try_from(lane).unwrap_or(u32::MAX),
            standing,
            is_special: false,
            is_watched: standing == Standing::Silent,
            item,
        };
        self.look(lane, now);
        let (due, cause) = self.due(&entry);
        if due <= now {
            return Admission::Refused(entry.item, cause);
        }
        let key = self.source(from);
        let known = key.and_then(|key| self.lanes.get_mut(lane)?.sources.find(key));
        let out = match self.make_room(lane, standing, known.filter(|_| !is_moved), at) {
            Ok(out) => out,
            Err(cause) => return Admission::Refused(entry.item, cause),
        };
        let evicted = out.and_then(|(token, cause)| Some((self.end(token, now)?, cause)));
        let rate = self.rules.share.per_second.filter(|_| !is_moved);
        if let Some(lane) = self.lanes.get_mut(lane) {
            entry.source = key.and_then(|key| lane.sources.hold(key, known, rate.as_ref(), at));
        }
        let source = entry.source;
        let token = self.entries.insert(entry);
        self.stand(token);
        if standing == Standing::Waits && self.lanes.get(lane).is_some_and(|lane| lane.stands_back(source)) {
            self.stand_back(token);
        }
        match (standing, evicted) {
            (Standing::Silent, evicted) => Admission::Silent(token, evicted),
            (_, Some((item, cause))) => Admission::WaitsInsteadOf(item, cause),
            (_, None) => Admission::Waits,
        }
    }

    /// Whether one more may come to stand there, and who has to go for it. A source that holds too much
    /// may have its newcomer change places with whoever is the first to go, if that is its own, or one of
    /// a source that has more: a source that is alone is served like one among many, and a room that is
    /// full goes on to be renewed.
    fn make_room(
        &mut self,
        lane: usize,
        standing: Standing,
        source: Option<Token>,
        at: u64,
    ) -> Result<Option<(Token, Cause)>, Cause> {
        let of = self.lanes.get(lane).ok_or(Cause::Closed)?;
        let rules = &self.rules;
        let (free, cause) = match standing {
            Standing::Silent => (of.free_to_be_silent(rules), Cause::Silent),
            Standing::Waits | Standing::Back => (of.free_to_wait(rules), Cause::Full),
        };
        let head = || match standing {
            Standing::Silent => of.silent.oldest(),
            Standing::Waits | Standing::Back => of.first_to_go(),
        };
        let spare = self.spare_sockets(lane);
        if let Some(source) = source {
            let own = |head: Option<Token>| head.filter(|&head| self.source_of(head) == Some(source));
            if rules.share.per_second.is_some_and(|rate| !of.sources.is_free(source, &rate, at)) {
                return Err(Cause::Rate);
            }
            match self.share(of, standing, source, free, spare) {
                Share::MayTake => {}
                Share::HasNumber => {
                    return own(head()).map(|head| Some((head, Cause::Share))).ok_or(Cause::Share);
                }
                Share::HasPart => {
                    let cause = if free == 0 && standing == Standing::Waits { cause } else { Cause::Share };
                    let head = head();
                    let makes_way =
                        own(head).or(head.filter(|&head| self.has_more(of, standing, head, source)));
                    return makes_way.map(|head| Some((head, cause))).ok_or(Cause::Share);
                }
            }
        }
        if let (Standing::Waits, Some(early)) = (standing, rules.refuse_early) {
            if early.refuses(of.in_excess(rules), &mut self.dice) {
                return Err(Cause::Early);
            }
        }
        match rules.when_full {
            // Whoever accepts asks for vacancies: no more than one batch of each who does is too many, and those are in hand.
            WhenFull::BackPressure => Ok(None),
            WhenFull::RefuseOldest if free == 0 => head().map(|head| Some((head, cause))).ok_or(cause),
            WhenFull::RefuseOldest if spare.is_none_or(|spare| spare > 0) => Ok(None),
            WhenFull::RefuseOldest => {
                let head = of.silent.oldest().or(of.first_to_go());
                head.map(|head| Some((head, Cause::Resources))).ok_or(Cause::Resources)
            }
        }
    }

    /// Whether a source may take another place: by the formula for all places together, by the formula
    /// for the stage that it comes to, where so many are `free`, and by number.
    fn share(
        &self,
        of: &Lane,
        standing: Standing,
        source: Token,
        free: usize,
        spare: Option<usize>,
    ) -> Share {
        let (rules, share) = (&self.rules, &self.rules.share);
        let has = of.sources.has(source);
        if share.max_per_source.is_some_and(|most| has.all >= most) {
            return Share::HasNumber;
        }
        let Some(alpha) = share.alpha else { return Share::MayTake };
        let is_over = |has: usize, free: usize| has > free.saturating_mul(alpha as usize);
        let in_all = of.free(rules).into_iter().chain(spare).min();
        if is_over(in_stage(has, standing), free) || in_all.is_some_and(|free| is_over(has.all, free)) {
            return Share::HasPart;
        }
        Share::MayTake
    }

    /// Whether the source of the one who is the first to go has more in its stage than another source:
    /// then nobody's greatest share grows when they change places.
    fn has_more(&self, of: &Lane, standing: Standing, first: Token, other: Token) -> bool {
        let count = |source| in_stage(of.sources.has(source), standing);
        self.source_of(first).is_some_and(|source| count(source) > count(other))
    }

    fn source_of(&self, token: Token) -> Option<Token> {
        self.entries.get(token)?.source
    }

    fn source(&self, from: Option<IpAddr>) -> Option<SourceKey> {
        let Rules { share, exempt, .. } = &self.rules;
        let from = from.filter(|_| share.is_limited())?;
        let is_exempt = !exempt.is_empty() && exempt.longest(from).is_some();
        (!is_exempt).then(|| share.grain().key(from))
    }

    /// Sockets that this lane may still have, of those that all share. `None`: there is no end of them.
    pub(super) fn spare_sockets(&self, lane: usize) -> Option<usize> {
        let budget = self.rules.descriptors?;
        let others = self.lanes.iter().enumerate().filter(|&(number, _)| number != lane);
        let set_aside: usize = others.map(|(_, other)| other.unused()).sum();
        let held: usize = self.lanes.iter().map(Lane::held).sum();
        Some(budget.saturating_sub(held).saturating_sub(set_aside))
    }

    /// Puts one behind those who stand where it is to stand, and marks it if its place there does not
    /// tell its deadline.
    fn stand(&mut self, token: Token) {
        let Some(entry) = self.entries.get(token) else { return };
        let Entry { standing, since, patience, source, .. } = *entry;
        let Some(lane) = self.lanes.get_mut(entry.lane as usize) else { return };
        let ordered = match standing {
            Standing::Silent => lane.hush(&mut self.entries, token, since, source),
            Standing::Waits | Standing::Back => lane.queue(&mut self.entries, token, since),
        };
        if ordered == Ordered::OutOfOrder || patience.is_some() {
            self.mark(token);
        }
    }

    /// From waiting to standing back.
    pub(super) fn stand_back(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(token) else { return };
        let (Some(source), Some(lane)) = (entry.source, self.lanes.get_mut(entry.lane as usize)) else {
            return;
        };
        entry.standing = Standing::Back;
        lane.unqueue(&mut self.entries, token);
        lane.put_back(&mut self.entries, token, source);
        self.mark(token);
    }

    pub(crate) fn is_silent(&self, token: Token) -> bool {
        self.entries.get(token).is_some_and(|entry| entry.standing == Standing::Silent)
    }

    /// A silent one has sent its first byte, and is not watched any more: from now on it waits, and its
    /// wait counts from now. Somebody may be refused for it, or itself.
    pub(crate) fn speak(&mut self, token: Token, now: Tick) -> Option<(T, Cause)> {
        let entry = self.entries.get_mut(token).filter(|entry| entry.standing == Standing::Silent)?;
        entry.is_watched = false;
        let lane = entry.lane as usize;
        let of = self.lanes.get(lane)?;
        if self
            .rules
            .refuse_early
            .is_some_and(|early| early.refuses(of.in_excess(&self.rules), &mut self.dice))
        {
            return self.end(token, now).map(|item| (item, Cause::Early));
        }
        let is_full = self.rules.when_full == WhenFull::RefuseOldest && of.free_to_wait(&self.rules) == 0;
        // Where nobody may wait, and no place stands ready, it is itself the one.
        let out = is_full.then(|| of.first_to_go().unwrap_or(token));
        let refused = out.and_then(|out| self.end(out, now)).map(|item| (item, Cause::Full));
        self.stand_up(token, now);
        self.look(lane, now);
        refused
    }

    /// From silent to waiting.
    pub(super) fn stand_up(&mut self, token: Token, now: Tick) {
        self.unmark(token);
        let Some(entry) = self.entries.get_mut(token) else { return };
        entry.standing = Standing::Waits;
        entry.since = now;
        let source = entry.source;
        if let Some(lane) = self.lanes.get_mut(entry.lane as usize) {
            lane.unhush(&mut self.entries, token, source);
        }
        self.stand(token);
    }
}

/// How many of a source are in the stage that somebody stands in.
fn in_stage(has: Has, standing: Standing) -> usize {
    match standing {
        Standing::Silent => has.silent,
        Standing::Waits | Standing::Back => has.waiting,
    }
}
