//! The room: the cases that deserve a name, and what every history has to keep.
//!
//! Owns the hall, a room with a hand on its clock. Never waits: time is a number that is passed on.

mod back_pressure;
mod bounds;
mod changes;
mod histories;
mod holes;
mod model;
mod order;
mod pace;
mod releases;
mod share;
mod silence;
mod watching;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::Config;
use crate::admit::lane::Row;
use crate::admit::line::Line;
use crate::admit::{Order, Share};
use crate::tick::Tick;

impl<T> Room<T> {
    /// When [`Room::overdue`] will have something: the room's calendar, but for those who are to be watched.
    fn next_due(&self) -> Option<Tick> {
        let lines = self.lanes.iter().filter_map(|lane| Some(self.first_due(lane)?.0));
        let looks = self.lanes.iter().filter_map(|lane| {
            lane.law.next_look(self.rules.order, self.first_of(lane).map(|(since, _)| since))
        });
        let first = lines.chain(looks).chain(self.special.first().map(|&(due, _)| due)).min();
        first.filter(|first| *first != Tick::NEVER)
    }

    /// When the oldest that nobody watches was accepted.
    fn oldest_unwatched(&self) -> Option<Tick> {
        let rows = self.lanes.iter().flat_map(|lane| Row::ALL.map(|row| lane.unwatched(row)));
        let accepted = rows.filter_map(|token| Some(self.entries.get(token?)?.accepted));
        accepted.min()
    }

    /// When the rate lets somebody in for whom there is a place.
    fn rate_allows(&self, lane: usize) -> Option<Tick> {
        match self.turn(lane) {
            Turn::From(then) => Some(then),
            Turn::Now | Turn::NotYet => None,
        }
    }
}

const MAX_WAIT: Duration = Duration::from_secs(10);

/// When a test begins: far enough from the clock's beginning for every handshake to lie behind it.
fn start() -> Tick {
    Tick::from_nanos(1_000_000_000_000_000)
}

fn before(tick: Tick, time: Duration) -> Tick {
    tick.checked_sub(time).expect("a test does not begin that early")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Two places and nine to wait, in the order of arrival, whoever comes.
fn plain() -> Config {
    Config {
        max_connections: Some(2),
        max_waiting: 9,
        max_wait: MAX_WAIT,
        order: Order::Fifo,
        share: Share::unlimited(),
        ..Config::default()
    }
}

fn ip(source: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, source).into()
}

/// A room, its clock, and the places that are taken in it.
struct Hall {
    room: Room<u32>,
    now: Tick,
    places: HashMap<u32, Place>,
}

impl Hall {
    fn new(config: &Config) -> Self {
        Self::with(config, &[LaneRules::default()], None)
    }

    fn with(config: &Config, lanes: &[LaneRules], sockets: Option<usize>) -> Self {
        let now = start();
        let room = Room::new(lanes, config.rules(sockets), now, 1);
        Self { room, now, places: HashMap::new() }
    }

    fn pass(&mut self, time: u64) {
        self.now = self.now + millis(time);
    }

    fn arrive(&mut self, lane: usize, from: Option<IpAddr>, voice: Voice, item: u32) -> Admission<u32> {
        self.arrive_aged(lane, from, voice, 0, item)
    }

    fn arrive_aged(
        &mut self,
        lane: usize,
        from: Option<IpAddr>,
        voice: Voice,
        aged: u64,
        item: u32,
    ) -> Admission<u32> {
        let age = Age::accepted(self.now, Some(millis(aged)));
        let admission = self.room.arrive(Arrival { lane, age, from, voice, is_moved: false, item }, self.now);
        check(&self.room);
        admission
    }

    /// One comes to the first lane, and nobody knows from where.
    fn come(&mut self, item: u32) -> Admission<u32> {
        self.arrive(0, None, Voice::Spoke, item)
    }

    fn come_from(&mut self, source: u8, item: u32) -> Admission<u32> {
        self.arrive(0, Some(ip(source)), Voice::Spoke, item)
    }

    /// One comes whose handshake was so long ago.
    fn come_aged(&mut self, aged: u64, item: u32) -> Admission<u32> {
        self.arrive_aged(0, None, Voice::Spoke, aged, item)
    }

    fn come_silent(&mut self, source: u8, item: u32) -> Admission<u32> {
        self.arrive(0, Some(ip(source)), Voice::Silent, item)
    }

    fn take_from(&mut self, lane: usize) -> Take<u32> {
        let could = self.room.can_take(lane, self.now);
        let take = self.room.take(lane, self.now);
        check(&self.room);
        match &take {
            Take::Ready { item, place, .. } => {
                assert!(could, "{item} was handed out where nobody could be taken");
                assert_eq!(self.places.insert(*item, *place), None, "{item} was handed out twice");
            }
            Take::Late(..) => assert!(could),
            Take::Empty | Take::NoPlace => assert!(!self.room.can_take(lane, self.now)),
        }
        take
    }

    /// The next of the first lane, if somebody is handed out.
    fn take(&mut self) -> Option<u32> {
        match self.take_from(0) {
            Take::Ready { item, .. } => Some(item),
            _ => None,
        }
    }

    fn take_all(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.take()).collect()
    }

    fn release(&mut self, item: u32) {
        let place = self.places.remove(&item).expect("it was handed out");
        self.room.release(place, || self.now);
        check(&self.room);
    }

    fn overdue(&mut self) -> Vec<(u32, Cause)> {
        let overdue = std::iter::from_fn(|| self.room.overdue(self.now)).collect();
        check(&self.room);
        assert!(self.room.next_due().is_none_or(|due| due > self.now), "what is due was not given out");
        overdue
    }

    fn set(&mut self, config: &Config) {
        self.room.set_rules(config.rules(None), self.now);
        check(&self.room);
    }

    fn token(&self, item: u32) -> Token {
        let found = self.room.entries.iter().find(|(_, entry)| entry.item == item);
        found.expect("it is in the room").0
    }

    fn speak(&mut self, item: u32) -> Option<(u32, Cause)> {
        let token = self.token(item);
        let refused = self.room.speak(token, self.now);
        check(&self.room);
        refused
    }

    fn watched(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.room.next_to_watch(self.now).map(|(_, &item)| item)).collect()
    }
}

/// What holds in a room at any time, whatever it obeys.
fn check<T: std::fmt::Debug>(room: &Room<T>) {
    let special: BTreeSet<_> = room
        .entries
        .iter()
        .filter(|(_, entry)| entry.is_special)
        .map(|(token, entry)| (entry.due(&room.rules).0, token))
        .collect();
    assert_eq!(special, room.special, "the special are not those who are marked, by their deadlines");
    let mut held = vec![HashMap::<Token, usize>::new(); room.lanes.len()];
    let mut counted = vec![[0; 3]; room.lanes.len()];
    for (_, entry) in room.entries.iter() {
        let lane = entry.lane as usize;
        counted[lane][entry.standing as usize] += 1;
        if let Some(source) = entry.source {
            *held[lane].entry(source).or_default() += 1;
        }
    }
    for (number, lane) in room.lanes.iter().enumerate() {
        let [waiting, back, silent] = counted[number];
        assert_eq!((lane.waiting.len(), lane.silent.len()), (waiting, silent));
        assert_eq!(lane.queued(), waiting + back);
        assert_eq!(walk(room, lane.waiting.oldest()), waiting);
        assert_eq!(walk(room, lane.silent.oldest()), silent);
        for (&source, &in_room) in &held[number] {
            let open = lane.sources.open(source) as usize;
            assert_eq!(lane.sources.has(source).all, in_room + open, "a source holds what is not there");
        }
    }
}

/// The length of a line, in which whoever is not special is behind nobody who is due after it.
fn walk<T>(room: &Room<T>, oldest: Option<Token>) -> usize {
    let mut next = oldest;
    let mut latest = None;
    let mut len = 0;
    while let Some(token) = next {
        let entry = room.entries.get(token).expect("who stands in a line is in the room");
        assert!(entry.is_special || latest.is_none_or(|latest| latest <= entry.since), "due unnoticed");
        latest = latest.max(Some(entry.since));
        next = Line::newer_than(&room.entries, token);
        len += 1;
    }
    len
}
