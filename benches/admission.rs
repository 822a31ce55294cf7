//! What it costs to let one connection in, hand it out and take its place back, with few and with many
//! waiting: `cargo bench -p anteroom-benches --bench admission`.
//!
//! Owns: the room in virtual time, with as many waiting all the time.
//! Never: sockets; those cost a thousand times as much.

use anteroom::{
    Config, Order,
    simulate::{Peer, Place, Room, Taken, Visitor},
};
use criterion::{BenchmarkId, Criterion};
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

const WAITING: [u32; 3] = [10, 1_000, 100_000];

/// Sources of the connections.
const SOURCES: u64 = 1_000;

/// From one connection to the next.
const STEP: Duration = Duration::from_micros(1);

/// A room in which so many wait, and one more in each step.
struct Turnstile {
    room: Room,
    now: Duration,
    next: u64,
}

impl Turnstile {
    fn new(order: Order, waiting: u32) -> Self {
        let mut config = Config::default();
        config.max_connections = Some(1);
        config.max_waiting = 1_000_000;
        config.max_wait = Duration::from_secs(1_000_000);
        config.order = order;
        #[expect(clippy::expect_used, reason = "the settings are the benchmark's own")]
        let room = Room::new(&config, 1, 0).expect("they can be meant");
        let mut turnstile = Self { room, now: Duration::ZERO, next: 0 };
        (0..waiting).for_each(|_| turnstile.arrive());
        turnstile
    }

    fn arrive(&mut self) {
        self.now += STEP;
        self.next += 1;
        let from = Ipv4Addr::from_bits((self.next % SOURCES) as u32);
        let visitor = Visitor::new(self.next, self.now).from(IpAddr::V4(from));
        black_box(self.room.arrive(visitor, self.now));
    }

    fn take(&mut self) -> Option<Place> {
        match self.room.take(0, self.now, |_| Peer::Spoke) {
            Taken::Served { place, .. } => Some(place),
            _ => None,
        }
    }

    fn admission(&mut self) {
        self.arrive();
        if let Some(place) = self.take() {
            self.room.release(place, self.now);
        }
    }
}

fn admission(criterion: &mut Criterion) {
    let newest_first =
        Order::Adaptive { target: STEP, interval: STEP, give_up: Duration::from_secs(1_000_000) };
    for (name, order) in [("in order", Order::Fifo), ("newest first", newest_first)] {
        let mut group = criterion.benchmark_group(format!("admission/{name}"));
        for waiting in WAITING {
            let mut turnstile = Turnstile::new(order, waiting);
            group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
                bencher.iter(|| turnstile.admission());
            });
            assert_eq!(turnstile.room.counts().waiting, waiting as usize, "one in, one out");
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    admission(&mut criterion);
    criterion.final_summary();
}
