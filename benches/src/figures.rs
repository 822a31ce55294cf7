//! All rounds of all servers.
//!
//! Owns: which figures there are, their units, and which direction is better.
//! Never: formatting for a reader; the document does that.

use crate::round::{Measured, Open};
use anteroom_load::{
    client::Latencies,
    peer::{Peer, Protocol},
    stats::Spread,
};
use std::io;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) digits: usize,
    pub(crate) shown: Shown,
    pub(crate) read: fn(&Measured) -> f64,
}

/// What stands beside a median.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The least and the greatest.
    Spread,
    /// The interval of 95 %.
    Interval,
}

impl Figure {
    const fn spread(title: &'static str, digits: usize, read: fn(&Measured) -> f64) -> Self {
        Self { title, digits, shown: Shown::Spread, read }
    }

    const fn interval(title: &'static str, digits: usize, read: fn(&Measured) -> f64) -> Self {
        Self { title, digits, shown: Shown::Interval, read }
    }
}

/// Of the closed loop.
pub(crate) const CLOSED: &[Figure] = &[
    Figure::spread("connections/s", 0, |measured| measured.closed.per_second),
    Figure::spread("server CPU, µs per connection", 1, |measured| measured.closed.server_micros),
    Figure::spread("client CPU, µs per connection", 1, |measured| measured.closed.client_micros),
    Figure::spread("server context switches per connection", 2, |measured| measured.closed.switches),
];

/// Of the open loop at the rate that is the same for all.
pub(crate) const OPEN: &[Figure] = &[
    Figure::spread("answered/s", 0, |measured| open(measured, |open| open.per_second)),
    Figure::spread("server CPU, µs per connection", 1, CPU_OPEN.read),
    Figure::spread("server context switches per connection", 2, |measured| {
        open(measured, |open| open.switches)
    }),
    P50,
    P99,
    P999,
    Figure::interval("client's own lag p99, µs", 0, |measured| open(measured, lag)),
];

/// Of the open loop at a share of each one's own peak.
pub(crate) const LOADED: &[Figure] = &[
    Figure::spread("answered/s", 0, |measured| loaded(measured, |open| open.per_second)),
    Figure::spread("server CPU, µs per connection", 1, |measured| {
        loaded(measured, |open| open.server_micros)
    }),
    Figure::interval("p50, µs", 0, |measured| loaded(measured, |open| open.micros(50.0))),
    Figure::interval("p99, µs", 0, LOADED_P99.read),
    Figure::interval("p99.9, µs", 0, LOADED_P999.read),
    Figure::interval("client's own lag p99, µs", 0, |measured| loaded(measured, lag)),
];

/// Latencies of the open loop.
pub(crate) const P50: Figure =
    Figure::interval("p50, µs", 0, |measured| open(measured, |open| open.micros(50.0)));
pub(crate) const P99: Figure =
    Figure::interval("p99, µs", 0, |measured| open(measured, |open| open.micros(99.0)));
pub(crate) const P999: Figure =
    Figure::interval("p99.9, µs", 0, |measured| open(measured, |open| open.micros(99.9)));

/// The same at a share of the peak.
pub(crate) const LOADED_P99: Figure =
    Figure::interval("p99, loaded", 2, |measured| loaded(measured, |open| open.micros(99.0)));
pub(crate) const LOADED_P999: Figure =
    Figure::interval("p99.9, loaded", 2, |measured| loaded(measured, |open| open.micros(99.9)));

/// How quiet the machine was.
pub(crate) const OTHERS: Figure = Figure::spread("", 2, |measured| measured.others);

/// Those that are compared, as ratios.
pub(crate) const COMPARED: &[Figure] = &[
    Figure::interval("connections/s", 2, |measured| measured.closed.per_second),
    CPU_CLOSED,
    CPU_OPEN,
    Figure::interval("p50", 2, P50.read),
    Figure::interval("p99", 2, P99.read),
    Figure::interval("p99.9", 2, P999.read),
    LOADED_P99,
    LOADED_P999,
];

pub(crate) const CPU_CLOSED: Figure =
    Figure::interval("CPU, closed loop", 3, |measured| measured.closed.server_micros);
pub(crate) const CPU_OPEN: Figure =
    Figure::interval("CPU, open loop", 3, |measured| open(measured, |open| open.server_micros));

/// Not a number where there was none.
fn open(measured: &Measured, read: fn(&Open) -> f64) -> f64 {
    measured.open.as_ref().map_or(f64::NAN, read)
}

fn loaded(measured: &Measured, read: fn(&Open) -> f64) -> f64 {
    measured.loaded.as_ref().map_or(f64::NAN, read)
}

fn lag(open: &Open) -> f64 {
    open.lag_p99.as_secs_f64() * 1e6
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Figures {
    rounds: Vec<(Peer, Rounds)>,
}

/// Of one server.
#[derive(Debug)]
struct Rounds {
    measured: Vec<Measured>,
    /// Of all rounds together: the open loop, and the one at a share of the peak.
    pooled: [Latencies; 2],
}

impl Figures {
    /// # Errors
    /// Never: see [`Latencies::new`].
    pub(crate) fn new(peers: &[Peer]) -> io::Result<Self> {
        let mut rounds = Vec::new();
        for peer in peers {
            let pooled = [Latencies::new()?, Latencies::new()?];
            rounds.push((*peer, Rounds { measured: Vec::new(), pooled }));
        }
        Ok(Self { rounds })
    }

    pub(crate) fn add(&mut self, peer: Peer, measured: Measured) -> io::Result<()> {
        if let Some((_, rounds)) = self.rounds.iter_mut().find(|(other, _)| *other == peer) {
            for (pooled, open) in rounds.pooled.iter_mut().zip([&measured.open, &measured.loaded]) {
                open.as_ref().map_or(Ok(()), |open| pooled.absorb(&open.latencies))?;
            }
            rounds.measured.push(measured);
        }
        Ok(())
    }

    /// The latencies of all rounds together, of the open loop and of the one at a share of the peak.
    pub(crate) fn pooled(&self, peer: Peer) -> Option<&[Latencies; 2]> {
        self.rounds.iter().find(|(other, _)| *other == peer).map(|(_, rounds)| &rounds.pooled)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.rounds.iter().map(|(peer, _)| *peer)
    }

    /// The servers that speak this.
    pub(crate) fn of_protocol(&self, protocol: Protocol) -> Vec<Peer> {
        self.peers().filter(|peer| peer.protocol() == protocol).collect()
    }

    /// The median over the rounds.
    pub(crate) fn spread(&self, peer: Peer, figure: Figure) -> Option<Spread> {
        Spread::of(self.values(peer, figure))
    }

    /// The median of the ratios to another server, round by round.
    pub(crate) fn ratio(&self, peer: Peer, to: Peer, figure: Figure) -> Option<Spread> {
        Spread::of_ratios(&self.values(peer, figure), &self.values(to, figure))
    }

    /// The median over all rounds of all servers.
    pub(crate) fn spread_of_all(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().flat_map(|(_, rounds)| &rounds.measured).map(figure.read))
    }

    /// Slices that were thrown away because they were disturbed.
    pub(crate) fn repeats(&self) -> u32 {
        self.rounds.iter().flat_map(|(_, rounds)| &rounds.measured).map(|measured| measured.repeats).sum()
    }

    /// Connections without an answer, over all rounds.
    pub(crate) fn failed(&self, peer: Peer) -> u64 {
        self.of(peer).iter().map(|measured| measured.failed).sum()
    }

    fn values(&self, peer: Peer, figure: Figure) -> Vec<f64> {
        self.of(peer).iter().map(figure.read).collect()
    }

    fn of(&self, peer: Peer) -> &[Measured] {
        self.rounds.iter().find(|(other, _)| *other == peer).map_or(&[], |(_, rounds)| &rounds.measured)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::round::Closed;
    use std::time::Duration;

    pub(crate) fn base() -> Peer {
        Protocol::Raw.baseline()
    }

    pub(crate) fn other() -> Peer {
        Protocol::Raw.subjects()[0]
    }

    fn open(cost: f64, p99: u64) -> Open {
        let mut latencies = Latencies::new().unwrap();
        (0..90).for_each(|_| latencies.record(Duration::from_micros(50)));
        (0..10).for_each(|_| latencies.record(Duration::from_micros(p99)));
        let lag_p99 = Duration::from_micros(10);
        Open { per_second: 5_000.0, server_micros: cost, switches: 0.5, latencies, lag_p99 }
    }

    pub(crate) fn measured(cost: f64, p99: u64) -> Measured {
        Measured {
            closed: Closed {
                per_second: 1e6 / cost,
                server_micros: cost,
                client_micros: 20.0,
                switches: 0.5,
            },
            open: Some(open(cost, p99)),
            loaded: None,
            failed: 1,
            others: 0.1,
            repeats: 1,
        }
    }

    #[test]
    fn a_ratio_compares_rounds_and_not_medians() {
        let mut figures = Figures::new(&[base(), other()]).unwrap();
        for (one, two) in [(10.0, 5.0), (30.0, 15.0), (20.0, 10.0)] {
            figures.add(base(), measured(one, 100)).unwrap();
            figures.add(other(), measured(two, 50)).unwrap();
        }
        let ratio = figures.ratio(other(), base(), CPU_CLOSED).unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.greatest), (0.5, 0.5, 0.5));
        assert_eq!(figures.failed(base()), 3);
        let [open, loaded] = figures.pooled(base()).unwrap();
        assert_eq!((open.count(), loaded.count()), (300, 0));
        assert_eq!(figures.ratio(other(), base(), LOADED_P99), None, "nobody came");
    }

    #[test]
    fn a_server_that_was_not_measured_has_no_figures() {
        let figures = Figures::new(&[base()]).unwrap();
        assert_eq!(figures.spread(base(), CLOSED[0]), None);
        assert_eq!(figures.ratio("axum".parse().unwrap(), base(), CLOSED[0]), None);
    }
}
