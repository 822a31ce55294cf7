//! All rounds of all servers.
//!
//! Owns: which figures there are, their units, and which direction is better.
//! Never: formatting for a reader; the document does that.

use crate::round::Measured;
use anteroom_load::{peer::Peer, stats::Spread};
use std::time::Duration;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) digits: usize,
    pub(crate) read: fn(&Measured) -> f64,
}

/// Of the closed loop.
pub(crate) const CLOSED: &[Figure] = &[
    Figure { title: "connections/s", digits: 0, read: |measured| measured.closed.per_second },
    Figure {
        title: "server CPU, µs per connection",
        digits: 1,
        read: |measured| measured.closed.server_micros,
    },
    Figure {
        title: "client CPU, µs per connection",
        digits: 1,
        read: |measured| measured.closed.client_micros,
    },
    Figure {
        title: "server context switches per connection",
        digits: 2,
        read: |measured| measured.closed.switches,
    },
];

/// Of the open loop.
pub(crate) const OPEN: &[Figure] = &[
    Figure { title: "answered/s", digits: 0, read: |measured| measured.open.per_second },
    Figure {
        title: "server CPU, µs per connection",
        digits: 1,
        read: |measured| measured.open.server_micros,
    },
    Figure {
        title: "server context switches per connection",
        digits: 2,
        read: |measured| measured.open.switches,
    },
    Figure { title: "p50, µs", digits: 0, read: |measured| micros(measured.open.p50) },
    Figure { title: "p99, µs", digits: 0, read: |measured| micros(measured.open.p99) },
    Figure { title: "p99.9, µs", digits: 0, read: |measured| micros(measured.open.p999) },
    Figure { title: "client's own lag p99, µs", digits: 0, read: |measured| micros(measured.open.lag_p99) },
];

/// How quiet the machine was.
pub(crate) const OTHERS: Figure = Figure { title: "", digits: 2, read: |measured| measured.others };

/// Those that are compared, as ratios to the baseline.
pub(crate) const COMPARED: &[Figure] = &[
    Figure { title: "connections/s", digits: 2, read: |measured| measured.closed.per_second },
    Figure { title: "CPU, closed loop", digits: 2, read: |measured| measured.closed.server_micros },
    Figure { title: "CPU, open loop", digits: 2, read: |measured| measured.open.server_micros },
    Figure { title: "p50", digits: 2, read: |measured| micros(measured.open.p50) },
    Figure { title: "p99", digits: 2, read: |measured| micros(measured.open.p99) },
    Figure { title: "p99.9", digits: 2, read: |measured| micros(measured.open.p999) },
];

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Figures {
    rounds: Vec<(Peer, Vec<Measured>)>,
}

impl Figures {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        Self { rounds: peers.iter().map(|peer| (*peer, Vec::new())).collect() }
    }

    pub(crate) fn add(&mut self, peer: Peer, measured: Measured) {
        if let Some((_, rounds)) = self.rounds.iter_mut().find(|(other, _)| *other == peer) {
            rounds.push(measured);
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.rounds.iter().map(|(peer, _)| *peer)
    }

    /// The median over the rounds.
    pub(crate) fn spread(&self, peer: Peer, figure: Figure) -> Option<Spread> {
        Spread::of(self.values(peer, figure))
    }

    /// The median of the ratios to the baseline of the same protocol, round by round.
    pub(crate) fn ratio(&self, peer: Peer, figure: Figure) -> Option<Spread> {
        let base = self.values(peer.protocol().baseline(), figure);
        Spread::of_ratios(&self.values(peer, figure), &base)
    }

    /// The median over all rounds of all servers.
    pub(crate) fn spread_of_all(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().flat_map(|(_, rounds)| rounds).map(figure.read))
    }

    /// Slices that were thrown away because they were disturbed.
    pub(crate) fn repeats(&self) -> u32 {
        self.rounds.iter().flat_map(|(_, rounds)| rounds).map(|measured| measured.repeats).sum()
    }

    /// Connections without an answer, over all rounds.
    pub(crate) fn failed(&self, peer: Peer) -> u64 {
        self.of(peer).iter().map(|measured| measured.failed).sum()
    }

    fn values(&self, peer: Peer, figure: Figure) -> Vec<f64> {
        self.of(peer).iter().map(figure.read).collect()
    }

    fn of(&self, peer: Peer) -> &[Measured] {
        self.rounds.iter().find(|(other, _)| *other == peer).map_or(&[], |(_, rounds)| rounds)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::round::{Closed, Open};

    pub(crate) fn measured(cost: f64, p99: u64) -> Measured {
        let at = Duration::from_micros;
        Measured {
            closed: Closed {
                per_second: 1e6 / cost,
                server_micros: cost,
                client_micros: 20.0,
                switches: 0.5,
            },
            open: Open {
                per_second: 5_000.0,
                server_micros: cost,
                switches: 0.5,
                p50: at(50),
                p99: at(p99),
                p999: at(900),
                lag_p99: at(10),
            },
            failed: 1,
            others: 0.1,
            repeats: 1,
        }
    }

    #[test]
    fn a_ratio_compares_rounds_and_not_medians() {
        let mut figures = Figures::new(&[Peer::Tokio, Peer::TokioCurrent]);
        for (base, other) in [(10.0, 5.0), (30.0, 15.0), (20.0, 10.0)] {
            figures.add(Peer::Tokio, measured(base, 100));
            figures.add(Peer::TokioCurrent, measured(other, 50));
        }
        let cpu = COMPARED.iter().find(|figure| figure.title == "CPU, closed loop").copied().unwrap();
        let ratio = figures.ratio(Peer::TokioCurrent, cpu).unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.greatest), (0.5, 0.5, 0.5));
        assert_eq!(figures.failed(Peer::Tokio), 3);
    }

    #[test]
    fn a_server_that_was_not_measured_has_no_figures() {
        let figures = Figures::new(&[Peer::Tokio]);
        assert_eq!(figures.spread(Peer::Tokio, CLOSED[0]), None);
        assert_eq!(figures.ratio(Peer::Axum, CLOSED[0]), None);
    }
}
