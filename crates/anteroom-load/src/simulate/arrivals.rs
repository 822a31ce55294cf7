//! Who comes, and when.
//!
//! Owns: the arrivals, drawn from a seed with a generator whose numbers never change (PCG).
//! Never: what becomes of a client.

use crate::client::Leaving;
use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// Clients of one kind.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// When they come.
    pub pattern: Pattern,
    /// From the first to the last that may come.
    pub during: (Duration, Duration),
    /// How many addresses they have; each client is from one of them by chance.
    pub sources: u32,
    /// How long each waits for its answer, or keeps its connection.
    pub patience: Patience,
    /// In which manners they leave, in turn.
    pub leaving: Vec<Leaving>,
    /// What they want.
    pub wants: Wants,
}

/// When clients come.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// In even distances, so many in a second.
    Steady(f64),
    /// Each without regard to the others, so many in a second.
    Poisson(f64),
    /// So many at once, each time after so long.
    Bursts(u32, Duration),
    /// So many at once at the begin: those whose connections a restart has cut. Each tries again at a moment of
    /// its own within so long.
    Stampede(u32, Duration),
}

/// How long a client waits.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// All as long.
    Fixed(Duration),
    /// Exponentially distributed with this mean.
    Mean(Duration),
}

/// What a client wants of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// An answer.
    Answer,
    /// A place, for as long as its patience lasts: it asks for nothing.
    Place,
}

impl Crowd {
    /// Clients by Poisson's law from 200 addresses, who want an answer within a second and leave in all manners.
    #[must_use]
    pub fn poisson(per_second: f64, length: Duration) -> Self {
        Self {
            pattern: Pattern::Poisson(per_second),
            during: (Duration::ZERO, length),
            sources: 200,
            patience: Patience::Fixed(Duration::from_secs(1)),
            leaving: vec![Leaving::Silent, Leaving::Reset, Leaving::SendAndClose],
            wants: Wants::Answer,
        }
    }
}

/// A client as it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) at: Duration,
    pub(super) patience: Duration,
    pub(super) from: IpAddr,
    pub(super) leaving: Leaving,
}

/// The clients of a [`Crowd`], one after the other.
#[derive(Debug)]
pub(super) struct Coming {
    crowd: Crowd,
    /// The network of their addresses.
    network: u8,
    dice: Pcg64Mcg,
    /// How many have come.
    number: u64,
    last: Duration,
    /// The moments of a stampede that are still to come, the first one last.
    stampede: Vec<Duration>,
}

impl Coming {
    pub(super) fn new(crowd: &Crowd, network: u8, seed: u64) -> Self {
        let crowd = crowd.clone();
        let mut dice = Pcg64Mcg::seed_from_u64(seed ^ (u64::from(network) << 56));
        let mut stampede = Vec::new();
        if let Pattern::Stampede(clients, within) = crowd.pattern {
            let begin = crowd.during.0;
            stampede = (0..clients).map(|_| begin + within.mul_f64(unit(&mut dice))).collect();
            stampede.sort_by(|one, other| other.cmp(one));
        }
        let last = crowd.during.0;
        Self { crowd, network, dice, number: 0, last, stampede }
    }

    fn moment(&mut self) -> Option<Duration> {
        let begin = self.crowd.during.0;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 clients")]
        let number = self.number as f64;
        Some(match self.crowd.pattern {
            Pattern::Steady(rate) => begin + Duration::from_secs_f64(number / rate),
            Pattern::Poisson(rate) => self.last + Duration::from_secs_f64(exponential(&mut self.dice) / rate),
            Pattern::Bursts(size, every) => {
                let bursts = self.number.checked_div(u64::from(size))?;
                begin + every.saturating_mul(u32::try_from(bursts).ok()?)
            }
            Pattern::Stampede(..) => self.stampede.pop()?,
        })
    }
}

impl Iterator for Coming {
    type Item = Newcomer;

    fn next(&mut self) -> Option<Newcomer> {
        let at = self.moment().filter(|at| *at < self.crowd.during.1)?;
        let turn = usize::try_from(self.number).ok()?.checked_rem(self.crowd.leaving.len())?;
        let leaving = *self.crowd.leaving.get(turn)?;
        let patience = match self.crowd.patience {
            Patience::Fixed(patience) => patience,
            Patience::Mean(mean) => mean.mul_f64(exponential(&mut self.dice)),
        };
        let source = self.dice.next_u32() % self.crowd.sources.max(1);
        let [_, a, b, c] = source.to_be_bytes();
        self.number += 1;
        self.last = at;
        Some(Newcomer { at, patience, from: Ipv4Addr::new(self.network, a, b, c).into(), leaving })
    }
}

/// From 0 to below 1, of 53 bits.
fn unit(dice: &mut Pcg64Mcg) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let whole = (dice.next_u64() >> 11) as f64;
    whole / (1_u64 << 53) as f64
}

/// With the mean 1.
fn exponential(dice: &mut Pcg64Mcg) -> f64 {
    -(1.0 - unit(dice)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn coming(pattern: Pattern, seed: u64) -> Vec<Newcomer> {
        let crowd = Crowd { pattern, ..Crowd::poisson(1.0, Duration::from_secs(100)) };
        Coming::new(&crowd, 10, seed).collect()
    }

    #[test]
    fn poissons_clients_come_at_their_rate_and_without_regard_to_each_other() {
        let coming = coming(Pattern::Poisson(1_000.0), 1);
        assert!((99_000..101_000).contains(&coming.len()), "{}", coming.len());
        let mut counts = vec![0_u32; 1_000];
        for client in &coming {
            counts[usize::try_from(client.at.as_millis() / 100).unwrap()] += 1;
        }
        // The variance of Poisson's law is its mean.
        let variance = counts.iter().map(|count| (f64::from(*count) - 100.0).powi(2)).sum::<f64>() / 1_000.0;
        assert!((80.0..120.0).contains(&variance), "{variance}");
        let sources: BTreeSet<_> = coming.iter().map(|client| client.from).collect();
        assert_eq!(sources.len(), 200);
    }

    #[test]
    fn the_same_seed_brings_the_same_clients_and_another_one_others() {
        let moments =
            |seed| coming(Pattern::Poisson(10.0), seed).iter().map(|one| one.at).collect::<Vec<_>>();
        assert_eq!(moments(1), moments(1));
        assert_ne!(moments(1), moments(2));
    }

    #[test]
    fn a_stampede_comes_within_its_time_and_bursts_come_at_once() {
        let stampede = coming(Pattern::Stampede(500, Duration::from_millis(200)), 1);
        assert_eq!(stampede.len(), 500);
        assert!(stampede.is_sorted_by_key(|client| client.at));
        assert!(stampede.iter().all(|client| client.at < Duration::from_millis(200)));
        let bursts = coming(Pattern::Bursts(30, Duration::from_secs(10)), 1);
        let moments: BTreeSet<_> = bursts.iter().map(|client| client.at.as_secs()).collect();
        assert_eq!((bursts.len(), moments.len()), (300, 10));
    }
}
