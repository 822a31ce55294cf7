//! What a test knows of the room, kept in the plainest way: lists that are searched.
//!
//! Owns the same history twice, in the room and beside it, and compares after every step. Never decides
//! as the room does: it says of each answer whether it was allowed, and why.

mod arriving;
mod leaving;

use std::collections::{HashMap, HashSet};

use super::*;
use crate::admit::{Rate, WhenFull};
use crate::tick::Tick;

/// Who counts as one, of those who are held to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    fn of(from: Option<IpAddr>, share: &Share) -> Option<Self> {
        let is_asked = share.alpha.is_some() || share.max_per_source.is_some() || share.per_second.is_some();
        let from = from.filter(|&from| is_asked && !share.exempt.iter().any(|block| block.contains(from)))?;
        match from.to_canonical() {
            IpAddr::V4(v4) => Some(Self::V4(v4.to_bits() >> (32 - share.v4_prefix))),
            IpAddr::V6(v6) => Some(Self::V6(u64::try_from(v6.to_bits() >> 64).unwrap())),
        }
    }
}

/// One in the room. Their order in the model is the one in which they came to stand where they do.
#[derive(Clone, Copy, Debug)]
struct Guest {
    item: u32,
    lane: usize,
    source: Option<Source>,
    since: Tick,
    patience: Option<Duration>,
    is_silent: bool,
    is_watched: bool,
}

struct Open {
    lane: usize,
    source: Option<Source>,
    place: Place,
}

/// The numbers of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    open: usize,
    waiting: usize,
    silent: usize,
}

impl Numbers {
    fn held(self) -> usize {
        self.open + self.waiting + self.silent
    }
}

pub(super) struct Model {
    pub(super) room: Room<u32>,
    pub(super) now: Tick,
    config: Config,
    sockets: Option<usize>,
    lanes: Vec<LaneRules>,
    guests: Vec<Guest>,
    open: Vec<Open>,
    ended: HashSet<u32>,
    next: u32,
    served: usize,
    /// When somebody was handed out from a lane, since the rules changed.
    taken: Vec<Vec<Tick>>,
    /// When somebody of a source was let in, since the rules changed.
    let_in: HashMap<(usize, Source), Vec<Tick>>,
    changed: Tick,
    ever_shared: bool,
    ever_paced: bool,
    /// Handshakes were not in the order of arrival.
    ever_aged: bool,
}

impl Model {
    pub(super) fn new(config: &Config, lanes: &[LaneRules], sockets: Option<usize>) -> Self {
        let now = start();
        let mut model = Self {
            room: Room::new(lanes, config.rules(sockets), now, 7),
            now,
            config: config.clone(),
            sockets,
            lanes: lanes.to_vec(),
            guests: Vec::new(),
            open: Vec::new(),
            ended: HashSet::new(),
            next: 0,
            served: 0,
            taken: vec![Vec::new(); lanes.len()],
            let_in: HashMap::new(),
            changed: now,
            ever_shared: false,
            ever_paced: false,
            ever_aged: false,
        };
        model.note_rules();
        model
    }

    fn note_rules(&mut self) {
        let rules = &self.room.rules;
        self.ever_shared |= rules.share.alpha.is_some();
        self.ever_paced |= rules.share.per_second.is_some();
    }

    pub(super) fn is_back_pressure(&self) -> bool {
        self.config.when_full == WhenFull::BackPressure
    }

    pub(super) fn waiting_in(&self, lane: usize) -> usize {
        self.numbers(lane).waiting
    }

    /// How many have ever been handed out.
    pub(super) fn served(&self) -> usize {
        self.served
    }

    pub(super) fn opened(&self) -> usize {
        self.open.len()
    }

    pub(super) fn change(&mut self, config: &Config) {
        self.config = config.clone();
        self.room.set_rules(config.rules(self.sockets), self.now);
        self.note_rules();
        self.changed = self.now;
        self.taken.iter_mut().for_each(Vec::clear);
        self.let_in.clear();
        if config.first_byte.is_none() {
            let (spoke, silent) = std::mem::take(&mut self.guests).into_iter().partition(|g| !g.is_silent);
            self.guests = spoke;
            let up = |guest: Guest| Guest { is_silent: false, since: self.now, ..guest };
            self.guests.extend::<Vec<_>>(silent.into_iter().map(up).collect());
        }
        self.compare();
    }

    fn end(&mut self, item: u32) -> Guest {
        assert!(self.ended.insert(item), "{item} has come to two ends");
        let at = self.guests.iter().position(|guest| guest.item == item);
        self.guests.remove(at.expect("who ends was there"))
    }

    fn places(&self, lane: usize) -> Option<usize> {
        self.lanes[lane].max_connections.or(self.config.max_connections)
    }

    fn free_places(&self, lane: usize) -> Option<usize> {
        self.places(lane).map(|places| places.saturating_sub(self.numbers(lane).open))
    }

    fn waiting_limit(&self, lane: usize) -> usize {
        let own = self.lanes[lane].max_waiting.unwrap_or(self.config.max_waiting);
        self.free_places(lane).unwrap_or(0) + own
    }

    fn max_silent(&self) -> usize {
        self.config.first_byte.map_or(0, |stage| stage.max_silent)
    }

    fn numbers(&self, lane: usize) -> Numbers {
        let of = |silent| self.guests.iter().filter(|g| g.lane == lane && g.is_silent == silent).count();
        let open = self.open.iter().filter(|open| open.lane == lane).count();
        Numbers { open, waiting: of(false), silent: of(true) }
    }

    /// Sockets that a lane may still have; negative where there are too many already.
    fn spare_sockets(&self, lane: usize) -> Option<i64> {
        let count = |number: usize| i64::try_from(number).unwrap();
        let needs = |other: usize| {
            let held = self.numbers(other).held();
            let set_aside = self.lanes[other].set_aside.unwrap_or(0);
            count(if other == lane { held } else { held.max(set_aside) })
        };
        Some(count(self.sockets?) - (0..self.lanes.len()).map(needs).sum::<i64>())
    }

    fn open_of(&self, lane: usize, source: Source) -> usize {
        self.open.iter().filter(|open| (open.lane, open.source) == (lane, Some(source))).count()
    }

    fn held_of(&self, lane: usize, source: Source) -> usize {
        let in_room = self.guests.iter().filter(|g| (g.lane, g.source) == (lane, Some(source))).count();
        in_room + self.open_of(lane, source)
    }

    fn alpha(&self) -> Option<usize> {
        self.room.rules.share.alpha.map(|alpha| alpha as usize)
    }

    /// The formula, for the places that are open.
    fn may_open(&self, lane: usize, source: Option<Source>) -> bool {
        let (Some(source), Some(alpha), Some(free)) = (source, self.alpha(), self.free_places(lane)) else {
            return true;
        };
        self.open_of(lane, source) <= alpha * free
    }

    fn is_newest_first(&self, lane: usize) -> bool {
        self.room.lanes[lane].law.is_newest_first()
    }

    /// Whether the time of one is over, and for which causes.
    fn is_due(&self, guest: &Guest) -> Vec<Cause> {
        let age = self.now.since(guest.since);
        if guest.is_silent {
            let is_due = age >= self.config.first_byte.unwrap().within;
            return if is_due { vec![Cause::Silent] } else { Vec::new() };
        }
        let give_up = match self.room.rules.order {
            Order::Adaptive { give_up, .. } if self.is_newest_first(guest.lane) => Some(give_up),
            _ => None,
        };
        let limits = [
            (Some(self.config.max_wait), Cause::TooOld),
            (guest.patience, Cause::ProbablyLeft),
            (give_up, Cause::Hopeless),
        ];
        limits
            .into_iter()
            .filter(|(limit, _)| limit.is_some_and(|limit| age >= limit))
            .map(|(_, c)| c)
            .collect()
    }

    /// What holds after every step.
    pub(super) fn compare(&self) {
        check(&self.room);
        assert_eq!((self.room.len(), self.room.open()), (self.guests.len(), self.open.len()));
        assert_eq!(self.ended.len() + self.guests.len(), self.next as usize, "somebody was lost");
        for lane in 0..self.lanes.len() {
            let numbers = self.numbers(lane);
            assert_eq!(self.room.waiting_in(lane), numbers.waiting);
            assert_eq!(self.room.standing_in(lane), numbers.waiting + numbers.silent);
            self.starves_nobody(lane);
        }
        assert_eq!(self.room.silent(), self.guests.iter().filter(|guest| guest.is_silent).count());
    }

    /// Whoever could be served, can be taken.
    fn starves_nobody(&self, lane: usize) {
        let can_take = self.room.can_take(lane, self.now);
        let has_place = self.free_places(lane).is_none_or(|free| free > 0);
        let mut waiting = self.guests.iter().filter(|guest| guest.lane == lane && !guest.is_silent);
        let somebody = waiting.any(|guest| self.may_open(lane, guest.source));
        let by_rate = match self.config.accept_rate {
            Some(_) if has_place && somebody => {
                self.room.rate_allows(lane).expect("only the rate can be in the way") <= self.now
            }
            _ => true,
        };
        if has_place && somebody && by_rate {
            assert!(can_take, "a place is free, somebody waits for it, and nobody may go in");
        }
        if can_take {
            assert!(has_place && self.waiting_in(lane) > 0 && by_rate);
        }
    }

    /// Nothing is left of anybody.
    pub(super) fn is_over(&mut self) {
        assert_eq!((self.room.len(), self.room.open(), self.ended.len()), (0, 0, self.next as usize));
        assert!(self.room.next_to_watch(self.now).is_none());
        // A lane that nobody waits in may want one more look at its order, and nothing more.
        for _ in 0..self.lanes.len() {
            let Some(look) = self.room.next_due() else { break };
            self.now = look;
            assert!(self.room.overdue(look).is_none());
        }
        assert_eq!(
            (self.room.next_due(), self.room.oldest(), self.room.oldest_unwatched()),
            (None, None, None)
        );
        assert!(self.room.special.is_empty() && self.room.lanes.iter().all(Lane::is_empty));
        if !self.ever_paced {
            assert_eq!(self.room.sources(), 0, "a source that holds nothing is remembered for nothing");
        }
    }
}

/// Whether so many times are not more than a rate lets pass, whatever part of them is looked at.
fn is_within(rate: Rate, times: &[Tick]) -> bool {
    let Some(last) = times.last() else { return true };
    times.iter().enumerate().all(|(before, first)| {
        let most = f64::from(rate.burst) + last.since(*first).as_secs_f64() * f64::from(rate.per_second);
        u32::try_from(times.len() - before).is_ok_and(|passed| f64::from(passed) <= most + 1e-6)
    })
}
