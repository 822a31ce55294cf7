//! The room under random histories, and the cases that deserve a name.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::admit::{Order, Share};

const MAX_WAIT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(30);

fn rules(max_connections: usize, max_waiting: usize) -> Rules {
    let config = crate::Config {
        max_connections: Some(max_connections),
        max_waiting,
        max_wait: MAX_WAIT,
        order: Order::Fifo,
        share: Share::unlimited(),
        ..crate::Config::default()
    };
    config.rules(None)
}

fn room(lanes: usize, rules: Rules) -> Room<u32> {
    Room::new(&vec![LaneRules::default(); lanes], rules, Instant::now(), 1)
}

fn arrival(lane: usize, now: Instant, item: u32) -> Arrival<u32> {
    let age = Age { handshake: now, accepted: now };
    Arrival { lane, age, from: None, voice: Voice::Spoke, item }
}

/// Somebody taken out, without the place.
fn taken(room: &mut Room<u32>, lane: usize, now: Instant) -> Result<u32, Take<u32>> {
    match room.take(lane, now) {
        Take::Ready { item, .. } => Ok(item),
        other => Err(other),
    }
}

#[test]
fn the_healthy_are_taken_in_the_order_of_their_arrival() {
    let now = Instant::now();
    let mut room = room(1, rules(9, 9));
    for item in 0..3 {
        assert_eq!(room.arrive(arrival(0, now, item), now), Admission::Waits);
    }
    assert_eq!([0, 1, 2].map(|_| room.take(0, now)), [0, 1, 2].map(Take::Ready));
    assert_eq!(room.take(0, now), Take::Empty);
    assert_eq!(room.open(), 3);
}

#[test]
fn a_full_lane_refuses_whoever_has_waited_longest_in_it_and_nobody_else() {
    let now = Instant::now();
    let later = now + Duration::from_millis(1);
    let mut room = room(2, rules(9, 2));
    room.arrive(arrival(1, now, 1), now);
    room.arrive(arrival(0, now, 2), now);
    assert_eq!(room.arrive(arrival(0, later, 3), later), Admission::Waits);
    assert_eq!(room.arrive(arrival(0, later, 4), later), Admission::WaitsInsteadOf(2, Cause::Full));
    assert_eq!((room.waiting_in(0), room.waiting_in(1)), (2, 1));
}

#[test]
fn no_lane_takes_the_places_of_another() {
    let now = Instant::now();
    let mut room = room(2, rules(1, 9));
    for item in 0..2 {
        room.arrive(arrival(0, now, item), now);
    }
    room.arrive(arrival(1, now, 9), now);
    assert_eq!((room.take(0, now), room.take(0, now)), (Take::Ready(0), Take::NoPlace));
    assert_eq!((room.can_take(1), room.take(1, now)), (true, Take::Ready(9)));
    assert_eq!(room.open(), 2);
}

#[test]
fn without_a_place_nobody_is_taken_until_one_is_given_back() {
    let now = Instant::now();
    let mut room = room(1, rules(1, 9));
    room.arrive(arrival(0, now, 1), now);
    room.arrive(arrival(0, now, 2), now);
    assert_eq!(room.take(0, now), Take::Ready(1));
    assert_eq!((room.take(0, now), room.can_take(0)), (Take::NoPlace, false));
    room.release(0);
    assert!(room.can_take(0));
    assert_eq!(room.take(0, now), Take::Ready(2));
}

#[test]
fn the_age_counts_from_the_handshake_and_an_old_one_is_refused_at_the_door() {
    let now = Instant::now() + MAX_WAIT;
    let mut room = room(1, rules(9, 9));
    let mut old = arrival(0, now, 1);
    old.age.handshake = now - MAX_WAIT;
    assert_eq!(room.arrive(old, now), Admission::Refused(1, Cause::TooOld));
    let mut left = arrival(0, now, 2);
    left.age.handshake = now - PATIENCE;
    left.patience = Some(PATIENCE);
    assert_eq!(room.arrive(left, now), Admission::Refused(2, Cause::ProbablyLeft));
}

#[test]
fn one_who_closes_while_waiting_is_refused_when_the_patience_ends() {
    let now = Instant::now();
    let mut room = room(1, rules(9, 9));
    room.arrive(arrival(0, now, 1), now);
    let (token, _) = room.next_to_watch(now).expect("it waits unwatched");
    room.lose_patience(token, PATIENCE);
    assert_eq!(room.next_due(), Some(now + PATIENCE));
    assert_eq!(room.overdue(now + PATIENCE - Duration::from_millis(1)), None);
    assert_eq!(room.overdue(now + PATIENCE), Some((1, Cause::ProbablyLeft)));
}

#[test]
fn a_patience_longer_than_the_longest_wait_changes_nothing() {
    let now = Instant::now();
    let mut room = room(1, rules(9, 9));
    room.arrive(Arrival { patience: Some(MAX_WAIT * 2), ..arrival(0, now, 1) }, now);
    assert_eq!(room.overdue(now + MAX_WAIT), Some((1, Cause::TooOld)));
}

#[test]
fn each_is_given_to_be_watched_once_in_the_order_of_arrival() {
    let now = Instant::now();
    let mut room = room(1, rules(9, 9));
    for item in 0..4 {
        room.arrive(arrival(0, now, item), now);
    }
    assert_eq!(room.oldest_unwatched(), Some(now));
    assert_eq!(room.next_to_watch(now - Duration::from_millis(1)), None);
    assert_eq!(room.next_to_watch(now).map(|(_, &item)| item), Some(0));
    assert_eq!(room.take(0, now), Take::Ready(0));
    assert_eq!(room.take(0, now), Take::Ready(1));
    let rest: Vec<_> = std::iter::from_fn(|| room.next_to_watch(now).map(|(_, &item)| item)).collect();
    assert_eq!(rest, [2, 3]);
    assert_eq!(room.oldest_unwatched(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { lane: usize, aged: u64, spoke_and_closed: bool },
    Take { lane: usize },
    Release { lane: usize },
    Leave { nth: usize },
    LosePatience { nth: usize },
    Watch,
    TurnAway { lane: usize },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, 0..120u64, any::<bool>())
            .prop_map(|(lane, aged, spoke_and_closed)| Step::Arrive { lane, aged, spoke_and_closed }),
        4 => (0..2usize).prop_map(|lane| Step::Take { lane }),
        3 => (0..2usize).prop_map(|lane| Step::Release { lane }),
        1 => (0..8usize).prop_map(|nth| Step::Leave { nth }),
        1 => (0..8usize).prop_map(|nth| Step::LosePatience { nth }),
        2 => Just(Step::Watch),
        1 => (0..2usize).prop_map(|lane| Step::TurnAway { lane }),
        3 => (0..40u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// What the test knows of the room, kept in the plainest way.
struct Model {
    room: Room<u32>,
    now: Instant,
    waiting: Vec<(u32, usize)>,
    tokens: HashMap<u32, Token>,
    ended: HashSet<u32>,
    open: [usize; 2],
    next: u32,
    rules: Rules,
}

impl Model {
    fn end(&mut self, item: u32) {
        assert!(self.ended.insert(item), "{item} has come to two ends");
        self.waiting.retain(|&(waiting, _)| waiting != item);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Arrive { lane, aged, spoke_and_closed } => self.arrive(lane, aged, spoke_and_closed),
            Step::Take { lane } => self.take(lane),
            Step::Release { lane } if self.open[lane] > 0 => {
                self.room.release(lane);
                self.open[lane] -= 1;
            }
            Step::Release { .. } => {}
            Step::Leave { nth } => {
                let left =
                    self.known(nth).and_then(|item| Some((item, self.room.leave(self.tokens[&item])?)));
                if let Some((item, left)) = left {
                    assert_eq!(left, item);
                    self.end(item);
                }
            }
            Step::LosePatience { nth } => {
                if let Some(item) = self.known(nth) {
                    self.room.lose_patience(self.tokens[&item], PATIENCE);
                }
            }
            Step::Watch => {
                while let Some((token, &item)) = self.room.next_to_watch(self.now) {
                    assert!(self.tokens.insert(item, token).is_none(), "{item} was watched twice");
                }
            }
            Step::TurnAway { lane } => {
                if let Some(item) = self.room.turn_away(lane) {
                    self.end(item);
                }
            }
            Step::Pass { millis } => {
                self.now += Duration::from_millis(millis);
                while let Some((item, _)) = self.room.overdue(self.now) {
                    self.end(item);
                }
                assert!(self.room.next_due().is_none_or(|due| due > self.now));
            }
        }
        self.check();
    }

    fn arrive(&mut self, lane: usize, aged: u64, spoke_and_closed: bool) {
        let item = self.next;
        self.next += 1;
        let age = Age { handshake: self.now - Duration::from_millis(aged), accepted: self.now };
        let patience = spoke_and_closed.then_some(PATIENCE);
        let too_old = age.since_handshake(self.now) >= if spoke_and_closed { PATIENCE } else { MAX_WAIT };
        match self.room.arrive(Arrival { lane, age, patience, item }, self.now) {
            Admission::Waits => self.waiting.push((item, lane)),
            Admission::WaitsInsteadOf(evicted, cause) => {
                assert_eq!((cause, self.waiting_in(lane)), (Cause::Full, self.rules.max_waiting));
                self.end(evicted);
                self.waiting.push((item, lane));
            }
            Admission::Refused(refused, cause) => {
                assert!(too_old && refused == item && cause != Cause::Full);
                self.end(item);
            }
        }
    }

    fn take(&mut self, lane: usize) {
        let first = self.waiting.iter().find(|&&(_, of)| of == lane).map(|&(item, _)| item);
        match self.room.take(lane, self.now) {
            Take::Ready(item) => {
                assert_eq!(Some(item), first, "not the oldest of its lane");
                self.open[lane] += 1;
                self.end(item);
            }
            Take::Late(item, _) => {
                assert_eq!(Some(item), first);
                self.end(item);
            }
            Take::Empty => assert_eq!(first, None),
            Take::NoPlace => assert!(first.is_some() && self.open[lane] == self.rules.max_connections),
        }
    }

    fn known(&self, nth: usize) -> Option<u32> {
        self.tokens.keys().copied().min_by_key(|&item| (item as usize + nth) % 8)
    }

    fn waiting_in(&self, lane: usize) -> usize {
        self.waiting.iter().filter(|&&(_, of)| of == lane).count()
    }

    fn check(&self) {
        assert_eq!((self.room.len(), self.room.open()), (self.waiting.len(), self.open.iter().sum()));
        for lane in 0..2 {
            assert_eq!(self.room.waiting_in(lane), self.waiting_in(lane));
            assert!(self.waiting_in(lane) <= self.rules.max_waiting);
            assert!(self.open[lane] <= self.rules.max_connections);
        }
    }
}

proptest! {
    #[test]
    fn in_every_history_each_connection_ends_once_in_order_and_within_the_bounds(
        steps in proptest::collection::vec(step(), 0..200),
        max_connections in 1..4usize,
        max_waiting in 1..6usize,
    ) {
        let limits = rules(max_connections, max_waiting);
        let mut model = Model {
            room: Room::new(2, limits),
            now: Instant::now() + Duration::from_secs(1),
            waiting: Vec::new(),
            tokens: HashMap::new(),
            ended: HashSet::new(),
            open: [0; 2],
            next: 0,
            limits,
        };
        for step in &steps {
            model.apply(step);
        }
        model.apply(&Step::Pass { millis: 200 });
        prop_assert_eq!(model.room.len(), 0);
        prop_assert_eq!(model.ended.len(), model.next as usize);
    }
}
