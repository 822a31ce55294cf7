//! No limit waits for another for ever: all are exhausted at once, and given back in every order.

use std::collections::VecDeque;

use super::model::Model;
use super::*;
use crate::admit::{Rate, WhenFull};

/// What is given back, one of each, in one order or another.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// A place of the lane, of any source.
    Place,
    /// A turn of the rate.
    Turn,
    /// A place of the source that has its share.
    Share,
    /// A socket that the other lane held.
    Socket,
}

const ALL: [Release; 4] = [Release::Place, Release::Turn, Release::Share, Release::Socket];
const SEEDS: u64 = 100;
const PLACES: usize = 4;
const RATE: Rate = Rate::per_second(20).burst(4);
const TURN: Duration = Duration::from_millis(50);
/// The source that takes what it gets.
const GREEDY: u8 = 1;

fn orders() -> Vec<[Release; 4]> {
    let mut orders = Vec::new();
    for number in 0..24_usize {
        let mut left = ALL.to_vec();
        let mut number = number;
        orders.push([4, 3, 2, 1].map(|choices| {
            let release = left.remove(number % choices);
            number /= choices;
            release
        }));
    }
    orders
}

struct Siege {
    model: Model,
    kernel: [VecDeque<u8>; 2],
    random: u64,
    came: usize,
}

impl Siege {
    fn lay(when_full: WhenFull, seed: u64) -> Self {
        let config = Config {
            max_connections: Some(PLACES),
            max_waiting: 2,
            max_wait: Duration::from_secs(86_400),
            when_full,
            order: Order::Fifo,
            share: Share { alpha: Some(2), ..Share::default() },
            accept_rate: Some(RATE),
            ..Config::default()
        };
        // Four open and two waiting in each lane, and none to spare.
        let model = Model::new(&config, &[LaneRules::default(); 2], Some(2 * (PLACES + 2)));
        let kernel = [VecDeque::new(), VecDeque::new()];
        let mut siege = Self { model, kernel, random: seed, came: 0 };
        for lane in 0..2 {
            for source in [GREEDY, GREEDY, GREEDY, 2] {
                siege.come(lane, source);
            }
        }
        siege.pump();
        assert_eq!(siege.model.opened(), 2 * PLACES, "the places and the turns are taken");
        for lane in 0..2 {
            siege.come(lane, GREEDY);
            let other = [0, 2, 3][usize::from(siege.roll(3))];
            siege.come(lane, other);
        }
        siege.pump();
        for lane in 0..2 {
            assert_eq!(siege.model.waiting_in(lane), 2);
            assert_eq!(siege.model.room.spare_sockets(lane), Some(0));
            assert!(siege.model.room.lanes[lane].meter.free_at(&RATE) > 0, "the turns are taken");
        }
        for _ in 0..4 {
            let (lane, source) = (siege.roll(2), siege.roll(4));
            siege.come(usize::from(lane), source);
        }
        siege
    }

    fn roll(&mut self, sides: u64) -> u8 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from((self.random >> 33) % sides).unwrap()
    }

    fn come(&mut self, lane: usize, source: u8) {
        self.came += 1;
        self.kernel[lane].push_back(source);
    }

    /// Whatever can be done is done: the acceptor accepts, the service takes.
    fn pump(&mut self) {
        loop {
            let mut is_moving = false;
            for lane in 0..2 {
                while let Some(&source) = self.kernel[lane].front() {
                    let from = (source > 0).then(|| ip(source));
                    if self.model.arrive(lane, from, Voice::Spoke, Duration::ZERO).is_none() {
                        break;
                    }
                    self.kernel[lane].pop_front();
                    is_moving = true;
                }
                while self.model.take(lane).is_some() {
                    is_moving = true;
                }
            }
            if !is_moving {
                return;
            }
        }
    }

    fn release(&mut self, release: Release) {
        match release {
            Release::Place => {
                let nth = usize::from(self.roll(PLACES as u64));
                self.model.release_in(0, nth);
            }
            Release::Turn => self.model.pass(TURN),
            Release::Share => self.model.release_of(0, ip(GREEDY)),
            Release::Socket => self.model.release_in(1, 0),
        }
        self.pump();
    }

    fn is_anybody_left(&self) -> bool {
        let waiting = (0..2).any(|lane| self.model.waiting_in(lane) > 0);
        waiting || self.kernel.iter().any(|queue| !queue.is_empty())
    }

    /// Connections end, time passes: everybody who waits has to be served soon.
    fn lift(mut self) -> usize {
        let most_rounds = 2 * self.came;
        for round in 0.. {
            if !self.is_anybody_left() {
                break;
            }
            assert!(round < most_rounds, "somebody waits for ever");
            for lane in 0..2 {
                let nth = usize::from(self.roll(PLACES as u64));
                self.model.release_in(lane, nth);
            }
            self.model.pass(TURN);
            self.pump();
        }
        while self.model.opened() > 0 {
            self.model.release(0);
        }
        self.model.watch();
        self.model.is_over();
        self.model.served()
    }
}

fn besiege(when_full: WhenFull) {
    for order in orders() {
        for seed in 0..SEEDS {
            let mut siege = Siege::lay(when_full, seed);
            for release in order {
                siege.release(release);
            }
            let came = siege.came;
            let served = siege.lift();
            // Those who hold back serve everybody; the others refuse none but the last four to come, or
            // one for each of them.
            let refused = came - served;
            let most = if when_full == WhenFull::BackPressure { 0 } else { 4 };
            assert!(refused <= most, "{refused} were refused after {order:?} with seed {seed}");
        }
    }
}

#[test]
fn all_orders_of_release_are_different() {
    let orders: std::collections::HashSet<_> = orders().iter().map(|order| format!("{order:?}")).collect();
    assert_eq!(orders.len(), 24);
}

#[test]
fn whatever_is_given_back_first_nobody_waits_for_ever() {
    besiege(WhenFull::RefuseOldest);
}

#[test]
fn under_back_pressure_whatever_is_given_back_first_nobody_waits_for_ever() {
    besiege(WhenFull::BackPressure);
}
