//! Two servers in pairs: what one costs more than the other, and how sure that is.
//!
//! Owns: the order within a pair, and the interval.
//! Never: a figure that is not a ratio of two slices next to each other.

use crate::{args::Bench, round::Slice, running, say};
use anteroom_load::peer::Peer;
use std::io;

/// Of the mean ratio, over so many pairs that the normal distribution will do.
const SURE: f64 = 1.96;

pub(crate) fn run(peer: Peer, with: Peer, pairs: u32, bench: &Bench) -> io::Result<()> {
    let (mut one, mut other) = (running::Running::start(peer, bench)?, running::Running::start(with, bench)?);
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // Who comes first has the colder machine: every other pair the other way round.
        let (first, second) = if pair % 2 == 0 {
            let first = one.slice(bench)?;
            (first, other.slice(bench)?)
        } else {
            let second = other.slice(bench)?;
            (one.slice(bench)?, second)
        };
        closed.push(closed_micros(&first) / closed_micros(&second));
        open.push(open_micros(&first) / open_micros(&second));
    }
    say(&format!("server CPU per connection, {peer} / {with}, {pairs} pairs\n"))?;
    say(&format!("  closed loop of {}: {}\n", bench.connections, Interval::of(&closed)))?;
    say(&format!("  open loop, {}/s: {}\n", bench.rate, Interval::of(&open)))?;
    for peer in [peer, with] {
        if let Some(calls) = running::syscalls(peer, bench)? {
            say(&format!("  system calls per connection, {peer}: {}\n", running::per_traced(calls.total())))?;
        }
    }
    Ok(())
}

fn closed_micros(slice: &Slice) -> f64 {
    slice.closed_server.cpu_micros_per(slice.closed.answered)
}

fn open_micros(slice: &Slice) -> f64 {
    slice.open_server.cpu_micros_per(slice.open.answered)
}

/// The mean of ratios, by their logarithms, and where it lies with a probability of 95 %.
struct Interval {
    mean: f64,
    from: f64,
    to: f64,
}

impl Interval {
    fn of(ratios: &[f64]) -> Self {
        let count = ratios.len() as f64;
        let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let error = SURE * (variance / count).sqrt();
        Self { mean: mean.exp(), from: (mean - error).exp(), to: (mean + error).exp() }
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} (95 % between {:.3} and {:.3})", self.mean, self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_inverse_are_as_far_from_one() {
        let Interval { mean, from, to } = Interval::of(&[2.0, 0.5, 2.0, 0.5]);
        assert!((mean - 1.0).abs() < 1e-9 && (from * to - 1.0).abs() < 1e-9);
        assert!(from < 0.7 && to > 1.4, "four that differ so are sure of nothing: {from} {to}");
        let sure = Interval::of(&[1.1; 40]);
        assert!((sure.from - 1.1).abs() < 1e-9 && (sure.to - 1.1).abs() < 1e-9);
    }
}
