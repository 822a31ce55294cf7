//! From what is seen at each look to what is told: when a stall begins, goes on, and is over.
//!
//! Owns the stalls that last. Time is passed in; never looks at anything itself.

use std::time::Duration;

use crate::observe::{Cost, Stall, StallCause};
use crate::tick::Tick;

/// One that is not seen for so long is over: conditions come and go between looks.
const GONE_AFTER: Duration = Duration::from_millis(150);

/// While it lasts and changes it is told again, at most once in this time.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What tells two stalls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Held,
    /// Whether for want of a processor or not is known later.
    RuntimeLate,
    ServiceNotReady(usize),
    LimitReached(usize),
    PermitsLeaked,
    OutOfDescriptors,
    Paused,
}

/// What one look has seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) key: Key,
    /// Since when it has been so, as far as is known at this look.
    pub(super) since: Tick,
    pub(super) cause: StallCause,
    /// Grows when there is more to tell than before.
    pub(super) extent: usize,
    /// Who is to blame: with somebody else among them there is more to tell, too.
    pub(super) who: Vec<u64>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Begun(Stall),
    /// There is more to tell of one that goes on.
    Grown(Stall),
    Over {
        cause: &'static str,
        lasted: Duration,
    },
}

#[derive(Debug)]
struct Episode {
    seen: Seen,
    since: Tick,
    last_seen: Tick,
    /// When it was told, and how much of it. `None`: it has not lasted long enough.
    told: Option<(Tick, usize, Vec<u64>)>,
}

impl Episode {
    /// Whether it is time to tell it, for the first time or with what there is more to tell.
    fn is_due(&self, threshold: Duration, now: Tick) -> bool {
        match &self.told {
            None => now.since(self.since) >= threshold,
            Some((then, extent, who)) => {
                let is_more =
                    self.seen.extent > *extent || self.seen.who.iter().any(|one| !who.contains(one));
                is_more && now.since(*then) >= TOLD_EVERY
            }
        }
    }

    fn stall(&self, now: Tick, cost: Cost) -> Stall {
        let lasted = now.since(self.since);
        Stall { cause: self.seen.cause.clone(), lasted, cost }
    }
}

#[derive(Debug, Default)]
pub(super) struct Episodes(Vec<Episode>);

impl Episodes {
    /// Something has begun that may become a stall, or is one.
    pub(super) fn is_uneasy(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes one look in. What has lasted for `threshold` is told, and that it is over.
    pub(super) fn look(&mut self, seen: Vec<Seen>, threshold: Duration, cost: Cost, now: Tick) -> Vec<Told> {
        for seen in seen {
            match self.0.iter_mut().find(|episode| episode.seen.key == seen.key) {
                Some(episode) => {
                    // Of several that hold a thread the first may let go, and the stall go on. A runtime that is late
                    // for no known reason is so anew when there was one meanwhile.
                    let is_anew = seen.key == Key::RuntimeLate
                        && episode.told.is_none()
                        && seen.since > episode.last_seen;
                    episode.since = if is_anew { seen.since } else { episode.since.min(seen.since) };
                    episode.seen = seen;
                    episode.last_seen = now;
                }
                None => self.0.push(Episode { since: seen.since, seen, last_seen: now, told: None }),
            }
        }
        let mut told = Vec::new();
        self.0.retain(|episode| {
            let lasts = now.since(episode.last_seen) < GONE_AFTER;
            if !lasts && episode.told.is_some() {
                let lasted = episode.last_seen.since(episode.since);
                told.push(Told::Over { cause: episode.seen.cause.label(), lasted });
            }
            lasts
        });
        for episode in self.0.iter_mut().filter(|episode| episode.last_seen == now) {
            if episode.is_due(threshold, now) {
                let before = episode.told.replace((now, episode.seen.extent, episode.seen.who.clone()));
                let stall = episode.stall(now, cost);
                told.push(if before.is_none() { Told::Begun(stall) } else { Told::Grown(stall) });
            }
        }
        told
    }

    /// Nobody looks any more: what was told is told to be over.
    pub(super) fn end(&mut self, cost: Cost, now: Tick) -> Vec<Told> {
        self.look(Vec::new(), Duration::MAX, cost, now + GONE_AFTER)
    }

    /// The stalls that last.
    pub(super) fn current(&self, now: Tick, cost: Cost) -> Vec<Stall> {
        let told = self.0.iter().filter(|episode| episode.told.is_some());
        told.map(|episode| episode.stall(now, cost)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(250);

    struct Clock(Tick);

    impl Clock {
        fn at(&self, millis: u64) -> Tick {
            self.0 + Duration::from_millis(millis)
        }
    }

    fn paused(since: Tick) -> Seen {
        Seen { key: Key::Paused, since, cause: StallCause::Paused, extent: 1, who: Vec::new() }
    }

    fn look(episodes: &mut Episodes, seen: Vec<Seen>, now: Tick) -> Vec<Told> {
        episodes.look(seen, THRESHOLD, Cost::default(), now)
    }

    #[test]
    fn what_lasts_is_told_once_and_that_it_is_over_once() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        assert!(look(&mut episodes, vec![paused(clock.at(0))], clock.at(0)).is_empty());
        assert!(episodes.is_uneasy() && episodes.current(clock.at(0), Cost::default()).is_empty());
        assert!(look(&mut episodes, vec![paused(clock.at(100))], clock.at(249)).is_empty());
        let told = look(&mut episodes, vec![paused(clock.at(100))], clock.at(250));
        assert!(matches!(&told[..], [Told::Begun(stall)] if stall.lasted == THRESHOLD), "{told:?}");
        for second in 0..20 {
            assert!(look(&mut episodes, vec![paused(clock.at(0))], clock.at(300 + 100 * second)).is_empty());
        }
        assert_eq!(episodes.current(clock.at(2200), Cost::default()).len(), 1);
        assert!(look(&mut episodes, Vec::new(), clock.at(2300)).is_empty(), "it may come back");
        let told = look(&mut episodes, Vec::new(), clock.at(2400));
        assert_eq!(told, [Told::Over { cause: "paused", lasted: Duration::from_millis(2200) }]);
        assert!(!episodes.is_uneasy());
    }

    #[test]
    fn what_ends_before_it_is_a_stall_is_not_spoken_of() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        look(&mut episodes, vec![paused(clock.at(0))], clock.at(200));
        assert!(look(&mut episodes, Vec::new(), clock.at(400)).is_empty());
        assert!(!episodes.is_uneasy());
    }

    #[test]
    fn one_that_grows_is_told_again_after_a_second() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        let seen = |extent| vec![Seen { extent, ..paused(clock.at(0)) }];
        assert_eq!(look(&mut episodes, seen(1), clock.at(300)).len(), 1);
        assert!(look(&mut episodes, seen(3), clock.at(400)).is_empty(), "too early");
        for step in 5..13 {
            assert!(look(&mut episodes, seen(3), clock.at(step * 100)).is_empty());
        }
        assert_eq!(look(&mut episodes, seen(3), clock.at(1300)).len(), 1);
        assert!(look(&mut episodes, seen(3), clock.at(1400)).is_empty(), "no more to tell");
    }

    #[test]
    fn another_who_is_to_blame_is_told_though_they_are_not_more() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        let seen = |who: &[u64]| vec![Seen { who: who.to_vec(), ..paused(clock.at(0)) }];
        assert_eq!(look(&mut episodes, seen(&[1, 2]), clock.at(300)).len(), 1);
        for step in 4..14 {
            assert!(look(&mut episodes, seen(&[2]), clock.at(step * 100)).is_empty(), "known");
        }
        assert!(matches!(&look(&mut episodes, seen(&[3]), clock.at(1400))[..], [Told::Grown(_)]));
    }

    /// A handler held it from the look at 250 to that at 350: nobody is known who did before, or does now.
    #[test]
    fn a_runtime_that_is_late_without_a_reason_is_so_anew_after_one() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        let late = |since| {
            let cause = StallCause::RuntimeLate { delay: Duration::ZERO, in_polls: Duration::ZERO };
            vec![Seen { key: Key::RuntimeLate, cause, ..paused(clock.at(since)) }]
        };
        assert!(look(&mut episodes, late(20), clock.at(200)).is_empty());
        assert!(look(&mut episodes, Vec::new(), clock.at(250)).is_empty());
        assert!(look(&mut episodes, late(300), clock.at(300)).is_empty());
        assert!(look(&mut episodes, late(300), clock.at(500)).is_empty(), "a fifth of a second");
        assert_eq!(look(&mut episodes, late(300), clock.at(550)).len(), 1);
    }

    #[test]
    fn when_nobody_looks_any_more_what_was_told_is_over() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        look(&mut episodes, vec![paused(clock.at(0))], clock.at(300));
        assert!(matches!(
            &episodes.end(Cost::default(), clock.at(310))[..],
            [Told::Over { cause: "paused", .. }]
        ));
        assert!(episodes.end(Cost::default(), clock.at(320)).is_empty());
    }

    #[test]
    fn two_lanes_have_a_stall_each() {
        let (clock, mut episodes) = (Clock(Tick::now()), Episodes::default());
        let full = |lane| Seen {
            key: Key::LimitReached(lane),
            cause: StallCause::LimitReached { lane, listeners: Vec::new(), open: 1 },
            ..paused(clock.at(0))
        };
        let told = look(&mut episodes, vec![full(0), full(1)], clock.at(250));
        assert_eq!(told.len(), 2);
    }
}
