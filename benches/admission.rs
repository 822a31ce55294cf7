//! What it costs to let one connection in, hand it out and take its place back, to refuse one, and to look at the
//! clock, with few and with many waiting: `cargo bench -p anteroom-benches --bench admission`.
//!
//! Owns: the room in virtual time, with as many waiting all the time.
//! Never: sockets; those cost a thousand times as much.

use anteroom::{
    Config, Order,
    simulate::{Peer, Place, Room, Taken, Tended, Visitor},
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
    /// Nobody becomes too old, and there is room for everybody.
    fn new(order: Order, waiting: u32) -> Self {
        Self::within(order, waiting, Duration::from_secs(1_000_000), 1_000_000)
    }

    fn within(order: Order, waiting: u32, max_wait: Duration, max_waiting: usize) -> Self {
        let mut config = Config::default();
        config.max_connections = Some(1);
        config.max_waiting = max_waiting;
        config.max_wait = max_wait;
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

/// The acceptor's look at the clock when nothing is due, and when one has become too old for each that comes.
fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for waiting in WAITING {
        let mut turnstile = Turnstile::new(Order::Fifo, waiting);
        turnstile.now += Duration::from_secs(1);
        while turnstile.room.tend(turnstile.now).is_some() {}
        group.bench_function(BenchmarkId::new("nothing is due", waiting), |bencher| {
            bencher.iter(|| {
                turnstile.now += STEP;
                black_box((turnstile.room.next_due(), turnstile.room.tend(turnstile.now)))
            });
        });
        let mut turnstile = Turnstile::within(Order::Fifo, waiting, STEP * waiting, 1_000_000);
        group.bench_function(BenchmarkId::new("one comes and one is too old", waiting), |bencher| {
            bencher.iter(|| {
                turnstile.arrive();
                let mut tended = turnstile.room.tend(turnstile.now);
                while !matches!(tended, None | Some(Tended::Refused { .. })) {
                    tended = turnstile.room.tend(turnstile.now);
                }
                black_box(turnstile.room.next_due())
            });
        });
        let mut turnstile = Turnstile::within(Order::Fifo, waiting, STEP * 1_000_000_000, waiting as usize);
        group.bench_function(BenchmarkId::new("one comes and one has to go", waiting), |bencher| {
            bencher.iter(|| turnstile.arrive());
        });
        // The shares of the sources keep a few places free.
        let waits = turnstile.room.counts().waiting;
        assert!(waits + waits / 10 + 1 >= waiting as usize, "it is full: {waits}");
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    admission(&mut criterion);
    ticks(&mut criterion);
    criterion.final_summary();
}
