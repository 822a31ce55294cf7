//! When the whole process stood still, and for how long: time that nobody who was being watched has had.
//!
//! Owns what the pulse found out when it woke late. Never says why.

use crate::tick::Tick;
use std::collections::VecDeque;
use std::time::Duration;

/// So many are told apart. Of a process that is stopped and let run ten times a second (a quota by signals, a
/// debugger) the oldest become one.
const KEPT: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Stops {
    /// When each ended, and how long it had lasted.
    all: VecDeque<(Tick, Duration)>,
}

impl Stops {
    pub(super) fn add(&mut self, ended: Tick, lasted: Duration) {
        self.all.push_back((ended, lasted));
        if self.all.len() > KEPT {
            let oldest = self.all.pop_front().map_or(Duration::ZERO, |(_, lasted)| lasted);
            if let Some((_, next)) = self.all.front_mut() {
                *next += oldest;
            }
        }
    }

    /// How much of the time since then it stood still.
    pub(super) fn since(&self, since: Tick) -> Duration {
        let later = self.all.iter().rev().take_while(|(ended, _)| *ended > since);
        later.map(|(ended, lasted)| (*lasted).min(ended.since(since))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_after_the_moment_counts() {
        let start = Tick::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut stops = Stops::default();
        stops.add(at(100), Duration::from_millis(30));
        stops.add(at(300), Duration::from_millis(50));
        for (since, stood) in [(0, 80), (80, 70), (100, 50), (260, 40), (300, 0), (400, 0)] {
            assert_eq!(stops.since(at(since)), Duration::from_millis(stood), "since {since}");
        }
    }

    #[test]
    fn the_oldest_become_one_and_nothing_is_lost() {
        let start = Tick::now();
        let mut stops = Stops::default();
        for stop in 1..=1_000 {
            stops.add(start + Duration::from_millis(100 * stop), Duration::from_millis(60));
        }
        assert_eq!(stops.all.len(), KEPT);
        assert_eq!(stops.since(start), Duration::from_secs(60));
        assert_eq!(stops.since(start + Duration::from_millis(99_900)), Duration::from_millis(60));
    }
}
